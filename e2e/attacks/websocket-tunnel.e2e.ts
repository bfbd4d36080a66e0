/**
 * What goes through a WebSocket, and what becomes of one whose ends misbehave: frames that no library would send, ends that die at the worst
 * moment or fall silent, bytes that share a segment with a handshake.
 *
 * Safe: bytes arrive as they were sent, once and in order; memory stays what it was; whatever dies is noticed and leaves nothing behind. Clients that
 * are reset at each stage by the hundred are in `many-connections.e2e.ts`.
 */

import { randomBytes } from 'node:crypto'
import type { Socket } from 'node:net'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect } from 'vitest'
import { type BlackHoleClient, startBlackHoleClient } from '../support/black-hole.ts'
import { Client } from '../support/client.ts'
import { findFreePort } from '../support/free-port.ts'
import { forgetPeak, readMemory, readProbeTimer, settledSockets, socketsBackTo } from '../support/process-facts.ts'
import { sendRaw } from '../support/raw.ts'
import { inGroups, pour, push, startTunnelUpstream, type TunnelUpstream } from '../support/raw-tunnel.ts'
import { frame, type Handshake, handshakeHead, openRaw, openRawStream, openRawWebSocket, readFrames } from '../support/raw-websocket.ts'
import { type Rig, startRig, waitFor } from '../support/rig.ts'
import { type StreamingUpstream, startStreamingUpstream } from '../support/streaming-upstream.ts'
import { attack, endRig, mustBeAlive } from './attack.ts'

const isLong = (process.env['POSTERN_TEST_LONG'] ?? '') !== ''
const fragments = isLong ? 10_000_000 : 300_000
/** Of all those fragments. */
const passes = 6
const splits = isLong ? 10_000 : 2_000
const killed = isLong ? 500 : 100
/** What memory may grow by, in MiB. */
const allowedGrowth = 50
/** When a silent end has to be found at the latest. */
const longestSilenceMs = 60_000

