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
  return compareNearness(nearnessOf(left), nearnessOf(right))
}

/** How near a list is to being met: kinds of conditions, lasting ones among the unmet, unmet. */
export type Nearness = readonly [kinds: number, lasting: number, length: number]

/**
 * The nearness of any list joined with one that all of them share, which is read once: of a thousand rules that all lack the same, none
 * costs more than what it lacks itself.
 */
export function nearnessBeside(shared: readonly Unmet[]): (own: readonly Unmet[]) => Nearness {
  const texts = new Set(shared.map(textOf))
  const kinds = new Set(shared.map(({ condition }) => condition))
  const lasting = countLasting(shared)
  return (own) => {
    const more = joinUnmet([own]).filter((unmet) => !texts.has(textOf(unmet)))
    const all = more.length === 0 ? kinds : new Set([...kinds, ...more.map(({ condition }) => condition)])
    return [all.size, lasting + countLasting(more), shared.length + more.length]
  }
}

/** As `compareUnmet` compares the lists themselves. */
export function compareNearness(left: Nearness, right: Nearness): number {
  return left[0] - right[0] || left[1] - right[1] || left[2] - right[2]
}

/** The nearest of several ways; empty where there is none. */
export function nearestUnmet(ways: readonly (readonly Unmet[])[]): readonly Unmet[] {
  const text = (way: readonly Unmet[]) => way.map(textOf).join()
  return (
    [...ways].map((way) => joinUnmet([way])).sort((left, right) => compareUnmet(left, right) || compareText(text(left), text(right)))[0] ??
    []
  )
}

function nearnessOf(list: readonly Unmet[]): Nearness {
  return [new Set(list.map(({ condition }) => condition)).size, countLasting(list), list.length]
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
