/**
 * Requests of services through the whole flow: whose token it is, what becomes of it, and that nothing falls back to a browser's sign-in.
 * The upstream is the oracle. The first group is the gateway rule that teams write most: one path, one issuer, one audience, one scope.
 */

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { createServiceCallers } from '../attributes/service-callers.ts'
import { createSigningKey, mint, type SigningKey, startIssuer, type TestIssuer } from '../attributes/service-issuer.fixture.ts'
import { createProviderFetch } from '../oidc/provider-fetch.ts'
import type { Rule, Service } from '../policy/document.ts'
import { rule } from '../policy/policy.fixture.ts'
import { silentLog } from '../session/session.fixture.ts'
import { type FlowRig, get, navigation, startFlow, wiki } from './enforcement.fixture.ts'

let issuer: TestIssuer
let key: SigningKey
let flow: FlowRig
let receivedBefore = 0
const fetcher = createProviderFetch(2)

const services = { kind: 'services', names: ['internal'] } as const
const gateway = rule('allow', services, { name: 'data is read', paths: ['/api/internal/*'], methods: { names: [], classes: ['read'] } })
const staff = rule('allow', { kind: 'groups', groups: ['staff'] }, { name: 'staff', paths: ['/', '/api/**'] })
const open = rule('allow', { kind: 'public' }, { name: 'open', paths: ['/public/**'] })

beforeAll(async () => {
  issuer = await startIssuer()
  key = createSigningKey('ES256', 'k')
  issuer.keys = [key.jwk]
  flow = await startFlow({
    document: { services: [serviceOf('internal', ['data:read'])] },
    ports: {
      callers: createServiceCallers({
        accessUrl: new URL('https://access.corp.example'),
        fetch: fetcher.fetch,
        now: () => flow.clock.now(),
        log: silentLog,
      }),
    },
  })
})
afterAll(async () => {
  await flow.close()
  await issuer.close()
  fetcher.close()
})
beforeEach(() => load([gateway, staff, open]))
afterEach(() => {
  receivedBefore = flow.upstream.received().length
  flow.events.length = 0
})

function serviceOf(name: string, scopesAll: readonly string[]): Service {
  return { name, issuer: issuer.issuer, audience: 'internal-services', scopesAll, claims: [], jwksUri: undefined }
}

function load(rules: readonly Rule[], changes: Parameters<typeof wiki>[0] = {}): void {
  flow.load([wiki({ rules, ...changes })])
}

function token(changes: Readonly<Record<string, unknown>> = {}): string {
  const seconds = Math.floor(flow.clock.now() / 1000)
  return mint(key, { iss: issuer.issuer, aud: 'internal-services', exp: seconds + 300, scope: 'data:read', sub: 'nightly', ...changes })
}

const bearer = (text = token()) => `Authorization: Bearer ${text}`
/** What the upstream heard in this test. */
const received = () => flow.upstream.received().slice(receivedBefore).replaceAll('\r\n', '\n')

