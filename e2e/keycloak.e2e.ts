/**
 * The main story against a real Keycloak and a real Redis, in a browser: sign-in, sign-out from either side, and each part going away
 * in the middle of it. Nobody is let in who should not be, and work goes on after.
 */

import type { Browser, Page } from 'playwright'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { RunningApp } from '../src/demo/apps/app-server.ts'
import { startBoard } from '../src/demo/apps/board.ts'
import { startPayroll } from '../src/demo/apps/payroll.ts'
import { startWiki } from '../src/demo/apps/wiki.ts'
import { launchBrowser } from './support/browser.ts'
import { Client } from './support/client.ts'
import { findFreePort } from './support/free-port.ts'
import { type StartedKeycloak, startKeycloakForStory } from './support/keycloak.ts'
import { signInAtKeycloak } from './support/page.ts'
import { type Rig, startRig, waitFor } from './support/rig.ts'
import { everybody, type Stage, signOutEverywhere, tellTheStory } from './support/story.ts'

const isAllowed = process.env['POSTERN_TEST_KEYCLOAK'] !== 'none'
const longMs = 420_000

describe.skipIf(!isAllowed)('with Keycloak and Redis', () => {
  const apps: RunningApp[] = []
  let keycloak: StartedKeycloak
  let rig: Rig
  let browser: Browser
  let stage: Stage

  beforeAll(async () => {
    keycloak = await startKeycloakForStory()
    const payrollPort = await findFreePort()
    const wiki = await startWiki(0, { now: Date.now })
    const board = await startBoard(0, { now: Date.now, tickMs: 200 })
    apps.push(wiki, board)
    rig = await startRig({
      store: 'redis',
      issuer: keycloak.issuer,
      provider: {
        preset: 'keycloak',
        client_id: keycloak.clientId,
        client_secret: keycloak.clientSecret,
        scopes: ['openid', 'profile', 'email'],
        claims: { groups: ['groups'] },
        groups: { strip_prefix: '/' },
        groups_when_missing: 'none',
      },
      // Short, so that a change at the provider shows within a test.
      session: { refresh_after: '2s', claims_max_age: '4s' },
      apps: [
        {
          id: 'wiki',
          upstream: wiki.origin,
          rules: [
            { name: 'employees', allow: { groups: ['engineering', 'finance'] } },
            { name: 'contractors read', allow: { groups: ['contractors'] }, methods: ['read'] },
          ],
        },
        { id: 'board', upstream: board.origin, rules: [{ name: 'engineering', allow: { groups: ['engineering'] } }] },
        {
          id: 'payroll',
          upstream: `http://127.0.0.1:${payrollPort}`,
          portal: 'if_allowed',
          rules: [{ name: 'finance', allow: { groups: ['finance'] } }],
        },
      ],
    })
    apps.push(await startPayroll(payrollPort, { issuer: new URL(rig.origin('access')), audience: rig.origin('payroll'), now: Date.now }))
    await keycloak.register(rig.origin('access'))
    browser = await launchBrowser()
    stage = {
      browser,
      origin: (name) => rig.origin(name),
      signIn: (page, person) => signInAtKeycloak(page, person, keycloak.passwords.get(person) ?? ''),
      isAtProvider: (url) => url.startsWith(keycloak.issuer),
    }
  }, longMs)

  afterAll(async () => {
    await browser?.close()
    await rig?.stop()
    await Promise.all(apps.map((app) => app.close()))
    await keycloak?.stop()
  }, longMs)

  for (const expectation of everybody) {
    const { person, opens } = expectation
    test(`${person} opens ${opens.join(' and ')} after one sign-in, and nothing else`, () => tellTheStory(stage, expectation))
  }

  test('signing out ends it here and at Keycloak', () => signOutEverywhere(stage, 'alice'))

  test('a sign-out by an administrator of Keycloak ends the session here', async () => {
    const page = await open('bob')
    expect(await statusOf(page)).toBe(200)
    await keycloak.admin.request('POST', `/users/${await keycloak.admin.findUserId('bob')}/logout`)
    await waitFor(async () => (await statusOf(page)) === 401, 15_000)
    await page.context().close()
  })

  test('losing a group at Keycloak loses the app, without a new sign-in', async () => {
    const page = await open('bob', 'payroll')
    expect(await statusOf(page)).toBe(200)
    const user = await keycloak.admin.findUserId('bob')
    const group = await keycloak.admin.findGroupId('finance')
    try {
      await keycloak.admin.request('DELETE', `/users/${user}/groups/${group}`)
      await waitFor(async () => (await statusOf(page)) === 403, 20_000)
    } finally {
      await keycloak.admin.request('PUT', `/users/${user}/groups/${group}`)
    }
    await waitFor(async () => (await statusOf(page)) === 200, 20_000)
    await page.context().close()
  })

  test('a disabled account is out as soon as its claims are asked for again', async () => {
    const page = await open('carol')
    const path = `/users/${await keycloak.admin.findUserId('carol')}`
    const user = (await keycloak.admin.request('GET', path)) as object
    try {
      await keycloak.admin.request('PUT', path, { ...user, enabled: false })
      await waitFor(async () => (await statusOf(page)) === 401, 20_000)
    } finally {
      await keycloak.admin.request('PUT', path, { ...user, enabled: true })
    }
    await page.context().close()
  })

  test(
    'while Keycloak is away, who is signed in works on and nobody new gets in; then sign-in works again',
    async () => {
      const page = await open('alice')
      const ended = await endedClient('bob')
      await keycloak.halt()
      expect(await statusOf(page)).toBe(200)
      expect((await ended()).status).toBe(401)
      const stranger = await new Client().send(`${rig.origin('wiki')}/`, { as: 'fetch' })
      expect(stranger.status).toBe(401)
      await keycloak.resume()
      await waitFor(async () => (await statusOf(page)) === 200, 20_000)
      await tellTheStory(stage, { person: 'carol', opens: ['wiki'], refused: ['board', 'payroll'] })
      await page.context().close()
    },
    longMs,
  )

  test(
    'a restart of Redis or of Postern asks nobody to sign in again, and forgets no end',
    async () => {
      const page = await open('alice')
      const ended = await endedClient('bob')
      await rig.redis?.restart()
      await staysOut(ended)
      await waitFor(async () => (await statusOf(page)) === 200, 20_000)
      await rig.instance.stop('SIGTERM')
      await rig.instance.start()
      await staysOut(ended)
      expect(await statusOf(page)).toBe(200)
      await page.context().close()
    },
    longMs,
  )

  /** A fresh browser profile, signed in and standing on the app. */
  async function open(person: string, app: 'wiki' | 'payroll' = 'wiki'): Promise<Page> {
    const context = await browser.newContext()
    const page = await context.newPage()
    await page.goto(`${rig.origin(app)}/`)
    await stage.signIn(page, person)
    await page.waitForURL(`${rig.origin(app)}/`)
    return page
  }

  /** What the page's own script gets from its app now. */
  function statusOf(page: Page): Promise<number> {
    return page.evaluate(async () => (await fetch('/assets/apps.css', { cache: 'no-store', headers: { accept: 'text/css' } })).status)
  }

  /** Refused for want of the store while it is away, and as signed out after; never let in between. */
  async function staysOut(ended: () => ReturnType<Client['send']>): Promise<void> {
    await waitFor(async () => {
      const { status } = await ended()
      expect([401, 503]).toContain(status)
      return status === 401
    }, 20_000)
  }

  /** Requests with the cookie of a session that was signed out. */
  async function endedClient(person: string): Promise<() => ReturnType<Client['send']>> {
    const page = await open(person)
    const cookies = await page.context().cookies(rig.origin('wiki'))
    const cookie = cookies.map(({ name, value }) => `${name}=${value}`).join('; ')
    await page.goto(`${rig.origin('wiki')}/.postern/sign-out`)
    await page.locator('main form button').click()
    await page.waitForURL(`${rig.origin('access')}/signed-out**`)
    await page.context().close()
    return () => new Client().send(`${rig.origin('wiki')}/`, { as: 'fetch', headers: { cookie } })
  }
})
