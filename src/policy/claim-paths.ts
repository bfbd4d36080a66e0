/**
 * The claims that a policy speaks of: what the audit trail keeps of a person's claims, so that a decision can be made again later.
 *
 * Everything else that a provider says about people is none of the trail's business.
 */

import type { Condition, PolicyDocument, Rule, Who } from './document.ts'
import { expressionClaims } from './expression.ts'
import type { Steps } from './steps.ts'

/** An expression is read again for it, the others cost next to nothing. */
const rulesInStep = 20

/** Paths of claims, each once, in an order of their own. */
export function* collectClaimPaths({
  apps,
  levels,
  rules,
}: Pick<PolicyDocument, 'apps' | 'levels' | 'rules'>): Steps<readonly (readonly string[])[]> {
  const found = new Map<string, readonly string[]>()
  const add = (path: readonly string[]) => found.set(JSON.stringify(path), path)
  const visitWho = (who: Who): void => {
    if (who.kind === 'claims') for (const { path } of who.claims) add(path)
    else if (who.kind === 'any_of' || who.kind === 'all_of') who.of.forEach(visitWho)
  }
  const visit = (condition: Condition): void => {
    if (condition.kind === 'subject') visitWho(condition.who)
    else if (condition.kind === 'not') visit(condition.of)
    else if (condition.kind === 'all_of' || condition.kind === 'any_of') condition.of.forEach(visit)
    // Each claim as a whole: of one without the rest of it, `has` and the limits on its size would say something else.
    else if (condition.kind === 'expression') for (const path of expressionClaims(condition.source)) add(path.slice(0, 1))
  }
  const visitRule = ({ require, unless, when, who }: Rule): void => {
    visitWho(who)
    for (const condition of [...require, ...when, ...unless]) visit(condition)
  }
  for (const { condition } of levels) {
    visit(condition)
    yield
  }
  for (const [index, rule] of [...rules, ...apps.flatMap((app) => app.rules)].entries()) {
    visitRule(rule)
    if (index % rulesInStep === 0) yield
  }
  for (const { report } of apps) if (report !== undefined) visitWho(report.pass)
  return [...found.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, path]) => path)
}
