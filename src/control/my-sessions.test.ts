/** One's own sessions: what the list shows, who may end what by it, and what that leaves behind. */

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createEnvironmentReader } from '../attributes/environment-facts.ts'
import { type AccessHost, type Answer, accessUrl, type Browser, startAccessHost, watchWrites } from './control-plane.fixture.ts'
import { describeMySessions } from './my-sessions-content.ts'

const agents = {
  chrome: 'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/150.0.0.0 Safari/537.36',
  firefox: 'Mozilla/5.0 (X11; Linux x86_64; rv:151.0) Gecko/20100101 Firefox/151.0',
}
const navigation = { accept: 'text/html', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' }
const sameOrigin = { ...navigation, 'sec-fetch-site': 'same-origin' }

let host: AccessHost
let mine: Browser
let other: Browser

async function signInWith(sid: string, userAgent: string): Promise<Browser> {
  const browser = host.browser()
  host.provider.behaviour.person.sid = sid
  const answer = await browser.visit(await browser.throughProvider(await browser.visit('/sign-in')), {
    headers: { ...navigation, 'user-agent': userAgent },
  })
  expect(answer.status).toBe(303)
  return browser
}

beforeEach(async () => {
  const country = {
    findCountry: () => ({ known: true, value: 'DE' }) as const,
    findAsn: () => ({ known: false, why: 'no_database' }) as const,
  }
  host = await startAccessHost({
    readEnvironment: createEnvironmentReader({ country: () => ({ ...country, type: 'test', builtAt: 0 }) }),
  })
  other = await signInWith('s2', agents.firefox)
  mine = await signInWith('s1', agents.chrome)
})
afterEach(() => host.close())

const stateOf = async (browser: Browser, secret = browser.secret) => (await host.sessions.findByAccessSecret(secret ?? '')).state
const tokenIn = (page: Answer) => /name="form_token" value="([A-Za-z0-9_-]{43})"/.exec(page.body)?.[1] ?? ''
const referencesIn = (page: Answer) => [...page.body.matchAll(/name="end" value="([A-Za-z0-9_-]{43})"/g)].map((match) => match[1] ?? '')
const post = (form: Record<string, string>, browser = mine, headers: Record<string, string> = sameOrigin) =>
  browser.visit('/sessions', { method: 'POST', headers, form })

describe('the list of one’s sessions', () => {
  it('names browser, system, address, country and age of each, this one first, and is linked from the portal', async () => {
    host.move(600_000)
    const page = await mine.visit('/sessions')
    expect(page.status).toBe(200)
    expect((await mine.visit('/')).body).toContain('href="/sessions"')
    const [first = '', second = ''] = page.body.split('<li class="session').slice(1)
    expect(first).toContain('Chrome on Windows')
    expect(first).toContain('This browser')
    expect(first).toContain('192.0.2.1 · Germany')
    expect(first).toContain('10 minutes ago')
    expect(second).toContain('Firefox on Linux')
    expect(second).not.toContain('This browser')
    expect(page.headers['content-security-policy']).toContain(`form-action 'self' ${host.provider.issuer}`)
  })

  it('shows nobody else’s, and no session id', async () => {
    host.provider.behaviour.person = { sub: 'bob', claims: {}, sid: 's3' }
    const bob = host.browser()
    await bob.signIn()
    const page = await mine.visit('/sessions')
    expect(referencesIn(page)).toHaveLength(2)
    for (const session of await host.sessions.listSubject(host.provider.issuer, 'alice')) expect(page.body).not.toContain(session.id)
    expect(referencesIn(await bob.visit('/sessions'))).toHaveLength(1)
  })

  it('is for signed-in people alone, and writes nothing for strangers', async () => {
    const written = watchWrites(host.store)
    const stranger = host.browser()
    expect((await stranger.visit('/sessions')).location?.pathname).toBe('/sign-in')
    expect((await stranger.visit('/sessions', { headers: { accept: 'application/json' } })).status).toBe(401)
    expect((await post({ end: 'all' }, stranger)).location?.pathname).toBe('/sign-in')
    expect(written).toEqual([])
    expect((await mine.visit('/sessions', { method: 'PUT', headers: sameOrigin })).status).toBe(405)
  })
})

describe('ending', () => {
  it('one ends that one, with what hangs on its session at the provider, and says so once', async () => {
    const sibling = await signInWith('s2', agents.firefox)
    const third = await signInWith('s4', agents.firefox)
    const page = await mine.visit('/sessions')
    const listed = await host.sessions.listSubject(host.provider.issuer, 'alice')
    expect(referencesIn(page)).toHaveLength(4)
    // The list has this one first; the others as last used, newest first.
    const order = [...listed].filter(({ providerSid }) => providerSid !== 's1').sort((a, b) => b.lastUsedAt - a.lastUsedAt)
    const at = order.findIndex(({ providerSid }) => providerSid === 's2')
    const answer = await post({ form_token: tokenIn(page), end: referencesIn(page)[at + 1] ?? '' })
    expect([answer.status, answer.location?.href]).toEqual([303, `${accessUrl.origin}/sessions`])
    expect([await stateOf(mine), await stateOf(other), await stateOf(sibling), await stateOf(third)]).toEqual([
      'live',
      'ended',
      'ended',
      'live',
    ])
    expect(host.events).toContainEqual(expect.objectContaining({ event: 'session.ended', cause: 'revoked', address: '192.0.2.1' }))
    expect(host.events).toContainEqual(
      expect.objectContaining({ event: 'sessions.revoked', actor: 'person:alice', sessions: [order[at]?.id], target: 'alice@corp.test' }),
    )
    expect((await mine.visit('/sessions')).body).toContain('That session has ended.')
    expect((await mine.visit('/sessions')).body).not.toContain('That session has ended.')
    // Its browser needs a fresh sign-in, also without its cookie.
    host.provider.behaviour.person.sid = 's2'
    host.provider.behaviour.person.authTime = Math.floor(Date.now() / 1000) - 60
    expect((await host.browser().signIn()).location?.searchParams.get('prompt')).toBe('login')
  })

  it('all others leaves this browser alone, and what hangs with it on one session at the provider', async () => {
    const twin = await signInWith('s1', agents.chrome)
    const page = await mine.visit('/sessions')
    expect((await post({ form_token: tokenIn(page), end: 'others' })).status).toBe(303)
    expect([await stateOf(mine), await stateOf(other), await stateOf(twin)]).toEqual(['live', 'ended', 'ended'])
    expect((await mine.visit('/sessions')).body).toContain('All other sessions have ended.')
    expect(referencesIn(await mine.visit('/sessions'))).toHaveLength(1)
  })

  it('everything signs out everywhere, here and at the provider', async () => {
    const page = await mine.visit('/sessions')
    const secret = mine.secret
    const answer = await post({ form_token: tokenIn(page), end: 'all' })
    expect(answer.status).toBe(303)
    expect(answer.location?.origin).toBe(host.provider.issuer)
    expect(answer.location?.searchParams.get('id_token_hint')).toBeTruthy()
    expect(mine.secret).toBeUndefined()
    expect([await stateOf(mine, secret), await stateOf(other)]).toEqual(['ended', 'ended'])
    expect(host.events).toContainEqual(expect.objectContaining({ event: 'subject.ended', cause: 'signed_out' }))
    expect(host.events).toContainEqual(expect.objectContaining({ event: 'sessions.revoked', actor: 'person:alice' }))
    // Nobody who was signed in before comes back silently, in whatever browser.
    host.provider.behaviour.person = { ...host.provider.behaviour.person, sid: 's9', authTime: Math.floor(Date.now() / 1000) - 60 }
    expect((await host.browser().signIn()).location?.searchParams.get('prompt')).toBe('login')
  })

  it('one’s own is signing out', async () => {
    const page = await mine.visit('/sessions')
    const secret = mine.secret
    const answer = await post({ form_token: tokenIn(page), end: referencesIn(page)[0] ?? '' })
    expect(answer.location?.origin).toBe(host.provider.issuer)
    expect([await stateOf(mine, secret), await stateOf(other)]).toEqual(['ended', 'live'])
    expect(host.events).toContainEqual(expect.objectContaining({ event: 'session.ended', cause: 'signed_out' }))
  })

  it('what has ended meanwhile is no error', async () => {
    const page = await mine.visit('/sessions')
    await host.sessions.endSubject(host.provider.issuer, 'nobody', 'revoked')
    const [gone] = (await host.sessions.listSubject(host.provider.issuer, 'alice')).filter(({ providerSid }) => providerSid === 's2')
    await host.sessions.endSession(gone?.id ?? '', 'signed_out')
    expect((await post({ form_token: tokenIn(page), end: referencesIn(page)[1] ?? '' })).status).toBe(303)
    expect(host.events.filter(({ event }) => event === 'sessions.revoked')).toEqual([])
  })

  it('somebody else’s cannot be asked for', async () => {
    host.provider.behaviour.person = { sub: 'mallory', claims: {}, sid: 's3' }
    const mallory = host.browser()
    await mallory.signIn()
    const mallorys = await mallory.visit('/sessions')
    const [, reference = ''] = referencesIn(await mine.visit('/sessions'))
    expect((await post({ form_token: tokenIn(mallorys), end: reference }, mallory)).status).toBe(303)
    expect([await stateOf(mine), await stateOf(other)]).toEqual(['live', 'live'])
  })

  it.each<[string, Record<string, string>, number]>([
    ['a sibling app', { ...navigation, 'sec-fetch-site': 'same-site', origin: accessUrl.origin }, 403],
    ['another site', { ...navigation, 'sec-fetch-site': 'cross-site' }, 403],
    ['nowhere that is stated', navigation, 403],
    ['our page, without its token', sameOrigin, 403],
  ])('is refused from %s', async (_name, headers, status) => {
    const page = await mine.visit('/sessions')
    const form = headers === sameOrigin ? { end: 'all' } : { end: 'all', form_token: tokenIn(page) }
    expect((await post(form, mine, headers)).status).toBe(status)
    expect([await stateOf(mine), await stateOf(other)]).toEqual(['live', 'live'])
  })

  it.each(['', 'none', 'x'.repeat(42), '../all'])('of %j is 400 and ends nothing', async (end) => {
    const page = await mine.visit('/sessions')
    expect((await post({ form_token: tokenIn(page), end })).status).toBe(400)
    expect([await stateOf(mine), await stateOf(other)]).toEqual(['live', 'live'])
  })

  it('is 503 while the store is away, and the cookie stays', async () => {
    const page = await mine.visit('/sessions')
    host.breakStore(true)
    host.move(6000)
    expect((await post({ form_token: tokenIn(page), end: 'all' })).status).toBe(503)
    expect(mine.secret).toBeDefined()
  })
})

describe('the words of the list', () => {
  const view = {
    person: { name: 'Alice', email: 'Alice' },
    at: 10_000_000,
    ended: undefined,
    formToken: 't',
    signOutUrl: '/',
    portalUrl: '/',
  }
  const session = { reference: 'r', device: undefined, address: '192.0.2.1', startedAt: 0, lastUsedAt: 10_000_000, isCurrent: false }

  it.each([
    { browser: 'chrome', system: 'macos', country: 'FR', words: ['Chrome on macOS', '192.0.2.1 · France'] },
    { browser: 'samsung_internet', system: 'android', country: undefined, words: ['Samsung Internet on Android', '192.0.2.1'] },
    { browser: 'vivaldi', system: 'playstation_4', country: 'QX', words: ['Vivaldi on playstation_4', '192.0.2.1 · QX'] },
    { browser: undefined, system: 'windows', country: '__proto__', words: ['A browser on Windows', '192.0.2.1 · __proto__'] },
    { browser: undefined, system: undefined, country: undefined, words: ['A browser that does not say its name', '192.0.2.1'] },
  ])('$words.0', ({ words, ...facts }) => {
    const [card] = describeMySessions({ ...view, sessions: [{ ...session, ...facts }] }).cards
    expect([card?.title, card?.place, card?.signedIn, card?.lastUsed]).toEqual([...words, '2 h 47 min ago', 'just now'])
  })

  it('show so many, and count the rest', () => {
    const many = Array.from({ length: 70 }, () => ({ ...session, browser: undefined, system: undefined, country: undefined }))
    expect(describeMySessions({ ...view, sessions: many })).toMatchObject({ otherCount: 70, hiddenCount: 20 })
  })
})
