/**
 * Which events become lines, and what is said of those that do not.
 *
 * A line is refused where the queue has no room for it, and where the disk has none and it is about requests: those are what traffic makes,
 * while ends, locks, sign-ins and what administrators do have the reserve and as much of the queue again. What is refused never had a number;
 * it is counted, and an `audit.resumed` line states the gap. Until then every line about requests is refused, so that no decision that is
 * there refers to facts that are not. Before it is known where the chain goes on, lines wait here without a place.
 */

import type { ChainLines } from './chain-lines.ts'
import type { AuditEvent } from './event.ts'
import { formatAuditLine } from './line.ts'
import type { LineQueue } from './line-queue.ts'

export interface TrailIntakeOptions {
  readonly queue: LineQueue
  readonly queueBytes: number
  readonly instance: string
  readonly now: () => number
  /** Whether the reserve of the disk is in use. */
  readonly isFull: () => boolean
  /** Hears that something was queued. */
  readonly onQueued: () => void
  readonly onLost: (() => void) | undefined
}

export interface TrailIntake {
  readonly waitingLines: number
  readonly waitingBytes: number
  /** Lines that were refused, ever, and those that no line states yet. */
  readonly lost: number
  readonly gap: number
  /** The last line was refused. */
  readonly isLastRefused: boolean
  /** Throws where an event cannot be written as a line. */
  accept(event: AuditEvent): void
  /** Counts a line that could not be made. */
  refuse(): void
  /** From now on lines go to this chain: `first`, if anything, and then those that waited. */
  beginChain(chain: ChainLines, first: AuditEvent | undefined): void
  /** States the gap, if there is one. */
  stateGap(): void
  /** Refuses everything from now on. */
  close(): void
}

/** An intake for a chain that is not known yet. */
export function createTrailIntake({ queue, queueBytes, instance, now, isFull, onQueued, onLost }: TrailIntakeOptions): TrailIntake {
  let lines: ChainLines | undefined
  let waiting: { readonly text: string; readonly at: number; readonly isFacts: boolean }[] = []
  let waitingBytes = 0
  let gap = { count: 0, since: 0 }
  let lost = 0
  let isLastRefused = false
  let isClosed = false

  /** An event of the trail's own, for which there is always room. */
  const add = (to: ChainLines, event: AuditEvent) => {
    const at = now()
    to.add(formatAuditLine(event, at, instance, to.next(at)), at, false)
  }

  const refuse = (at: number) => {
    isLastRefused = true
    lost += 1
    gap = { count: gap.count + 1, since: gap.count === 0 ? at : gap.since }
    onLost?.()
  }

  return {
    get waitingLines() {
      return waiting.length
    },
    get waitingBytes() {
      return waitingBytes
    },
    get lost() {
      return lost
    },
    get gap() {
      return gap.count
    },
    get isLastRefused() {
      return isLastRefused
    },
    accept: (event) => {
      const at = now()
      const isBulk = isAboutRequest(event)
      if (isClosed || (isBulk && (gap.count > 0 || isFull()))) return refuse(at)
      const text = formatAuditLine(event, at, instance, lines?.next(at))
      if (queue.bytes + waitingBytes + text.length > (isBulk ? queueBytes : 2 * queueBytes)) return refuse(at)
      isLastRefused = false
      const isFacts = event.event === 'facts.recorded'
      if (lines === undefined) {
        waiting.push({ text, at, isFacts })
        waitingBytes += text.length
      } else lines.add(text, at, isFacts)
      // Files are removed on the strength of it: it is signed at once.
      if (event.event === 'audit.pruned') lines?.checkpoint(at)
      onQueued()
    },
    refuse: () => refuse(now()),
    beginChain: (chain, first) => {
      if (first !== undefined) add(chain, first)
      // Without a place a line begins with its brace alone.
      for (const { text, at, isFacts } of waiting) chain.add(chain.next(at) + text.slice(1), at, isFacts)
      lines = chain
      waiting = []
      waitingBytes = 0
    },
    stateGap: () => {
      if (gap.count === 0 || lines === undefined) return
      const { count, since } = gap
      gap = { count: 0, since: 0 }
      add(lines, { event: 'audit.resumed', lost: count, since })
    },
    close: () => {
      isClosed = true
    },
  }
}

/** Lines that traffic makes. */
function isAboutRequest({ event }: AuditEvent): boolean {
  switch (event) {
    case 'access.decided':
    case 'access.ended':
    case 'access.counted':
    case 'facts.recorded':
    case 'post.kept':
    case 'post.resumed':
    case 'post.discarded':
      return true
    default:
      return false
  }
}
