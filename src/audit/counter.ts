/**
 * Counting instead of listing: what strangers cause is written as one `access.counted` line per address, app, reason and minute.
 *
 * Otherwise anybody on the network could fill the disk, or bury a real event under noise. The number of lines a minute is bounded
 * too: beyond it, addresses are merged into `*`. Decisions about a signed-in person or a service are never counted, always listed.
 */

import type { AuditEvent } from './event.ts'

export interface StrangerCounter {
  /** Takes an event of a stranger into account; `true` if that replaces its line. */
  absorbs(event: AuditEvent): boolean
  /** Hands over what was counted since the last call. */
  flush(): void
  close(): void
}

export interface StrangerCounterOptions {
  readonly record: (event: AuditEvent) => void
  readonly now: () => number
  readonly intervalMs?: number
  readonly maxKeys?: number
}

/** Enough to investigate a broken sign-in, too few to fill anything. */
const failedSignInLinesPerAddress = 10

/** A counter that hands its lines to `record` each minute. */
export function createStrangerCounter({ record, now, intervalMs = 60_000, maxKeys = 1000 }: StrangerCounterOptions): StrangerCounter {
  type Count = {
    address: string
    app: string | undefined
    reason: Extract<AuditEvent, { event: 'access.counted' }>['reason']
    count: number
  }
  let counts = new Map<string, Count>()
  let failedSignIns = new Map<string, number>()
  let since = now()

  const count = (address: string, app: string | undefined, reason: Count['reason']) => {
    const key = `${reason}\n${app ?? ''}\n${address}`
    const known = counts.get(key)
    if (known !== undefined) known.count += 1
    // Merged ones may go beyond the bound, by apps × reasons at most: both are ours, not the stranger's.
    else if (counts.size < maxKeys || address === '*') counts.set(key, { address, app, reason, count: 1 })
    else count('*', app, reason)
  }

  const isStillListed = (address: string) => {
    const lines = failedSignIns.get(address) ?? 0
    if (lines >= failedSignInLinesPerAddress || (lines === 0 && failedSignIns.size >= maxKeys)) return false
    failedSignIns.set(address, lines + 1)
    return true
  }

  const flush = () => {
    const counted = counts
    const started = since
    counts = new Map()
    failedSignIns = new Map()
    since = now()
    for (const entry of counted.values()) record({ event: 'access.counted', ...entry, since: started })
  }

  const timer = setInterval(flush, intervalMs)
  timer.unref()

  return {
    absorbs: (event) => {
      if (event.event === 'access.decided' && event.subject.kind === 'nobody' && event.effect !== 'allow') {
        count(event.address ?? '*', event.app, event.reason)
        return true
      }
      if (event.event === 'sign_in.failed' && !isStillListed(event.address)) {
        count(event.address, undefined, event.reason)
        return true
      }
      return false
    },
    flush,
    close: () => {
      clearInterval(timer)
      flush()
    },
  }
}
