/**
 * The session store on Redis: for production, and for more than one worker or instance.
 *
 * Every method is one round trip; an end takes another, or waits for replicas. It trusts Redis to keep what it was given and to tell the time; it does not trust it with
 * a readable name or value (names arrive hashed, values sealed). Any failure is `session_store_unavailable`: at once while
 * the connection is known to be down, else within the command limit.
 */

import { randomBytes } from 'node:crypto'
import { PosternError } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { DurableRecord, End, EndCause, EndKind, NamedDurableRecord, SessionStore, StoredRecord } from '../session/store.ts'
import { createKeyspace, defaultKeyPrefix } from './keyspace.ts'
import { connectRedis, type RedisConnection } from './redis-connection.ts'
import { createRedisEvents } from './redis-events.ts'
import { loadStoreReport, type StoreReport } from './redis-report.ts'
import * as scripts from './redis-scripts.ts'
import { createRedisWindow } from './redis-window.ts'

/** An end counts within a second everywhere, and everything else on this connection waits meanwhile. */
const replicaWaitMs = 250

/** Ends in one command or reply. */
const endsBatch = 1_000

/** Where the server is, and how long it may take. */
export interface RedisStoreOptions {
  /** As `redis-address.ts` reads it; may carry a password. */
  readonly url: string
  readonly log: Logger
  /** How long one command may take. */
  readonly commandTimeoutMs: number
  /** Hears of each operation that the server refused or did not answer. */
  readonly onUnavailable?: (() => void) | undefined
  /** Must keep exactly one hash tag. */
  readonly keyPrefix?: string
  /** Moves the store's clock; tests only. */
  readonly clockShift?: () => number
}

/** The store, and what only a server has. */
export interface RedisStore extends SessionStore {
  /** What `check --live` says about the server. */
  loadReport(): Promise<StoreReport>
  /** Resolves once connected; rejects with `session_store_unavailable` after `milliseconds`. For commands and start-up. */
  waitUntilReady(milliseconds: number): Promise<void>
}

