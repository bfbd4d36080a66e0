/**
 * Device certificates through the whole system: shown to our own listener, or handed on by a trusted proxy in either form; right, wrong in
 * every way, revoked while a connection is open, forged; and a session that stays on the device that it began on.
 */

import { readFileSync } from 'node:fs'
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { Agent, request as httpsRequest } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { launchBrowser } from './support/browser.ts'
import { Client } from './support/client.ts'
import { createDeviceAuthority, type DeviceAuthority, type IssuedCertificate, usages } from './support/device-authority.ts'
import { type Rig, startRig, waitFor } from './support/rig.ts'
import { createTestAuthority, type TestAuthority } from './support/test-authority.ts'

const day = 86_400_000
const staff = { groups: ['staff'] }
/** Payroll opens on devices that prove themselves; the wiki asks nothing. */
const apps = [
  { id: 'payroll', rules: [{ name: 'staff on our devices', allow: staff, when: [{ device: { identified_by: 'certificate' } }] }] },
  { id: 'wiki', rules: [{ name: 'staff', allow: staff }] },
]

let folder: string
let devices: DeviceAuthority
let laptop: IssuedCertificate
let lost: IssuedCertificate

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'postern-devices-'))
  devices = await createDeviceAuthority()
  laptop = await devices.issue({ commonName: 'laptop-7', names: [{ type: 'dns', value: 'laptop-7.corp.example' }] })
  lost = await devices.issue({ commonName: 'laptop-8' })
  await writeFile(join(folder, 'devices.pem'), devices.pem)
})
afterAll(() => rm(folder, { recursive: true, force: true }))

async function publish(file: string, revoked: readonly IssuedCertificate[]): Promise<void> {
  await writeFile(`${file}.draft`, await devices.list(revoked, { thisUpdate: Date.now() }))
  await rename(`${file}.draft`, file)
}

/** Certificates that are each wrong in one way, and what none is. */
async function wrongOnes(): Promise<Record<string, IssuedCertificate | undefined>> {
  const stranger = await createDeviceAuthority()
  return {
    none: undefined,
    revoked: lost,
    expired: await devices.issue({ notAfter: Date.now() - 5000 }),
    'not yet valid': await devices.issue({ notBefore: Date.now() + day }),
    'of another authority': await stranger.issue({ commonName: 'laptop-7', names: [{ type: 'dns', value: 'laptop-7.corp.example' }] }),
    'self-signed': { ...(await selfSigned()) },
    'for servers': await devices.issue({ extendedKeyUsage: [usages.serverAuth] }),
  }
}

async function selfSigned(): Promise<IssuedCertificate> {
  const self = await createDeviceAuthority({ commonName: 'laptop-7' })
  const { key } = await self.issue()
  return { cert: self.pem, key, der: self.der, serial: '' }
}

