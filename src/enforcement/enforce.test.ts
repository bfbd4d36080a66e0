/** The flow on real sockets: what is answered, what the upstream received, and what is on record. */

import { createHash } from 'node:crypto'
import { afterEach, describe, expect, test } from 'vitest'
import type { AuditEvent } from '../audit/event.ts'
import { PosternError } from '../errors.ts'
import { rule } from '../policy/policy.fixture.ts'
import { type FlowRig, type FlowRigOptions, get, isComplete, navigation, startFlow, wiki, wikiOrigin } from './enforcement.fixture.ts'

const rigs: FlowRig[] = []
afterEach(async () => {
  for (const rig of rigs.splice(0)) await rig.close()
})

async function begin(options: FlowRigOptions = {}): Promise<FlowRig> {
  const rig = await startFlow(options)
  rigs.push(rig)
  return rig
}

describe('a person who is allowed', () => {
  test('gets the app, which is told who it is', async () => {
    const rig = await begin()
    const { cookie, session } = await rig.signIn('alice')
    const answer = await rig.ask(get('/page?q=1', [`Cookie: ${cookie}; theme=dark`, 'X-Forwarded-User: root']))
    expect(answer).toMatchObject({ status: 200, body: 'hello' })
    expect(answer.headers['x-postern-request']).toMatch(/^[0-9a-f-]{36}$/)
    expect(answer.headers['x-postern']).toBeUndefined()
    const received = rig.upstream.received()
    expect(received).toContain('GET /page?q=1 HTTP/1.1\r\n')
    expect(received).toContain('X-Forwarded-User: alice\r\n')
    expect(received).toContain('X-Forwarded-Email: alice@corp.example\r\n')
    expect(received).toContain('X-Forwarded-Groups: staff\r\n')
    expect(received).toMatch(/X-Postern-Assertion: [\w-]+\.[\w-]+\.[\w-]+\r\n/)
    expect(received).toContain(`X-Request-Id: ${answer.headers['x-postern-request']}\r\n`)
    expect(received).toContain('Cookie: theme=dark\r\n')
    expect(received).not.toContain('root')
    expect(rig.events[0]).toMatchObject({
      event: 'access.decided',
      request: answer.headers['x-postern-request'],
      subject: { kind: 'person', sub: 'alice', email: 'alice@corp.example' },
      session: session.id,
      app: 'wiki',
      effect: 'allow',
      rule: 'staff',
      path: '/page',
      query: undefined,
      claimsState: 'fresh',
    })
    await expect.poll(() => rig.events[1]).toMatchObject({ event: 'access.ended', status: 200, bytesOut: 5, outcome: 'completed' })
    expect(rig.observed).toMatchObject([{ app: 'wiki', effect: 'allow', reason: 'rule_matched', status: 200 }])
  })

  test('is on record before the first byte is forwarded', async () => {
    const rig = await begin({
      ports: {
        audit: {
          record: () => {
            throw new Error('no disk')
          },
          settle: async () => true,
          segment: () => 1,
          isWritable: () => true,
          close: () => Promise.resolve(),
        },
      },
    })
    const { cookie } = await rig.signIn('alice')
    expect((await rig.ask(get('/page', [`Cookie: ${cookie}`]))).status).toBe(403)
    expect(rig.upstream.received()).toBe('')
  })

  test('is refused on a restricted app while the trail cannot be written', async () => {
    const audit = {
      record: () => undefined,
      settle: async () => true,
      segment: () => 1,
      isWritable: () => false,
      close: () => Promise.resolve(),
    }
    const rig = await begin({ apps: [wiki({ sensitivity: 'restricted' })], ports: { audit } })
    const { cookie } = await rig.signIn('alice')
    const answer = await rig.ask(get('/page', [`Cookie: ${cookie}`]))
    expect(answer).toMatchObject({ status: 503, headers: { 'x-postern': 'audit_unavailable', 'retry-after': '5' } })
    expect(rig.upstream.received()).toBe('')
  })

  test('is refused on a restricted app where its own line was the first that found no room', async () => {
    const told: AuditEvent[] = []
    const record = (event: AuditEvent) => {
      if (event.event === 'access.decided') told.push(event)
    }
    const audit = {
      record,
      settle: async () => true,
      segment: () => 1,
      isWritable: () => told.length === 0,
      close: () => Promise.resolve(),
    }
    const rig = await begin({ apps: [wiki({ sensitivity: 'restricted' })], ports: { audit } })
    const { cookie } = await rig.signIn('alice')
    expect(await rig.ask(get('/page', [`Cookie: ${cookie}`]))).toMatchObject({ status: 503, headers: { 'x-postern': 'audit_unavailable' } })
    expect(rig.upstream.received()).toBe('')
    expect(told).toMatchObject([{ effect: 'allow' }, { effect: 'deny', reason: 'audit_unavailable' }])
  })
})

