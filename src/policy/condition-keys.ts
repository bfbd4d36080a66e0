/**
 * A condition as the document writes it is a map of keys, all of which have to hold; here a list of judged keys becomes one condition.
 *
 * Every kind of condition comes through this one door, so that none of them can join its keys differently, answer a refusal with
 * no reason, or name a reason for something that holds. A map without keys is refused: the neutral outcome of `and` is `true`, and
 * a condition that asks for nothing must not mean that everything passes.
 */

import type { LeafCondition, TraceInput } from './condition.ts'
import type { RemedyDetails, Unmet } from './decision.ts'
import type { FactGroup, Facts } from './facts.ts'
import { joinNextChanges, type Timed } from './next-change.ts'
import { and, type Outcome } from './outcome.ts'

/** One key of a condition's map. */
export interface ConditionKey extends Timed {
  readonly judge: (facts: Facts) => Outcome
  /** Asked only where `judge` is not `true`. */
  readonly findRemedy: (facts: Facts) => RemedyFound
  readonly trace: (facts: Facts) => Omit<TraceInput, 'outcome'>
}

export interface RemedyFound {
  readonly remedy: Unmet['remedy']
  readonly details?: RemedyDetails
}

/** One condition of several keys, cheapest first. */
export function joinKeys(condition: Unmet['condition'], keys: readonly ConditionKey[], needs: readonly FactGroup[]): LeafCondition {
  const [only] = keys
  if (only === undefined) throw new TypeError(`a ${condition} condition must ask for something`)
  return {
    judge: keys.length === 1 ? only.judge : (facts) => judgeAll(keys, facts),
    findUnmet: (facts) => keys.flatMap((key) => findUnmetOf(condition, key, facts)),
    trace: (facts) => keys.map((key) => ({ ...key.trace(facts), outcome: key.judge(facts) })),
    needs,
    ...joinNextChanges(keys),
  }
}

function judgeAll(keys: readonly ConditionKey[], facts: Facts): Outcome {
  let outcome: Outcome = 'true'
  for (const key of keys) {
    outcome = and(outcome, key.judge(facts))
    if (outcome === 'false') return outcome
  }
  return outcome
}

function findUnmetOf(condition: Unmet['condition'], key: ConditionKey, facts: Facts): Unmet[] {
  const outcome = key.judge(facts)
  return outcome === 'true' ? [] : [{ condition, outcome, ...key.findRemedy(facts) }]
}
