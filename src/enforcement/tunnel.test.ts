/**
 * WebSockets through the tunnel, with real endpoints (`ws`) and with raw sockets where bytes matter.
 */

import { createHash } from 'node:crypto'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import type { App } from '../policy/document.ts'
import {
  appFor,
  connectRaw,
  eventually,
  type RawConnection,
  type Rig,
  type RigOptions,
  startRawUpstream,
  startRig,
  startUpstreamSaying,
} from './forwarding.fixture.ts'

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

const key = 'dGhlIHNhbXBsZSBub25jZQ=='
const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
const handshake = (more = '') =>
  `GET /live?room=1 HTTP/1.1\r\nHost: wiki.corp.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\n${more}\r\n`
const switching = (more = '') =>
  `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ${accept}\r\n${more}\r\n`

async function rigFor(origins: readonly string[], changes: Partial<App> = {}, options: RigOptions = {}): Promise<Rig> {
  const rig = await startRig(appFor(origins, changes), options)
  closers.push(rig.close)
  return rig
}

async function connect(rig: Rig): Promise<RawConnection> {
  const client = await connectRaw(rig.port)
  closers.push(() => {
    client.socket.destroy()
  })
  return client
}

async function startEcho(): Promise<{ origin: string; server: WebSocketServer }> {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1' })
  server.on('connection', (socket) => {
    socket.on('error', () => undefined)
    socket.on('message', (message, isBinary) => socket.send(message, { binary: isBinary }))
  })
  await once(server, 'listening')
  closers.push(async () => {
    for (const socket of server.clients) socket.terminate()
    await new Promise((resolve) => server.close(resolve))
  })
  return { origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, server }
}

async function startUpstream(...parameters: Parameters<typeof startRawUpstream>) {
  const upstream = await startRawUpstream(...parameters)
  closers.push(upstream.close)
  return upstream
}

