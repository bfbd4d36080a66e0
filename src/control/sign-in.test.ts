/**
 * Sign-in over real HTTP: what a browser ends with, what the provider was asked, and what is refused before anything is spent.
 */

import { createHash } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { DeviceBinding } from '../attributes/device-binding.ts'
import {
  type AccessHost,
  accessUrl,
  allow,
  appOf,
  type Browser,
  payrollUrl,
  signInPath,
  startAccessHost,
  watchWrites,
  wikiUrl,
} from './control-plane.fixture.ts'

const attempt = 'A'.repeat(43)
let host: AccessHost
let browser: Browser

beforeEach(async () => {
  host = await startAccessHost()
  browser = host.browser()
})
afterEach(() => host.close())

const names = () => host.events.map(({ event }) => event)
const authTime = (seconds: number) => {
  host.provider.behaviour.person.authTime = Math.floor(Date.now() / 1000) + seconds
}

describe('an honest sign-in', () => {
  it('hands off to the app that asked, for exactly its origin and attempt', async () => {
    const page = `${wikiUrl}/a/page?x=1`
    const answer = await browser.signIn(signInPath(page, attempt))
    expect(answer.status).toBe(303)
    expect(answer.location?.origin).toBe(wikiUrl)
    expect(answer.location?.pathname).toBe('/.postern/callback')
    const code = answer.location?.searchParams.get('code') ?? ''
    const handOff = await host.sessions.takeHandOff(code)
    expect(handOff).toMatchObject({ origin: wikiUrl, attempt, returnTo: page })
    expect(names()).toContain('session.started')
    const lookup = await host.sessions.findByAccessSecret(browser.secret ?? '')
    expect(lookup).toMatchObject({ state: 'live', session: { id: handOff?.sessionId, sub: 'alice', origin: { address: '192.0.2.1' } } })
  })

  it('sets the session cookie host-only, HttpOnly, Secure and Lax, and removes the login cookie', async () => {
    const start = await browser.visit('/sign-in')
    expect(start.status).toBe(302)
    const [login = ''] = start.headers['set-cookie'] ?? []
    expect(login).toMatch(/^__Host-postern-login-[A-Za-z0-9_-]{16}=[A-Za-z0-9_-]+; Path=\/; HttpOnly; SameSite=Lax; Secure$/)
    const end = await browser.visit(await browser.throughProvider(start))
    const session = end.headers['set-cookie']?.find((line) => line.startsWith('__Host-postern='))
    expect(session).toMatch(/^__Host-postern=[A-Za-z0-9_-]{43}; Path=\/; HttpOnly; SameSite=Lax; Secure$/)
    expect([...browser.cookies.keys()]).toEqual(['__Host-postern'])
    expect(end.headers['cache-control']).toBe('no-store')
    expect(end.headers['referrer-policy']).toBe('no-referrer')
  })

  it('writes nothing to the store before the provider has answered', async () => {
    const written = watchWrites(host.store)
    expect((await browser.visit('/sign-in')).status).toBe(302)
    expect((await browser.visit(signInPath(`${wikiUrl}/`))).status).toBe(302)
    expect(written).toEqual([])
  })

  it('ends at the portal where no app asked', async () => {
    expect((await browser.signIn()).location?.href).toBe(`${accessUrl.origin}/`)
    expect((await browser.visit('/sign-in')).location?.href).toBe(`${accessUrl.origin}/`)
  })

  it('is not needed with a live session: the hand-off follows at once', async () => {
    await browser.signIn()
    host.provider.received.length = 0
    const answer = await browser.visit(signInPath(`${payrollUrl}/x`))
    expect(answer.location?.origin).toBe(payrollUrl)
    expect(host.provider.received).toEqual([])
  })

  it('without an attempt leads to the app itself and mints no code, with a session and without', async () => {
    for (let round = 0; round < 2; round += 1) {
      const answer = await browser.visit(`/sign-in?${new URLSearchParams({ return_to: `${wikiUrl}/x` })}`)
      expect(answer.location?.href).toBe(`${wikiUrl}/x`)
      const malformed = await browser.visit(signInPath(`${wikiUrl}/x`, 'short'))
      expect(malformed.location?.href).toBe(`${wikiUrl}/x`)
      if (round === 0) await browser.signIn()
    }
  })

  it('brings ten tabs restored at once to ten places', async () => {
    const tabs = Array.from({ length: 10 }, (_, tab) => `${wikiUrl}/tab/${tab}`)
    const starts = await Promise.all(tabs.map((page, tab) => browser.visit(signInPath(page, String(tab).repeat(43)))))
    expect(new Set(starts.map(({ location }) => location?.searchParams.get('state'))).size).toBe(10)
    const callbacks = await Promise.all(starts.map((start) => browser.throughProvider(start)))
    const ends = await Promise.all(callbacks.map((path) => browser.visit(path)))
    const reached = await Promise.all(ends.map(({ location }) => host.sessions.takeHandOff(location?.searchParams.get('code') ?? '')))
    expect(reached.map((handOff) => handOff?.returnTo)).toEqual(tabs)
    expect(reached.map((handOff) => handOff?.attempt)).toEqual(tabs.map((_, tab) => String(tab).repeat(43)))
  })

  it('continues the session of the same person: the id and the cookie stay, the facts are new', async () => {
    const [first, second] = [await browser.visit(signInPath(`${wikiUrl}/1`)), await browser.visit(signInPath(`${wikiUrl}/2`))]
    await browser.visit(await browser.throughProvider(first))
    const secret = browser.secret
    const before = await host.sessions.findByAccessSecret(secret ?? '')
    host.provider.behaviour.person.acr = 'higher'
    const answer = await browser.visit(await browser.throughProvider(second))
    expect(browser.secret).toBe(secret)
    expect(answer.headers['set-cookie']?.some((line) => line.startsWith('__Host-postern='))).toBe(false)
    const after = await host.sessions.findByAccessSecret(secret ?? '')
    expect(before.state === 'live' && after.state === 'live' && after.session.id === before.session.id).toBe(true)
    expect(after.state === 'live' && after.session.signIn.acr).toBe('higher')
    expect(names()).toContain('session.continued')
  })

  it('of another person begins a session with a new secret, and ends the old one', async () => {
    const start = await browser.visit(signInPath(`${wikiUrl}/`))
    await browser.signIn()
    const secret = browser.secret ?? ''
    host.provider.behaviour.person = { sub: 'bob', claims: {} }
    await browser.visit(await browser.throughProvider(start))
    expect(browser.secret).not.toBe(secret)
    expect(await host.sessions.findByAccessSecret(secret)).toMatchObject({ state: 'ended', cause: 'replaced' })
    expect(await host.sessions.findByAccessSecret(browser.secret ?? '')).toMatchObject({ state: 'live', session: { sub: 'bob' } })
  })

  it('never adopts a secret that the browser came with', async () => {
    const planted = 'P'.repeat(43)
    browser.cookies.set('__Host-postern', planted)
    await browser.signIn()
    expect(browser.secret).not.toBe(planted)
    expect(await host.sessions.findByAccessSecret(planted)).toEqual({ state: 'none' })
  })
})

