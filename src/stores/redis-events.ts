/**
 * The event stream of a Redis server as one reader has it, on a connection of its own: `XREAD BLOCK` would keep every other command waiting.
 *
 * Each answer is a heartbeat, so it must come from the server that is written to, and a connection on which nothing came back for
 * four seconds is dropped: a peer that swallows bytes sends no error. What cannot be read gaplessly is called a gap, wrongly rather
 * than never: another connection than before (a fail-over may have lost what the old server had confirmed), another history of the
 * same server, a stream that is gone, went back behind the position, or was trimmed up to it.
 */

import { PosternError } from '../errors.ts'
import type { HeardStoreEvent, StoreEvent, StoreEvents, StoreNews } from '../session/store.ts'
import { createRedisClient } from './redis-client.ts'
import { redisErrorCode, withoutArguments } from './redis-error.ts'
import { readEventsState, type Script } from './redis-scripts.ts'

/** Where the stream is. */
export interface RedisEventsParts {
  /** May carry a password. */
  readonly url: string
  readonly key: string
  readonly connectTimeoutMs: number
  readonly clockShift: () => number
}

/** How long the server may wait for something to happen. */
const blockMs = 1_000

/** From a question to its answer, the server's waiting included. Less than what is held may be old. */
const watchdogMs = 4_000

/** How long a question waits for a connection that is being made. */
const connectMs = 1_000

/** Connects in the background, and again by itself. */
export function createRedisEvents({ url, key, connectTimeoutMs, clockShift }: RedisEventsParts): StoreEvents {
  const client = createRedisClient({
    url,
    connectionName: 'postern-events',
    connectTimeoutMs,
    commandTimeoutMs: undefined,
    silenceLimitMs: watchdogMs,
    slotKey: key,
  })
  let isClosed = false
  /** Counts connections; an answer on another one than the last has a gap before it. */
  let connection = 0
  let answeredOn = 0
  let history: string | undefined
  client.on('ready', () => {
    connection += 1
  })
  // Without a listener the client prints; that it is away shows in the question that is refused, and the other connection logs it.
  client.on('error', () => undefined)

  async function ask(position: string | undefined): Promise<StoreNews> {
    if (client.status !== 'ready') await untilReady()
    const askedOn = connection
    const reading = position === undefined ? null : client.callBuffer('XREAD', 'BLOCK', blockMs, 'STREAMS', key, position)
    // Both leave together, and the server answers them in this order.
    const [entries, state] = await Promise.all([reading, run(readEventsState)])
    const { now, role, replicationId, last, first, wasTrimmed } = stateOf(state)
    // A server that was demoted goes on answering, and nobody writes there any more.
    if (role === 'slave') throw unavailable('this server is a replica')
    const events = entriesOf(entries, Math.trunc(clockShift()))
    const hasMoved = askedOn !== connection || answeredOn !== askedOn || (history !== undefined && history !== replicationId)
    answeredOn = askedOn
    history = replicationId
    const isGap = position === undefined || hasMoved || isBehind(position, { last, first, wasTrimmed })
    return {
      events: events.map(({ event }) => event),
      position: events.at(-1)?.id ?? (isGap ? last : (position ?? last)),
      isGap,
      now,
    }
  }

  async function run(script: Script): Promise<unknown> {
    const args = [1, key, Math.trunc(clockShift())]
    try {
      return await client.callBuffer('EVALSHA', script.sha, ...args)
    } catch (error) {
      if (redisErrorCode(error) !== 'NOSCRIPT') throw error
    }
    return client.callBuffer('EVAL', script.source, ...args)
  }

  function untilReady(): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => settle(unavailable('not connected')), connectMs)
      timer.unref()
      const settle = (error?: PosternError) => {
        clearTimeout(timer)
        client.off('ready', onReady)
        client.off('end', onEnd)
        if (error === undefined) resolve()
        else reject(error)
      }
      const onReady = () => settle()
      const onEnd = () => settle(unavailable('closed'))
      client.on('ready', onReady)
      client.on('end', onEnd)
    })
  }

  return {
    async next(position) {
      if (isClosed) throw unavailable('closed')
      let watchdog: NodeJS.Timeout | undefined
      const silence = new Promise<never>((_, reject) => {
        watchdog = setTimeout(() => reject(unavailable(`nothing came back for ${watchdogMs} ms`)), watchdogMs)
        watchdog.unref()
      })
      try {
        return await Promise.race([ask(position), silence])
      } catch (error) {
        // Whatever went wrong, an answer that is still to come must not be taken for one to the next question.
        if (!isClosed) client.disconnect(true)
        throw error instanceof PosternError ? error : unavailable('the stream could not be read', error)
      } finally {
        clearTimeout(watchdog)
      }
    },
    async close() {
      isClosed = true
      client.disconnect()
    },
  }
}

