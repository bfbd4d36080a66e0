/**
 * One connection to Redis that fails at once while it is down, and comes back by itself.
 *
 * There is no offline queue, nothing is sent twice, and a command that gets no answer within its limit also costs the socket
 * its life: a peer that swallows bytes is found out by the first command, and all later ones are refused before any
 * network wait until a new connection has shaken hands. TLS is always verified. The address may carry a password, so it is
 * parsed here and never printed; errors are copied without the arguments that the client attaches to them.
 */

import { Redis } from 'ioredis'
import { PosternError } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { Script } from './redis-scripts.ts'
import { createStoreTrouble } from './store-trouble.ts'

/** One connection. Every method but `close` rejects with `session_store_unavailable`. */
export interface RedisConnection {
  /** Runs a script by its hash, sending its source only where the server does not know it. */
  run(script: Script, keys: readonly string[], args: readonly (string | number | Buffer)[]): Promise<unknown>
  /** One plain command; bulk replies are Buffers. */
  call(command: string, ...args: (string | number | Buffer)[]): Promise<unknown>
  /** Resolves once connected; rejects with `session_store_unavailable` after `milliseconds`. */
  waitUntilReady(milliseconds: number): Promise<void>
  close(): Promise<void>
}

/** First pause between attempts to reconnect, and the longest: back within about a second of the server's return. */
const shortestPauseMs = 50
const longestPauseMs = 1_000

/** What a connection is made of. */
export interface RedisConnectionOptions {
  readonly url: string
  readonly log: Logger
  readonly commandTimeoutMs: number
  /** Hears of each command that was refused or not answered. */
  readonly onUnavailable?: (() => void) | undefined
}

/** Connects in the background; never rejects by itself. `TypeError` for an address that is not a Redis URL. */
export function connectRedis({ url, log, commandTimeoutMs, onUnavailable }: RedisConnectionOptions): RedisConnection {
  const trouble = createStoreTrouble(log, onUnavailable)
  const redis = new Redis({
    ...parseRedisUrl(url),
    protocol: 2,
    connectionName: 'postern',
    connectTimeout: Math.max(commandTimeoutMs, 500) * 2,
    disconnectTimeout: Math.min(commandTimeoutMs, 500),
    commandTimeout: commandTimeoutMs,
    socketTimeout: commandTimeoutMs,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    retryStrategy: (attempt) => Math.min(shortestPauseMs * 2 ** Math.min(attempt, 10), longestPauseMs) * (0.5 + Math.random() / 2),
    // After a fail-over the old primary answers READONLY: only a new connection finds the new one.
    reconnectOnError: (error) => redisErrorCode(error) === 'READONLY',
  })
  let isDown = false
  let lastError: Error | undefined
  redis.on('error', (error: unknown) => {
    lastError = withoutArguments(error)
    if (!isDown) log.warn({ err: lastError }, 'session store is not reachable; trying again')
    isDown = true
  })
  redis.on('close', () => {
    if (!isDown && redis.status !== 'end') log.warn({ err: lastError }, 'session store connection was closed; trying again')
    isDown = true
  })
  redis.on('ready', () => {
    if (isDown) log.info('session store is reachable again')
    isDown = false
    lastError = undefined
  })

  async function call(command: string, ...args: (string | number | Buffer)[]): Promise<unknown> {
    if (redis.status !== 'ready') throw notConnected()
    try {
      return await redis.callBuffer(command, ...args)
    } catch (error) {
      throw failed(`${command} failed`, error)
    }
  }

  /** That it is down was logged when it went down. */
  function notConnected(): PosternError {
    trouble.count()
    return unavailable('not connected', lastError)
  }

  function failed(what: string, error: unknown): PosternError {
    const code = redisErrorCode(error)
    // A word of the server's own (OOM, MISCONF, READONLY, NOPERM …): it is there and will not work, which nothing else would tell.
    if (code === undefined) trouble.count()
    else trouble.report(code, withoutArguments(error))
    return unavailable(what, withoutArguments(error))
  }

  return {
    call,
    async run(script, keys, args) {
      if (redis.status !== 'ready') throw notConnected()
      try {
        return await redis.callBuffer('EVALSHA', script.sha, keys.length, ...keys, ...args)
      } catch (error) {
        if (redisErrorCode(error) !== 'NOSCRIPT') throw failed('a script failed', error)
      }
      return call('EVAL', script.source, keys.length, ...keys, ...args)
    },
    waitUntilReady: (milliseconds) =>
      new Promise((resolve, reject) => {
        if (redis.status === 'ready') return resolve()
        const timer = setTimeout(() => settle(unavailable(`not connected within ${milliseconds} ms`, lastError)), milliseconds)
        const settle = (error?: Error) => {
          clearTimeout(timer)
          redis.off('ready', settle)
          redis.off('end', onEnd)
          if (error === undefined) resolve()
          else reject(error)
        }
        const onEnd = () => settle(unavailable('closed', lastError))
        redis.on('ready', settle)
        redis.on('end', onEnd)
      }),
    async close() {
      if (redis.status === 'end') return
      try {
        if (redis.status === 'ready') await redis.quit()
      } catch {
        // A server that does not answer QUIT is left all the same.
      }
      redis.disconnect()
    },
  }
}