describe('a device certificate', () => {
  const showing = { certificate: 'aa' }
  const binding: DeviceBinding = {
    deviceOf: () => Promise.resolve({ certificate: showing.certificate, names: [] }),
    isElsewhere: (_request, { device }) => Promise.resolve(device?.certificate !== showing.certificate),
  }
  const sessionNow = async () => {
    const lookup = await host.sessions.findByAccessSecret(browser.secret ?? '')
    return lookup.state === 'live' ? lookup.session : undefined
  }

  it('shown at the sign-in binds the session, and a sign-in on another device begins another', async () => {
    await host.close()
    host = await startAccessHost({ binding })
    browser = host.browser()
    const tabs = await Promise.all([1, 2, 3].map((tab) => browser.visit(signInPath(`${wikiUrl}/${tab}`))))
    const [first = '', second = '', third = ''] = await Promise.all(tabs.map((tab) => browser.throughProvider(tab)))
    await browser.visit(first)
    const bound = await sessionNow()
    expect(bound?.device?.certificate).toBe('aa')
    await browser.visit(second)
    expect((await sessionNow())?.id).toBe(bound?.id)
    showing.certificate = 'bb'
    await browser.visit(third)
    expect(await sessionNow()).toMatchObject({ device: { certificate: 'bb' } })
    expect(await host.sessions.findById(bound?.id ?? '')).toMatchObject({ state: 'ended', cause: 'replaced' })
  })

  it('is not asked for where none is, and then binds nothing', async () => {
    await browser.signIn()
    expect(await sessionNow()).toMatchObject({ device: undefined })
  })
})

