/**
 * Words that several live checks share: numbers, places in a policy, and names that others made up.
 *
 * Names of groups and values of claims come from the provider, and may come from people: what is printed of them is cut and has no
 * control characters in it.
 */

import type { Places } from '../administration/policy-against-life-demands.ts'
import { findNearest, quote } from '../config/problems.ts'

/** `1 device`, `2 devices`. */
export function nameCount(number: number, word: string): string {
  return `${number} ${word}${number === 1 ? '' : 's'}`
}

/** The first places, and how many there are besides. */
export function namePlaces({ count, first }: Places): string {
  const rest = count - first.length
  return `${first.join(', ')}${rest > 0 ? ` and ${rest} more` : ''}`
}

/** What of `seen` is nearest to a name; else some of it, so that one can see how such names look here. */
export function describeSeen(name: string, seen: ReadonlySet<string>): string {
  if (seen.size === 0) return 'none was seen'
  const last = lastStep(name)
  const near = [...seen].find((one) => lastStep(one) === last) ?? findNearest(name, seen)
  if (near !== undefined) return `seen: ${quote(near)}`
  const some = [...seen].sort().slice(0, 5)
  return `seen: ${some.map((one) => quote(one)).join(', ')}${seen.size > some.length ? ' and others' : ''}`
}

/** Of a group that is called by its path, or by its domain (`/corp/finance`, `CORP\finance`), what it is called itself. */
function lastStep(name: string): string {
  return (name.split(/[/\\:]/).findLast((step) => step !== '') ?? name).toLowerCase()
}
