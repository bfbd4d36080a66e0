/**
 * A listener that asks for client certificates: whom it asks, what it makes of what it is shown, and that the bytes before a handshake
 * cost nobody anything. The certificates come from a test authority; the connections are real TLS.
 */

import { hash } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect as connectTcp, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { createDeviceAuthority, type DeviceAuthority, type IssuedCertificate, usages } from '../../e2e/support/device-authority.ts'
import { createTestAuthority, type TestAuthority, type TestCertificate } from '../../e2e/support/test-authority.ts'
import { type ClientCertificates, createCertificateReader } from '../attributes/client-certificate.ts'
import type { DeviceReader, DeviceReading } from '../attributes/device-facts.ts'
import { compilePolicy } from '../policy/compile.ts'
import type { FactGroup } from '../policy/facts.ts'
import { appWith, documentWith, rule } from '../policy/policy.fixture.ts'
import { browserOrigin, signedInAs, silentLog } from '../session/session.fixture.ts'
import { type FlowRig, get, isComplete, type ParsedAnswer, parseAnswer, startFlow, wiki } from './enforcement.fixture.ts'
import type { Snapshot } from './ports.ts'
import { compileRoutes } from './route-table.ts'

const payroll = 'payroll.corp.example'
const access = 'access.corp.example'
const plain = 'wiki.corp.example'

let folder: string
let servers: TestAuthority
let server: TestCertificate
let devices: DeviceAuthority
let laptop: IssuedCertificate
let lost: IssuedCertificate
const closers: (() => Promise<void> | void)[] = []

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'postern-mtls-'))
  servers = createTestAuthority()
  server = servers.issue('DNS:*.corp.example')
  devices = await createDeviceAuthority()
  laptop = await devices.issue({ commonName: 'laptop-7' })
  lost = await devices.issue({ commonName: 'laptop-8' })
})
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})
afterAll(() => {
  servers.remove()
  rmSync(folder, { recursive: true, force: true })
})

interface AskingRig extends FlowRig {
  readonly certificates: ClientCertificates
  /** Changes the list in force; `others` are further lists. */
  revoke(revoked: readonly IssuedCertificate[], ...others: readonly string[]): Promise<void>
  /** Changes whom to believe. */
  trust(authorities: readonly DeviceAuthority[]): Promise<void>
  /** Which hosts have a rule about devices. */
  askOn(hosts: readonly string[]): void
}

let rigs = 0

/** The wiki has no rule about devices; payroll has. There, whoever shows no certificate that is believed has lost their device. */
async function begin({ listener = {}, settings = {} }: Parameters<typeof startFlow>[0] = {}): Promise<AskingRig> {
  rigs += 1
  const [caFile, crlFile] = [join(folder, `ca-${rigs}.pem`), join(folder, `crl-${rigs}.pem`)]
  writeFileSync(caFile, devices.pem)
  writeFileSync(crlFile, await devices.list([lost]))
  const asked: Parameters<typeof createCertificateReader>[0]['asked'] = new WeakMap()
  const certificates = createCertificateReader({
    settings: { caFile, crlFile, from: 'listener' },
    isTrustedPeer: () => false,
    asked,
    now: () => Date.now(),
    log: silentLog,
  })
  closers.push(() => certificates.close())
  let asking: readonly string[] = [payroll]
  const staff = rule('allow', { kind: 'groups', groups: ['staff'] }, { name: 'staff' })
  const everyone = rule('allow', { kind: 'public' }, { name: 'public', paths: ['/public/**'] })
  const seen: { apps: Parameters<typeof documentWith>[0] } = { apps: [] }
  const rig = await startFlow({
    ports: { devices: readerOver(certificates) },
    settings,
    listener: {
      tls: [server],
      clientCertificates: { authorities: certificates.authorities, asked },
      snapshot: () => snapshotOf(seen.apps, asking),
      ...listener,
    },
  })
  const upstreams = [{ origin: rig.upstream.origin, basePath: '', ca: undefined, serverName: undefined }]
  const address = { origin: `https://${payroll}`, hostname: payroll, port: 443, prefix: '/' }
  seen.apps = [
    { ...wiki(), upstreams },
    { ...appWith([staff, everyone], { ...wiki(), id: 'payroll', name: 'Payroll', address }), rules: [staff, everyone], upstreams },
  ]
  closers.push(() => rig.close())
  return {
    ...rig,
    certificates,
    async revoke(revoked, ...others) {
      writeFileSync(crlFile, [await devices.list(revoked, { thisUpdate: Date.now() }), ...others].join('\n'))
      expect(certificates.reload()).toBe(true)
    },
    async trust(authorities) {
      writeFileSync(caFile, authorities.map(({ pem }) => pem).join(''))
      writeFileSync(crlFile, (await Promise.all(authorities.map((one) => one.list([], { thisUpdate: Date.now() })))).join('\n'))
      expect(certificates.reload()).toBe(true)
    },
    askOn: (hosts) => {
      asking = hosts
    },
  }
}

