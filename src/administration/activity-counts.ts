/**
 * Counting what is in the columns: pure, from the first row to the last, and nothing remembered from one counting to the next.
 *
 * Rows are in no order of time, since instances hand in what they wrote as they come to it. Two rows of one millisecond are at the same time:
 * somebody who was let in then is not stuck.
 */

import type { Reason } from '../policy/decision.ts'
import type { ActivityBucket, AppActivity, RefusalBucket, RefusalCount, ReportedRule, StuckPerson } from './activity.ts'
import { type ActivityColumns, type ActivityRows, activityKinds } from './activity-columns.ts'
import type { SeenKind } from './activity-lines.ts'

/** Everything that is counted at once. */
export interface ActivityCounts {
  readonly apps: ReadonlyMap<string, AppActivity>
  /** The most frequent first. */
  readonly refusals: readonly RefusalCount[]
  /** The longest stuck first. */
  readonly stuck: readonly StuckPerson[]
  readonly reported: readonly ReportedRule[]
  readonly signIns: { readonly succeeded: number; readonly failed: number; readonly lastFailedAt: number | undefined }
  readonly earliest: number | undefined
}

/** Refusals after which somebody is stuck. */
const stuckAfter = 3
/** Keeps two numbers in one. */
const shift = 2 ** 26

const [allowed, refused, challenged, upstreamFailed, signedIn, signInFailed] = activityKinds.map((_, index) => index)

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

interface Attempts {
  letInAt: number
  /** Refusals, in no order. */
  readonly rows: number[]
}

/** Counts all rows. */
export function countActivity(columns: ActivityColumns): ActivityCounts {
  const rows = columns.rows()
  const apps = new Map<number, Mutable<AppActivity>>()
  const letIn = new Set<number>()
  const refusals = new Map<number, Mutable<Omit<RefusalCount, 'app' | 'reason'>>>()
  const refusedPeople = new Map<number, Set<number>>()
  const attempts = new Map<number, Attempts>()
  const reported = new Map<number, Mutable<Omit<ReportedRule, 'app' | 'rule' | 'people'>> & { readonly persons: Set<number> }>()
  const signIns: Mutable<ActivityCounts['signIns']> = { succeeded: 0, failed: 0, lastFailedAt: undefined }
  let earliest = Number.POSITIVE_INFINITY

  for (let i = 0; i < rows.length; i++) {
    const kind = rows.kind[i]
    const at = rows.at[i] ?? 0
    const weight = rows.weight[i] ?? 0
    const person = rows.person[i] ?? 0
    earliest = Math.min(earliest, at)
    if (kind === signedIn) signIns.succeeded += weight
    else if (kind === signInFailed) {
      signIns.failed += weight
      signIns.lastFailedAt = latest(signIns.lastFailedAt, at)
    }
    const app = rows.app[i] ?? 0
    if (app === 0) continue
    const counted = findOrAdd(apps, app, () => nothingOf(columns.word(app)))
    switch (kind) {
      case allowed: {
        counted.allowed += weight
        counted.lastUsedAt = latest(counted.lastUsedAt, at)
        if (person !== 0) {
          const pair = app * shift + person
          if (!letIn.has(pair)) {
            letIn.add(pair)
            counted.people += 1
          }
          const attempt = findOrAdd(attempts, pair, noAttempts)
          attempt.letInAt = Math.max(attempt.letInAt, at)
        }
        const rule = rows.wouldRefuseBy[i] ?? 0
        if (rule !== 0) {
          const one = findOrAdd(reported, app * shift + rule, () => ({ wouldRefuse: 0, lastAt: at, persons: new Set<number>() }))
          one.wouldRefuse += weight
          one.lastAt = Math.max(one.lastAt, at)
          if (person !== 0) one.persons.add(person)
        }
        break
      }
      case refused: {
        counted.refused += weight
        counted.lastRefusedAt = latest(counted.lastRefusedAt, at)
        const key = app * shift + (rows.reason[i] ?? 0)
        const refusal = findOrAdd(refusals, key, () => ({ count: 0, people: 0, lastAt: at }))
        refusal.count += weight
        refusal.lastAt = Math.max(refusal.lastAt, at)
        if (person !== 0) {
          findOrAdd(refusedPeople, key, () => new Set()).add(person)
          findOrAdd(attempts, app * shift + person, noAttempts).rows.push(i)
        }
        break
      }
      case challenged:
        counted.challenged += weight
        break
      case upstreamFailed:
        counted.upstreamFailures += weight
        counted.lastUpstreamFailureAt = latest(counted.lastUpstreamFailureAt, at)
        break
    }
  }

  const named = (key: number) => ({ app: columns.word(Math.floor(key / shift)), word: columns.word(key % shift) })
  return {
    apps: new Map([...apps.values()].map((one) => [one.app, one])),
    refusals: [...refusals]
      .map(([key, refusal]) => {
        const { app, word } = named(key)
        return { app, reason: word as Reason, ...refusal, people: refusedPeople.get(key)?.size ?? 0 }
      })
      .sort((a, b) => b.count - a.count || b.lastAt - a.lastAt || compareText(a.app + a.reason, b.app + b.reason)),
    stuck: [...attempts]
      .flatMap(([key, attempt]) => stuckOf(columns, rows, key, attempt))
      .sort((a, b) => b.lastAt - a.lastAt || b.count - a.count),
    reported: [...reported]
      .map(([key, { persons, ...one }]) => {
        const { app, word } = named(key)
        return { app, rule: word, ...one, people: persons.size }
      })
      .sort((a, b) => b.wouldRefuse - a.wouldRefuse || compareText(a.app + a.rule, b.app + b.rule)),
    signIns,
    earliest: earliest === Number.POSITIVE_INFINITY ? undefined : earliest,
  }
}

