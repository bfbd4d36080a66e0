/**
 * Two instances on one Redis behind one address: what one begins the other finishes, tabs restored together end where they wanted to
 * go, and the provider is asked once for what all of them need.
 */

import type { Browser, BrowserContext, Page } from 'playwright'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { launchBrowser } from './support/browser.ts'
import { Client } from './support/client.ts'
import { type HostileProvider, startHostileProvider } from './support/hostile-provider.ts'
import { type Rig, startRig, waitFor } from './support/rig.ts'

/** Claims older than this are refreshed before a decision, in the second rig. */
const claimsMaxAgeSeconds = 4

const apps = ['app', 'wiki'].map((id) => ({ id, rules: [{ name: 'staff', allow: { groups: ['staff'] } }] }))

/** A client of the second instance, with the cookies of `like`. */
function atSecond(rig: Rig, like: Client = new Client()): Client {
  const client = new Client()
  client.detours.set(rig.port, rig.instances[1]?.port ?? 0)
  for (const [name, host] of [
    ['postern', 'access.corp.localhost'],
    ['postern-app', 'app.corp.localhost'],
  ] as const) {
    const value = like.cookie(name, host)
    if (value !== undefined) client.setCookie(name, value, host)
  }
  return client
}

async function trailOf(rig: Rig): Promise<Readonly<Record<string, unknown>>[]> {
  return (await Promise.all(rig.instances.map((instance) => rig.audit(instance)))).flat()
}

async function sessionsStarted(rig: Rig): Promise<number> {
  return (await trailOf(rig)).filter((line) => line['event'] === 'session.started').length
}

describe('two instances on one store', () => {
  let rig: Rig
  beforeAll(async () => {
    rig = await startRig({ store: 'redis', instances: 2, apps })
  })
  afterAll(() => rig?.stop())

  test('each step of a sign-in may be served by another instance', async () => {
    const client = new Client()
    let isSecond = false
    const hop = async (url: string, wish = {}) => {
      // Every request of ours goes to the other instance than the one before.
      isSecond = !isSecond
      if (isSecond) client.detours.set(rig.port, rig.instances[1]?.port ?? 0)
      else client.detours.clear()
      return await client.send(url, wish)
    }
    let answer = await hop(`${rig.origin('app')}/deep/page?x=1`)
    for (let hops = 0; hops < 20 && answer.status !== 200; hops += 1) {
      const location = answer.header('location')
      expect(location, `${answer.status} at ${answer.url}`).toBeDefined()
      answer = await hop(new URL(location ?? '', answer.url).href)
      if (!answer.url.includes('/interaction/')) continue
      const origin = new URL(answer.url).origin
      const headers = { 'content-type': 'application/x-www-form-urlencoded', origin, 'sec-fetch-site': 'same-origin' }
      answer = await client.send(answer.url, { method: 'POST', body: 'person=alice', headers })
    }
    expect(answer).toMatchObject({ status: 200, url: `${rig.origin('app')}/deep/page?x=1` })
    expect(await sessionsStarted(rig)).toBe(1)
    client.detours.clear()
    for (const either of [client, atSecond(rig, client)]) {
      expect((await either.send(`${rig.origin('app')}/ok`, { as: 'fetch' })).status).toBe(200)
    }
  })

  test('signing out on one instance ends the session on the other', async () => {
    const client = new Client()
    await rig.signIn(client, 'bob', `${rig.origin('app')}/ok`)
    const other = atSecond(rig, client)
    expect((await other.send(`${rig.origin('app')}/ok`, { as: 'fetch' })).status).toBe(200)
    const headers = { origin: rig.origin('app'), 'sec-fetch-site': 'same-origin' }
    expect((await client.send(`${rig.origin('app')}/.postern/sign-out`, { method: 'POST', body: '', headers })).status).toBe(303)
    const from = performance.now()
    await waitFor(async () => (await other.send(`${rig.origin('app')}/ok`, { as: 'fetch' })).status === 401, 6000)
    console.log(`signed out on one, refused on the other after ${(performance.now() - from).toFixed(0)} ms`)
  })
})

