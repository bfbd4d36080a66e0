/** The Redis store on a real server: the contract, and what a network can get wrong. */

import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { type AddressInfo, connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate as nextTurn, setTimeout as pause } from 'node:timers/promises'
import { createServer as createTlsServer, getCACertificates, setDefaultCACertificates } from 'node:tls'
import { Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { startRedis, type TestRedis } from '../../e2e/support/redis.ts'
import type { Logger } from '../log.ts'
import { createRedisStore, type RedisStore } from './redis.ts'
import { storeContract } from './stores.contract.ts'

const password = 'pa:ss@wo/rd%41'
const lines: string[] = []
const keep = (...args: unknown[]) =>
  void lines.push(JSON.stringify(args, (_, value) => (value instanceof Error ? { ...value, message: value.message } : value)))
const log: Logger = { debug: keep, info: keep, warn: keep, error: keep, fatal: keep, flush: () => undefined }

storeContract('the Redis store', async () => {
  const redis = await startRedis({ password })
  let shift = 0
  const store = createRedisStore({ url: redis.url, log, commandTimeoutMs: 2_000, clockShift: () => shift })
  await store.waitUntilReady(5_000)
  return {
    store,
    moveTime: (milliseconds) => {
      shift += milliseconds
    },
    close: async () => {
      await store.close()
      await redis.close()
    },
  }
})

describe('the Redis store', () => {
  let redis: TestRedis
  const stores: RedisStore[] = []
  beforeAll(async () => {
    redis = await startRedis({ password, persist: true })
  })
  afterAll(() => redis.close())
  afterEach(async () => {
    await Promise.all(stores.splice(0).map((store) => store.close()))
  })

  async function open(commandTimeoutMs = 500): Promise<RedisStore> {
    const store = createRedisStore({ url: redis.url, log, commandTimeoutMs })
    stores.push(store)
    await store.waitUntilReady(5_000)
    return store
  }
  /** What a look-up comes to before this process can hear anything from a network, or from a timer. */
  const atOnce = (store: RedisStore): Promise<unknown> =>
    Promise.race([
      store.loadRecord('session:x').then(
        () => 'found',
        ({ code }: { readonly code?: unknown }) => code,
      ),
      nextTurn('it waited'),
    ])
  const isRefusing = (store: RedisStore) =>
    expect
      .poll(() =>
        store.checkReady().then(
          () => 'ready',
          () => 'refused',
        ),
      )
      .toBe('refused')

  it('refuses at once while the server is down, and goes on by itself when it is back (A276)', async () => {
    const store = await open()
    await store.createRecord('session:kept', Buffer.from('x'), (await store.loadNow()) + 60_000)
    await redis.stop()
    await isRefusing(store)
    for (let i = 0; i < 20; i++) expect(await atOnce(store)).toBe('session_store_unavailable')
    await redis.restart()
    const begun = performance.now()
    await expect
      .poll(async () => (await store.loadRecord('session:kept').catch(() => undefined))?.value.toString(), { timeout: 5_000 })
      .toBe('x')
    expect(performance.now() - begun).toBeLessThan(5_000)
  })

  it('tells the log, once a kind, and the metrics, each time, of a server that answers and will not work', async () => {
    let refusals = 0
    const onUnavailable = () => {
      refusals += 1
    }
    const store = createRedisStore({ url: redis.url, log, commandTimeoutMs: 500, onUnavailable })
    stores.push(store)
    await store.waitUntilReady(5_000)
    const admin = new Redis(redis.url)
    lines.length = 0
    try {
      await admin.config('SET', 'maxmemory', '1')
      for (let i = 0; i < 5; i++) {
        await expect(store.createRecord(`session:full-${i}`, Buffer.from('marker'), Date.now() + 60_000)).rejects.toMatchObject({
          code: 'session_store_unavailable',
        })
      }
    } finally {
      await admin.config('SET', 'maxmemory', '0')
      await admin.quit()
    }
    const told = lines.filter((line) => line.includes('refused an operation'))
    expect(told).toHaveLength(1)
    expect(told[0]).toContain('OOM')
    expect(told[0]).not.toContain('marker')
    expect(refusals).toBe(5)
  })

  it('has an end on its replicas when it is confirmed, and says where none confirmed it', async () => {
    const [primary, replica] = await Promise.all([startRedis(), startRedis()])
    const store = createRedisStore({ url: primary.url, log, commandTimeoutMs: 2_000 })
    const [atPrimary, atReplica] = [new Redis(primary.url), new Redis(replica.url)]
    try {
      await store.waitUntilReady(5_000)
      await atReplica.replicaof('127.0.0.1', primary.port)
      // `state=online` comes before the replica takes part in the stream of commands; a write that arrived proves it does.
      await atPrimary.set('probe', 'arrived')
      await expect.poll(() => atReplica.get('probe').catch(() => null), { timeout: 10_000 }).toBe('arrived')
      await atPrimary.set('probe', 'streamed')
      await expect.poll(() => atReplica.get('probe'), { timeout: 10_000 }).toBe('streamed')
      lines.length = 0
      await store.recordEnds([{ kind: 'session', idHash: 'a', cause: 'revoked' }], 60)
      expect(await atReplica.hget('{postern}:ends', 'session:a')).toContain('revoked')
      await store.createDurable('token:a', Buffer.from('sealed'))
      await store.confirmDurable()
      expect(await atReplica.get('{postern}:durable:token:a')).toBe('1 sealed')
      expect(lines).toEqual([])
      replica.pause()
      await store.recordEnds([{ kind: 'session', idHash: 'b', cause: 'revoked' }], 60)
      expect(lines).toEqual([expect.stringContaining('no replica confirmed')])
      expect((await store.loadEnds([{ kind: 'session', idHash: 'b' }]))[0]?.cause).toBe('revoked')
      // A wait for each of them would be longer than any command may take.
      const many = Array.from({ length: 30 }, (_, n) => ({ kind: 'session', idHash: `many${n}`, cause: 'signed_out' }) as const)
      await Promise.all(many.map((end) => store.recordEnds([end], 60)))
      expect((await store.loadEnds(many)).filter((end) => end !== undefined)).toHaveLength(30)
    } finally {
      replica.resume()
      await Promise.all([store.close(), atPrimary.quit(), atReplica.quit()])
      await Promise.all([primary.close(), replica.close()])
    }
  }, 20_000)

  it('records an end over one that cannot be read', async () => {
    const store = await open()
    const admin = new Redis(redis.url)
    await admin.hset('{postern}:ends', 'session:damaged', 'not an end')
    await admin.quit()
    const thing = { kind: 'session', idHash: 'damaged' } as const
    expect((await store.loadEnds([thing]))[0]).toMatchObject(thing)
    const at = await store.recordEnds([{ ...thing, cause: 'revoked' }], 60)
    expect(await store.loadEnds([thing])).toEqual([{ ...thing, at, cause: 'revoked' }])
  })

  it('refuses within the command limit when the server falls silent, then at once (A277)', async () => {
    const store = await open(400)
    redis.pause()
    try {
      const tooLate = pause(700, 'it waited longer')
      await expect(Promise.race([store.loadRecord('session:x'), tooLate])).rejects.toMatchObject({ code: 'session_store_unavailable' })
      await isRefusing(store)
      for (let i = 0; i < 20; i++) expect(await atOnce(store)).toBe('session_store_unavailable')
    } finally {
      redis.resume()
    }
    await expect
      .poll(
        () =>
          store.checkReady().then(
            () => true,
            () => false,
          ),
        { timeout: 5_000 },
      )
      .toBe(true)
  })

  it('applies no reply of an old connection to a new command', async () => {
    const store = await open(300)
    const expiresAt = (await store.loadNow()) + 60_000
    for (let i = 0; i < 20; i++) {
      await store.createRecord(`session:late${i}`, Buffer.from(String(i)), expiresAt)
    }
    redis.pause()
    await Promise.allSettled(Array.from({ length: 20 }, (_, i) => store.loadRecord(`session:late${i}`)))
    redis.resume()
    await expect
      .poll(
        () =>
          store.checkReady().then(
            () => true,
            () => false,
          ),
        { timeout: 5_000 },
      )
      .toBe(true)
    for (let i = 0; i < 20; i++) expect((await store.loadRecord(`session:late${i}`))?.value.toString()).toBe(String(i))
  })

  it('refuses what was under way as soon as the connection breaks, and sends nothing twice', async () => {
    const store = await open(5_000)
    const expiresAt = (await store.loadNow()) + 60_000
    redis.pause()
    const underWay = Array.from({ length: 10 }, (_, i) => store.createRecord(`session:cut${i}`, Buffer.from('x'), expiresAt))
    const settled = Promise.allSettled(underWay)
    const begun = performance.now()
    process.kill(redis.pid() ?? 0, 'SIGKILL')
    for (const result of await settled) expect(result).toMatchObject({ status: 'rejected', reason: { code: 'session_store_unavailable' } })
    expect(performance.now() - begun).toBeLessThan(1_000)
    await redis.restart()
    await expect
      .poll(
        () =>
          store.checkReady().then(
            () => true,
            () => false,
          ),
        { timeout: 5_000 },
      )
      .toBe(true)
    for (let i = 0; i < 10; i++) expect(await store.loadRecord(`session:cut${i}`)).toBeUndefined()
  })

  it('works after the server forgot its scripts', async () => {
    const store = await open()
    await store.loadNow()
    await redis.restart()
    await expect.poll(() => store.loadNow().catch(() => undefined), { timeout: 5_000 }).toBeTypeOf('number')
  })

  it('refuses with a reason that names no password when the password is wrong (A283)', async () => {
    lines.length = 0
    const store = createRedisStore({ url: redis.url.replace(/:\/\/.*@/, '://:wrong-secret-1@'), log, commandTimeoutMs: 500 })
    stores.push(store)
    const error = await store.waitUntilReady(1_500).then(
      () => undefined,
      (cause: unknown) => cause,
    )
    expect(error).toMatchObject({ code: 'session_store_unavailable', cause: { code: 'WRONGPASS' } })
    expect(lines.join()).toContain('WRONGPASS')
    expect(lines.join()).not.toContain('wrong-secret-1')
  })

  it('is not ready on a replica, and says so', async () => {
    const replica = await startRedis()
    const store = createRedisStore({ url: replica.url, log, commandTimeoutMs: 500 })
    stores.push(store)
    await store.waitUntilReady(5_000)
    const client = new Redis(replica.url)
    await client.replicaof('127.0.0.1', 1)
    client.disconnect()
    await expect(store.checkReady()).rejects.toMatchObject({ code: 'session_store_unavailable' })
    await replica.close()
  })

  it('reports what the server would forget', async () => {
    const store = await open()
    expect(await store.loadReport()).toMatchObject({
      role: 'master',
      connectedReplicas: 0,
      evictionPolicy: 'noeviction',
      persistence: 'append_only',
      version: expect.stringMatching(/^\d+\./),
    })
    const forgetful = await startRedis()
    const other = createRedisStore({ url: forgetful.url, log, commandTimeoutMs: 500 })
    stores.push(other)
    await other.waitUntilReady(5_000)
    expect(await other.loadReport()).toMatchObject({ persistence: 'none' })
    await forgetful.close()
  })

  it('leaves no key without an expiry, and none outside its prefix', async () => {
    const store = await open()
    await redis.clear()
    const expiresAt = (await store.loadNow()) + 60_000
    await store.createRecord('session:a', Buffer.from('x'), expiresAt)
    await store.replaceRecord('session:a', { value: Buffer.from('y'), version: 1, expiresAt })
    await store.addToIndex('subject:a', 'm', expiresAt)
    await store.recordEnds([{ kind: 'session', idHash: 'h', cause: 'revoked' }], 60)
    await store.acquireLock('refresh:a', 10)
    await store.checkReady()
    const client = new Redis(redis.url)
    const keys = await client.keys('*')
    expect(keys).toHaveLength(7)
    for (const key of keys) {
      expect(key).toMatch(/^\{postern\}:/)
      expect(await client.pttl(key)).toBeGreaterThan(0)
    }
    client.disconnect()
  })

  it('speaks to nobody whose certificate it cannot verify, and to the right one by TLS (A283)', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'postern-redis-tls-'))
    const [keyFile, certFile] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
    execFileSync(
      'openssl',
      [
        'req',
        '-x509',
        '-newkey',
        'ec',
        '-pkeyopt',
        'ec_paramgen_curve:P-256',
        '-nodes',
        '-days',
        '1',
        '-subj',
        '/CN=localhost',
        '-addext',
        'subjectAltName=DNS:localhost',
        '-keyout',
        keyFile,
        '-out',
        certFile,
      ],
      { stdio: 'ignore' },
    )
    const cert = readFileSync(certFile, 'utf8')
    let bytesSeen = 0
    const front = createTlsServer({ key: readFileSync(keyFile), cert }, (socket) => {
      const back = connect(redis.port, '127.0.0.1')
      socket.on('data', (chunk) => {
        bytesSeen += chunk.length
      })
      socket.on('error', () => back.destroy())
      back.on('error', () => socket.destroy())
      socket.pipe(back).pipe(socket)
    })
    await new Promise<void>((resolve) => front.listen(0, 'localhost', resolve))
    const { port } = front.address() as AddressInfo
    const url = redis.url.replace(/^redis:(.*)@.*$/, `rediss:$1@localhost:${port}`)
    const trusted = getCACertificates('default')
    try {
      const stranger = createRedisStore({ url, log, commandTimeoutMs: 500 })
      stores.push(stranger)
      await expect(stranger.waitUntilReady(1_000)).rejects.toMatchObject({ code: 'session_store_unavailable' })
      expect(bytesSeen).toBe(0)
      setDefaultCACertificates([...trusted, cert])
      const store = createRedisStore({ url, log, commandTimeoutMs: 500 })
      stores.push(store)
      await store.waitUntilReady(5_000)
      await store.checkReady()
      expect(bytesSeen).toBeGreaterThan(0)
    } finally {
      setDefaultCACertificates(trusted)
      await Promise.all(stores.splice(0).map((store) => store.close()))
      front.close()
      rmSync(folder, { recursive: true, force: true })
    }
  })
})
