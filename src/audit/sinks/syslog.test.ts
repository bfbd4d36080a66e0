/** Syslog over TCP and TLS: frames by length, receivers that reset, restart, or are not who they should be. */

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createTestAuthority, type TestAuthority } from '../../../e2e/support/test-authority.ts'
import { createTestChain, numbersOf, type TestChain, until } from '../follow.fixture.ts'
import { createFollower, type Follower } from '../follow.ts'
import type { LineConsumer } from '../follow-batch.ts'
import { lineOf, startSyslogReceiver, type TestSyslogReceiver } from './receiver.fixture.ts'
import type { SyslogSettings } from './sink-settings.ts'
import { createSyslogSink, type SyslogSinkOptions } from './syslog.ts'
import { formatSyslogFrame } from './syslog-format.ts'

let folder: string
let chain: TestChain
let receiver: TestSyslogReceiver
const closers: (() => Promise<void>)[] = []
const log = { info: () => undefined, warn: () => undefined, error: () => undefined }

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'postern-syslog-'))
  chain = await createTestChain(join(folder, 'audit'), 'host-0')
})
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
  await rm(folder, { recursive: true, force: true })
})

async function listen(port = 0, tls?: Parameters<typeof startSyslogReceiver>[1]): Promise<TestSyslogReceiver> {
  const started = await startSyslogReceiver(port, tls)
  closers.push(() => started.close())
  return started
}

function start(settings: Partial<SyslogSettings> & { readonly port: number }, options: Partial<SyslogSinkOptions> = {}): Follower {
  const consumer: LineConsumer = createSyslogSink({
    settings: { type: 'syslog', host: '127.0.0.1', tls: undefined, facility: 10, ...settings },
    hostname: 'host.example',
    monotonicNow: () => performance.now(),
    log,
    provingMs: 30,
    mendMs: 20,
    ...options,
  })
  const follower = createFollower({
    folder: join(folder, 'audit'),
    chain: 'host-0',
    positionFile: join(folder, 'positions', 'position.json'),
    name: 'siem',
    consumer,
    now: Date.now,
    log,
    lookMs: 5,
    leastPauseMs: 5,
    mostPauseMs: 50,
    batchLines: 20,
  })
  closers.push(async () => {
    await follower.close(0)
    await consumer.close?.()
  })
  return follower
}

const lines = () => receiver.messages.map(lineOf)
const firstOfEach = (all: readonly string[]) => [...new Set(all)]

