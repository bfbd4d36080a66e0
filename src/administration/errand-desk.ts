/**
 * Where an instance carries out what all of them were asked: hears of an errand, does its part, and writes down how far it is.
 *
 * Whatever fails is written into the part, in a sentence that holds nothing of the cause: whoever reads it is told where to look. What is
 * carried out is stopped by its signal when the errand was cancelled, its time is over, or this instance closes; what it finds after that is
 * thrown away. Progress is written once a second at most, however often it is told.
 */

import { setTimeout as pause } from 'node:timers/promises'
import { errorCodes, isPosternError } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { ErrandRecord, ErrandRecords, PartRecord } from './errand-records.ts'
import type { ErrandContext, ErrandProgress } from './errands.ts'

/** What an instance does when asked. */
export type CarryOutErrand = (input: unknown, context: ErrandContext) => Promise<unknown>

export interface ErrandDeskParts {
  readonly records: ErrandRecords
  /** Of this instance in the registry. */
  readonly key: string
  readonly monotonicNow: () => number
  readonly log: Pick<Logger, 'error' | 'warn'>
}

/** The desk of one instance. Nothing here throws or rejects. */
export interface ErrandDesk {
  serve(kind: string, carryOut: CarryOutErrand): void
  /** Something of this errand changed: it began, was cancelled, or somebody wrote a part. */
  hear(hash: string): void
  /** What was told meanwhile is not known. */
  lookAgain(): void
  /** Stops everything, and resolves once it has. */
  close(): Promise<void>
}

interface Carried {
  readonly stop: AbortController
  isOver: boolean
}

const progressEveryMs = 1_000
const retryMs = 1_000
const mostAttempts = 60
/** Finished ones that are remembered, so that an event about one is not a reason to do it again. */
const mostRemembered = 500

/** A desk with nothing on it. */
export function createErrandDesk({ key, log, monotonicNow, records }: ErrandDeskParts): ErrandDesk {
  const served = new Map<string, CarryOutErrand>()
  const known = new Map<string, Carried>()
  const underWay = new Set<Promise<void>>()
  let isClosed = false

  function hear(hash: string): void {
    const carried = known.get(hash)
    if (isClosed || carried?.isOver === true) return
    if (carried === undefined) {
      const taken = { stop: new AbortController(), isOver: false }
      known.set(hash, taken)
      forgetOldest()
      keep(takeUp(hash, taken))
    } else {
      keep(stopIfGone(hash, carried))
    }
  }

  function keep(work: Promise<void>): void {
    const kept = work
      .catch((error: unknown) => log.warn({ err: error }, 'a part of an errand could not be written'))
      .finally(() => underWay.delete(kept))
    underWay.add(kept)
  }

  function forgetOldest(): void {
    for (const [hash, { isOver }] of known) {
      if (known.size <= mostRemembered) break
      if (isOver) known.delete(hash)
    }
  }

  async function stopIfGone(hash: string, { stop }: Carried): Promise<void> {
    if ((await records.loadErrand(hash)) === undefined) stop.abort()
  }

  async function takeUp(hash: string, carried: Carried): Promise<void> {
    try {
      const errand = await records.loadErrand(hash)
      // Begun before this instance was there, or taken back already.
      if (errand === undefined || !errand.asked.some((asked) => asked.key === key)) return
      const writer = createPartWriter(hash, errand)
      const part = await carryOut(errand, carried, writer.progress)
      await writer.finish(part, carried.stop.signal)
    } catch (error) {
      // When the store is back it is looked for again.
      known.delete(hash)
      throw error
    } finally {
      carried.isOver = true
    }
  }

  async function carryOut(errand: ErrandRecord, { stop }: Carried, progress: ErrandContext['progress']): Promise<PartRecord> {
    const work = served.get(errand.kind)
    if (work === undefined) return { state: 'failed', why: 'this instance is of another version and does not know how' }
    const timer = errand.timeoutMs === undefined ? undefined : setTimeout(() => stop.abort(), errand.timeoutMs).unref()
    try {
      return { state: 'done', part: await work(errand.input, { signal: stop.signal, progress }) }
    } catch (error) {
      if (!stop.signal.aborted) log.error({ err: error, errand: errand.kind }, 'an errand failed on this instance')
      return { state: 'failed', why: describe(error) }
    } finally {
      clearTimeout(timer)
    }
  }

  /** Writings of one part queue up: each compares with the one before. */
  function createPartWriter(hash: string, { expiresAt }: ErrandRecord) {
    let last: Promise<void> = Promise.resolve()
    let writtenAt = Number.NEGATIVE_INFINITY
    let waiting: ErrandProgress | undefined
    let timer: NodeJS.Timeout | undefined
    let isFinished = false

    function writeProgress(): void {
      timer = undefined
      const progress = waiting
      if (progress === undefined || isFinished) return
      waiting = undefined
      writtenAt = monotonicNow()
      // Where it cannot be written the next one may; nobody waits for it.
      last = last.then(() => records.savePart(hash, key, { state: 'running', progress }, expiresAt)).catch(() => undefined)
    }

    /** What took minutes to find is not lost because the store was away for one of them. */
    async function save(part: PartRecord, signal: AbortSignal): Promise<void> {
      for (let attempt = 1; ; attempt++) {
        try {
          return await records.savePart(hash, key, part, expiresAt)
        } catch (error) {
          if (!isPosternError(error)) {
            const why = error instanceof RangeError ? 'what it found is too large to be handed over' : describe(error)
            return await records.savePart(hash, key, { state: 'failed', why }, expiresAt)
          }
          if (attempt === mostAttempts || signal.aborted) throw error
          await pause(retryMs, undefined, { signal, ref: false }).catch(() => undefined)
        }
      }
    }

    return {
      progress(progress: ErrandProgress): void {
        waiting = progress
        if (timer !== undefined || isFinished) return
        const waitMs = writtenAt + progressEveryMs - monotonicNow()
        if (waitMs <= 0) writeProgress()
        else timer = setTimeout(writeProgress, waitMs).unref()
      },
      async finish(part: PartRecord, signal: AbortSignal): Promise<void> {
        isFinished = true
        clearTimeout(timer)
        await last
        if (!signal.aborted) await save(part, signal)
        // It may have been cancelled while this was being written, by somebody who saw no part of it.
        if ((await records.loadErrand(hash)) === undefined) await records.removePart(hash, key)
        else if (!signal.aborted) await records.tell(hash)
      },
    }
  }

  return {
    serve(kind, carryOutErrand) {
      if (served.has(kind)) throw new TypeError(`two parts of the program carry out ${kind}`)
      served.set(kind, carryOutErrand)
    },
    hear,
    lookAgain() {
      if (isClosed) return
      for (const [hash, carried] of known) if (!carried.isOver) keep(stopIfGone(hash, carried))
      keep(records.listErrands().then((hashes) => hashes.forEach(hear)))
    },
    async close() {
      isClosed = true
      for (const { stop } of known.values()) stop.abort()
      await Promise.all(underWay)
    },
  }
}

function describe(error: unknown): string {
  return isPosternError(error) ? errorCodes[error.code] : 'it failed; the log of this instance says why'
}