describe('the gateway rule: /api/internal/*, this issuer, audience internal-services, scope data:read, deny if missing', () => {
  test('lets the service in, and tells the app which it is and not its token', async () => {
    const text = token()
    const answer = await flow.ask(get('/api/internal/rows', [bearer(text)]))
    expect(answer.status).toBe(200)
    expect(received()).toMatch(/^x-forwarded-user: service:internal$/im)
    expect(received()).not.toMatch(/authorization/i)
    expect(received()).not.toContain(text)
    expect(flow.events[0]).toMatchObject({
      event: 'access.decided',
      effect: 'allow',
      rule: 'data is read',
      subject: { kind: 'service', sub: 'internal' },
    })
  })

  test('denies where the token is missing: the usual answer, with both ways in', async () => {
    const answer = await flow.ask(get('/api/internal/rows'))
    expect(answer.status).toBe(401)
    expect(answer.headers['www-authenticate']).toEqual(['Postern realm="wiki.corp.example"', 'Bearer realm="wiki.corp.example"'])
    expect(JSON.parse(answer.body)).toMatchObject({ error: 'login_required' })
    expect(received()).toBe('')
  })

  test.each<[string, () => Readonly<Record<string, unknown>>, number, string]>([
    ['another scope', () => ({ scope: 'data:write' }), 403, 'insufficient_scope'],
    ['another audience', () => ({ aud: 'others' }), 401, 'invalid_token'],
    ['another issuer', () => ({ iss: 'https://auth.example.com' }), 401, 'invalid_token'],
    ['no expiry', () => ({ exp: undefined }), 401, 'invalid_token'],
    ['a past', () => ({ exp: 1 }), 401, 'invalid_token'],
  ])('denies a token with %s, and asks no browser to sign in', async (_, changes, status, reason) => {
    for (const lines of [[], navigation]) {
      const answer = await flow.ask(get('/api/internal/rows', [bearer(token(changes())), ...lines]))
      expect(answer.status).toBe(status)
      expect(answer.headers['x-postern']).toBe(reason)
      expect(answer.headers['www-authenticate']).toBe(`Bearer realm="wiki.corp.example", error="${reason}"`)
      expect(answer.headers['location']).toBeUndefined()
      expect(answer.body).not.toContain('data:read')
    }
    expect(received()).toBe('')
  })

  test('denies what the rule does not name, as a service that is known', async () => {
    const answer = await flow.ask(get('/api/internal/rows', [bearer(), 'Content-Length: 0'], undefined, 'POST'))
    expect(answer.status).toBe(403)
    expect(JSON.parse(answer.body)).toMatchObject({
      error: 'no_rule_matched',
      unmet: [{ condition: 'methods', outcome: 'false', remedy: 'read_only', message: expect.any(String) }],
    })
    expect(flow.events[0]).toMatchObject({ subject: { kind: 'service' }, reason: 'no_rule_matched' })
    expect(received()).toBe('')
  })

  test('is not passed by writing the path in another way', async () => {
    for (const path of ['/API/internal/rows', '/api/internal/rows/', '/api./internal/rows']) {
      expect((await flow.ask(get(path, [bearer()]))).status, path).toBe(403)
      expect((await flow.ask(get(path, [bearer('x')]))).status, path).toBe(401)
    }
    expect(received()).toBe('')
  })

  test('refuses while the keys of the issuer cannot be had', async () => {
    const strange = createSigningKey('ES256', 'strange')
    const other = await startIssuer()
    other.answer = (response) => response.writeHead(500).end()
    load([rule('allow', { kind: 'services', names: ['internal'] })])
    const callers = createServiceCallers({
      accessUrl: new URL('https://access.corp.example'),
      fetch: fetcher.fetch,
      now: () => flow.clock.now(),
      log: silentLog,
    })
    const away = await startFlow({
      document: { services: [{ ...serviceOf('internal', ['data:read']), issuer: other.issuer }] },
      apps: [wiki({ rules: [gateway] })],
      ports: { callers },
    })
    const text = mint(strange, { iss: other.issuer, aud: 'internal-services', exp: away.clock.now() / 1000 + 60, scope: 'data:read' })
    const answer = await away.ask(get('/api/internal/rows', [bearer(text)]))
    expect(answer.status).toBe(503)
    expect(answer.headers['retry-after']).toBeDefined()
    expect(away.upstream.received()).toBe('')
    await away.close()
    await other.close()
  })
})

describe('Authorization', () => {
  test('is the app’s own where no rule names services', async () => {
    const { cookie } = await flow.signIn('alice', undefined, { claims: { groups: ['staff'] } })
    expect((await flow.ask(get('/', [bearer('of-the-app'), `Cookie: ${cookie}`]))).status).toBe(200)
    expect((await flow.ask(get('/public/x', [bearer('of-the-app')]))).status).toBe(200)
    expect((await flow.ask(get('/public/x', ['Authorization: Bearer a', 'Authorization: Bearer b']))).status).toBe(200)
    expect(received().match(/^authorization: bearer of-the-app/gim)).toHaveLength(2)
  })

  test('of another scheme is the app’s own everywhere', async () => {
    const { cookie } = await flow.signIn('alice', undefined, { claims: { groups: ['staff'] } })
    expect((await flow.ask(get('/api/internal/rows', ['Authorization: Basic Og==', `Cookie: ${cookie}`]))).status).toBe(200)
    expect(received()).toMatch(/^authorization: basic og==/im)
    expect((await flow.ask(get('/api/internal/rows', ['Authorization: Basic Og==']))).status).toBe(401)
  })

  test('is passed on where the app asks for it', async () => {
    load([gateway], { passAuthorization: true })
    const text = token()
    expect((await flow.ask(get('/api/internal/rows', [bearer(text)]))).status).toBe(200)
    expect(received()).toMatch(new RegExp(`^authorization: bearer ${text}$`, 'im'))
  })

  test.each<[string, (text: string) => readonly string[], number]>([
    ['in other case', (text) => [`aUTHORIZATION: bEARER ${text}`], 200],
    ['twice', (text) => [bearer(text), bearer(text)], 400],
    ['twice, once of another scheme', (text) => ['Authorization: Basic Og==', bearer(text)], 400],
    ['without a token', () => ['Authorization: Bearer'], 401],
    ['with two tokens', (text) => [`Authorization: Bearer ${text} ${text}`], 401],
    ['with a list', (text) => [`Authorization: Bearer ${text}, Bearer ${text}`], 401],
    ['with quotes', (text) => [`Authorization: Bearer "${text}"`], 401],
    ['in a query alone', () => [], 401],
  ])('%s is answered', async (_, lines, status) => {
    const text = token()
    const answer = await flow.ask(get(`/api/internal/rows?access_token=${text}`, lines(text)))
    expect(answer.status).toBe(status)
    expect(received() === '').toBe(status !== 200)
  })

  test('with our cookie beside it is two identities, whatever either is worth', async () => {
    const { cookie } = await flow.signIn('alice', undefined, { claims: { groups: ['staff'] } })
    for (const text of [token(), 'x']) {
      const answer = await flow.ask(get('/api/internal/rows', [bearer(text), `Cookie: ${cookie}`]))
      expect(answer.status).toBe(400)
      expect(answer.headers['x-postern']).toBe('two_identities')
      expect(answer.headers['www-authenticate']).toBe('Bearer realm="wiki.corp.example", error="invalid_request"')
    }
    expect(received()).toBe('')
  })
})

