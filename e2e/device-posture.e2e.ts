/**
 * A person, a device and its state, told by a real browser and a real Keycloak: what the not-allowed page says about an unencrypted laptop,
 * and that it goes on by itself once the laptop reports otherwise; and certificates that a browser shows, has not, or took from elsewhere.
 *
 * Keycloak says which device a person has (an attribute of the account, in the claim `device_id`); the state comes from signed reports;
 * certificates from an authority of the test. `POSTERN_TEST_SHOTS` names a folder for pictures.
 */

import { execFile } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Browser, BrowserContext, BrowserContextOptions, Page, Response } from 'playwright'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { findBarriers } from './support/accessibility.ts'
import { launchBrowser } from './support/browser.ts'
import { createDeviceAuthority, type DeviceAuthority, type IssuedCertificate } from './support/device-authority.ts'
import { type KeycloakAdmin, type StartedKeycloak, startKeycloakForStory } from './support/keycloak.ts'
import { type LoopbackProxy, startLoopbackProxy } from './support/loopback-proxy.ts'
import { collectComplaints, signInAtKeycloak } from './support/page.ts'
import { type AppWish, type Rig, runCommand, startRig } from './support/rig.ts'
import { createTestAuthority, type TestAuthority } from './support/test-authority.ts'

const isAllowed = process.env['POSTERN_TEST_KEYCLOAK'] !== 'none'
const shotsFolder = process.env['POSTERN_TEST_SHOTS']
const longMs = 420_000

/** The wiki asks for no device, payroll for an encrypted one, the vault for one that proves itself. */
const apps: readonly AppWish[] = [
  { id: 'wiki', rules: [{ name: 'everybody', allow: { signed_in: true } }] },
  {
    id: 'payroll',
    name: 'Payroll',
    owner: 'finance-systems@corp.example',
    rules: [{ name: 'healthy devices', allow: { signed_in: true }, when: ['healthy_device'] }],
  },
  { id: 'vault', name: 'Vault', rules: [{ name: 'devices of ours', allow: { signed_in: true }, when: ['proven_device'] }] },
]
const levels = {
  healthy_device: { device: { disk_encrypted: true, os: ['macos >= 14.4', 'windows >= 10'], reported_within: '24h' } },
  proven_device: { device: { identified_by: 'certificate' } },
}

