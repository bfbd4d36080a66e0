/**
 * The relying party against a provider that lies, stalls and breaks in every way we could think of, over real HTTP.
 */

import { createHash, generateKeyPairSync } from 'node:crypto'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import {
  type Claims,
  type Endpoint,
  forgeToken,
  type HostileProvider,
  logoutEvent,
  startHostileProvider,
} from '../../e2e/support/hostile-provider.ts'
import { type ProviderConfiguration, Secret } from '../config/instance.ts'
import type { Logger } from '../log.ts'
import { createRelyingParty } from './openid-relying-party.ts'
import type { RelyingParty, SignInResult } from './relying-party.ts'

const accessUrl = new URL('http://access.corp.localhost:8080')
let provider: HostileProvider
let rp: RelyingParty
let lines: string[]
let moved = 0

function settings(over: Partial<ProviderConfiguration> = {}) {
  const configuration: ProviderConfiguration = {
    issuer: new URL(provider.issuer),
    preset: undefined,
    clientId: provider.clientId,
    clientSecret: new Secret(provider.clientSecret),
    clientKeyFile: undefined,
    scopes: ['openid', 'profile', 'email'],
    claims: { groups: [['groups']], deviceId: undefined, posture: new Map() },
    groups: { stripPrefix: '', names: new Map() },
    groupsWhenMissing: 'unknown',
    email: 'verified',
    providerGraceSeconds: 3600,
    withoutRefreshToken: 'reauthenticate',
    dangerouslyAllowHttp: false,
    strengths: new Map(),
    ...over,
  }
  const log = pino({ level: 'debug' }, { write: (line: string) => void lines.push(line) }) as unknown as Logger
  return { configuration, accessUrl, now: () => Date.now() + moved, log }
}

async function start(over: Partial<ProviderConfiguration> = {}, timeoutSeconds = 8): Promise<RelyingParty> {
  const party = createRelyingParty({ ...settings(over), timeoutSeconds })
  onTestFinished(() => party.close())
  await vi.waitUntil(() => party.isReady(), { timeout: 8000, interval: 10 })
  return party
}

beforeEach(async () => {
  lines = []
  moved = 0
  provider = await startHostileProvider()
})
afterEach(async () => {
  rp?.close()
  await provider.stop()
})

/** Goes to the provider as a browser would and brings back its answer. */
async function visit(url: URL): Promise<URLSearchParams> {
  const response = await fetch(url, { redirect: 'manual' })
  return new URL(response.headers.get('location') ?? 'about:blank').searchParams
}

async function signIn(party = rp): Promise<SignInResult> {
  const { url, pending } = await party.beginSignIn({ prompt: undefined, loginHint: undefined })
  const answer = await visit(url)
  expect(party.isAnswerTo(answer, pending)).toBe(true)
  return await party.completeSignIn(answer, pending)
}

const refusesWith = (code: string) => expect(signIn()).rejects.toMatchObject({ code })

