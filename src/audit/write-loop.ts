/**
 * When what is queued is written, when it is put on the disk, and what happens when neither works.
 *
 * One run at a time: it writes what was queued when it began, and puts it on the disk if somebody waits or a second has gone by. All who
 * begin to wait during a run are served by the next one together (group commit); while nobody waits, lines gather for some milliseconds.
 * A run that fails is tried again each second. A disk without room takes the reserve first: from then on the trail is *full*, what is
 * queued is still written, and the caller refuses lines about requests until the reserve could be made again.
 * A disk that answers nothing is *stuck*: whoever waits is told so after a time, and whoever comes then is told at once.
 */

import { performance } from 'node:perf_hooks'
import type { Logger } from '../log.ts'
import type { LineQueue } from './line-queue.ts'
import { isForWantOfRoom } from './reserve.ts'
import type { Segments } from './segments.ts'

export interface WriteLoopOptions {
  readonly queue: LineQueue
  readonly segments: Segments
  /** See `reserve.ts`. */
  readonly reserve: { make(): Promise<boolean>; giveUp(): Promise<boolean> }
  /** Of the last line that was queued. */
  readonly lastSeq: () => number
  /** Finds out where the chain goes on, and resolves to the last line there is. Called first, and again until it succeeds. */
  readonly start: () => Promise<number>
  /** More can be read in the files. */
  readonly onWritten: () => void
  /** Lines up to this one are on the disk. */
  readonly onSynced: (seq: number) => void
  /** Hears how long each fsync took, in seconds. */
  readonly onFsync?: ((seconds: number) => void) | undefined
  /** Lines can be written, and those about requests are welcome. Called after every write while that is so. */
  readonly onRoom: () => void
  readonly log: Pick<Logger, 'warn' | 'error'>
  /** For the log. */
  readonly folder: () => string
  /** In full: a run is due when so much waits, however little the time. */
  readonly batchBytes: number
  readonly gatherMs: number
  readonly retryMs: number
  readonly syncMs: number
  readonly settleTimeoutMs: number
}

export interface WriteLoop {
  /** The last attempt failed, or the disk does not answer. */
  readonly isFailing: boolean
  /** The reserve is in use. */
  readonly isFull: boolean
  /** Writes and fsyncs that succeeded, since the start. */
  readonly writes: number
  readonly syncs: number
  /** Runs once now, whatever there is. */
  begin(): Promise<void>
  /** Something was queued. */
  notice(): void
  /** See `AuditTrail.settle`. */
  settle(): Promise<boolean>
  /** Writes what is queued and puts it on the disk, in one attempt; resolves in any case, and after the time-out. */
  flush(): Promise<void>
  /** No run begins from now on by itself. */
  stop(): void
}

/** Who waits for one run. */
interface Round {
  readonly promise: Promise<boolean>
  finish(isOnDisk: boolean): void
}

/**
 * While syncs follow each other, one begins so long after the one before: whoever comes meanwhile joins it. On a fast disk a sync is over
 * in 0.3 ms and costs some 150 µs of CPU, which five requests would share; so it is thirty.
 */
const joinMs = 2

const yes = Promise.resolve(true)
const no = Promise.resolve(false)

