/**
 * Walking conditions as written: each with its place in the file, so that every check can point at the very key it speaks of.
 *
 * Names of levels are not followed here; `LevelTable` does that for the checks that have to see through them.
 */

import type { WrittenCondition } from './condition-schema.ts'
import type { Partially } from './parse-value.ts'
import type { Path } from './problems.ts'
import type { WrittenRule } from './rule-schema.ts'

/** A condition with its place. */
export interface PlacedCondition {
  readonly condition: WrittenCondition
  readonly path: Path
}

/** Where conditions of a rule stand. */
export type ConditionKeyword = 'require' | 'when' | 'unless'

/** The condition itself, then every condition within. */
export function* walkCondition(condition: WrittenCondition, path: Path): Generator<PlacedCondition> {
  yield { condition, path }
  if (condition.kind === 'not') yield* walkCondition(condition.of, [...path, 'not'])
  else if (condition.kind === 'all_of' || condition.kind === 'any_of') {
    for (const [index, part] of condition.of.entries()) yield* walkCondition(part, [...path, condition.kind, index])
  }
}

/** The conditions under one key of a rule, whether written as one or as a list; what could not be read is left out. */
export function listConditions(rule: Partially<WrittenRule>, path: Path, keyword: ConditionKeyword): readonly PlacedCondition[] {
  const written = rule[keyword] as WrittenCondition | readonly (WrittenCondition | undefined)[] | undefined
  if (written === undefined) return []
  if (!isList(written)) return [{ condition: written, path: [...path, keyword] }]
  return written.flatMap((condition, index) => (condition === undefined ? [] : [{ condition, path: [...path, keyword, index] }]))
}

/** Every condition of a rule that is written as an item of `require`, `when` or `unless`. */
export function listAllConditions(rule: Partially<WrittenRule>, path: Path): readonly PlacedCondition[] {
  return (['require', 'when', 'unless'] as const).flatMap((keyword) => listConditions(rule, path, keyword))
}

function isList<T>(written: T | readonly T[]): written is readonly T[] {
  return Array.isArray(written)
}
