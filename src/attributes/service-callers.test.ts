/** Access tokens of services, judged against a real issuer on this machine: what is accepted, what is refused, and what is asked for. */

import { createHmac, generateKeyPairSync } from 'node:crypto'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { createProviderFetch } from '../oidc/provider-fetch.ts'
import type { Service } from '../policy/document.ts'
import { createServiceCallers, fingerprintServices, type ServiceCallers } from './service-callers.ts'
import { createSigningKey, encode, mint, type SigningKey, startIssuer, type TestIssuer } from './service-issuer.fixture.ts'
import { parseKeySet } from './service-key-set.ts'

const silent = { info: () => undefined, warn: () => undefined, error: () => undefined }
const fetcher = createProviderFetch(2)

let issuer: TestIssuer
let es: SigningKey
let clock: number
let callers: ServiceCallers
let services: readonly Service[]

beforeAll(async () => {
  issuer = await startIssuer()
  es = createSigningKey('ES256', 'es')
})
afterAll(async () => {
  await issuer.close()
  fetcher.close()
})
beforeEach(() => {
  clock = 1_800_000_000_000
  issuer.keys = [es.jwk]
  issuer.metadata = { issuer: issuer.issuer, jwks_uri: issuer.jwksUri }
  callers = createCallers()
  services = [service()]
})
afterEach(() => {
  issuer.answer = undefined
  issuer.asked.length = 0
})

function createCallers(log: typeof silent = silent): ServiceCallers {
  return createServiceCallers({ accessUrl: new URL('https://access.corp.example'), fetch: fetcher.fetch, now: () => clock, log })
}

function service(changes: Partial<Service> = {}): Service {
  const usual = { name: 'billing', audience: 'internal-services', scopesAll: ['data:read'], claims: [], jwksUri: undefined }
  return { ...usual, issuer: issuer.issuer, ...changes }
}

function claims(changes: Readonly<Record<string, unknown>> = {}): Record<string, unknown> {
  const seconds = Math.floor(clock / 1000)
  const usual = { iss: issuer.issuer, aud: 'internal-services', exp: seconds + 300, iat: seconds, sub: 'billing', scope: 'data:read' }
  return JSON.parse(JSON.stringify({ ...usual, ...changes })) as Record<string, unknown>
}

const outcomeOf = async (token: string, of = services) => {
  const caller = await callers.identify(token, of)
  return caller.outcome === 'identified' ? caller.subject.names.join() : caller.reason
}
const jwksReads = () => issuer.asked.filter((path) => path === '/jwks.json').length

