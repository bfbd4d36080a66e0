/**
 * Tells of a store that answers, but with errors: a disk that is full, a server out of memory or one that became read-only.
 *
 * Requests are refused for it, each with `session_store_unavailable`, and the reason stands in no answer; so it must stand in the log.
 * Every refusal is counted. One of each kind is logged and then none of that kind for a minute, however many requests meet it.
 */

import type { Logger } from '../log.ts'

/** Where troubles go. */
export interface StoreTrouble {
  /** `kind` is a closed word, such as the error's code; `error` must hold nothing secret. */
  report(kind: string, error: unknown): void
  /** Counts a refusal whose cause is in the log already, such as a connection that is down. */
  count(): void
}

/** Long enough not to fill a log, short enough that the end of the trouble shows in it. */
const quietMs = 60_000

/** `onUnavailable` hears of each operation that was refused. */
export function createStoreTrouble(log: Logger | undefined, onUnavailable: (() => void) | undefined): StoreTrouble {
  const quiet = new Set<string>()
  return {
    report(kind, error) {
      onUnavailable?.()
      if (quiet.has(kind)) return
      quiet.add(kind)
      setTimeout(() => quiet.delete(kind), quietMs).unref()
      log?.error({ err: error, kind }, 'the session store refused an operation; what needed it was refused too')
    },
    count: () => onUnavailable?.(),
  }
}