describe('a stranger', () => {
  test('who navigates is sent to sign in, with a sealed attempt whose hash travels', async () => {
    const rig = await begin()
    const answer = await rig.ask(get('/page?q=a%20b', navigation))
    expect(answer).toMatchObject({ status: 302, headers: { 'x-postern': 'login_required', 'cache-control': 'no-store' } })
    const location = new URL(String(answer.headers['location']))
    expect(location.origin + location.pathname).toBe('https://access.corp.example/sign-in')
    expect(location.searchParams.get('return_to')).toBe(`${wikiOrigin}/page?q=a%20b`)
    const attempt = location.searchParams.get('attempt') ?? ''
    const cookie = String(answer.headers['set-cookie'])
    expect(cookie).toMatch(/^__Host-postern-login-[\w-]+=[\w-]+; Path=\/; HttpOnly; SameSite=Lax; Secure$/)
    const kept = rig.cookies.readAppAttempt(attempt.slice(0, 16), cookie.split(';')[0], new URL(wikiOrigin))
    expect(kept?.returnTo).toBe(`${wikiOrigin}/page?q=a%20b`)
    expect(
      createHash('sha256')
        .update(kept?.secret ?? '')
        .digest('base64url'),
    ).toBe(attempt)
    expect(rig.upstream.received()).toBe('')
    expect(rig.events).toMatchObject([
      { event: 'access.decided', subject: { kind: 'nobody' }, effect: 'challenge', reason: 'login_required' },
    ])
  })

  test('who posts a form is sent with 303, and comes back to the path alone', async () => {
    const rig = await begin()
    const answer = await rig.ask(get('/edit?token=1', [...navigation, 'Content-Length: 0'], undefined, 'POST'))
    expect(answer.status).toBe(303)
    expect(new URL(String(answer.headers['location'])).searchParams.get('return_to')).toBe(`${wikiOrigin}/edit`)
  })

  test('which is a program gets JSON that says where to sign in, and no cookie', async () => {
    const rig = await begin()
    for (const lines of [
      [],
      ['Accept: application/json'],
      ['Accept: text/html', 'X-Requested-With: XMLHttpRequest'],
      ['Sec-Fetch-Mode: cors', 'Sec-Fetch-Dest: empty', 'Accept: text/html'],
    ]) {
      const answer = await rig.ask(get('/api', lines))
      expect(answer).toMatchObject({
        status: 401,
        headers: {
          'www-authenticate': 'Postern realm="wiki.corp.example"',
          'x-postern': 'login_required',
          'x-content-type-options': 'nosniff',
        },
      })
      expect(answer.headers['set-cookie']).toBeUndefined()
      expect(JSON.parse(answer.body)).toMatchObject({
        error: 'login_required',
        sign_in: 'https://access.corp.example/sign-in?return_to=https%3A%2F%2Fwiki.corp.example',
        request_id: answer.headers['x-postern-request'],
      })
      expect(answer.body).not.toContain('Wiki')
    }
  })

  test('in a frame gets a page that leads out of it', async () => {
    const rig = await begin()
    const answer = await rig.ask(get('/embed', ['Sec-Fetch-Mode: navigate', 'Sec-Fetch-Dest: iframe']))
    expect(answer.status).toBe(401)
    expect(JSON.parse(answer.body)).toMatchObject({
      reason: 'login_required',
      signInUrl: expect.stringContaining('return_to=https%3A%2F%2Fwiki.corp.example%2Fembed'),
    })
  })

  test('asking by HEAD gets the head alone, and the connection stays in step', async () => {
    const rig = await begin()
    const client = await rig.connect()
    client.send(get('/api', [], undefined, 'HEAD') + get('/api'))
    const received = await client.until((text) => text.split('HTTP/1.1 401').length === 3 && text.endsWith('}\n'))
    expect(received.split('login_required"').length).toBe(2)
  })

  test('reaches what is public, without any identity, and is on record', async () => {
    const rig = await begin()
    const answer = await rig.ask(get('/public/x', ['X-Forwarded-User: root', 'X_Forwarded_Groups: admins']))
    expect(answer.status).toBe(200)
    expect(rig.upstream.received()).not.toMatch(/x.forwarded.user|x.forwarded.groups|assertion/i)
    expect(rig.events[0]).toMatchObject({ effect: 'allow', reason: 'public', subject: { kind: 'nobody' } })
  })

  test('with a secret that nobody has, and with two different ones, is a stranger', async () => {
    const rig = await begin()
    const { cookie } = await rig.signIn('alice')
    const other = `__Host-postern-app=${'A'.repeat(43)}`
    for (const header of [other, '__Host-postern-app=x', `${cookie}; ${other}`, `postern-app=${cookie.split('=')[1]}`]) {
      expect((await rig.ask(get('/page', [`Cookie: ${header}`]))).status).toBe(401)
    }
    expect(rig.upstream.received()).toBe('')
  })

  test('with the secret of another origin is a stranger', async () => {
    const payroll = wiki({
      id: 'payroll',
      address: { origin: 'https://payroll.corp.example', hostname: 'payroll.corp.example', port: 443, prefix: '/' },
    })
    const rig = await begin({ apps: [wiki(), payroll] })
    const { cookie } = await rig.signIn('alice', 'https://payroll.corp.example')
    expect((await rig.ask(get('/page', [`Cookie: ${cookie}`]))).status).toBe(401)
    expect((await rig.ask(get('/page', [`Cookie: ${cookie}`], 'payroll.corp.example'))).status).toBe(200)
  })
})

