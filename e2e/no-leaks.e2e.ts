/**
 * What comes and goes leaves nothing behind: thousands of connections that are aborted at every stage, reloads of the policy, and sessions that
 * are revoked with a WebSocket open. Heap, sockets, timers and listeners of the instance return to what they were.
 */

import { once } from 'node:events'
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { connect } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { Client } from './support/client.ts'
import { settledSockets, socketsBackTo } from './support/process-facts.ts'
import { type Rig, runCommand, startRig, waitFor } from './support/rig.ts'
import { type StreamingUpstream, startStreamingUpstream } from './support/streaming-upstream.ts'

const isLong = (process.env['POSTERN_TEST_LONG'] ?? '') !== ''
const connections = isLong ? 10_000 : 1_000
const reloads = isLong ? 20 : 4
const revocations = isLong ? 1_000 : 40
/** Sessions that are ended by one command. */
const revokedAtOnce = 20
const atOnce = 40
/** Ends are kept by design, some hundred bytes each; compiled code and caches settle. */
const heapSlackBytes = 12 * 1024 * 1024

interface Report {
  readonly heapBytes: number
  readonly timers: number
  readonly listeners: number
}

let rig: Rig
let upstream: StreamingUpstream
let cookie: string

beforeAll(async () => {
  upstream = await startStreamingUpstream()
  rig = await startRig({
    apps: [{ id: 'app', upstream: upstream.origin, rules: [{ name: 'staff', allow: { groups: ['staff'] } }] }],
    environment: { NODE_OPTIONS: `--expose-gc --import ${join(import.meta.dirname, 'support', 'report-process.ts')}` },
  })
  const client = new Client()
  expect((await rig.signIn(client, 'bob', `${rig.origin('app')}/ok`)).status).toBe(200)
  cookie = client.cookieHeader(rig.origin('app'))
})
afterAll(async () => {
  await rig?.stop()
  await upstream?.close()
})

async function report(): Promise<Report> {
  const from = rig.instance.log().length
  process.kill(rig.instance.pid, 'SIGUSR2')
  const find = () => /^\{"report":(\{.*\})\}$/m.exec(rig.instance.log().slice(from))?.[1]
  await waitFor(() => find() !== undefined)
  return JSON.parse(find() ?? '') as Report
}

/** One connection that ends badly, at a stage that depends on its number. */
async function abortOne(number: number): Promise<void> {
  const host = `app.corp.localhost:${rig.port}`
  switch (number % 5) {
    case 0:
    case 1: {
      const socket = connect(rig.port, '127.0.0.1')
      socket.on('error', () => undefined)
      await once(socket, 'connect')
      if (number % 5 === 1) socket.write(`GET /ok HTTP/1.1\r\nHost: ${host}\r\nX-Half: `)
      socket.resetAndDestroy()
      return
    }
    case 2: {
      const socket = new WebSocket(`ws://127.0.0.1:${rig.port}/ws`, { headers: { host, cookie, origin: rig.origin('app') } })
      socket.on('error', () => undefined)
      await once(socket, 'open')
      socket.terminate()
      return
    }
    default: {
      const path = number % 5 === 3 ? '/events' : `/download?id=${number}&bytes=${2 ** 24}&framing=chunked`
      const headers = { host, cookie, 'sec-fetch-site': 'same-origin' }
      const request = httpRequest({ host: '127.0.0.1', port: rig.port, path, agent: false, headers })
      request.on('error', () => undefined)
      request.end()
      const [response] = (await once(request, 'response')) as [IncomingMessage]
      response.on('error', () => undefined)
      request.destroy()
    }
  }
}

async function abortMany(count: number): Promise<void> {
  for (let done = 0; done < count; done += atOnce) {
    await Promise.all(Array.from({ length: Math.min(atOnce, count - done) }, (_, index) => abortOne(done + index)))
  }
}

async function reload(round: number): Promise<void> {
  const [app] = rig.policy['apps'] as readonly Record<string, unknown>[]
  const from = rig.instance.log().length
  const rules = [{ name: `staff of round ${round}`, allow: { groups: ['staff'] } }]
  await rig.writePolicy({ ...rig.policy, apps: [{ ...app, rules }] })
  await waitFor(() => rig.instance.log().slice(from).includes('policy loaded'), 20_000)
}

/** Signs so many in, opens a WebSocket each, and ends all of them by one command. */
async function revokeMany(count: number): Promise<void> {
  const config = join(rig.instance.folder, '..', 'postern-0.yaml')
  const list = async () => {
    const { stdout } = await runCommand(['sessions', 'list', '--json', '--config', config])
    return stdout
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as { readonly id: string })
  }
  const before = new Set((await list()).map(({ id }) => id))
  const sockets: WebSocket[] = []
  for (let index = 0; index < count; index += 1) {
    const client = new Client()
    await waitFor(async () => (await rig.signIn(client, 'alice', `${rig.origin('app')}/ok`)).status === 200, 15_000)
    const headers = { host: `app.corp.localhost:${rig.port}`, cookie: client.cookieHeader(rig.origin('app')), origin: rig.origin('app') }
    const socket = new WebSocket(`ws://127.0.0.1:${rig.port}/ws`, { headers })
    socket.on('error', () => undefined)
    await once(socket, 'open')
    sockets.push(socket)
  }
  const ids = (await list()).map(({ id }) => id).filter((id) => !before.has(id))
  expect(ids).toHaveLength(count)
  const ended = await runCommand(['sessions', 'revoke', ...ids, '--reason', 'test', '--config', config])
  expect(ended.code, ended.stderr).toBe(0)
  await waitFor(() => sockets.every(({ readyState }) => readyState === WebSocket.CLOSED))
}

test(
  `${connections} aborted connections, ${reloads} reloads and ${revocations} revocations leave nothing behind`,
  async () => {
    // Once around, so that what is made once is there.
    await abortMany(atOnce * 5)
    await reload(-1)
    await revokeMany(2)
    const baseline = await settledSockets(rig.instance.pid)
    const before = await report()

    await abortMany(connections)
    for (let round = 0; round < reloads; round += 1) await reload(round)
    for (let done = 0; done < revocations; done += revokedAtOnce) await revokeMany(Math.min(revokedAtOnce, revocations - done))

    await socketsBackTo(baseline, rig.instance.pid)
    let after = await report()
    await waitFor(
      async () => {
        after = await report()
        return after.timers <= before.timers && after.heapBytes < before.heapBytes + heapSlackBytes
      },
      20_000,
      () => `before ${JSON.stringify(before)}, after ${JSON.stringify(after)}`,
    )
    console.log(`before ${JSON.stringify(before)}, after ${JSON.stringify(after)}, sockets ${baseline}`)
    expect(after.listeners).toBe(before.listeners)
    expect(rig.instance.log()).not.toMatch(/MaxListenersExceeded|uncaught|unhandled/)
    expect(upstream.sockets.size + upstream.streams.size).toBe(0)
  },
  isLong ? 900_000 : 120_000,
)
