/**
 * A stronger and fresher sign-in: payroll wants two factors, not older than a limit. With a real Keycloak, its levels of authentication and
 * its one-time codes in a real browser and on real clocks; and with a provider that does not do what it is asked.
 */

import type { Browser, Page } from 'playwright'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { launchBrowser } from './support/browser.ts'
import { type Answer, Client } from './support/client.ts'
import { type HostileProvider, startHostileProvider } from './support/hostile-provider.ts'
import { type StartedKeycloak, startKeycloakForStory } from './support/keycloak.ts'
import { signInAtKeycloak } from './support/page.ts'
import { type AppWish, type Rig, startRig, waitFor } from './support/rig.ts'

const isAllowed = process.env['POSTERN_TEST_KEYCLOAK'] !== 'none'
const longMs = 420_000
const limitSeconds = 20

/** Payroll wants a second factor within the limit, the ledger within the hour, the wiki only a sign-in. */
const levels = {
  mfa_just_now: { sign_in: { strength: 'mfa', within: `${limitSeconds}s` } },
  mfa_1h: { sign_in: { strength: 'mfa', within: '1h' } },
}
const apps: readonly AppWish[] = [
  { id: 'wiki', rules: [{ name: 'everybody', allow: { signed_in: true } }] },
  { id: 'ledger', rules: [{ name: 'two factors', allow: { signed_in: true }, when: ['mfa_1h'] }] },
  { id: 'payroll', rules: [{ name: 'two factors just now', allow: { signed_in: true }, when: ['mfa_just_now'] }] },
]

describe.skipIf(!isAllowed)('with Keycloak', () => {
  let keycloak: StartedKeycloak
  let rig: Rig
  let browser: Browser

  beforeAll(async () => {
    keycloak = await startKeycloakForStory()
    rig = await startRig({
      issuer: keycloak.issuer,
      provider: {
        preset: 'keycloak',
        client_id: keycloak.clientId,
        client_secret: keycloak.clientSecret,
        scopes: ['openid', 'profile', 'email'],
        groups_when_missing: 'none',
      },
      policy: { levels },
      apps,
    })
    await keycloak.register(rig.origin('access'))
    browser = await launchBrowser()
  }, longMs)

  afterAll(async () => {
    await browser?.close()
    await rig?.stop()
    await keycloak?.stop()
  }, longMs)

  test(
    'payroll asks for the one-time code, lets in, and asks again once the sign-in is past the limit',
    async () => {
      const page = await openSignedIn('bob')
      const before = await whoami(page)
      expect(before.sign_in).toMatchObject({ acr: '1', amr: ['pwd'] })

      await page.goto(`${rig.origin('payroll')}/runs?month=11`)
      await bringBothFactors(page, 'bob')
      await page.waitForURL(`${rig.origin('payroll')}/runs?month=11`)
      const after = await whoami(page)
      expect(after.sign_in.acr).toBe('2')
      expect([...after.sign_in.amr].sort()).toEqual(['otp', 'pwd'])
      // The same session: only what it says of the sign-in has changed.
      expect(after.session.started_at).toBe(before.session.started_at)
      expect(await fetchAs(page)).toMatchObject({ status: 200 })
      expect((await page.goto(`${rig.origin('payroll')}/`))?.status()).toBe(200)

      // Past the limit, by the clock on the wall: a script is told what is wanted (RFC 9470), a page goes to Keycloak again.
      await waitFor(async () => (await fetchAs(page)).status === 401, (limitSeconds + 15) * 1000)
      const refused = await fetchAs(page)
      expect(refused.challenge).toContain('error="insufficient_user_authentication"')
      expect(refused.challenge).toContain(`max_age="${limitSeconds}"`)
      expect(refused.body).toMatchObject({ error: 'insufficient_user_authentication', max_age: limitSeconds })
      await page.goto(`${rig.origin('payroll')}/again`)
      await bringBothFactors(page, 'bob')
      await page.waitForURL(`${rig.origin('payroll')}/again`)
      expect(await fetchAs(page)).toMatchObject({ status: 200 })

      const lines = (await rig.audit()).filter((line) => line['event'] === 'access.decided' && line['app'] === 'payroll')
      const challenged = lines.filter((line) => line['reason'] === 'insufficient_user_authentication')
      expect(challenged.length).toBeGreaterThanOrEqual(3)
      expect(new Set(challenged.map((line) => line['rule']))).toEqual(new Set(['two factors just now']))
      await page.context().close()
    },
    longMs,
  )

  test(
    'an app that wants a second factor of the last hour asks for the code alone, and is then open in every tab',
    async () => {
      const page = await openSignedIn('bob')
      await page.goto(`${rig.origin('ledger')}/`)
      await page.locator('#otp').fill(code('bob'))
      await page.locator('#kc-login').click()
      await page.waitForURL(`${rig.origin('ledger')}/`)
      const other = await page.context().newPage()
      expect((await other.goto(`${rig.origin('ledger')}/other`))?.status()).toBe(200)
      expect(other.url()).toBe(`${rig.origin('ledger')}/other`)
      await page.context().close()
    },
    longMs,
  )

  test(
    'a stranger who opens it signs in once with a password and is then asked for the code',
    async () => {
      const page = await (await browser.newContext()).newPage()
      await page.goto(`${rig.origin('ledger')}/first`)
      await signInAtKeycloak(page, 'bob', keycloak.passwords.get('bob') ?? '')
      await page.locator('#otp').fill(code('bob'))
      await page.locator('#kc-login').click()
      await page.waitForURL(`${rig.origin('ledger')}/first`)
      await page.context().close()
    },
    longMs,
  )

  async function openSignedIn(person: string): Promise<Page> {
    const page = await (await browser.newContext()).newPage()
    await page.goto(`${rig.origin('wiki')}/`)
    await signInAtKeycloak(page, person, keycloak.passwords.get(person) ?? '')
    await page.waitForURL(`${rig.origin('wiki')}/`)
    return page
  }

  /** The code, and before it the password unless that was given in this very second: `max_age=0` is a whole number of seconds. */
  async function bringBothFactors(page: Page, person: string): Promise<void> {
    const asked = page.locator('#password, #otp').first()
    await asked.waitFor()
    if ((await asked.getAttribute('id')) === 'password') {
      await asked.fill(keycloak.passwords.get(person) ?? '')
      await page.locator('#kc-login').click()
    }
    await page.locator('#otp').fill(code(person))
    await page.locator('#kc-login').click()
  }

  function code(person: string): string {
    return keycloak.codes.get(person)?.() ?? ''
  }
})