/** The policy of the rig, in which the rules of some hosts look at the device. */
function snapshotOf(apps: Parameters<typeof documentWith>[0], asking: readonly string[]): Snapshot {
  const document = documentWith(apps)
  const policy = compilePolicy(document)
  const needs: ReadonlySet<FactGroup> = new Set(['device'])
  const asksFor = (id: string) => asking.includes(document.apps.find((app) => app.id === id)?.address.hostname ?? '')
  const changed = new Map([...policy.apps].map(([id, app]) => [id, asksFor(id) ? { ...app, needs } : app]))
  const compiled = { ...policy, apps: changed }
  return { version: document.version, policy: compiled, routes: compileRoutes(document, compiled) }
}

/** Any verified certificate is a device; a bound session wants its own. */
function readerOver(certificates: ClientCertificates): DeviceReader {
  return {
    recall: () => undefined,
    async read(request, session): Promise<DeviceReading> {
      const reading = certificates.recall(request) ?? (await certificates.read(request))
      const shown = reading.state === 'verified' ? reading.certificate : undefined
      const isChanged = session.device !== undefined && certificates.isVisible(request) && shown?.fingerprint !== session.device.certificate
      return {
        device: { known: false, why: 'no_device' },
        isChanged: isChanged || (certificates.isVisible(request) && shown === undefined),
      }
    },
  }
}

interface Client {
  readonly socket: TLSSocket
  ask(path: string, host: string, lines?: readonly string[]): Promise<ParsedAnswer>
}

/** A client that shows this certificate if it is asked, and tells whether it was. */
async function dial(rig: FlowRig, servername: string, shown?: IssuedCertificate, options: ConnectionOptions = {}): Promise<Client> {
  const identity = shown === undefined ? {} : { cert: shown.cert, key: shown.key }
  const socket = connect({ port: rig.port, host: '127.0.0.1', rejectUnauthorized: false, servername, ...identity, ...options })
  closers.push(() => void socket.destroy())
  await once(socket, 'secureConnect')
  socket.on('error', () => undefined)
  return {
    socket,
    ask: (path, host, lines = []) =>
      new Promise((resolve, reject) => {
        let text = ''
        const onData = (chunk: Buffer) => {
          text += chunk.toString('latin1')
          if (!isComplete(text)) return
          socket.off('data', onData)
          resolve(parseAnswer(text))
        }
        socket.on('data', onData)
        socket.once('close', () => reject(new Error(`closed; received ${JSON.stringify(text)}`)))
        socket.write(get(path, lines, host))
      }),
  }
}

/** What a signed-in person gets from payroll over a connection that shows this. */
async function open(rig: AskingRig, shown: IssuedCertificate | undefined, options?: ConnectionOptions): Promise<number> {
  const { cookie } = await rig.signIn('alice', `https://${payroll}`)
  const client = await dial(rig, payroll, shown, options)
  return (await client.ask('/', payroll, [`Cookie: ${cookie}`])).status
}