describe.skipIf(!isAllowed)('with Keycloak, over TLS', () => {
  let folder: string
  let keycloak: StartedKeycloak
  let servers: TestAuthority
  let devices: DeviceAuthority
  let rig: Rig
  let browser: Browser
  let proxy: LoopbackProxy
  let contexts: BrowserContext[] = []

  beforeAll(async () => {
    if (shotsFolder !== undefined) mkdirSync(shotsFolder, { recursive: true })
    folder = await mkdtemp(join(tmpdir(), 'postern-posture-'))
    keycloak = await startKeycloakForStory()
    devices = await createDeviceAuthority()
    await writeFile(join(folder, 'devices.pem'), devices.pem)
    servers = createTestAuthority()
    const names = ['access', ...apps.map(({ id }) => id)].map((name) => `DNS:${name}.corp.localhost`)
    const { certFile, keyFile } = servers.issue(names.join(','))
    rig = await startRig({
      scheme: 'https',
      issuer: keycloak.issuer,
      provider: {
        preset: 'keycloak',
        client_id: keycloak.clientId,
        client_secret: keycloak.clientSecret,
        scopes: ['openid', 'profile', 'email'],
        claims: { groups: ['groups'], device_id: 'device_id' },
        groups_when_missing: 'none',
      },
      configuration: {
        tls: [{ cert_file: certFile, key_file: keyFile }],
        client_certificate: { ca_file: join(folder, 'devices.pem') },
      },
      policy: { levels },
      apps,
    })
    await keycloak.register(rig.origin('access'))
    await sayDevices(keycloak.admin, { bob: 'laptop-7', carol: 'laptop-8' })
    browser = await launchBrowser()
    proxy = await startLoopbackProxy()
  }, longMs)

  afterAll(async () => {
    await browser?.close()
    await proxy?.close()
    await rig?.stop()
    servers?.remove()
    await keycloak?.stop()
    await rm(folder, { recursive: true, force: true })
  }, longMs)

  afterEach(async () => {
    await Promise.all(contexts.map((context) => context.close()))
    contexts = []
  })

  const at = (app: string, path = '/') => `${rig.origin(app)}${path}`
  const device = (...args: string[]) => runCommand(['device', ...args, '--config', join(rig.instance.folder, '..', 'postern-0.yaml')])

  test(
    'an unencrypted laptop reads what to do, and its page goes on by itself after the next report, without a new sign-in',
    async () => {
      const submit = await enrol('laptop-7')
      await submit('disk_encrypted=false', 'os=macos', 'os_version=14.5')
      const page = await openSignedIn('bob')
      const before = await whoami(page)

      const refused = await page.goto(at('payroll', '/runs?month=11'))
      expect([refused?.status(), refused?.headers()['x-postern']]).toEqual([403, 'no_rule_matched'])
      expect(await page.locator('h1').innerText()).toBe('Your disk is not encrypted')
      expect(await page.locator('.steps').innerText()).toMatch(/^Encrypt your disk\..*FileVault.*BitLocker/)
      const words = await page.locator('main').innerText()
      for (const said of ['Your account may open Payroll', 'from its next report', 'goes on by itself', 'finance-systems@corp.example']) {
        expect(words).toContain(said)
      }
      await look(page, 'device-refused')
      expect(await fetchAs(page)).toEqual({
        status: 403,
        body: expect.objectContaining({
          error: 'no_rule_matched',
          person: 'Bob Brandt',
          app: expect.objectContaining({ name: 'Payroll', owner: 'finance-systems@corp.example' }),
          unmet: [{ condition: 'device', outcome: 'false', remedy: 'disk_not_encrypted', message: 'The disk is not encrypted.' }],
        }),
      })

      const asked: string[] = []
      page.context().on('request', (request) => asked.push(request.url()))
      const continued = waitForPage(page, at('payroll', '/runs?month=11'))
      await submit('disk_encrypted=true')
      await continued
      // Nobody was sent anywhere: not to the provider, not to the access host for a hand-off.
      expect(asked.filter((url) => !url.startsWith(at('payroll', '/runs')))).toEqual([])
      const after = await whoami(page)
      expect(after).toMatchObject({ subject: before.subject, session: { started_at: before.session.started_at }, sign_in: before.sign_in })
      expect(await fetchAs(page)).toMatchObject({ status: 200 })
    },
    longMs,
  )

  test(
    'several things in the way are all named, each with what is there and what is wanted, to people and to programs',
    async () => {
      const submit = await enrol('laptop-8')
      const page = await openSignedIn('carol')
      await page.goto(at('payroll'))
      expect(await page.locator('h1').innerText()).toBe('Your device has not reported yet')

      await submit('disk_encrypted=false', 'os=macos', 'os_version=14.1')
      // The page notices that something else is in the way by now.
      await page.locator('h1', { hasText: 'You can’t open Payroll right now' }).waitFor({ timeout: 60_000 })
      const steps = await page.locator('.steps li').allInnerTexts()
      expect(steps).toHaveLength(2)
      expect(steps.join(' ')).toContain('Encrypt your disk.')
      expect(steps.join(' ')).toContain('Update to macOS 14.4 or later. Your device has macOS 14.1.')
      await look(page, 'device-refused-twice')
      const { body } = await fetchAs(page)
      expect((body as { unmet: unknown[] }).unmet).toEqual(
        expect.arrayContaining([
          expect.objectContaining({ remedy: 'disk_not_encrypted' }),
          expect.objectContaining({ remedy: 'os_outdated', details: { present: 'macos 14.1', wanted: 'macos >= 14.4' } }),
        ]),
      )
    },
    longMs,
  )

  describe('an app for devices that prove themselves', () => {
    let mine: IssuedCertificate
    let other: IssuedCertificate

    beforeAll(async () => {
      mine = await devices.issue({ commonName: 'laptop-7', names: [{ type: 'dns', value: 'laptop-7.corp.example' }] })
      other = await devices.issue({ commonName: 'laptop-9' })
    })

    test(
      'opens in the browser that shows a certificate',
      async () => {
        const page = await openSignedIn('alice', showing(mine))
        expect((await page.goto(at('vault')))?.status()).toBe(200)
        expect(await whoami(page)).toMatchObject({ subject: expect.any(String) })
      },
      longMs,
    )

    test.each([
      ['of whose device nobody knows', 'alice', 'device_unidentified', 'Your device is not known here'],
      ['whose device Keycloak names', 'bob', 'device_not_proven', 'Your device did not prove itself'],
    ] as const)(
      'stays shut without one to a person %s',
      async (_whom, person, remedy, heading) => {
        const page = await openSignedIn(person)
        expect((await page.goto(at('vault')))?.status()).toBe(403)
        expect(await page.locator('h1').innerText()).toBe(heading)
        expect(await page.locator('.steps').innerText()).toContain('choose its certificate when the browser asks')
        await look(page, remedy)
        const { body } = await fetchAs(page)
        expect((body as { unmet: { remedy: string }[] }).unmet.map((one) => one.remedy)).toEqual([remedy])
      },
      longMs,
    )

    test(
      'stays shut to another device with the cookies of a session that began with a certificate',
      async () => {
        const page = await openSignedIn('alice', showing(mine))
        expect((await page.goto(at('vault')))?.status()).toBe(200)
        await page.goto(at('payroll'))
        const storageState = await page.context().storageState()
        for (const elsewhere of [showing(other), {}]) {
          const thief = await openContext({ ...elsewhere, storageState })
          for (const app of ['vault', 'payroll', 'access']) {
            const answer = await thief.goto(at(app))
            expect([app, answer?.status(), answer?.headers()['x-postern']]).toEqual([app, 403, 'device_changed'])
          }
          expect(await thief.locator('h1').innerText()).toBe('This is not the device you signed in on')
          await thief.goto(at('vault'))
          expect(await fetchAs(thief)).toMatchObject({ status: 403, body: { error: 'device_changed' } })
          await look(thief, 'device-changed')
        }
        expect((await page.goto(at('vault')))?.status()).toBe(200)

        // Whoever has moved to another device signs in there, on the way back to the page.
        const moved = await openContext({ ...showing(other), storageState })
        await moved.goto(at('vault', '/safe?drawer=2'))
        const opened = waitForPage(moved, at('vault', '/safe?drawer=2'))
        await moved.getByRole('link', { name: 'Sign in', exact: true }).click()
        await opened
        expect(await fetchAs(moved)).toMatchObject({ status: 200 })
        expect(await fetchAs(page)).toMatchObject({ status: 401 })
      },
      longMs,
    )

    test('is where a certificate is asked for, and the access host, and no other', async () => {
      expect(await asksForCertificate('vault')).toBe(true)
      expect(await asksForCertificate('payroll')).toBe(true)
      expect(await asksForCertificate('access')).toBe(true)
      expect(await asksForCertificate('wiki')).toBe(false)
    })
  })

  /** Registers a device with a key of its own; the result signs a report with it and posts it. */
  async function enrol(id: string): Promise<(...settings: readonly string[]) => Promise<void>> {
    const { privateKey, publicKey } = generateKeyPairSync('ed25519')
    const files = { key: join(folder, `${id}.key`), publicKey: join(folder, `${id}.pub`) }
    await writeFile(files.key, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 })
    await writeFile(files.publicKey, publicKey.export({ type: 'spki', format: 'pem' }))
    expect(await device('register', id, '--public-key', files.publicKey)).toMatchObject({ code: 0, stderr: '' })
    return async (...settings) => {
      const options = ['--key', files.key, '--ca', servers.file, ...settings.flatMap((setting) => ['--set', setting])]
      expect(await device('submit', id, ...options)).toMatchObject({ code: 0, stderr: '' })
    }
  }

  async function openContext(options: BrowserContextOptions = {}): Promise<Page> {
    const context = await browser.newContext({ ...options, ignoreHTTPSErrors: true })
    contexts.push(context)
    return await context.newPage()
  }

  async function openSignedIn(person: string, options: BrowserContextOptions = {}): Promise<Page> {
    const page = await openContext(options)
    await page.goto(at('wiki'))
    await signInAtKeycloak(page, person, keycloak.passwords.get(person) ?? '')
    await page.waitForURL(at('wiki'))
    return page
  }

  /** The app's own page at an address where a refusal stands. Begin to wait before what opens it. */
  async function waitForPage(page: Page, url: string): Promise<void> {
    const isIt = (answer: Response) => answer.url() === url && answer.status() === 200 && answer.request().isNavigationRequest()
    const answer = await page.waitForResponse(isIt, { timeout: 60_000 })
    expect(answer.headers()['x-postern']).toBeUndefined()
    await page.locator('h1').waitFor({ state: 'detached' })
  }

  /** A browser that has this certificate for every host of ours, the wiki included, and chooses it when asked. */
  function showing({ cert, key }: IssuedCertificate): BrowserContextOptions {
    const material = { cert: Buffer.from(cert), key: Buffer.from(key) }
    const hosts = ['access', ...apps.map(({ id }) => id)]
    return {
      proxy: { server: proxy.server },
      clientCertificates: hosts.map((name) => ({ origin: rig.origin(name), ...material })),
    }
  }

  /** Whether the handshake for this host carries a request for a certificate, as another program than ours sees it. */
  function asksForCertificate(name: string): Promise<boolean> {
    const args = ['s_client', '-connect', `127.0.0.1:${rig.port}`, '-servername', `${name}.corp.localhost`, '-CAfile', servers.file]
    return new Promise((resolve, reject) => {
      const child = execFile('openssl', args, { timeout: 20_000 }, (_error, stdout) => {
        if (!stdout.includes('Verify return code: 0')) reject(new Error(`no handshake for ${name}:\n${stdout}`))
        else resolve(!stdout.includes('No client certificate CA names sent'))
      })
      child.stdin?.end()
    })
  }

  /** Accessible and whole in light, dark and on a phone; with a picture of each where wanted. */
  async function look(page: Page, name: string): Promise<void> {
    const complaints = collectComplaints(page.context())
    for (const [circumstance, colorScheme, width] of [
      ['light', 'light', 1280],
      ['dark', 'dark', 1280],
      ['phone', 'light', 390],
      ['phone-dark', 'dark', 390],
    ] as const) {
      await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' })
      await page.setViewportSize({ width, height: 800 })
      if (shotsFolder !== undefined) await page.screenshot({ path: join(shotsFolder, `${name}.${circumstance}.png`), fullPage: true })
      expect(await findBarriers(page)).toEqual([])
      expect(await page.evaluate<number>('document.documentElement.scrollWidth - window.innerWidth')).toBeLessThanOrEqual(0)
    }
    expect(complaints).toEqual([])
  }
})