/** Connects in the background; until it is connected every method rejects. */
export function createRedisStore(options: RedisStoreOptions): RedisStore {
  const keys = createKeyspace(options.keyPrefix ?? defaultKeyPrefix)
  const redis = connectRedis({ ...options, slotKey: keys.probe })
  const shift = () => Math.trunc(options.clockShift?.() ?? 0)
  const confirm = createConfirmation(() => confirmByReplicas(redis, options.log))

  return {
    loadNow: async () => instantOf(await redis.run(scripts.loadNow, [], [shift()])),

    createRecord: async (name, value, expiresAt) =>
      isOne(await redis.run(scripts.createRecord, [keys.record(name)], [shift(), value, whole(expiresAt)])),
    loadRecord: async (name) => recordOf(await redis.run(scripts.loadRecord, [keys.record(name)], [shift()])),
    replaceRecord: async (name, record) =>
      isOne(await redis.run(scripts.replaceRecord, [keys.record(name)], [shift(), record.version, record.value, whole(record.expiresAt)])),
    takeRecord: async (name) => recordOf(await redis.run(scripts.takeRecord, [keys.record(name)], [shift()])),
    removeRecord: async (name) => void (await redis.call('DEL', keys.record(name))),

    addToIndex: async (index, member, expiresAt) =>
      void (await redis.run(scripts.addToIndex, [keys.index(index)], [shift(), member, whole(expiresAt)])),
    removeFromIndex: async (index, member) => void (await redis.call('ZREM', keys.index(index), member)),
    loadIndex: async (index) => listOf(await redis.run(scripts.loadIndex, [keys.index(index)], [shift()])).map(String),

    async recordEnds(ends, keepSeconds) {
      const pairs = ends.flatMap((end) => [memberOf(end), end.cause])
      const args = [shift(), whole(keepSeconds * 1000), ...pairs]
      const at = instantOf(await redis.run(scripts.recordEnds, [keys.ends, keys.endsUntil, keys.events], args))
      await confirm()
      return at
    },
    async loadEnds(things) {
      if (things.length === 0) return []
      const found = listOf(await redis.call('HMGET', keys.ends, ...things.map(memberOf)))
      return things.map((thing, position) => endOf(thing, found[position]))
    },

    async loadAllEnds() {
      const now = instantOf(await redis.run(scripts.loadNow, [], [shift()]))
      const found = new Map<string, End>()
      let cursor = '0'
      // Piece by piece: a hundred thousand ends in one reply would keep the server, and this connection, from everybody else.
      do {
        const [next, fields] = listOf(await redis.call('HSCAN', keys.ends, cursor, 'COUNT', endsBatch))
        const texts = listOf(fields)
        for (let at = 0; at < texts.length; at += 2) {
          const member = String(texts[at])
          const colon = member.indexOf(':')
          const thing = { kind: member.slice(0, colon) as EndKind, idHash: member.slice(colon + 1) }
          const end = endOf(thing, texts[at + 1])
          if (end !== undefined && keptUntil(texts[at + 1]) > now) found.set(member, end)
        }
        cursor = String(next)
      } while (cursor !== '0')
      return [...found.values()]
    },
    async restoreEnds(ends, keepSeconds) {
      for (let at = 0; at < ends.length; at += endsBatch) {
        const triples = ends.slice(at, at + endsBatch).flatMap((end) => [memberOf(end), whole(end.at), end.cause])
        const args = [shift(), whole(keepSeconds * 1000), ...triples]
        await redis.run(scripts.restoreEnds, [keys.ends, keys.endsUntil, keys.events], args)
      }
      if (ends.length > 0) await confirm()
    },
    publish: async ({ kind, detail }) => void (await redis.run(scripts.publish, [keys.events], [shift(), kind, detail])),
    openEvents: () =>
      createRedisEvents({ url: options.url, key: keys.events, connectTimeoutMs: options.commandTimeoutMs * 2, clockShift: shift }),

    async acquireLock(name, holdSeconds) {
      const token = randomBytes(16).toString('base64url')
      return isOne(await redis.run(scripts.acquireLock, [keys.lock(name)], [shift(), token, whole(holdSeconds * 1000)])) ? token : undefined
    },
    renewLock: async (name, token, holdSeconds) =>
      isOne(await redis.run(scripts.renewLock, [keys.lock(name)], [shift(), token, whole(holdSeconds * 1000)])),
    releaseLock: async (name, token) => void (await redis.run(scripts.releaseLock, [keys.lock(name)], [shift(), token])),

    createDurable: async (name, value) =>
      isOne(await redis.run(scripts.createDurable, [keys.durable(name), keys.durableNames], [name, value])),
    loadDurable: async (name) => durableOf(await redis.run(scripts.loadDurable, [keys.durable(name)], [])),
    replaceDurable: async (name, { value, version }) =>
      isOne(await redis.run(scripts.replaceDurable, [keys.durable(name)], [version, value])),
    removeDurable: async (name, version) =>
      isOne(await redis.run(scripts.removeDurable, [keys.durable(name), keys.durableNames], [name, version ?? ''])),
    async listDurable(kind, after, limit) {
      const from = kind === undefined ? '' : `${kind}:`
      const range = [after === undefined || after < from ? `[${from}` : `(${after}`, kind === undefined ? '+' : `(${kind};`, whole(limit)]
      return namedOf(listOf(await redis.run(scripts.listDurable, [keys.durableNames], [keys.durable(''), ...range])))
    },

    confirmDurable: confirm,
    ...createRedisWindow(redis, keys),

    // A write, because a replica, a full server and one that is still loading all answer PING.
    checkReady: async () => void (await redis.call('SET', keys.probe, '', 'PX', 10_000)),
    loadReport: () => loadStoreReport(redis),
    waitUntilReady: (milliseconds) => redis.waitUntilReady(milliseconds),
    close: () => redis.close(),
  }
}

