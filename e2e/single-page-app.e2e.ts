/**
 * Single-page apps whose session ends under them, in Chromium: what renew.js makes of it, what a page can read without it, and the first
 * call to an app on another host.
 */

import type { Browser, BrowserContext, Page } from 'playwright'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { launchBrowser } from './support/browser.ts'
import { Client } from './support/client.ts'
import { chooseAtDemoProvider, collectComplaints, typeCodeAtDemoProvider } from './support/page.ts'
import { type Rig, startRig, waitFor } from './support/rig.ts'
import { type SinglePageApp, startSinglePageApp } from './support/single-page-app.ts'

const longMs = 120_000
const idleSeconds = 5
const appCookie = 'postern-app'

let browser: Browser
let upstream: SinglePageApp
let rig: Rig
let context: BrowserContext

beforeAll(async () => {
  browser = await launchBrowser()
  upstream = await startSinglePageApp()
  rig = await startRig(options())
}, longMs)

afterAll(async () => {
  await rig?.stop()
  await upstream?.close()
  await browser?.close()
}, longMs)

beforeEach(async () => {
  context = await browser.newContext()
  upstream.seen.length = 0
  upstream.allowOrigin = rig.origin('notes')
  return () => context.close()
})

function options(session: Readonly<Record<string, unknown>> = {}) {
  const secrets = { name: 'secrets', require: ['mfa_1h'], paths: ['/api/secret/**'] }
  const everybody = [{ name: 'everybody', allow: { signed_in: true } }, secrets]
  const staff = [{ name: 'staff', allow: { groups: ['staff'] } }, secrets]
  const apps = [
    { id: 'notes', upstream: upstream.origin, rules: everybody },
    { id: 'api', upstream: upstream.origin, called_by: ['notes'], rules: staff },
    { id: 'foreign', upstream: upstream.origin, rules: everybody },
  ]
  return {
    apps,
    session,
    policy: { levels: { mfa_1h: { sign_in: { strength: 'mfa', within: '1h' } } } },
    provider: { strengths: { mfa: { acr: ['2'] } } },
  }
}

describe('a session that ended by not being used', () => {
  let idle: Rig
  beforeAll(async () => {
    idle = await startRig(options({ idle_timeout: `${idleSeconds}s` }))
  }, longMs)
  afterAll(() => idle?.stop())

  test(
    'is renewed in a hidden frame: what was typed stays, and the call is made once more',
    async () => {
      const page = await openNotes(idle, '/')
      await page.fill('#text', 'half a sentence')
      await waitForEnd(idle)
      await page.click('#save')
      await expectResult(page, 'alice saved half a sentence')
      expect(await page.inputValue('#text')).toBe('half a sentence')
      expect(context.pages()).toHaveLength(1)
      expect(await page.locator('iframe').count()).toBe(0)
      expect(await eventsOf(page)).toEqual(['renewing', 'renewed'])
    },
    longMs,
  )

  test(
    'is renewed for XMLHttpRequest as well, and nobody hears of the refusal',
    async () => {
      const page = await openNotes(idle, '/')
      await page.fill('#text', 'by xhr')
      await waitForEnd(idle)
      await page.click('#xhr')
      await expectResult(page, '200 by xhr')
      expect(await page.inputValue('#text')).toBe('by xhr')
    },
    longMs,
  )

  test(
    'is renewed in a frame under a policy that names what the documentation says, banner and all',
    async () => {
      const sources = [idle.origin('access'), idle.issuer, idle.origin('api')]
      upstream.carefulPolicy = `default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; frame-src 'self' ${sources.join(' ')}`
      const complaints = collectComplaints(context)
      const page = await openNotes(idle, '/careful')
      await page.locator('.postern-banner-idle').waitFor()
      expect(await page.locator('.postern-banner').evaluate((banner) => getComputedStyle(banner).position)).toBe('fixed')
      await waitForEnd(idle)
      await page.evaluate('save()')
      await expectResult(page, 'alice saved ')
      expect(await eventsOf(page)).toEqual(['renewing', 'renewed'])
      expect(complaints).toEqual([])
    },
    longMs,
  )

  test(
    'is renewed in a popup where the app forbids frames',
    async () => {
      const page = await openNotes(idle, '/strict')
      await page.fill('#text', 'strict')
      await waitForEnd(idle)
      const [popup] = await Promise.all([context.waitForEvent('page'), page.click('#save')])
      await expectResult(page, 'alice saved strict')
      await waitFor(() => popup.isClosed())
      expect(await eventsOf(page)).toEqual(['renewing', 'popup', 'renewed'])
    },
    longMs,
  )

  test(
    'is warned of before, and a click keeps it',
    async () => {
      const page = await openNotes(idle, '/')
      await page.locator('.postern-banner-idle .postern-banner-action').click({ timeout: idleSeconds * 1000 })
      await page.locator('.postern-banner').waitFor({ state: 'detached' })
      expect(await page.evaluate('window.events.filter(({ name }) => name === "warning").length')).toBe(1)
      expect(await statusOf(idle, 'notes')).toBe(200)
    },
    longMs,
  )

  test(
    'is renewed once for two tabs that notice together',
    async () => {
      const page = await openNotes(idle, '/')
      const other = await context.newPage()
      await other.goto(`${idle.origin('notes')}/`)
      await waitForEnd(idle)
      const before = (await startedSessions(idle)).length
      await Promise.all([page.evaluate('save()'), other.evaluate('save()')])
      await expectResult(page, 'alice saved ')
      await expectResult(other, 'alice saved ')
      expect((await startedSessions(idle)).length).toBe(before + 1)
    },
    longMs,
  )
})