/** A parsed address; holds the password. */
export interface RedisAddress {
  readonly host: string
  readonly port: number
  readonly username?: string
  readonly password?: string
  readonly db?: number
  readonly tls?: { readonly rejectUnauthorized: true; readonly minVersion: 'TLSv1.2' }
}

/** The parts of a `redis://` or `rediss://` address. Options in a query are refused: they could switch off verification. */
export function parseRedisUrl(text: string): RedisAddress {
  let url: URL
  try {
    url = new URL(text)
  } catch {
    // The parser's own error would repeat the text, password included.
    throw new TypeError('the session store address is not a URL')
  }
  if (url.protocol !== 'redis:' && url.protocol !== 'rediss:')
    throw new TypeError('the session store address must be redis:// or rediss://')
  if (url.search !== '' || url.hash !== '') throw new TypeError('the session store address must not have a query or a fragment')
  const database = url.pathname.replace(/^\//, '')
  if (!/^\d{0,5}$/.test(database)) throw new TypeError('the path of the session store address must be a database number')
  const hostname = url.hostname.replace(/^\[|\]$/g, '')
  if (hostname === '') throw new TypeError('the session store address names no host')
  return {
    host: hostname,
    port: url.port === '' ? 6379 : Number(url.port),
    ...(url.username === '' ? {} : { username: decoded(url.username) }),
    ...(url.password === '' ? {} : { password: decoded(url.password) }),
    ...(database === '' ? {} : { db: Number(database) }),
    ...(url.protocol === 'rediss:' ? { tls: { rejectUnauthorized: true, minVersion: 'TLSv1.2' } } : {}),
  }
}

/** A percent sign that begins no escape stands for itself, as the configuration's own check reads it. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    // Not an escape sequence; the error would repeat the text.
    return text
  }
}

function unavailable(what: string, cause: Error | undefined): PosternError {
  return new PosternError('session_store_unavailable', `session store: ${what}`, cause === undefined ? {} : { cause })
}

/** The word in front of a Redis error is its code; the protocol has no other place for it. */
function redisErrorCode(error: unknown): string | undefined {
  return error instanceof Error ? /^[A-Z]+(?= |$)/.exec(error.message)?.[0] : undefined
}

/** The client attaches `command` with all arguments (AUTH's too) to its errors; a crash report must not print them. */
function withoutArguments(error: unknown): Error {
  if (!(error instanceof Error)) return new Error('unknown failure')
  const copy = new Error(error.message)
  copy.name = error.name
  const code = (error as { code?: unknown }).code ?? redisErrorCode(error)
  return typeof code === 'string' ? Object.assign(copy, { code }) : copy
}
