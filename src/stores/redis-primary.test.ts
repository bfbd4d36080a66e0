/** The Redis store behind Sentinels and in a cluster: the right server, also after it changed, and nobody else. */

import { setImmediate as nextTurn } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  ask,
  type ClusterRedis,
  type SentinelRedis,
  startClusterRedis,
  startSentinelRedis,
  until,
} from '../../e2e/support/redis-sentinel.ts'
import type { Logger } from '../log.ts'
import { createRedisStore, type RedisStore } from './redis.ts'
import { createRedisClient } from './redis-client.ts'

const lines: string[] = []
const keep = (...args: unknown[]) =>
  void lines.push(JSON.stringify(args, (_, value) => (value instanceof Error ? { ...value, message: value.message } : value)))
const log: Logger = { debug: keep, info: keep, warn: keep, error: keep, fatal: keep, flush: () => undefined }

const stores: RedisStore[] = []
async function open(url: string): Promise<RedisStore> {
  const store = createRedisStore({ url, log, commandTimeoutMs: 500 })
  stores.push(store)
  await store.waitUntilReady(5_000)
  return store
}
const untilReady = (store: RedisStore, limitMs = 15_000) =>
  until(() => store.checkReady().then(() => true), 'the store does not come back', limitMs)
const untilRefusing = (store: RedisStore) =>
  until(
    () =>
      store.checkReady().then(
        () => false,
        () => true,
      ),
    'the store goes on',
  )
const closeStores = () => Promise.all(stores.splice(0).map((store) => store.close()))

describe('the Redis store behind Sentinels', () => {
  let redis: SentinelRedis
  beforeAll(async () => {
    redis = await startSentinelRedis()
  }, 60_000)
  afterAll(async () => {
    await closeStores()
    await redis.close()
  }, 20_000)

  it('reaches the primary, has ends on its replicas when they are confirmed, and reports on it', async () => {
    const store = await open(redis.url)
    lines.length = 0
    await store.recordEnds([{ kind: 'session', idHash: 'a', cause: 'revoked' }], 60)
    expect(lines).toEqual([])
    for (const server of redis.servers)
      expect(await ask(server.url, (client) => client.hget('{postern}:ends', 'session:a'))).toContain('revoked')
    expect(await store.loadReport()).toMatchObject({ role: 'master', connectedReplicas: 2 })
  })

  it('goes on with the new primary after the old one died, and with nobody in between', async () => {
    const store = await open(redis.url)
    const old = await redis.findPrimary()
    await old.kill()
    await untilRefusing(store)
    // Before this process can hear anything from a network, or from a timer.
    const atOnce = Promise.race([store.loadRecord('session:x'), nextTurn('it waited')])
    await expect(atOnce).rejects.toMatchObject({ code: 'session_store_unavailable' })
    await untilReady(store)
    expect((await redis.findPrimary()).port).not.toBe(old.port)
    expect((await store.loadEnds([{ kind: 'session', idHash: 'a' }]))[0]?.cause).toBe('revoked')
    await old.restart()
    await redis.untilReplicated(2)
  }, 40_000)

  it('leaves an old primary that answers us and was replaced by the others', async () => {
    const store = await open(redis.url)
    const old = await redis.findPrimary()
    let askedAt = Number.NEGATIVE_INFINITY
    const isReplaced = async () => {
      if ((await redis.findPrimary()).port !== old.port) return true
      // A Sentinel that was kept from its work for two seconds changes nothing for thirty, and what it began comes to nothing.
      if (performance.now() - askedAt > 10_000) {
        askedAt = performance.now()
        const [one] = redis.sentinels
        await ask(one?.url ?? '', (client) => client.call('SENTINEL', 'FAILOVER', 'postern-test'))
      }
      return false
    }
    await until(isReplaced, 'no fail-over', 60_000)
    await until(async () => (await store.loadReport().catch(() => undefined))?.role === 'master', 'still with a replica')
    await untilReady(store)
    await redis.untilReplicated(2)
  }, 90_000)

  it('finds the primary at once with one Sentinel silent', async () => {
    const [silent, ,] = redis.sentinels
    silent?.pause()
    try {
      const begun = performance.now()
      const store = await open(redis.url)
      await store.checkReady()
      expect(performance.now() - begun).toBeLessThan(1_500)
    } finally {
      silent?.resume()
    }
  })

  it('leaves an old primary that fell silent and does not know that it was replaced, before it speaks again', async () => {
    const store = await open(redis.url)
    const old = await redis.findPrimary()
    const isConnected = (url: string) => ask(url, (client) => client.client('LIST')).then((list) => / name=postern /.test(String(list)))
    await until(() => isConnected(old.url), 'not connected')
    old.pause()
    try {
      // No command is sent meanwhile, so nothing but the Sentinels tells.
      await until(async () => isConnected((await redis.findPrimary()).url), 'still with the old primary')
      await store.checkReady()
    } finally {
      old.resume()
    }
    await store.checkReady()
    await redis.untilReplicated(2)
  }, 40_000)

  it('refuses within five seconds where it can hear no majority of the Sentinels, and goes on when it can', async () => {
    const store = await open(redis.url)
    const [first, second] = redis.sentinels
    const begun = performance.now()
    await Promise.all([first?.kill(), second?.kill()])
    try {
      // That it left the server, and not that one answer was late: a busy disk keeps a probe waiting as well.
      const hasLeft = () =>
        store.waitUntilReady(50).then(
          () => false,
          () => true,
        )
      await until(hasLeft, 'the store goes on')
      const refusedAfterMs = performance.now() - begun
      expect(refusedAfterMs).toBeGreaterThan(2_000)
      expect(refusedAfterMs).toBeLessThan(6_000)
      await expect(store.checkReady()).rejects.toMatchObject({ code: 'session_store_unavailable' })
      await expect(store.waitUntilReady(1_000)).rejects.toMatchObject({ code: 'session_store_unavailable' })
    } finally {
      await Promise.all([first?.restart(), second?.restart()])
    }
    await untilReady(store)
  }, 40_000)

  it('comes back after every Sentinel was gone', async () => {
    const store = await open(redis.url)
    await Promise.all(redis.sentinels.map((one) => one.kill()))
    await untilRefusing(store)
    await Promise.all(redis.sentinels.map((one) => one.restart()))
    await untilReady(store)
  }, 40_000)

  it('is not stopped for good by who wants another connection while it has none', async () => {
    const sentinel = redis.url
    const server = (await redis.findPrimary()).url
    for (const url of [sentinel, server]) {
      const client = createRedisClient({
        url,
        connectionName: 'test',
        connectTimeoutMs: 1_000,
        commandTimeoutMs: 1_000,
        silenceLimitMs: 1_000,
        slotKey: '{postern}:probe',
      })
      client.on('error', () => undefined)
      client.disconnect(true)
      await until(async () => client.status === 'ready', 'it never connected', 5_000)
      client.disconnect(true)
      await until(async () => client.status !== 'ready', 'it kept its connection', 5_000)
      await until(async () => client.status === 'ready', 'it did not connect again', 5_000)
      client.disconnect()
      await until(async () => client.status === 'end', 'it did not end', 5_000)
    }
  })

  it('says nothing of a password that is wrong', async () => {
    lines.length = 0
    const store = createRedisStore({
      url: redis.url.replace(/sentinel_password=.*/, 'sentinel_password=marker-1'),
      log,
      commandTimeoutMs: 300,
    })
    stores.push(store)
    await expect(store.waitUntilReady(1_000)).rejects.toMatchObject({ code: 'session_store_unavailable' })
    const told = JSON.stringify(lines)
    expect(told).toContain('WRONGPASS')
    expect(told).not.toMatch(/marker-1|of-the/)
  })
})