describe('Postern-Authorization', () => {
  test('is ours anywhere, is never passed on, and leaves Authorization to the app', async () => {
    load([rule('allow', { kind: 'everyone' })], { passAuthorization: true })
    const text = token()
    const lines = [`Postern-Authorization: Bearer ${text}`, 'Authorization: Bearer of-the-app']
    expect((await flow.ask(get('/anything', lines))).status).toBe(200)
    expect(received()).toMatch(/^x-forwarded-user: service:internal$/im)
    expect(received()).toMatch(/^authorization: bearer of-the-app$/im)
    expect(received()).not.toMatch(/postern-authorization/i)
    expect(received()).not.toContain(text)
  })

  test.each<[string, (text: string) => readonly string[], number, string]>([
    ['of no token', () => ['Postern-Authorization: Bearer x'], 401, 'invalid_token'],
    ['of another scheme', () => ['Postern-Authorization: Basic Og=='], 401, 'invalid_token'],
    ['twice', (text) => [`Postern-Authorization: Bearer ${text}`, `Postern-Authorization: Bearer ${text}`], 400, 'bad_request'],
    ['beside a bearer that is ours', (text) => [bearer(text), `Postern-Authorization: Bearer ${text}`], 400, 'two_identities'],
  ])('%s is refused, also on a public path', async (_, lines, status, reason) => {
    const path = reason === 'two_identities' ? '/api/internal/rows' : '/public/x'
    const answer = await flow.ask(get(path, lines(token())))
    expect(answer.status).toBe(status)
    expect(answer.headers['x-postern']).toBe(reason)
    expect(received()).toBe('')
  })
})

describe('a service', () => {
  test('opens a public path as itself', async () => {
    expect((await flow.ask(get('/public/x', [`Postern-Authorization: Bearer ${token()}`]))).status).toBe(200)
    expect(received()).toMatch(/^x-forwarded-user: service:internal$/im)
  })

  test('writes without an Origin, since it has no browser that another site could use', async () => {
    load([rule('allow', services)])
    const lines = [bearer(), 'Sec-Fetch-Site: cross-site', 'Origin: https://evil.test', 'Content-Length: 0']
    expect((await flow.ask(get('/x', lines, undefined, 'POST'))).status).toBe(200)
  })

  test('is in no group, has no address and is not signed in', async () => {
    load([
      rule('allow', { kind: 'signed_in' }),
      rule('allow', { kind: 'groups', groups: ['staff'] }),
      rule('allow', { kind: 'services', names: ['another'] }),
    ])
    const text = token({ groups: ['staff'], email: 'alice@corp.example', email_verified: true })
    expect((await flow.ask(get('/x', [bearer(text)]))).status).toBe(403)
    expect(received()).toBe('')
  })
})

test('a service whose issuer was waited for is refused where nobody knows any more what is locked', async () => {
  let duringTheWait: () => void = () => undefined
  const waiting = await startFlow({
    document: { services: [serviceOf('internal', ['data:read'])] },
    ports: {
      callers: {
        identify: async () => {
          duringTheWait()
          const subject = { kind: 'service', names: ['internal'], issuer: issuer.issuer, claims: {} } as const
          return { outcome: 'identified', subject, until: Number.POSITIVE_INFINITY }
        },
      },
    },
  })
  try {
    waiting.load([wiki({ rules: [gateway] })])
    const ask = () => waiting.ask(get('/api/internal/rows', [bearer('a.b.c')]))
    expect((await ask()).status).toBe(200)
    duringTheWait = () => waiting.live.setAway(true)
    expect((await ask()).status).toBe(503)
    expect(waiting.upstream.received().match(/GET /g)).toHaveLength(1)
  } finally {
    await waiting.close()
  }
})
