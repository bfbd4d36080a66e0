/** The sockets themselves: TLS with several certificates, redirects, drain. */

import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect as connectTcp } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect, type TLSSocket } from 'node:tls'
import { afterEach, beforeAll, describe, expect, test } from 'vitest'
import { type FlowRig, type FlowRigOptions, get, isComplete, parseAnswer, startFlow } from './enforcement.fixture.ts'
import { connectRaw } from './forwarding.fixture.ts'

const rigs: FlowRig[] = []
const folder = mkdtempSync(join(tmpdir(), 'postern-tls-'))
afterEach(async () => {
  for (const rig of rigs.splice(0)) await rig.close()
})

async function begin(options: FlowRigOptions = {}): Promise<FlowRig> {
  const rig = await startFlow(options)
  rigs.push(rig)
  return rig
}

function makeCertificate(name: string, hostname: string, file = name) {
  const files = { certFile: join(folder, `${file}.pem`), keyFile: join(folder, `${file}.key`) }
  const subject = ['-subj', `/CN=${name}`, '-addext', `subjectAltName=DNS:${hostname}`]
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
  execFileSync('openssl', ['req', '-x509', ...key, ...subject, '-days', '2', '-out', files.certFile, '-keyout', files.keyFile], {
    stdio: 'ignore',
  })
  return files
}

/** Which certificate a client that asks for `servername` is shown. */
async function shownCertificate(port: number, servername: string | undefined, options = {}): Promise<string> {
  const socket = connect({
    port,
    host: '127.0.0.1',
    rejectUnauthorized: false,
    ...(servername === undefined ? {} : { servername }),
    ...options,
  })
  return await new Promise((resolve, reject) => {
    socket.once('error', reject)
    socket.once('secureConnect', () => {
      resolve(String(socket.getPeerCertificate().subject?.CN))
      socket.destroy()
    })
  })
}

function askOver(socket: TLSSocket, raw: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = ''
    socket.once('error', reject)
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1')
      if (isComplete(text)) resolve(text)
    })
    socket.write(raw)
  })
}

