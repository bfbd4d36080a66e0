/**
 * The chain as its writer makes it: gives each line its place and the hash of the line before, begins segments, and signs checkpoints.
 *
 * A line has its number from the moment it is queued, so a line that was refused never had one and a number that is missing was once
 * there. A segment ends only behind a line that is no `facts.recorded`: facts and the decision that refers to them are always in one.
 * What is here knows no file: whether a line reaches the disk is the business of `write-loop.ts`.
 */

import type { AuditKey } from '../keys.ts'
import type { Logger } from '../log.ts'
import { type Anchor, type ChainHead, hashLine, lineForm, linePrefix, signCheckpoint } from './chain.ts'
import type { AuditEvent } from './event.ts'
import { formatAuditLine, formatLineInstant } from './line.ts'
import type { LineQueue } from './line-queue.ts'

export interface ChainLinesOptions {
  readonly queue: LineQueue
  readonly chain: string
  readonly instance: string
  /** The key that signs, asked for again and again: another one signs from the next segment on. */
  readonly key: () => AuditKey
  /** The line that the chain goes on behind, and the number of the segment that it goes on in. */
  readonly head: ChainHead
  readonly segment: number
  readonly segmentBytes: number
  readonly segmentAgeMs: number
  readonly checkpointLines: number
  /** Hears of each checkpoint once it is queued. */
  readonly onCheckpoint: (head: Anchor) => void
  readonly log: Pick<Logger, 'error'>
}

export interface ChainLines {
  /** Number of the last line. */
  readonly seq: number
  /** Number of the segment that the next line goes to. */
  readonly segment: number
  /** The beginning of the next line. Whoever asks for it adds that line before anybody asks again, or does not. */
  next(at: number): string
  /** Queues a line that was begun with `next`. `isFacts`: what comes next refers to it. */
  add(line: string, at: number, isFacts: boolean): void
  /** Signs what came since the last checkpoint, if anything did. */
  checkpoint(at: number): void
  /** Goes on in another segment as soon as facts allow. */
  renewSegment(): void
}

/** A chain that goes on behind `head`. */
export function createChainLines(options: ChainLinesOptions): ChainLines {
  const { queue, chain, instance, key, segmentBytes, segmentAgeMs, checkpointLines, log } = options
  let { seq, hash } = options.head
  let { segment } = options
  let signer: AuditKey | undefined
  let openedAt = 0
  let bytes = 0
  let linesSince = 0
  let isRenewalDue = false
  let isFirstAfterStart = true

  const push = (line: string) => {
    const written = queue.push(line, segment)
    seq += 1
    hash = hashLine(written)
    bytes += written.length + 1
    linesSince += 1
  }
  const pushEvent = (event: AuditEvent, at: number) => push(formatAuditLine(event, at, instance, linePrefix(seq + 1, hash)))

  const beginSegment = (at: number) => {
    const { kid, publicKey } = key()
    signer = key()
    openedAt = at
    pushEvent({ event: 'audit.segment_started', chain, segment, form: lineForm, key: kid, publicKey }, at)
    // What an earlier process left may not be signed: one that is killed within seconds again and again would never sign anything.
    if (isFirstAfterStart && options.head.seq > 0) checkpoint(at)
    isFirstAfterStart = false
  }

  const checkpoint = (at: number) => {
    if (signer === undefined || linesSince === 0) return
    try {
      const signature = signCheckpoint({ chain, instance, seq: seq + 1, prev: hash, at: formatLineInstant(at) }, signer.privateKey)
      pushEvent({ event: 'audit.checkpoint', chain, key: signer.kid, signature }, at)
      options.onCheckpoint({ chain, segment, seq, hash, at })
    } catch (error) {
      log.error({ err: error, chain }, 'a checkpoint of the audit trail could not be signed')
    }
    linesSince = 0
  }

  const endSegment = (at: number) => {
    checkpoint(at)
    segment += 1
    signer = undefined
    bytes = 0
    isRenewalDue = false
  }

  return {
    get seq() {
      return seq
    },
    get segment() {
      return segment
    },
    next: (at) => {
      if (signer === undefined) beginSegment(at)
      return linePrefix(seq + 1, hash)
    },
    add: (line, at, isFacts) => {
      push(line)
      if (isFacts) return
      const isOver = bytes >= segmentBytes || at - openedAt >= segmentAgeMs || isRenewalDue || key().kid !== signer?.kid
      if (isOver) endSegment(at)
      else if (linesSince >= checkpointLines) checkpoint(at)
    },
    checkpoint,
    renewSegment: () => {
      isRenewalDue = true
    },
  }
}