describe('an honest provider', () => {
  beforeEach(async () => {
    rp = await start()
  })

  it('signs in and yields identity, claims, sign-in facts and tokens', async () => {
    const authTime = Math.floor(Date.now() / 1000) - 100
    Object.assign(provider.behaviour.person, { authTime, sid: 's1', acr: 'high', amr: ['pwd', 'otp'] })
    const result = await signIn()
    expect(result).toMatchObject({
      outcome: 'signed_in',
      signedIn: {
        issuer: provider.issuer,
        sub: 'alice',
        providerSid: 's1',
        signIn: { at: authTime * 1000, acr: 'high', amr: ['pwd', 'otp'] },
        claims: { email: 'alice@corp.test', groups: ['staff'], iss: provider.issuer, sub: 'alice' },
      },
    })
  })

  it('asks for a strength as an essential claim where the metadata say that claims are read, else by acr_values', async () => {
    const stepUp = { acrValues: ['2', '3'], maxAgeSeconds: 900, ask: { kc_hint: 'otp', state: 'evil', client_id: 'evil' } }
    const wish = { prompt: undefined, loginHint: undefined, stepUp }
    const { url, pending } = await rp.beginSignIn(wish)
    expect(Object.fromEntries(url.searchParams)).toMatchObject({ acr_values: '2 3', max_age: '780', kc_hint: 'otp', client_id: 'postern' })
    expect(url.searchParams.getAll('state')).toEqual([pending.state])
    expect(url.searchParams.has('claims')).toBe(false)

    provider.behaviour.metadata = (it) => ({ ...it, claims_parameter_supported: true })
    const reading = await start()
    const asked = (await reading.beginSignIn(wish)).url.searchParams
    expect(asked.has('acr_values')).toBe(false)
    expect(JSON.parse(asked.get('claims') ?? '')).toEqual({ id_token: { acr: { essential: true, values: ['2', '3'] } } })
  })

  it('reports a sign-in that is older or weaker than was asked for, or says neither, and leaves the judging to the caller', async () => {
    const stepUp = { acrValues: ['2'], maxAgeSeconds: 60, ask: {} }
    for (const [person, expected] of [
      [
        { authTime: 1_000, acr: '1' },
        { at: 1_000_000, authTime: 1_000_000, acr: '1' },
      ],
      [{ authTime: undefined }, { authTime: undefined, acr: undefined, amr: [] }],
    ] as const) {
      provider.behaviour.person = { sub: 'alice', claims: {}, ...person }
      const { url, pending } = await rp.beginSignIn({ prompt: undefined, loginHint: undefined, stepUp })
      expect(url.searchParams.get('max_age')).toBe('0')
      expect(await rp.completeSignIn(await visit(url), pending)).toMatchObject({ outcome: 'signed_in', signedIn: { signIn: expected } })
    }
  })

  it('always sends PKCE S256, state and nonce, and asks as it was told', async () => {
    const { url } = await rp.beginSignIn({ prompt: 'login', loginHint: 'alice' })
    const query = Object.fromEntries(url.searchParams)
    expect(query).toMatchObject({
      response_type: 'code',
      client_id: 'postern',
      redirect_uri: 'http://access.corp.localhost:8080/oidc/callback',
      scope: 'openid profile email',
      code_challenge_method: 'S256',
      prompt: 'login',
      max_age: '0',
      login_hint: 'alice',
    })
    expect(query['state']?.length).toBeGreaterThanOrEqual(43)
    expect(query['nonce']?.length).toBeGreaterThanOrEqual(43)
    expect(query['code_challenge']?.length).toBe(43)
  })

  it('asks Google for refresh tokens in Google’s way, and sends Entra the secret in the body', async () => {
    const wish = { prompt: undefined, loginHint: undefined }
    expect((await (await start({ preset: 'google' })).beginSignIn(wish)).url.searchParams.get('access_type')).toBe('offline')
    expect((await rp.beginSignIn(wish)).url.searchParams.has('access_type')).toBe(false)
    expect(await signIn(await start({ preset: 'entra' }))).toMatchObject({ outcome: 'signed_in' })
    expect(provider.received.find((it) => it.endpoint === 'token')?.headers.authorization).toBeUndefined()
  })

  it('authenticates with HTTP Basic where that is offered, else in the body', async () => {
    await signIn()
    expect(provider.received.find((it) => it.endpoint === 'token')?.headers.authorization).toMatch(/^Basic /)
    provider.behaviour.metadata = (it) => ({ ...it, token_endpoint_auth_methods_supported: ['client_secret_post'] })
    provider.received.length = 0
    expect(await signIn(await start())).toMatchObject({ outcome: 'signed_in' })
    const request = provider.received.find((it) => it.endpoint === 'token')
    expect(request?.headers.authorization).toBeUndefined()
    expect(new URLSearchParams(request?.body).get('client_secret')).toBe(provider.clientSecret)
  })

  it('authenticates with a signed assertion where a key is configured', async () => {
    const file = join(mkdtempSync(join(tmpdir(), 'postern-key-')), 'client.pem')
    writeFileSync(file, generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ type: 'pkcs8', format: 'pem' }))
    expect(await signIn(await start({ clientSecret: undefined, clientKeyFile: file }))).toMatchObject({ outcome: 'signed_in' })
    const form = new URLSearchParams(provider.received.findLast((it) => it.endpoint === 'token')?.body)
    const [header] = (form.get('client_assertion') ?? '').split('.')
    expect(JSON.parse(Buffer.from(header ?? '', 'base64url').toString())).toMatchObject({ alg: 'ES256' })
    expect(form.has('client_secret')).toBe(false)
  })

  it('adds what only userinfo knows, and lets the signed token win where both speak', async () => {
    provider.behaviour.idToken = (it) => ({ ...it, groups: ['signed'] })
    provider.behaviour.userinfo = (it) => ({
      ...it,
      groups: ['unsigned'],
      department: 'books',
      acr: 'top',
      sid: 'x',
      auth_time: 1,
      aud: 'evil',
    })
    const result = await signIn()
    expect(result).toMatchObject({
      signedIn: { claims: { groups: ['signed'], department: 'books', aud: 'postern' }, providerSid: undefined },
    })
    expect(result.outcome === 'signed_in' && result.signedIn.signIn.acr).toBe(undefined)
    expect(result.outcome === 'signed_in' && Object.hasOwn(result.signedIn.claims, 'acr')).toBe(false)
  })

  it('reaches a provider on a *.localhost name', async () => {
    const named = await startHostileProvider({ hostname: 'idp.corp.localhost' })
    onTestFinished(() => named.stop())
    const party = await start({ issuer: new URL(named.issuer) })
    const { url, pending } = await party.beginSignIn({ prompt: undefined, loginHint: undefined })
    const local = new URL(url.href.replace('idp.corp.localhost', '127.0.0.1'))
    const answer = await visit(local)
    expect(await party.completeSignIn(answer, pending)).toMatchObject({ outcome: 'signed_in', signedIn: { issuer: named.issuer } })
  })

  it('names the end-session endpoint with hint, client and return address, and drops a hint that makes the URL too long', () => {
    const url = rp.endSessionUrl('header.payload.signature')
    expect(url?.origin + (url?.pathname ?? '')).toBe(`${provider.issuer}/end-session`)
    expect(Object.fromEntries(url?.searchParams ?? [])).toEqual({
      client_id: 'postern',
      post_logout_redirect_uri: 'http://access.corp.localhost:8080/signed-out',
      id_token_hint: 'header.payload.signature',
    })
    expect(rp.endSessionUrl('x'.repeat(9000))?.searchParams.has('id_token_hint')).toBe(false)
  })
})

