/**
 * The audit trail: events in, lines of NDJSON in `data_dir/audit/<instance>-<process>/` out, in order.
 *
 * `record` never waits and never throws: it is called between a decision and its consequence. Lines are queued and written in
 * batches, one write at a time. If the disk is full or gone, they stay queued up to a bound and are tried again each second;
 * `isWritable` says so meanwhile, so that the data plane can refuse where the trail is a condition. What did not fit into the
 * queue is counted, and an `audit.resumed` line states the gap. Strangers are counted instead of listed (`counter.ts`).
 */

import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import type { Logger } from '../log.ts'
import { createStrangerCounter } from './counter.ts'
import type { AuditEvent, AuditTrail } from './event.ts'
import { formatAuditLine } from './line.ts'
import { createLineQueue } from './line-queue.ts'
import { createSegments } from './segments.ts'

export interface AuditTrailOptions {
  /** `data_dir/audit`. */
  readonly folder: string
  /** Name of this instance, in each line and in the folder's name. */
  readonly instance: string
  /** Tells apart the processes of one instance. */
  readonly process: string
  /** Epoch milliseconds. */
  readonly now: () => number
  readonly log: Pick<Logger, 'warn' | 'error'>
  readonly segmentBytes?: number
  readonly queueBytes?: number
  /** How long a line may wait for others before it is written. */
  readonly gatherMs?: number
  readonly retryMs?: number
  /** Hears of each line that is lost. */
  readonly onLost?: () => void
}

/** So much a write: enough to make the cost of one negligible, little enough not to hold up a shutdown. */
const batchBytes = 256 * 1024

/** Opens the trail. Nothing is touched before the first event. */
export function createAuditTrail(options: AuditTrailOptions): AuditTrail {
  const { now, log, segmentBytes = 64 * 1024 * 1024, queueBytes = 8 * 1024 * 1024, gatherMs = 10, retryMs = 1000 } = options
  const folder = join(options.folder, `${fileName(options.instance)}-${fileName(options.process)}`)
  const segments = createSegments(folder, segmentBytes, () => performance.now())

  const queue = createLineQueue(batchBytes)
  let lost = { count: 0, since: 0 }
  let isFailing = false
  let isClosed = false
  let timer: NodeJS.Timeout | undefined
  let writing: Promise<void> | undefined

  const enqueue = (event: AuditEvent) => {
    const at = now()
    const line = formatAuditLine(event, at, options.instance)
    // Ends, sign-ins and the like have as much room again: traffic must not push them out.
    const room = event.event === 'access.decided' || event.event === 'access.ended' ? queueBytes : 2 * queueBytes
    if (isClosed || queue.bytes + line.length > room) return countLost(at)
    queue.push(line)
    if (timer === undefined && writing === undefined) schedule(gatherMs)
  }

  const countLost = (at: number) => {
    options.onLost?.()
    lost = { count: lost.count + 1, since: lost.count === 0 ? at : lost.since }
  }

  const counter = createStrangerCounter({ record: enqueue, now })

  const schedule = (delayMs: number) => {
    timer = setTimeout(() => {
      timer = undefined
      writing = writeQueue().finally(() => {
        writing = undefined
        if (!isClosed && queue.lines > 0) schedule(isFailing ? retryMs : gatherMs)
      })
    }, delayMs)
    if (isFailing) timer.unref()
  }

  /** What came while a batch was written waits for others again, unless it fills a batch: under load, writes are what is dear. */
  const writeQueue = async (): Promise<void> => {
    for (let isFirst = true; isFirst || isClosed || queue.bytes >= batchBytes; isFirst = false) {
      const batch = queue.take()
      if (batch === undefined) return
      try {
        await segments.append(batch)
      } catch (error) {
        if (!isFailing) log.error({ err: error, folder }, 'the audit trail cannot be written')
        isFailing = true
        return
      }
      queue.drop()
      if (isFailing) log.warn({ folder, lost: lost.count }, 'the audit trail can be written again')
      isFailing = false
      recordGap()
    }
  }

  const recordGap = () => {
    if (lost.count === 0) return
    queue.push(formatAuditLine({ event: 'audit.resumed', lost: lost.count, since: lost.since }, now(), options.instance))
    lost = { count: 0, since: 0 }
  }

  return {
    record: (event) => {
      try {
        // What was counted before the end belongs before it: the end of a life is its last line.
        if (event.event === 'instance.stopped') counter.flush()
        if (!counter.absorbs(event)) enqueue(event)
      } catch (error) {
        // A request must not fail for its record, but whoever demands the trail must hear of it.
        countLost(now())
        log.error({ err: error, event: event.event }, 'an audit event could not be written as a line')
      }
    },
    settle: async () => !isFailing,
    segment: () => 1,
    isWritable: () => !isFailing && lost.count === 0 && !isClosed,
    close: async () => {
      if (isClosed) return
      counter.close()
      isClosed = true
      clearTimeout(timer)
      await writing
      await writeQueue()
      if (queue.lines + lost.count > 0) log.error({ folder, lost: queue.lines + lost.count }, 'audit lines were lost at shutdown')
      await segments.close().catch((error: unknown) => log.error({ err: error, folder }, 'the audit trail could not be closed'))
    },
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