describe('ten tabs restored at once', () => {
  let rig: Rig
  let browser: Browser
  beforeAll(async () => {
    rig = await startRig({ store: 'redis', apps })
    browser = await launchBrowser()
  })
  afterAll(async () => {
    await browser?.close()
    await rig?.stop()
  })

  const wanted = () => Array.from({ length: 10 }, (_, tab) => `${rig.origin(tab % 2 === 0 ? 'wiki' : 'app')}/tab/${tab}?n=${tab}`)

  /** Ten cold tabs of a browser that the provider still knows. */
  async function restore(): Promise<{ context: BrowserContext; tabs: Page[] }> {
    const context = await browser.newContext()
    const page = await context.newPage()
    await page.goto(`${rig.origin('wiki')}/`)
    await page.locator('button[value=alice]').click()
    await page.waitForURL(`${rig.origin('wiki')}/`)
    // The browser was closed: cookies without an age are gone, the provider's own session is not.
    for (const name of ['access', 'wiki', 'app']) await context.clearCookies({ domain: `${name}.corp.localhost` })
    const tabs = await Promise.all(wanted().map(() => context.newPage()))
    const answers = await Promise.all(tabs.map((tab, index) => tab.goto(wanted()[index] ?? '')))
    expect(tabs.map((tab) => tab.url())).toEqual(wanted())
    expect(answers.map((answer) => answer?.status())).toEqual(Array(10).fill(200))
    return { context, tabs }
  }

  test('signed in at the provider already: all end where they wanted to go, and signing out in one closes all', async () => {
    const { context, tabs } = await restore()
    const [one] = tabs
    await one?.goto(`${rig.origin('wiki')}/.postern/sign-out`)
    await one?.locator('main form button').click()
    await one?.waitForURL(`${rig.origin('access')}/signed-out**`)
    for (const tab of tabs.slice(1)) {
      const status = () => tab.evaluate(async () => (await fetch('/.postern/whoami')).status)
      await waitFor(
        async () => (await status()) === 401,
        8000,
        () => `${tab.url()} is still signed in`,
      )
    }
    await context.close()
  }, 90_000)

  test('with the provider asking each of them: one sign-in carries all that are clicked through', async () => {
    const context = await browser.newContext()
    const tabs = await Promise.all(wanted().map(() => context.newPage()))
    await Promise.all(tabs.map((tab, index) => tab.goto(wanted()[index] ?? '')))
    for (const tab of tabs) expect(new URL(tab.url()).pathname).toMatch(/^\/interaction\//)
    // A person fills in one after the other.
    for (const [index, tab] of tabs.entries()) {
      await tab.locator('button[value=alice]').click()
      await tab.waitForURL(wanted()[index] ?? '', { timeout: 15_000 })
    }
    expect(tabs.map((tab) => tab.url())).toEqual(wanted())
    await context.close()
  }, 90_000)
})

describe('claims that fell due', () => {
  let rig: Rig
  let provider: HostileProvider
  beforeAll(async () => {
    provider = await startHostileProvider({ hostname: 'login.corp.localhost' })
    rig = await startRig({
      store: 'redis',
      instances: 2,
      apps,
      issuer: provider.issuer,
      provider: { client_id: provider.clientId, client_secret: provider.clientSecret },
      session: { refresh_after: `${claimsMaxAgeSeconds}s`, claims_max_age: `${claimsMaxAgeSeconds}s` },
    })
  })
  afterAll(async () => {
    await rig?.stop()
    await provider?.stop()
  })

  test('fifty requests at once over both instances are one refresh at the provider, and none is refused', async () => {
    const url = `${rig.origin('app')}/ok`
    const client = new Client()
    expect((await rig.signIn(client, 'alice', url)).status).toBe(200)
    const other = atSecond(rig, client)
    const refreshes = () => provider.received.filter((request) => request.body.includes('grant_type=refresh_token')).length
    for (let round = 1; round <= 2; round += 1) {
      const before = refreshes()
      await new Promise((resolve) => setTimeout(resolve, (claimsMaxAgeSeconds + 0.5) * 1000))
      const answers = await Promise.all(
        Array.from({ length: 50 }, (_, index) => (index % 2 === 0 ? client : other).send(url, { as: 'fetch' })),
      )
      expect(answers.map((answer) => answer.status)).toEqual(Array(50).fill(200))
      expect(refreshes() - before, `refreshes in round ${round}`).toBe(1)
    }
    expect((await trailOf(rig)).filter((line) => line['event'] === 'session.refreshed')).toHaveLength(2)
    expect((await trailOf(rig)).filter((line) => line['event'] === 'session.ended')).toHaveLength(0)
  }, 60_000)
})