describe('shown to our listener', () => {
  let rig: Rig
  let servers: TestAuthority
  let ca: string
  const crlFile = () => join(folder, 'listener.crl')

  beforeAll(async () => {
    servers = createTestAuthority()
    ca = readFileSync(servers.file, 'utf8')
    const { certFile, keyFile } = servers.issue(['access', 'payroll', 'wiki'].map((name) => `DNS:${name}.corp.localhost`).join(','))
    await publish(crlFile(), [lost])
    const client_certificate = { ca_file: join(folder, 'devices.pem'), crl_file: crlFile(), from: 'listener' }
    rig = await startRig({
      scheme: 'https',
      apps,
      configuration: { tls: [{ cert_file: certFile, key_file: keyFile }], client_certificate },
    })
  })
  afterAll(async () => {
    await rig?.stop()
    servers?.remove()
  })

  const browserOn = (certificate?: IssuedCertificate) => new Client({ ca, ...(certificate === undefined ? {} : { certificate }) })
  const payroll = () => `${rig.origin('payroll')}/`
  const wiki = () => `${rig.origin('wiki')}/`

  test('the right one opens the app, and none of the wrong ones does; what asks for no device opens with any', async () => {
    const right = browserOn(laptop)
    expect(await rig.signIn(right, 'alice', payroll())).toMatchObject({ status: 200 })
    for (const [what, certificate] of Object.entries(await wrongOnes())) {
      // A key that is not the certificate's cannot make a handshake at all; no server has to refuse it.
      if (what === 'self-signed') continue
      const browser = browserOn(certificate)
      expect([what, (await rig.signIn(browser, 'alice', payroll())).status]).toEqual([what, 403])
      expect([what, (await browser.follow(wiki())).status]).toEqual([what, 200])
    }
  })

  test('a session stays on its device, on every host where a certificate is asked for', async () => {
    const browser = browserOn(laptop)
    await rig.signIn(browser, 'alice', payroll())
    expect((await browser.follow(wiki())).status).toBe(200)
    const other = await devices.issue({ commonName: 'laptop-9' })
    for (const elsewhere of [undefined, other, lost]) {
      browser.certificate = elsewhere
      const answer = await browser.send(payroll())
      expect([answer.status, answer.header('x-postern')]).toEqual([403, 'device_changed'])
      const portal = await browser.send(`${rig.origin('access')}/`)
      expect([portal.status, portal.header('x-postern')]).toEqual([403, 'device_changed'])
      const whoami = await browser.send(`${rig.origin('payroll')}/.postern/whoami`, { as: 'fetch' })
      expect(whoami.status).toBe(403)
      // No hand-off for a cookie that was carried away: the provider is asked who this is.
      const start = await browser.send(`${rig.origin('access')}/sign-in`)
      expect(start.header('location')).toContain(rig.issuer)
    }
    browser.certificate = laptop
    expect((await browser.send(payroll())).status).toBe(200)
    expect((await browser.send(`${rig.origin('access')}/`)).status).toBe(200)
  })

  test('a sign-in on another device begins another session and ends the one that was carried there', async () => {
    const browser = browserOn(laptop)
    await rig.signIn(browser, 'alice', payroll())
    const before = browser.cookie('__Host-postern', 'access.corp.localhost')
    browser.certificate = await devices.issue({ commonName: 'laptop-9' })
    browser.forget('__Host-postern-app', 'payroll.corp.localhost')
    expect((await rig.signIn(browser, 'alice', payroll())).status).toBe(200)
    expect(browser.cookie('__Host-postern', 'access.corp.localhost')).not.toBe(before)
    const ends = (await rig.audit()).filter(({ event, cause }) => event === 'session.ended' && cause === 'replaced')
    expect(ends.length).toBeGreaterThan(0)
  })

  test('a list that comes while a connection is open counts on that connection', async () => {
    const device = await devices.issue({ commonName: 'laptop-10' })
    const browser = browserOn(device)
    await rig.signIn(browser, 'alice', payroll())
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    const ask = () =>
      new Promise<{ status: number; isReused: boolean }>((resolve, reject) => {
        const { hostname, port, host } = new URL(payroll())
        const headers = { host, cookie: browser.cookieHeader(payroll()) }
        const options = { host: '127.0.0.1', servername: hostname, port, headers, agent, ca, cert: device.cert, key: device.key }
        const outgoing = httpsRequest(options, (response) => {
          response.resume().on('end', () => resolve({ status: response.statusCode ?? 0, isReused: outgoing.reusedSocket }))
        })
        outgoing.on('error', reject).end()
      })
    expect((await ask()).status).toBe(200)
    await publish(crlFile(), [lost, device])
    await waitFor(async () => (await ask()).status === 403, 10_000)
    expect(await ask()).toEqual({ status: 403, isReused: true })
    agent.destroy()
    expect((await browser.send(payroll())).status).toBe(403)
  })
})

test('a real browser that has no certificate gets through to the sign-in on hosts that ask and on hosts that do not', async () => {
  const servers = createTestAuthority()
  const { certFile, keyFile } = servers.issue(['access', 'payroll', 'wiki'].map((name) => `DNS:${name}.corp.localhost`).join(','))
  const client_certificate = { ca_file: join(folder, 'devices.pem') }
  const configuration = { tls: [{ cert_file: certFile, key_file: keyFile }], client_certificate }
  const rig = await startRig({ scheme: 'https', apps, configuration })
  const browser = await launchBrowser()
  try {
    const context = await browser.newContext({ ignoreHTTPSErrors: true })
    for (const id of ['payroll', 'wiki', 'access']) {
      const page = await context.newPage()
      const answer = await page.goto(`${rig.origin(id)}/`)
      expect([id, answer?.status(), new URL(page.url()).origin]).toEqual([id, 200, rig.issuer])
    }
  } finally {
    await browser.close()
    await rig.stop()
    servers.remove()
  }
})

