/** A stronger or fresher sign-in over real HTTP, with a provider that obeys, ignores, forgets or lies: one round, and never a loop. */

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { StepUp } from '../policy/decision.ts'
import { stepUpFor } from '../policy/step-up.ts'
import { sealStepUp } from '../session/sealed-step-up.ts'
import { createTestSessions } from '../session/session.fixture.ts'
import { type AccessHost, type Answer, accessUrl, type Browser, payrollUrl, startAccessHost, wikiUrl } from './control-plane.fixture.ts'

let host: AccessHost
let browser: Browser
let attempts = 0

beforeEach(async () => {
  host = await startAccessHost()
  browser = host.browser()
  signInAs({ acr: '1', amr: ['pwd'], ago: 100 })
})
afterEach(() => host.close())

const mfa = { name: 'mfa', acr: ['2'], amr: ['otp'], ask: { kc_hint: 'otp' } }
const demand = (within?: number, strength: typeof mfa | undefined = mfa): StepUp =>
  stepUpFor([{ kind: 'sign_in', strength, acr: undefined, amr: undefined, withinSeconds: within }])
/** Only the age of a sign-in counts; any strength will do. */
const fresh = (withinSeconds: number): StepUp =>
  stepUpFor([{ kind: 'sign_in', strength: undefined, acr: undefined, amr: undefined, withinSeconds }])

/** How the provider will say that the person signed in. */
function signInAs({ sub = 'alice', acr, amr, ago }: { sub?: string; acr?: string; amr?: string[]; ago: number | undefined }): void {
  const authTime = ago === undefined ? undefined : Math.floor(host.sealer.now() / 1000) - ago
  const claims = { name: sub === 'alice' ? 'Alice' : 'Bob' }
  host.provider.behaviour.person = { sub, claims, authTime, ...(acr === undefined ? {} : { acr }), ...(amr === undefined ? {} : { amr }) }
}

/** What an app host's challenge leads to; each has an attempt of its own. */
function stepUpPath(stepUp: StepUp, page = `${payrollUrl}/runs`): string {
  attempts += 1
  const attempt = String(attempts).padStart(43, 'A')
  return `/sign-in?${new URLSearchParams({ return_to: page, attempt, step_up: sealStepUp(host.sealer, accessUrl, attempt, stepUp) })}`
}

const round = async (path: string, visitor = browser) => visitor.visit(await visitor.throughProvider(await visitor.visit(path)))
const factsOf = async (visitor = browser) => {
  const lookup = await host.sessions.findByAccessSecret(visitor.secret ?? '')
  if (lookup.state !== 'live') throw new Error('no live session')
  return lookup.session
}
const isHandOff = ({ location }: Answer) => location?.origin === payrollUrl && location.pathname === '/.postern/callback'
const failure = (answer: Answer) => [answer.status, answer.headers['x-postern']]
const lastEvent = () => host.events.at(-1)

