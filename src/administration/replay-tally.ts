/**
 * What a replay found, by whom, which app and which rule: how often, from when to when, and a few requests to look at.
 *
 * Bounded: subjects, apps and rules come from the trail and from a policy, and together they may be many. Beyond the bound nothing new is
 * listed, and how many requests that concerns is counted, so that nobody takes a list for the whole. Tallies of several readers add up
 * to the same as one reader's.
 */

import type { RecordedSubject } from './recorded-decision.ts'
import type { Gap } from './recorded-gaps.ts'

type Effect = 'allow' | 'challenge' | 'deny'

/** `lost`: was allowed and would not be. `gained`: the other way. `shifted`: a denial that would be a request to sign in better, or the other way. */
export type Direction = 'lost' | 'gained' | 'shifted'

/** One decision that comes out otherwise. */
export interface Change {
  readonly direction: Direction
  readonly subject: RecordedSubject
  readonly app: string
  /** Of the new decision; where it names none, its reason says why. */
  readonly rule: string | undefined
  readonly reason: string
  readonly becomes: Effect
  readonly was: Effect
  /** Of the recorded decision. */
  readonly ruleBefore: string | undefined
  readonly request: string
  readonly at: number
}

/** Changes of one subject in one app by one rule. Plain data, so that it can go between threads. */
export interface ChangeEntry extends Omit<Change, 'request' | 'at' | 'ruleBefore'> {
  count: number
  firstAt: number
  lastAt: number
  /** A few of the rules that decided before. */
  readonly rulesBefore: string[]
  /** The earliest. */
  readonly examples: { readonly at: number; readonly request: string }[]
}

/** Plain data, but for the maps. */
export interface ReplayTally {
  decided: number
  unchanged: number
  /** Of strangers there are no facts: they are counted in the trail, not listed. */
  strangers: number
  readonly insufficient: Map<Gap, number>
  /** Settled outside of the rules, by reason. */
  readonly notPolicy: Map<string, number>
  /** Policy versions that the recorded decisions were made by, with how many. */
  readonly policies: Map<string, number>
  readonly changes: Map<string, ChangeEntry>
  /** Changes that found no room in the list. */
  readonly unlisted: Record<Direction, number>
  firstAt: number
  lastAt: number
}

/** A thousand people times a hundred apps, about 50 MB. */
export const maxListed = 100_000
const maxExamples = 5
const maxRulesBefore = 5
/** A policy is changed a few times a day. */
const maxPolicies = 10_000

/** An empty one. */
export function createTally(): ReplayTally {
  return {
    decided: 0,
    unchanged: 0,
    strangers: 0,
    insufficient: new Map(),
    notPolicy: new Map(),
    policies: new Map(),
    changes: new Map(),
    unlisted: { lost: 0, gained: 0, shifted: 0 },
    firstAt: Number.POSITIVE_INFINITY,
    lastAt: Number.NEGATIVE_INFINITY,
  }
}

/** One more. */
export function countIn<K>(counts: Map<K, number>, key: K, by = 1): void {
  counts.set(key, (counts.get(key) ?? 0) + by)
}

/** A recorded request of this time and policy was looked at. */
export function noteSeen(tally: ReplayTally, at: number, policy: string): void {
  if (at < tally.firstAt) tally.firstAt = at
  if (at > tally.lastAt) tally.lastAt = at
  if (tally.policies.has(policy) || tally.policies.size < maxPolicies) countIn(tally.policies, policy)
}

/** A decision comes out otherwise. */
export function noteChange(tally: ReplayTally, change: Change, most = maxListed): void {
  const { at, request, ruleBefore, ...described } = change
  const entry = findEntry(tally, described, most)
  if (entry === undefined) {
    tally.unlisted[change.direction] += 1
    return
  }
  addTo(entry, {
    count: 1,
    firstAt: at,
    lastAt: at,
    examples: [{ at, request }],
    rulesBefore: ruleBefore === undefined ? [] : [ruleBefore],
  })
}

/** Adds what another reader found. */
export function mergeTally(into: ReplayTally, from: ReplayTally, most = maxListed): void {
  into.decided += from.decided
  into.unchanged += from.unchanged
  into.strangers += from.strangers
  for (const [gap, count] of from.insufficient) countIn(into.insufficient, gap, count)
  for (const [reason, count] of from.notPolicy) countIn(into.notPolicy, reason, count)
  for (const [policy, count] of from.policies) {
    if (into.policies.has(policy) || into.policies.size < maxPolicies) countIn(into.policies, policy, count)
  }
  for (const entry of from.changes.values()) {
    const mine = findEntry(into, entry, most)
    if (mine === undefined) into.unlisted[entry.direction] += entry.count
    else addTo(mine, entry)
  }
  into.unlisted.lost += from.unlisted.lost
  into.unlisted.gained += from.unlisted.gained
  into.unlisted.shifted += from.unlisted.shifted
  into.firstAt = Math.min(into.firstAt, from.firstAt)
  into.lastAt = Math.max(into.lastAt, from.lastAt)
}

type Described = Pick<ChangeEntry, 'direction' | 'subject' | 'app' | 'rule' | 'reason' | 'becomes' | 'was'>

function findEntry(tally: ReplayTally, change: Described, most: number): ChangeEntry | undefined {
  const { app, becomes, direction, reason, rule, subject, was } = change
  const { issuer, kind, sub } = subject
  const key = JSON.stringify([direction, was, becomes, kind, issuer, sub, app, rule ?? null, rule === undefined ? reason : ''])
  const known = tally.changes.get(key)
  if (known !== undefined || tally.changes.size >= most) return known
  const entry: ChangeEntry = {
    direction,
    subject,
    app,
    rule,
    reason,
    becomes,
    was,
    count: 0,
    firstAt: Number.POSITIVE_INFINITY,
    lastAt: Number.NEGATIVE_INFINITY,
    rulesBefore: [],
    examples: [],
  }
  tally.changes.set(key, entry)
  return entry
}

function addTo(entry: ChangeEntry, more: Pick<ChangeEntry, 'count' | 'firstAt' | 'lastAt' | 'examples' | 'rulesBefore'>): void {
  entry.count += more.count
  entry.firstAt = Math.min(entry.firstAt, more.firstAt)
  entry.lastAt = Math.max(entry.lastAt, more.lastAt)
  for (const rule of more.rulesBefore) {
    if (entry.rulesBefore.length < maxRulesBefore && !entry.rulesBefore.includes(rule)) entry.rulesBefore.push(rule)
  }
  for (const example of more.examples) addExample(entry.examples, example)
}

function addExample(examples: ChangeEntry['examples'], example: ChangeEntry['examples'][number]): void {
  if (examples.length === maxExamples && (examples.at(-1)?.at ?? 0) <= example.at) return
  examples.push(example)
  examples.sort((a, b) => a.at - b.at || (a.request < b.request ? -1 : 1))
  if (examples.length > maxExamples) examples.pop()
}