describe('the answer before the code is spent', () => {
  beforeEach(async () => {
    rp = await start()
  })

  const cases: [string, (honest: URLSearchParams) => void][] = [
    ['another state', (it) => it.set('state', 'x')],
    ['no state', (it) => it.delete('state')],
    ['an empty state', (it) => it.set('state', '')],
    ['state=undefined', (it) => it.set('state', 'undefined')],
    ['two states', (it) => it.append('state', it.get('state') ?? '')],
    ['two codes', (it) => it.append('code', 'x')],
    ['another issuer', (it) => it.set('iss', 'https://idp2.test')],
    ['an issuer with a slash more', (it) => it.set('iss', `${it.get('iss')}/`)],
    ['no issuer although the metadata promises one', (it) => it.delete('iss')],
    ['an ID Token of its own', (it) => it.set('id_token', 'x')],
    ['a response of another mode', (it) => it.set('response', 'x')],
  ]
  it.each(cases)('is refused with %s', async (_name, bend) => {
    const { url, pending } = await rp.beginSignIn({ prompt: undefined, loginHint: undefined })
    const answer = await visit(url)
    expect(rp.isAnswerTo(answer, pending)).toBe(true)
    bend(answer)
    expect(rp.isAnswerTo(answer, pending)).toBe(false)
    expect(provider.count('token')).toBe(0)
  })

  it('needs no issuer where the metadata promises none, and still compares one that comes', async () => {
    provider.behaviour.metadata = (it) => ({ ...it, authorization_response_iss_parameter_supported: false })
    const party = await start()
    const { url, pending } = await party.beginSignIn({ prompt: undefined, loginHint: undefined })
    const answer = await visit(url)
    answer.delete('iss')
    expect(party.isAnswerTo(answer, pending)).toBe(true)
    answer.set('iss', 'https://idp2.test')
    expect(party.isAnswerTo(answer, pending)).toBe(false)
  })

  it('turns an error of the provider into a refusal with a clean code', async () => {
    provider.behaviour.answer = (it) => {
      it.delete('code')
      it.set('error', '<script>alert(1)</script>')
      return it
    }
    expect(await signIn()).toEqual({ outcome: 'refused', error: 'unknown_error' })
    provider.behaviour.answer = (it) => {
      it.delete('code')
      it.set('error', 'access_denied')
      return it
    }
    expect(await signIn()).toEqual({ outcome: 'refused', error: 'access_denied' })
  })
})