describe('an answer that does not belong here', () => {
  const refused = async (path: string, at: Browser = browser) => {
    const answer = await at.visit(path)
    expect(answer.status).toBe(400)
    expect(answer.headers['x-postern']).toBe('sign_in_invalid')
    expect(answer.body).toContain('request-')
    expect(answer.location).toBeUndefined()
    return answer
  }

  it('is refused in another browser, and the code stays unspent', async () => {
    const path = await browser.throughProvider(await browser.visit(signInPath(`${wikiUrl}/`)))
    const victim = host.browser()
    await refused(path, victim)
    expect(victim.secret).toBeUndefined()
    expect(host.provider.count('token')).toBe(0)
  })

  it('is refused with the state of another attempt of the same browser', async () => {
    const paths = await Promise.all(
      [browser.visit('/sign-in'), browser.visit('/sign-in')].map(async (it) => browser.throughProvider(await it)),
    )
    const [one, two] = paths.map((path) => new URL(path, accessUrl).searchParams)
    one?.set('state', `${one.get('state')?.slice(0, 16)}${two?.get('state')?.slice(16)}`)
    await refused(`/oidc/callback?${one}`)
    expect(host.provider.count('token')).toBe(0)
  })

  it.each([
    ['no state', ''],
    ['an empty state', 'state='],
    ['state=undefined', 'state=undefined'],
    ['a state that was never given', `state=${'x'.repeat(43)}`],
    ['a name of an object', 'state=__proto__'],
  ])('is refused with %s', async (_name, state) => {
    await browser.visit('/sign-in')
    await refused(`/oidc/callback?code=x&${state}`)
    expect(host.provider.count('token')).toBe(0)
  })

  it('is refused when the issuer is another or missing, before the code or the attempt is spent', async () => {
    const honest = await browser.throughProvider(await browser.visit('/sign-in'))
    for (const bend of [(it: URLSearchParams) => it.set('iss', 'https://idp2.test'), (it: URLSearchParams) => it.delete('iss')]) {
      const url = new URL(honest, accessUrl)
      bend(url.searchParams)
      await refused(url.pathname + url.search)
    }
    expect(host.provider.count('token')).toBe(0)
    expect(browser.secret).toBeUndefined()
    expect((await browser.visit(honest)).status).toBe(303)
  })

  it('is refused the second time, and the first success stands', async () => {
    const start = await browser.visit('/sign-in')
    const kept = new Map(browser.cookies)
    const path = await browser.throughProvider(start)
    await browser.visit(path)
    const secret = browser.secret ?? ''
    await refused(path)
    for (const [name, value] of kept) browser.cookies.set(name, value)
    await refused(path)
    expect(host.provider.count('token')).toBe(1)
    expect(await host.sessions.findByAccessSecret(secret)).toMatchObject({ state: 'live' })
    expect(browser.secret).toBe(secret)
  })

  it('is refused after five minutes, with a page that leads to a new start', async () => {
    const path = await browser.throughProvider(await browser.visit(signInPath(`${wikiUrl}/`)))
    host.move(301_000)
    const answer = await refused(path)
    expect(answer.body).toContain(`${accessUrl.origin}/sign-in`)
    expect(host.provider.count('token')).toBe(0)
  })

  it('is refused with a forged ID Token, and leaves no session', async () => {
    host.provider.behaviour.idToken = (it) => ({ ...it, nonce: 'other' })
    const answer = await browser.signIn(signInPath(`${wikiUrl}/deep`))
    expect(answer.status).toBe(400)
    expect(answer.body).toContain(`${wikiUrl}/deep`)
    expect(browser.secret).toBeUndefined()
    expect(host.events).toContainEqual(expect.objectContaining({ event: 'sign_in.failed', reason: 'sign_in_invalid' }))
  })

  it('is not taken by HEAD or POST', async () => {
    const path = await browser.throughProvider(await browser.visit('/sign-in'))
    expect((await browser.visit(path, { method: 'HEAD' })).status).toBe(405)
    const post = await browser.visit(path, { method: 'POST', headers: { 'sec-fetch-site': 'same-origin' } })
    expect(post.status).toBe(405)
    expect(post.headers.allow).toBe('GET')
    expect((await browser.visit(path, { method: 'POST', headers: { 'sec-fetch-site': 'cross-site' } })).status).toBe(403)
    expect(host.provider.count('token')).toBe(0)
    expect((await browser.visit(path)).status).toBe(303)
  })
})

