/**
 * The digest of recent activity: reads the store's window in the background, in steps that no request notices, and counts it when asked.
 *
 * Nobody looks, nothing is read: it begins when somebody asks for the first time, and stops ten minutes after somebody asked last. Batches are read
 * from the newest back until all are known; what is known is not read again, and what the window drops is dropped here by the same rule. A store
 * that is away leaves what was counted as it is; that it is out of date shows in `until`.
 */

import { setImmediate as breathe } from 'node:timers/promises'
import { holdsTrailTogether } from '../audit/search.ts'
import type { WindowBatches, WindowBlock } from '../audit/window-batches.ts'
import type { Logger } from '../log.ts'
import type { StoredWindowBatch } from '../session/store.ts'
import type { ActivityDigest } from './activity.ts'
import { createActivityColumns } from './activity-columns.ts'
import { type ActivityCounts, countActivity, countBuckets, countRefusalBuckets, countSeen } from './activity-counts.ts'
import { eventOf, readActivity, seqIn } from './activity-lines.ts'

export interface ActivityDigestParts {
  /** `undefined` where no window is kept: then nothing is ever known. */
  readonly batches: WindowBatches | undefined
  /** `audit.window`. */
  readonly keepEvents: number
  readonly now: () => number
  readonly monotonicNow: () => number
  readonly log: Pick<Logger, 'warn'>
}

/** Whatever the window holds: a bound for memory. */
const mostEvents = 200_000
const freshEveryMs = 2_000
const lookedAtForMs = 600_000
/** An instance that was cut off hands in late what belongs further back. */
const lookDeepEveryMs = 30_000
const deepBatches = 40
const batchesAtFirst = 2
const batchesAtOnce = 10
/** Between two of them the process does something else. */
const stepMs = 4

/** Dropped together: each dropping writes the columns anew. */
const droppedAtOnce = 0.02

interface KnownBatch {
  readonly number: number
  /** As the store counts them. */
  readonly events: number
  /** Takes out what is remembered of its numbers, and of any before. */
  forget(): void
}

interface SeqRange {
  readonly first: number
  readonly last: number
}

