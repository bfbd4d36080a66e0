/** The paths of ours on an app host, and the hand-off that they complete. */

import { createPublicKey, verify } from 'node:crypto'
import { afterEach, describe, expect, test } from 'vitest'
import { rule } from '../policy/policy.fixture.ts'
import {
  type FlowRig,
  type FlowRigOptions,
  get,
  navigation,
  type ParsedAnswer,
  parseAnswer,
  startFlow,
  wiki,
  wikiOrigin,
} from './enforcement.fixture.ts'

const rigs: FlowRig[] = []
afterEach(async () => {
  for (const rig of rigs.splice(0)) await rig.close()
})

async function begin(options: FlowRigOptions = {}): Promise<FlowRig> {
  const rig = await startFlow(options)
  rigs.push(rig)
  return rig
}

/** A browser that was sent to sign in, and what the access host would mint for it. */
async function beginAttempt(rig: FlowRig, sub = 'alice', path = '/page?q=1') {
  const challenge = await rig.ask(get(path, navigation))
  const attempt = new URL(String(challenge.headers['location'])).searchParams.get('attempt') ?? ''
  const cookie = String(challenge.headers['set-cookie']).split(';')[0] ?? ''
  const { session } = await rig.signIn(sub)
  const mint = (change = {}) =>
    rig.sessions.issueHandOff({ sessionId: session.id, origin: wikiOrigin, attempt, returnTo: `${wikiOrigin}${path}`, ...change })
  return { attempt, cookie, session, mint }
}

const callback = (code: string, lines: readonly string[] = []) => get(`/.postern/callback?code=${code}`, [...navigation, ...lines])
const cookiesOf = (answer: ParsedAnswer) => [answer.headers['set-cookie'] ?? []].flat()

