/**
 * The ends, locks and news of one instance, kept by one loop over the store's event stream.
 *
 * The loop asks, hears, and asks again. What it holds is complete as of the moment a question was *sent*, if the answer has no gap: so an
 * answer that was long on its way counts for no more than it is worth. After a gap everything is read again, through the store's other
 * connection, before anything counts as current; what this instance knew and the store no longer has is given back to it. A change of
 * locks counts for nothing until they were read again: requests wait for that reading, some milliseconds, and are refused where it fails.
 *
 * Where the stream is late, `confirm` asks the store itself, one question at a time for everybody. Nothing here ever makes something
 * current because it could not be checked.
 */

import { setTimeout as pause } from 'node:timers/promises'
import { isPosternError, PosternError } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { End, HeardStoreEvent, LiveStore, SessionStore, StoreNews } from '../session/store.ts'
import { createHeldEnds, parseEndedDetail } from './held-ends.ts'
import type { Live, LiveEvent } from './live.ts'
import type { Lock, LockSet } from './lock.ts'
import { createLockSet } from './lock-set.ts'

/** What it is made from. */
export interface LiveParts {
  readonly store: LiveStore & Pick<SessionStore, 'loadNow'>
  /** Every lock on record, straight from the store. */
  readonly loadLocks: () => Promise<readonly Lock[]>
  readonly monotonicNow: () => number
  /** How long an end is held: as long as any session that it could concern may live. */
  readonly keepSeconds: number
  readonly log: Pick<Logger, 'info' | 'warn' | 'error'>
}

/** What an instance may go on without having heard from the store. */
export const currentForMs = 5_000

/** Pauses between questions that the store did not answer. */
const shortestPauseMs = 50
const longestPauseMs = 1_000

/** How long a request waits for the store to confirm what is held. */
const longestConfirmationMs = 2_000

const sweepEveryMs = 60_000

/**
 * How often locks are read although nobody told of a change: whoever set one may have been killed, or lost the store, between the record and
 * the news of it.
 */
const rereadLocksEveryMs = 10_000