/** What a handshake under this name asks for: TLS 1.2 writes the CertificateRequest in the clear. `undefined`: for nothing. */
async function requestIn(rig: FlowRig, servername: string | undefined): Promise<string | undefined> {
  const received: Buffer[] = []
  // Between the two, as anybody on the way would be: TLS takes a socket for itself and shows nothing of it.
  const onTheWay = createServer((client) => {
    const onward = connectTcp(rig.port, '127.0.0.1')
    onward.on('data', (chunk) => received.push(chunk))
    onward.pipe(client).pipe(onward)
    for (const one of [client, onward]) one.on('error', () => undefined)
  }).listen(0, '127.0.0.1')
  await once(onTheWay, 'listening')
  const address = onTheWay.address()
  const socket = connect({
    port: typeof address === 'object' ? (address?.port ?? 0) : 0,
    host: '127.0.0.1',
    rejectUnauthorized: false,
    maxVersion: 'TLSv1.2',
    ...(servername === undefined ? {} : { servername }),
  })
  await once(socket, 'secureConnect')
  socket.destroy()
  onTheWay.close()
  return findMessage(Buffer.concat(received), 13)?.toString('latin1')
}

/** A handshake message of this type among TLS records that are not encrypted. */
function findMessage(bytes: Buffer, type: number): Buffer | undefined {
  const contents: Buffer[] = []
  for (let at = 0; bytes[at] === 22; at += 5 + bytes.readUInt16BE(at + 3))
    contents.push(bytes.subarray(at + 5, at + 5 + bytes.readUInt16BE(at + 3)))
  const messages = Buffer.concat(contents)
  for (let at = 0; at + 4 <= messages.length; at += 4 + messages.readUIntBE(at + 1, 3)) {
    if (messages[at] === type) return messages.subarray(at + 4, at + 4 + messages.readUIntBE(at + 1, 3))
    // After ServerHelloDone nothing is readable any more.
    if (messages[at] === 14) return undefined
  }
  return undefined
}

async function isAsked(rig: FlowRig, servername: string | undefined): Promise<boolean> {
  const request = await requestIn(rig, servername)
  // Browsers offer what the named authorities issued; without a name they would offer everything.
  if (request !== undefined) expect(request).toContain('Devices of Corp')
  return request !== undefined
}

describe('a certificate is asked for', () => {
  test('on hosts with a rule about devices and on the access host, by the policy of that moment, and nowhere else', async () => {
    const rig = await begin()
    const seen = async () => [await isAsked(rig, payroll), await isAsked(rig, access), await isAsked(rig, plain)]
    expect(await seen()).toEqual([true, true, false])
    expect(await isAsked(rig, 'PAYROLL.corp.example')).toBe(true)
    expect(await isAsked(rig, 'nobody.example')).toBe(false)
    expect(await isAsked(rig, undefined)).toBe(false)
    rig.askOn([plain])
    expect(await seen()).toEqual([false, true, true])
  })

  test('by nobody where the configuration does not say so', async () => {
    const rig = await startFlow({ listener: { tls: [server] } })
    closers.push(() => rig.close())
    for (const name of [payroll, access, plain]) expect(await isAsked(rig, name)).toBe(false)
  })

  test('only with TLS', async () => {
    const clientCertificates = { authorities: () => devices.pem, asked: new WeakMap() }
    await expect(startFlow({ listener: { tls: [], clientCertificates } })).rejects.toMatchObject({ code: 'configuration_invalid' })
  })
})