describe('a session that was ended', () => {
  test(
    'needs the person: in a popup, and the page goes on with what was typed',
    async () => {
      const page = await openNotes(rig, '/')
      await page.fill('#text', 'unsaved')
      await signOutElsewhere()
      const [popup] = await Promise.all([context.waitForEvent('page'), page.click('#save')])
      await chooseAtDemoProvider(popup, 'alice')
      await expectResult(page, 'alice saved unsaved')
      await waitFor(() => popup.isClosed())
      expect(await page.inputValue('#text')).toBe('unsaved')
    },
    longMs,
  )

  test(
    'and somebody else who signs in gets a page of their own: it is loaded anew, and nothing is sent in their name',
    async () => {
      const page = await openNotes(rig, '/')
      await page.fill('#text', 'alice’s secret')
      await signOutElsewhere()
      // At the provider alice has signed out as well: it changes no account half way.
      await context.clearCookies({ domain: 'login.corp.localhost' })
      const [popup] = await Promise.all([context.waitForEvent('page'), page.click('#save')])
      const loaded = page.waitForEvent('load')
      await chooseAtDemoProvider(popup, 'bob')
      await loaded
      expect(await page.inputValue('#text')).toBe('')
      expect(upstream.seen.filter(({ path }) => path === '/save')).toEqual([])
      expect(await page.evaluate('postern.whoami().then(({ subject }) => subject)')).toBe('bob')
    },
    longMs,
  )

  test(
    'is asked about in a banner where popups are blocked',
    async () => {
      await context.addInitScript(blockPopups)
      const page = await openNotes(rig, '/')
      const other = await context.newPage()
      await other.goto(`${rig.origin('notes')}/bare`)
      await page.fill('#text', 'kept')
      await signOutElsewhere()
      // Not by a click in that page: a browser lets only a click open a window.
      await other.evaluate('localStorage.setItem("save", String(Math.random()))')
      const banner = page.locator('.postern-banner-ended')
      await banner.waitFor()
      expect(await eventsOf(page)).toEqual(['renewing', 'blocked'])
      expect(await banner.getAttribute('style')).toBe(null)
      const [popup] = await Promise.all([context.waitForEvent('page'), banner.locator('.postern-banner-action').click()])
      await chooseAtDemoProvider(popup, 'alice')
      await expectResult(page, 'alice saved kept')
      await banner.waitFor({ state: 'detached' })
    },
    longMs,
  )

  test(
    'is asked about in every tab: one that waits out of sight keeps no other waiting, and one sign-in is enough for all',
    async () => {
      await context.addInitScript(blockPopups)
      const page = await openNotes(rig, '/')
      const other = await context.newPage()
      await other.goto(`${rig.origin('notes')}/`)
      await signOutElsewhere()
      await page.evaluate('void save()')
      await page.locator('.postern-banner-ended').waitFor()
      await other.evaluate('void save()')
      const [popup] = await Promise.all([
        context.waitForEvent('page'),
        other.locator('.postern-banner-ended .postern-banner-action').click(),
      ])
      await chooseAtDemoProvider(popup, 'alice')
      await expectResult(other, 'alice saved ')
      await expectResult(page, 'alice saved ')
      for (const tab of [page, other]) await tab.locator('.postern-banner').waitFor({ state: 'detached' })
    },
    longMs,
  )

  test(
    'leaves alone for a while whoever does not want to sign in now: the refusal reaches the page',
    async () => {
      await context.addInitScript(blockPopups)
      const page = await openNotes(rig, '/')
      await signOutElsewhere()
      await page.evaluate('void save()')
      await page.locator('.postern-banner-close').click()
      await expectResult(page, '401 login_required')
      await page.evaluate('result.textContent = ""; void save()')
      await expectResult(page, '401 login_required')
      expect(await eventsOf(page)).toEqual(['renewing', 'blocked', 'failed'])
      expect(await page.locator('.postern-banner').count()).toBe(0)
    },
    longMs,
  )

  test(
    'is readable across origins by a page of an app in called_by without any script of ours, and by no other page',
    async () => {
      const page = await openNotes(rig, '/bare')
      const foreign = await context.newPage()
      await foreign.goto(`${rig.origin('foreign')}/bare`)
      await signOutElsewhere()
      const read = `fetch('${rig.origin('api')}/api/x', { credentials: 'include' }).then(async (answer) => ({
        status: answer.status, reason: answer.headers.get('x-postern'), request: answer.headers.get('x-postern-request'),
        challenge: answer.headers.get('www-authenticate'), body: await answer.json() }), (error) => error.name)`
      expect(await page.evaluate(read)).toMatchObject({
        status: 401,
        reason: 'session_ended',
        challenge: `Postern realm="api.corp.localhost"`,
        request: expect.any(String),
        body: { error: 'login_required', sign_in: expect.stringContaining('/sign-in?'), request_id: expect.any(String) },
      })
      expect(await foreign.evaluate(read)).toBe('TypeError')
    },
    longMs,
  )
})