describe('a WebSocket', () => {
  test('carries messages of every size in both directions, and the close of either side', async () => {
    const { origin } = await startEcho()
    const rig = await rigFor([origin])
    const socket = new WebSocket(`ws://127.0.0.1:${rig.port}/live`, { perMessageDeflate: true })
    await once(socket, 'open')
    for (const size of [0, 1, 125, 126, 65_535, 65_536, 3_000_000]) {
      const payload = Buffer.alloc(size, 'é')
      socket.send(payload)
      const [echoed] = (await once(socket, 'message')) as [Buffer]
      expect(echoed.equals(payload)).toBe(true)
    }
    socket.close(1000, 'done')
    expect((await once(socket, 'close'))[0]).toBe(1000)
    expect(await rig.outcome()).toMatchObject({ status: 101, outcome: 'completed', refusal: undefined })
  })

  test('shows the upstream a cleaned handshake with the identity, and the client a cleaned answer', async () => {
    const upstream = await startUpstream((connection) => {
      connection.send(
        switching('Set-Cookie: __Host-postern=x\r\nSet-Cookie: app=1\r\nX-Postern: evil\r\nAlt-Svc: h3\r\nX-Name: J\xfcrgen\r\n'),
      )
    })
    const rig = await rigFor([upstream.origin], {}, { identity: [['X-Forwarded-User', 'alice']] })
    const client = await connect(rig)
    client.send(
      handshake(
        'Cookie: postern=s; theme=dark\r\nX-Forwarded-User: root\r\nX_Forwarded_User: root\r\nOrigin: https://wiki.corp.example\r\n',
      ),
    )
    const answer = await client.until((text) => text.endsWith('\r\n\r\n'))
    const request = upstream.received()
    expect(request).toMatch(/^GET \/live\?room=1 HTTP\/1\.1\r\n/)
    expect(request).toMatch(/cookie: theme=dark\r\n/i)
    expect(request.match(/forwarded[-_]user: .*/gi)).toEqual(['forwarded-user: alice'])
    expect(request).toMatch(/host: wiki\.corp\.example\r\n/i)
    expect(request).toMatch(/sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n/i)
    expect(answer).toMatch(/^HTTP\/1\.1 101 Switching Protocols\r\n/)
    expect(answer).toMatch(/set-cookie: app=1\r\n/i)
    expect(answer).toContain('J\xfcrgen')
    expect(answer).not.toMatch(/__Host-postern|x-postern: |alt-svc/i)
    expect(answer).toMatch(/x-postern-request: request-1/i)
  })

  test('loses no byte that either side sends in one segment with its handshake', async () => {
    const upstream = await startUpstream((connection) => connection.send(`${switching()}\x81\x05first`))
    const rig = await rigFor([upstream.origin])
    const client = await connect(rig)
    client.send(`${handshake()}\x81\x85\x00\x00\x00\x00early`)
    expect(await client.until((text) => text.endsWith('first'))).toContain('\r\n\r\n\x81\x05first')
    await eventually(() => upstream.received().endsWith('early'), 'the early frame')
    expect(upstream.received().split('early')).toHaveLength(2)
  })

  test('gets the early bytes of a client to the upstream that answers, after others could not be reached', async () => {
    const dead = await startUpstream(() => undefined)
    await dead.close()
    const upstream = await startUpstream((connection) => connection.send(switching()))
    const rig = await rigFor([dead.origin, upstream.origin])
    const client = await connect(rig)
    client.send(`${handshake()}\x81\x85\x00\x00\x00\x00early`)
    await client.until((text) => text.includes('101'))
    await eventually(() => upstream.received().endsWith('early'), 'the early frame')
    expect(upstream.received().split('early')).toHaveLength(2)
  })

  test('ends when idle, with a close frame', async () => {
    const { origin } = await startEcho()
    const rig = await rigFor([origin], { timeouts: { connectSeconds: 1, responseSeconds: 5, idleSeconds: 0.3 } })
    const socket = new WebSocket(`ws://127.0.0.1:${rig.port}/live`)
    await once(socket, 'open')
    expect((await once(socket, 'close'))[0]).toBe(1001)
    expect((await rig.outcome()).outcome).toBe('cut')
  })

  test('is not idle while bytes flow in one direction', async () => {
    const { origin, server } = await startEcho()
    server.on('connection', (socket) => {
      const tick = setInterval(() => socket.send('tick'), 50)
      socket.on('close', () => clearInterval(tick))
    })
    const rig = await rigFor([origin], { timeouts: { connectSeconds: 1, responseSeconds: 5, idleSeconds: 0.3 } })
    const socket = new WebSocket(`ws://127.0.0.1:${rig.port}/live`)
    let ticks = 0
    socket.on('message', () => ticks++)
    await eventually(() => ticks > 15, 'more ticks than the idle time has')
    expect(rig.outcomes).toHaveLength(0)
    socket.terminate()
    expect((await rig.outcome()).outcome).toBe('completed')
  })
})

