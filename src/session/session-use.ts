/**
 * Writes down that sessions are used: seldom, in the background, and never in a way that could bring one back.
 *
 * Each instance writes a session's use at most once in an interval (a minute, less for very short idle timeouts), and not at all where
 * another instance just did. A use that cannot be written fails no request; it is tried again at the next one after the interval.
 */

import type { Logger } from '../log.ts'
import { isUseDue, type SessionLimits, useIntervalOf } from './lifetime.ts'
import type { SealedRecords } from './sealed-records.ts'
import type { Session } from './session.ts'
import { hashSessionId, recordNames, type SessionRecord } from './session-record.ts'
import type { SessionStore } from './store.ts'

/** Use of sessions on one instance. */
export interface SessionUse {
  recordUse(session: Session): void
  /** Sessions that were used here within the interval, a minute unless sessions end sooner. */
  count(): number
  /** Resolves when nothing is under way any more. */
  settle(): Promise<void>
}

/** What writing use needs of the rest. */
export interface SessionUseParts {
  readonly store: SessionStore
  readonly records: SealedRecords
  readonly limits: SessionLimits
  readonly monotonicNow: () => number
  readonly log: Logger
}

/** Nothing written yet. */
export function createSessionUse({ store, records, limits, monotonicNow, log }: SessionUseParts): SessionUse {
  const intervalMs = useIntervalOf(limits)
  /** When this instance last wrote the use of a session, on the monotonic clock; in the order of writing. */
  const writtenAt = new Map<string, number>()
  const writes = new Set<Promise<void>>()

  function forgetOld(now: number): void {
    for (const [id, at] of writtenAt) {
      if (now - at < intervalMs) break
      writtenAt.delete(id)
    }
  }

  async function write(sessionId: string): Promise<void> {
    const sessionHash = hashSessionId(sessionId)
    const [now, [end]] = await Promise.all([store.loadNow(), store.loadEnds([{ kind: 'session', idHash: sessionHash }])])
    if (end !== undefined) return
    await records.update<SessionRecord>(recordNames.session(sessionHash), ({ value }) =>
      // Another instance may have written it; and use never revives what has run out.
      isUseDue(value.session.lastUsedAt, limits, now) && now < value.session.lastUsedAt + limits.idleTimeoutSeconds * 1000
        ? { ...value, session: { ...value.session, lastUsedAt: now } }
        : undefined,
    )
  }

  return {
    recordUse(session) {
      const now = monotonicNow()
      if (now - (writtenAt.get(session.id) ?? Number.NEGATIVE_INFINITY) < intervalMs) return
      writtenAt.delete(session.id)
      writtenAt.set(session.id, now)
      forgetOld(now)
      const settled = write(session.id)
        .catch((error: unknown) => log.warn({ session: session.id, err: error }, 'the use of a session could not be written'))
        .finally(() => writes.delete(settled))
      writes.add(settled)
    },
    count() {
      forgetOld(monotonicNow())
      return writtenAt.size
    },
    async settle() {
      await Promise.all(writes)
    },
  }
}