describe('the callback', () => {
  test('signs the browser in that began, clears its attempt and goes to the page asked for', async () => {
    const rig = await begin()
    const { cookie, mint } = await beginAttempt(rig)
    const answer = await rig.ask(callback(await mint(), [`Cookie: ${cookie}`]))
    expect(answer).toMatchObject({
      status: 303,
      headers: { location: `${wikiOrigin}/page?q=1`, 'cache-control': 'no-store', 'referrer-policy': 'no-referrer' },
    })
    const [app = '', cleared = ''] = cookiesOf(answer)
    expect(app).toMatch(/^__Host-postern-app=[\w-]{43}; Path=\/; HttpOnly; SameSite=Lax; Secure$/)
    expect(cleared).toContain(`${cookie.split('=')[0]}=;`)
    expect(cleared).toContain('Max-Age=0')
    expect((await rig.ask(get('/page', [`Cookie: ${app.split(';')[0]}`]))).status).toBe(200)
  })

  test('takes a code once', async () => {
    const rig = await begin()
    const { cookie, mint } = await beginAttempt(rig)
    const code = await mint()
    expect((await rig.ask(callback(code, [`Cookie: ${cookie}`]))).status).toBe(303)
    expect(await rig.ask(callback(code, [`Cookie: ${cookie}`]))).toMatchObject({ status: 400, headers: { 'x-postern': 'bad_hand_off' } })
  })

  test('signs nobody in to the session of somebody else, and burns the code (login CSRF)', async () => {
    const rig = await begin()
    const mallory = await beginAttempt(rig, 'mallory')
    const victim = await beginAttempt(rig, 'alice')
    const code = await mallory.mint()
    const answer = await rig.ask(callback(code, [`Cookie: ${victim.cookie}`]))
    expect(answer).toMatchObject({ status: 303, headers: { location: `${wikiOrigin}/page?q=1` } })
    expect(cookiesOf(answer)).toEqual([])
    expect((await rig.ask(callback(code, [`Cookie: ${mallory.cookie}`]))).status).toBe(400)
  })

  test('refuses an attempt cookie of that name with another secret', async () => {
    const rig = await begin()
    const { attempt, mint } = await beginAttempt(rig)
    const [forged = ''] = rig.cookies.writeAttempt(
      attempt.slice(0, 16),
      { secret: 'other', returnTo: `${wikiOrigin}/` },
      undefined,
      new URL(wikiOrigin),
    )
    expect(await rig.ask(callback(await mint(), [`Cookie: ${forged.split(';')[0]}`]))).toMatchObject({
      status: 400,
      headers: { 'x-postern': 'bad_hand_off' },
    })
  })

  test('restarts once where the attempt cookie went missing, and not for ever', async () => {
    const rig = await begin()
    const { mint } = await beginAttempt(rig)
    expect(await rig.ask(callback(await mint()))).toMatchObject({ status: 303, headers: { location: `${wikiOrigin}/page?q=1` } })
    expect(await rig.ask(callback(await mint()))).toMatchObject({ status: 400, headers: { 'x-postern': 'bad_hand_off' } })
  })

  test.each([
    ['of another origin', { origin: 'https://payroll.corp.example' }],
    ['that leads away', { returnTo: 'https://evil.example/' }],
    ['that leads to a prefix of our name', { returnTo: 'https://wiki.corp.example.evil.example/' }],
    ['of a session that is gone', { sessionId: 'nobody' }],
  ])('refuses a hand-off %s', async (_what, change) => {
    const rig = await begin()
    const { cookie, mint } = await beginAttempt(rig)
    const answer = await rig.ask(callback(await mint(change), [`Cookie: ${cookie}`]))
    expect(answer).toMatchObject({ status: 400, headers: { 'x-postern': 'bad_hand_off' } })
    expect(cookiesOf(answer)).toEqual([])
  })

  test.each(['', '?', '?code=', '?code=unknown', '?code=a&code=b', '?state=x'])(
    'answers %j with a page, and records no stranger’s words',
    async (query) => {
      const rig = await begin()
      const answer = await rig.ask(get(`/.postern/callback${query}`, navigation))
      expect(answer).toMatchObject({ status: 400, headers: { 'x-postern': 'bad_hand_off', 'content-type': 'text/html; charset=utf-8' } })
      expect(JSON.parse(answer.body)).toMatchObject({ retryPath: '/' })
      expect(rig.events).toMatchObject([{ effect: 'deny', reason: 'bad_hand_off', query: undefined }])
    },
  )

  test('does not burn a code for HEAD or POST', async () => {
    const rig = await begin()
    const { cookie, mint } = await beginAttempt(rig)
    const code = await mint()
    for (const method of ['HEAD', 'POST']) {
      const client = await rig.connect()
      client.send(get(`/.postern/callback?code=${code}`, [`Cookie: ${cookie}`, 'Content-Length: 0'], undefined, method))
      expect(parseAnswer(await client.until((text) => text.includes('\r\n\r\n')))).toMatchObject({ status: 405, headers: { allow: 'GET' } })
    }
    expect((await rig.ask(callback(code, [`Cookie: ${cookie}`]))).status).toBe(303)
  })

  test('says so, and does not go round, where the session is too old for this app', async () => {
    const rig = await begin({ apps: [wiki({ session: { idleTimeoutSeconds: undefined, lifetimeSeconds: 60 } })] })
    const { cookie, mint } = await beginAttempt(rig)
    rig.clock.move(61_000)
    const answer = await rig.ask(callback(await mint(), [`Cookie: ${cookie}`]))
    expect(answer).toMatchObject({ status: 403, headers: { 'x-postern': 'sign_in_too_old' } })
    expect(JSON.parse(answer.body)).toMatchObject({ person: 'Name of alice', signOutUrl: 'https://access.corp.example/.postern/sign-out' })
  })
})

describe('sign-out', () => {
  test('by GET is a page and ends nothing', async () => {
    const rig = await begin()
    const { cookie } = await rig.signIn('alice')
    const answer = await rig.ask(get('/.postern/sign-out', [...navigation, `Cookie: ${cookie}`]))
    expect(answer.status).toBe(200)
    expect(JSON.parse(answer.body)).toEqual({
      person: 'Name of alice',
      appName: 'Wiki',
      portalUrl: 'https://access.corp.example/',
      formActionOrigins: ['https://access.corp.example'],
    })
    expect(rig.signedOut).toEqual([])
  })

  test('by POST from a page of the same origin ends the session and goes on to the provider', async () => {
    const rig = await begin()
    const { cookie, session } = await rig.signIn('alice')
    const answer = await rig.ask(
      get('/.postern/sign-out', [`Cookie: ${cookie}`, 'Sec-Fetch-Site: same-origin', 'Content-Length: 0'], undefined, 'POST'),
    )
    expect(answer).toMatchObject({ status: 303, headers: { location: 'https://op.corp.example/logout' } })
    expect(cookiesOf(answer)).toEqual(['__Host-postern-app=; Path=/; HttpOnly; SameSite=Lax; Secure; Max-Age=0'])
    expect(rig.signedOut.map(({ id }) => id)).toEqual([session.id])
    expect((await rig.ask(get('/page', [`Cookie: ${cookie}`]))).status).toBe(401)
  })

  test.each([
    [['Sec-Fetch-Site: same-site']],
    [['Sec-Fetch-Site: cross-site']],
    [['Sec-Fetch-Site: none']],
    [['Origin: https://evil.corp.example']],
    [['Origin: null']],
    [[]],
  ])('by a POST with %j ends nothing', async (lines) => {
    const rig = await begin()
    const { cookie } = await rig.signIn('alice')
    const answer = await rig.ask(get('/.postern/sign-out', [`Cookie: ${cookie}`, 'Content-Length: 0', ...lines], undefined, 'POST'))
    expect(answer).toMatchObject({ status: 403, headers: { 'x-postern': 'cross_origin' } })
    expect(rig.signedOut).toEqual([])
  })
})