describe('what is shown is believed', () => {
  test('from a device of ours, in TLS 1.2 and 1.3', async () => {
    const rig = await begin()
    expect(await open(rig, laptop)).toBe(200)
    expect(await open(rig, laptop, { maxVersion: 'TLSv1.2' })).toBe(200)
  })

  test('with its intermediates, in TLS 1.2 and 1.3', async () => {
    const rig = await begin()
    const middle = await devices.issueAuthority()
    const below = await middle.issue()
    const shown = { ...below, cert: below.cert + middle.pem }
    // The list of the authority in between is missing, so nothing is known of what it took back.
    expect(await open(rig, shown)).toBe(403)
    await rig.revoke([lost], await middle.list([]))
    expect(await open(rig, shown)).toBe(200)
    expect(await open(rig, shown, { maxVersion: 'TLSv1.2' })).toBe(200)
    expect(await open(rig, below)).toBe(403)
    await rig.revoke([lost], await middle.list([below], { thisUpdate: Date.now() }))
    expect(await open(rig, shown)).toBe(403)
  })

  test('from nobody else', async () => {
    const rig = await begin()
    const stranger = await createDeviceAuthority()
    const now = Date.now()
    const wrong: Record<string, IssuedCertificate | undefined> = {
      none: undefined,
      revoked: lost,
      expired: await devices.issue({ notAfter: now - 5000 }),
      'not yet valid': await devices.issue({ notBefore: now + 86_400_000 }),
      'of another authority': await stranger.issue({ commonName: 'laptop-7' }),
      'for servers': await devices.issue({ extendedKeyUsage: [usages.serverAuth] }),
    }
    for (const [what, shown] of Object.entries(wrong)) expect([what, await open(rig, shown)]).toEqual([what, 403])
    expect(rig.events.filter(({ event }) => event === 'access.decided')).not.toHaveLength(0)
  })

  test('until a list revokes it, also on a connection that is open', async () => {
    const rig = await begin()
    const { cookie } = await rig.signIn('alice', `https://${payroll}`)
    const client = await dial(rig, payroll, laptop)
    expect((await client.ask('/', payroll, [`Cookie: ${cookie}`])).status).toBe(200)
    await rig.revoke([lost, laptop])
    expect((await client.ask('/', payroll, [`Cookie: ${cookie}`])).status).toBe(403)
    expect(await open(rig, laptop)).toBe(403)
  })

  test('for the name that it was asked for: another host on that connection is 421 and closes it', async () => {
    const rig = await begin()
    rig.askOn([payroll, plain])
    const { cookie } = await rig.signIn('alice', `https://${payroll}`)
    const elsewhere = await dial(rig, plain, laptop)
    const answer = await elsewhere.ask('/', payroll, [`Cookie: ${cookie}`])
    expect([answer.status, answer.headers['x-postern']]).toEqual([421, 'misdirected_request'])
    expect(answer.headers['connection']).toBe('close')
    rig.askOn([payroll])
    const unasked = await dial(rig, plain, laptop)
    expect((await unasked.ask('/public/x', plain)).status).toBe(200)
    expect((await unasked.ask('/', payroll, [`Cookie: ${cookie}`])).status).toBe(421)
    // A host that became curious since: the connection was not asked, and a new one is.
    const before = await dial(rig, plain, laptop)
    expect((await before.ask('/public/x', plain)).status).toBe(200)
    rig.askOn([payroll, plain])
    expect((await before.ask('/public/x', plain)).status).toBe(421)
    expect(rig.upstream.received()).not.toContain('GET / HTTP')
  })

  test('in every spelling of the host that is the same host', async () => {
    const rig = await begin()
    const { cookie } = await rig.signIn('alice', `https://${payroll}`)
    const client = await dial(rig, payroll, laptop)
    for (const host of [payroll, `${payroll}:443`, `${payroll}.`, payroll.toUpperCase()])
      expect((await client.ask('/', host, [`Cookie: ${cookie}`])).status, host).toBe(200)
  })

  test('never from headers', async () => {
    const rig = await begin()
    const { cookie } = await rig.signIn('alice', `https://${payroll}`)
    const client = await dial(rig, payroll)
    const lines = [
      `Cookie: ${cookie}`,
      `Client-Cert: :${laptop.der.toString('base64')}:`,
      `X-Forwarded-Client-Cert: Cert="${encodeURIComponent(laptop.cert)}"`,
    ]
    expect((await client.ask('/', payroll, lines)).status).toBe(403)
  })
})

