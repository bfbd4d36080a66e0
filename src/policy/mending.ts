/**
 * What a better sign-in would have to bring so that a condition comes out as wanted: sets of `sign_in` conditions, the least
 * demanding first.
 *
 * A set is sound: whatever else the new sign-in says, where all of the set hold of it the condition is as wanted. So a set also holds
 * those that are true already, because a new sign-in takes the place of the old one. No set at all says that no sign-in could help.
 * Which of several sets is chosen never depends on the order of the document.
 */

import type { SignInCondition } from './document.ts'

/** A set of `sign_in` conditions, in the order of their keys. */
export interface Mending {
  readonly steps: readonly MendingStep[]
}

export interface MendingStep {
  readonly condition: SignInCondition
  /** Equal for equal conditions; the order of values in a list does not count. */
  readonly key: string
  /** Not true of the present sign-in. */
  readonly isPending: boolean
}

/** Comes out as wanted whatever the sign-in is. */
export const nothingToMend: readonly Mending[] = [{ steps: [] }]

/** No sign-in brings it about. */
export const beyondMending: readonly Mending[] = []

/** Of more ways than anybody writes, those that ask for most are forgotten: this keeps a refusal's cost bounded. */
const greatestNumberOfWays = 16

/** The ways to bring about all of several conditions. */
export function mendAll(parts: readonly (readonly Mending[])[]): readonly Mending[] {
  if (parts.some((ways) => ways.length === 0)) return beyondMending
  const open = parts.filter((ways) => !needsNothing(ways)).sort(compareWays)
  return open.reduce((all, ways) => prune(all.flatMap((left) => ways.map((right) => unite(left, right)))), nothingToMend)
}

/** The ways to bring about any of several conditions. */
export function mendAny(parts: readonly (readonly Mending[])[]): readonly Mending[] {
  return parts.some(needsNothing) ? nothingToMend : prune(parts.flat())
}

/** Negative where the left one asks for less: fewest that do not hold yet, then fewest, then by key. */
export function compareMendings(left: Mending, right: Mending): number {
  const pending = (mending: Mending) => mending.steps.filter(({ isPending }) => isPending).length
  return pending(left) - pending(right) || left.steps.length - right.steps.length || compareKeys(left.steps, right.steps)
}

function needsNothing(ways: readonly Mending[]): boolean {
  return ways.some(({ steps }) => steps.length === 0)
}

/** Leaves out what contains another way whole, and keeps the least demanding. */
function prune(ways: readonly Mending[]): readonly Mending[] {
  const kept: Mending[] = []
  for (const way of [...ways].sort(compareMendings)) {
    if (kept.length === greatestNumberOfWays) break
    if (!kept.some((other) => contains(way, other))) kept.push(way)
  }
  return kept
}

/** Steps are in the order of their keys, so that one look at each is enough: a document may ask for hundreds of them. */
function contains(way: Mending, other: Mending): boolean {
  let at = 0
  for (const { key } of other.steps) {
    while (at < way.steps.length && compareText(way.steps[at]?.key ?? '', key) < 0) at += 1
    if (way.steps[at]?.key !== key) return false
  }
  return true
}

function unite(left: Mending, right: Mending): Mending {
  const steps: MendingStep[] = []
  let at = 0
  for (const step of left.steps) {
    for (let next = right.steps[at]; next !== undefined && compareText(next.key, step.key) <= 0; next = right.steps[at]) {
      if (next.key !== step.key) steps.push(next)
      at += 1
    }
    steps.push(step)
  }
  return { steps: [...steps, ...right.steps.slice(at)] }
}

/** For as many steps on either side. No key begins another, so that this is the order of the keys joined. */
function compareKeys(left: readonly MendingStep[], right: readonly MendingStep[]): number {
  for (const [index, { key }] of left.entries()) {
    const order = compareText(key, right[index]?.key ?? '')
    if (order !== 0) return order
  }
  return 0
}

function compareWays(left: readonly Mending[], right: readonly Mending[]): number {
  return left.length - right.length || compareText(left.map(keyOf).join(), right.map(keyOf).join())
}

function keyOf({ steps }: Mending): string {
  return steps.map(({ key }) => key).join()
}

function compareText(left: string, right: string): number {
  return left === right ? 0 : left < right ? -1 : 1
}
