/**
 * A follower: hands the lines of one chain to one consumer, in order and at least once, and remembers how far it came.
 *
 * It reads the files, never the writer's memory, so a consumer that is slow, away or broken holds up nothing but itself: one batch is in
 * memory, the rest stays on the disk. A batch that was not taken is tried again, after pauses that grow, until it is taken; nothing is
 * ever left out silently. What retention removed before it could be sent is counted (`lost`) and said in the log.
 * The position is saved after the lines arrived, at most once a second: after a crash what was sent since is sent again.
 */

import type { Logger } from '../log.ts'
import { DeliveryError, type LineBatch, type LineConsumer, parseLineHead, parseSeq } from './follow-batch.ts'
import { type FollowPosition, loadPosition, savePosition } from './follow-position.ts'
import { createChainReader, type ReadBatch } from './follow-reader.ts'

/** What a follower is made with. */
export interface FollowerOptions {
  /** `data_dir/audit`. */
  readonly folder: string
  readonly chain: string
  /** Its own, beside the trail and never in it. */
  readonly positionFile: string
  /** For the log and the status. */
  readonly name: string
  readonly consumer: LineConsumer
  /** Epoch milliseconds. */
  readonly now: () => number
  readonly log: Pick<Logger, 'info' | 'warn' | 'error'>
  readonly batchLines?: number
  readonly batchBytes?: number
  /** How often it looks for new lines while there are some now and then; a chain in which nothing happens is looked at more rarely. */
  readonly lookMs?: number
  readonly saveMs?: number
  readonly leastPauseMs?: number
  readonly mostPauseMs?: number
}

/** How far a follower is. */
export interface FollowerStatus {
  readonly name: string
  readonly chain: string
  /** Lines that wait; `undefined` while their number is not known. */
  readonly lagLines: number | undefined
  /** Bytes that wait; compressed segments count as they are. */
  readonly lagBytes: number
  /** Epoch milliseconds; of the oldest line that waits. */
  readonly oldestUnsentAt: number | undefined
  /** Since the start of this process. */
  readonly sent: number
  readonly failures: number
  /** Lines that were removed before they could be sent, or could not be read. */
  readonly lost: number
  readonly lastError: string | undefined
}

/** A follower at work. */
export interface Follower {
  status(): FollowerStatus
  /** Says that there are new lines: one that rests looks at once. Cheap, and may be called for each write. */
  nudge(): void
  /** Sends what is there as far as it is taken within `drainMs`, at the third try at the latest, saves the position and ends. */
  close(drainMs?: number): Promise<void>
}

/** Longer than the pauses of a receiver that restarts; a receiver that asks for more is asked again after this. */
const longestAskedPauseMs = 300_000
/** After so many failures in a row it is no hiccup any more, and an operator must hear of it. */
const loudAfter = 5
/** A file that cannot be read so often is given up: the lines behind it matter as well. */
const unreadableAfter = 10
/** Of a chain in which nothing has happened for so long. */
const restfulLookMs = 2000
/** A receiver that stumbles at the very end is asked again; one that is away must not hold up the end of the process. */
const triesAtTheEnd = 3
const lastPauseMs = 100
const restAfterMs = 10_000
const measureEveryMs = 5000