describe('a step-up', () => {
  it('asks the provider for what the rule wants, and leads back with the same session and cookie', async () => {
    await browser.signIn()
    const [secret, before] = [browser.secret, await factsOf()]
    const away = await browser.visit(stepUpPath(demand(3600)))
    expect(away.status).toBe(302)
    const asked = Object.fromEntries(away.location?.searchParams ?? [])
    expect(asked).toMatchObject({ max_age: '3480', acr_values: '2', kc_hint: 'otp', code_challenge_method: 'S256' })
    expect(asked).not.toHaveProperty('claims')
    expect(asked).not.toHaveProperty('prompt')
    signInAs({ acr: '2', amr: ['pwd', 'otp'], ago: 0 })
    const back = await browser.visit(await browser.throughProvider(away))
    expect(isHandOff(back)).toBe(true)
    expect(browser.secret).toBe(secret)
    expect(await factsOf()).toMatchObject({ id: before.id, signIn: { acr: '2', amr: ['pwd', 'otp'] } })
  })

  it('of a stranger is the first sign-in itself: one round', async () => {
    signInAs({ acr: '2', ago: 0 })
    expect(isHandOff(await round(stepUpPath(demand(600))))).toBe(true)
    expect(host.provider.count('authorize')).toBe(1)
  })

  it('that another tab has done already needs no second round', async () => {
    await browser.signIn()
    signInAs({ acr: '2', ago: 0 })
    await round(stepUpPath(demand(3600)))
    host.provider.received.length = 0
    expect(isHandOff(await browser.visit(stepUpPath(demand(3600), `${payrollUrl}/other`)))).toBe(true)
    expect(host.provider.received).toEqual([])
  })

  it('of ten tabs at once brings each to its place', async () => {
    await browser.signIn()
    const pages = Array.from({ length: 10 }, (_, tab) => `${payrollUrl}/tab/${tab}`)
    const starts = await Promise.all(pages.map((page) => browser.visit(stepUpPath(demand(3600), page))))
    signInAs({ acr: '2', ago: 0 })
    const paths = await Promise.all(starts.map((start) => browser.throughProvider(start)))
    const ends = await Promise.all(paths.map((path) => browser.visit(path)))
    const reached = await Promise.all(ends.map(({ location }) => host.sessions.takeHandOff(location?.searchParams.get('code') ?? '')))
    expect(reached.map((handOff) => handOff?.returnTo)).toEqual(pages)
  })

  it('goes on after the provider was busy, with the same demand', async () => {
    await browser.signIn()
    host.provider.behaviour.answer = (honest) => {
      host.provider.behaviour.answer = (it) => it
      return new URLSearchParams({ error: 'temporarily_unavailable', state: honest.get('state') ?? '', iss: host.provider.issuer })
    }
    const again = await round(stepUpPath(demand(3600)))
    expect(again.location?.searchParams.get('acr_values')).toBe('2')
    expect(again.location?.searchParams.get('max_age')).toBe('3480')
  })

  it('as another person begins that person’s session, ends the other, and judges what was brought', async () => {
    await browser.signIn()
    const alice = await factsOf()
    signInAs({ sub: 'bob', acr: '2', ago: 0 })
    expect(isHandOff(await round(stepUpPath(demand(3600))))).toBe(true)
    expect(await host.sessions.findById(alice.id)).toMatchObject({ state: 'ended', cause: 'replaced' })
    signInAs({ sub: 'carol', acr: '1', ago: 0 })
    const key = { ...mfa, acr: ['3'], amr: ['hwk'] }
    expect(failure(await round(stepUpPath(demand(undefined, key))))).toEqual([403, 'step_up_failed'])
    expect(await factsOf()).toMatchObject({ sub: 'carol' })
  })

  it('asked for by a program leads through the provider to the page itself, and mints no code', async () => {
    await browser.signIn()
    const step_up = sealStepUp(host.sealer, accessUrl, payrollUrl, demand(3600))
    const path = `/sign-in?${new URLSearchParams({ return_to: `${payrollUrl}/spa?run=1`, step_up })}`
    signInAs({ acr: '2', ago: 0 })
    expect((await round(path)).location?.href).toBe(`${payrollUrl}/spa?run=1`)
    const elsewhere = `/sign-in?${new URLSearchParams({ return_to: `${wikiUrl}/x`, step_up })}`
    expect((await browser.visit(elsewhere)).location?.href).toBe(`${wikiUrl}/x`)
  })
})

describe('what a provider may do instead ends in a page after one round', () => {
  beforeEach(async () => {
    await browser.signIn()
    host.provider.received.length = 0
  })

  it.each<[string, string, StepUp, () => void]>([
    ['ignores the wanted strength', 'sign_in_too_weak', demand(), () => signInAs({ acr: '1', amr: ['pwd'], ago: 0 })],
    ['ignores max_age', 'sign_in_not_recent', demand(60), () => signInAs({ acr: '2', ago: 100 })],
    ['states no auth_time', 'auth_time_missing', demand(60), () => signInAs({ acr: '2', ago: undefined })],
    ['ignores max_age where any strength will do', 'sign_in_not_recent', fresh(60), () => signInAs({ ago: 100 })],
    ['states no auth_time where any strength will do', 'auth_time_missing', fresh(60), () => signInAs({ ago: undefined })],
    ['states neither acr nor amr', 'sign_in_too_weak', demand(), () => signInAs({ ago: 0 })],
    ['has a clock that is behind by more than the rule accepts', 'sign_in_not_recent', demand(20), () => signInAs({ acr: '2', ago: 30 })],
    [
      'says that it cannot',
      'unmet_authentication_requirements',
      demand(),
      () => {
        host.provider.behaviour.answer = (honest) =>
          new URLSearchParams({
            error: 'unmet_authentication_requirements',
            state: honest.get('state') ?? '',
            iss: host.provider.issuer,
          })
      },
    ],
  ])('where it %s', async (_, error, stepUp, bend) => {
    bend()
    const answer = await round(stepUpPath(stepUp))
    expect(failure(answer)).toEqual([403, 'step_up_failed'])
    expect(answer.body).toContain(`href="${payrollUrl}/runs"`)
    expect(answer.body).toContain(error)
    expect(host.provider.count('authorize')).toBe(1)
    expect(lastEvent()).toMatchObject({ event: 'sign_in.failed', reason: 'step_up_failed', error })
    expect((await factsOf()).sub).toBe('alice')
  })

  it('and what it did prove counts for other apps', async () => {
    signInAs({ acr: '2', ago: 100 })
    expect(failure(await round(stepUpPath(demand(60))))).toEqual([403, 'step_up_failed'])
    expect((await factsOf()).signIn.acr).toBe('2')
  })

  it('and the page offers another account and says who is signed in', async () => {
    const { body } = await round(stepUpPath(demand()))
    expect(body).toContain(`href="${accessUrl.origin}/.postern/sign-out"`)
    expect(body).toContain('Use another account')
    expect(body).toContain('Alice')
  })

  it('and a weaker round later than the strong one is how the person is signed in now', async () => {
    signInAs({ acr: '2', ago: 20 })
    await round(stepUpPath(demand()))
    signInAs({ acr: '1', ago: 0 })
    expect(failure(await round(stepUpPath(demand(5))))).toEqual([403, 'step_up_failed'])
    expect((await factsOf()).signIn.acr).toBe('1')
  })

  it('and a round that proves nothing takes nothing from a strong sign-in', async () => {
    signInAs({ acr: '2', amr: ['otp'], ago: 20 })
    await round(stepUpPath(demand()))
    const { signIn } = await factsOf()
    signInAs({ ago: undefined })
    expect(failure(await round(stepUpPath(demand(5))))).toEqual([403, 'step_up_failed'])
    expect((await factsOf()).signIn).toEqual(signIn)
  })
})