describe('a call that wants a stronger sign-in', () => {
  test.each(['notes', 'api'])(
    'to %s asks for it in a popup, and is made once more',
    async (app) => {
      const page = await openNotes(rig, '/')
      const call = `fetch('${rig.origin(app)}/api/secret/x', { credentials: 'include' }).then(async (answer) => [answer.status, (await answer.json()).by])`
      const [popup, got] = await Promise.all([stepUpIn(context.waitForEvent('page')), page.evaluate(call)])
      expect(got).toEqual([200, 'alice'])
      await waitFor(() => popup.isClosed())
      expect(await eventsOf(page)).toEqual(['renewing', 'popup', 'renewed'])
    },
    longMs,
  )
})

describe('the API of another host', () => {
  test(
    'answers the first fetch, and a preflight reaches it without anybody’s name',
    async () => {
      const page = await openNotes(rig, '/bare')
      const call = (wish: string) => page.evaluate(`fetch('${rig.origin('api')}/api/y', ${wish}).then((answer) => answer.json())`)
      expect(await call("{ credentials: 'include' }")).toMatchObject({ by: 'alice' })
      const put = "{ method: 'PUT', credentials: 'include', headers: { 'content-type': 'application/json' }, body: '{\"text\":\"t\"}' }"
      expect(await call(put)).toMatchObject({ by: 'alice', got: 't' })
      const preflights = upstream.seen.filter(({ method }) => method === 'OPTIONS')
      expect(preflights).toHaveLength(1)
      const names = Object.keys(preflights[0]?.headers ?? {})
      expect(names.filter((name) => /^(?:x-forwarded-(?:user|email|groups|preferred)|x-postern-assertion|cookie)/.test(name))).toEqual([])
      await waitFor(async () => (await rig.audit()).some((line) => line['reason'] === 'cors_preflight' && line['app'] === 'api'))
    },
    longMs,
  )

  test('is opened ahead for nobody who could not get in to it', async () => {
    const client = new Client()
    const answer = await rig.signIn(client, 'carol', `${rig.origin('notes')}/`)
    expect(answer.status).toBe(200)
    expect(answer.url).toBe(`${rig.origin('notes')}/`)
    expect(answer.trail.filter((url) => url.startsWith(rig.origin('api')))).toEqual([])
    expect(client.cookie(appCookie, 'api.corp.localhost')).toBeUndefined()
  })

  test(
    'that stays closed after a renewal is not renewed for again and again',
    async () => {
      const page = await openNotes(rig, '/', 'carol')
      const call = `fetch('${rig.origin('api')}/api/y', { credentials: 'include' }).then(({ status }) => status)`
      const byXhr = `new Promise((resolve) => {
        const request = new XMLHttpRequest()
        request.open('GET', '${rig.origin('api')}/api/y')
        request.withCredentials = true
        request.onload = () => resolve(request.status)
        request.send()
      })`
      for (const one of [call, call, byXhr, call]) expect(await page.evaluate(one)).toBe(401)
      expect(await eventsOf(page)).toEqual(['renewing', 'renewed'])
    },
    longMs,
  )

  test('cannot be opened for a victim with the detour of somebody else, nor with their code', async () => {
    const attacker = new Client()
    const trail = (await rig.signIn(attacker, 'bob', `${rig.origin('notes')}/mine`)).trail
    const detour = trail.find((url) => url.startsWith(`${rig.origin('api')}/.postern/renew?detour=`)) ?? ''
    expect(detour).not.toBe('')
    const victim = new Client()
    await rig.signIn(victim, 'alice', `${rig.origin('foreign')}/`)

    // The start of the detour, in a browser that has a session of its own: it comes out on the page, and the API knows nobody new.
    const led = await victim.follow(detour)
    expect(led.url).toBe(`${rig.origin('notes')}/mine`)
    expect(victim.cookie(appCookie, 'api.corp.localhost') ?? (await whoIs(victim, 'api'))).not.toBe('bob')
    expect(await whoIs(victim, 'notes')).toBe('alice')

    // A fresh code of the attacker's, caught before it was used.
    attacker.forget(appCookie, 'notes.corp.localhost')
    attacker.forget(appCookie, 'api.corp.localhost')
    const caught = await catchCallback(attacker, `${rig.origin('notes')}/mine`, rig.origin('api'))
    const fresh = new Client()
    const burnt = await fresh.send(caught)
    expect(burnt.status).toBe(303)
    expect(burnt.header('location')).toBe(`${rig.origin('notes')}/mine`)
    expect(burnt.header('set-cookie')).toBeUndefined()
    expect(await whoIs(fresh, 'api')).toBeUndefined()
  })

  test('is never reached by a detour that was not ours', async () => {
    const client = new Client()
    await rig.signIn(client, 'alice', `${rig.origin('notes')}/`)
    for (const forged of ['', 'x', 'A'.repeat(200)]) {
      expect((await client.send(`${rig.origin('api')}/.postern/renew?detour=${forged}`)).status).toBe(400)
      expect((await client.send(`${rig.origin('access')}/sign-in?return_to=${rig.origin('api')}/&detour=${forged}`)).status).toBe(400)
    }
  })

  test('that fails on the way keeps nobody from the page they asked for', async () => {
    const client = new Client()
    await rig.signIn(client, 'alice', `${rig.origin('foreign')}/`)
    const caught = await catchCallback(client, `${rig.origin('notes')}/page`, rig.origin('api'))
    // The cookie that the hand-off was made for is lost.
    const broken = new Client()
    broken.setCookie(appCookie, client.cookie(appCookie, 'notes.corp.localhost') ?? '', 'notes.corp.localhost')
    const answer = await broken.follow(caught)
    expect(answer).toMatchObject({ status: 200, url: `${rig.origin('notes')}/page` })
  })
})