describe('a session that began with a certificate', () => {
  test('is refused with another, and with none, wherever one would be seen', async () => {
    const rig = await begin()
    const other = await devices.issue({ commonName: 'laptop-9' })
    const bound = { certificate: hash('sha256', laptop.der), names: ['laptop-7'] }
    const { session } = await rig.sessions.begin(signedInAs('alice'), browserOrigin, undefined, bound)
    const cookieFor = async (origin: string) =>
      `Cookie: ${rig.cookies.nameOf('app', new URL(origin))}=${await rig.sessions.openAppSession(session.id, origin)}`
    const there = await cookieFor(`https://${payroll}`)
    const right = await dial(rig, payroll, laptop)
    expect((await right.ask('/', payroll, [there])).status).toBe(200)
    for (const shown of [other, undefined]) {
      const client = await dial(rig, payroll, shown)
      const answer = await client.ask('/', payroll, [there])
      expect([answer.status, answer.headers['x-postern']]).toEqual([403, 'device_changed'])
    }
    // Where nobody is asked nothing can be seen, and the session goes on.
    const unasked = await dial(rig, plain)
    expect((await unasked.ask('/page', plain, [await cookieFor(`https://${plain}`)])).status).toBe(200)
  })
})

describe('resumption', () => {
  async function sessionOf(rig: FlowRig, servername: string, version: 'TLSv1.2' | 'TLSv1.3', shown?: IssuedCertificate) {
    let ticket: Buffer | undefined
    const client = await dial(rig, servername, shown, { maxVersion: version })
    client.socket.on('session', (session) => {
      ticket = session
    })
    await client.ask('/public/x', servername)
    return ticket ?? client.socket.getSession()
  }

  test.each(['TLSv1.2', 'TLSv1.3'] as const)(
    'of a connection that was asked does not happen with %s: the certificate is shown again',
    async (version) => {
      const rig = await begin()
      const session = await sessionOf(rig, payroll, version, laptop)
      const options = { maxVersion: version, ...(session === undefined ? {} : { session }) }
      const again = await dial(rig, payroll, laptop, options)
      expect(again.socket.isSessionReused()).toBe(false)
      expect(await open(rig, undefined, options)).toBe(403)
      expect(await open(rig, laptop, options)).toBe(200)
      await rig.revoke([laptop])
      expect(await open(rig, laptop, options)).toBe(403)
    },
  )

  test('of a connection that nobody asked goes on as before, and never into one that asks', async () => {
    const rig = await begin()
    const session = await sessionOf(rig, plain, 'TLSv1.3')
    if (session === undefined) throw new Error('the server gave no ticket')
    const again = await dial(rig, plain, undefined, { session })
    expect(again.socket.isSessionReused()).toBe(true)
    const there = await dial(rig, payroll, laptop, { session })
    expect(there.socket.isSessionReused()).toBe(false)
  })
})