/** Gives accounts the attribute `device_id`, and the client of Postern a claim of that name. */
async function sayDevices(admin: KeycloakAdmin, deviceOf: Readonly<Record<string, string>>): Promise<void> {
  const profile = (await admin.request('GET', '/users/profile')) as object
  await admin.request('PUT', '/users/profile', { ...profile, unmanagedAttributePolicy: 'ADMIN_EDIT' })
  for (const [person, deviceId] of Object.entries(deviceOf)) {
    const path = `/users/${await admin.findUserId(person)}`
    const user = (await admin.request('GET', path)) as object
    await admin.request('PUT', path, { ...user, attributes: { device_id: [deviceId] } })
  }
  const [client] = (await admin.request('GET', '/clients?clientId=postern')) as [{ id: string }]
  await admin.request('POST', `/clients/${client.id}/protocol-mappers/models`, {
    name: 'device_id',
    protocol: 'openid-connect',
    protocolMapper: 'oidc-usermodel-attribute-mapper',
    config: {
      'user.attribute': 'device_id',
      'claim.name': 'device_id',
      'jsonType.label': 'String',
      'id.token.claim': 'true',
      'userinfo.token.claim': 'true',
    },
  })
}

interface Whoami {
  readonly subject: string
  readonly session: { readonly started_at: number }
  readonly sign_in: object
}

function whoami(page: Page): Promise<Whoami> {
  return page.evaluate(async () => (await fetch('/.postern/whoami')).json() as Promise<Whoami>)
}

/** What a script of the page gets from its host now. */
function fetchAs(page: Page): Promise<{ status: number; body: unknown }> {
  return page.evaluate(async () => {
    const answer = await fetch('/api/runs', { headers: { accept: 'application/json' }, cache: 'no-store' })
    return { status: answer.status, body: (await answer.json()) as unknown }
  })
}