test('signing out ends a session that is over for this app alone', async () => {
  const rig = await begin({ apps: [wiki({ session: { idleTimeoutSeconds: 60, lifetimeSeconds: undefined } })] })
  const { cookie, session } = await rig.signIn('alice')
  rig.clock.move(61_000)
  expect((await rig.ask(get('/.postern/whoami', [`Cookie: ${cookie}`]))).status).toBe(401)
  await rig.ask(get('/.postern/sign-out', [`Cookie: ${cookie}`, 'Sec-Fetch-Site: same-origin', 'Content-Length: 0'], undefined, 'POST'))
  expect(rig.signedOut.map(({ id }) => id)).toEqual([session.id])
})

test('signing out ends a session whose claims alone ran out: the next sign-in would go on with it', async () => {
  const rig = await begin()
  const { cookie, session } = await rig.signIn('alice', wikiOrigin, {
    tokens: { idToken: 'id', accessToken: 'access', refreshToken: undefined },
  })
  rig.clock.move(601_000)
  expect((await rig.ask(get('/page', [`Cookie: ${cookie}`]))).headers['x-postern']).toBe('session_expired')
  await rig.ask(get('/.postern/sign-out', [`Cookie: ${cookie}`, 'Sec-Fetch-Site: same-origin', 'Content-Length: 0'], undefined, 'POST'))
  expect(rig.signedOut.map(({ id }) => id)).toEqual([session.id])
  expect((await rig.sessions.findById(session.id)).state).toBe('ended')
})

test('signing out is put down to the request and where it came from', async () => {
  const causes: unknown[] = []
  const rig = await begin({
    ports: {
      signOut: async (_session, by) => {
        causes.push(by)
        return new URL('https://op.corp.example/logout')
      },
    },
  })
  const { cookie } = await rig.signIn('alice')
  const answer = await rig.ask(
    get('/.postern/sign-out', [`Cookie: ${cookie}`, 'Sec-Fetch-Site: same-origin', 'Content-Length: 0'], undefined, 'POST'),
  )
  expect(causes).toEqual([{ requestId: answer.headers['x-postern-request'], address: '127.0.0.1' }])
})

test('the sign-out page names an app to nobody who may not know of it', async () => {
  const board = rule('allow', { kind: 'groups', groups: ['board'] }, { name: 'board' })
  const rig = await begin({ apps: [{ ...wiki({ portal: 'hidden' }), rules: [board] }] })
  const { cookie } = await rig.signIn('alice')
  const member = await rig.signIn('bea', wikiOrigin, { claims: { sub: 'bea', groups: ['board'] } })
  const nameFor = async (lines: readonly string[]) =>
    JSON.parse((await rig.ask(get('/.postern/sign-out', [...navigation, ...lines]))).body).appName
  expect(await nameFor([])).toBe('wiki.corp.example')
  expect(await nameFor([`Cookie: ${cookie}`])).toBe('wiki.corp.example')
  expect(await nameFor([`Cookie: ${member.cookie}`])).toBe('Wiki')
})