interface Whoami {
  readonly session: { readonly started_at: number }
  readonly sign_in: { readonly at: number; readonly acr: string | null; readonly amr: readonly string[] }
}

function whoami(page: Page): Promise<Whoami> {
  return page.evaluate(async () => (await fetch('/.postern/whoami')).json() as Promise<Whoami>)
}

/** What a script of the page gets from its app now. */
function fetchAs(page: Page): Promise<{ status: number; challenge: string | null; body: unknown }> {
  return page.evaluate(async () => {
    const answer = await fetch('/api/runs', { headers: { accept: 'application/json' }, cache: 'no-store' })
    const body: unknown = answer.status === 401 ? await answer.json() : undefined
    return { status: answer.status, challenge: answer.headers.get('www-authenticate'), body }
  })
}

describe('with two instances, Redis, and a provider that does as it likes', () => {
  let provider: HostileProvider
  let rig: Rig
  let client: Client

  beforeAll(async () => {
    provider = await startHostileProvider({ hostname: 'login.corp.localhost' })
    rig = await startRig({
      store: 'redis',
      instances: 2,
      issuer: provider.issuer,
      provider: {
        client_id: provider.clientId,
        client_secret: provider.clientSecret,
        scopes: ['openid'],
        strengths: { mfa: { acr: ['2'], amr: ['otp'] } },
      },
      policy: { levels },
      apps,
    })
  }, longMs)

  afterAll(async () => {
    await rig?.stop()
    await provider?.stop()
  })

  beforeEach(async () => {
    client = new Client()
    signsInWith('1', 100)
    // Signed in with a password, and remembered as such by both instances.
    expect((await follow(`${rig.origin('wiki')}/`)).status).toBe(200)
    provider.received.length = 0
  })

  test('what was proved on one instance counts at once on the other, which remembers the weaker sign-in', async () => {
    expect((await get('ledger', 1)).status).toBe(401)
    signsInWith('2', 0)
    expect((await follow(`${rig.origin('ledger')}/`)).status).toBe(200)
    expect(provider.count('authorize')).toBe(1)
    expect((await get('ledger', 1)).status).toBe(200)
  })

  test.each([
    ['ignores what strength it was asked for', '1', 0],
    ['sends back an old sign-in', '2', 3700],
    ['does not say when the person signed in', '2', undefined],
  ] as const)('a provider that %s ends in a page after one round', async (_, acr, ago) => {
    signsInWith(acr, ago)
    const answer = await follow(`${rig.origin('ledger')}/x`)
    expect(answer.status).toBe(403)
    expect(answer.header('x-postern')).toBe('step_up_failed')
    expect(answer.url.startsWith(`${rig.origin('access')}/oidc/callback`)).toBe(true)
    expect(answer.body).toContain(`href="${rig.origin('ledger')}/x"`)
    expect(provider.count('authorize')).toBe(1)
    // Other apps work on with the session.
    expect((await follow(`${rig.origin('wiki')}/`)).status).toBe(200)
    expect(provider.count('authorize')).toBe(1)
  })

  function signsInWith(acr: string, ago: number | undefined): void {
    const authTime = ago === undefined ? undefined : Math.floor(Date.now() / 1000) - ago
    provider.behaviour.person = { sub: 'alice', claims: {}, acr, authTime }
  }

  /** The access host and hand-offs are instance 0's, the apps' own pages instance 1's. */
  async function follow(url: string): Promise<Answer> {
    let answer = await send(url)
    for (let hops = 0; hops < 15 && answer.header('location') !== undefined; hops += 1) {
      answer = await send(new URL(answer.header('location') ?? '', answer.url).href)
    }
    return answer
  }

  function send(url: string, as: 'navigation' | 'fetch' = 'navigation'): Promise<Answer> {
    const { host, pathname } = new URL(url)
    const isOfFirst = host === new URL(rig.origin('access')).host || pathname.startsWith('/.postern/')
    client.detours.set(rig.port, rig.instances[isOfFirst ? 0 : 1]?.port ?? 0)
    return client.send(url, { as })
  }

  async function get(app: string, instance: number): Promise<Answer> {
    client.detours.set(rig.port, rig.instances[instance]?.port ?? 0)
    return await client.send(`${rig.origin(app)}/api`, { as: 'fetch' })
  }
})
