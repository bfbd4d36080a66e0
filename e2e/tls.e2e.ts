/**
 * HTTPS as a browser and as an attacker meet it: certificates by name and replaced while running, cookies that only HTTPS may carry,
 * the way from http://, and what is no TLS at all.
 */

import { randomBytes, X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { attack, mustBeAlive } from './attacks/attack.ts'
import { Client } from './support/client.ts'
import { findFreePort } from './support/free-port.ts'
import { median, settledSockets, socketsBackTo } from './support/process-facts.ts'
import { sendRaw } from './support/raw.ts'
import { type Rig, startRig, waitFor } from './support/rig.ts'
import { createTestAuthority, type TestAuthority } from './support/test-authority.ts'

describe('HTTPS', () => {
  let rig: Rig
  let folder: string
  let authority: TestAuthority
  let ca: string
  let redirectPort: number
  const serials = new Map<string, string>()

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'postern-tls-'))
    authority = createTestAuthority()
    ca = readFileSync(authority.file, 'utf8')
    redirectPort = await findFreePort()
    const tls: object[] = []
    for (const [name, names] of [
      ['access', ['access.corp.localhost', 'wiki.corp.localhost']],
      ['app', ['app.corp.localhost']],
    ] as const) {
      const issued = await install(name, names)
      serials.set(name, issued.serial)
      tls.push({ cert_file: issued.certFile, key_file: issued.keyFile })
    }
    rig = await startRig({
      scheme: 'https',
      configuration: { tls, hsts: '365d', http_redirect: `127.0.0.1:${redirectPort}` },
    })
  })
  afterAll(async () => {
    await rig?.stop()
    authority?.remove()
    await rm(folder, { recursive: true, force: true })
  })

  /** Puts a new certificate where the configuration says, each file replaced whole. */
  async function install(name: string, names: readonly string[]) {
    const issued = authority.issue(names.map((each) => `DNS:${each}`).join(','))
    const certFile = join(folder, `${name}.pem`)
    const keyFile = join(folder, `${name}.key`)
    for (const [file, text] of [
      [keyFile, issued.key],
      [certFile, issued.cert],
    ] as const) {
      await writeFile(`${file}.draft`, text, { mode: 0o600 })
      await rename(`${file}.draft`, file)
    }
    return { certFile, keyFile, serial: new X509Certificate(issued.cert).serialNumber }
  }

  const browser = () => new Client({ ca })

  /** A handshake; the caller destroys the socket. Rejects as the client's TLS library does. */
  async function shake(options: { servername?: string; version?: 'TLSv1.1' | 'TLSv1.2' | 'TLSv1.3' } = {}): Promise<TLSSocket> {
    const { version } = options
    const socket = connectTls({
      host: '127.0.0.1',
      port: rig.port,
      rejectUnauthorized: false,
      ...(options.servername === undefined ? {} : { servername: options.servername }),
      // Without this, today's libraries would refuse to ask for something so old, and the server would not be tested.
      ...(version === undefined ? {} : { minVersion: version, maxVersion: version, ciphers: 'DEFAULT@SECLEVEL=0' }),
    })
    await once(socket, 'secureConnect')
    socket.on('error', () => undefined)
    return socket
  }

  async function serialFor(servername?: string): Promise<string> {
    const socket = await shake(servername === undefined ? {} : { servername })
    const { serialNumber } = socket.getPeerCertificate()
    socket.destroy()
    return serialNumber
  }

  test('a sign-in with hand-off over HTTPS: __Host- cookies with Secure, HSTS, and a trusted certificate on each host', async () => {
    const client = browser()
    const url = `${rig.origin('app')}/ok?x=1`
    const lines: string[] = []
    const begun = await client.send(url)
    lines.push(...[begun.headers['set-cookie'] ?? []].flat())
    const answer = await rig.signIn(client, 'alice', url)
    expect(answer).toMatchObject({ status: 200, url })
    expect(answer.header('strict-transport-security')).toBe('max-age=31536000')
    expect(client.cookie('__Host-postern', 'access.corp.localhost')).toMatch(/^[\w-]{43}$/)
    expect(client.cookie('__Host-postern-app', 'app.corp.localhost')).toMatch(/^[\w-]{43}$/)
    expect(client.cookie('postern', 'access.corp.localhost')).toBeUndefined()
    expect(lines.length).toBeGreaterThan(0)
    for (const line of lines) expect(line).toMatch(/^__Host-postern-login-.*; ?Path=\/.*/)
    for (const line of lines) for (const flag of ['Secure', 'HttpOnly', 'SameSite=Lax']) expect(line).toContain(flag)
    const seen = rig.upstream('app').requests().at(-1)
    expect(seen?.headers.find(([name]) => name.toLowerCase() === 'x-forwarded-proto')?.[1]).toBe('https')
    expect(seen?.headers.some(([name, value]) => name.toLowerCase() === 'cookie' && value.includes('postern'))).toBe(false)
    const portal = await client.send(`${rig.origin('access')}/`)
    expect(portal.status).toBe(200)
    expect(portal.header('strict-transport-security')).toBe('max-age=31536000')
    expect((await client.follow(`${rig.origin('wiki')}/`)).status).toBe(200)
  })

  test('the name that a client asks for chooses the certificate', async () => {
    expect(await serialFor('app.corp.localhost')).toBe(serials.get('app'))
    expect(await serialFor('access.corp.localhost')).toBe(serials.get('access'))
    expect(await serialFor('wiki.corp.localhost')).toBe(serials.get('access'))
    expect(await serialFor('nobody.example')).toBe(serials.get('access'))
    expect(await serialFor()).toBe(serials.get('access'))
  })

  test('TLS 1.1 is refused, 1.2 and 1.3 are not', async () => {
    await expect(shake({ version: 'TLSv1.1' })).rejects.toThrow(/alert protocol version/)
    for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
      const socket = await shake({ version })
      expect(socket.getProtocol()).toBe(version)
      socket.destroy()
    }
  })

  test('plain HTTP is sent to the configured origin, never to what Host says', async () => {
    const ask = async (host: string, line = 'GET /a?b=c HTTP/1.1') => {
      const { text } = await sendRaw(`${line}\r\nHost: ${host}\r\nConnection: close\r\n\r\n`, { port: redirectPort })
      return { status: Number(text.slice(9, 12)), location: /^location: (.*)\r$/im.exec(text)?.[1] }
    }
    expect(await ask('app.corp.localhost')).toEqual({ status: 308, location: `${rig.origin('app')}/a?b=c` })
    expect(await ask(`app.corp.localhost:${redirectPort}`)).toEqual({ status: 308, location: `${rig.origin('app')}/a?b=c` })
    expect(await ask('access.corp.localhost')).toEqual({ status: 308, location: `${rig.origin('access')}/a?b=c` })
    for (const unknown of ['evil.example', 'app.corp.localhost.evil.example', '127.0.0.1'])
      expect(await ask(unknown)).toEqual({ status: 404, location: undefined })
    // An empty segment is for the app's own rules to judge; what counts here is that it stays a path of that origin.
    const { location } = await ask('app.corp.localhost', 'GET //evil.example/ HTTP/1.1')
    expect(location === undefined ? undefined : new URL(location).origin).toBe(rig.origin('app'))
    for (const line of ['GET /\\evil.example HTTP/1.1', 'GET http://evil.example/ HTTP/1.1'])
      expect(await ask('app.corp.localhost', line), line).toEqual({ status: 400, location: undefined })
  })

  test('replaced files are used for new connections without a restart; a broken replacement never is', async () => {
    const { pid } = rig.instance
    const certFile = join(folder, 'app.pem')
    const before = await shake({ servername: 'app.corp.localhost' })
    const renewed = await install('app', ['app.corp.localhost'])
    process.kill(pid, 'SIGHUP')
    await waitFor(async () => (await serialFor('app.corp.localhost')) === renewed.serial, 12_000)
    expect(before.destroyed).toBe(false)
    before.destroy()

    const good = await readFile(certFile)
    const from = rig.instance.log().length
    for (const broken of ['not a certificate', good.subarray(0, good.length / 2), await readFile(join(folder, 'access.pem'))]) {
      await writeFile(certFile, broken)
      const said = rig.instance.log().length
      process.kill(pid, 'SIGHUP')
      await waitFor(() => rig.instance.log().slice(said).includes('cannot be used; the one before stays in use'), 12_000)
      expect(await serialFor('app.corp.localhost')).toBe(renewed.serial)
    }
    expect(rig.instance.log().slice(from)).not.toContain('PRIVATE KEY')

    // Without a signal, as a renewal tool leaves them.
    const last = await install('app', ['app.corp.localhost'])
    await waitFor(async () => (await serialFor('app.corp.localhost')) === last.serial, 20_000)
    expect((await browser().send(`${rig.origin('app')}/public/x`)).status).toBe(200)
    expect(rig.instance.pid).toBe(pid)
  })

  attack('A256', 'DOS', 'TLS garbage, strange names in SNI, plain HTTP to the TLS port', async () => {
    const baseline = await settledSockets(rig.instance.pid)
    const from = rig.instance.log().length
    for (const servername of [
      'unknown.example',
      `${'a'.repeat(63)}.`.repeat(3) + 'b'.repeat(62),
      'a..b',
      '*.corp.localhost',
      'x_y',
      'é.localhost',
    ])
      await shake({ servername }).then(
        (socket) => socket.destroy(),
        () => undefined,
      )
    for (const name of [Buffer.from('a\0b'), Buffer.from([0xff, 0xfe, 0x80]), Buffer.alloc(255, 0x61), Buffer.alloc(0)])
      await sendBytes(clientHello(name))
    for (let round = 0; round < 20; round += 1) await sendBytes(randomBytes(600))
    for (let round = 0; round < 5; round += 1) await sendBytes(Buffer.concat([Buffer.from([22, 3, 1, 2, 0]), randomBytes(512)]))
    const plain = await sendRaw('GET / HTTP/1.1\r\nHost: app.corp.localhost\r\n\r\n', { port: rig.port })
    expect(plain.text).not.toContain('200')
    const reverse = await sendRaw(clientHello(Buffer.from('app.corp.localhost')).toString('latin1'), { port: redirectPort })
    expect(reverse.statuses.every((status) => status === 400)).toBe(true)
    mustBeAlive(rig)
    await socketsBackTo(baseline, rig.instance.pid)
    const lines = rig.instance
      .log()
      .slice(from)
      .split('\n')
      .filter((line) => line !== '')
    expect(lines.length).toBeLessThan(5)
    expect((await browser().send(`${rig.origin('app')}/public/x`)).status).toBe(200)
    return `40 kinds of nonsense, ${lines.length} log lines, no socket left`
  })

  test('A248 DOS 300 connections without a ClientHello, 50 with half of one: others are served, and all are closed in time', async ({
    task,
  }) => {
    const baseline = await settledSockets(rig.instance.pid)
    const sockets: Socket[] = []
    const half = clientHello(Buffer.from('app.corp.localhost'))
    for (let index = 0; index < 350; index += 1) {
      const socket = connect(rig.port, '127.0.0.1').resume()
      socket.on('error', () => undefined)
      await once(socket, 'connect')
      if (index >= 300) socket.write(half.subarray(0, half.length / 2))
      sockets.push(socket)
    }
    const opened = performance.now()
    const times: number[] = []
    for (let round = 0; round < 30; round += 1) {
      const from = performance.now()
      expect((await browser().send(`${rig.origin('app')}/public/x`)).status).toBe(200)
      times.push(performance.now() - from)
    }
    await waitFor(
      () => sockets.every((socket) => socket.destroyed),
      14_000,
      () => 'a connection without a handshake is still open',
    )
    const closedAfter = performance.now() - opened
    await socketsBackTo(baseline, rig.instance.pid)
    mustBeAlive(rig)
    task.meta.outcome = `others served in ${median(times).toFixed(0)} ms, all closed after ${(closedAfter / 1000).toFixed(1)} s`
    console.log(task.meta.outcome)
  }, 60_000)

  /** Sends bytes and waits until the other side hangs up; fails if it answers anything that is not TLS or HTTP 400. */
  async function sendBytes(bytes: Buffer): Promise<void> {
    const answer = await sendRaw(bytes.toString('latin1'), { port: rig.port, quietMs: 100, timeoutMs: 1000 })
    expect(answer.text).not.toContain('HTTP/1.1 2')
  }
})

/** A TLS 1.2 ClientHello whose server name is any bytes at all. */
function clientHello(name: Buffer): Buffer {
  const uint16 = (value: number) => Buffer.from([value >> 8, value & 255])
  const withLength = (bytes: Buffer) => Buffer.concat([uint16(bytes.length), bytes])
  const serverName = Buffer.concat([uint16(0), withLength(withLength(Buffer.concat([Buffer.from([0]), withLength(name)])))])
  const groups = Buffer.concat([uint16(10), withLength(withLength(uint16(23)))])
  const signatures = Buffer.concat([uint16(13), withLength(withLength(uint16(0x0403)))])
  const body = Buffer.concat([
    uint16(0x0303),
    randomBytes(32),
    Buffer.from([0]),
    withLength(uint16(0xc02b)),
    Buffer.from([1, 0]),
    withLength(Buffer.concat([serverName, groups, signatures])),
  ])
  const handshake = Buffer.concat([Buffer.from([1, 0]), uint16(body.length), body])
  return Buffer.concat([Buffer.from([22, 3, 1]), withLength(handshake)])
}