interface Bounds {
  readonly last: string
  readonly first: string
  readonly wasTrimmed: boolean
}

/**
 * Whether something between the position and what the stream has may be missing. An entry that is older than the position, or is the
 * position, proves that nothing is; so does a stream that ends there, and one that never lost an entry.
 */
function isBehind(position: string, { last, first, wasTrimmed }: Bounds): boolean {
  const order = compareIds(position, last)
  if (order > 0) return true
  if (order === 0) return false
  if (position === '0-0' && !wasTrimmed) return false
  return first === '' || compareIds(first, position) > 0
}

/** Ids of a stream are `milliseconds-number`, either of them up to 64 bits. */
function compareIds(a: string, b: string): number {
  const [aTime = 0n, aNumber = 0n] = a.split('-').map(BigInt)
  const [bTime = 0n, bNumber = 0n] = b.split('-').map(BigInt)
  if (aTime !== bTime) return aTime < bTime ? -1 : 1
  return aNumber === bNumber ? 0 : aNumber < bNumber ? -1 : 1
}

interface StreamState extends Bounds {
  readonly now: number
  readonly role: string
  readonly replicationId: string
}

function stateOf(reply: unknown): StreamState {
  if (!Array.isArray(reply) || reply.length !== 6) throw unavailable('unexpected reply')
  const [now, role, replicationId, last, first, wasTrimmed] = reply.map(String)
  const instant = Number(now)
  if (!Number.isSafeInteger(instant) || !isId(last) || (first !== '' && !isId(first))) throw unavailable('unexpected reply')
  return { now: instant, role: role ?? '', replicationId: replicationId ?? '', last, first, wasTrimmed: wasTrimmed !== '0' }
}

function isId(text: string | undefined): text is string {
  return text !== undefined && /^\d{1,20}-\d{1,20}$/.test(text)
}

/** `[[key, [[id, [field, value, …]], …]]]`, or nothing where nothing happened. An id begins with its instant. */
function entriesOf(reply: unknown, shift: number): readonly { readonly id: string; readonly event: HeardStoreEvent }[] {
  if (reply === null) return []
  const [stream] = listOf(reply)
  return listOf(listOf(stream)[1]).map((entry) => {
    const [id, fields] = listOf(entry)
    const texts = listOf(fields).map(String)
    const fieldOf = (name: string) => texts[texts.indexOf(name) + 1] ?? ''
    // A kind that this version does not know comes from a newer one; whoever reads it treats it as a change of everything.
    const event = { kind: fieldOf('kind') as StoreEvent['kind'], detail: fieldOf('detail'), at: Number.parseInt(String(id), 10) + shift }
    return { id: String(id), event }
  })
}

function listOf(reply: unknown): readonly unknown[] {
  if (!Array.isArray(reply)) throw unavailable('unexpected reply')
  return reply
}

function unavailable(what: string, cause?: unknown): PosternError {
  const reason = cause === undefined ? {} : { cause: withoutArguments(cause) }
  return new PosternError('session_store_unavailable', `session store: event stream: ${what}`, reason)
}
