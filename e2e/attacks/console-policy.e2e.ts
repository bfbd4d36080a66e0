/**
 * A policy that is written to break out: to inner addresses, to hosts that are ours, over somebody else's change, out of its parser's bounds. Sent to
 * drafts and published by programs with every scope, which is more than any owner of an app has. Judged by a service of this machine that no policy
 * may lead to, and by the revision that is in force afterwards.
 */

import { afterAll, afterEach, beforeAll, describe, expect } from 'vitest'
import { tokenPermissions } from '../../src/administration/token-scope.ts'
import type { Answer } from '../support/client.ts'
import { Desk } from '../support/console-desk.ts'
import { findFreePort } from '../support/free-port.ts'
import { type Rig, runCommand, startRig } from '../support/rig.ts'
import { startUpstream, type Upstream } from '../support/upstream.ts'
import { attack, endRig, mustBeAlive, summarise } from './attack.ts'

describe('a managed policy in the hands of an attacker', () => {
  let rig: Rig
  let alice: Desk
  /** Where the policy may lead. */
  let open: Upstream
  /** Where it may not. */
  let inner: Upstream
  let operations: number
  let tokens: string[]

  beforeAll(async () => {
    ;[open, inner, operations] = [await startUpstream(), await startUpstream(), await findFreePort()]
    rig = await startRig({
      store: 'redis',
      apps: [{ id: 'app', upstream: open.origin, rules: [{ name: 'staff', allow: { groups: ['staff'] } }] }],
      policy: { levels: { fresh: { sign_in: { within: '12h' } } } },
      configuration: {
        operations: `127.0.0.1:${operations}`,
        policy: 'managed',
        policy_seed: 'policy.yaml',
        upstreams: { allow: [`127.0.0.1:${open.port}`, 'allowed.internal'] },
        console: { roles: { admin: { groups: ['postern-admins'] } }, require: ['fresh'], sign_in_within: '1h' },
      },
    })
    alice = await Desk.of(rig, 'alice')
    const config = `${rig.instance.folder}/../postern-0.yaml`
    tokens = []
    for (let number = 0; number < 8; number++) {
      const scopes = tokenPermissions.flatMap((scope) => ['--scope', scope])
      const { code, stderr, stdout } = await runCommand(['token', 'create', '--name', `t${number}`, ...scopes, '--config', config])
      if (code !== 0) throw new Error(stderr)
      tokens.push(stdout.trim())
    }
  })
  afterAll(async () => {
    await endRig(rig)
    await open?.close()
    await inner?.close()
  })
  afterEach(() => {
    mustBeAlive(rig)
    if (inner.bytes() !== '') throw new Error(`the inner service received ${JSON.stringify(inner.bytes().slice(0, 300))}`)
  })

  let asked = 0
  /** Programs take turns, since each is counted. */
  const order = (method: string, path: string, body?: unknown) => alice.api(method, path, tokens[asked++ % tokens.length], body)
  const json = <T>({ body }: Answer) => JSON.parse(body) as T
  const head = async () => json<{ revision: { number: number; hash: string } }>(await order('GET', '/policy')).revision
  const appText = (more: object = {}) => ({
    id: 'app',
    url: rig.origin('app'),
    upstream: open.origin,
    rules: [{ name: 'staff', allow: { groups: ['staff'] } }],
    ...more,
  })
  const documentOf = (apps: readonly object[], more: object = {}) =>
    JSON.stringify({ levels: { fresh: { sign_in: { within: '12h' } } }, apps, ...more })
  async function push(text: string, more: object = {}): Promise<Answer> {
    const { number } = await head()
    const files = [{ path: 'policy.yaml', text }]
    return order('POST', '/policy/revisions', { files, predecessor: number, comment: 'attack', confirmations: ['app', 'yes'], ...more })
  }
  /** Refused within seconds, nothing published, and the process goes on answering others meanwhile. */
  async function mustRefuse(what: string, send: () => Promise<Answer>, statuses = [400, 413, 422]): Promise<string> {
    const before = await head()
    const startedAt = performance.now()
    const answer = await send()
    const ms = performance.now() - startedAt
    if (!statuses.includes(answer.status)) throw new Error(`${what}: ${answer.status} ${answer.body.slice(0, 600)}`)
    if (ms > 5000) throw new Error(`${what}: took ${ms} ms`)
    if (answer.body.length > 200_000) throw new Error(`${what}: ${answer.body.length} characters of complaint`)
    expect(await head()).toEqual(before)
    return String(answer.status)
  }

  attack('A209', 'SSRF', 'the look whether an upstream answers, at loopback, metadata and our own ports in every spelling', async () => {
    const port = inner.port
    const hosts = [
      '127.0.0.1',
      '127.1',
      '2130706433',
      '0x7f.1',
      '0x7f000001',
      '0177.0.0.1',
      '017700000001',
      '127.0.0.1.',
      '127.127.127.127',
    ]
    const names = [
      'localhost',
      'LOCALHOST',
      'localhost.',
      'inner.localhost',
      'app.corp.localhost',
      'ip6-localhost',
      '⓵27.0.0.1',
      '127。0。0。1',
    ]
    const six = [
      '[::1]',
      '[::]',
      '[::ffff:127.0.0.1]',
      '[::ffff:7f00:1]',
      '[0:0:0:0:0:ffff:7f00:0001]',
      '[64:ff9b::7f00:1]',
      '[::127.0.0.1]',
    ]
    const zeros = ['0', '0.0.0.0', '00.0.0']
    const elsewhere = [
      '169.254.169.254',
      '[fe80::1]',
      '[fd00:ec2::254]',
      '100.100.100.200',
      '192.168.0.1',
      '10.0.0.1',
      '[::ffff:169.254.169.254]',
    ]
    const targets = [
      ...[...hosts, ...names, ...six, ...zeros].flatMap((host) => [`http://${host}:${port}/`, `https://${host}:${port}/`]),
      ...elsewhere.map((host) => `http://${host}/latest/meta-data/`),
      ...[rig.port, operations, rig.redis?.port ?? 0].flatMap((ours) => [`http://127.0.0.1:${ours}/`, `http://localhost:${ours}/`]),
      `http://127.0.0.1:${open.port}@127.0.0.1:${port}/`,
      `http://u:p@127.0.0.1:${port}/`,
      `http://127.0.0.1:${open.port}\\@127.0.0.1:${port}/`,
      `http://127.0.0.1:${port}#@127.0.0.1:${open.port}/`,
      `http://allowed.internal@127.0.0.1:${port}/`,
      `http:127.0.0.1:${port}`,
      `//127.0.0.1:${port}`,
      `gopher://127.0.0.1:${port}/_x`,
      'file:///etc/passwd',
      'unix:/run/x.sock',
      `ws://127.0.0.1:${port}/`,
      `http://127.0.0.1:${port}/\r\nHost: x`,
      `\thttp://127.0.0.1:${port}/`,
      `http://127.0.0.1%3A${port}/`,
      `http://127.0.0.1:0${port}/`,
      `http://127.0.0.1%00.allowed.internal:${port}/`,
      'http://127.0.0.1:99999/',
      '',
    ]
    const outcomes: string[] = []
    for (const upstream of targets) {
      const answer = await order('POST', '/apps/check-upstream', { upstream })
      const { error, result } = json<{ error?: string; result?: string }>(answer)
      // A name that nobody knows was looked up, since an address is listed, and led nowhere. A backslash ends the host, as browsers read it.
      const isOpen = upstream.includes('\\@') && result === 'answers'
      if (result !== 'not_allowed' && result !== 'name_unknown' && error !== 'malformed' && !isOpen)
        throw new Error(`${upstream}: ${answer.status} ${answer.body}`)
      outcomes.push(result ?? error ?? '')
    }
    return summarise(outcomes)
  })

  attack('A209b', 'SSRF', 'redirects of one that may be asked, what it is sent, what of its answer is told, and how often', async () => {
    open.reset()
    open.answerWith(`HTTP/1.1 302 Found\r\nLocation: ${inner.origin}/admin\r\nX-Secret: of-the-upstream\r\nConnection: close\r\n\r\n`)
    const answer = await order('POST', '/apps/check-upstream', { upstream: `${open.origin}/` })
    expect(json(answer)).toEqual({ result: 'answers', status_class: '3xx', tls_code: null })
    const [seen] = open.requests()
    expect(seen?.method).toBe('HEAD')
    expect(open.bytes()).not.toMatch(/cookie|authorization|pst_|x-forwarded/i)
    open.answerWith((socket) => socket.write('HTTP/1.1 200 OK\r\n'.padEnd(100_000, 'x')))
    expect(json<{ result: string }>(await order('POST', '/apps/check-upstream', { upstream: open.origin })).result).toMatch(
      /not_http|unreachable/,
    )
    open.answerWith(() => undefined)
    expect(json<{ result: string }>(await order('POST', '/apps/check-upstream', { upstream: open.origin })).result).toBe('timeout')
    open.answerWith(undefined)
    const statuses: number[] = []
    for (let count = 0; count < 25; count++)
      statuses.push((await alice.api('POST', '/apps/check-upstream', tokens[0], { upstream: open.origin })).status)
    expect(statuses.at(-1)).toBe(429)
    return `redirect not followed; ${statuses.filter((status) => status === 429).length} of 25 refused`
  })

  attack('A205', 'SSRF', 'upstreams of a published app, of a file it names, of the issuer of a service', async () => {
    const outcomes: string[] = []
    const bad = [
      inner.origin,
      `http://localhost:${inner.port}`,
      'http://169.254.169.254',
      `http://127.0.0.1:${operations}`,
      rig.origin('access'),
    ]
    const odd = [
      'http://2130706433',
      'http://0x7f.1',
      'http://[::ffff:127.0.0.1]',
      'gopher://x',
      'file:///etc/passwd',
      'http://u:p@allowed.internal',
    ]
    for (const upstream of [...bad, ...odd]) {
      outcomes.push(await mustRefuse(upstream, () => push(documentOf([appText({ upstream })]))))
      outcomes.push(await mustRefuse(`one of two: ${upstream}`, () => push(documentOf([appText({ upstream: [open.origin, upstream] })]))))
    }
    const stores = `http://127.0.0.1:${rig.redis?.port}`
    outcomes.push(await mustRefuse('the store', () => push(documentOf([appText({ upstream: stores })]))))
    for (const ca_file of ['/etc/passwd', '../keys.json', './../../etc/passwd', 'policy.yaml/../../x', 'C:\\x']) {
      const answer = await push(documentOf([appText({ upstream: { url: 'https://allowed.internal', ca_file } })]))
      expect(answer.status).toBe(422)
      expect(answer.body).not.toMatch(/root:|PRIVATE|"d":/)
    }
    const services = { nightly: { jwt: { issuer: `http://127.0.0.1:${inner.port}`, audience: 'x', jwks_uri: `${inner.origin}/jwks` } } }
    outcomes.push(await mustRefuse('an issuer', () => push(documentOf([appText()], { services }))))
    return summarise(outcomes)
  })

  attack(
    'A223',
    'ADMIN',
    'an app at the address of the console, at that of another app, at every address; without the level that guards the console',
    async () => {
      const outcomes: string[] = []
      const access = rig.origin('access')
      const urls = [access, access.toUpperCase(), `${access}/console`, `${access}.`, `http://*.corp.localhost:${rig.port}`, '*', 'http://*']
      urls.push(
        rig.origin('app'),
        `http://u@x.corp.localhost:${rig.port}`,
        `http://127.0.0.1:${rig.port}`,
        'http://',
        `//${new URL(access).host}`,
      )
      for (const url of urls) {
        const text = documentOf([appText(), appText({ id: 'mine', url })])
        outcomes.push(await mustRefuse(url, () => push(text)))
      }
      outcomes.push(await mustRefuse('no level', () => push(JSON.stringify({ apps: [appText()] }))))
      const secret = { auth: { secret: 'session' } }
      outcomes.push(await mustRefuse('an unknown key', () => push(documentOf([appText(secret)]))))
      outcomes.push(
        await mustRefuse('a rule about the console', () =>
          push(documentOf([appText()], { console: { roles: { admin: { signed_in: true } } } })),
        ),
      )
      expect((await alice.open('/console/apps')).status).toBe(200)
      return summarise(outcomes)
    },
  )

  attack('A226', 'ADMIN', 'two admins save the same draft and publish over the same revision; one is told, none overwrites', async () => {
    const begun = json<{ draft: { id: string; version: number; hash: string } }>(
      await order('POST', '/policy/drafts', { comment: 'both' }),
    ).draft
    const put = (content: string) =>
      order('PUT', `/policy/drafts/${begun.id}/file`, { version: begun.version, path: 'policy.yaml', content })
    const saved = await Promise.all([put(documentOf([appText({ name: 'first' })])), put(documentOf([appText({ name: 'second' })]))])
    expect(saved.map(({ status }) => status).sort()).toEqual([200, 409])
    const [left, right] = await Promise.all([push(documentOf([appText({ name: 'left' })])), push(documentOf([appText({ name: 'right' })]))])
    expect([left.status, right.status].sort()).toEqual([200, 409])
    // What was looked at is what is published, or nothing.
    const stale = await order('POST', `/policy/drafts/${begun.id}/publish`, { hash: begun.hash, confirmations: [] })
    expect(stale.status).toBe(409)
    const revisions = json<{ entries: { number: number }[] }>(await order('GET', '/policy/revisions')).entries
    expect(revisions.map(({ number }) => number)).toEqual([2, 1])
    const lines = await rig.audit()
    expect(lines.filter(({ event }) => event === 'policy.published').map(({ revision }) => revision)).toEqual([1, 2])
    expect(lines.filter(({ event }) => event === 'policy.publication_refused')).toHaveLength(1)
    return 'one saved and one told; one published and one told; a stale look refused'
  })

  attack('A222c', 'ADMIN', 'a draft by another spelling of its id, by an id in the body, by files outside of it', async () => {
    const { id } = json<{ draft: { id: string } }>(await order('POST', '/policy/drafts', { comment: 'mine' })).draft
    const other = json<{ draft: { id: string } }>(await order('POST', '/policy/drafts', { comment: 'another' })).draft.id
    const swapped = id.replace(/[a-z]/i, (letter) => (letter === letter.toLowerCase() ? letter.toUpperCase() : letter.toLowerCase()))
    const outcomes: string[] = []
    for (const name of [swapped, `${id}%00`, `${id}%20`, `.%2F${id}`, `${id}:x`, '__proto__', 'constructor', '%2A', 'x'.repeat(5000)]) {
      const { status } = await order('GET', `/policy/drafts/${name}`)
      if (![400, 404, 414].includes(status)) throw new Error(`${name}: ${status}`)
      outcomes.push(String(status))
    }
    for (const body of [
      { version: 0, draft: other },
      { version: 0, id: other },
      { version: 0, __proto__: { draft: other } },
    ]) {
      const { status } = await order('POST', `/policy/drafts/${id}/discard`, JSON.stringify(body).replace('"id"', '"draft"'))
      if (status < 400 && 'draft' in body) throw new Error(`${JSON.stringify(body)}: ${status}`)
      outcomes.push(String(status))
    }
    expect((await order('GET', `/policy/drafts/${other}`)).status).toBe(200)
    for (const path of [
      '../keys.json',
      '/etc/passwd',
      'a/../../x.yaml',
      '.hidden.yaml',
      'x\u0000.yaml',
      'a\\..\\x',
      'con\r\nx.yaml',
      '__proto__',
      'x\u202eyaml.exe',
    ]) {
      const put = await order('PUT', `/policy/drafts/${other}/file`, { version: 0, path, content: 'x' })
      if (put.status < 400 && path !== '__proto__') throw new Error(`${JSON.stringify(path)}: ${put.status}`)
      outcomes.push(`file ${put.status}`)
    }
    return summarise(outcomes)
  })
})