describe('a cut', () => {
  test('says goodbye to a waiting client at once', async () => {
    const { origin } = await startEcho()
    const rig = await rigFor([origin])
    const socket = new WebSocket(`ws://127.0.0.1:${rig.port}/live`)
    await once(socket, 'open')
    const began = performance.now()
    expect(rig.forwarding.cut('request-1', 1008)).toBe(true)
    expect((await once(socket, 'close'))[0]).toBe(1008)
    expect(performance.now() - began).toBeLessThan(800)
    expect(await rig.outcome()).toMatchObject({ status: 101, outcome: 'cut' })
  })

  test('never writes into a frame, however busy the upstream is', async () => {
    const { origin, server } = await startEcho()
    server.on('connection', (socket) => {
      const send = () => {
        if (socket.readyState !== WebSocket.OPEN) return
        socket.send(Buffer.alloc(200_000, 0x88), () => setImmediate(send))
      }
      send()
    })
    const rig = await rigFor([origin])
    for (let i = 1; i <= 5; i++) {
      const socket = new WebSocket(`ws://127.0.0.1:${rig.port}/live`)
      const sizes = new Set<number>()
      socket.on('message', (message: Buffer) => sizes.add(message.length))
      await eventually(() => sizes.size > 0, 'a message')
      rig.forwarding.cut(`request-${i}`, 1008)
      expect((await once(socket, 'close'))[0]).toBe(1008)
      expect([...sizes]).toEqual([200_000])
    }
  })

  test('does not wait for the end of a frame that never comes', async () => {
    const upstream = await startUpstream((connection) => connection.send(`${switching()}\x82\x7f\x40\x00\x00\x00\x00\x00\x00\x00abc`))
    const rig = await rigFor([upstream.origin])
    const client = await connect(rig)
    client.send(handshake())
    await client.until((text) => text.endsWith('abc'))
    const began = performance.now()
    rig.forwarding.cut('request-1', 1008)
    await client.closed
    await upstream.connections[0]?.closed
    expect(performance.now() - began).toBeLessThan(900)
    expect(client.received()).toMatch(/abc$/)
  })

  test('stops what the client sends from reaching the upstream', async () => {
    const upstream = await startUpstream((connection) => connection.send(`${switching()}\x82\x7e\x10`))
    const rig = await rigFor([upstream.origin])
    const client = await connect(rig)
    client.send(handshake())
    await client.until((text) => text.endsWith('\x10'))
    rig.forwarding.cut('request-1', 1008)
    client.send('after the end')
    await client.closed
    expect(upstream.received()).not.toContain('after the end')
  })

  test('of everything leaves nothing open', async () => {
    const { origin } = await startEcho()
    const rig = await rigFor([origin])
    const sockets = await Promise.all(
      Array.from({ length: 20 }, async () => {
        const socket = new WebSocket(`ws://127.0.0.1:${rig.port}/live`)
        await once(socket, 'open')
        return socket
      }),
    )
    const codes = Promise.all(sockets.map(async (socket) => (await once(socket, 'close'))[0]))
    await rig.forwarding.close()
    expect(new Set(await codes)).toEqual(new Set([1001]))
    await rig.outcome(19)
  })
})