describe.each(['client_cert', 'xfcc'] as const)('handed on by a proxy as %s', (from) => {
  let trusting: Rig
  let suspicious: Rig

  beforeAll(async () => {
    const crlFile = join(folder, `${from}.crl`)
    await publish(crlFile, [lost])
    const client_certificate = { ca_file: join(folder, 'devices.pem'), crl_file: crlFile, from }
    trusting = await startRig({ apps, configuration: { client_certificate, trusted_proxies: ['127.0.0.0/8'] } })
    suspicious = await startRig({ apps, configuration: { client_certificate, trusted_proxies: ['192.0.2.0/24'] } })
  })
  afterAll(async () => {
    await trusting?.stop()
    await suspicious?.stop()
  })

  const headerOf = (certificate: IssuedCertificate): Record<string, string> =>
    from === 'xfcc'
      ? { 'x-forwarded-client-cert': `By=spiffe://corp/proxy;Cert="${encodeURIComponent(certificate.cert)}";Subject="CN=\\"x\\""` }
      : { 'client-cert': `:${certificate.der.toString('base64')}:` }

  /** Everything that this browser sends goes through the proxy, which adds what it saw. */
  function browserBehindProxy(shown: { current: IssuedCertificate | undefined }): Client {
    const browser = new Client()
    const { send } = browser
    browser.send = (url, wish = {}) => {
      const added = shown.current === undefined ? {} : headerOf(shown.current)
      return send.call(browser, url, { ...wish, headers: { ...wish.headers, ...added } })
    }
    return browser
  }

  test('the right one opens the app, no wrong one does, and a session stays on its device everywhere', async () => {
    const shown: { current: IssuedCertificate | undefined } = { current: laptop }
    const browser = browserBehindProxy(shown)
    expect((await trusting.signIn(browser, 'alice', `${trusting.origin('payroll')}/`)).status).toBe(200)
    expect((await browser.follow(`${trusting.origin('wiki')}/`)).status).toBe(200)
    for (const [what, certificate] of Object.entries(await wrongOnes())) {
      shown.current = certificate
      // Behind a proxy it can be seen on every host.
      for (const id of ['payroll', 'wiki']) {
        const answer = await browser.send(`${trusting.origin(id)}/`)
        expect([what, id, answer.status, answer.header('x-postern')]).toEqual([what, id, 403, 'device_changed'])
      }
      const fresh = browserBehindProxy(shown)
      expect([what, (await trusting.signIn(fresh, 'alice', `${trusting.origin('payroll')}/`)).status]).toEqual([what, 403])
    }
    const seen = [...trusting.upstream('payroll').requests(), ...trusting.upstream('wiki').requests()]
    expect(seen.length).toBeGreaterThan(0)
    const names = seen.flatMap(({ headers }) => headers.map(([name]) => name.toLowerCase()))
    expect(names.filter((name) => name.includes('client-cert'))).toEqual([])
  })

  test('two of them, or one that is broken, are none', async () => {
    const browser = browserBehindProxy({ current: laptop })
    await trusting.signIn(browser, 'alice', `${trusting.origin('payroll')}/`)
    const [[name = '', value = ''] = []] = Object.entries(headerOf(laptop))
    for (const broken of from === 'xfcc' ? [`${value},Hash=00`, `${value};Cert=x`, '"'] : [`${value}, ${value}`, value.slice(1), '::']) {
      const cookie = browser.cookieHeader(`${trusting.origin('payroll')}/`)
      const answer = await new Client().send(`${trusting.origin('payroll')}/`, { headers: { cookie, [name]: broken } })
      expect([broken.slice(-9), answer.status]).toEqual([broken.slice(-9), 403])
    }
  })

  test('one that a client wrote itself says nothing and goes nowhere', async () => {
    const browser = browserBehindProxy({ current: laptop })
    expect((await suspicious.signIn(browser, 'alice', `${suspicious.origin('payroll')}/`)).status).toBe(403)
    expect((await browser.follow(`${suspicious.origin('wiki')}/`)).status).toBe(200)
    const seen = suspicious.upstream('wiki').requests()
    expect(seen.length).toBeGreaterThan(0)
    expect(seen.flatMap(({ headers }) => headers).filter(([name]) => /client.?cert/i.test(name))).toEqual([])
    expect(suspicious.upstream('payroll').requests()).toEqual([])
  })
})