describe('renewal as a page of another origin would have it', () => {
  test('is begun by no other site, and its end is framed by no other origin', async () => {
    const client = new Client()
    await rig.signIn(client, 'alice', `${rig.origin('notes')}/`)
    const begin = `${rig.origin('notes')}/.postern/renew?mode=frame`
    for (const site of ['same-site', 'cross-site']) {
      expect((await client.send(begin, { headers: { 'sec-fetch-site': site } })).status).toBe(403)
    }
    const end = await client.follow(begin, { headers: { 'sec-fetch-site': 'same-origin' } })
    expect(end.url).toBe(`${rig.origin('notes')}/.postern/renew?mode=frame&outcome=renewed`)
    expect(end.header('content-security-policy')).toContain("frame-ancestors 'self'")
    const popup = await client.send(`${rig.origin('notes')}/.postern/renew?mode=popup&outcome=renewed`)
    expect(popup.header('content-security-policy')).toContain("frame-ancestors 'none'")
  })

  test(
    'takes no wishes from an element that only bears the script’s name (DOM clobbering)',
    async () => {
      const page = await openNotes(rig, '/')
      const script = '<script src="/.postern/renew.js" data-wrap="fetch"></script>'
      const body = `<!doctype html><img name="currentScript" data-outcome="renewed" data-stylesheet="//evil.example/x.css">${script}`
      await page.route('**/clobbered', (route) => route.fulfill({ contentType: 'text/html', body }))
      await page.goto(`${rig.origin('notes')}/clobbered`)
      expect(await page.evaluate('document.currentScript instanceof HTMLImageElement')).toBe(true)
      expect(await page.evaluate('typeof window.postern')).toBe('object')
    },
    longMs,
  )

  test('in a frame ends in a word and never in a page: the provider’s, or ours while something is away', async () => {
    const stranger = new Client()
    const begin = `${rig.origin('notes')}/.postern/renew?mode=frame`
    const asked = await stranger.follow(begin, { headers: { 'sec-fetch-site': 'same-origin' } })
    expect(asked.url).toBe(`${rig.origin('notes')}/.postern/renew?mode=frame&outcome=login_required`)
    expect(asked.status).toBe(200)
    expect(stranger.cookie(appCookie, 'notes.corp.localhost')).toBeUndefined()
  })
})