describe('a person who is not allowed', () => {
  test('sees a page that says why, and a program JSON with the same facts', async () => {
    const rig = await begin()
    const { cookie } = await rig.signIn('carol', wikiOrigin, {})
    const page = await rig.ask(get('/admin/secret', [...navigation, `Cookie: ${cookie}`]))
    expect(page).toMatchObject({ status: 403, headers: { 'x-postern': 'denied_by_rule', 'content-type': 'text/html; charset=utf-8' } })
    expect(JSON.parse(page.body)).toMatchObject({
      reason: 'denied_by_rule',
      person: 'Name of carol',
      retryPath: '/admin/secret',
      app: { name: 'Wiki' },
    })
    const retryPathOf = async (head: string) => (JSON.parse((await rig.ask(head)).body) as { retryPath: string }).retryPath
    const asked = get('/admin/secret?tab=2', [...navigation, `Cookie: ${cookie}`])
    expect(await retryPathOf(asked)).toBe('/admin/secret?tab=2')
    // A form is not sent again, and what was its query may be no page.
    const form = [...navigation, 'Sec-Fetch-Site: same-origin', `Cookie: ${cookie}`, 'Content-Length: 0']
    expect(await retryPathOf(get('/admin/secret?tab=2', form).replace('GET', 'POST'))).toBe('/admin/secret')
    const json = await rig.ask(get('/admin/secret', [`Cookie: ${cookie}`]))
    expect(json.status).toBe(403)
    expect(JSON.parse(json.body)).toMatchObject({ error: 'denied_by_rule', person: 'Name of carol', app: { name: 'Wiki' } })
    expect(rig.upstream.received()).toBe('')
  })

  test('and for whom the app is hidden learns nothing of it', async () => {
    const rig = await begin({ apps: [wiki({ portal: 'hidden', rules: [rule('allow', { kind: 'groups', groups: ['board'] })] })] })
    const { cookie } = await rig.signIn('carol')
    const answer = await rig.ask(get('/', [...navigation, `Cookie: ${cookie}`]))
    expect(answer).toMatchObject({ status: 404, headers: { 'x-postern': 'app_not_found' } })
    expect(answer.body).not.toContain('Wiki')
    expect(rig.events[0]).toMatchObject({ app: 'wiki', reason: 'no_rule_matched', subject: { sub: 'carol' } })
  })
})