describe('a provider that says no', () => {
  const answerWith = (error: string, description = '') => {
    host.provider.behaviour.answer = (it) =>
      new URLSearchParams({ state: it.get('state') ?? '', iss: it.get('iss') ?? '', error, error_description: description })
  }

  it.each([
    ['access_denied', 403, 'provider_refused'],
    ['login_required', 403, 'provider_refused'],
    ['invalid_scope', 403, 'provider_refused'],
    ['server_error', 503, 'provider_unavailable'],
  ])('with %s is a page with status %i', async (error, status, reason) => {
    answerWith(error)
    const answer = await browser.signIn(signInPath(`${wikiUrl}/`))
    expect(answer.status).toBe(status)
    expect(answer.headers['x-postern']).toBe(reason)
    expect(answer.body).toContain('request-')
    expect(answer.headers['retry-after']).toBe(status === 503 ? '5' : undefined)
    expect(host.provider.count('authorize')).toBe(1)
    expect(host.events).toContainEqual(expect.objectContaining({ event: 'sign_in.failed', error }))
  })

  it('has its text shown nowhere as markup', async () => {
    answerWith('<script>alert(1)</script>', '"><img src=x onerror=alert(1)>')
    const answer = await browser.signIn()
    expect(answer.body).not.toContain('<script>alert')
    expect(answer.body).not.toContain('onerror')
    expect(answer.headers['content-security-policy']).toContain("default-src 'none'")
  })

  it.each(['temporarily_unavailable', 'authentication_expired'])('with %s is asked once more, and only once', async (error) => {
    answerWith(error)
    const again = await browser.signIn(signInPath(`${wikiUrl}/`))
    expect(again.status).toBe(302)
    expect(again.location?.origin).toBe(host.provider.issuer)
    const last = await browser.visit(await browser.throughProvider(again))
    expect(last.status).toBe(error === 'temporarily_unavailable' ? 503 : 403)
    expect(host.provider.count('authorize')).toBe(2)
  })

  it('in trouble is a page that looks for the provider itself, with the attempt of the app, until it is back', async () => {
    answerWith('server_error')
    const path = signInPath(`${wikiUrl}/deep`)
    const answer = await browser.signIn(path)
    expect(answer.body).toContain(`data-watch="${path.replaceAll('&', '&amp;')}"`)
    host.provider.behaviour.answer = (it) => it
    const look = await browser.visit(path, { method: 'HEAD', headers: { 'sec-fetch-mode': 'cors', 'sec-fetch-site': 'same-origin' } })
    expect([look.status, look.headers['x-postern']]).toEqual([302, undefined])
    expect((await browser.signIn(path)).location?.origin).toBe(wikiUrl)
  })

  it('once, then yes, still ends where it was to end', async () => {
    answerWith('temporarily_unavailable')
    const again = await browser.signIn(signInPath(`${wikiUrl}/deep`))
    host.provider.behaviour.answer = (it) => it
    const end = await browser.visit(await browser.throughProvider(again))
    expect((await host.sessions.takeHandOff(end.location?.searchParams.get('code') ?? ''))?.returnTo).toBe(`${wikiUrl}/deep`)
  })

  it('by being away is 503 with Retry-After, at the start and at the end', async () => {
    const start = await browser.visit('/sign-in')
    const path = await browser.throughProvider(start)
    await host.provider.stop()
    const answer = await browser.visit(path)
    expect(answer.status).toBe(503)
    expect(answer.headers['x-postern']).toBe('provider_unavailable')
    expect(answer.headers['retry-after']).toBe('5')
    expect(answer.body).toContain('/sign-in')
    expect(browser.cookies.size).toBe(0)
    host.move(11_000)
    const atStart = await browser.visit(signInPath(`${wikiUrl}/x`))
    expect(atStart.status).toBe(503)
    expect(atStart.headers['retry-after']).toBe('5')
    expect(atStart.body).toContain(`data-watch="${signInPath(`${wikiUrl}/x`).replaceAll('&', '&amp;')}"`)
    await host.provider.start()
    expect((await browser.visit(signInPath(`${wikiUrl}/x`))).status).toBe(302)
  })
})