describe('an access token', () => {
  test.each(['RS256', 'RS512', 'PS256', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519'])('signed with %s proves a service', async (alg) => {
    const key = createSigningKey(alg, 'k')
    issuer.keys = [key.jwk]
    expect(await callers.identify(mint(key, claims()), services)).toEqual({
      outcome: 'identified',
      until: (Number(claims()['exp']) + 60) * 1000,
      subject: {
        kind: 'service',
        names: ['billing'],
        issuer: issuer.issuer,
        claims: expect.objectContaining({ sub: 'billing' }),
        definitions: fingerprintServices(services, issuer.issuer),
      },
    })
  })

  test('says by which definitions it was judged: another one of its issuer is another text, one of another issuer is not', () => {
    const [first] = services
    if (first === undefined) throw new Error('there is no service')
    const now = fingerprintServices(services, issuer.issuer)
    expect(fingerprintServices([...services].reverse(), issuer.issuer)).toBe(now)
    expect(fingerprintServices([...services, { ...first, name: 'x', issuer: 'https://other.example' }], issuer.issuer)).toBe(now)
    expect(fingerprintServices([...services, { ...first, name: 'x' }], issuer.issuer)).not.toBe(now)
    const claims = [{ path: ['a'], values: [1] }]
    for (const changes of [{ audience: 'x' }, { scopesAll: ['x'] }, { claims }, { jwksUri: 'https://x.example' }, { name: 'x' }]) {
      expect(fingerprintServices([{ ...first, ...changes }, ...services.slice(1)], issuer.issuer)).not.toBe(now)
    }
  })

  test.each<[string, Record<string, unknown>]>([
    ['at+jwt', { typ: 'at+jwt' }],
    ['its media type', { typ: 'application/at+JWT' }],
    ['JWT', { typ: 'JWT' }],
    ['no type', { typ: undefined }],
    ['no kid', { kid: undefined }],
  ])('may state %s', async (_, header) => {
    expect(await outcomeOf(mint(es, claims(), header))).toBe('billing')
  })

  test.each<[string, Record<string, unknown>]>([
    ['a logout token', { typ: 'logout+jwt' }],
    ['an assertion of ours', { typ: 'postern+jwt' }],
    ['a DPoP proof', { typ: 'dpop+jwt' }],
    ['a type that is no text', { typ: 1 }],
    ['its own key', { jwk: { kty: 'EC' } }],
    ['the address of a key', { jku: 'http://127.0.0.1:9/jwks' }],
    ['a certificate', { x5c: ['MIIB'] }],
    ['the address of a certificate', { x5u: 'https://idp1.test@evil.test/jwks' }],
    ['an extension', { crit: ['exp'], exp: 1 }],
    ['an unencoded payload', { crit: ['b64'], b64: false }],
    ['b64 without crit', { b64: true }],
    ['a nested token', { cty: 'JWT' }],
    ['compression', { zip: 'DEF' }],
    ['encryption', { enc: 'A256GCM' }],
    ['password-based encryption', { alg: 'PBES2-HS256+A128KW', p2c: 2_147_483_647, enc: 'A128GCM' }],
    ['alg none', { alg: 'none' }],
    ['alg None', { alg: 'None' }],
    ['HS256', { alg: 'HS256' }],
    ['an algorithm that is no text', { alg: ['ES256'] }],
    ['no algorithm', { alg: undefined }],
    ['a kid that is a number', { kid: 1 }],
    ['a kid that is a list', { kid: ['es'] }],
    ['an empty kid', { kid: '' }],
    ['a long kid', { kid: 'k'.repeat(513) }],
  ])('that is or brings %s is refused before anything is asked', async (_, header) => {
    expect(await outcomeOf(mint(es, claims(), header))).toBe('invalid_token')
    expect(issuer.asked).toEqual([])
  })

  test.each(['../../dev/null', "' OR 1=1", '__proto__', 'constructor', 'toString', '\u0000', 'hasOwnProperty'])(
    'with the kid %j finds no key',
    async (kid) => expect(await outcomeOf(mint(es, claims(), { kid }))).toBe('invalid_token'),
  )

  test.each<[string, (token: string) => string]>([
    ['has two parts', (token) => token.split('.').slice(0, 2).join('.')],
    ['has an empty signature', (token) => `${token.split('.').slice(0, 2).join('.')}.`],
    ['has four parts', (token) => `${token}.x`],
    ['has five parts', (token) => `${token}.x.y`],
    ['is no base64url', (token) => `${token}=`],
    ['is empty', () => ''],
    ['is text', () => 'x'],
    ['has a header that is a list', (token) => token.replace(/^[^.]+/, encode('["ES256"]'))],
    ['has a payload that is no JSON', () => mint(es, '{"iss":')],
    ['has a payload that is a list', () => mint(es, '[]')],
    ['has a payload that is null', () => mint(es, 'null')],
    ['is nested deeply', () => mint(es, `{"x":${'['.repeat(2000)}${']'.repeat(2000)}}`)],
    ['is larger than any', () => mint(es, claims({ x: 'x'.repeat(9000) }))],
    ['was changed', (token) => `${token.slice(0, -6)}AAAAAA`],
    ['has another payload', (token) => token.replace(/\.[^.]+\./, `.${encode(claims({ scope: 'data:read admin' }))}.`)],
  ])('that %s is refused', async (_, change) => {
    expect(await outcomeOf(change(mint(es, claims())))).toBe('invalid_token')
  })

  test.each<[string, Record<string, unknown>, string]>([
    ['no issuer', { iss: undefined }, 'invalid_token'],
    ['another issuer', { iss: 'https://evil.test' }, 'invalid_token'],
    ['an issuer with a slash more', { iss: 'SLASH' }, 'invalid_token'],
    ['no audience', { aud: undefined }, 'invalid_token'],
    ['an audience of others', { aud: 'payroll' }, 'invalid_token'],
    ['no audience in a list', { aud: [] }, 'invalid_token'],
    ['an audience of mixed types', { aud: ['internal-services', 1] }, 'invalid_token'],
    ['an audience among others', { aud: ['payroll', 'internal-services'] }, 'billing'],
    ['an audience in other case', { aud: 'Internal-Services' }, 'invalid_token'],
    ['no expiry', { exp: undefined }, 'invalid_token'],
    ['an expiry that is text', { exp: '1900000000' }, 'invalid_token'],
    ['a negative expiry', { exp: -1 }, 'invalid_token'],
    ['an expiry in milliseconds', { exp: 1_900_000_000_000 }, 'invalid_token'],
    ['an expiry beyond all numbers', { exp: 2 ** 53 }, 'invalid_token'],
    ['an expiry with a fraction', { exp: 1_900_000_000.5 }, 'billing'],
    ['an expiry 59 s ago', { exp: 1_799_999_941 }, 'billing'],
    ['an expiry 60 s ago', { exp: 1_799_999_940 }, 'invalid_token'],
    ['a beginning in 60 s', { nbf: 1_800_000_060 }, 'billing'],
    ['a beginning in 61 s', { nbf: 1_800_000_061 }, 'invalid_token'],
    ['a beginning that is text', { nbf: '0' }, 'invalid_token'],
    ['an issue in an hour', { iat: 1_800_003_600 }, 'invalid_token'],
    ['no issue', { iat: undefined }, 'billing'],
    ['a key that it is bound to', { cnf: { jkt: 'x' } }, 'invalid_token'],
    ['no scope', { scope: undefined }, 'insufficient_scope'],
    ['a longer scope', { scope: 'data:read:all xdata:read' }, 'insufficient_scope'],
    ['a scope among others', { scope: 'openid data:read' }, 'billing'],
    ['a list of scopes in scp', { scope: undefined, scp: ['a', 'data:read'] }, 'billing'],
    ['scopes as text in scp', { scope: undefined, scp: 'a data:read' }, 'billing'],
    ['a scope that is a map', { scope: { 'data:read': true } }, 'insufficient_scope'],
  ])('with %s is judged', async (_, changes, outcome) => {
    const given = changes['iss'] === 'SLASH' ? { iss: `${issuer.issuer}/` } : changes
    expect(await outcomeOf(mint(es, claims(given)))).toBe(outcome)
  })

  test('without an audience of ours costs nobody a look at a key', async () => {
    await outcomeOf(mint(es, claims({ aud: 'payroll' })))
    await outcomeOf(mint(es, claims({ exp: 1 })))
    expect(issuer.asked).toEqual([])
  })

  test('is every service that it proves, whatever the order in the document', async () => {
    const all = [
      service({ name: 'writer', scopesAll: ['data:write'] }),
      service({ name: 'reader' }),
      service({ name: 'by claim', scopesAll: [], claims: [{ path: ['azp'], values: ['billing', 7] }] }),
      service({ name: 'by role', scopesAll: [], claims: [{ path: ['realm', 'roles'], values: ['r'] }] }),
      service({ name: 'elsewhere', audience: 'others' }),
      service({ name: 'anybody', scopesAll: [] }),
    ]
    expect(await outcomeOf(mint(es, claims({ azp: 'billing', realm: { roles: ['q', 'r'] } })), all)).toBe('by claim,by role,reader')
    expect(await outcomeOf(mint(es, claims({ azp: '7' })), all)).toBe('reader')
    expect(await outcomeOf(mint(es, claims({ azp: 7 })), all)).toBe('by claim,reader')
  })

  test('of our own access host is none', async () => {
    const own = createServiceCallers({ accessUrl: new URL(issuer.issuer), fetch: fetcher.fetch, now: () => clock, log: silent })
    expect(await own.identify(mint(es, claims()), services)).toEqual({ outcome: 'refused', reason: 'invalid_token' })
  })

  test('has claims without a prototype', async () => {
    const caller = await callers.identify(mint(es, JSON.stringify(claims({ a: { b: 1 } })).replace('"a"', '"__proto__"')), services)
    if (caller.outcome !== 'identified') throw new Error('refused')
    expect(Object.getPrototypeOf(caller.subject.claims)).toBeNull()
    expect(Object.keys(caller.subject.claims)).not.toContain('__proto__')
  })
})