describe('a session', () => {
  test('that was ended is not live a moment later', async () => {
    const rig = await begin()
    const { cookie, session } = await rig.signIn('alice')
    expect((await rig.ask(get('/page', [`Cookie: ${cookie}`]))).status).toBe(200)
    await rig.sessions.endSession(session.id, 'revoked')
    expect(await rig.ask(get('/page', [`Cookie: ${cookie}`]))).toMatchObject({ status: 401, headers: { 'x-postern': 'session_ended' } })
  })

  test('is used by what its browser sends in a WebSocket', async () => {
    const accept = 'Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo='
    const rig = await begin({ upstreamSays: `HTTP/1.1 101 Switching Protocols\r\n${accept}\r\n\r\n` })
    const { cookie, session } = await rig.signIn('alice')
    const client = await rig.connect()
    const handshake = ['Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==', 'Sec-Fetch-Site: same-origin']
    client.send(get('/live', ['Connection: Upgrade', 'Upgrade: websocket', `Cookie: ${cookie}`, ...handshake]))
    await client.until((text) => text.startsWith('HTTP/1.1 101 '))
    rig.clock.move(1_700_000)
    client.send(Buffer.from([0x81, 0x81, 0, 0, 0, 0, 0x61]))
    const usedAt = async () => {
      const lookup = await rig.sessions.findById(session.id)
      return lookup.state === 'live' ? lookup.session.lastUsedAt : undefined
    }
    await expect.poll(usedAt).toBe(rig.clock.now())
    await expect.poll(() => rig.upstream.received()).toContain('\x81\x81\0\0\0\0a')
    rig.clock.move(1_700_000)
    expect((await rig.sessions.findById(session.id)).state).toBe('live')
  })

  test('is held to an app’s own limits by the store’s clock, whatever this machine’s says', async () => {
    const apps = [wiki({ session: { idleTimeoutSeconds: 300, lifetimeSeconds: 300 } })]
    const rig = await begin({ apps, ports: { now: () => rig.clock.now() + 600_000 } })
    const { cookie } = await rig.signIn('alice')
    expect((await rig.ask(get('/page', [`Cookie: ${cookie}`]))).status).toBe(200)
    expect((await rig.ask(get('/.postern/whoami', [`Cookie: ${cookie}`]))).status).toBe(200)
    rig.clock.move(301_000)
    expect((await rig.ask(get('/page', [`Cookie: ${cookie}`]))).headers['x-postern']).toBe('session_expired')
  })

  test.each([
    ['idle', { idleTimeoutSeconds: 300, lifetimeSeconds: undefined }],
    ['old', { idleTimeoutSeconds: undefined, lifetimeSeconds: 300 }],
  ])('that is too %s for one app is over there, and live on the others', async (_what, limits) => {
    const address = { origin: 'https://strict.corp.example', hostname: 'strict.corp.example', port: 443, prefix: '/' }
    const rig = await begin({ apps: [wiki(), wiki({ id: 'strict', address, session: limits })] })
    const strict = await rig.signIn('alice', address.origin)
    const secret = (await rig.sessions.openAppSession(strict.session.id, wikiOrigin)) ?? ''
    const ask = (cookie: string, host: string) => rig.ask(get('/page', [`Cookie: ${cookie}`], host))
    rig.clock.move(299_000)
    expect((await ask(strict.cookie, 'strict.corp.example')).status).toBe(200)
    rig.clock.move(limits.idleTimeoutSeconds === undefined ? 1000 : 301_000)
    expect(await ask(strict.cookie, 'strict.corp.example')).toMatchObject({ status: 401, headers: { 'x-postern': 'session_expired' } })
    expect((await ask(`__Host-postern-app=${secret}`, 'wiki.corp.example')).status).toBe(200)
  })

  test('that is used stays', async () => {
    const rig = await begin({ apps: [wiki({ session: { idleTimeoutSeconds: 300, lifetimeSeconds: undefined } })] })
    const { cookie, session } = await rig.signIn('alice')
    for (let i = 0; i < 5; i++) {
      rig.clock.move(200_000)
      expect((await rig.ask(get('/page', [`Cookie: ${cookie}`]))).status).toBe(200)
      const isWritten = async () => {
        const lookup = await rig.sessions.findById(session.id)
        return lookup.state === 'live' && lookup.session.lastUsedAt === rig.clock.now()
      }
      await expect.poll(isWritten).toBe(true)
    }
  })
})