describe('a store that is away', () => {
  it('makes a callback 503, and no session cookie leaves', async () => {
    const path = await browser.throughProvider(await browser.visit('/sign-in'))
    host.breakStore(true)
    const answer = await browser.visit(path)
    expect(answer.status).toBe(503)
    expect(answer.headers['x-postern']).toBe('session_store_unavailable')
    expect(host.provider.count('token')).toBe(0)
    expect(browser.secret).toBeUndefined()
    // The page waits by itself, and then begins anew where the person wanted to go.
    expect(answer.body).toContain('data-watch="/sign-in"')
    host.breakStore(false)
    expect((await browser.visit(path)).status).toBe(303)
  })

  it('makes a new sign-in 503 at once: nobody is sent to type a password in vain', async () => {
    host.breakStore(true)
    const path = signInPath(`${wikiUrl}/x`)
    const answer = await browser.visit(path)
    expect(answer.status).toBe(503)
    expect(answer.headers['retry-after']).toBe('5')
    expect(answer.headers['set-cookie']).toBeUndefined()
    expect(answer.body).toContain(`data-watch="${path.replaceAll('&', '&amp;')}"`)
    expect(host.provider.count('authorize')).toBe(0)
  })
})

describe('a provider that gives no refresh token', () => {
  const later = (seconds: number) => {
    host.move(seconds * 1000)
    host.provider.behaviour.idToken = (it) => ({ ...it, iat: Number(it['iat']) + seconds, exp: Number(it['exp']) + seconds })
  }
  const lookUp = () => host.sessions.findByAccessSecret(browser.secret ?? '')
  const idOf = async () => {
    const lookup = await lookUp()
    return lookup.state === 'live' || lookup.state === 'expired' ? lookup.session?.id : undefined
  }

  beforeEach(async () => {
    await host.close()
    host = await startAccessHost({}, undefined, { claimsMaxAgeSeconds: 600, withoutRefreshToken: 'reauthenticate' })
    browser = host.browser()
    host.provider.behaviour.tokenResponse = ({ refresh_token: _none, ...others }) => others
    await browser.signIn()
  })

  it('continues the same session when its claims have run out: same id, same cookie, fresh claims', async () => {
    const [id, secret] = [await idOf(), browser.secret]
    later(700)
    expect(await lookUp()).toMatchObject({ state: 'expired' })
    host.provider.behaviour.person.claims = { groups: ['staff', 'new'] }
    expect((await browser.signIn(signInPath(`${wikiUrl}/x`))).location?.origin).toBe(wikiUrl)
    expect([await idOf(), browser.secret]).toEqual([id, secret])
    expect(await lookUp()).toMatchObject({ state: 'live', session: { claims: { all: { groups: ['staff', 'new'] } } } })
    expect(names().filter((name) => name === 'session.started')).toHaveLength(1)
  })

  it('ends that session when somebody else signs in, and begins another', async () => {
    const [id, secret] = [await idOf(), browser.secret]
    later(700)
    host.provider.behaviour.person = { sub: 'bob', claims: {} }
    await browser.signIn()
    expect(browser.secret).not.toBe(secret)
    const by = { request: expect.stringMatching(/^request-/), address: '192.0.2.1' }
    expect(host.events).toContainEqual(expect.objectContaining({ event: 'session.ended', session: id, cause: 'replaced', ...by }))
    expect(host.events.filter(({ event }) => event === 'session.started')).toMatchObject([by, by])
  })

  it('asks at once for the fresh sign-in that an app wants besides, so that the hand-off is not refused', async () => {
    await host.close()
    const strict = { session: { idleTimeoutSeconds: undefined, lifetimeSeconds: 650 } }
    const rules = { claimsMaxAgeSeconds: 600, withoutRefreshToken: 'reauthenticate' } as const
    host = await startAccessHost({}, [appOf('vault', wikiUrl, [allow({ kind: 'signed_in' })], strict)], rules)
    browser = host.browser()
    host.provider.behaviour.tokenResponse = ({ refresh_token: _none, ...others }) => others
    authTime(0)
    await browser.signIn()
    later(620)
    expect((await browser.visit(signInPath(`${wikiUrl}/`))).location?.searchParams.has('prompt')).toBe(false)
    later(700)
    expect((await browser.visit(signInPath(`${wikiUrl}/`))).location?.searchParams.get('prompt')).toBe('login')
  })

  it('and no auth_time does not make a sign-in newer by a silent round', async () => {
    host.provider.behaviour.person.authTime = undefined
    browser = host.browser()
    await browser.signIn()
    const signedInAt = async () => {
      const lookup = await lookUp()
      return lookup.state === 'live' ? lookup.session.signIn.at : undefined
    }
    const before = await signedInAt()
    later(700)
    await browser.signIn()
    expect(before).toBeDefined()
    expect(await signedInAt()).toBe(before)
  })
})