describe('an ID Token that lies', () => {
  beforeEach(async () => {
    rp = await start()
  })

  const claimCases: [string, (honest: Claims) => Claims][] = [
    ['no nonce', ({ nonce: _, ...rest }) => rest],
    ['a nonce of another attempt', (it) => ({ ...it, nonce: 'other' })],
    ['no iss', ({ iss: _, ...rest }) => rest],
    ['another iss', (it) => ({ ...it, iss: 'https://idp2.test' })],
    ['an iss with a slash more', (it) => ({ ...it, iss: `${String(it['iss'])}/` })],
    ['an iss in capitals', (it) => ({ ...it, iss: String(it['iss']).toUpperCase() })],
    ['no aud', ({ aud: _, ...rest }) => rest],
    ['another aud', (it) => ({ ...it, aud: 'other' })],
    ['several aud and no azp', (it) => ({ ...it, aud: ['postern', 'other'] })],
    ['several aud and another azp', (it) => ({ ...it, aud: ['postern', 'other'], azp: 'other' })],
    ['one aud and another azp', (it) => ({ ...it, azp: 'other' })],
    ['no sub', ({ sub: _, ...rest }) => rest],
    ['an empty sub', (it) => ({ ...it, sub: '' })],
    ['a sub of 300 characters', (it) => ({ ...it, sub: 'a'.repeat(300) })],
    ['a number as sub', (it) => ({ ...it, sub: 7 })],
    ['a sub with a NUL', (it) => ({ ...it, sub: 'alice\u0000x' })],
    ['a sub with an outer space', (it) => ({ ...it, sub: 'alice ' })],
    ['a sub that would pass for a service', (it) => ({ ...it, sub: 'service:billing' })],
    ['a wrong at_hash', (it) => ({ ...it, at_hash: 'AAAAAAAAAAAAAAAAAAAAAA' })],
    ['an expiry that passed', (it) => ({ ...it, iat: Number(it['iat']) - 30, exp: Number(it['iat']) - 90 })],
    ['no expiry', ({ exp: _, ...rest }) => rest],
    ['an iat ten minutes ahead', (it) => ({ ...it, iat: Number(it['iat']) + 600, exp: Number(it['iat']) + 900 })],
    ['an iat ninety seconds ahead', (it) => ({ ...it, iat: Number(it['iat']) + 90 })],
    ['an iat ten minutes back', (it) => ({ ...it, iat: Number(it['iat']) - 600 })],
    ['claims nested without end', (it) => ({ ...it, deep: JSON.parse('['.repeat(40) + ']'.repeat(40)) })],
  ]
  it.each(claimCases)('is refused with %s', async (_name, bend) => {
    provider.behaviour.idToken = bend
    provider.behaviour.userinfo = ({ sub: _, ...rest }) => ({ ...rest, sub: bend({ sub: 'alice', iat: 1, iss: '' })['sub'] })
    await refusesWith('sign_in_invalid')
    expect(provider.count('token')).toBe(1)
  })

  it('is accepted thirty seconds off, and names the clock when it is further off', async () => {
    provider.behaviour.idToken = (it) => ({ ...it, iat: Number(it['iat']) + 30 })
    expect(await signIn()).toMatchObject({ outcome: 'signed_in' })
    provider.behaviour.idToken = (it) => ({ ...it, iat: Number(it['iat']) - 600 })
    await expect(signIn()).rejects.toThrow(/clock of the provider and the clock here differ by -6\d\d s/)
    provider.behaviour.idToken = (it) => ({ ...it, exp: Number(it['iat']) - 120 })
    await expect(signIn()).rejects.toThrow(/clock/)
  })

  it('is accepted with a right at_hash, with azp naming us, and with azp beside several audiences', async () => {
    let accessToken = ''
    const original = provider.behaviour.sign
    provider.behaviour.idToken = (it) => ({ ...it, aud: ['postern', 'api'], azp: 'postern' })
    expect(await signIn()).toMatchObject({ outcome: 'signed_in' })
    provider.behaviour.tokenResponse = (it) => {
      accessToken = 'fixed-access-token'
      return { ...it, access_token: accessToken }
    }
    provider.behaviour.sign = (claims, header) => {
      const digest = createHash('sha256').update('fixed-access-token').digest()
      return original({ ...claims, at_hash: digest.subarray(0, 16).toString('base64url') }, header)
    }
    provider.behaviour.take.userinfo = (_request, response) => {
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ sub: 'alice' }))
      return true
    }
    expect(await signIn()).toMatchObject({ outcome: 'signed_in', signedIn: { tokens: { accessToken } } })
  })

  it('is refused with alg none, with the client secret as HMAC key, and with signatures of foreign keys', async () => {
    provider.behaviour.sign = (claims) => forgeToken({ alg: 'none' }, claims)
    await refusesWith('sign_in_invalid')
    provider.behaviour.sign = (claims) => forgeToken({}, claims, provider.clientSecret)
    await refusesWith('sign_in_invalid')
    for (const alg of ['RS256', 'ES256']) {
      const foreign = await startHostileProvider()
      const key = await foreign.addKey(alg, provider.keys[0]?.kid)
      await foreign.stop()
      if (alg === 'ES256') await provider.addKey('ES256', 'ec')
      provider.behaviour.sign = (claims) => provider.signWith(key, claims, alg === 'ES256' ? { kid: 'ec' } : {})
      await refusesWith('sign_in_invalid')
    }
  })

  it('is refused with alg none and HS256 even where the metadata lists them', async () => {
    provider.behaviour.metadata = (it) => ({ ...it, id_token_signing_alg_values_supported: ['none', 'HS256', 'RS256'] })
    rp = await start()
    provider.behaviour.sign = (claims) => forgeToken({ alg: 'none' }, claims)
    await refusesWith('sign_in_invalid')
    provider.behaviour.sign = (claims) => forgeToken({}, claims, provider.clientSecret)
    await refusesWith('sign_in_invalid')
  })

  it('is refused when userinfo speaks of another subject or is not an object', async () => {
    provider.behaviour.userinfo = (it) => ({ ...it, sub: 'mallory' })
    await refusesWith('sign_in_invalid')
    provider.behaviour.userinfo = (it) => [it]
    await refusesWith('sign_in_invalid')
  })

  it('pollutes nothing with claims that are named like prototype members', async () => {
    const hostile = JSON.parse(
      '{"__proto__":{"isAdmin":true,"groups":["admins"]},"constructor":{"prototype":{"role":"admin"}},"toString":1,"hasOwnProperty":1,"nest":{"__proto__":{"x":1},"ok":true}}',
    ) as Claims
    const original = provider.behaviour.sign
    const payload = (claims: Claims) => Object.defineProperties(claims, Object.getOwnPropertyDescriptors(hostile))
    provider.behaviour.sign = (claims, header) => original(payload(claims), header)
    provider.behaviour.userinfo = (it) => payload({ ...it })
    const result = await signIn()
    expect(({} as Claims)['isAdmin']).toBeUndefined()
    if (result.outcome !== 'signed_in') throw new Error('not signed in')
    const { claims } = result.signedIn
    expect(Object.getPrototypeOf(claims)).toBe(null)
    expect(Object.keys(claims)).not.toContain('__proto__')
    expect(claims['isAdmin']).toBeUndefined()
    expect(claims['groups']).toEqual(['staff'])
    expect(Object.keys(claims['nest'] as object)).toEqual(['ok'])
    expect(Object.getPrototypeOf(claims['nest'])).toBe(null)
  })

  it('writes no token, code or claim into errors', async () => {
    provider.behaviour.tokenResponse = (it) => ({ ...it, id_token: `not-a-token-${'secret'.repeat(4)}` })
    const error = await signIn().catch((cause: unknown) => cause)
    expect(error).toMatchObject({ code: 'sign_in_invalid' })
    const { createLogger: _, describeError } = await import('../log.ts')
    expect(JSON.stringify(describeError(error))).not.toContain('secret')
  })
})