describe('a failure', () => {
  test('of the store is 503 and never a pass', async () => {
    const away = () => Promise.reject(new PosternError('session_store_unavailable', 'gone'))
    const rig = await begin()
    const { cookie } = await rig.signIn('alice')
    rig.sessions.findByAppSecret = away
    const page = await rig.ask(get('/page', [...navigation, `Cookie: ${cookie}`]))
    expect(page).toMatchObject({ status: 503, headers: { 'x-postern': 'session_store_unavailable', 'retry-after': '5' } })
    expect(JSON.parse(page.body)).toMatchObject({ reason: 'session_store_unavailable' })
    expect((await rig.ask(get('/.postern/whoami', [`Cookie: ${cookie}`]))).status).toBe(503)
    expect(rig.upstream.received()).toBe('')
  })

  test('that nobody thought of is a denial, on record and in the log', async () => {
    const rig = await begin({
      ports: {
        readSubject: () => {
          throw new TypeError('boom: secret detail')
        },
      },
    })
    const { cookie } = await rig.signIn('alice')
    const answer = await rig.ask(get('/page', [`Cookie: ${cookie}`]))
    expect(answer).toMatchObject({ status: 403, headers: { 'x-postern': 'evaluation_failed' } })
    expect(answer.body).not.toContain('boom')
    expect(rig.upstream.received()).toBe('')
    expect(rig.events).toMatchObject([{ effect: 'deny', reason: 'evaluation_failed', app: 'wiki' }])
    expect(rig.logged.filter(({ level }) => level === 'error')).toHaveLength(1)
  })

  test('to sign the assertion denies', async () => {
    const rig = await begin()
    const { cookie } = await rig.signIn('alice')
    Object.assign(rig.ring.assertion.current, { privateKey: 'no key' })
    expect(await rig.ask(get('/page', [`Cookie: ${cookie}`]))).toMatchObject({ status: 403, headers: { 'x-postern': 'evaluation_failed' } })
    expect(rig.upstream.received()).toBe('')
  })

  test('of the upstream is 502 that never names it', async () => {
    const rig = await begin()
    const { cookie } = await rig.signIn('alice')
    await rig.upstream.close()
    const answer = await rig.ask(get('/page', [...navigation, `Cookie: ${cookie}`]))
    expect(answer).toMatchObject({ status: 502, headers: { 'x-postern': 'upstream_unreachable' } })
    expect(JSON.stringify(answer)).not.toContain('127.0.0.1')
    expect(rig.events.at(-1)).toMatchObject({
      event: 'access.ended',
      status: 502,
      outcome: 'upstream_failed',
      reason: 'upstream_unreachable',
    })
  })
})