/** As browsers do where they are not driven by a test: a window opens for a click, and a test’s own steps pass for one. */
const blockPopups = `const open = window.open
window.open = (...given) => (window.event?.type === "click" ? open.apply(window, given) : null)`

async function stepUpIn(opened: Promise<Page>): Promise<Page> {
  const popup = await opened
  await popup.locator('#code').waitFor()
  await typeCodeAtDemoProvider(popup)
  return popup
}

async function openNotes(of: Rig, path: string, person = 'alice'): Promise<Page> {
  const page = await context.newPage()
  await page.goto(`${of.origin('notes')}${path}`)
  await chooseAtDemoProvider(page, person)
  await page.waitForURL(`${of.origin('notes')}${path}`)
  return page
}

/** The client that a copy of this browser's app cookie makes. */
async function copyOf(of: Rig, app: string): Promise<Client> {
  const client = new Client()
  for (const { name, value } of await context.cookies(of.origin(app))) client.setCookie(name, value, new URL(of.origin(app)).hostname)
  return client
}

async function statusOf(of: Rig, app: string): Promise<number> {
  return (await (await copyOf(of, app)).send(`${of.origin(app)}/.postern/whoami`, { as: 'fetch' })).status
}

async function waitForEnd(of: Rig): Promise<void> {
  await waitFor(async () => (await statusOf(of, 'notes')) === 401, (idleSeconds + 10) * 1000)
}

/** Ends the session of this browser without its knowing; the provider's own stays. */
async function signOutElsewhere(): Promise<void> {
  const client = await copyOf(rig, 'notes')
  const { body } = await client.send(`${rig.origin('notes')}/.postern/whoami`, { as: 'fetch' })
  const signedInAt = (JSON.parse(body) as { sign_in: { at: number } }).sign_in.at
  // A sign-in of the same second counts as one after the end: `auth_time` knows no smaller unit.
  await waitFor(() => Math.floor(Date.now() / 1000) > signedInAt)
  const headers = { origin: rig.origin('notes'), 'sec-fetch-site': 'same-origin' }
  const answer = await client.send(`${rig.origin('notes')}/.postern/sign-out`, { method: 'POST', headers, body: '' })
  expect(answer.status).toBe(303)
}

async function expectResult(page: Page, text: string): Promise<void> {
  await waitFor(
    async () => (await page.locator('#result').textContent()) === text,
    30_000,
    () => `the page never said ${JSON.stringify(text)}`,
  )
}

async function eventsOf(page: Page): Promise<readonly string[]> {
  const names = await page.evaluate<string[]>('window.events.map(({ name }) => name)')
  return names.filter((name) => name !== 'warning')
}

async function startedSessions(of: Rig): Promise<readonly unknown[]> {
  return (await of.audit()).filter((line) => line['event'] === 'session.started')
}

async function whoIs(client: Client, app: string): Promise<string | undefined> {
  const answer = await client.send(`${rig.origin(app)}/.postern/whoami`, { as: 'fetch' })
  return answer.status === 200 ? (JSON.parse(answer.body) as { subject: string }).subject : undefined
}

/** Follows a sign-in by single sign-on up to the callback on `origin`, which is not visited. */
async function catchCallback(client: Client, url: string, origin: string): Promise<string> {
  let next = url
  for (let hops = 0; hops < 15; hops += 1) {
    const answer = await client.send(next)
    next = new URL(answer.header('location') ?? '', next).href
    if (next.startsWith(`${origin}/.postern/callback`)) return next
  }
  throw new Error('no callback came')
}
