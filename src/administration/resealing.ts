/**
 * Seals durable records again under the current key, so that a rotation may retire the key they were sealed with.
 *
 * Volatile records die before their key does (`keys rotate` keeps it for a session's lifetime and an hour); durable ones do not die.
 * So all are looked at when an instance starts, after each rotation, and every half hour: the last because an instance that has not
 * read the new key file yet goes on sealing with the old key for some seconds. Writes are compare-and-set; whoever comes between wins,
 * and has sealed with a key at least as new. Any number of instances may do this at once.
 */

import { setImmediate as nextTurn } from 'node:timers/promises'
import { isPosternError } from '../errors.ts'
import type { Logger } from '../log.ts'
import { isSealedWithCurrentKey } from '../session/seal.ts'
import { type DurableParts, listDurable, openDurable, sealDurable } from './durable-records.ts'

/** What a sweep found. */
export interface ResealReport {
  readonly resealed: number
  /** Records that do not open with any key of the ring. Each is in the log. */
  readonly unreadable: number
}

/** Looks at every durable record once. Rejects with `session_store_unavailable`; doing it again is safe. */
export async function resealDurable(parts: DurableParts): Promise<ResealReport> {
  let resealed = 0
  let unreadable = 0
  for await (const { name, value, version } of listDurable(parts.store, undefined)) {
    if (isSealedWithCurrentKey(parts.keys(), value)) continue
    // The embedded store writes to the disk before it returns (measured: 3 ms a record), and no request is answered meanwhile: one a turn.
    await nextTurn()
    try {
      const content = openDurable<unknown>(parts, name, value)
      if (await parts.store.replaceDurable(name, { value: sealDurable(parts, name, content), version })) resealed += 1
    } catch (error) {
      if (!isPosternError(error) || error.code !== 'record_unreadable') throw error
      unreadable += 1
    }
  }
  return { resealed, unreadable }
}

/** Keeps durable records sealed with the current key for as long as an instance runs. */
export interface Resealing {
  /** Looks now: call it after a rotation. */
  request(): void
  close(): Promise<void>
}

/** How often, and where it is said. */
export interface ResealingOptions extends DurableParts {
  readonly log: Pick<Logger, 'error' | 'warn' | 'info'>
  readonly everyMs?: number
  /** After a sweep that the store did not let finish. */
  readonly retryMs?: number
}

/** A retired key stays for an hour more than a session may live; half of that leaves room for a sweep that fails. */
const everyMsByDefault = 30 * 60_000
const retryMsByDefault = 15_000

/** Begins with a first look, which waits for nobody and which nobody waits for. */
export function startResealing(options: ResealingOptions): Resealing {
  const { log, everyMs = everyMsByDefault, retryMs = retryMsByDefault } = options
  let timer: NodeJS.Timeout | undefined
  let sweeping: Promise<void> | undefined
  let isAskedAgain = false
  let isClosed = false
  let hasFailed = false

  async function sweep(): Promise<void> {
    try {
      const { resealed, unreadable } = await resealDurable(options)
      if (resealed > 0) log.info({ resealed }, 'durable records were sealed again with the current key')
      if (unreadable > 0) log.error({ unreadable }, 'durable records do not open; what they say is refused until their key is back')
      hasFailed = false
    } catch (error) {
      // The store says itself that it is away; one line says what else that keeps from being done.
      if (!hasFailed && !isClosed) log.warn({ err: error }, 'durable records could not be sealed again; trying again')
      hasFailed = true
    }
  }

  function run(): void {
    clearTimeout(timer)
    if (isClosed) return
    if (sweeping !== undefined) {
      isAskedAgain = true
      return
    }
    isAskedAgain = false
    sweeping = sweep().finally(() => {
      sweeping = undefined
      if (isAskedAgain) return run()
      timer = setTimeout(run, hasFailed ? retryMs : everyMs)
      timer.unref()
    })
  }

  run()
  return {
    request: run,
    async close() {
      isClosed = true
      clearTimeout(timer)
      await sweeping
      clearTimeout(timer)
    },
  }
}