describe('the address', () => {
  test.each([
    'unknown.example',
    'localhost',
    '127.0.0.1',
    '[::1]',
    'wiki.corp.example:8443',
    'wiki.corp.example:80',
    'access.corp.example:444',
    'xwiki.corp.example',
  ])('%s is nobody’s', async (host) => {
    const rig = await begin()
    const { cookie } = await rig.signIn('alice')
    expect(await rig.ask(get('/page', [`Cookie: ${cookie}`], host))).toMatchObject({
      status: 404,
      headers: { 'x-postern': 'app_not_found' },
    })
    expect(rig.upstream.received()).toBe('')
  })

  test('a host that is nobody’s has what its 404 page looks like, and nothing else of ours', async () => {
    const rig = await begin()
    expect(await rig.ask(get('/.postern/assets/abc.css', [], 'unknown.corp.example'))).toMatchObject({ status: 200, body: 'body{}' })
    for (const path of ['/.postern/whoami', '/.postern/jwks.json', '/.postern/sign-out', '/.postern/assets/other.css']) {
      expect(await rig.ask(get(path, [], 'unknown.corp.example'))).toMatchObject({ status: 404, headers: { 'x-postern': 'app_not_found' } })
    }
  })

  test.each(['WIKI.corp.EXAMPLE', 'wiki.corp.example.', 'wiki.corp.example:443'])('%s is the app’s in another spelling', async (host) => {
    const rig = await begin()
    const { cookie } = await rig.signIn('alice')
    expect((await rig.ask(get('/page', [`Cookie: ${cookie}`], host))).status).toBe(200)
    expect((await rig.ask(get('/admin/x', [`Cookie: ${cookie}`], host))).status).toBe(403)
  })

  test('of an app is cut at a segment, and the longest prefix wins', async () => {
    const tool = wiki({
      id: 'tool',
      name: 'Tool',
      address: { origin: wikiOrigin, hostname: 'wiki.corp.example', port: 443, prefix: '/tools/x' },
      rules: [],
    })
    const rig = await begin({ apps: [wiki(), tool] })
    const { cookie } = await rig.signIn('alice')
    for (const [path, status] of [
      ['/tools/x', 403],
      ['/tools/x/y', 403],
      ['/tools/xy', 200],
      ['/tools', 200],
    ] as const) {
      expect([path, (await rig.ask(get(path, [`Cookie: ${cookie}`]))).status]).toEqual([path, status])
    }
  })

  test('of our own host goes to the control plane, which is told what was worked out and nothing that a client claims', async () => {
    const rig = await begin()
    const answer = await rig.ask(
      get(
        '/%63onsole?x=1',
        ['X-Forwarded-Proto: javascript', 'X-Forwarded-Host: evil.example', 'X-Postern-Assertion: x', 'X-Forwarded-For: 1.2.3.4'],
        'ACCESS.corp.example.',
      ),
    )
    const { url, headers, context } = JSON.parse(answer.body)
    expect(url).toBe('/console?x=1')
    expect(headers).toEqual({ host: 'access.corp.example', 'x-forwarded-proto': 'https' })
    expect(context).toEqual({ requestId: answer.headers['x-postern-request'], address: '127.0.0.1' })
    expect((await rig.ask(get('/a%2fb', [], 'access.corp.example'))).status).toBe(400)
  })
})

