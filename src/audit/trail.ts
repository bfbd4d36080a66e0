/**
 * The audit trail: events in, a chain of lines of NDJSON in `data_dir/audit/<instance>-<process>/` out, in order (see `chain.ts`).
 *
 * `record` never waits and never throws: it is called between a decision and its consequence. Lines are queued as they will be written;
 * `settle` waits until they are on the disk. What cannot be written stays queued up to a bound and is tried again each second; meanwhile
 * `isWritable` is false, so that the data plane can refuse where the trail is a condition. On a full disk lines about requests are refused
 * at once and the rest has the reserve. What was refused never had a number, is counted, and an `audit.resumed` line states the gap.
 * Strangers are counted instead of listed (`counter.ts`).
 */

import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import type { AuditKey } from '../keys.ts'
import type { Logger } from '../log.ts'
import type { Anchors } from './chain.ts'
import { type ChainLines, createChainLines } from './chain-lines.ts'
import { startChain } from './chain-start.ts'
import { createStrangerCounter } from './counter.ts'
import type { AuditEvent, AuditTrail } from './event.ts'
import { type FolderLock, lockFolder } from './folder-lock.ts'
import { createHeadAnchoring } from './head-anchoring.ts'
import { createLineQueue } from './line-queue.ts'
import { createReserve } from './reserve.ts'
import { createSegments, type SegmentHandle } from './segments.ts'
import { createTrailIntake } from './trail-intake.ts'
import { createWriteLoop } from './write-loop.ts'

export interface AuditTrailOptions {
  /** `data_dir/audit`. */
  readonly folder: string
  /** Name of this instance, in each line and in the folder's name. */
  readonly instance: string
  /** Tells apart the processes of one instance. */
  readonly process: string
  /** Signs checkpoints. Another key than before signs from a new segment on. */
  readonly key: () => AuditKey
  /** Where the head of the chain is remembered; left out: nowhere. */
  readonly anchors?: Pick<Anchors, 'load' | 'save'> | undefined
  /** Epoch milliseconds. */
  readonly now: () => number
  readonly log: Pick<Logger, 'warn' | 'error'>
  readonly checkpointLines?: number
  readonly checkpointMs?: number
  readonly segmentBytes?: number
  readonly segmentAgeMs?: number
  readonly queueBytes?: number
  /** Kept free on the disk for what is not about requests; 0: nothing. */
  readonly reserveBytes?: number
  /** How long a line may wait for others before it is written, while nobody waits for it. */
  readonly gatherMs?: number
  /** How long a line may wait for an fsync, while nobody waits for it. */
  readonly syncMs?: number
  readonly settleTimeoutMs?: number
  readonly retryMs?: number
  /** Hears of each line that is lost. */
  readonly onLost?: () => void
  /** Hears how long each fsync took, in seconds. */
  readonly onFsync?: (seconds: number) => void
  /** Opens a segment's file, which must not be there yet. */
  readonly openFile?: ((path: string) => Promise<SegmentHandle>) | undefined
}

export interface TrailStatus {
  readonly queuedLines: number
  readonly queuedBytes: number
  /** Lines that were refused since the trail was opened. */
  readonly lost: number
  /** There is no room on the disk: lines about requests are refused. */
  readonly isFull: boolean
  /** Nothing can be written, or the disk does not answer. */
  readonly isFailing: boolean
  /** Of the last line that was queued. */
  readonly seq: number
  readonly segment: number
  /** When the last checkpoint was signed, epoch milliseconds; `undefined` before the first since the trail was opened. */
  readonly checkpointAt: number | undefined
  /** Writes and fsyncs since the trail was opened. */
  readonly writes: number
  readonly syncs: number
}

/** The trail that this process writes. */
export interface WrittenTrail extends AuditTrail {
  /** The chain's folder and its name; the next of that name where another process holds the first. */
  readonly folder: string
  readonly chain: string
  status(): TrailStatus
  /** `listener` is told whenever there is more to read in the files, until the returned function is called. It must return quickly. */
  onWritten(listener: () => void): () => void
}

