/**
 * Three-valued truth (Kleene's strong logic), in which every part of a rule is judged.
 *
 * `unknown` says that a fact is missing, too old or not believed. It is never rounded here: an allow needs `true` (proof),
 * a deny is only kept away by `false` (disproof), and that choice belongs to `decide` alone. `and` and `or` are commutative
 * and associative, which is why neither the order of rules nor of the parts of a rule can matter.
 */

export type Outcome = 'true' | 'false' | 'unknown'

/** `false` if either is; `true` only if both are. */
export function and(left: Outcome, right: Outcome): Outcome {
  if (left === 'false' || right === 'false') return 'false'
  return left === 'true' && right === 'true' ? 'true' : 'unknown'
}

/** `true` if either is; `false` only if both are. */
export function or(left: Outcome, right: Outcome): Outcome {
  if (left === 'true' || right === 'true') return 'true'
  return left === 'false' && right === 'false' ? 'false' : 'unknown'
}

/** What is unknown stays so. */
export function not(outcome: Outcome): Outcome {
  return outcome === 'true' ? 'false' : outcome === 'false' ? 'true' : 'unknown'
}

/** A fact that is known for certain, as an outcome. */
export function outcomeOf(holds: boolean): Outcome {
  return holds ? 'true' : 'false'
}