/** Refusals since somebody was last let in. */
function stuckOf(columns: ActivityColumns, rows: ActivityRows, key: number, { letInAt, rows: refusals }: Attempts): readonly StuckPerson[] {
  if (refusals.length < stuckAfter) return []
  const since = refusals.filter((row) => (rows.at[row] ?? 0) > letInAt)
  const person = columns.person(key % shift)
  if (since.length < stuckAfter || person === undefined) return []
  let first = since[0] ?? 0
  let last = first
  for (const row of since) {
    if ((rows.at[row] ?? 0) < (rows.at[first] ?? 0)) first = row
    if ((rows.at[row] ?? 0) >= (rows.at[last] ?? 0)) last = row
  }
  return [
    {
      ...person,
      app: columns.word(Math.floor(key / shift)),
      reason: columns.word(rows.reason[last] ?? 0) as Reason,
      count: since.length,
      firstAt: rows.at[first] ?? 0,
      lastAt: rows.at[last] ?? 0,
      request: rows.request[last] ?? '',
    },
  ]
}

/** Which rows a bar counts. */
export interface BucketsWanted {
  /** `undefined`: all. */
  readonly app: string | undefined
  readonly count: number
  readonly lengthMs: number
  readonly now: number
}

/** Bars of equal length, on whole multiples of it; the last is the one that `now` is in. */
export function countBuckets(columns: ActivityColumns, wanted: BucketsWanted): readonly ActivityBucket[] {
  const buckets = beginningsOf(wanted).map((from): Mutable<ActivityBucket> => ({ from, allowed: 0, refused: 0, challenged: 0 }))
  const rows = columns.rows()
  visitRows(columns, wanted, (row, index) => {
    const bucket = buckets[index]
    if (bucket === undefined) return
    const weight = rows.weight[row] ?? 0
    if (rows.kind[row] === allowed) bucket.allowed += weight
    else if (rows.kind[row] === refused) bucket.refused += weight
    else if (rows.kind[row] === challenged) bucket.challenged += weight
  })
  return buckets
}

/** Refusals in such bars, for each of these reasons. */
export function countRefusalBuckets(columns: ActivityColumns, reasons: readonly Reason[], wanted: BucketsWanted): readonly RefusalBucket[] {
  const buckets = beginningsOf(wanted).map((from) => ({ from, counts: reasons.map(() => 0) }))
  const rows = columns.rows()
  const places = new Map<number, number>()
  visitRows(columns, wanted, (row, index) => {
    if (rows.kind[row] !== refused) return
    const reason = rows.reason[row] ?? 0
    const place = findOrAdd(places, reason, () => reasons.indexOf(columns.word(reason) as Reason))
    const counts = buckets[index]?.counts
    if (counts !== undefined && place !== -1) counts[place] = (counts[place] ?? 0) + (rows.weight[row] ?? 0)
  })
  return buckets
}

function beginningsOf({ count, lengthMs, now }: BucketsWanted): readonly number[] {
  const last = Math.floor(now / lengthMs) * lengthMs
  return Array.from({ length: count }, (_, index) => last - (count - 1 - index) * lengthMs)
}

/** Each row of the wanted app, with the place of its bar; that may lie outside. */
function visitRows(columns: ActivityColumns, wanted: BucketsWanted, visit: (row: number, bucket: number) => void): void {
  const { app, lengthMs } = wanted
  const begin = beginningsOf(wanted)[0] ?? 0
  const rows = columns.rows()
  const isWanted = new Map<number, boolean>()
  for (let row = 0; row < rows.length; row++) {
    const number = rows.app[row] ?? 0
    if (app !== undefined && !findOrAdd(isWanted, number, () => number !== 0 && columns.word(number) === app)) continue
    visit(row, Math.floor(((rows.at[row] ?? 0) - begin) / lengthMs))
  }
}

/** Words that occurred and begin so, whatever their case; those of the most people first. */
export function countSeen(
  columns: ActivityColumns,
  kind: SeenKind | 'email' | 'domain',
  prefix: string,
  limit: number,
): readonly { readonly value: string; readonly people: number }[] {
  const wanted = prefix.toLowerCase()
  const counts = new Map<string, number>()
  for (const value of wordsOf(columns, kind)) {
    if (value.toLowerCase().startsWith(wanted)) counts.set(value, (counts.get(value) ?? 0) + 1)
  }
  return [...counts]
    .map(([value, people]) => ({ value, people }))
    .sort((a, b) => b.people - a.people || compareText(a.value, b.value))
    .slice(0, limit)
}

/** Once for each person. */
function* wordsOf(columns: ActivityColumns, kind: SeenKind | 'email' | 'domain'): Iterable<string> {
  if (kind !== 'email' && kind !== 'domain') {
    for (const [value] of columns.seen(kind)) yield value
    return
  }
  for (const { email } of columns.people()) {
    if (email !== undefined) yield kind === 'email' ? email : email.slice(email.lastIndexOf('@') + 1).toLowerCase()
  }
}

function nothingOf(app: string): Mutable<AppActivity> {
  return { app, allowed: 0, refused: 0, challenged: 0, people: 0, lastUsedAt: undefined, lastRefusedAt: undefined, upstreamFailures: 0 }
}

function noAttempts(): Attempts {
  return { letInAt: Number.NEGATIVE_INFINITY, rows: [] }
}

function latest(known: number | undefined, at: number): number {
  return known === undefined ? at : Math.max(known, at)
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

function findOrAdd<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  const known = map.get(key)
  if (known !== undefined) return known
  const made = make()
  map.set(key, made)
  return made
}