describe('TLS', () => {
  let first: ReturnType<typeof makeCertificate>
  let second: ReturnType<typeof makeCertificate>
  beforeAll(() => {
    first = makeCertificate('first', '*.corp.example')
    second = makeCertificate('second', 'wiki.other.example')
    return () => rmSync(folder, { recursive: true, force: true })
  })

  test('shows the certificate of the name that is asked for, and the first to everybody else', async () => {
    const rig = await begin({ listener: { tls: [first, second] } })
    expect(await shownCertificate(rig.port, 'wiki.corp.example')).toBe('first')
    expect(await shownCertificate(rig.port, 'wiki.other.example')).toBe('second')
    expect(await shownCertificate(rig.port, 'WIKI.OTHER.EXAMPLE')).toBe('second')
    expect(await shownCertificate(rig.port, 'unknown.example')).toBe('first')
    expect(await shownCertificate(rig.port, undefined)).toBe('first')
    expect(await shownCertificate(rig.port, 'a..b')).toBe('first')
    expect(await shownCertificate(rig.port, 'a'.repeat(250))).toBe('first')
  })

  test('carries requests, and SNI chooses no app', async () => {
    const rig = await begin({ listener: { tls: [first, second] }, settings: { hstsSeconds: 31_536_000 } })
    const socket = connect({
      port: rig.port,
      host: '127.0.0.1',
      rejectUnauthorized: false,
      servername: 'wiki.other.example',
      ALPNProtocols: ['h2', 'http/1.1'],
    })
    const answer = parseAnswer(await askOver(socket, get('/public/x')))
    expect(answer.status).toBe(200)
    expect(answer.headers['strict-transport-security']).toBe('max-age=31536000')
    expect(socket.alpnProtocol).toBe('http/1.1')
    socket.destroy()
  })

  test('below 1.2 is not spoken', async () => {
    const rig = await begin({ listener: { tls: [first] } })
    await expect(
      shownCertificate(rig.port, undefined, { maxVersion: 'TLSv1.1', minVersion: 'TLSv1', ciphers: 'DEFAULT@SECLEVEL=0' }),
    ).rejects.toThrow()
    expect(await shownCertificate(rig.port, undefined, { maxVersion: 'TLSv1.2' })).toBe('first')
  })

  test('survives what is no TLS, and goes on', async () => {
    const rig = await begin({ listener: { tls: [first] } })
    const client = await connectRaw(rig.port)
    client.send('GET / HTTP/1.1\r\nHost: wiki.corp.example\r\n\r\n')
    await client.closed
    expect(client.received()).not.toContain('200')
    expect(await shownCertificate(rig.port, undefined)).toBe('first')
    expect(rig.logged).toEqual([])
  })

  test('takes a changed certificate, and keeps the one before where a file is broken', async () => {
    const changing = makeCertificate('before', '*.corp.example', 'changing')
    const rig = await begin({ listener: { tls: [changing, second] } })
    expect(await shownCertificate(rig.port, undefined)).toBe('before')

    writeFileSync(changing.certFile, 'half a certificate')
    rig.listener.reloadCertificates()
    expect(await shownCertificate(rig.port, 'wiki.corp.example')).toBe('before')
    expect(await shownCertificate(rig.port, undefined)).toBe('before')
    expect(rig.logged.filter(({ level }) => level === 'error')).toHaveLength(1)

    makeCertificate('after', '*.corp.example', 'changing')
    rig.listener.reloadCertificates()
    expect(await shownCertificate(rig.port, 'wiki.corp.example')).toBe('after')
    expect(await shownCertificate(rig.port, undefined)).toBe('after')
    expect(await shownCertificate(rig.port, 'wiki.other.example')).toBe('second')
  })

  test('complains of a broken certificate once for each change, however often it looks', async () => {
    const broken = makeCertificate('whole', '*.corp.example', 'broken')
    const rig = await begin({ listener: { tls: [broken] } })
    const complaints = () => rig.logged.filter(({ level }) => level === 'error').length
    const look = () => {
      for (let i = 0; i < 3; i++) rig.listener.reloadCertificates()
    }
    writeFileSync(broken.certFile, 'half')
    look()
    expect(complaints()).toBe(1)
    writeFileSync(broken.certFile, 'another half')
    look()
    expect(complaints()).toBe(2)
    rmSync(broken.certFile)
    look()
    expect(complaints()).toBe(3)
    makeCertificate('mended', '*.corp.example', 'broken')
    look()
    writeFileSync(broken.certFile, 'half')
    look()
    expect(complaints()).toBe(4)
    expect(await shownCertificate(rig.port, undefined)).toBe('mended')
  })

  test('a handshake that is never finished is cut, before and after its first bytes', async () => {
    const rig = await begin({ listener: { tls: [first], handshakeTimeoutMs: 100 } })
    const silent = await rig.connect()
    const slow = await rig.connect()
    // The head of a ClientHello of 512 bytes, of which no more comes.
    slow.send(Buffer.from([22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]))
    await Promise.all([silent.closed, slow.closed])
    expect(await shownCertificate(rig.port, undefined)).toBe('first')
    expect(rig.logged).toEqual([])
  })

  test('closing waits for no handshake', async () => {
    const rig = await begin({ listener: { tls: [first] } })
    const silent = await rig.connect()
    const socket = connect({ port: rig.port, host: '127.0.0.1', rejectUnauthorized: false })
    await askOver(socket, get('/public/x'))
    expect(rig.listener.openConnections()).toBe(2)
    const begunAt = performance.now()
    await rig.listener.close(50)
    expect(performance.now() - begunAt).toBeLessThan(5_000)
    await silent.closed
    await expect.poll(() => rig.listener.openConnections()).toBe(0)
    socket.destroy()
  })

  test('does not start with a key of another certificate', async () => {
    const mixed = { certFile: first.certFile, keyFile: second.keyFile }
    await expect(startFlow({ listener: { tls: [mixed] } })).rejects.toMatchObject({ code: 'configuration_invalid' })
  })
})