describe('a signature', () => {
  const rsaHeader = { kid: 'rsa', alg: 'HS256' }

  test('by HMAC with the public key proves nothing, whichever form of the key it was', async () => {
    const rsa = createSigningKey('RS256', 'rsa')
    issuer.keys = [rsa.jwk]
    const pem = rsa.publicKey.export({ type: 'spki', format: 'pem' })
    const secrets = [
      pem,
      pem.toString().trim(),
      rsa.publicKey.export({ type: 'spki', format: 'der' }),
      Buffer.from(rsa.jwk.n ?? '', 'base64url'),
    ]
    for (const secret of secrets) {
      for (const alg of ['HS256', 'RS256']) {
        const input = `${encode({ ...rsaHeader, alg })}.${encode(claims())}`
        const signature = createHmac('sha256', secret).update(input).digest('base64url')
        expect(await outcomeOf(`${input}.${signature}`)).toBe('invalid_token')
      }
    }
  })

  test.each<[string, Buffer]>([
    ['zeros', Buffer.alloc(64)],
    ['63 bytes', Buffer.alloc(63, 1)],
    ['65 bytes', Buffer.alloc(65, 1)],
    ['nothing but r', Buffer.alloc(32, 1)],
  ])('of %s is none', async (_, signature) => {
    const input = `${encode({ alg: 'ES256', kid: 'es' })}.${encode(claims())}`
    expect(await outcomeOf(`${input}.${signature.toString('base64url')}`)).toBe('invalid_token')
  })

  test('in DER is none', async () => {
    const { sign } = await import('node:crypto')
    const input = `${encode({ alg: 'ES256', kid: 'es' })}.${encode(claims())}`
    const der = sign('sha256', Buffer.from(input), es.privateKey).toString('base64url')
    expect(await outcomeOf(`${input}.${der}`)).toBe('invalid_token')
  })

  test('of another kind than the key is none', async () => {
    const ed = createSigningKey('EdDSA', 'es')
    expect(await outcomeOf(mint(ed, claims()))).toBe('invalid_token')
    expect(await outcomeOf(mint({ ...createSigningKey('ES384', 'es') }, claims()))).toBe('invalid_token')
    const rsa = createSigningKey('RS256', 'rsa')
    issuer.keys = [{ ...rsa.jwk, alg: 'RS256' }]
    callers = createCallers()
    expect(await outcomeOf(mint({ ...rsa, alg: 'PS256' }, claims()))).toBe('invalid_token')
    expect(await outcomeOf(mint(rsa, claims()))).toBe('billing')
  })

  test.each<[string, (key: SigningKey) => unknown]>([
    ['for encryption', (key) => ({ ...key.jwk, use: 'enc' })],
    ['for signing only', (key) => ({ ...key.jwk, key_ops: ['sign'] })],
    ['for another algorithm', (key) => ({ ...key.jwk, alg: 'ES384' })],
    ['with a short coordinate', (key) => ({ ...key.jwk, x: (key.jwk.x ?? '').slice(4) })],
    ['off the curve', (key) => ({ ...key.jwk, x: key.jwk.y })],
    ['on a curve of nobody', (key) => ({ ...key.jwk, crv: 'secp256k1' })],
    ['on __proto__', (key) => ({ ...key.jwk, crv: '__proto__' })],
    ['that is a secret', (key) => ({ kty: 'oct', k: 'AAAA', kid: key.kid })],
  ])('by a key %s proves nothing', async (_, publish) => {
    issuer.keys = [publish(es), 'x', null, []]
    expect(await outcomeOf(mint(es, claims()))).toBe('invalid_token')
  })

  test('by a weak RSA key proves nothing', async () => {
    const weak = createSigningKey('RS256', 'weak', 1024)
    issuer.keys = [weak.jwk]
    expect(await outcomeOf(mint(weak, claims()))).toBe('invalid_token')
  })

  test('is checked against the public half of a key that was published whole', async () => {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    issuer.keys = [{ ...privateKey.export({ format: 'jwk' }), kid: 'es' }]
    expect(await outcomeOf(mint({ ...es, privateKey }, claims()))).toBe('billing')
  })
})