describe('a message', () => {
  const origin = { hostname: 'host.example', facility: 10 }
  const format = (line: string) => formatSyslogFrame('host-0', { bytes: Buffer.from(line), seq: 7 }, origin).toString('utf8')

  it('has the length in bytes in front, the priority of its event, the line’s time and the line itself', async () => {
    await chain.grow(1, 7)
    const [allowed = '', denied = ''] = [chain.lines[0], chain.lines[6]]
    const frame = format(denied)
    expect(frame).toMatch(
      /^\d+ <84>1 2023-11-14T22:13:20\.007Z host\.example postern - access\.decided \[postern@32473 chain="host-0" seq="7" app="wiki" effect="deny" reason="no_rule_matched"\] \{/,
    )
    expect(Number(frame.split(' ', 1)[0])).toBe(Buffer.byteLength(frame) - frame.indexOf(' ') - 1)
    expect(lineOf(frame)).toBe(denied)
    expect(format(allowed)).toMatch(/^\d+ <86>1 /)
    expect(format(`${allowed.slice(0, -1)},"alert":true}`)).toMatch(/^\d+ <81>1 /)
  })

  it('takes nothing from what a stranger wrote', () => {
    const forged = `{"at":"2023-11-14T22:13:20.007Z","event":"access.decided","instance":"i","path":"/,\\"effect\\":\\"allow\\",\\"reason\\":\\"rule_matched\\",\\"app\\":\\"x\\"","effect":"deny","reason":"locked"}`
    expect(format(forged)).toContain('effect="deny" reason="locked"] {')
    expect(formatSyslogFrame('c"]\\', { bytes: Buffer.from('{}'), seq: undefined }, { hostname: 'a b\n', facility: 1 }).toString()).toMatch(
      /<13>1 - ab postern - unknown \[postern@32473 chain="c\\"\\\]\\\\"\] \{\}$/,
    )
  })

  it('is cut at its bound, at a whole character, and says so', () => {
    const frame = format(`{"a":"${'ä'.repeat(200_000)}"}`)
    const [, cut] = /cut_bytes="(\d+)"/.exec(frame) ?? []
    expect(Buffer.byteLength(lineOf(frame)) + Number(cut)).toBe(400_000 + 8)
    expect(frame).not.toContain('\ufffd')
  })
})

describe('over TCP', () => {
  it('every line arrives once and in order while all is well', async () => {
    receiver = await listen()
    await chain.grow(1, 100)
    start({ port: receiver.port })
    await until(() => receiver.messages.length >= 100)
    await chain.grow(1, 10)
    await until(() => receiver.messages.length >= 110)
    expect(lines()).toEqual(chain.lines)
  })

  it('a receiver that resets loses nothing: what it may not have read comes again, in order', async () => {
    receiver = await listen()
    const follower = start({ port: receiver.port })
    for (let round = 0; round < 12; round += 1) {
      await chain.grow(1, 25)
      if (round % 3 === 1) receiver.reset()
      await until(() => follower.status().sent >= (round + 1) * 25)
    }
    await until(
      () => firstOfEach(lines()).length === 300,
      () => String(firstOfEach(lines()).length),
    )
    expect(firstOfEach(lines())).toEqual(chain.lines)
  })

  it('a receiver that reads nothing and dies gets everything again without waiting for a new line', async () => {
    receiver = await listen()
    const port = receiver.port
    const follower = start({ port })
    await until(() => receiver.sockets.size === 0)
    await chain.grow(1, 1)
    await until(() => receiver.messages.length === 1)
    for (const socket of receiver.sockets) socket.pause()
    await chain.grow(1, 30)
    await until(() => follower.status().sent === 31)
    expect(receiver.messages).toHaveLength(1)
    receiver.reset()
    await receiver.close()
    receiver = await listen(port)
    await until(() => firstOfEach(lines()).length === 31)
    expect(firstOfEach(lines())).toEqual(chain.lines)
  })

  it('a balancer with nobody behind it, which accepts and closes, is given no line for good', async () => {
    receiver = await listen()
    const port = receiver.port
    const follower = start({ port })
    await chain.grow(1, 20)
    await until(() => receiver.messages.length === 20)
    await receiver.close()
    const { createServer } = await import('node:net')
    let accepted = 0
    const empty = createServer((socket) => {
      accepted += 1
      socket.on('error', () => undefined).end()
    })
    await new Promise<void>((resolve) => empty.listen(port, '127.0.0.1', resolve))
    await chain.grow(1, 80)
    await until(() => accepted > 5 && follower.status().failures > 3)
    expect(follower.status().sent).toBeLessThanOrEqual(40)
    await new Promise((resolve) => empty.close(resolve))
    receiver = await listen(port)
    await until(() => follower.status().sent === 100)
    await until(() => numbersOf(firstOfEach(lines())).at(-1) === 100)
    expect(chain.lines.slice(20).every((line) => lines().includes(line))).toBe(true)
  })
})

describe('a receiver that accepts and says nothing', () => {
  it('holds up neither the sink beyond its patience nor the end of the process', async () => {
    receiver = await listen()
    await chain.grow(1, 5)
    const tls = { caFile: undefined, certFile: undefined, keyFile: undefined }
    const follower = start({ port: receiver.port, tls }, { connectMs: 100 })
    await until(() => follower.status().failures > 1)
    expect(follower.status().lastError).toMatch(/no connection in time/)
    for (const close of closers.splice(1)) await close()
    await until(() => receiver.sockets.size === 0)
    start({ port: receiver.port, tls }, { connectMs: 60_000 })
    await until(() => receiver.sockets.size === 1)
    const from = performance.now()
    for (const close of closers.splice(1)) await close()
    expect(performance.now() - from).toBeLessThan(2000)
  })
})

describe('over TLS', () => {
  let authority: TestAuthority
  beforeEach(() => {
    authority = createTestAuthority()
    closers.push(async () => authority.remove())
  })

  it('a receiver with a good certificate gets the lines, and sees ours', async () => {
    const own = authority.issue('DNS:log.corp.localhost')
    const mine = authority.issue('DNS:postern.example')
    receiver = await listen(0, {
      cert: own.cert,
      key: own.key,
      ca: authority.issue('DNS:x').cert,
      requestCert: true,
      rejectUnauthorized: false,
    })
    await chain.grow(1, 30)
    const tls = { caFile: authority.file, certFile: mine.certFile, keyFile: mine.keyFile }
    start({ host: 'log.corp.localhost', port: receiver.port, tls })
    await until(() => receiver.messages.length === 30)
    expect(lines()).toEqual(chain.lines)
    const [socket] = receiver.sockets
    expect((socket as import('node:tls').TLSSocket).getPeerX509Certificate()?.subjectAltName).toBe('DNS:postern.example')
  })

  it.each([
    ['another name', 'DNS:other.corp.localhost', 2],
    ['a certificate that ran out', 'DNS:log.corp.localhost', -1],
  ])('a receiver with %s gets none', async (_what, names, days) => {
    const own = authority.issue(names, days)
    receiver = await listen(0, { cert: own.cert, key: own.key })
    await chain.grow(1, 5)
    const follower = start({
      host: 'log.corp.localhost',
      port: receiver.port,
      tls: { caFile: authority.file, certFile: undefined, keyFile: undefined },
    })
    await until(() => follower.status().failures > 2)
    expect(follower.status()).toMatchObject({ sent: 0, lagLines: 5 })
    expect(receiver.messages).toEqual([])
  })

  it('a receiver that refuses our missing certificate after the handshake (TLS 1.3) is given no line for good', async () => {
    const own = authority.issue('DNS:log.corp.localhost')
    receiver = await listen(0, { cert: own.cert, key: own.key, requestCert: true, rejectUnauthorized: true })
    await chain.grow(1, 5)
    const follower = start({
      host: 'log.corp.localhost',
      port: receiver.port,
      tls: { caFile: authority.file, certFile: undefined, keyFile: undefined },
    })
    await until(() => follower.status().failures > 2)
    expect(follower.status().sent).toBe(0)
  })
})
