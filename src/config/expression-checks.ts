/**
 * Expressions, type-checked where the policy is loaded: the report points at the very place inside the text.
 *
 * The engine's own checker is asked (the only value that configuration takes from the policy), so that what loads is what compiles.
 */

import { checkExpression } from '../policy/expression.ts'
import type { PolicyParts } from './policy-parts.ts'
import { findConditions } from './reference-checks.ts'

/** Reports expressions that have no type, reach beyond the facts, or are larger than a decision may wait for. */
export function checkExpressions(policy: PolicyParts): void {
  for (const { condition, path, report } of findConditions(policy)) {
    if (condition.kind !== 'expression') continue
    const found = checkExpression(condition.source)
    if (found === undefined) continue
    report.problem([...path, 'expression'], found.problem, { within: found.start, expected: 'a CEL expression that is true or false' })
  }
}