describe('after an end', () => {
  beforeEach(async () => {
    host.provider.behaviour.person.sid = 's1'
    authTime(-600)
    await browser.signIn()
  })

  const secretOf = async () => {
    const lookup = await host.sessions.findByAccessSecret(browser.secret ?? '')
    if (lookup.state !== 'live') throw new Error('not live')
    return lookup.session
  }

  it.each<[string, () => Promise<unknown>]>([
    ['a revocation of this browser’s session', async () => host.sessions.endSession((await secretOf()).id, 'revoked')],
    ['a back-channel logout of the provider’s session', () => host.sessions.endProviderSid(host.provider.issuer, 's1', 'back_channel')],
    ['an end of the subject', () => host.sessions.endSubject(host.provider.issuer, 'alice', 'revoked')],
  ])('by %s an old sign-in is sent to sign in freshly, once, and then refused', async (_name, end) => {
    await end()
    const again = await browser.signIn(signInPath(`${wikiUrl}/`))
    expect(again.status).toBe(302)
    expect(again.location?.searchParams.get('prompt')).toBe('login')
    const refused = await browser.visit(await browser.throughProvider(again))
    expect(refused.status).toBe(403)
    expect(refused.headers['x-postern']).toBe('sign_in_too_old')
    expect(refused.body).toContain(`href="${accessUrl.origin}/.postern/sign-out"`)
    expect(host.provider.count('authorize')).toBe(3)
    expect(host.events).toContainEqual(expect.objectContaining({ event: 'sign_in.failed', reason: 'sign_in_too_old' }))
    expect(await host.sessions.findByAccessSecret(browser.secret ?? '')).toMatchObject({ state: 'ended' })
  })

  it('that came while the person was at the provider, an old sign-in does not slip through as a continuation', async () => {
    const start = await browser.visit(signInPath(`${wikiUrl}/`))
    expect(start.location?.origin).toBe(wikiUrl)
    const id = (await secretOf()).id
    const other = host.browser()
    const pending = await other.visit(signInPath(`${wikiUrl}/`))
    other.cookies.set('__Host-postern', browser.secret ?? '')
    const path = await other.throughProvider(pending)
    // Another instance ends it: this one's memory does not know yet.
    const at = await host.store.recordEnds(
      [{ kind: 'session', idHash: createHash('sha256').update(id).digest('base64url'), cause: 'revoked' }],
      3600,
    )
    expect(at).toBeGreaterThan(0)
    const answer = await other.visit(path)
    expect(answer.location?.searchParams.get('prompt')).toBe('login')
  })

  it('a sign-in that is newer is let in at once', async () => {
    await host.sessions.endSubject(host.provider.issuer, 'alice', 'revoked')
    authTime(1)
    expect((await browser.signIn(signInPath(`${wikiUrl}/`))).location?.origin).toBe(wikiUrl)
    expect(await secretOf()).toMatchObject({ sub: 'alice' })
  })

  it('a provider whose clock is behind is believed when this very attempt asked for the password', async () => {
    await host.sessions.endSubject(host.provider.issuer, 'alice', 'revoked')
    host.provider.behaviour.idToken = (it) => ({ ...it, iat: Number(it['iat']) - 30 })
    authTime(-32)
    const again = await browser.signIn(signInPath(`${wikiUrl}/`))
    expect(again.location?.searchParams.get('prompt')).toBe('login')
    expect((await browser.visit(await browser.throughProvider(again))).location?.origin).toBe(wikiUrl)
  })

  it('a provider that states no auth_time cannot prove a fresh sign-in', async () => {
    await host.sessions.endSubject(host.provider.issuer, 'alice', 'revoked')
    host.provider.behaviour.person.authTime = undefined
    const again = await browser.signIn()
    expect((await browser.visit(await browser.throughProvider(again))).headers['x-postern']).toBe('sign_in_too_old')
  })

  it('by idleness a silent sign-in is enough', async () => {
    host.move(1801_000)
    host.provider.behaviour.idToken = (it) => ({ ...it, iat: Number(it['iat']) + 1801, exp: Number(it['exp']) + 1801 })
    expect((await browser.signIn(signInPath(`${wikiUrl}/`))).location?.origin).toBe(wikiUrl)
  })

  it('another person in the same browser is not kept out by an end of the first', async () => {
    await host.sessions.endSubject(host.provider.issuer, 'alice', 'revoked')
    host.provider.behaviour.person = { sub: 'bob', claims: {}, authTime: Math.floor(Date.now() / 1000) - 600 }
    const other = host.browser()
    expect((await other.signIn()).status).toBe(303)
  })
})

