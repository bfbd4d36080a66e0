/**
 * Values on their way from facts into an expression: bounded in size, and stripped of everything that is not plain data.
 *
 * The bound on the work of an expression rests on these limits, so nothing passes them: what is larger does not get shorter, it is
 * unknown. Claims become maps of strings, numbers, booleans, lists and maps, and so nothing that a provider sends can reach a prototype.
 */

import { isPrototypeName } from './claim-path.ts'
import type { ClaimSet, Known } from './facts.ts'

/** What a fact may hold; more makes it unknown. A claim counts as a whole, everything below it included. */
export const factLimits = {
  /** Characters of one string. */
  text: 2048,
  /** Entries of one list or map. Entra sends at most 200 groups. */
  items: 256,
  /** Characters of a list, or of a claim, altogether. 200 UUIDs fit. */
  allText: 8192,
  /** Strings, numbers, booleans, lists and maps in one claim. */
  values: 2048,
} as const

/** Facts are never changed, so that claims are converted once for as long as a session keeps them. */
const converted = new WeakMap<ClaimSet, ReadonlyMap<string, unknown>>()

/** Claims as the engine takes them, by name. The same map for the same claims. */
export function convertClaims(claims: ClaimSet): ReadonlyMap<string, unknown> {
  let map = converted.get(claims)
  if (map === undefined) {
    const entries = Object.entries(claims).filter(([name, value]) => !isPrototypeName(name) && value !== null && value !== undefined)
    // The engine takes the type of a map's values from the first, and fails on a symbol: those come last.
    const values = entries.map(([name, value]): [string, unknown] => [name, convertWhole(value)])
    map = new Map([...values.filter(([, value]) => typeof value !== 'symbol'), ...values.filter(([, value]) => typeof value === 'symbol')])
    converted.set(claims, map)
  }
  return map
}

/** A value within the limits or, for the whole of it, a symbol of its own: a thing that exists, and that the engine fails on whatever is asked. */
export function convertWhole(value: unknown): unknown {
  const budget = { values: factLimits.values, text: factLimits.allText }
  try {
    return convert(value, budget)
  } catch {
    // `convert` throws where the value is over a limit, or deeper than the stack.
    return Symbol('too large')
  }
}

function convert(value: unknown, budget: { values: number; text: number }): unknown {
  if (--budget.values < 0) throw new RangeError('too many values')
  switch (typeof value) {
    case 'boolean':
      return value
    case 'number':
      return Number.isSafeInteger(value) ? BigInt(value) : value
    case 'string':
      budget.text -= value.length
      if (value.length > factLimits.text || budget.text < 0) throw new RangeError('too much text')
      return value
    default:
      if (typeof value !== 'object' || value === null) throw new TypeError('not a value that an expression could compare')
      if (Array.isArray(value)) return bounded(value).map((item: unknown) => convert(item, budget))
      // JSON `null` counts as absent, as it does for selectors.
      return new Map(
        bounded(Object.entries(value))
          .filter(([name, item]) => !isPrototypeName(name) && item !== null)
          .map(([name, item]): [unknown, unknown] => [convert(name, budget), convert(item, budget)]),
      )
  }
}

function bounded<T>(items: readonly T[]): readonly T[] {
  if (items.length > factLimits.items) throw new RangeError('too many items')
  return items
}

/** A text, unless it is too long to be worked on. */
export function boundText(text: string | undefined): string | undefined {
  return text !== undefined && text.length <= factLimits.text ? text : undefined
}

/** A fact that is a text. */
export function boundKnownText(fact: Known<string>): string | undefined {
  return fact.known ? boundText(fact.value) : undefined
}

/** A fact that is a list of texts. */
export function boundKnownList(fact: Known<readonly string[]>): readonly string[] | undefined {
  return fact.known ? boundList(fact.value) : undefined
}

/** A list of texts, unless it is too long as a whole: it is never cut, because what is missing from a list would count as not in it. */
export function boundList(list: readonly string[]): readonly string[] | undefined {
  if (list.length > factLimits.items) return undefined
  let text = 0
  for (const item of list) {
    text += item.length
    if (item.length > factLimits.text) return undefined
  }
  return text <= factLimits.allText ? list : undefined
}