describe('a key set', () => {
  test('leaves out RSA keys that are too short to be safe or too long to be meant', () => {
    const keys = [1024, 2048].map((bits) => createSigningKey('RS256', String(bits), bits).jwk)
    const endless = { ...keys[1], kid: 'endless', n: Buffer.alloc(1088, 0xff).toString('base64url') }
    const set = parseKeySet({ keys: [keys[0], keys[1], endless] })
    expect(['1024', '2048', 'endless'].filter((kid) => set?.has(kid))).toEqual(['2048'])
  })

  test('leaves out an EC key whose coordinate lost its leading zeros', () => {
    let key = createSigningKey('ES256', 'short')
    while (Buffer.from(key.jwk.x ?? '', 'base64url')[0] !== 0) key = createSigningKey('ES256', 'short')
    const short = {
      ...key.jwk,
      x: Buffer.from(key.jwk.x ?? '', 'base64url')
        .subarray(1)
        .toString('base64url'),
    }
    expect(parseKeySet({ keys: [key.jwk] })?.has('short')).toBe(true)
    expect(parseKeySet({ keys: [short] })?.has('short')).toBe(false)
  })

  test('gives at most three keys to try', () => {
    const keys = Array.from({ length: 5 }, () => createSigningKey('ES256', 'same').jwk)
    expect(parseKeySet({ keys })?.find('ES256', 'same')).toHaveLength(3)
    expect(parseKeySet({ keys })?.find('ES256', undefined)).toHaveLength(3)
    expect(parseKeySet({ keys })?.find('RS256', 'same')).toHaveLength(0)
  })
})

