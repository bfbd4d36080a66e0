/**
 * Documents and orders that are made to be expensive, roles that were taken away, and simulators in the hands of those who may not look: while one
 * of them is being worked on, somebody else is answered; afterwards the policy is what it was.
 */

import { request } from 'node:http'
import { afterAll, afterEach, beforeAll, describe, expect } from 'vitest'
import type { Answer } from '../support/client.ts'
import { Desk } from '../support/console-desk.ts'
import { people, type Rig, runCommand, startRig, waitFor } from '../support/rig.ts'
import { attack, endRig, mustBeAlive, summarise } from './attack.ts'

const megabyte = 1024 * 1024
/** On a machine that runs four of these files at once; alone it is a tenth of it. */
const slowestForOthersMs = 8000

describe('expensive documents and roles that end', () => {
  let rig: Rig
  let alice: Desk
  let tokens: Readonly<Record<'all' | 'policy' | 'helpdesk', string>>

  beforeAll(async () => {
    rig = await startRig({
      people: [...people, { id: 'hank', name: 'Hank', email: 'hank@corp.example', role: '', groups: ['helpdesk'] }],
      apps: [{ id: 'app', rules: [{ name: 'staff', allow: { groups: ['staff'] } }] }],
      configuration: {
        policy: 'managed',
        policy_seed: 'policy.yaml',
        upstreams: { allow: ['127.0.0.0/8'] },
        console: { roles: { admin: { groups: ['postern-admins'] }, helpdesk: { groups: ['helpdesk'] } }, sign_in_within: '1h' },
      },
    })
    alice = await Desk.of(rig, 'alice')
    const make = (...scopes: readonly string[]) => command('token', 'create', '--name', 'x', ...scopes.flatMap((one) => ['--scope', one]))
    tokens = {
      all: await make('policy:read', 'policy:write', 'policy:publish', 'audit:read'),
      policy: await make('policy:read', 'policy:write'),
      helpdesk: await make('people:read', 'sessions:read', 'sessions:revoke', 'locks:write', 'devices:block', 'connections:read'),
    }
  })
  afterAll(() => endRig(rig))
  afterEach(() => mustBeAlive(rig))

  async function command(...args: string[]): Promise<string> {
    const { code, stderr, stdout } = await runCommand([...args, '--config', `${rig.instance.folder}/../postern-0.yaml`])
    if (code !== 0) throw new Error(`${args.join(' ')}: ${stderr}`)
    return stdout.trim()
  }
  const inForce = async () => {
    const { policy_version: version, revision } = JSON.parse((await alice.api('GET', '/policy', tokens.all)).body) as {
      policy_version: string
      revision: { number: number }
    }
    return `${revision.number} ${version}`
  }
  /** What others wait at most while `work` goes on. */
  async function whileOthersAsk<T>(
    work: () => Promise<T>,
  ): Promise<{ readonly value: T; readonly slowestMs: number; readonly tookMs: number }> {
    let slowestMs = 0
    let isOver = false
    const others = (async () => {
      while (!isOver) {
        const startedAt = performance.now()
        const { status } = await alice.client.send(alice.at('/healthz'), { as: 'fetch' }).catch(() => ({ status: 0 }))
        slowestMs = Math.max(slowestMs, performance.now() - startedAt)
        if (status === 0) throw new Error('others were not answered at all')
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
    })()
    const startedAt = performance.now()
    try {
      const value = await work()
      return { value, tookMs: performance.now() - startedAt, slowestMs }
    } finally {
      isOver = true
      await others
    }
  }

  const app = () =>
    `{ id: app, url: "${rig.origin('app')}", upstream: "${rig.upstream('app').origin}", rules: [{ name: staff, allow: { groups: [staff] } }] }`
  const laughs = Array.from(
    { length: 12 },
    (_, level) =>
      `  l${level}: &l${level} [${Array(10)
        .fill(level === 0 ? '"ha"' : `*l${level - 1}`)
        .join(', ')}]`,
  )
  const documents = (): Readonly<Record<string, string>> => ({
    'a billion laughs': `levels:\n${laughs.join('\n')}\napps: [${app()}]\n`,
    'an alias of itself': `a: &a [*a]\napps: [${app()}]\n`,
    'a merge key': `x: &x { id: evil }\napps:\n  - <<: *x\n    url: x\n`,
    'a function': `apps: !!js/function 'function () { process.exit(1) }'\n`,
    'a tag of another language': `apps: !!python/object/apply:os.system ["id"]\n`,
    binary: `apps: !!binary aGVsbG8=\n`,
    'duplicate keys': `apps: [${app()}]\napps: []\n`,
    'duplicate keys within': `apps: [{ id: app, id: other, url: "${rig.origin('app')}" }]\n`,
    'prototype keys': `__proto__: { apps: [] }\nconstructor: { prototype: {} }\napps: [${app()}]\n`,
    'several documents': `apps: [${app()}]\n---\napps: []\n`,
    'deep lists': `apps: ${'['.repeat(20_000)}${']'.repeat(20_000)}\n`,
    'deep maps': `${Array.from({ length: 3000 }, (_, depth) => `${' '.repeat(depth)}a:`).join('\n')}\n`,
    'deep conditions': `levels: { deep: ${'{ not: '.repeat(2000)}{ time: { days: [mon] } }${' }'.repeat(2000)} }\napps: [${app()}]\n`,
    'an expensive pattern': `apps: [{ id: app, url: "${rig.origin('app')}", upstream: "${rig.upstream('app').origin}", rules: [{ name: x, allow: { signed_in: true }, when: [{ expression: "subject.email.matches('${'(a+)+'.repeat(50)}$')" }] }] }]\n`,
    'a long expression': `levels: { x: { expression: "${'(1 + '.repeat(3000)}1${')'.repeat(3000)} == 1" } }\napps: [${app()}]\n`,
    'a key of a megabyte': `${'k'.repeat(megabyte)}: 1\napps: [${app()}]\n`,
    'a hundred thousand wrong keys': `${Array.from({ length: 100_000 }, (_, key) => `k${key}: 1`).join('\n')}\n`,
    'control characters': `apps: [${app()}]\n# \u0000\u001b[2J\n`,
    nothing: '',
    'a list': '- 1\n- 2\n',
    'no YAML': '{{{{: "',
  })

  attack('A227', 'ADMIN', 'documents that unfold, recurse, repeat or call: pushed, written into a draft and tried', async () => {
    const before = await inForce()
    const head = Number(before.split(' ')[0])
    const outcomes: string[] = []
    for (const [name, text] of Object.entries(documents())) {
      const body = { files: [{ path: 'policy.yaml', text }], predecessor: head, comment: name, confirmations: ['app', 'yes'] }
      const pushed = await whileOthersAsk(() => alice.api('POST', '/policy/revisions', tokens.all, body))
      const { status } = pushed.value
      if (status !== 422 && status !== 400) throw new Error(`${name}: ${status} ${pushed.value.body.slice(0, 400)}`)
      if (pushed.tookMs > 15_000) throw new Error(`${name} took ${pushed.tookMs} ms`)
      if (pushed.slowestMs > slowestForOthersMs) throw new Error(`${name} kept others waiting for ${pushed.slowestMs} ms`)
      if (pushed.value.body.length > 100_000) throw new Error(`${name}: ${pushed.value.body.length} characters of complaints`)
      const drafted = await alice.api('POST', '/policy/drafts', tokens.all, { comment: name, files: body.files })
      const id = (JSON.parse(drafted.body) as { draft?: { id: string } }).draft?.id
      if (id !== undefined) {
        for (const page of ['', '/edit', '/apps/app', '/apps/app/rules/new', '/rules', '/levels']) {
          const seen = await whileOthersAsk(() => alice.open(`/console/policy/drafts/${id}${page}`))
          if (seen.value.status >= 500) throw new Error(`${name}, draft${page}: ${seen.value.status}`)
          if (seen.tookMs > 15_000 || seen.slowestMs > slowestForOthersMs)
            throw new Error(`${name}, draft${page}: ${seen.tookMs} ms, others ${seen.slowestMs} ms`)
        }
        const outline = await alice.api('GET', `/policy/drafts/${id}/outline`, tokens.all)
        if (outline.status >= 500) throw new Error(`${name}, outline: ${outline.status}`)
        expect((await alice.api('POST', `/policy/drafts/${id}/discard`, tokens.all, {})).status).toBeLessThan(500)
      }
      outcomes.push(`${status}`)
    }
    expect(await inForce()).toBe(before)
    expect(({} as { apps?: unknown }).apps).toBeUndefined()
    return summarise(outcomes)
  })

  attack('A227b', 'ADMIN', 'ten thousand rules and fifty megabytes', async () => {
    const before = await inForce()
    const head = Number(before.split(' ')[0])
    const rules = Array.from({ length: 10_000 }, (_, rule) => `{ name: r${rule}, allow: { groups: [g${rule}] }, paths: [/p${rule}/**] }`)
    const many = `apps: [{ id: app, url: "${rig.origin('app')}", upstream: "${rig.upstream('app').origin}", rules: [${rules.join(', ')}, { name: }] }]\n`
    const wrong = { files: [{ path: 'policy.yaml', text: many }], predecessor: head, comment: 'many', confirmations: [] }
    const refused = await whileOthersAsk(() => alice.api('POST', '/policy/revisions', tokens.all, wrong))
    expect(refused.value.status).toBe(422)
    if (refused.tookMs > 15_000 || refused.slowestMs > slowestForOthersMs)
      throw new Error(`${refused.tookMs} ms, others ${refused.slowestMs} ms`)
    const bodies = [
      JSON.stringify({
        files: [{ path: 'policy.yaml', text: '#'.repeat(50 * megabyte) }],
        predecessor: head,
        comment: 'x',
        confirmations: [],
      }),
      `{"comment":"x","files":[${'{"path":"a.yaml","text":""},'.repeat(200_000)}{}]}`,
    ]
    const outcomes: string[] = []
    for (const body of bodies) {
      const { slowestMs, value } = await whileOthersAsk(() =>
        alice.api('POST', '/policy/revisions', tokens.all, body).catch((error: unknown) => error as Error),
      )
      // Closed in the middle of sending is refused as well.
      if (!(value instanceof Error) && ![400, 413].includes(value.status)) throw new Error(`${value.status}`)
      if (slowestMs > slowestForOthersMs) throw new Error(`others waited ${slowestMs} ms`)
      outcomes.push(value instanceof Error ? 'closed' : String(value.status))
    }
    const form = await alice.post('/console/policy/drafts', `comment=${'x'.repeat(5 * megabyte)}`).catch((error: unknown) => error as Error)
    if (!(form instanceof Error)) expect([400, 404, 413]).toContain(form.status)
    expect(await inForce()).toBe(before)
    return summarise(outcomes)
  })

  attack('A250b', 'DOS', 'JSON that is deep, repeats itself or names prototypes, to every order that takes a body', async () => {
    const before = await inForce()
    const deep = `{"edits":[{"kind":"set_level","name":"x","condition":${'{"not":'.repeat(7000)}{}${'}'.repeat(7000)}}],"version":0}`
    const bodies: readonly (readonly [string, string])[] = [
      ['deep', '['.repeat(30_000)],
      ['deep and whole', `${'{"a":'.repeat(10_000)}1${'}'.repeat(10_000)}`],
      ['a deep condition', deep],
      ['deep in a rule', deep.replace('"set_level","name":"x","condition"', '"add_rule","of":null,"rule"')],
      ['a prototype', '{"__proto__":{"comment":"x"},"constructor":{"prototype":{"x":1}}}'],
      ['twice', '{"comment":"harmless","comment":"other"}'],
      ['many keys', `{${Array.from({ length: 5000 }, (_, key) => `"${key}":1`).join(',')}}`],
      ['no object', '"x"'],
      ['null', 'null'],
      ['a number', '1e999'],
      ['half', '{"comment":'],
      ['lone surrogate', '{"comment":"\\ud800"}'],
    ]
    const outcomes: string[] = []
    const begun = JSON.parse((await alice.api('POST', '/policy/drafts', tokens.all, { comment: 'x' })).body) as { draft: { id: string } }
    const at = `/policy/drafts/${begun.draft.id}`
    for (const [method, path] of [
      ['POST', '/policy/drafts'],
      ['POST', '/policy/revisions'],
      ['POST', `${at}/changes`],
      ['PUT', `${at}/file`],
      ['POST', `${at}/merge`],
      ['POST', '/policy/what-if'],
      ['POST', '/apps'],
    ] as const) {
      for (const [name, body] of bodies) {
        const { slowestMs, value } = await whileOthersAsk(() => alice.api(method, path, tokens.all, body))
        const isHarmless = name === 'lone surrogate' && path === '/policy/drafts'
        if (value.status >= 500 || (value.status < 400 && !isHarmless))
          throw new Error(`${method} ${path}, ${name}: ${value.status} ${value.body.slice(0, 300)}`)
        if (slowestMs > slowestForOthersMs) throw new Error(`${path}, ${name}: others waited ${slowestMs} ms`)
        outcomes.push(String(value.status))
      }
    }
    expect(await inForce()).toBe(before)
    return summarise(outcomes)
  })

  attack(
    'A228',
    'ADMIN',
    'the simulator: without the right, about others without the right to read of them, with rules of one’s own',
    async () => {
      const ask = (token: string | undefined, more: object) =>
        alice.api('POST', '/policy/what-if', token, { who: 'nobody', url: `${rig.origin('app')}/`, ...more })
      const outcomes: string[] = []
      const expectStatus = (what: string, { body, status }: Answer, wanted: readonly number[]) => {
        if (!wanted.includes(status)) throw new Error(`${what}: ${status} ${body.slice(0, 300)}`)
        outcomes.push(String(status))
      }
      expectStatus('no token', await ask(undefined, {}), [401])
      expectStatus('the helpdesk', await ask(tokens.helpdesk, {}), [403])
      expectStatus('about somebody', await ask(tokens.policy, { who: 'alice@corp.example' }), [403])
      expectStatus('about a device', await ask(tokens.policy, { device: 'laptop-7' }), [403])
      for (const more of [
        { expression: 'true' },
        { rules: [{ allow: { signed_in: true } }] },
        { claims: { groups: ['admins'] } },
        { policy: 'apps: []' },
      ])
        expectStatus(JSON.stringify(more), await ask(tokens.all, more), [400])
      const hank = await Desk.of(rig, 'hank')
      for (const path of ['/console/policy/what-if', '/console/policy', '/console/policy/files', '/console/trail', '/console/review'])
        expectStatus(path, await hank.open(path), [403])
      const before = await inForce()
      expectStatus('in order', await ask(tokens.all, {}), [200])
      expect(await inForce()).toBe(before)
      return summarise(outcomes)
    },
  )

  /** Opens a stream and tells when it ended. */
  function follow(desk: Desk, path: string): Promise<{ readonly status: number; readonly ended: Promise<number> }> {
    const url = new URL(desk.at(path))
    return new Promise((resolve, reject) => {
      const headers = {
        host: url.host,
        cookie: desk.client.cookieHeader(url.href),
        accept: 'text/event-stream',
        'sec-fetch-mode': 'cors',
        'sec-fetch-site': 'same-origin',
      }
      const sent = request({ host: '127.0.0.1', port: rig.port, path, headers }, (response) => {
        response.resume()
        const ended = new Promise<number>((over) => response.on('close', () => over(performance.now())))
        resolve({ status: response.statusCode ?? 0, ended })
      })
      sent.on('error', reject)
      sent.end()
    })
  }

  attack(
    'A225',
    'ADMIN',
    'a role that is taken away, a session that is ended and a person who is locked: pages, forms and streams that are open',
    async () => {
      const outcomes: string[] = []
      const within = async (ended: Promise<number>, limitMs: number) => {
        const startedAt = performance.now()
        const over = await Promise.race([ended, new Promise<undefined>((resolve) => setTimeout(resolve, limitMs, undefined))])
        if (over === undefined) throw new Error(`still open after ${limitMs} ms`)
        return Math.round(over - startedAt)
      }
      for (const how of ['uninvited', 'revoked', 'locked'] as const) {
        await command('console', 'invite', 'bob@corp.example', '--role', 'admin', '--for', '10m')
        const bob = await Desk.of(rig, 'bob')
        await waitFor(async () => (await bob.open('/console/apps')).status === 200)
        const form_token = await bob.formToken()
        const streams = await Promise.all([follow(bob, '/console/trail/follow'), follow(bob, '/console/connections/live')])
        expect(streams.map(({ status }) => status)).toEqual([200, 200])
        if (how === 'uninvited') await command('console', 'uninvite', 'bob@corp.example')
        if (how === 'revoked') await command('sessions', 'revoke', '--subject', 'bob')
        if (how === 'locked') await command('lock', 'subject', 'bob', '--reason', 'left')
        // An invitation is remembered for two seconds, and what is open is asked about every thirty.
        const limitMs = how === 'uninvited' ? 35_000 : 3_000
        await waitFor(async () => (await bob.open('/console/apps')).status !== 200, 5_000)
        const sent = await bob.post('/console/policy/drafts', { form_token, comment: 'too late' })
        if (sent.status < 400 || sent.status >= 500) throw new Error(`${how}: a form was answered ${sent.status}`)
        const took = await Promise.all(streams.map(({ ended }) => within(ended, limitMs)))
        outcomes.push(`${how}: form ${sent.status}, streams over after ${Math.max(...took)} ms`)
        if (how === 'locked') await command('unlock', 'subject', 'bob', '--reason', 'back')
        if (how !== 'uninvited') await command('console', 'uninvite', 'bob@corp.example')
      }
      const drafts = await alice.api('GET', '/policy/drafts', tokens.all)
      expect(drafts.body).not.toContain('too late')
      return outcomes.join('; ')
    },
  )

  attack('A225b', 'ADMIN', 'the last admin: by invitation, by lock, by the policy', async () => {
    // The role is in the instance configuration, out of reach of everything here; a lock on oneself is.
    const form_token = await alice.formToken()
    const lock = { form_token, on: 'subject', name: 'alice', reason: 'myself' }
    const asked = await alice.post('/console/locks', lock)
    expect([asked.status, (await alice.open('/console/apps')).status]).toEqual([409, 200])
    const locked = await alice.post('/console/locks', { ...lock, confirm: 'lock me out' })
    expect(locked.status).toBe(303)
    await waitFor(async () => (await alice.open('/console/apps')).status === 403)
    await command('unlock', 'subject', 'alice', '--reason', 'back')
    await waitFor(async () => (await alice.open('/console/apps')).status === 200)
    return `a lock on oneself: ${asked.status} until it is confirmed in words, then at once; a command gives it back`
  })
})