describe('tunnels', () => {
  let rig: Rig
  let upstream: TunnelUpstream
  let streaming: StreamingUpstream
  let cookie: string
  let wikiCookie: string
  let baseline: number
  let blackHole: BlackHoleClient | undefined
  /** The upstream side of that client's tunnel. */
  let swallowed: Socket | undefined
  let swallowedAt = Number.NaN
  let noticed: Promise<number>

  beforeAll(async () => {
    upstream = await startTunnelUpstream()
    streaming = await startStreamingUpstream()
    const rules = [{ name: 'staff', allow: { groups: ['staff'] } }]
    rig = await startRig({
      apps: [
        { id: 'app', upstream: upstream.origin, rules },
        { id: 'wiki', upstream: streaming.origin, rules },
      ],
      // Whoever is in another network namespace comes from outside.
      configuration: { listen: `0.0.0.0:${await findFreePort()}` },
    })
    const client = new Client()
    client.detours.set(rig.port, rig.instance.port)
    expect((await rig.signIn(client, 'bob', `${rig.origin('wiki')}/ok`)).status).toBe(200)
    // The upstream of tunnels has a 101 for whatever it is asked: the cookie is all that is wanted there.
    expect((await client.follow(`${rig.origin('app')}/ok`)).status).toBe(502)
    cookie = client.cookieHeader(rig.origin('app'))
    wikiCookie = client.cookieHeader(rig.origin('wiki'))
    baseline = await settledSockets(rig.instance.pid)
    await beginBlackHole()
  })
  afterAll(async () => {
    await blackHole?.stop()
    await endRig(rig)
    await upstream?.close()
    await streaming?.close()
  })
  beforeEach(() => {
    upstream.glue = () => Buffer.alloc(0)
    upstream.accept = (socket, answer) => socket.write(answer)
    upstream.end = (socket) => socket.resume()
  })
  afterEach(() => mustBeAlive(rig))

  const wish = (app: 'app' | 'wiki' = 'app', path = '/ws', more: readonly string[] = []): Handshake => ({
    port: rig.instance.port,
    host: new URL(rig.origin(app)).host,
    path,
    lines: [`Cookie: ${app === 'app' ? cookie : wikiCookie}`, `Origin: ${rig.origin(app)}`, ...more],
  })

  /** It takes half a minute, during which the other cases run. */
  async function beginBlackHole(): Promise<void> {
    upstream.end = (socket) => {
      swallowed = socket.resume()
    }
    blackHole = await startBlackHoleClient(rig.instance.port, handshakeHead(wish()))
    if (blackHole === undefined) return
    const { heard, swallow } = blackHole
    await waitFor(
      () => heard().includes(' 101 ') && swallowed !== undefined,
      10_000,
      () => `no tunnel: ${heard()}`,
    )
    baseline += 2
    await swallow()
    swallowedAt = performance.now()
    noticed = new Promise((resolve) => swallowed?.once('close', () => resolve(performance.now())))
  }

  /** What `run` made the instance grow by at its highest, in MiB. */
  async function growthOver(run: () => Promise<void>): Promise<number> {
    const { pid } = rig.instance
    const before = await readMemory(pid)
    await forgetPeak(pid)
    await run()
    return (await readMemory(pid)).peak - before.resident
  }

  attack('A178', 'WS', `${fragments.toLocaleString('en')} fragments of one byte each way`, async () => {
    const block = 10_000
    const up = Buffer.concat(Array.from({ length: block }, () => frame('x', { opcode: 0, isFinal: false })))
    const down = Buffer.concat(Array.from({ length: block }, () => frame('y', { opcode: 0, isFinal: false, isMasked: false })))
    const rounds = fragments / block
    let arrivedUp = 0
    upstream.end = (socket) => {
      socket.on('data', (chunk: Buffer) => {
        arrivedUp += chunk.length
      })
      void pour(socket, down, rounds)
    }
    const pass = async () => {
      arrivedUp = 0
      const socket = await openCounting(wish())
      await pour(socket, up, rounds)
      await waitFor(() => arrivedUp >= rounds * up.length, 400_000)
      expect(arrivedUp).toBe(rounds * up.length)
      await waitFor(() => counted.get(socket) === rounds * down.length, 400_000)
      socket.destroy()
    }
    // The tide of the collector rises with the first bytes and then no more; what fragments leave behind would come again with each of them.
    const tide = await growthOver(async () => {
      for (let times = 1; times < passes; times += 1) await pass()
    })
    const { peak } = await readMemory(rig.instance.pid)
    await pass()
    const growth = (await readMemory(rig.instance.pid)).peak - peak
    expect(growth).toBeLessThan(allowedGrowth)
    return `all ${rounds * up.length} and ${rounds * down.length} bytes arrived, ${passes} times; memory grew by ${tide} MiB, the last time by ${growth}`
  })

  /** Bytes of frames that came to a client that keeps none of them. */
  const counted = new WeakMap<Socket, number>()
  async function openCounting(to: Handshake): Promise<Socket> {
    const { received, socket } = await openRawWebSocket(to)
    socket.removeAllListeners('data')
    counted.set(socket, received().length)
    socket.on('data', (chunk: Buffer) => counted.set(socket, (counted.get(socket) ?? 0) + chunk.length))
    return socket
  }

  attack('A178b', 'WS', 'a frame of 2^62 bytes that nobody reads, either way', async () => {
    const header = frame('', { opcode: 2, claimedBytes: 2n ** 62n })
    const downHeader = frame('', { opcode: 2, claimedBytes: 2n ** 62n, isMasked: false })
    const block = Buffer.alloc(1024 * 1024, 7)
    const most = 256
    let down = 0
    let other: Socket | undefined
    upstream.end = (socket) => {
      other = socket.pause()
      socket.write(downHeader)
    }
    const growth = await growthOver(async () => {
      const { socket } = await openRawWebSocket(wish())
      socket.pause()
      socket.write(header)
      const [up, downwards] = await Promise.all([push(socket, block, most), other === undefined ? 0 : push(other, block, most)])
      down = downwards
      expect(Math.max(up, down), 'nothing held the sender back').toBeLessThan(most)
      socket.resetAndDestroy()
    })
    expect(growth).toBeLessThan(allowedGrowth)
    await waitFor(() => other?.destroyed === true)
    return `senders held back (${down} MiB taken by sockets and kernels); memory grew by ${growth} MiB`
  })
  attack('A178c', 'WS', 'frames that a WebSocket library refuses: unmasked, and of 2^62 bytes', async () => {
    const outcomes: string[] = []
    for (const [what, bytes, code] of [
      ['unmasked', frame('hello', { isMasked: false }), 1002],
      ['2^62 bytes', frame('', { claimedBytes: 2n ** 62n }), 1009],
      ['a fragment of nothing', frame('x', { opcode: 0 }), 1002],
      ['a reserved opcode', frame('x', { opcode: 3 }), 1002],
    ] as const) {
      const connection = await openRawWebSocket(wish('wiki'))
      connection.socket.write(bytes)
      await waitFor(() => connection.closedAt !== undefined)
      expect(readFrames(connection.received()), what).toEqual({ closeCode: code, count: 0, bytesAfterClose: 0 })
      outcomes.push(`${what}: ${code}`)
    }
    return `passed on to the upstream, and its answer back: ${outcomes.join(', ')}`
  })
  attack('A178d', 'WS', 'handshakes with 2,000 headers', async () => {
    const before = upstream.count()
    const many = Array.from({ length: 2_000 }, (_, index) => `X-H${index}: ${index}`)
    const statuses = new Set<number>()
    const growth = await growthOver(async () => {
      for (let round = 0; round < 50; round += 1) {
        const answer = await sendRaw(handshakeHead(wish('app', '/ws', many)), { port: rig.instance.port })
        expect(answer.closed).toBe(true)
        for (const status of answer.statuses) statuses.add(status)
      }
    })
    expect([...statuses]).toEqual([431])
    expect(upstream.count()).toBe(before)
    expect(growth).toBeLessThan(allowedGrowth)
    return `50 × 431, none reached the upstream; memory grew by ${growth} MiB`
  })

  attack('A179', 'WS', `an upstream that dies under ${killed} tunnels, at each stage`, async () => {
    const outcomes: string[] = []
    for (const stage of ['before its answer', 'right after its 101', 'within a frame'] as const) {
      const from = rig.instance.log().length
      const reached = upstream.count()
      upstream.accept = (socket, answer) => {
        if (stage === 'before its answer') socket.resetAndDestroy()
        else socket.write(answer)
      }
      upstream.end = (socket) => {
        if (stage === 'within a frame') socket.write(frame('x'.repeat(1000), { isMasked: false, claimedBytes: 100_000n }))
        socket.resume()
      }
      const statuses: string[] = []
      const clients: Socket[] = []
      await inGroups(killed, 50, async () => {
        const opened = openRawWebSocket(wish())
        if (stage === 'before its answer') {
          const refused = await opened.then(
            () => 'opened',
            (error: Error) => /HTTP\/1\.1 (\d+)/.exec(error.message)?.[1] ?? 'closed',
          )
          statuses.push(refused)
          return
        }
        const { socket } = await opened
        if (stage === 'within a frame') await waitFor(() => socket.bytesRead > 1000)
        clients.push(socket)
      })
      expect(upstream.count()).toBe(reached + killed)
      for (const socket of upstream.sockets) if (socket !== swallowed) socket.resetAndDestroy()
      await waitFor(() => clients.every((socket) => socket.destroyed))
      await socketsBackTo(baseline, rig.instance.pid)
      expect(rig.instance.log().slice(from)).not.toMatch(/uncaught|unhandled|MaxListeners|could not be answered/)
      if (stage === 'before its answer') expect(new Set(statuses)).toEqual(new Set(['502']))
      outcomes.push(stage)
    }
    return `${outcomes.join(', ')}: every socket is back, no uncaught error`
  })
  attack('A181', 'WS', `frames in one segment with the handshake, both ways, split anywhere, ${splits} times`, async () => {
    const seen = new Map<string, Buffer[]>()
    const expectedUp = new Map<string, Buffer>()
    const frames = (isMasked: boolean) =>
      Buffer.concat(Array.from({ length: 1 + random(4) }, () => frame(randomBytes(random(700)), { opcode: 2, isMasked })))
    const glued = new Map<string, Buffer>()
    const later = new Map<string, Buffer>()
    upstream.glue = (path) => glued.get(path) ?? Buffer.alloc(0)
    upstream.end = (socket, path, unread) => {
      const chunks = [unread]
      seen.set(path, chunks)
      const wanted = expectedUp.get(path)?.length ?? 0
      let has = unread.length
      const look = () => {
        if (has >= wanted) socket.end(later.get(path) ?? '')
      }
      socket.on('data', (chunk: Buffer) => {
        chunks.push(chunk)
        has += chunk.length
        look()
      })
      look()
    }
    let bytes = 0
    await inGroups(splits, 20, async (index) => {
      const path = `/ws?n=${index}`
      const [up, one, two] = [frames(true), frames(false), frames(false)]
      expectedUp.set(path, up)
      glued.set(path, one)
      later.set(path, two)
      const head = Buffer.from(handshakeHead(wish('app', path)))
      const connection = await openRaw(wish('app', path), cutAnywhere(Buffer.concat([head, up])), 101)
      await waitFor(() => connection.closedAt !== undefined)
      expect(connection.received().equals(Buffer.concat([one, two])), `towards the client, ${index}`).toBe(true)
      expect(up.equals(Buffer.concat(seen.get(path) ?? [])), `towards the upstream, ${index}`).toBe(true)
      bytes += up.length + one.length + two.length
      for (const map of [seen, expectedUp, glued, later]) map.delete(path)
    })
    return `${bytes} bytes over ${splits} tunnels: none lost, doubled or moved`
  })

  attack('A180', 'WS', 'a client whose network swallows everything', async () => {
    const { socket, ...idle } = await openRawWebSocket(wish())
    const stream = await openRawStream(wish('wiki', '/events'))
    await waitFor(async () => upstream.sockets.size > 0)
    const timers: string[] = []
    const armed = async (what: string, localPort: number, remotePort: number) => {
      let inMs = Number.NaN
      await waitFor(async () => {
        const timer = await readProbeTimer(localPort, remotePort)
        inMs = timer?.inMs ?? Number.NaN
        return timer?.kind === 'keepalive'
      })
      // Then ten probes, one a second.
      expect(inMs + 10_000).toBeLessThanOrEqual(longestSilenceMs)
      timers.push(`${what} ${Math.round(inMs / 1000)} s`)
    }
    await armed('client', rig.instance.port, socket.localPort ?? 0)
    const newest = [...upstream.sockets].at(-1)
    await armed('upstream', newest?.remotePort ?? 0, upstream.port)
    await armed('event stream', rig.instance.port, stream.socket.localPort ?? 0)
    expect(idle.closedAt).toBeUndefined()
    for (const one of [socket, stream.socket]) one.destroy()
    const shown = `probes are armed: ${timers.join(', ')}`
    if (blackHole === undefined) return `${shown}; this machine lets us make no network namespace, so by the timers alone`
    const tookMs = (await noticed) - swallowedAt
    expect(tookMs).toBeLessThan(longestSilenceMs)
    return `${shown}; the upstream side closed ${(tookMs / 1000).toFixed(1)} s after its packets began to be dropped`
  })
})

function random(below: number): number {
  return Math.floor(Math.random() * below)
}

/** The same bytes in one to five pieces. */
function cutAnywhere(bytes: Buffer): Buffer[] {
  const cuts = [0, ...Array.from({ length: random(5) }, () => random(bytes.length)), bytes.length].toSorted((a, b) => a - b)
  return cuts.slice(1).map((end, index) => bytes.subarray(cuts[index], end))
}
