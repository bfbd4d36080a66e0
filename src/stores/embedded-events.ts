/**
 * The event stream of the embedded store: a list in memory, for the one process that has the store open.
 *
 * Positions count from the opening of the store, whose name they carry: one of an earlier opening, or of an event that has left the list,
 * is a gap. Commands write through the running instance, so that its readers hear of what they did.
 */

import { randomBytes } from 'node:crypto'
import { PosternError } from '../errors.ts'
import type { HeardStoreEvent, StoreEvent, StoreEvents, StoreNews } from '../session/store.ts'

/** The stream of one opening of the store. */
export interface EmbeddedEvents {
  append(event: StoreEvent): void
  open(): StoreEvents
  /** Whoever waits is told that the store is away. */
  close(): void
}

/** More than can happen while a reader is busy with the last of them. */
const mostKept = 10_000

/** As long as a question to a server may wait. */
const waitMs = 1_000

/** An empty stream. `now` is the store's clock. */
export function createEmbeddedEvents(now: () => number): EmbeddedEvents {
  const opening = randomBytes(8).toString('hex')
  let kept: HeardStoreEvent[] = []
  /** Number of the last event; the first kept one has `last - kept.length + 1`. */
  let last = 0
  let isClosed = false
  const waiting = new Set<() => void>()

  function wake(): void {
    for (const stop of [...waiting]) stop()
  }

  function newsSince(position: string | undefined): StoreNews {
    const [of, number] = position?.split('-') ?? []
    const from = Number(number)
    const isKnown = of === opening && Number.isSafeInteger(from) && from <= last && from >= last - kept.length
    return {
      events: isKnown ? kept.slice(kept.length - (last - from)) : [],
      position: `${opening}-${last}`,
      isGap: !isKnown,
      now: now(),
    }
  }

  function open(): StoreEvents {
    let isOver = false
    let stopWaiting: (() => void) | undefined
    return {
      async next(position) {
        if (isOver || isClosed) throw away()
        const atOnce = newsSince(position)
        if (atOnce.isGap || atOnce.events.length > 0) return atOnce
        await new Promise<void>((resolve) => {
          const timer = setTimeout(() => stop(), waitMs)
          timer.unref()
          const stop = () => {
            clearTimeout(timer)
            waiting.delete(stop)
            stopWaiting = undefined
            resolve()
          }
          stopWaiting = stop
          waiting.add(stop)
        })
        if (isOver || isClosed) throw away()
        return newsSince(position)
      },
      async close() {
        isOver = true
        stopWaiting?.()
      },
    }
  }

  return {
    append(event) {
      kept.push({ ...event, at: now() })
      last += 1
      // Cut seldom and by half, so that an event does not cost the whole list.
      if (kept.length > mostKept) kept = kept.slice(mostKept / 2)
      wake()
    },
    open,
    close() {
      isClosed = true
      wake()
    },
  }
}

function away(): PosternError {
  return new PosternError('session_store_unavailable', 'session store: event stream: closed')
}