/** Starts following. Never rejects and never throws: what goes wrong is in the status and in the log. */
export function createFollower(options: FollowerOptions): Follower {
  const { folder, chain, positionFile, name, consumer, now, log } = options
  const { batchLines = 1000, batchBytes = 512 * 1024, lookMs = 200, saveMs = 1000, leastPauseMs = 500, mostPauseMs = 30_000 } = options
  const who = { sink: name, chain }
  const abandon = new AbortController()
  let closeBy: number | undefined
  let wake: (() => void) | undefined

  let confirmed: FollowPosition | undefined
  let saved: FollowPosition | undefined
  let savedAt = 0
  let pending: ReadBatch | undefined
  let failuresInRow = 0
  let lastSeq: number | undefined
  let measuredAt = 0
  let newsAt = now()
  /** Nothing happened for a while. Otherwise looks have a fixed pace: one for each write would cost a busy trail more than it gains. */
  let isResting = false
  const counts = { sent: 0, failures: 0, lost: 0, lagBytes: 0 }
  let lastError: string | undefined

  let lastTries = triesAtTheEnd
  const isClosing = () => closeBy !== undefined

  const pause = (ms: number): Promise<void> =>
    new Promise((resolve) => {
      const timer = setTimeout(end, ms)
      timer.unref()
      wake = end
      function end() {
        clearTimeout(timer)
        wake = undefined
        resolve()
      }
    })

  const save = async (isDue: boolean) => {
    if (confirmed === undefined || confirmed === saved || !(isDue || now() - savedAt >= saveMs)) return
    const position = confirmed
    try {
      await consumer.settle?.()
      await savePosition(positionFile, position)
      saved = position
    } catch (error) {
      // Lines are sent again after a restart then; that must not keep those that follow from being sent now.
      note(error, 'the position of an audit sink could not be saved')
    }
    savedAt = now()
  }

  const note = (error: unknown, message: string) => {
    counts.failures += 1
    failuresInRow += 1
    lastError = error instanceof Error ? error.message : String(error)
    const isLoud = failuresInRow === loudAfter || (failuresInRow > loudAfter && failuresInRow % 100 === 0)
    const facts = { ...who, err: error, failures: failuresInRow, lag_bytes: counts.lagBytes }
    if (isLoud) log.error(facts, `${message}, again and again: lines wait on the disk until it is mended`)
    else if (failuresInRow === 1) log.warn(facts, message)
  }

  const pauseAfterFailure = (error: unknown): number => {
    const grown = Math.min(mostPauseMs, leastPauseMs * 2 ** Math.min(failuresInRow - 1, 20))
    const asked = error instanceof DeliveryError ? Math.min(error.retryAfterMs ?? 0, longestAskedPauseMs) : 0
    // Many followers must not come back in step: a receiver that comes up again would go down again.
    return Math.max(asked, grown * (0.75 + Math.random() / 2))
  }

  const measure = async () => {
    if (now() - measuredAt < measureEveryMs) return
    measuredAt = now()
    try {
      const found = await reader.measure(confirmed)
      counts.lagBytes = found.bytes
      lastSeq = found.lastSeq
    } catch {
      // A number for a gauge; the files are read for good soon enough, and fail loudly there.
    }
  }

  const countLost = ({ lost, isAgain }: ReadBatch) => {
    if (isAgain) log.warn(who, 'the remembered position does not fit the trail: lines are sent again')
    if (lost === 0) return
    counts.lost += lost
    log.error({ ...who, lost }, 'audit lines were removed before they could be sent: the receiver was away for longer than they are kept')
  }

  const limits = { lines: batchLines, bytes: Math.min(batchBytes, consumer.batchBytes ?? batchBytes) }
  let reader = createChainReader(folder, chain, undefined, limits)

  const begin = async () => {
    const found = await loadPosition(positionFile)
    if (found === 'unreadable')
      log.error({ ...who, file: positionFile }, 'the position of an audit sink cannot be read: all lines are sent again')
    else confirmed = saved = found
    reader = createChainReader(folder, chain, confirmed, limits)
  }

  /** Given up as soon as nobody waits any longer, also where the consumer does not listen to that. */
  const send = (batch: LineBatch): Promise<void> =>
    new Promise((resolve, reject) => {
      const giveUp = () => reject(new DeliveryError('the follower was closed'))
      abandon.signal.addEventListener('abort', giveUp)
      consumer
        .send(batch, abandon.signal)
        .then(resolve, reject)
        .finally(() => abandon.signal.removeEventListener('abort', giveUp))
    })

  /** One step; resolves to how long to wait before the next, `undefined` for the end. */
  const step = async (): Promise<number | undefined> => {
    if (pending === undefined) {
      try {
        pending = await reader.next()
      } catch (error) {
        note(error, 'a segment of the audit trail cannot be read')
        if (failuresInRow % unreadableAfter === 0) reader.skipSegment()
        return pauseAfterFailure(error)
      }
      if (pending === undefined) {
        counts.lagBytes = 0
        lastSeq = undefined
        await save(isClosing())
        if (isClosing()) return undefined
        isResting = now() - newsAt >= restAfterMs
        return isResting ? Math.max(lookMs, restfulLookMs) : lookMs
      }
      newsAt = now()
      countLost(pending)
    }
    const read = pending
    try {
      await send(read.batch)
    } catch (error) {
      if (isClosing()) {
        lastTries -= 1
        return lastTries > 0 ? lastPauseMs : undefined
      }
      await measure()
      const refusal = error instanceof DeliveryError && error.isRefusal
      note(error, refusal ? 'an audit sink refuses what it is sent' : 'an audit sink did not take what it was sent')
      return pauseAfterFailure(error)
    }
    if (failuresInRow > 1) log.info({ ...who, failures: failuresInRow }, 'an audit sink takes lines again')
    failuresInRow = 0
    lastError = undefined
    counts.sent += read.lines
    counts.lagBytes = Math.max(0, counts.lagBytes - read.batch.block.length)
    confirmed = read.after
    pending = undefined
    await save(false)
    await measure()
    return 0
  }

  const run = async () => {
    let isBegun = false
    for (;;) {
      if (isClosing() && now() >= (closeBy ?? 0)) break
      if (!isBegun) {
        try {
          await begin()
          isBegun = true
        } catch (error) {
          note(error, 'the position of an audit sink cannot be loaded')
          if (isClosing()) break
          await pause(pauseAfterFailure(error))
          continue
        }
      }
      const waitMs = await step()
      if (waitMs === undefined) break
      if (waitMs > 0 && isClosing() && pending === undefined) break
      if (waitMs > 0) await pause(waitMs)
    }
    await save(true)
    await reader.close()
  }
  const running = run().catch((error: unknown) => log.error({ ...who, err: error }, 'an audit sink stopped for a mistake of ours'))

  return {
    status: () => ({
      name,
      chain,
      lagLines: lagLinesOf(pending, confirmed, lastSeq),
      lagBytes: Math.max(counts.lagBytes, pending?.batch.block.length ?? 0),
      oldestUnsentAt: oldestOf(pending),
      sent: counts.sent,
      failures: counts.failures,
      lost: counts.lost,
      lastError,
    }),
    nudge: () => {
      newsAt = now()
      if (isResting) wake?.()
    },
    close: async (drainMs = 3000) => {
      closeBy ??= now() + drainMs
      wake?.()
      const timer = setTimeout(() => abandon.abort(), drainMs)
      await running
      clearTimeout(timer)
    },
  }
}

function lagLinesOf(
  pending: ReadBatch | undefined,
  confirmed: FollowPosition | undefined,
  lastSeq: number | undefined,
): number | undefined {
  if (pending === undefined) return 0
  if (lastSeq === undefined) return undefined
  return Math.max(pending.lines, lastSeq - (confirmed?.seq ?? (parseSeq(pending.batch.block) ?? 1) - 1))
}

function oldestOf(pending: ReadBatch | undefined): number | undefined {
  const head = pending === undefined ? undefined : parseLineHead(pending.batch.block)
  const at = head === undefined ? Number.NaN : Date.parse(head.at)
  return Number.isFinite(at) ? at : undefined
}