describe('whoami', () => {
  test('says what the app’s assertion holds, and when the session ends', async () => {
    const rig = await begin({ apps: [wiki({ session: { idleTimeoutSeconds: 600, lifetimeSeconds: undefined } })] })
    const { cookie } = await rig.signIn('alice')
    const answer = await rig.ask(get('/.postern/whoami', [`Cookie: ${cookie}`]))
    const at = rig.clock.now() / 1000
    expect(JSON.parse(answer.body)).toEqual({
      subject: 'alice',
      email: 'alice@corp.example',
      name: 'Name of alice',
      groups: ['staff'],
      session: { started_at: at, ends_at: at + 43_200, idle_ends_at: at + 600 },
      sign_in: { at, acr: null, amr: ['pwd'] },
      device: null,
      claims_at: at,
    })
    expect(answer.headers['cache-control']).toBe('no-store')
  })

  test('holds back what the app may not know', async () => {
    const rig = await begin({ apps: [wiki({ identity: { kind: 'none' } })] })
    const { cookie } = await rig.signIn('alice')
    expect(JSON.parse((await rig.ask(get('/.postern/whoami', [`Cookie: ${cookie}`]))).body)).toMatchObject({
      subject: null,
      email: null,
      name: null,
      groups: null,
    })
  })

  test('is 401 JSON for a stranger, also one who navigates', async () => {
    const rig = await begin()
    const answer = await rig.ask(get('/.postern/whoami', navigation))
    expect(answer.status).toBe(401)
    expect(JSON.parse(answer.body)).toMatchObject({ error: 'login_required' })
  })
})

test('jwks.json has the keys that verify what the upstream receives, for five minutes', async () => {
  const rig = await begin()
  const { cookie } = await rig.signIn('alice')
  await rig.ask(get('/page', [`Cookie: ${cookie}`]))
  const [, header = '', payload = '', signature = ''] =
    /X-Postern-Assertion: ([\w-]+)\.([\w-]+)\.([\w-]+)/.exec(rig.upstream.received()) ?? []
  const answer = await rig.ask(get('/.postern/jwks.json'))
  expect(answer.headers['cache-control']).toBe('public, max-age=300')
  const { keys } = JSON.parse(answer.body)
  expect(keys).toHaveLength(1)
  expect(JSON.stringify(keys)).not.toContain('"d"')
  const key = createPublicKey({ key: keys[0], format: 'jwk' })
  expect(
    verify('sha256', Buffer.from(`${header}.${payload}`), { key, dsaEncoding: 'ieee-p1363' }, Buffer.from(signature, 'base64url')),
  ).toBe(true)
})

test('an asset is served under the name of its content, and only under that', async () => {
  const rig = await begin()
  expect(await rig.ask(get('/.postern/assets/abc.css'))).toMatchObject({
    status: 200,
    body: 'body{}',
    headers: { 'content-type': 'text/css', 'cache-control': 'public, max-age=31536000, immutable', 'x-content-type-options': 'nosniff' },
  })
  // An SVG opened by its address must not run script with the rights of the app.
  expect((await rig.ask(get('/.postern/assets/abc.css'))).headers).toMatchObject({
    'content-security-policy': "default-src 'none'; style-src 'unsafe-inline'; sandbox",
    'cross-origin-resource-policy': 'same-origin',
  })
  for (const path of ['/.postern/assets/', '/.postern/assets/other.css', '/.postern/assets/a/abc.css'])
    expect((await rig.ask(get(path))).status).toBe(404)
})

test.each([
  ...['/.postern', '/.postern/', '/.postern/x', '/.postern/renew', '/.postern/renewals', '/.postern/callback/', '/.postern/CALLBACK'],
  ...['/.postern/constructor', '/.postern/__proto__', '/%2epostern/x', '/.%70ostern/whoami/x', '/.postern//whoami', '/.postern/a%2fb'],
])('%s is never forwarded, whoever asks', async (path) => {
  const rig = await begin({ apps: [wiki({ pathRules: ['double_slash', 'encoded_slash'] })] })
  const { cookie } = await rig.signIn('alice')
  expect(await rig.ask(get(path, [`Cookie: ${cookie}`]))).toMatchObject({ status: 404, headers: { 'x-postern': 'path_not_found' } })
  expect(rig.upstream.received()).toBe('')
})

test('a path of ours is answered to its own methods alone', async () => {
  const rig = await begin()
  expect(await rig.ask(get('/.postern/whoami', ['Content-Length: 0'], undefined, 'DELETE'))).toMatchObject({
    status: 405,
    headers: { allow: 'GET, HEAD' },
  })
  expect(await rig.ask(get('/.postern/sign-out', ['Content-Length: 0'], undefined, 'PUT'))).toMatchObject({
    status: 405,
    headers: { allow: 'GET, HEAD, POST' },
  })
  const upgrade = ['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==']
  expect((await rig.ask(get('/.postern/whoami', upgrade))).status).toBe(404)
})
