/**
 * Hundreds of WebSockets and event streams through one instance: each gets its messages, closing them leaves nothing behind, and clients
 * that are killed with a reset, at whatever moment, harm nobody.
 */

import { once } from 'node:events'
import { type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http'
import { connect, type Socket } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { Client } from './support/client.ts'
import { readMemory, settledSockets, socketsBackTo } from './support/process-facts.ts'
import { type Rig, startRig, waitFor } from './support/rig.ts'
import { type StreamingUpstream, startStreamingUpstream } from './support/streaming-upstream.ts'

const isLong = (process.env['POSTERN_TEST_LONG'] ?? '') !== ''
const each = isLong ? 500 : 100

/** Connections that a test machine opens at once; more would measure its backlog. */
const atOnce = 50

describe('many connections', () => {
  let rig: Rig
  let upstream: StreamingUpstream
  let cookie: string
  let baseline: number

  beforeAll(async () => {
    upstream = await startStreamingUpstream()
    rig = await startRig({ apps: [{ id: 'app', upstream: upstream.origin, rules: [{ name: 'staff', allow: { groups: ['staff'] } }] }] })
    const client = new Client()
    expect((await rig.signIn(client, 'bob', `${rig.origin('app')}/`)).status).toBe(200)
    cookie = client.cookieHeader(rig.origin('app'))
    baseline = await settledSockets(rig.instance.pid)
  })
  afterAll(async () => {
    await rig?.stop()
    await upstream?.close()
  })

  const host = () => `app.corp.localhost:${rig.port}`

  async function openWebSocket(): Promise<WebSocket> {
    const socket = new WebSocket(`ws://127.0.0.1:${rig.port}/ws`, { headers: { host: host(), cookie, origin: rig.origin('app') } })
    socket.on('error', () => undefined)
    await once(socket, 'open')
    return socket
  }

  async function openStream(): Promise<{ request: ClientRequest; response: IncomingMessage; text: () => string }> {
    const headers = { host: host(), cookie, accept: 'text/event-stream', 'sec-fetch-site': 'same-origin' }
    const request = httpRequest({ host: '127.0.0.1', port: rig.port, path: '/events', agent: false, headers })
    request.on('error', () => undefined)
    request.end()
    const [response] = (await once(request, 'response')) as [IncomingMessage]
    response.on('error', () => undefined)
    let text = ''
    response.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk
    })
    expect(response.statusCode).toBe(200)
    return { request, response, text: () => text }
  }

  async function openMany<T>(count: number, open: (index: number) => Promise<T>): Promise<T[]> {
    const opened: T[] = []
    while (opened.length < count) {
      const group = Math.min(atOnce, count - opened.length)
      opened.push(...(await Promise.all(Array.from({ length: group }, (_, index) => open(opened.length + index)))))
    }
    return opened
  }

  test(`${each} WebSockets and ${each} event streams at once all get their messages, and leave nothing behind`, async () => {
    const before = await readMemory(rig.instance.pid)
    const webSockets = await openMany(each, openWebSocket)
    const streams = await openMany(each, openStream)
    expect(upstream.sockets.size).toBe(each)
    expect(upstream.streams.size).toBe(each)
    const opened = await readMemory(rig.instance.pid)

    const from = performance.now()
    const echoes = webSockets.map(async (socket, index) => {
      socket.send(`hello from ${index}`)
      const [message] = (await once(socket, 'message')) as [Buffer]
      return String(message)
    })
    expect(await Promise.all(echoes)).toEqual(webSockets.map((_, index) => `hello from ${index}`))
    upstream.publish('news for everybody')
    await waitFor(() => streams.every((stream) => stream.text().includes('news for everybody')))
    const tookMs = performance.now() - from
    const after = await readMemory(rig.instance.pid)
    const growth = after.resident - before.resident
    console.log(
      `${each} + ${each}: ${before.resident} MiB before, ${opened.resident} opened, ${after.resident} after messages (peak ${after.peak}); ` +
        `${((growth * 1024) / (2 * each)).toFixed(0)} KiB a connection; all messages in ${tookMs.toFixed(0)} ms`,
    )
    // A bound against leaks of whole buffers, not a budget: that is measured in the benchmark.
    expect(growth).toBeLessThan(80 + each / 5)

    for (const socket of webSockets) socket.close()
    for (const { request } of streams) request.destroy()
    await waitFor(() => upstream.sockets.size === 0 && upstream.streams.size === 0)
    await socketsBackTo(baseline, rig.instance.pid)
  }, 120_000)

  /** A handshake by hand, so that it can be cut anywhere. Resolves once as much as `stage` says has happened. */
  async function handshake(stage: 'half' | 'sent' | 'switched' | 'in_frame'): Promise<Socket> {
    const socket = connect(rig.port, '127.0.0.1')
    socket.on('error', () => undefined)
    await once(socket, 'connect')
    const head =
      `GET /ws HTTP/1.1\r\nHost: ${host()}\r\nCookie: ${cookie}\r\nOrigin: ${rig.origin('app')}\r\nConnection: Upgrade\r\n` +
      'Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n'
    if (stage === 'half') {
      await write(socket, head.slice(0, head.length / 2))
      return socket
    }
    await write(socket, head)
    if (stage === 'sent') return socket
    const [answer] = (await once(socket, 'data')) as [Buffer]
    expect(String(answer)).toMatch(/^HTTP\/1\.1 101 /)
    // The head of a masked text frame of 64 KiB, and a little of its payload.
    if (stage === 'in_frame') await write(socket, Buffer.from([0x81, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]))
    return socket
  }

  for (const [stage, moment] of [
    ['half', 'in the middle of the handshake'],
    ['sent', 'right after the handshake was sent'],
    ['switched', 'right after 101'],
    ['in_frame', 'in the middle of a frame'],
  ] as const) {
    test(`200 clients that are reset ${moment} leave nothing behind and harm nobody`, async () => {
      const pid = rig.instance.pid
      const bystander = await openWebSocket()
      const from = rig.instance.log().length
      await openMany(200, async () => {
        const socket = await handshake(stage)
        socket.resetAndDestroy()
      })
      bystander.send('still here')
      const [message] = (await once(bystander, 'message')) as [Buffer]
      expect(String(message)).toBe('still here')
      bystander.close()
      await waitFor(() => upstream.sockets.size === 0)
      await socketsBackTo(baseline, pid)
      expect(rig.instance.isRunning()).toBe(true)
      expect(rig.instance.pid).toBe(pid)
      expect(rig.instance.log().slice(from)).not.toMatch(/uncaught|MaxListeners|could not be answered/)
    })
  }
})

function write(socket: Socket, bytes: string | Buffer): Promise<void> {
  return new Promise((resolve) => socket.write(bytes, () => resolve()))
}
