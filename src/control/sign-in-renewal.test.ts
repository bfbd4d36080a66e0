/** Renewals that a page began, and detours over the access host: where each outcome leads, and what is opened ahead for whom. */

import { afterEach, describe, expect, test } from 'vitest'
import { openDetour, sealDetour } from '../session/sealed-detour.ts'
import {
  type AccessHost,
  accessUrl,
  allow,
  appOf,
  type Browser,
  payrollUrl,
  startAccessHost,
  testApps,
  wikiUrl,
} from './control-plane.fixture.ts'

const hosts: AccessHost[] = []
afterEach(async () => {
  for (const host of hosts.splice(0)) await host.close()
})

async function start(apps = testApps()): Promise<AccessHost> {
  const host = await startAccessHost({}, apps)
  hosts.push(host)
  return host
}

const attempt = 'A'.repeat(43)
const pathOf = (more: Record<string, string>, returnTo = `${wikiUrl}/`) =>
  `/sign-in?${new URLSearchParams({ return_to: returnTo, attempt, ...more })}`
const frameEnd = (outcome: string) => `${wikiUrl}/.postern/renew?mode=frame&outcome=${outcome}`

describe('a renewal in a frame', () => {
  test('asks nobody anything: prompt=none, and a code leads to the hand-off', async () => {
    const browser = (await start()).browser()
    const away = await browser.visit(pathOf({ renewal: 'frame' }))
    expect(away.location?.searchParams.get('prompt')).toBe('none')
    const back = await browser.visit(await browser.throughProvider(away))
    expect(back.location?.href).toMatch(/^https:\/\/wiki\.corp\.example\/\.postern\/callback\?code=/)
  })

  test.each(['login_required', 'interaction_required', 'consent_required', 'server_error'])('hands the provider’s %s on', async (error) => {
    const host = await start()
    host.provider.behaviour.answer = (answer) => {
      answer.delete('code')
      answer.set('error', error)
      return answer
    }
    const browser = host.browser()
    const back = await browser.visit(await browser.throughProvider(await browser.visit(pathOf({ renewal: 'frame' }))))
    expect(back.location?.href).toBe(frameEnd(error))
  })

  test('after an end that wants a fresh sign-in says that one is required, and asks for none', async () => {
    const host = await start()
    const browser = host.browser()
    host.provider.behaviour.idToken = (claims) => ({ ...claims, auth_time: Number(claims['iat']) - 100 })
    await browser.signIn()
    const { session } = (await host.sessions.findByAccessSecret(browser.secret ?? '')) as { session: { id: string } }
    await host.sessions.endSession(session.id, 'revoked')
    const back = await browser.visit(await browser.throughProvider(await browser.visit(pathOf({ renewal: 'frame' }))))
    expect(back.location?.href).toBe(frameEnd('login_required'))
  })

  test('says what is away, where a page could not be seen', async () => {
    const host = await start()
    const browser = host.browser()
    await browser.signIn()
    host.breakStore(true)
    host.move(10_000)
    expect((await browser.visit(pathOf({ renewal: 'frame' }))).location?.href).toBe(frameEnd('session_store_unavailable'))
    // Without a page of ours to tell it to, it is the page that it always was.
    expect((await browser.visit(pathOf({}))).status).toBe(503)
    expect((await browser.visit(pathOf({ renewal: 'frame' }, 'https://evil.example/'))).status).toBe(503)
    host.breakStore(false)
    const stranger = host.browser()
    const callbacks = []
    for (const renewal of ['frame', 'popup']) callbacks.push(await stranger.throughProvider(await stranger.visit(pathOf({ renewal }))))
    host.breakStore(true)
    const [inFrame, inPopup] = await Promise.all(callbacks.map((callback) => stranger.visit(callback)))
    expect(inFrame?.location?.href).toBe(frameEnd('session_store_unavailable'))
    expect(inPopup?.status).toBe(503)
  })

  test('keeps an answer that is not its own from counting', async () => {
    const host = await start()
    const browser = host.browser()
    const callback = await browser.throughProvider(await browser.visit(pathOf({ renewal: 'frame' })))
    expect((await host.browser().visit(callback)).status).toBe(400)
  })
})