describe('the Redis store in a cluster', () => {
  let redis: ClusterRedis
  beforeAll(async () => {
    redis = await startClusterRedis()
  }, 60_000)
  afterAll(async () => {
    await closeStores()
    await redis.close()
  }, 20_000)

  it('runs every script on the node that has our slot, though the other nodes are named first', async () => {
    const others = redis.nodes.filter((node) => node !== redis.owner)
    const url = redis.url.replace(/@.*/, `@${others.map(({ port }) => `127.0.0.1:${port}`).join(',')}`)
    const store = await open(url)
    const expiresAt = (await store.loadNow()) + 60_000
    expect(await store.createRecord('session:a', Buffer.from('x'), expiresAt)).toBe(true)
    await store.addToIndex('subject:a', 'b', expiresAt)
    await store.recordEnds([{ kind: 'session', idHash: 'a', cause: 'revoked' }], 60)
    expect((await store.loadRecord('session:a'))?.value.toString()).toBe('x')
    for (const node of others) expect(await ask(node.url, (client) => client.dbsize())).toBe(0)
    expect(await ask(redis.owner.url, (client) => client.dbsize())).toBeGreaterThan(2)
    expect(await store.loadReport()).toMatchObject({ role: 'master' })
  })

  it('does not notice another node that goes down, refuses while ours is, and goes on when it is back', async () => {
    const store = await open(redis.url)
    const other = redis.nodes.find((node) => node !== redis.owner)
    await other?.kill()
    for (let round = 0; round < 50; round += 1) await store.checkReady()
    await other?.restart()
    await redis.owner.kill()
    await untilRefusing(store)
    await expect(store.loadRecord('session:a')).rejects.toMatchObject({ code: 'session_store_unavailable' })
    await redis.owner.restart()
    await untilReady(store, 20_000)
  }, 60_000)

  it('follows its slot to another node', async () => {
    const store = await open(redis.url)
    const target = redis.nodes.find((node) => node !== redis.owner)
    if (target === undefined) throw new Error('no other node')
    const slot = await ask(redis.owner.url, (client) => client.call('CLUSTER', 'KEYSLOT', '{postern}:'))
    const id = await ask(target.url, (client) => client.call('CLUSTER', 'MYID'))
    await redis.owner.clear()
    await ask(target.url, (client) => client.call('CLUSTER', 'SETSLOT', slot as number, 'NODE', id as string))
    for (const node of redis.nodes.filter((one) => one !== target))
      await ask(node.url, (client) => client.call('CLUSTER', 'SETSLOT', slot as number, 'NODE', id as string))
    await untilReady(store)
    expect(await ask(target.url, (client) => client.dbsize())).toBeGreaterThan(0)
  }, 40_000)
})