describe('an upstream that does not open a WebSocket', () => {
  test.each([
    ['with a length', 'HTTP/1.1 403 Forbidden\r\nContent-Length: 6\r\nX-Postern: evil\r\nSet-Cookie: postern=1\r\n\r\nnot me', 'not me'],
    [
      'in chunks',
      'HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\nX-Postern: evil\r\nSet-Cookie: postern=1\r\n\r\n6\r\nnot me\r\n0\r\n\r\n',
      '0\r\n\r\n',
    ],
  ])('is heard by the client: a plain answer %s, cleaned, and the connection closed', async (_what, bytes, end) => {
    const upstream = await startUpstream((connection) => connection.send(bytes))
    const rig = await rigFor([upstream.origin])
    const client = await connect(rig)
    client.send(handshake())
    await client.closed
    expect(client.received()).toMatch(/^HTTP\/1\.1 403 Forbidden\r\n/)
    expect(client.received()).toMatch(/connection: close/i)
    expect(client.received()).not.toMatch(/x-postern: |postern=1/i)
    expect(client.received()).toContain('not me')
    expect(client.received().endsWith(end)).toBe(true)
    expect(await rig.outcome()).toMatchObject({ status: 403, outcome: 'completed', refusal: undefined })
  })

  test.each([
    ['another protocol', switching().replace('Upgrade: websocket', 'Upgrade: h2c')],
    ['no proof of the key', switching().replace(accept, 'AAAA')],
    ['a subprotocol nobody offered', switching('Sec-WebSocket-Protocol: mqtt\r\n')],
    ['an extension nobody offered', switching('Sec-WebSocket-Extensions: permessage-deflate\r\n')],
    ['nonsense', 'nonsense\r\n\r\n'],
  ])('but %s is refused, and nothing gets through', async (_what, bytes) => {
    const upstream = await startUpstream((connection) => connection.send(bytes))
    const rig = await rigFor([upstream.origin])
    const client = await connect(rig)
    client.send(`${handshake('Sec-WebSocket-Protocol: chat, json\r\n')}GET /secret HTTP/1.1\r\n\r\n`)
    await client.closed
    expect(client.received()).toMatch(/^HTTP\/1\.1 502 /)
    expect(await rig.outcome()).toMatchObject({ outcome: 'upstream_failed', refusal: 'upstream_protocol_error' })
    await upstream.connections[0]?.closed
    expect(upstream.received()).not.toContain('/secret')
  })

  test('by refusing the connection is 502, by silence 504', async () => {
    const dead = await startUpstreamSaying('')
    await dead.close()
    const silent = await startUpstream(() => undefined)
    for (const [origin, status] of [
      [dead.origin, 502],
      [silent.origin, 504],
    ] as const) {
      const rig = await rigFor([origin], { timeouts: { connectSeconds: 0.1, responseSeconds: 0.2, idleSeconds: 5 } })
      const client = await connect(rig)
      client.send(handshake())
      expect(await client.until((text) => text.endsWith('\r\n\r\n'))).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `))
      await client.closed
    }
    await silent.connections[0]?.closed
  })

  test('at an address that no upstream may have is not asked', async () => {
    const rig = await rigFor(['http://169.254.169.254'])
    const client = await connect(rig)
    client.send(handshake())
    expect(await client.until((text) => text.endsWith('\r\n\r\n'))).toMatch(/^HTTP\/1\.1 502 /)
  })
})

describe('storms', () => {
  test.each(['before the answer', 'as it is answered', 'within a frame'])('of 100 resets %s leave nothing behind', async (when) => {
    const upstream = await startUpstream((connection) => {
      if (when !== 'before the answer') connection.send(switching())
    })
    const rig = await rigFor([upstream.origin])
    const clients = await Promise.all(Array.from({ length: 100 }, () => connect(rig)))
    for (const client of clients) client.send(handshake())
    if (when === 'within a frame') {
      await Promise.all(clients.map((client) => client.until((text) => text.endsWith('\r\n\r\n'))))
      for (const client of clients) client.send('\x81\xfe\x10\x00half')
    } else await eventually(() => upstream.connections.length === 100, 'all handshakes')
    for (const client of clients) client.socket.resetAndDestroy()
    await rig.outcome(99)
    await Promise.all(upstream.connections.map((connection) => connection.closed))
    expect(rig.forwarding.cut('request-1', 1001)).toBe(false)
  })

  test('of an upstream that dies under 100 open ones end every client', async () => {
    const upstream = await startUpstream((connection) => connection.send(switching()))
    const rig = await rigFor([upstream.origin])
    const clients = await Promise.all(Array.from({ length: 100 }, () => connect(rig)))
    for (const client of clients) client.send(handshake())
    await Promise.all(clients.map((client) => client.until((text) => text.endsWith('\r\n\r\n'))))
    for (const connection of upstream.connections) connection.socket.resetAndDestroy()
    await Promise.all(clients.map((client) => client.closed))
    await rig.outcome(99)
    expect(new Set(rig.outcomes.map(({ outcome }) => outcome))).toEqual(new Set(['upstream_failed']))
  })

  test('of 500 sockets bring the process back to where it was', async () => {
    const { origin } = await startEcho()
    const rig = await rigFor([origin])
    const handles = () => process.getActiveResourcesInfo().filter((kind) => /TCPSocketWrap|Timeout/.test(kind)).length
    const before = handles()
    const sockets = Array.from({ length: 500 }, () => new WebSocket(`ws://127.0.0.1:${rig.port}/live`))
    await Promise.all(sockets.map((socket) => once(socket, 'open')))
    await Promise.all(
      sockets.map(async (socket, index) => {
        socket.send(String(index))
        expect(String((await once(socket, 'message'))[0])).toBe(String(index))
      }),
    )
    for (const socket of sockets) socket.terminate()
    await rig.outcome(499)
    await eventually(() => handles() <= before + 2, 'all sockets and timers gone')
  })
})