describe('the keys of an issuer', () => {
  test('are found through OpenID metadata, or through that of RFC 8414', async () => {
    const token = mint(es, claims())
    expect(await outcomeOf(token)).toBe('billing')
    expect(issuer.asked).toEqual(['/.well-known/openid-configuration', '/jwks.json'])

    issuer.asked.length = 0
    callers = createCallers()
    issuer.answer = (response, path) => {
      if (path === '/.well-known/openid-configuration') response.writeHead(404).end()
      else if (path === '/.well-known/oauth-authorization-server') response.end(JSON.stringify(issuer.metadata))
      else response.end(JSON.stringify({ keys: issuer.keys }))
    }
    expect(await outcomeOf(token)).toBe('billing')
    expect(issuer.asked).toHaveLength(3)
  })

  test('are read from where the document says, without a look at metadata', async () => {
    services = [service({ jwksUri: issuer.jwksUri })]
    expect(await outcomeOf(mint(es, claims()))).toBe('billing')
    expect(issuer.asked).toEqual(['/jwks.json'])
  })

  test.each<[string, (own: TestIssuer) => unknown]>([
    ['of another issuer', (own) => ({ issuer: 'https://evil.test', jwks_uri: own.jwksUri })],
    ['without an issuer', (own) => ({ jwks_uri: own.jwksUri })],
    ['without an address', (own) => ({ issuer: own.issuer })],
    ['that name a file', (own) => ({ issuer: own.issuer, jwks_uri: 'file:///etc/passwd' })],
    ['that name a remote address without TLS', (own) => ({ issuer: own.issuer, jwks_uri: 'http://192.0.2.1/jwks' })],
    ['that name an address with a password', (own) => ({ issuer: own.issuer, jwks_uri: own.jwksUri.replace('//', '//a:b@') })],
    ['that are a list', () => []],
  ])('are not taken from metadata %s', async (_, metadata) => {
    issuer.metadata = metadata(issuer)
    expect(await outcomeOf(mint(es, claims()))).toBe('provider_unavailable')
    expect(jwksReads()).toBe(0)
  })

  test('are never asked of this machine in the name of a remote issuer', async () => {
    const remote = 'https://auth.corp.example'
    const seen: string[] = []
    callers = createServiceCallers({
      accessUrl: new URL('https://access.corp.example'),
      fetch: async (url) => {
        seen.push(url)
        return Response.json({ issuer: remote, jwks_uri: issuer.jwksUri })
      },
      now: () => clock,
      log: silent,
    })
    services = [service({ issuer: remote })]
    expect(await outcomeOf(mint(es, claims({ iss: remote })))).toBe('provider_unavailable')
    expect(seen).toEqual([`${remote}/.well-known/openid-configuration`])
  })

  test.each<[string, (own: TestIssuer) => TestIssuer['answer']]>([
    ['a redirect', (own) => (response) => response.writeHead(302, { location: `${own.issuer}/elsewhere` }).end()],
    ['an error', () => (response) => response.writeHead(500).end('{}')],
    ['no JSON', () => (response) => response.end('<html>')],
    ['no set', () => (response) => response.end('{"keys":{}}')],
    ['a set without end', () => (response) => response.end(`{"keys":[${'{},'.repeat(200)}{}]}`)],
    ['more than a megabyte', () => (response) => response.end(`{"keys":[],"x":"${'x'.repeat(1_100_000)}"}`)],
    ['a reset', () => (response) => void response.socket?.destroy()],
  ])('are not there where the answer is %s', async (_, answer) => {
    services = [service({ jwksUri: issuer.jwksUri })]
    issuer.answer = answer(issuer)
    expect(await outcomeOf(mint(es, claims()))).toBe('provider_unavailable')
    expect(issuer.asked).toEqual(['/jwks.json'])
    // A flood of tokens meanwhile is no flood of questions.
    await Promise.all(Array.from({ length: 20 }, () => outcomeOf(mint(es, claims({ jti: Math.random() })))))
    expect(issuer.asked).toHaveLength(1)
    issuer.answer = undefined
    clock += 5001
    expect(await outcomeOf(mint(es, claims()))).toBe('billing')
  })

  test('rotate: the new one is known at once, the old one is refused within a minute, also where its token was remembered', async () => {
    const next = createSigningKey('ES256', 'next')
    const old = mint(es, claims())
    expect(await outcomeOf(old)).toBe('billing')
    issuer.keys = [es.jwk, next.jwk]
    expect(await outcomeOf(mint(next, claims()))).toBe('billing')
    issuer.keys = [next.jwk]
    clock += 59_000
    await outcomeOf(old)
    await expect.poll(() => outcomeOf(old)).toBe('invalid_token')
  })

  test('are looked at again for an unknown kid, once in half a minute, however many ask', async () => {
    expect(await outcomeOf(mint(es, claims()))).toBe('billing')
    expect(jwksReads()).toBe(1)
    const flood = () =>
      Promise.all(Array.from({ length: 200 }, (_, index) => outcomeOf(mint(es, claims(), { kid: `unknown-${clock}-${index}` }))))
    expect(new Set(await flood())).toEqual(new Set(['invalid_token']))
    expect(jwksReads()).toBe(2)
    await flood()
    expect(jwksReads()).toBe(2)
    expect(await outcomeOf(mint(es, claims({ jti: 1 })))).toBe('billing')
    clock += 30_000
    await flood()
    expect(jwksReads()).toBeLessThanOrEqual(4)
  })

  test('serve for ten minutes while the issuer is down, and then no more', async () => {
    const warnings: unknown[] = []
    const infos: unknown[] = []
    callers = createCallers({
      ...silent,
      warn: (...said: unknown[]) => void warnings.push(said),
      info: (...said: unknown[]) => void infos.push(said),
    })
    const token = () => mint(es, claims({ jti: clock }))
    expect(await outcomeOf(token())).toBe('billing')
    issuer.answer = (response) => response.writeHead(503).end()
    const asked = issuer.asked.length
    for (let minute = 1; minute <= 9; minute += 1) {
      clock += 60_000
      expect(await outcomeOf(token())).toBe('billing')
    }
    clock += 60_001
    expect(await outcomeOf(token())).toBe('provider_unavailable')
    expect(issuer.asked.length - asked).toBeLessThanOrEqual(24)
    expect(warnings).toHaveLength(1)
    issuer.answer = undefined
    clock += 5001
    expect(await outcomeOf(token())).toBe('billing')
    expect(infos).toHaveLength(1)
  })

  test('are those of each service: one issuer with two sets proves only the service whose set it is', async () => {
    const other = createSigningKey('ES256', 'es')
    issuer.answer = (response, path) => response.end(JSON.stringify({ keys: path === '/other.json' ? [other.jwk] : [es.jwk] }))
    services = [service({ name: 'one', jwksUri: issuer.jwksUri }), service({ name: 'two', jwksUri: `${issuer.issuer}/other.json` })]
    expect(await outcomeOf(mint(es, claims()))).toBe('one')
    expect(await outcomeOf(mint(other, claims()))).toBe('two')
  })
})

describe('what a token proved', () => {
  test('is the same object for the same token, for a minute at most', async () => {
    const token = mint(es, claims())
    const first = await callers.identify(token, services)
    expect(await callers.identify(token, services)).toBe(first)
    clock += 60_000
    const later = await callers.identify(token, services)
    expect(later).not.toBe(first)
    expect(later).toEqual(first)
  })

  test('ends with the token', async () => {
    const token = mint(es, claims({ exp: clock / 1000 - 50 }))
    expect(await outcomeOf(token)).toBe('billing')
    clock += 9_999
    expect(await outcomeOf(token)).toBe('billing')
    clock += 1
    expect(await outcomeOf(token)).toBe('invalid_token')
  })

  test('is judged anew when the policy is another', async () => {
    const token = mint(es, claims())
    expect(await outcomeOf(token)).toBe('billing')
    expect(await outcomeOf(token, [service({ scopesAll: ['data:write'] })])).toBe('insufficient_scope')
    expect(await outcomeOf(token, [])).toBe('invalid_token')
  })
})