it('a silent round takes nothing from a step-up that another instance has just written', async () => {
  await browser.signIn()
  const session = await factsOf()
  const pending = host.browser()
  const start = await pending.visit('/sign-in')
  pending.cookies.set('__Host-postern', browser.secret ?? '')
  await factsOf()
  const clock = { now: host.sealer.now, move: () => undefined }
  const other = createTestSessions({ store: host.store, clock }, host.sealer.keys())
  const strong = { at: host.sealer.now(), authTime: host.sealer.now(), acr: '2', amr: ['otp'] }
  const { issuer, sub, claims, tokens, providerSid } = session
  await other.sessions.continueWith(session, { issuer, sub, claims: claims.all, tokens, providerSid, signIn: strong })
  signInAs({ ago: undefined })
  expect((await pending.visit(await pending.throughProvider(start))).status).toBe(303)
  expect((await factsOf()).signIn).toEqual(strong)
  await other.sessions.close()
})

describe('an app that is never satisfied with what satisfies us', () => {
  it('sends a browser round a few times, not for ever', async () => {
    signInAs({ acr: '2', ago: 0 })
    const trail: string[] = []
    for (let turn = 0; turn < 6; turn += 1) {
      const start = await browser.visit(stepUpPath(demand(3600)))
      const end = isHandOff(start) ? start : await browser.visit(await browser.throughProvider(start))
      trail.push(isHandOff(end) ? `${isHandOff(start) ? 'at once' : 'round'}` : String(end.headers['x-postern']))
    }
    expect(trail).toEqual(['round', 'at once', 'round', 'step_up_failed', 'step_up_failed', 'step_up_failed'])
    expect(lastEvent()).toMatchObject({ reason: 'step_up_failed', error: 'app_not_satisfied' })
  })

  it('is asked again once the time that its rule gives has passed', async () => {
    signInAs({ acr: '2', ago: 0 })
    for (let turn = 0; turn < 3; turn += 1) {
      expect(isHandOff(await round(stepUpPath(demand(20))))).toBe(true)
      host.move(21_000)
      host.provider.behaviour.idToken = (it) => ({ ...it, iat: Math.floor(host.sealer.now() / 1000), exp: Number(it['exp']) + 100 })
      signInAs({ acr: '2', ago: 0 })
    }
  })
})

describe('a demand in the address', () => {
  it.each<[string, (path: URL) => void]>([
    ['changed', (url) => url.searchParams.set('step_up', `${url.searchParams.get('step_up')?.slice(0, -4)}AAAA`)],
    ['of another attempt', (url) => url.searchParams.set('attempt', 'Z'.repeat(43))],
    ['that is empty', (url) => url.searchParams.set('step_up', '')],
    ['given twice', (url) => url.searchParams.append('step_up', url.searchParams.get('step_up') ?? '')],
  ])('%s is refused, and leads to starting again', async (_, change) => {
    await browser.signIn()
    host.provider.received.length = 0
    const url = new URL(stepUpPath(demand()), accessUrl)
    change(url)
    const answer = await browser.visit(url.pathname + url.search)
    expect(failure(answer)).toEqual([400, 'sign_in_invalid'])
    expect(answer.body).toContain(`href="${payrollUrl}/runs"`)
    expect(host.provider.received).toEqual([])
  })

  it('that is older than five minutes is refused', async () => {
    const path = stepUpPath(demand())
    host.move(301_000)
    expect(failure(await browser.visit(path))).toEqual([400, 'sign_in_invalid'])
  })

  it('left out leads straight back to the app, which asks again', async () => {
    await browser.signIn()
    const url = new URL(stepUpPath(demand()), accessUrl)
    url.searchParams.delete('step_up')
    expect(isHandOff(await browser.visit(url.pathname + url.search))).toBe(true)
  })

  it('is asked for again where the provider is away, so that the page that waits sees when it is back', async () => {
    await browser.signIn()
    await host.provider.stop()
    host.move(11_000)
    const answer = await browser.visit(stepUpPath(demand()))
    expect(failure(answer)).toEqual([503, 'provider_unavailable'])
    expect(answer.body).toMatch(/href="\/sign-in\?[^"]*step_up=[\w-]+"/)
    await host.provider.start()
  })
})
