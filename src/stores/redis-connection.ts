/**
 * One connection to Redis that fails at once while it is down, and comes back by itself.
 *
 * A command that gets no answer within its limit also costs the socket its life: a peer that swallows bytes is found out by the first
 * command, and all later ones are refused before any network wait until a new connection has shaken hands. Where it leads is
 * `redis-client.ts`'s business. The address may carry a password and is never printed; errors are copied without the arguments
 * that the client attaches to them.
 */

import { PosternError } from '../errors.ts'
import type { Logger } from '../log.ts'
import { createRedisClient } from './redis-client.ts'
import { redisErrorCode, withoutArguments } from './redis-error.ts'
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

/** What a connection is made of. */
export interface RedisConnectionOptions {
  readonly url: string
  /** One of our keys; which node of a cluster to talk to. */
  readonly slotKey: string
  readonly log: Logger
  readonly commandTimeoutMs: number
  /** Hears of each command that was refused or not answered. */
  readonly onUnavailable?: (() => void) | undefined
}

/** Connects in the background; never rejects by itself. `TypeError` for an address that is not one of Redis. */
export function connectRedis({ url, slotKey, log, commandTimeoutMs, onUnavailable }: RedisConnectionOptions): RedisConnection {
  const trouble = createStoreTrouble(log, onUnavailable)
  const redis = createRedisClient({
    url,
    connectionName: 'postern',
    connectTimeoutMs: Math.max(commandTimeoutMs, 500) * 2,
    commandTimeoutMs,
    silenceLimitMs: commandTimeoutMs,
    slotKey,
  })
  let isDown = false
  let lastError: Error | undefined
  /** What was said since it went down. The first thing heard is often only that the connection closed; why it does not come back follows. */
  const told = new Set<string>()
  redis.on('error', (error: unknown) => {
    lastError = withoutArguments(error)
    isDown = true
    const kind = (lastError as { readonly code?: string }).code ?? lastError.name
    if (told.has(kind)) return
    told.add(kind)
    log.warn({ err: lastError }, 'session store is not reachable; trying again')
  })
  redis.on('close', () => {
    if (!isDown && redis.status !== 'end') log.warn({ err: lastError }, 'session store connection was closed; trying again')
    isDown = true
  })
  redis.on('ready', () => {
    if (isDown) log.info('session store is reachable again')
    isDown = false
    told.clear()
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

function unavailable(what: string, cause: Error | undefined): PosternError {
  return new PosternError('session_store_unavailable', `session store: ${what}`, cause === undefined ? {} : { cause })
}