describe('a path that only some apps may receive', () => {
  test('is refused, and passed unchanged where the app keeps it', async () => {
    const rig = await begin()
    const { cookie } = await rig.signIn('alice')
    for (const path of ['/a%2fb', '/a;v=1', '//a']) expect((await rig.ask(get(path, [`Cookie: ${cookie}`]))).status).toBe(400)
    rig.load([wiki({ pathRules: ['encoded_slash', 'semicolon'] })])
    expect((await rig.ask(get('/a%2fb;v=1', [`Cookie: ${cookie}`]))).status).toBe(200)
    expect((await rig.ask(get('//a', [`Cookie: ${cookie}`]))).status).toBe(400)
    expect(rig.upstream.received().match(/GET \S+/g)).toEqual(['GET /a%2Fb;v=1'])
  })

  test('belongs to the app that its prefix says, whatever another app on the host keeps', async () => {
    const strict = wiki({
      id: 'strict',
      address: { origin: wikiOrigin, hostname: 'wiki.corp.example', port: 443, prefix: '/strict' },
      rules: [],
    })
    const rig = await begin({ apps: [wiki({ pathRules: ['semicolon', 'encoded_slash'] }), strict] })
    const { cookie } = await rig.signIn('alice')
    expect((await rig.ask(get('/strict/a;b', [`Cookie: ${cookie}`]))).status).toBe(400)
    expect(rig.upstream.received()).toBe('')
  })
})

describe('requests on one connection', () => {
  test('are each decided, answered in order, and stay in step after a denial (A106)', async () => {
    const rig = await begin()
    const { cookie } = await rig.signIn('alice')
    const lines = [`Cookie: ${cookie}`]
    const client = await rig.connect()
    client.send(get('/a', lines) + get('/admin/secret', lines) + get('/b', lines) + get('/c'))
    const received = await client.until((text) => text.includes('HTTP/1.1 401') && text.endsWith('}\n'))
    expect(received.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 200', 'HTTP/1.1 403', 'HTTP/1.1 200', 'HTTP/1.1 401'])
    expect(
      rig.upstream
        .received()
        .match(/GET \S+/g)
        ?.sort(),
    ).toEqual(['GET /a', 'GET /b'])
  })

  test('are not taken from the body of one that was refused', async () => {
    const rig = await begin()
    const smuggled = get('/public/smuggled')
    const client = await rig.connect()
    client.send(`${get('/page', [`Content-Length: ${smuggled.length}`], undefined, 'POST')}${smuggled}${get('/page')}`)
    const received = await client.until((text) => text.split('HTTP/1.1 401').length === 3 && text.endsWith('}\n'))
    expect(received.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 401', 'HTTP/1.1 401'])
    expect(rig.upstream.received()).toBe('')
  })

  test('end where a large body was refused, and the client can read the refusal', async () => {
    const rig = await begin()
    const client = await rig.connect()
    client.send(get('/page', ['Content-Length: 9000000'], undefined, 'POST'))
    client.send('x'.repeat(500_000))
    expect(await client.until(isComplete)).toMatch(/^HTTP\/1\.1 401 [\s\S]*connection: close/i)
    client.send(get('/public/x'))
    await client.closed
    expect(rig.upstream.received()).toBe('')
  })

  test('that expect 100 are answered with the refusal and never with 100', async () => {
    const rig = await begin()
    const client = await rig.connect()
    client.send(get('/page', ['Content-Length: 5', 'Expect: 100-continue'], undefined, 'POST'))
    await client.closed
    expect(client.received()).toMatch(/^HTTP\/1\.1 401 /)
  })

  test('that expect 100 get it after an allow', async () => {
    const rig = await begin()
    const { cookie } = await rig.signIn('alice')
    const client = await rig.connect()
    client.send(
      get('/page', ['Content-Length: 5', 'Expect: 100-continue', `Cookie: ${cookie}`, `Origin: ${wikiOrigin}`], undefined, 'POST'),
    )
    await client.until((text) => text.startsWith('HTTP/1.1 100 Continue\r\n\r\n'))
    client.send('12345')
    await client.until((text) => text.endsWith('hello'))
    expect(rig.upstream.received()).not.toMatch(/expect/i)
  })
})