describe('keys of the provider', () => {
  beforeEach(async () => {
    rp = await start()
  })

  it('accepts a missing kid with one key and refuses it with several that fit', async () => {
    provider.behaviour.idTokenHeader = ({ kid: _, ...rest }) => ({ ...rest, kid: undefined })
    expect(await signIn()).toMatchObject({ outcome: 'signed_in' })
    await provider.addKey()
    moved = 10 * 60_000
    provider.behaviour.idToken = (it) => ({ ...it, iat: Number(it['iat']) + 600, exp: Number(it['exp']) + 600 })
    await refusesWith('sign_in_invalid')
  })

  it('follows a rotation at once with one read, and refuses a removed key once the set is read again', async () => {
    await signIn()
    const old = provider.keys[0]
    await provider.addKey()
    expect(await signIn()).toMatchObject({ outcome: 'signed_in' })
    expect(provider.count('jwks')).toBe(2)
    provider.keys.shift()
    moved = 6 * 60_000
    provider.behaviour.idToken = (it) => ({ ...it, iat: Number(it['iat']) + 360, exp: Number(it['exp']) + 360 })
    if (old === undefined) throw new Error('no key')
    provider.behaviour.sign = (claims) => provider.signWith(old, claims)
    await refusesWith('sign_in_invalid')
  })

  it('reads keys once a minute at most, however many unknown ones are named', async () => {
    await signIn()
    for (let round = 0; round < 5; round += 1) {
      const token = await provider.logoutToken({ sub: 'alice' }, { kid: `unknown-${round}` })
      await expect(rp.verifyLogoutToken(token)).rejects.toMatchObject({ code: 'sign_in_invalid' })
    }
    expect(provider.count('jwks')).toBe(2)
    moved = 61_000
    await expect(rp.verifyLogoutToken(await provider.logoutToken({ sub: 'a' }, { kid: 'unknown-x' }))).rejects.toThrow()
    expect(provider.count('jwks')).toBe(3)
  })

  it('refuses two different keys under one kid', async () => {
    await provider.addKey('RS256', provider.keys[0]?.kid)
    await refusesWith('sign_in_invalid')
  })

  it.each([
    ['an error page', (it: HostileProvider) => serve(it, 'jwks', 500, ['text/html', '<h1>down</h1>'])],
    ['HTML', (it: HostileProvider) => serve(it, 'jwks', 200, ['text/html', '<h1>hello</h1>'])],
    ['an empty set', (it: HostileProvider) => serve(it, 'jwks', 200, ['application/json', '{"keys":[]}'])],
  ])('keeps the last good set while jwks_uri answers %s, and has none to begin with', async (_name, bend) => {
    bend(provider)
    await refusesWith('provider_unavailable')
    await refusesWith('provider_unavailable')
    expect(provider.count('jwks')).toBe(1)
    delete provider.behaviour.take.jwks
    moved = 1100
    expect(await signIn()).toMatchObject({ outcome: 'signed_in' })
    bend(provider)
    moved = 10 * 60_000
    provider.behaviour.idToken = (it) => ({ ...it, iat: Number(it['iat']) + 600, exp: Number(it['exp']) + 600 })
    expect(await signIn()).toMatchObject({ outcome: 'signed_in' })
  })
})

function serve(it: HostileProvider, endpoint: Endpoint, status: number, [type, body]: readonly [type: string, body: string]): void {
  it.behaviour.take[endpoint] = (_request, response) => {
    response.writeHead(status, { 'content-type': type }).end(body)
    return true
  }
}