/** A loop that rests until something is queued. */
export function createWriteLoop(options: WriteLoopOptions): WriteLoop {
  const { queue, segments, reserve, lastSeq, log, folder, gatherMs, retryMs, syncMs, settleTimeoutMs } = options
  let isStarted = false
  let isFailing = false
  let isFull = false
  let isStuck = false
  let isStopped = false
  let syncedSeq = 0
  let writes = 0
  let syncs = 0
  let round: Round | undefined
  let running: Promise<void> | undefined
  let gatherTimer: NodeJS.Timeout | undefined
  let hurryTimer: NodeJS.Immediate | undefined
  let joinTimer: NodeJS.Timeout | undefined
  let syncedAt = Number.NEGATIVE_INFINITY
  let syncTimer: NodeJS.Timeout | undefined
  let roomTimer: NodeJS.Timeout | undefined
  let isSyncDue = false
  let isLookDue = false

  const notice = () => {
    if (gatherTimer !== undefined || running !== undefined || hurryTimer !== undefined || isStopped) return
    gatherTimer = setTimeout(begin, isFailing ? retryMs : gatherMs)
    if (isFailing) gatherTimer.unref()
  }

  /** Behind what is ready at this moment, so that requests that arrived together wait together. */
  const hurry = () => {
    if (isFailing) return notice()
    if (running !== undefined || hurryTimer !== undefined || joinTimer !== undefined || isStopped) return
    const leftMs = syncedAt + joinMs - performance.now()
    if (leftMs > 0 && !isSyncDue && !isLookDue) joinTimer = setTimeout(begin, leftMs)
    else hurryTimer = setImmediate(begin)
  }

  const begin = (): Promise<void> => {
    clearTimeout(gatherTimer)
    clearImmediate(hurryTimer)
    clearTimeout(joinTimer)
    joinTimer = undefined
    gatherTimer = undefined
    hurryTimer = undefined
    running ??= run().finally(() => {
      running = undefined
      isStuck = false
      if (isFailing || (round === undefined && !isSyncDue && !isLookDue && queue.bytes < options.batchBytes)) {
        if (isFailing || queue.lines > 0) notice()
      } else hurry()
    })
    return running
  }

  const run = async () => {
    const waiting = takeRound()
    const wasFailing = isFailing
    try {
      if (!isStarted) {
        syncedSeq = await options.start()
        isStarted = true
        if (!(await reserve.make())) enterFull(undefined)
      }
      const goal = lastSeq()
      while (lastSeq() - queue.lines < goal) await writeBatch()
      if (isLookDue) await lookForRoom()
      // Lines go on being written while nobody waits for the disk; a disk that failed has to prove itself first.
      if (waiting !== undefined || wasFailing) await sync()
      else if (isSyncDue) void sync().catch(fail)
      if (wasFailing) {
        log.warn({ folder: folder() }, 'the audit trail can be written again')
        isFailing = false
      }
      if (!isFull) options.onRoom()
      waiting?.finish(true)
    } catch (error) {
      fail(error)
      waiting?.finish(false)
    }
  }

  const fail = (error: unknown) => {
    if (!isFailing) log.error({ err: error, folder: folder() }, 'the audit trail cannot be written')
    isFailing = true
    // Who came while it failed need not wait for a second failure.
    takeRound()?.finish(false)
    notice()
  }

  const writeBatch = async () => {
    const batch = queue.take()
    if (batch === undefined) throw new Error('lines are missing from the queue')
    try {
      await segments.append(batch)
    } catch (error) {
      if (!isForWantOfRoom(error)) throw error
      enterFull(error)
      if (!(await reserve.giveUp())) throw error
      return
    }
    queue.drop()
    writes += 1
    options.onWritten()
    if (!isFull && !isFailing) options.onRoom()
    if (syncTimer !== undefined) return
    syncTimer = setTimeout(() => {
      syncTimer = undefined
      if (lastSeq() - queue.lines <= syncedSeq) return
      isSyncDue = true
      hurry()
    }, syncMs)
    syncTimer.unref()
  }

  const enterFull = (error: unknown) => {
    if (!isFull) log.error({ err: error, folder: folder() }, 'there is no room for the audit trail: lines about requests are refused')
    isFull = true
    roomTimer ??= setInterval(() => {
      isLookDue = true
      hurry()
    }, retryMs)
    roomTimer.unref()
  }

  const lookForRoom = async () => {
    isLookDue = false
    if (!(await reserve.make())) return
    if (isFull) log.warn({ folder: folder() }, 'there is room for the audit trail again')
    isFull = false
    clearInterval(roomTimer)
    roomTimer = undefined
  }

  const sync = async () => {
    const seq = lastSeq() - queue.lines
    isSyncDue = false
    if (seq <= syncedSeq) return
    const startedAt = performance.now()
    syncedAt = startedAt
    try {
      await segments.sync()
    } catch (error) {
      isSyncDue = true
      throw error
    }
    syncs += 1
    options.onFsync?.((performance.now() - startedAt) / 1000)
    syncedSeq = Math.max(syncedSeq, seq)
    options.onSynced(syncedSeq)
  }

  const takeRound = (): Round | undefined => {
    const taken = round
    round = undefined
    return taken
  }

  const openRound = (): Round => {
    const { promise, resolve } = Promise.withResolvers<boolean>()
    const opened: Round = {
      promise,
      finish: (isOnDisk) => {
        clearTimeout(timer)
        resolve(isOnDisk)
      },
    }
    const timer = setTimeout(() => {
      if (!isStuck) log.error({ folder: folder() }, 'the disk of the audit trail does not answer')
      isStuck = running !== undefined
      if (round === opened) round = undefined
      resolve(false)
    }, settleTimeoutMs)
    return opened
  }

  return {
    get isFailing() {
      return !isStarted || isFailing || isStuck
    },
    get isFull() {
      return isFull
    },
    get writes() {
      return writes
    },
    get syncs() {
      return syncs
    },
    begin,
    notice,
    settle: () => {
      if (isFailing || isStuck || isStopped) return isStarted && lastSeq() <= syncedSeq ? yes : no
      if (isStarted && lastSeq() <= syncedSeq) return yes
      round ??= openRound()
      const { promise } = round
      hurry()
      return promise
    },
    flush: async () => {
      const { promise, resolve } = Promise.withResolvers<void>()
      const timer = setTimeout(resolve, settleTimeoutMs)
      const work = async () => {
        await running
        round ??= openRound()
        await begin()
      }
      await Promise.race([work(), promise])
      clearTimeout(timer)
    },
    stop: () => {
      isStopped = true
      for (const timer of [gatherTimer, joinTimer, syncTimer, roomTimer]) clearTimeout(timer)
      clearImmediate(hurryTimer)
    },
  }
}