test('a renewal in a popup is a sign-in like any other: people are asked, and read what went wrong', async () => {
  const host = await start()
  host.provider.behaviour.answer = (answer) => {
    answer.delete('code')
    answer.set('error', 'access_denied')
    return answer
  }
  const browser = host.browser()
  const away = await browser.visit(pathOf({ renewal: 'popup' }))
  expect(away.location?.searchParams.has('prompt')).toBe(false)
  expect(await browser.visit(await browser.throughProvider(away))).toMatchObject({
    status: 403,
    headers: { 'x-postern': 'provider_refused' },
  })
})

describe('what a sign-in to an app opens as well', () => {
  const api = (id: string, change: Parameters<typeof appOf>[3] = {}, rules = [allow({ kind: 'groups', groups: ['staff'] })]) =>
    appOf(id, `https://${id}.corp.example`, rules, { calledBy: ['wiki'], ...change })

  async function plan(apps: ReturnType<typeof testApps>, returnTo = `${wikiUrl}/`): Promise<readonly string[]> {
    const host = await start(apps)
    const browser = host.browser()
    const location = (await browser.signIn(pathOf({}, returnTo))).location
    expect(location?.origin).toBe(new URL(returnTo).origin)
    const sealed = location?.searchParams.get('detour') ?? ''
    const detour = openDetour(host.sealer, accessUrl, sealed)
    if (sealed !== '') expect(detour?.returnTo).toBeUndefined()
    return (detour?.origins ?? []).map((origin) => new URL(origin).hostname.split('.')[0] ?? '')
  }

  test('is what its pages call and this person may open, once an origin, and at most three', async () => {
    const ids = ['api1', 'api2', 'api3', 'api4']
    expect(await plan([...testApps(), ...ids.map((id) => api(id))])).toEqual(['api1', 'api2', 'api3'])
    const closed = api('closed', {}, [allow({ kind: 'groups', groups: ['finance'] })])
    const uncalled = api('uncalled', { calledBy: [] })
    expect(await plan([...testApps(), closed, uncalled, api('open')])).toEqual(['open'])
  })

  test('is nothing for an app that calls none, and nothing that lives on its own origin', async () => {
    expect(await plan([...testApps(), api('open', { calledBy: ['payroll'] })])).toEqual([])
    expect(await plan([...testApps(), appOf('sub', `${wikiUrl}/sub`, [allow({ kind: 'signed_in' })], { calledBy: ['wiki'] })])).toEqual([])
  })
})

describe('a detour on the access host', () => {
  const seal = (host: AccessHost, sessionId: string, returnTo = `${wikiUrl}/page`) =>
    sealDetour(host.sealer, accessUrl, { sessionId, origins: [payrollUrl], returnTo, at: host.sealer.now() })
  const idOf = async (host: AccessHost, browser: Browser) =>
    ((await host.sessions.findByAccessSecret(browser.secret ?? '')) as { session: { id: string } }).session.id
  const pass = (browser: Browser, detour: string, returnTo = `${payrollUrl}/`) => browser.visit(pathOf({ detour }, returnTo))

  test('hands off the session that it is of, to the app that is next', async () => {
    const host = await start()
    const browser = host.browser()
    await browser.signIn()
    const { location } = await pass(browser, seal(host, await idOf(host, browser)))
    expect(location?.origin).toBe(payrollUrl)
    expect(await host.sessions.takeHandOff(location?.searchParams.get('code') ?? '')).toMatchObject({ origin: payrollUrl, attempt })
  })

  test('gives nothing to another person’s browser, to none, or for another origin, and leads on (login CSRF)', async () => {
    const host = await start()
    const [attacker, victim] = [host.browser(), host.browser()]
    await attacker.signIn()
    const detour = seal(host, await idOf(host, attacker))
    await victim.signIn()
    const onward = `${wikiUrl}/page`
    expect((await pass(victim, detour)).location?.href).toBe(onward)
    expect((await pass(host.browser(), detour)).location?.href).toBe(onward)
    expect((await pass(attacker, detour, `${wikiUrl}/`)).location?.href).toBe(onward)
    // One may be kept for longer than an app is.
    expect((await pass(attacker, seal(host, 's', 'https://gone.corp.example/page'))).status).toBe(400)
    host.breakStore(true)
    host.move(10_000)
    expect((await pass(attacker, detour)).location?.href).toBe(onward)
    expect((await pass(attacker, 'x')).status).toBe(400)
  })
})