describe('a provider that breaks', () => {
  it('is looked for until it is there; until then every method says so', async () => {
    await provider.stop()
    const party = createRelyingParty(settings())
    onTestFinished(() => party.close())
    expect(party.isReady()).toBe(false)
    await expect(party.beginSignIn({ prompt: undefined, loginHint: undefined })).rejects.toMatchObject({ code: 'provider_unavailable' })
    await expect(party.verifyLogoutToken('x')).rejects.toMatchObject({ code: 'provider_unavailable' })
    expect(await party.refresh('x', { issuer: provider.issuer, sub: 'alice' })).toMatchObject({ outcome: 'unreachable' })
    expect(party.endSessionUrl('x')).toBeUndefined()
    await vi.waitUntil(() => lines.some((line) => line.includes('provider not discovered yet')))
    await provider.start()
    await vi.waitUntil(() => party.isReady(), { timeout: 8000 })
  })

  it.each<[string, (honest: Claims) => unknown]>([
    ['names another issuer', (it) => ({ ...it, issuer: 'https://idp2.test' })],
    ['names its issuer with a path more', (it) => ({ ...it, issuer: `${String(it['issuer'])}/x` })],
    ['names its issuer in capitals', (it) => ({ ...it, issuer: String(it['issuer']).replace('http', 'HTTP') })],
    ['is an array', (it) => [it]],
    ['has no jwks_uri', ({ jwks_uri: _, ...rest }) => rest],
    ['has a token endpoint that is no URL', (it) => ({ ...it, token_endpoint: 'javascript:alert(1)' })],
    ['is two megabytes long', (it) => ({ ...it, padding: 'x'.repeat(2 * 1024 * 1024) })],
  ])('is not believed when its metadata %s', async (_name, bend) => {
    provider.behaviour.metadata = bend
    const party = createRelyingParty(settings())
    onTestFinished(() => party.close())
    await vi.waitUntil(() => lines.some((line) => line.includes('provider not discovered yet')))
    expect(party.isReady()).toBe(false)
  })

  it('is not followed when discovery redirects', async () => {
    provider.behaviour.take.discovery = (_request, response) => {
      response.writeHead(302, { location: `${provider.issuer}/authorize` }).end()
      return true
    }
    const party = createRelyingParty(settings())
    onTestFinished(() => party.close())
    await vi.waitUntil(() => lines.some((line) => line.includes('provider not discovered yet')))
    expect(provider.count('authorize')).toBe(0)
  })

  it('is found away before a person is sent there, and asked at most once in ten seconds while it answers', async () => {
    rp = await start()
    const begin = () => rp.beginSignIn({ prompt: undefined, loginHint: undefined })
    for (let round = 0; round < 5; round += 1) await begin()
    expect(provider.count('discovery')).toBe(1)
    moved = 11_000
    for (let round = 0; round < 5; round += 1) await begin()
    expect(provider.count('discovery')).toBe(2)
    moved = 22_000
    serve(provider, 'discovery', 503, ['text/html', 'maintenance'])
    await expect(begin()).rejects.toMatchObject({ code: 'provider_unavailable' })
    await provider.stop()
    await expect(begin()).rejects.toMatchObject({ code: 'provider_unavailable' })
    await provider.start()
    provider.reset()
    await begin()
  })

  it('gets no credential at another address when the token endpoint redirects', async () => {
    rp = await start()
    provider.behaviour.take.token = (_request, response) => {
      response.writeHead(307, { location: `${provider.issuer}/elsewhere` }).end()
      return true
    }
    await refusesWith('provider_unavailable')
    expect(provider.count('other')).toBe(0)
    expect(provider.count('token')).toBe(1)
  })

  it.each<[string, (it: HostileProvider) => void]>([
    ['HTML with 200', (it) => serve(it, 'token', 200, ['text/html', '<h1>hello</h1>'])],
    ['503 with Retry-After', (it) => serve(it, 'token', 503, ['text/plain', 'later'])],
    ['two megabytes', (it) => serve(it, 'token', 200, ['application/json', `{"x":"${'x'.repeat(2 * 1024 * 1024)}"}`])],
    ['server_error', (it) => serve(it, 'token', 400, ['application/json', '{"error":"server_error"}'])],
    [
      'a reset in mid-body',
      (it) => {
        it.behaviour.take.token = (_request, response) => {
          response.writeHead(200, { 'content-type': 'application/json', 'content-length': '1000' })
          response.write('{"access')
          setImmediate(() => response.socket?.resetAndDestroy())
          return true
        }
      },
    ],
  ])('makes the sign-in unavailable, after one attempt, with %s from the token endpoint', async (_name, bend) => {
    rp = await start()
    bend(provider)
    await refusesWith('provider_unavailable')
    expect(provider.count('token')).toBe(1)
  })

  it('is given up when all it is asked takes too long together, each answer being just in time', async () => {
    rp = await start({}, 1)
    const late = (_request: unknown) => new Promise<boolean>((resolve) => setTimeout(() => resolve(false), 950))
    Object.assign(provider.behaviour.take, { token: late, userinfo: late })
    await refusesWith('provider_unavailable')
  })

  it('is given up when it stalls, and when it drips', async () => {
    rp = await start({}, 1)
    provider.behaviour.take.token = () => true
    const begunAt = performance.now()
    await refusesWith('provider_unavailable')
    const timers: NodeJS.Timeout[] = []
    provider.behaviour.take.token = (_request, response) => {
      response.writeHead(200, { 'content-type': 'application/json' })
      timers.push(setInterval(() => response.write(' '), 100))
      return true
    }
    await refusesWith('provider_unavailable')
    for (const timer of timers) clearInterval(timer)
    expect(performance.now() - begunAt).toBeLessThan(4000)
  })

  it('refuses our credentials: that is a refusal with its code, and an alarm in the log', async () => {
    rp = await start({ clientSecret: new Secret('wrong') })
    expect(await signIn()).toEqual({ outcome: 'refused', error: 'invalid_client' })
    expect(lines.join('')).toContain('the provider refuses our client credentials')
  })

  it('is refused at once if its issuer is plain HTTP on another machine', () => {
    expect(() => createRelyingParty(settings({ issuer: new URL('http://idp.example') }))).toThrow(/not HTTPS/)
    const party = createRelyingParty(settings({ issuer: new URL('http://192.0.2.1:1'), dangerouslyAllowHttp: true }))
    party.close()
  })
})