/** Begins to listen at once. Nothing is current until everything was read for the first time. */
export function createLive(parts: LiveParts): Live {
  const { store, monotonicNow, keepSeconds, log } = parts
  const ends = createHeldEnds(keepSeconds)
  let locks: LockSet = createLockSet([])
  let hasDeviceLocks = false
  /** Whether everything up to `endsAt`, or `locksAt`, is held, on the monotonic clock. */
  let areEndsWhole = false
  let areLocksWhole = false
  let endsAt = Number.NEGATIVE_INFINITY
  let locksAt = Number.NEGATIVE_INFINITY
  /** Counts what makes a reading under way out of date. */
  let gaps = 0
  let lockChanges = 0
  /** Listeners wait to hear that everything was read again. */
  let isRegaining = true
  let areLocksAnnounced = true
  /** Of the first change of locks that nobody was told of yet. */
  let locksWrittenAt: number | undefined
  let lost: readonly End[] = []
  /** Ends that came while a reading was under way: that they are not in it does not mean that the store has lost them. */
  let heardMeanwhile = new Set<End>()
  let clock: { readonly store: number; readonly at: number } | undefined
  let sweptAt = Number.NEGATIVE_INFINITY
  let locksReadAt = Number.NEGATIVE_INFINITY
  /** Readings are counted as they begin; `wholeReading` is the last in which nothing was missing that was on record when it began. */
  let readings = 0
  let wholeReading = 0
  const listeners = new Set<(event: LiveEvent) => void>()
  const closing = new AbortController()

  const heldAt = () => Math.min(endsAt, locksAt)
  const isCurrent = () => areEndsWhole && areLocksWhole && monotonicNow() - heldAt() <= currentForMs
  const now = () => (clock === undefined ? 0 : clock.store + (monotonicNow() - clock.at))

  function tell(event: LiveEvent): void {
    for (const listener of [...listeners]) {
      try {
        listener(event)
      } catch (error) {
        log.error({ err: error, event: event.kind }, 'a listener failed; the others were told')
      }
    }
  }

  function noteEnds(heard: readonly End[]): void {
    const fresh = ends.hold(heard)
    if (reading !== undefined) for (const end of fresh) heardMeanwhile.add(end)
    if (fresh.length > 0) tell({ kind: 'ended', ends: fresh })
  }

  /** What is missing is not known: nothing is current until everything was read. */
  function loseTrack(): void {
    gaps += 1
    areEndsWhole = false
    areLocksWhole = false
    isRegaining = true
  }

  function hear(news: StoreNews, askedAt: number): void {
    clock = { store: news.now, at: monotonicNow() }
    if (news.isGap) loseTrack()
    for (const event of news.events) hearOf(event)
    if (areEndsWhole) endsAt = Math.max(endsAt, askedAt)
    if (areLocksWhole) locksAt = Math.max(locksAt, askedAt)
    // Where it fails nothing is less known than before; a store that is away shows in the stream.
    if (areLocksWhole && monotonicNow() - locksReadAt >= rereadLocksEveryMs) read().catch(() => undefined)
    if (monotonicNow() - sweptAt < sweepEveryMs) return
    sweptAt = monotonicNow()
    ends.sweep(now())
  }

  function hearOf(event: HeardStoreEvent): void {
    switch (event.kind) {
      case 'ended': {
        const heard = parseEndedDetail(event.detail)
        if (heard === undefined) loseTrack()
        else noteEnds(heard)
        break
      }
      case 'locks':
        lockChanges += 1
        areLocksWhole = false
        areLocksAnnounced = false
        locksWrittenAt ??= event.at
        break
      case 'session':
        tell({ kind: 'session_changed', sessionHash: event.detail, writtenAt: event.at })
        break
      case 'device':
        tell({ kind: 'device_changed', deviceHash: event.detail, writtenAt: event.at })
        break
      case 'errand':
        tell({ kind: 'errand_told', errandHash: event.detail, writtenAt: event.at })
        break
      case 'policy':
        tell({ kind: 'policy_revision', hash: event.detail, writtenAt: event.at })
        break
      case 'invitations':
        tell({ kind: 'invitations_changed', writtenAt: event.at })
        break
      default:
        // A newer version says something that this one does not understand.
        loseTrack()
    }
  }

  let reading: Promise<void> | undefined
  /** One reading at a time; who comes while it is under way shares it. */
  function read(): Promise<void> {
    reading ??= readMissing().finally(() => {
      reading = undefined
    })
    return reading
  }

  async function readMissing(): Promise<void> {
    const [begunAt, gapsBefore, changesBefore] = [monotonicNow(), gaps, lockChanges]
    readings += 1
    const number = readings
    locksReadAt = begunAt
    heardMeanwhile = new Set()
    const needsEnds = !areEndsWhole || begunAt - endsAt > currentForMs
    const [storedEnds, storedLocks, storeNow] = await Promise.all([
      needsEnds ? store.loadAllEnds() : undefined,
      parts.loadLocks(),
      store.loadNow(),
    ])
    clock = { store: storeNow, at: monotonicNow() }
    if (storedEnds !== undefined) {
      ends.sweep(now())
      lost = ends.missingIn(storedEnds).filter((end) => !heardMeanwhile.has(end) && end.at < Number.MAX_SAFE_INTEGER)
      noteEnds(storedEnds)
    }
    const before = locks
    locks = createLockSet(storedLocks)
    hasDeviceLocks = storedLocks.some(({ target }) => target.kind === 'device')
    if (gaps !== gapsBefore) return
    if (storedEnds !== undefined) {
      areEndsWhole = true
      endsAt = Math.max(endsAt, begunAt)
    }
    wholeReading = number
    const haveLocksChanged = !areLocksAnnounced || !areSame(before.all, locks.all)
    if (lockChanges === changesBefore) {
      areLocksWhole = true
      locksAt = Math.max(locksAt, begunAt)
      areLocksAnnounced = true
    }
    // What was locked by then is told of also where more has come meanwhile.
    if (!isRegaining) {
      if (haveLocksChanged) tell({ kind: 'locks_changed', writtenAt: locksWrittenAt })
    } else if (areLocksWhole) {
      isRegaining = false
      tell({ kind: 'regained' })
    }
    if (areLocksWhole) locksWrittenAt = undefined
    await restore()
  }

  /** An instance that starts after a fail-over knows only what the store has. */
  async function restore(): Promise<void> {
    if (lost.length === 0) return
    const restoring = lost
    lost = []
    try {
      await store.restoreEnds(restoring, keepSeconds)
      log.warn({ ends: restoring.length }, 'the store had lost ends that this instance knew of; they are on record again')
    } catch (error) {
      lost = restoring
      log.warn({ err: error, ends: restoring.length }, 'the store has lost ends and does not take them back; trying again')
    }
  }

  let isPursuing = false
  /** Reads until everything is held, or the store does not answer; the loop comes back to it. */
  async function pursue(): Promise<void> {
    if (isPursuing) return
    isPursuing = true
    try {
      while (!closing.signal.aborted && !(areEndsWhole && areLocksWhole)) await read()
      await restore()
    } catch (error) {
      sayLate(error)
    } finally {
      isPursuing = false
    }
  }

  let isLate = false
  function sayLate(error: unknown): void {
    if (!isLate && !closing.signal.aborted)
      log.warn({ err: error }, 'ends and locks are not up to date: the store does not answer; trying again')
    isLate = true
  }

  async function follow(): Promise<void> {
    const events = store.openEvents()
    closing.signal.addEventListener('abort', () => void events.close().catch(() => undefined))
    let position: string | undefined
    for (let failures = 0; !closing.signal.aborted; ) {
      const askedAt = monotonicNow()
      try {
        const news = await events.next(position)
        hear(news, askedAt)
        position = news.position
        failures = 0
        if (!(areEndsWhole && areLocksWhole) || lost.length > 0) void pursue()
        else if (isLate) {
          isLate = false
          log.info('ends and locks are up to date again')
        }
      } catch (error) {
        sayLate(error)
        failures += 1
        const pauseMs = Math.min(shortestPauseMs * 2 ** Math.min(failures, 10), longestPauseMs)
        await pause(pauseMs, undefined, { ref: false, signal: closing.signal }).catch(() => undefined)
      }
    }
  }
  const following = follow().catch((error: unknown) => {
    // Only a store without a stream comes here; then every use asks the store.
    log.error({ err: error }, 'there is no event stream to listen to')
  })

  async function confirm(): Promise<void> {
    const giveUp = new AbortController()
    const late = pause(longestConfirmationMs, undefined, { signal: giveUp.signal, ref: false }).then(() => {
      throw unavailable()
    })
    late.catch(() => undefined)
    const begunBefore = readings
    try {
      // A reading that began after the question answers it, whatever was heard since: orders that follow each other closely would otherwise
      // keep everybody waiting until they end.
      while (!isCurrent() && wholeReading <= begunBefore) await Promise.race([read(), late])
    } catch (error) {
      throw isPosternError(error) && error.code === 'session_store_unavailable' ? error : unavailable(error)
    } finally {
      giveUp.abort()
    }
  }

  return {
    isCurrent,
    confirm,
    age: () => monotonicNow() - heldAt(),
    findEnd: ends.find,
    findLock: (question) => locks.find(question, now()),
    hasDeviceLocks: () => hasDeviceLocks,
    noteEnds,
    announce: tell,
    listen(listener) {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
    now,
    async close() {
      closing.abort()
      listeners.clear()
      await following
    },
  }
}

/** Locks are plain data, few, and listed in the order of their names. */
function areSame(a: readonly Lock[], b: readonly Lock[]): boolean {
  return a.length === b.length && JSON.stringify(a) === JSON.stringify(b)
}

function unavailable(cause?: unknown): PosternError {
  return new PosternError('session_store_unavailable', 'session store: what ended or is locked could not be learned', { cause })
}
