/**
 * The most work that a part of an expression can do, in steps, from the largest size that each value can have.
 *
 * Sizes are shared out: the entries of a list have together what the list has, so that a pattern tried on every group costs the text of all
 * groups once, and a list within each entry of a claim is not counted as if each were the largest. Weights were fitted to
 * measurements of the engine (`bench/expression.ts`), a step being about thirty nanoseconds.
 */

import { factLimits } from './expression-values.ts'

/** The largest that a value can be. */
export interface Size {
  /** Characters: of a string, of all entries of a list together. */
  readonly text: number
  /** Entries of a list. */
  readonly items: number
  /** Everything within it, entries of entries included. */
  readonly values: number
  /** It is certainly a string, or a list of nothing else: what asks for a string cannot fail on it. */
  readonly isText: boolean
}

export interface Measure extends Size {
  readonly work: number
  /** Whether evaluating it can fail, which costs as much as a hundred steps. */
  readonly canFail: boolean
}

export const scalar: Size = { text: 0, items: 0, values: 1, isText: false }
export const anyFact: Size = { text: factLimits.allText, items: factLimits.items, values: factLimits.values, isText: false }
const textFact: Size = { text: factLimits.text, items: 0, values: 1, isText: true }
const listFact: Size = { text: factLimits.allText, items: factLimits.items, values: factLimits.items, isText: true }

/** The size of a field, by its CEL type. */
export function sizeOfType(type: string): Size {
  return type.startsWith('list') ? listFact : type === 'string' ? textFact : scalar
}

/** A text that is written out. */
export function textOf(literal: string): Size {
  return { text: literal.length, items: 0, values: 1, isText: true }
}

/** One entry of a list. */
export function measureItem(list: Size): Size {
  const count = Math.max(list.items, 1)
  const values = Math.max(1, Math.floor(list.values / count))
  return { text: list.text / count, items: values > 1 ? Math.min(values, factLimits.items) : 0, values, isText: list.isText }
}

/** What holds whichever of two values it is, or of both together. */
export function bothSizes(left: Size, right: Size, together: 'either' | 'joined'): Size {
  const join = together === 'either' ? Math.max : (one: number, other: number) => one + other
  return {
    text: join(left.text, right.text),
    items: join(left.items, right.items),
    values: join(left.values, right.values),
    isText: left.isText && right.isText,
  }
}

/** Trying a pattern. A text that could be more than a string is at most a string. */
export function measurePatternWork(text: Size, stepsPerCharacter: number): number {
  return 20 + stepsPerCharacter * (text.items === 0 ? text.text : Math.min(text.text, factLimits.text))
}
