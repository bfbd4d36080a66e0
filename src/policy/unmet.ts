/**
 * Lists of what kept a rule from applying: joined, put in an order of their own, and compared, so that a refusal names the nearest way in.
 *
 * Nearest is what fails the fewest kinds of conditions; among as many, what the person could mend without anybody's help: an unknown
 * may become known, a disk can be encrypted, an hour comes. Access to ask for is mended by others.
 */

import type { Unmet } from './decision.ts'

const order: readonly Unmet['condition'][] = [
  'subject',
  'methods',
  'paths',
  'dates',
  'sign_in',
  'device',
  'network',
  'time',
  'client',
  'expression',
  'circumstances',
]
const mendable: ReadonlySet<Unmet['condition']> = new Set(['sign_in', 'device', 'network', 'time', 'client'])

/** Everything that any of the lists names, once, in an order that does not depend on theirs. */
export function joinUnmet(lists: readonly (readonly Unmet[])[]): readonly Unmet[] {
  const all = lists.flat()
  // Of thousands of allows nearly all lack one thing; comparing that with itself was a third of what a refusal costs.
  if (all.length <= 1) return all
  const byText = new Map<string, Unmet>()
  for (const unmet of all) byText.set(textOf(unmet), unmet)
  return [...byText]
    .sort(
      ([left, { condition: one }], [right, { condition: other }]) => order.indexOf(one) - order.indexOf(other) || compareText(left, right),
    )
    .map(([, unmet]) => unmet)
}

/** Negative where the left list is nearer to being met. Lists that ask the same of the person are equal. */
export function compareUnmet(left: readonly Unmet[], right: readonly Unmet[]): number {
  return countKinds(left) - countKinds(right) || countLasting(left) - countLasting(right) || left.length - right.length
}

/** The nearest of several ways; empty where there is none. */
export function nearestUnmet(ways: readonly (readonly Unmet[])[]): readonly Unmet[] {
  const text = (way: readonly Unmet[]) => way.map(textOf).join()
  return (
    [...ways].map((way) => joinUnmet([way])).sort((left, right) => compareUnmet(left, right) || compareText(text(left), text(right)))[0] ??
    []
  )
}

function countKinds(list: readonly Unmet[]): number {
  return new Set(list.map(({ condition }) => condition)).size
}

function countLasting(list: readonly Unmet[]): number {
  return list.filter(({ condition, outcome }) => outcome === 'false' && !mendable.has(condition)).length
}

function textOf({ condition, outcome, remedy, details }: Unmet): string {
  return JSON.stringify([condition, outcome, remedy, details?.at, details?.zone, details?.withinSeconds, details?.present, details?.wanted])
}

function compareText(left: string, right: string): number {
  return left === right ? 0 : left < right ? -1 : 1
}