describe('a refresh', () => {
  const expected = () => ({ issuer: provider.issuer, sub: 'alice', idToken: 'old-id-token' })
  let refreshToken = ''

  beforeEach(async () => {
    rp = await start()
    const result = await signIn()
    if (result.outcome !== 'signed_in') throw new Error('not signed in')
    refreshToken = result.signedIn.tokens.refreshToken ?? ''
  })

  it('brings new claims and the rotated token', async () => {
    provider.behaviour.idToken = (it) => ({ ...it, groups: ['promoted'] })
    const result = await rp.refresh(refreshToken, expected())
    expect(result).toMatchObject({ outcome: 'refreshed', signedIn: { sub: 'alice', claims: { groups: ['promoted'] } } })
    expect(result.outcome === 'refreshed' && result.signedIn.tokens.refreshToken).not.toBe(refreshToken)
  })

  it('keeps the ID Token and the refresh token that the provider does not replace', async () => {
    provider.behaviour.refreshIdToken = false
    provider.behaviour.tokenResponse = ({ refresh_token: _, ...rest }) => rest
    expect(await rp.refresh(refreshToken, expected())).toMatchObject({
      outcome: 'refreshed',
      signedIn: { tokens: { idToken: 'old-id-token', refreshToken }, claims: { sub: 'alice', groups: ['staff'] } },
    })
  })

  it('is refused only by invalid_grant; every other error is unreachable', async () => {
    for (const error of ['invalid_client', 'invalid_scope', 'server_error', 'temporarily_unavailable', 'x']) {
      provider.behaviour.refuseRefresh = error
      expect(await rp.refresh(refreshToken, expected())).toMatchObject({ outcome: 'unreachable' })
    }
    provider.behaviour.refuseRefresh = 'invalid_grant'
    expect(await rp.refresh(refreshToken, expected())).toEqual({ outcome: 'refused' })
    serve(provider, 'token', 200, ['text/html', ''])
    expect(await rp.refresh(refreshToken, expected())).toMatchObject({ outcome: 'unreachable' })
  })

  it('is refused when the tokens belong to another subject, and useless when userinfo does', async () => {
    provider.behaviour.idToken = (it) => ({ ...it, sub: 'mallory' })
    expect(await rp.refresh(refreshToken, expected())).toEqual({ outcome: 'refused', isOfAnotherSubject: true })
  })

  it.each<[string, () => void]>([
    ['userinfo fails', () => serve(provider, 'userinfo', 500, ['text/html', ''])],
    ['userinfo speaks of another subject', () => (provider.behaviour.userinfo = (it) => ({ ...it, sub: 'mallory' }))],
    ['the ID Token cannot be verified', () => (provider.behaviour.idTokenHeader = (it) => ({ ...it, kid: 'nobody' }))],
    ['the ID Token is of another time', () => (provider.behaviour.idToken = (it) => ({ ...it, exp: Number(it['exp']) - 7200 }))],
  ])('that fails once the provider has exchanged the token, because %s, hands the new one over', async (_why, bend) => {
    bend()
    const failed = await rp.refresh(refreshToken, expected())
    expect(failed).toMatchObject({ outcome: 'unreachable', refreshToken: expect.any(String) })
    provider.reset()
    const next = failed.outcome === 'unreachable' ? failed.refreshToken : undefined
    expect(next).not.toBe(refreshToken)
    // A provider that rotates knows the old one no more.
    expect(await rp.refresh(refreshToken, expected())).toEqual({ outcome: 'refused' })
    expect(await rp.refresh(next ?? '', expected())).toMatchObject({ outcome: 'refreshed' })
  })

  it('is unreachable, never accepted, with an ID Token of a foreign key', async () => {
    const foreign = await startHostileProvider()
    await foreign.stop()
    const key = foreign.keys[0]
    if (key === undefined) throw new Error('no key')
    provider.behaviour.sign = (claims) => provider.signWith(key, claims, { kid: provider.keys[0]?.kid })
    expect(await rp.refresh(refreshToken, expected())).toMatchObject({ outcome: 'unreachable' })
  })
})