/** As in a line: a checkpoint signs the name that stands there. */
const longestInstanceName = 128

/** A store that does not answer must not keep an instance from stopping. */
const anchorPatienceMs = 2000

/** So much a write: enough to make the cost of one negligible, little enough not to hold up a shutdown. */
const batchBytes = 256 * 1024

/**
 * Opens the trail, and repairs what a crash left of it. Never rejects: a trail that cannot be opened is one that cannot be written, and is
 * tried again like one.
 */
export async function openAuditTrail(options: AuditTrailOptions): Promise<WrittenTrail> {
  const { now, log, settleTimeoutMs = 5000 } = options
  let chain = `${fileName(options.instance)}-${fileName(options.process)}`
  let lock: FolderLock | undefined
  const folder = () => join(options.folder, chain)

  const queue = createLineQueue(batchBytes)
  const listeners = new Set<() => void>()
  /** The line that the chain went on behind, as long as nobody knows whether the store remembers a later one. */
  let unreadSince: number | undefined
  const mayReplaceAnchor = async () => {
    if (unreadSince === undefined) return true
    const anchor = await options.anchors?.load(chain)
    const foundSeq = unreadSince
    unreadSince = undefined
    if (anchor === undefined || anchor.seq <= foundSeq) return true
    const repaired = { event: 'audit.repaired', tornBytes: 0, foundSeq, anchoredSeq: anchor.seq } as const
    log.warn({ chain, ...repaired }, 'the audit trail was repaired')
    guarded(intake.accept)(repaired)
    // The next checkpoint covers that line, and takes the place of what the store remembers.
    return false
  }
  const anchoring = createHeadAnchoring(options.anchors, log, mayReplaceAnchor)
  const reserve = createReserve(options.reserveBytes ?? 16 * 1024 * 1024)
  /** `undefined` until it is known where the chain goes on. */
  let lines: ChainLines | undefined
  let checkpointAt: number | undefined
  let isClosed = false
  let closing: Promise<void> | undefined

  const start = async (): Promise<number> => {
    const started = await startChain({ folder: options.folder, name: chain, anchors: options.anchors, log })
    chain = started.chain
    lock = started.lock
    if (started.isAnchorUnread) unreadSince = started.head.seq
    lines = createChainLines({
      queue,
      chain,
      instance: options.instance.slice(0, longestInstanceName),
      key: options.key,
      head: started.head,
      segment: started.segment,
      segmentBytes: options.segmentBytes ?? 64 * 1024 * 1024,
      segmentAgeMs: options.segmentAgeMs ?? 24 * 3_600_000,
      checkpointLines: options.checkpointLines ?? 1000,
      onCheckpoint: (head) => {
        checkpointAt = head.at
        anchoring.expect(head)
      },
      log,
    })
    intake.beginChain(lines, started.repaired)
    return started.head.seq
  }

  const segments = createSegments({
    folder,
    prepareFolder: async () => {
      if (await lock?.isInPlace()) return
      const another = await lockFolder(folder())
      if (another === undefined) throw new Error('another process took the folder')
      lock?.release()
      lock = another
      if (!loop.isFull) await reserve.make(folder())
    },
    onVanished: () => {
      log.error({ folder: folder() }, 'a file of the audit trail has vanished')
      lines?.renewSegment()
    },
    monotonicNow: () => performance.now(),
    openFile: options.openFile,
  })

  const loop = createWriteLoop({
    queue,
    segments,
    reserve: { make: () => reserve.make(folder()), giveUp: () => reserve.giveUp(folder()) },
    lastSeq: () => lines?.seq ?? 0,
    start,
    onWritten: () => {
      for (const listener of listeners) tell(listener)
    },
    onSynced: anchoring.reached,
    onFsync: options.onFsync,
    onRoom: () => intake.stateGap(),
    log,
    folder,
    batchBytes,
    gatherMs: options.gatherMs ?? 10,
    retryMs: options.retryMs ?? 1000,
    syncMs: options.syncMs ?? 1000,
    settleTimeoutMs,
  })

  const intake = createTrailIntake({
    queue,
    queueBytes: options.queueBytes ?? 8 * 1024 * 1024,
    instance: options.instance.slice(0, longestInstanceName),
    now,
    isFull: () => loop.isFull,
    onQueued: loop.notice,
    onLost: options.onLost,
  })

  /** A request must not fail for its record, but whoever demands the trail must hear of it. */
  const guarded = (hand: (event: AuditEvent) => void) => (event: AuditEvent) => {
    try {
      hand(event)
    } catch (error) {
      intake.refuse()
      log.error({ err: error, event: event.event }, 'an audit event could not be written as a line')
    }
  }

  /** A reader that stumbles must not look like a disk that does. */
  const tell = (listener: () => void) => {
    try {
      listener()
    } catch (error) {
      log.error({ err: error }, 'a reader of the audit trail could not be told of new lines')
    }
  }

  const checkpoint = () => {
    const before = queue.lines
    lines?.checkpoint(now())
    if (queue.lines > before) loop.notice()
  }

  const close = async () => {
    counter.close()
    isClosed = true
    intake.close()
    clearInterval(checkpointTimer)
    lines?.checkpoint(now())
    await loop.flush()
    // A gap that could be stated only now, or lines that had to wait for the start of the chain.
    lines?.checkpoint(now())
    if (queue.lines > 0 && !loop.isFailing) await loop.flush()
    loop.stop()
    const missing = queue.lines + intake.waitingLines + intake.gap
    if (missing > 0) log.error({ folder: folder(), lost: missing }, 'audit lines were lost at shutdown')
    await within(settleTimeoutMs, segments.close()).catch((error: unknown) =>
      log.error({ err: error, folder: folder() }, 'the audit trail could not be closed'),
    )
    await within(anchorPatienceMs, anchoring.settle())
    lock?.release()
  }

  const counter = createStrangerCounter({ record: guarded(intake.accept), now })
  const checkpointTimer = setInterval(checkpoint, options.checkpointMs ?? 10_000)
  checkpointTimer.unref()
  await within(settleTimeoutMs, loop.begin())

  return {
    get folder() {
      return folder()
    },
    get chain() {
      return chain
    },
    record: guarded((event) => {
      // What was counted before the end belongs before it: the end of a life is its last line.
      if (event.event === 'instance.stopped') counter.flush()
      if (!counter.absorbs(event)) intake.accept(event)
    }),
    settle: () => (intake.isLastRefused ? Promise.resolve(false) : loop.settle()),
    segment: () => lines?.segment ?? 0,
    isWritable: () => !loop.isFailing && !loop.isFull && intake.gap === 0 && !isClosed,
    status: () => ({
      queuedLines: queue.lines + intake.waitingLines,
      queuedBytes: queue.bytes + intake.waitingBytes,
      lost: intake.lost,
      isFull: loop.isFull,
      isFailing: loop.isFailing,
      seq: lines?.seq ?? 0,
      segment: lines?.segment ?? 0,
      checkpointAt,
      writes: loop.writes,
      syncs: loop.syncs,
    }),
    onWritten: (listener) => {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
    close: () => {
      closing ??= close()
      return closing
    },
  }
}

/** Resolves when `work` does, or after the time, whatever becomes of it then. */
async function within(timeoutMs: number, work: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const timeout = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, timeoutMs)
  })
  try {
    await Promise.race([work, timeout])
  } finally {
    clearTimeout(timer)
  }
}

/** Names come from the configuration or the host's name; a path separator in one must not leave the folder. */
function fileName(text: string): string {
  return (
    text
      .replace(/[^A-Za-z0-9._-]/g, '_')
      .replace(/^\.+/, '_')
      .slice(0, 100) || '_'
  )
}
