/** Apps in the console: what is shown of them, how a new one begins, and what a check of an upstream says and never says. */

import { createServer } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createPolicyEditor } from '../../config/policy-editor.ts'
import type { AppsJson } from '../operations/apps.ts'
import { createCarryOut } from '../operations/carry-out.ts'
import type { Outcome } from '../operations/operation.ts'
import { mountAppsPages } from './apps-pages.ts'
import { startConsole } from './console.fixture.ts'
import { startEditor, startUpstream, type TestEditor } from './editor.fixture.ts'

const payload = `"><script>alert(1)</script>'&`
let editor: TestEditor

beforeAll(async () => {
  const activity = {
    app: 'wiki',
    allowed: 1234,
    refused: 5,
    challenged: 2,
    people: 3,
    lastUsedAt: Date.now() - 60_000,
    lastRefusedAt: undefined,
    upstreamFailures: 0,
  }
  editor = await startEditor({ activity: new Map([['wiki', activity]]), seen: { group: ['/finance', payload] } })
}, 60_000)
afterAll(() => editor.close())

describe('the list of apps', () => {
  it('shows every app with address, sensitivity, health and what was counted', async () => {
    const { body, status } = await editor.console.visit('auditor', '/console/apps')
    expect(status).toBe(200)
    for (const { address, id } of editor.document.apps) {
      expect(body).toContain(`href="/console/apps/${id}"`)
      expect(body).toContain(address.origin)
    }
    expect(body).toContain('1,234')
    expect(body).toContain('no answer &lt;since&gt; noon')
    expect(body).not.toContain('New app')
  })

  it('finds by name, upstream and sensitivity, and says when nothing fits', async () => {
    const rowsOf = async (query: string) =>
      [...(await editor.console.visit('admin', `/console/apps?${query}`)).body.matchAll(/href="\/console\/apps\/([a-z-]+)"><bdi>/g)].map(
        ([, id]) => id,
      )
    expect(await rowsOf('q=jupyter')).toEqual(['notebooks'])
    expect(await rowsOf('sensitivity=restricted')).toEqual(['payroll'])
    expect(await rowsOf('health=failing')).toEqual(['jenkins'])
    expect((await editor.console.visit('admin', `/console/apps?q=${encodeURIComponent(payload)}`)).body).toContain('No app fits')
    expect((await editor.console.visit('admin', `/console/apps?q=${encodeURIComponent(payload)}`)).body).not.toContain('<script>alert')
    expect((await editor.console.visit('admin', '/console/apps?sensitivity=none')).status).toBe(400)
  })

  it('goes through the apps page by page', async () => {
    const carryOut = createCarryOut()
    const seen: string[] = []
    let after: string | null = null
    do {
      const page: Outcome<AppsJson> = await carryOut(editor.apps.list, { limit: 4, ...(after === null ? {} : { after }) }, editor.asker)
      if (page.outcome === 'refused') throw new TypeError(page.message)
      seen.push(...page.value.entries.map(({ id }) => id))
      after = page.value.next
    } while (after !== null)
    expect(seen).toEqual(editor.document.apps.map(({ id }) => id))
  })
})

it('the list has the texts of a policy got ready, once for each version, and again where that failed', async () => {
  const asked: string[] = []
  let policyVersion = 'one'
  let isBroken = false
  const page = await startConsole({
    mounts: [
      (routes) =>
        mountAppsPages(routes, {
          operations: editor.apps,
          carryOut: createCarryOut(),
          inForce: async () => ({ mode: 'files', policyVersion, revision: undefined, bundle: [], failure: undefined }),
          desk: {
            documents: async () => {
              asked.push(policyVersion)
              if (isBroken) throw new Error('its thread ended')
              return []
            },
          },
          editor: createPolicyEditor(),
          digest: { seen: () => [] },
        }),
    ],
  })
  const visit = async () => expect((await page.visit('admin', '/console/apps')).status).toBe(200)
  for (const version of ['one', 'one', 'two']) {
    policyVersion = version
    await visit()
  }
  expect(asked).toEqual(['one', 'two'])
  policyVersion = 'three'
  isBroken = true
  await visit()
  await visit()
  expect(asked).toEqual(['one', 'two', 'three', 'three'])
  await page.close()
})

describe('the page of an app', () => {
  it('says its rules as sentences, with the YAML of each, those of the company and the levels that they use', async () => {
    const { body } = await editor.console.visit('admin', '/console/apps/payroll')
    expect(body).toContain('Members of finance, during office hours, may do anything.')
    expect(body).toContain('{ name: finance in office hours, allow: { groups: [finance] }, when: [office_hours] }')
    expect(body).toContain('In restricted apps, everybody who may come in needs to be signed in with MFA')
    expect(body).toContain('Healthy device: on a device that is managed')
    expect(body).not.toContain('In confidential apps,')
    expect(body).toContain('Change in a draft')
    expect((await editor.console.visit('auditor', '/console/apps/payroll')).body).not.toContain('Change in a draft')
    expect((await editor.console.visit('admin', '/console/apps/nothing')).status).toBe(404)
  })

  it('begins a draft in which the app can be changed', async () => {
    const begun = await editor.console.submit('admin', '/console/apps/wiki/draft')
    expect(begun.status).toBe(303)
    expect(begun.location?.pathname).toMatch(/^\/console\/policy\/drafts\/[\w-]+\/apps\/wiki$/)
    expect((await editor.console.follow('admin', begun)).body).toContain('Nothing is in force before it is published')
    for (const person of ['auditor', 'helpdesk'] as const) {
      expect((await editor.console.submit(person, '/console/apps/wiki/draft')).status).toBe(403)
    }
  })
})