describe('before the handshake', () => {
  const helloStart = Buffer.from([22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3])

  function dialRaw(rig: FlowRig, first?: Buffer | string): Promise<Socket> {
    return new Promise((resolve) => {
      const socket = connectTcp(rig.port, '127.0.0.1', () => {
        if (first !== undefined) socket.write(first)
        resolve(socket)
      })
      socket.on('error', () => undefined).resume()
      closers.push(() => void socket.destroy())
    })
  }

  test('what is no TLS is closed at once, and silence and half a hello in time', async () => {
    const rig = await begin({ listener: { handshakeTimeoutMs: 200 } })
    const nonsense = await dialRaw(rig, 'GET / HTTP/1.1\r\nHost: payroll.corp.example\r\n\r\n')
    await once(nonsense, 'close')
    const sockets = [await dialRaw(rig), await dialRaw(rig, helloStart), await dialRaw(rig, Buffer.from([22]))]
    await Promise.all(sockets.map((socket) => once(socket, 'close')))
    await expect.poll(() => rig.listener.openConnections()).toBe(0)
    expect(await open(rig, laptop)).toBe(200)
    expect(rig.logged).toEqual([])
  })

  test('a hello that drips in is waited for, byte by byte', async () => {
    const rig = await begin()
    const socket = connectTcp(rig.port, '127.0.0.1')
    await once(socket, 'connect')
    const write = socket._write.bind(socket)
    socket._write = (chunk: Buffer, encoding, done) => {
      const crumbs = chunk.length > 100 ? [chunk.subarray(0, 1), chunk.subarray(1, 7), chunk.subarray(7, 60), chunk.subarray(60)] : [chunk]
      const next = () => {
        const crumb = crumbs.shift()
        if (crumb === undefined) done()
        else write(crumb, encoding, () => setImmediate(next))
      }
      next()
    }
    const { cookie } = await rig.signIn('alice', `https://${payroll}`)
    const client = await dial(rig, payroll, laptop, { socket })
    expect((await client.ask('/', payroll, [`Cookie: ${cookie}`])).status).toBe(200)
  })

  test('1,000 connections without a hello leave room for others and memory as it was', async () => {
    const rig = await begin({ settings: { limits: limitsWith(1_500) } })
    const before = process.memoryUsage().rss
    const sockets = await Promise.all(Array.from({ length: 1_000 }, (_, index) => dialRaw(rig, index % 2 === 0 ? undefined : helloStart)))
    await expect.poll(() => rig.listener.openConnections()).toBe(1_000)
    const from = performance.now()
    expect(await open(rig, laptop)).toBe(200)
    expect(performance.now() - from).toBeLessThan(2_000)
    expect((process.memoryUsage().rss - before) / 1_000).toBeLessThan(100_000)
    for (const socket of sockets) socket.destroy()
    await expect.poll(() => rig.listener.openConnections()).toBeLessThan(10)
  })

  test('connections beyond the limit are not taken', async () => {
    const rig = await begin({ settings: { limits: limitsWith(3) } })
    const held = await Promise.all([dialRaw(rig), dialRaw(rig), dialRaw(rig)])
    await expect.poll(() => rig.listener.openConnections()).toBe(3)
    await once(await dialRaw(rig, helloStart), 'close')
    expect(held.some(({ destroyed }) => destroyed)).toBe(false)
  })
})

function limitsWith(connections: number) {
  return { headerBytes: 16_384, headers: 100, headerSeconds: 10, requestSeconds: 60, idleSeconds: 10, connections }
}

describe('behind the entrance everything is as without it', () => {
  test.each([payroll, plain])('a slow head on %s is cut', async (host) => {
    const rig = await begin({ settings: { limits: { ...limitsWith(100), headerSeconds: 1, idleSeconds: 1 } } })
    const client = await dial(rig, host, laptop)
    client.socket.write('GET / HTTP/1.1\r\nHost:')
    const [answer] = (await once(client.socket, 'data')) as [Buffer]
    expect(answer.toString('latin1')).toMatch(/^HTTP\/1\.1 408 /)
  })

  test('closing waits for no handshake and for no idle connection', async () => {
    const rig = await begin()
    await dial(rig, payroll, laptop)
    const idle = await dial(rig, plain)
    await idle.ask('/public/x', plain)
    const silent = connectTcp(rig.port, '127.0.0.1').on('error', () => undefined)
    await once(silent, 'connect')
    await expect.poll(() => rig.listener.openConnections()).toBe(3)
    const from = performance.now()
    await rig.listener.close(100)
    expect(performance.now() - from).toBeLessThan(3_000)
    await expect.poll(() => rig.listener.openConnections()).toBe(0)
    silent.destroy()
  })

  test('a WebSocket handshake arrives', async () => {
    const rig = await begin()
    const client = await dial(rig, payroll, laptop)
    const handshake = [
      'Connection: Upgrade',
      'Upgrade: websocket',
      'Sec-WebSocket-Version: 13',
      'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    ]
    const answer = await client.ask('/', payroll, handshake)
    expect(answer.status).toBe(401)
  })

  test('authorities that change are asked for and believed on new connections', async () => {
    const rig = await begin()
    const next = await createDeviceAuthority({ commonName: 'Devices of Tomorrow' })
    expect(await requestIn(rig, payroll)).not.toContain('Devices of Tomorrow')
    await rig.trust([devices, next])
    rig.listener.reloadCertificates()
    expect(await requestIn(rig, payroll)).toContain('Devices of Tomorrow')
    expect(await open(rig, await next.issue())).toBe(200)
    expect(await open(rig, laptop)).toBe(200)
  })
})
