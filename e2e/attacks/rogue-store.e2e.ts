/**
 * A store that answers with what no store would: redirections of a cluster to `__proto__`, maps and errors of that name.
 *
 * Safe: an error of the store, 503, no prototype changed, and no address of its choosing is connected to. TLS, and a password, keep others
 * from being the store at all; this is about the one that is.
 */

import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import pino from 'pino'
import { afterAll, afterEach, beforeAll, describe, expect } from 'vitest'
import { connectRedis } from '../../src/stores/redis-connection.ts'
import { Client } from '../support/client.ts'
import { startRedis, type TestRedis } from '../support/redis.ts'
import { type Rig, startRig, waitFor } from '../support/rig.ts'
import { attack, endRig, mustBeAlive, summarise } from './attack.ts'

describe('a store that answers with them', () => {
  const replies = [
    '-MOVED __proto__ 1.2.3.4:6379\r\n',
    '-ASK __proto__ 1.2.3.4:6379\r\n',
    '-MOVED constructor 127.0.0.1:1\r\n',
    '-MOVED 1 __proto__:6379\r\n',
    '-__proto__ x\r\n',
    '-constructor\r\n',
    '%1\r\n$9\r\n__proto__\r\n$1\r\nx\r\n',
    '*2\r\n$9\r\n__proto__\r\n*1\r\n$7\r\nisAdmin\r\n',
    '$9\r\n__proto__\r\n',
  ]
  const prototypes = () => [Object.prototype, Array.prototype, Function.prototype].map((one) => Reflect.ownKeys(one).length)

  attack('A260', 'PP', 'a rogue Redis that redirects to __proto__, against the real client', async () => {
    const before = prototypes()
    const outcomes: string[] = []
    let connections = 0
    for (const reply of replies) {
      const server = createServer((socket) => {
        connections += 1
        socket.on('error', () => socket.destroy())
        socket.on('data', () => socket.write(reply))
      })
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
      const connection = connectRedis({
        url: `redis://:secret@127.0.0.1:${(server.address() as AddressInfo).port}`,
        slotKey: '{postern}:probe',
        log: pino({ level: 'silent' }),
        commandTimeoutMs: 300,
      })
      try {
        const ready = await connection.waitUntilReady(400).then(
          () => 'ready',
          (error: { code?: string }) => error.code ?? String(error),
        )
        const called = await connection.call('GET', 'x').then(
          (value) => `value ${JSON.stringify(value)?.slice(0, 20)}`,
          (error: { code?: string }) => error.code ?? String(error),
        )
        // What is well-formed is an answer like any other; an error never is.
        if (reply.startsWith('-')) expect(called, reply).toBe('session_store_unavailable')
        outcomes.push(ready === 'ready' ? 'answered' : called)
      } finally {
        await connection.close()
        server.close()
      }
      expect(prototypes(), reply).toEqual(before)
      expect(({} as Record<string, unknown>)['isAdmin']).toBeUndefined()
    }
    expect(connections).toBeGreaterThanOrEqual(replies.length)
    return `${summarise(outcomes)}; no prototype changed`
  })

  describe('under a running instance', () => {
    let rig: Rig
    let redis: TestRedis
    let between: Server
    let reply: string | undefined
    const sockets = new Set<Socket>()

    beforeAll(async () => {
      redis = await startRedis()
      between = createServer((socket) => {
        const server = connect(redis.port, '127.0.0.1')
        for (const one of [socket, server]) one.on('error', () => one.destroy())
        sockets.add(socket)
        socket.on('close', () => {
          sockets.delete(socket)
          server.destroy()
        })
        server.on('close', () => socket.destroy())
        server.on('data', (chunk) => {
          if (reply === undefined) socket.write(chunk)
        })
        socket.on('data', (chunk) => {
          if (reply === undefined) server.write(chunk)
          else socket.write(reply)
        })
      })
      await new Promise<void>((resolve) => between.listen(0, '127.0.0.1', resolve))
      const store = `redis://127.0.0.1:${(between.address() as AddressInfo).port}`
      rig = await startRig({ store: 'redis', session: { store } })
    })
    afterAll(async () => {
      await endRig(rig)
      for (const socket of sockets) socket.destroy()
      between.close()
      await redis.close()
    })
    afterEach(() => mustBeAlive(rig))

    attack('A260b', 'PP', 'a store that turns rogue while people work', async () => {
      const client = new Client()
      const url = `${rig.origin('app')}/ok`
      await rig.signIn(client, 'bob', url)
      const status = async () => (await client.send(url, { as: 'fetch' })).status
      const outcomes: string[] = []
      // Each takes as long as memory may serve; the short form takes the first and the last.
      for (const one of process.env['POSTERN_TEST_LONG'] === '1'
        ? replies
        : replies.filter((_, index) => index % (replies.length - 1) === 0)) {
        expect(await status()).toBe(200)
        reply = one
        await waitFor(
          async () => (await status()) !== 200,
          12_000,
          () => `still open with ${JSON.stringify(one)}`,
        )
        rig.upstream('app').reset()
        const refused = await client.send(url, { as: 'fetch' })
        expect([401, 403, 503], one).toContain(refused.status)
        expect(refused.header('x-postern'), one).toMatch(/^[a-z_]+$/)
        expect(rig.upstream('app').bytes()).toBe('')
        outcomes.push(`${refused.status} ${refused.header('x-postern')}`)
        reply = undefined
        for (const socket of sockets) socket.destroy()
        await waitFor(async () => (await status()) === 200, 12_000)
      }
      return `${summarise(outcomes)}; open again when it is itself`
    })
  })
})
