/**
 * An explanation as text for an admin: the decision, then each rule with each condition, what it was given, where that came from and how
 * old it is. The rows are made by `decision-tree.ts`, which also sees to it that no value writes to a terminal or passes for two.
 */

import { type ConditionRow, type PartRow, partsOf, treeOf } from '../administration/decision-tree.ts'
import { printAge } from '../administration/what-if-known.ts'
import { reasons } from '../policy/decision.ts'
import type { Explanation, RuleTrace } from '../policy/explain.ts'
import type { Outcome } from '../policy/outcome.ts'

const marks: Readonly<Record<Outcome, string>> = { true: '✓', false: '✗', unknown: '?' }

/** The whole of it. `at` is the instant that ages are counted from. */
export function printExplanation({ decision, rules }: Explanation, at: number): string {
  const by =
    'rule' in decision && decision.rule !== undefined && decision.rule !== '' ? `, by the rule ${JSON.stringify(decision.rule)}` : ''
  const lines = [`${decision.effect.toUpperCase()}  ${decision.reason}${by}`, `    ${reasons[decision.reason]}`]
  if (decision.effect === 'challenge' && decision.challenge === 'step_up') {
    const { acrValues, maxAgeSeconds } = decision.stepUp
    if (acrValues.length > 0) lines.push(`    asks for acr ${acrValues.join(' ')}`)
    if (maxAgeSeconds !== undefined) lines.push(`    asks for an authentication not older than ${printAge(maxAgeSeconds * 1000)}`)
  }
  if (decision.would !== undefined) {
    const { effect, reason, rule } = decision.would
    lines.push(`    without report mode: ${effect} ${reason}${rule === undefined ? '' : ` (${rule})`}`)
  }
  for (const { isDeciding, isReport, name, origin, parts, says, verb } of treeOf({ rules }, at)) {
    const more = [origin === 'company' ? 'for the company' : '', isReport ? 'report only' : '', isDeciding ? 'this decided' : ''].filter(
      (word) => word !== '',
    )
    lines.push('', `${verb} ${JSON.stringify(name)}${more.length === 0 ? '' : `  (${more.join(', ')})`}`, `    ${says}`)
    lines.push(...parts.flatMap(printPart).map((line) => `    ${line}`))
  }
  if (rules.length === 0) lines.push('', 'No rule speaks of this app: nobody may open it.')
  return lines.join('\n')
}

/** The parts of one rule, a line each. */
export function printConditions(rule: RuleTrace, at?: number): readonly string[] {
  return partsOf(rule, at).flatMap(printPart)
}

function printPart({ of, outcome, place }: PartRow): readonly string[] {
  const head = `${marks[outcome]} ${place}`
  const lines = of.flatMap(printRow)
  const [only] = lines
  return lines.length === 1 && only !== undefined ? [`${head}: ${only}`] : [head, ...lines.map((line) => `    ${line}`)]
}

function printRow(row: ConditionRow): readonly string[] {
  const mark = marks[row.outcome]
  if (row.kind === 'group') return [`${mark} ${row.label}`, ...row.of.flatMap(printRow).map((line) => `    ${line}`)]
  const age = row.ageMs === undefined ? '' : `, ${printAge(row.ageMs)} old`
  return [`${mark} ${row.fact} is ${row.got}, wanted ${row.wanted}  [${row.source}${age}]`]
}