describe('a logout token', () => {
  beforeEach(async () => {
    rp = await start()
  })

  it('is accepted with sid, with sub, and with the types that providers send', async () => {
    expect(await rp.verifyLogoutToken(await provider.logoutToken({ sid: 's1' }))).toMatchObject({
      issuer: provider.issuer,
      sid: 's1',
      sub: undefined,
    })
    for (const typ of ['logout+jwt', 'application/logout+jwt', 'JWT', undefined]) {
      expect(await rp.verifyLogoutToken(await provider.logoutToken({ sub: 'alice' }, { typ }))).toMatchObject({ sub: 'alice' })
    }
    const { remainingSeconds } = await rp.verifyLogoutToken(await provider.logoutToken({ sub: 'alice' }))
    expect(remainingSeconds).toBeGreaterThan(170)
    expect(remainingSeconds).toBeLessThanOrEqual(181)
    expect(await rp.verifyLogoutToken(await provider.logoutToken({ sub: 'alice', aud: ['other', 'postern'] }))).toBeDefined()
  })

  const now = Math.floor(Date.now() / 1000)
  it.each<[string, Claims, Claims?]>([
    ['another aud', { aud: 'other' }],
    ['aud as an array without us', { aud: ['other'] }],
    ['no aud', { aud: undefined }],
    ['another iss', { iss: 'https://idp2.test' }],
    ['no iss', { iss: undefined }],
    ['no events', { events: undefined }],
    ['events as an array', { events: [logoutEvent] }],
    ['another event', { events: { 'http://schemas.openid.net/event/other': {} } }],
    ['true as the event', { events: { [logoutEvent]: true } }],
    ['an array as the event', { events: { [logoutEvent]: [] } }],
    ['a nonce', { nonce: 'x' }],
    ['null as nonce', { nonce: null }],
    ['neither sub nor sid', { sub: undefined }],
    ['an empty sub', { sub: '' }],
    ['a number as sid', { sid: 7 }],
    ['no jti', { jti: undefined }],
    ['a number as jti', { jti: 7 }],
    ['no iat', { iat: undefined }],
    ['an old iat', { iat: now - 400, exp: now + 100 }],
    ['an iat to come', { iat: now + 400, exp: now + 500 }],
    ['no exp', { exp: undefined }],
    ['an expiry that passed', { exp: now - 100 }],
    ['the type of an access token', {}, { typ: 'at+jwt' }],
    ['a critical extension', {}, { crit: ['x'], x: 1 }],
  ])('is refused with %s', async (_name, claims, header) => {
    const sign = async () => await provider.logoutToken({ sub: 'alice', ...claims }, header)
    const token = header?.['crit'] === undefined ? await sign() : await forgeToken({ alg: 'RS256', ...header }, { sub: 'alice' })
    await expect(rp.verifyLogoutToken(token)).rejects.toMatchObject({ code: 'sign_in_invalid' })
  })

  it('is refused under a shared secret even if the provider publishes one as a key', async () => {
    const secret = 'x'.repeat(40)
    const k = Buffer.from(secret).toString('base64url')
    provider.behaviour.jwks = (it) => ({ keys: [...it, { kty: 'oct', k, kid: 'shared', alg: 'HS256', use: 'sig' }] })
    const claims = { iss: provider.issuer, aud: 'postern', iat: now, exp: now + 100, jti: 'j', sub: 'alice', events: { [logoutEvent]: {} } }
    const token = await forgeToken({ kid: 'shared', typ: 'logout+jwt' }, claims, secret)
    await expect(rp.verifyLogoutToken(token)).rejects.toMatchObject({ code: 'sign_in_invalid' })
  })

  it('is refused with alg none, with the client secret as HMAC key, with a foreign key, and as an ID Token', async () => {
    const claims = { iss: provider.issuer, aud: 'postern', iat: now, exp: now + 100, jti: 'j', sub: 'alice', events: { [logoutEvent]: {} } }
    const foreign = await startHostileProvider()
    await foreign.stop()
    const key = foreign.keys[0]
    if (key === undefined) throw new Error('no key')
    const signedIn = await signIn()
    const idToken = signedIn.outcome === 'signed_in' ? signedIn.signedIn.tokens.idToken : ''
    for (const token of [
      await forgeToken({ alg: 'none' }, claims),
      await forgeToken({ kid: provider.keys[0]?.kid }, claims, provider.clientSecret),
      await provider.signWith(key, claims, { kid: provider.keys[0]?.kid }),
      idToken,
      '',
      'x',
      'a.b.c',
    ]) {
      await expect(rp.verifyLogoutToken(token)).rejects.toMatchObject({ code: 'sign_in_invalid' })
    }
  })
})