describe('a new app', () => {
  const fields = {
    name: 'Time sheets',
    url: 'https://time.corp.example',
    upstream: 'http://time.internal:8080',
    sensitivity: 'confidential',
    who_kind: 'groups',
    who: ['NO', 'staff', ''],
  }

  it('begins as a draft with one rule, beside everything that is there', async () => {
    const begun = await editor.console.submit('admin', '/console/apps/new', fields, { from: '/console/apps/new' })
    expect(begun.status).toBe(303)
    const draft = /drafts\/([\w-]+)\/apps\/time-sheets$/.exec(begun.location?.pathname ?? '')?.[1] ?? ''
    const text = await editor.text(draft)
    expect(text).toContain(
      [
        '  - id: time-sheets',
        '    name: Time sheets',
        '    url: https://time.corp.example',
        '    upstream: http://time.internal:8080',
        '    sensitivity: confidential',
        '    rules:',
        '      - { name: who may come in, allow: { groups: ["NO", staff] } }',
      ].join('\n'),
    )
    expect(text).toContain('# Dashboards: everybody looks')
    const { body } = await editor.console.follow('admin', begun)
    expect(body).toContain('Members of NO or staff may do anything.')
  })

  it('says at its field what is missing, keeps what was typed, and escapes it', async () => {
    const refused = await editor.console.submit('admin', '/console/apps/new', { ...fields, name: payload, id: payload, who: '' })
    expect(refused.status).toBe(422)
    expect(refused.body).toMatch(/id="id-error"[^>]*><bdi>Write lower-case letters/)
    expect(refused.body).toContain('id="who-error"')
    expect(refused.body).not.toContain('<script>alert')
    expect(refused.body).toContain('&lt;script&gt;alert')
    const twin = await editor.console.submit('admin', '/console/apps/new', { ...fields, id: 'wiki' })
    expect(twin.status).toBe(409)
    expect(twin.body).toContain('There is an app with this id already.')
    expect((await editor.console.submit('helpdesk', '/console/apps/new', fields)).status).toBe(403)
    expect((await editor.console.visit('auditor', '/console/apps/new')).status).toBe(403)
  })

  it('offers the groups that really occur', async () => {
    const { body } = await editor.console.visit('admin', '/console/apps/new')
    expect(body).toContain('<option value="/finance">')
    expect(body).not.toContain('<script>alert')
  })
})

describe('the check of an upstream', () => {
  const check = async (upstream: string) => {
    const outcome = await createCarryOut()(editor.apps.check, { upstream }, editor.asker)
    return outcome.outcome === 'done' ? outcome.value : outcome.problem
  }

  it('says that something answers and with which class, follows nothing, and hands out nothing of it', async () => {
    const { heard, server, url } = await startUpstream(302)
    try {
      expect(await check(`${url}/base`)).toEqual({ result: 'answers', status_class: '3xx', tls_code: null })
      expect(heard).toHaveLength(1)
      expect(heard[0]).toMatch(/^HEAD \/base \{/)
      expect(heard[0]).not.toMatch(/cookie|authorization/i)
      expect(await check(url.replace('http:', 'https:'))).toMatchObject({ result: 'tls_problem' })
      const answer = await editor.console.submit('admin', '/console/apps/new', { name: 'x', upstream: url, intent: 'check' })
      expect(answer.body).toContain('It answers (3xx).')
      expect(answer.body).not.toContain('concealed')
    } finally {
      server.close()
    }
    expect(await check(url)).toMatchObject({ result: 'connection_refused' })
  })

  it('gives up after three seconds, and knows what speaks no HTTP', async () => {
    const { server, url } = await startUpstream(undefined)
    const other = createServer((socket) => void socket.on('error', () => undefined).end('SSH-2.0-OpenSSH\r\n'))
    await new Promise<void>((resolve) => void other.listen(0, '127.0.0.1', resolve))
    try {
      const begun = performance.now()
      expect(await check(url)).toMatchObject({ result: 'timeout' })
      expect(performance.now() - begun).toBeLessThan(6000)
      const address = other.address()
      if (typeof address !== 'object' || address === null) throw new TypeError('no port')
      expect(await check(`http://127.0.0.1:${address.port}`)).toMatchObject({ result: 'not_http' })
    } finally {
      server.close()
      server.closeAllConnections()
      other.close()
    }
  }, 15_000)

  it('never leads where a policy may not: metadata, our own addresses, what is not listed', async () => {
    for (const upstream of [
      'http://169.254.169.254/latest',
      'http://127.0.0.9:80',
      'http://forbidden.internal',
      'http://0.0.0.0:1',
      'http://[fe80::1]/',
    ]) {
      expect(await check(upstream), upstream).toEqual({ result: 'not_allowed', status_class: null, tls_code: null })
    }
    for (const upstream of [
      'file:///etc/passwd',
      'http://user:pass@wiki.internal',
      'ftp://wiki.internal',
      'wiki.internal',
      'http://wiki.internal/?x',
    ]) {
      expect(await check(upstream), upstream).toBe('malformed')
    }
  })

  it('is an administrator’s alone, and bounded in number', async () => {
    const carryOut = createCarryOut()
    expect(await carryOut(editor.apps.check, { upstream: 'http://169.254.169.254' }, editor.console.asker('auditor'))).toMatchObject({
      problem: 'not_permitted',
    })
    const another = { ...editor.asker, actor: 'person:eager' }
    const results: string[] = []
    for (let count = 0; count < 22; count += 1) {
      const outcome = await carryOut(editor.apps.check, { upstream: 'http://169.254.169.254' }, another)
      results.push(outcome.outcome === 'done' ? outcome.value.result : outcome.problem)
    }
    expect(results.slice(0, 20).every((result) => result === 'not_allowed')).toBe(true)
    expect(results.slice(20)).toEqual(['too_many', 'too_many'])
  })
})