describe('an app with stricter limits of its own', () => {
  it('gets a fresh sign-in after its lifetime and a silent one after its idle time, never a loop', async () => {
    await host.close()
    const strict = { session: { idleTimeoutSeconds: 60, lifetimeSeconds: 600 } }
    host = await startAccessHost({}, [appOf('vault', wikiUrl, [allow({ kind: 'signed_in' })], strict)])
    browser = host.browser()
    authTime(0)
    await browser.signIn()
    expect((await browser.visit(signInPath(`${wikiUrl}/`))).location?.origin).toBe(wikiUrl)
    host.move(61_000)
    const silent = await browser.visit(signInPath(`${wikiUrl}/`))
    expect(silent.location?.origin).toBe(host.provider.issuer)
    expect(silent.location?.searchParams.has('prompt')).toBe(false)
    host.move(600_000)
    const fresh = await browser.visit(signInPath(`${wikiUrl}/`))
    expect(fresh.location?.searchParams.get('prompt')).toBe('login')
    host.provider.behaviour.idToken = (it) => ({ ...it, iat: Number(it['iat']) + 661, exp: Number(it['exp']) + 661 })
    authTime(661)
    expect((await browser.visit(await browser.throughProvider(fresh))).location?.origin).toBe(wikiUrl)
    expect((await browser.visit(signInPath(`${wikiUrl}/`))).location?.origin).toBe(wikiUrl)
  })
})

describe('too many', () => {
  it('sign-ins from one address are 429 with Retry-After, and cost the provider nothing', async () => {
    await host.close()
    host = await startAccessHost({ rateLimits: { signInsPerMinute: 3, wrongLogoutTokensPerMinute: 3 } })
    browser = host.browser()
    const answers = []
    for (let round = 0; round < 5; round += 1) answers.push(await browser.visit('/sign-in'))
    expect(answers.map(({ status }) => status)).toEqual([302, 302, 302, 429, 429])
    expect(Number(answers[4]?.headers['retry-after'])).toBeGreaterThan(0)
    expect((await browser.visit('/oidc/callback?state=x')).status).toBe(429)
    expect((await browser.visit('/signed-out')).status).toBe(200)
  })

  it('background requests of another site’s page cost the people behind its address nothing', async () => {
    await host.close()
    host = await startAccessHost({ rateLimits: { signInsPerMinute: 3, wrongLogoutTokensPerMinute: 3 } })
    browser = host.browser()
    for (const site of ['cross-site', 'same-site', 'cross-site', 'same-site']) {
      const headers = { accept: 'image/*', 'sec-fetch-mode': 'no-cors', 'sec-fetch-dest': 'image', 'sec-fetch-site': site }
      for (const path of ['/sign-in', '/oidc/callback?state=x']) {
        const answer = await browser.visit(path, { headers })
        expect([answer.status, answer.headers['x-postern'], answer.headers['set-cookie']]).toEqual([403, 'cross_origin', undefined])
      }
    }
    expect((await browser.visit('/sign-in')).status).toBe(302)
  })
})
