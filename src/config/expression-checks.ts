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
    report.problem([...path, 'expression'], printable(found.problem), {
      within: found.start,
      expected: 'a CEL expression that is true or false',
    })
  }
}

/** The engine's words may repeat a piece of the expression, which may hold what a terminal would obey. */
function printable(words: string): string {
  return words.replace(/[^\x20-\x7e\u00a1-\u024f\u2010-\u2026]/g, '?').slice(0, 300)
}