describe('http_redirect', () => {
  async function ask(rig: FlowRig, raw: string) {
    const client = await connectRaw(rig.listener.redirectAddress()?.port ?? 0)
    client.send(raw)
    const answer = parseAnswer(await client.until(isComplete))
    client.socket.destroy()
    return answer
  }
  const options = { listener: { httpRedirect: { host: '127.0.0.1', port: 0 } } }

  test.each([
    ['/page?q=1', 'wiki.corp.example', 'https://wiki.corp.example/page?q=1'],
    ['/page', 'WIKI.corp.example.:8080', 'https://wiki.corp.example/page'],
    ['/%2577', 'wiki.corp.example', 'https://wiki.corp.example/%2577'],
    ['//evil.example/x', 'wiki.corp.example', 'https://wiki.corp.example//evil.example/x'],
    ['/sign-in', 'access.corp.example', 'https://access.corp.example/sign-in'],
  ])('sends %s on %s to %s (A10)', async (path, host, location) => {
    const rig = await begin(options)
    expect(
      await ask(
        rig,
        get(path, ['X-Forwarded-Host: evil.example', 'X-Forwarded-Prefix: //evil.example', 'X-Forwarded-Proto: javascript'], host),
      ),
    ).toMatchObject({
      status: 308,
      headers: { location },
    })
  })

  test('sends no HSTS over plain HTTP', async () => {
    const rig = await begin({ ...options, settings: { hstsSeconds: 31_536_000 } })
    for (const raw of [get('/page'), get('/page', [], 'evil.example'), get('/\\')]) {
      expect((await ask(rig, raw)).headers).not.toHaveProperty('strict-transport-security')
    }
  })

  test('knows no host that is not configured, and nothing that is malformed', async () => {
    const rig = await begin(options)
    for (const host of ['evil.example', '127.0.0.1', 'wiki.corp.example.evil.example']) {
      const answer = await ask(rig, get('/', [], host))
      expect([answer.status, answer.headers['location']]).toEqual([404, undefined])
    }
    expect((await ask(rig, get('/', [], 'wiki.corp.example@evil.example'))).status).toBe(400)
    expect((await ask(rig, get('/\\evil.example'))).status).toBe(400)
    expect((await ask(rig, 'CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example\r\n\r\n')).status).toBe(400)
    expect(rig.upstream.received()).toBe('')
  })
})

describe('closing', () => {
  test('lets a request end, says so, and then takes no more', async () => {
    const rig = await begin({ upstreamSays: '' })
    const client = await rig.connect()
    client.send(get('/public/slow'))
    await expect.poll(() => rig.upstream.received()).toContain('/public/slow')
    const idle = await rig.connect()
    const closed = rig.listener.close(10_000)
    await idle.closed
    rig.upstream.connections[0]?.send('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello')
    await client.until((text) => text.endsWith('hello'))
    await client.closed
    await closed
    const late = connectTcp(rig.port, '127.0.0.1')
    await expect(new Promise((resolve, reject) => late.once('connect', resolve).once('error', reject))).rejects.toThrow(/ECONNREFUSED/)
  })

  test('cuts what does not end in time', async () => {
    const rig = await begin({ upstreamSays: '' })
    const client = await rig.connect()
    client.send(get('/public/slow'))
    await expect.poll(() => rig.upstream.received()).toContain('/public/slow')
    await rig.listener.close(50)
    await client.closed
    await expect.poll(() => rig.events.at(-1)).toMatchObject({ event: 'access.ended', outcome: 'client_gone' })
  })
})

test('closing cuts a WebSocket that outlives the drain', async () => {
  const accept = 'Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo='
  const rig = await begin({ upstreamSays: `HTTP/1.1 101 Switching Protocols\r\n${accept}\r\n\r\n` })
  const client = await rig.connect()
  const handshake = ['Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==']
  client.send(get('/public/live', ['Connection: Upgrade', 'Upgrade: websocket', ...handshake]))
  await client.until((text) => text.startsWith('HTTP/1.1 101 '))
  expect(rig.listener.openConnections()).toBe(1)
  await rig.listener.close(50)
  await expect.poll(() => rig.listener.openConnections()).toBe(0)
  await client.closed
  await expect.poll(() => rig.events.at(-1)).toMatchObject({ event: 'access.ended', app: 'wiki' })
})

test('an address that is taken is an error, and nothing else stays bound', async () => {
  const rig = await begin()
  await expect(startFlow({ listener: { listen: { host: '127.0.0.1', port: rig.port } } })).rejects.toMatchObject({ code: 'EADDRINUSE' })
})