/** The digest of one instance. */
export function createActivityDigest({ batches, keepEvents, log, monotonicNow, now }: ActivityDigestParts): ActivityDigest {
  const columns = createActivityColumns()
  const mostKept = Math.min(keepEvents, mostEvents)
  const known = new Map<string, KnownBatch>()
  /** The highest first. */
  const positions = createDescending<string>((a, b) => (a < b ? -1 : a > b ? 1 : 0))
  /** What was read of each chain. */
  const ranges = new Map<string, Descending<SeqRange>>()
  /** Batches at or below this place have left. */
  let droppedThrough = ''
  let total = 0
  let numbers = 0
  let counts: ActivityCounts | undefined
  let until: number | undefined
  let isLoaded = false
  let lookedAt = Number.NEGATIVE_INFINITY
  let lookedDeepAt = Number.NEGATIVE_INFINITY
  let isFailing = false
  let isClosed = false
  let timer: NodeJS.Timeout | undefined

  /** Reads what is new; the first time everything. */
  async function read(window: WindowBatches): Promise<void> {
    const begunAt = now()
    const isDeep = !isLoaded || monotonicNow() - lookedDeepAt >= lookDeepEveryMs
    let before: string | undefined
    let looked = 0
    let isAtEnd = false
    for (let atOnce = isLoaded && !isDeep ? batchesAtFirst : batchesAtOnce; !isAtEnd && !isClosed; atOnce = batchesAtOnce) {
      const listed = await window.list(before, atOnce)
      looked += listed.length
      let hasNew = false
      for (const batch of listed) {
        before = batch.position
        if (batch.position <= droppedThrough || known.has(batch.position)) continue
        hasNew = true
        await take(window, batch)
      }
      const isEnough = isLoaded ? !hasNew && (!isDeep || looked >= deepBatches) : total >= mostKept
      isAtEnd = listed.length < atOnce || isEnough
    }
    if (isClosed) return
    dropOldest()
    if (isDeep) lookedDeepAt = monotonicNow()
    isLoaded = true
    until = begunAt
  }

  async function take(window: WindowBatches, batch: StoredWindowBatch): Promise<void> {
    const block = await window.open(batch)
    const number = ++numbers
    // One that does not open is not tried again each time.
    const { events, forget } = block === undefined ? nothing : await count(block, number)
    known.set(batch.position, { number, events, forget })
    positions.add(batch.position)
    total += events
    counts = undefined
    await breathe()
  }

  async function count({ chain, lines: text }: WindowBlock, number: number): Promise<Omit<KnownBatch, 'number'>> {
    const lines = text.split('\n')
    const own = { first: seqIn(lines[0] ?? ''), last: seqIn(lines.at(-2) ?? '') }
    const ofChain = ranges.get(chain) ?? createDescending<SeqRange>((a, b) => a.first - b.first)
    ranges.set(chain, ofChain)
    // A follower that was killed sends again what it had sent since it last noted its place, in other batches.
    const others = overlapping(ofChain, own)
    ofChain.add(own)
    let events = 0
    let begunAt = monotonicNow()
    for (const line of lines) {
      if (line === '' || (others.length > 0 && isWithin(others, seqIn(line)))) continue
      const event = eventOf(line)
      if (!holdsTrailTogether(event)) events += 1
      const reading = readActivity(event, line)
      if (reading?.fact !== undefined) columns.add(reading.fact, number)
      for (const seen of reading?.seen ?? []) columns.addSeen(seen)
      if (monotonicNow() - begunAt > stepMs) {
        await breathe()
        begunAt = monotonicNow()
      }
    }
    return {
      events,
      forget() {
        for (let oldest = ofChain.at(-1); oldest !== undefined && oldest.first <= own.first; oldest = ofChain.at(-1)) ofChain.pop()
      },
    }
  }

  /** As the store does: the oldest leave while enough remain without them. */
  function dropOldest(): void {
    const dropped = new Set<number>()
    if (total < mostKept * (1 + droppedAtOnce)) return
    for (let oldest = positions.at(-1); oldest !== undefined; oldest = positions.at(-1)) {
      const batch = known.get(oldest)
      if (batch !== undefined) {
        if (total - batch.events < mostKept) break
        dropped.add(batch.number)
        batch.forget()
        total -= batch.events
      }
      known.delete(oldest)
      positions.pop()
      droppedThrough = oldest
    }
    if (dropped.size === 0) return
    columns.evict(dropped)
    counts = undefined
  }

  let reading: Promise<void> | undefined
  function readOnce(): Promise<void> {
    if (batches === undefined || isClosed) return Promise.resolve()
    reading ??= read(batches).finally(() => {
      reading = undefined
    })
    return reading
  }

  let readingAgain: Promise<void> | undefined
  /** What is under way may have passed over what is new by now: that is read after it. */
  function refresh(): Promise<void> {
    if (reading === undefined) return readOnce()
    readingAgain ??= reading
      .catch(() => undefined)
      .then(() => {
        readingAgain = undefined
        return readOnce()
      })
    return readingAgain
  }

  function follow(): void {
    timer = undefined
    if (isClosed || monotonicNow() - lookedAt > lookedAtForMs) return
    readOnce()
      .then(
        () => {
          isFailing = false
        },
        (error: unknown) => {
          if (!isFailing) log.warn({ err: error }, 'recent activity could not be read; what the console counts is out of date')
          isFailing = true
        },
      )
      .finally(() => {
        if (!isClosed) timer = setTimeout(follow, freshEveryMs).unref()
      })
      .catch(() => undefined)
  }

  /** Somebody looks. */
  function look(): void {
    const wasFollowing = monotonicNow() - lookedAt <= lookedAtForMs
    lookedAt = monotonicNow()
    if (batches !== undefined && !isClosed && (!wasFollowing || (timer === undefined && reading === undefined))) follow()
  }

  function counted(): ActivityCounts {
    look()
    counts ??= countActivity(columns)
    return counts
  }

  return {
    state() {
      const { earliest } = counted()
      if (!isLoaded) return { since: undefined, until: undefined, isLoading: batches !== undefined, events: total }
      return { since: earliest ?? until, until, isLoading: false, events: total }
    },
    apps: () => counted().apps,
    buckets(app, count, lengthMs) {
      look()
      return countBuckets(columns, { app, count, lengthMs, now: now() })
    },
    refusalBuckets(app, reasons, count, lengthMs) {
      look()
      return countRefusalBuckets(columns, reasons, { app, count, lengthMs, now: now() })
    },
    refusals: (limit) => counted().refusals.slice(0, limit),
    stuck: (limit) => counted().stuck.slice(0, limit),
    reported: () => counted().reported,
    signIns: () => counted().signIns,
    seen(kind, prefix, limit) {
      look()
      return countSeen(columns, kind, prefix, limit)
    },
    refresh,
    close() {
      isClosed = true
      clearTimeout(timer)
    },
  }
}

const nothing: Omit<KnownBatch, 'number'> = { events: 0, forget: () => undefined }

/** Those that share a number with `own`. Ranges of one chain overlap seldom, and never by much. */
function overlapping(ranges: Descending<SeqRange>, { first, last }: SeqRange): readonly SeqRange[] {
  const found: SeqRange[] = []
  for (let index = ranges.findPlace({ first: last, last }); ; index++) {
    const range = ranges.at(index)
    if (range === undefined || range.last < first) return found
    found.push(range)
  }
}

function isWithin(ranges: readonly SeqRange[], seq: number): boolean {
  return ranges.some(({ first, last }) => seq >= first && seq <= last)
}

/** A list in order, the highest first: what is read backwards is added at its end. */
interface Descending<T> {
  add(item: T): void
  /** -1: the last. */
  at(index: number): T | undefined
  pop(): void
  /** Where the first that is not above `item` stands. */
  findPlace(item: T): number
}

function createDescending<T>(compare: (a: T, b: T) => number): Descending<T> {
  const items: T[] = []
  function findPlace(item: T): number {
    let [low, high] = [0, items.length]
    while (low < high) {
      const middle = (low + high) >> 1
      if (compare(items[middle] as T, item) > 0) low = middle + 1
      else high = middle
    }
    return low
  }
  return {
    add: (item) => void items.splice(findPlace(item), 0, item),
    at: (index) => items.at(index),
    pop: () => void items.pop(),
    findPlace,
  }
}
