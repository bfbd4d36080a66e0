/**
 * Makes the client of one connection to the store: to one server, to the primary that Sentinels name, or to the cluster node that has our slot.
 *
 * Whatever the address, it is one socket to one server, so that an end, its `WAIT` and every script meet the same one. Nothing is queued
 * while it is down and nothing is sent twice. It reconnects by itself, within about a second of the server's return; after a fail-over
 * by asking again who the primary is. TLS is always verified. The address may carry a password: it is never printed.
 */

import { Redis, type RedisOptions } from 'ioredis'
import { parseRedisAddress } from '../redis-address.ts'
import { redisErrorCode } from './redis-error.ts'
import { createPrimaryConnector } from './redis-primary.ts'

/** What a connection is made of. */
export interface RedisClientOptions {
  /** May carry a password. */
  readonly url: string
  /** What an operator reads in `CLIENT LIST`. */
  readonly connectionName: string
  /** How long connecting, and a question to a Sentinel, may take. */
  readonly connectTimeoutMs: number
  /** How long one command may take; `undefined` for a connection whose commands wait on purpose. */
  readonly commandTimeoutMs: number | undefined
  /** A socket on which a command waits and no byte comes for so long is given up. */
  readonly silenceLimitMs: number
  /** One of our keys: in a cluster, the node that has it is the one to talk to. They all share a hash tag. */
  readonly slotKey: string
}

/** First pause between attempts to reconnect, and the longest: back within about a second of the server's return. */
const shortestPauseMs = 50
const longestPauseMs = 1_000

/**
 * Words of a server that is not, or no longer, the one to talk to. Only a new connection finds the one that is; the command itself
 * stays refused, for nobody knows whether sending it again would be right.
 */
const wrongServer: ReadonlySet<string | undefined> = new Set(['READONLY', 'MOVED', 'CLUSTERDOWN'])

/**
 * Connects in the background. Listen for `error`, or it prints by itself; commands reject at once unless `status` is `ready`.
 * `TypeError` for an address that is not one.
 */
export function createRedisClient(options: RedisClientOptions): Redis {
  const address = parseRedisAddress(options.url)
  if ('refusal' in address) throw new TypeError(address.refusal)
  const [only] = address.hosts
  return new SteadyRedis({
    ...(address.kind === 'server' ? only : { Connector: createPrimaryConnector(address, { ...options, pauseMs: reconnectPauseMs }) }),
    ...address.credentials,
    db: address.db,
    ...(address.tls === undefined ? {} : { tls: address.tls }),
    protocol: 2,
    connectionName: options.connectionName,
    connectTimeout: options.connectTimeoutMs,
    disconnectTimeout: Math.min(options.silenceLimitMs, 500),
    ...(options.commandTimeoutMs === undefined ? {} : { commandTimeout: options.commandTimeoutMs }),
    socketTimeout: options.silenceLimitMs,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    retryStrategy: reconnectPauseMs,
    reconnectOnError: (error) => wrongServer.has(redisErrorCode(error)),
  } satisfies RedisOptions)
}

/**
 * Asked to drop its connection and get another one while it has none, the client would stop for good: the attempt under way would be
 * called off, which it takes for the end. There is nothing to drop then, and another one is on its way.
 */
class SteadyRedis extends Redis {
  override disconnect(reconnect = false): void {
    if (reconnect && this.status !== 'ready' && this.status !== 'connect') return
    super.disconnect(reconnect)
  }
}

/** How long to wait before the next attempt; spread, so that instances do not come back all at once. */
function reconnectPauseMs(attempt: number): number {
  return Math.min(shortestPauseMs * 2 ** Math.min(attempt, 10), longestPauseMs) * (0.5 + Math.random() / 2)
}