/**
 * One wait at a time, shared by all who came before it began: it covers everything that this connection has written, and keeps everything
 * else on it waiting. With a replica that hangs, one for each of a hundred ends would cost every request its limit, and the ends themselves.
 */
function createConfirmation(wait: () => Promise<void>): () => Promise<void> {
  let underWay = Promise.resolve()
  let next: Promise<void> | undefined
  return () => {
    // Never the one under way: it may have begun before the write that is to be confirmed.
    next ??= underWay.then(() => {
      next = undefined
      underWay = wait()
      return underWay
    })
    return next
  }
}

/**
 * Waits until the replicas have what this connection wrote, for a fail-over must not undo an end, a block or a revoked token. Never fails
 * the write: it is on record here, and a replica that is late or gone must not keep anybody's access open.
 */
async function confirmByReplicas(redis: RedisConnection, log: Logger): Promise<void> {
  try {
    const [, , replicas] = listOf(await redis.call('ROLE'))
    if (!Array.isArray(replicas) || replicas.length === 0) return
    const confirmed = await redis.call('WAIT', replicas.length, replicaWaitMs)
    if (confirmed === 0)
      log.warn({ replicas: replicas.length }, 'no replica confirmed an end or a durable record in time; a fail-over now could undo it')
  } catch (error) {
    log.warn({ err: error }, 'whether a replica has an end or a durable record could not be learned; a fail-over now could undo it')
  }
}

function memberOf(thing: Pick<End, 'kind' | 'idHash'>): string {
  return `${thing.kind}:${thing.idHash}`
}

function endOf({ kind, idHash }: Pick<End, 'kind' | 'idHash'>, stored: unknown): End | undefined {
  if (!Buffer.isBuffer(stored)) return undefined
  const [at, , cause] = stored.toString().split(' ')
  // An end that cannot be read is still an end: it then counts for everything up to now and later.
  return { kind, idHash, at: Number(at) || Number.MAX_SAFE_INTEGER, cause: (cause ?? 'revoked') as EndCause }
}

function keptUntil(stored: unknown): number {
  // One that cannot be read is never over.
  return Number(String(stored).split(' ')[1]) || Number.MAX_SAFE_INTEGER
}

function recordOf(reply: unknown): StoredRecord | undefined {
  if (reply === null) return undefined
  const [version, expiresAt, value] = listOf(reply)
  if (typeof version !== 'number' || typeof expiresAt !== 'number' || !Buffer.isBuffer(value)) throw unexpected()
  return { value, version, expiresAt }
}

function durableOf(reply: unknown): DurableRecord | undefined {
  if (reply === null) return undefined
  const [version, value] = listOf(reply)
  if (typeof version !== 'number' || !Buffer.isBuffer(value)) throw unexpected()
  return { value, version }
}

function namedOf(reply: readonly unknown[]): readonly NamedDurableRecord[] {
  const records: NamedDurableRecord[] = []
  for (let at = 0; at < reply.length; at += 3) {
    const durable = durableOf([reply[at + 1], reply[at + 2]])
    if (durable !== undefined) records.push({ name: String(reply[at]), ...durable })
  }
  return records
}

function instantOf(reply: unknown): number {
  const instant = Number(String(reply))
  if (!Number.isSafeInteger(instant)) throw unexpected()
  return instant
}

function listOf(reply: unknown): readonly unknown[] {
  if (!Array.isArray(reply)) throw unexpected()
  return reply
}

function isOne(reply: unknown): boolean {
  return reply === 1
}

function whole(instant: number): string {
  return Math.trunc(instant).toFixed(0)
}

function unexpected(): PosternError {
  return new PosternError('session_store_unavailable', 'session store: unexpected reply')
}
