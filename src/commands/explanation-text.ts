/**
 * An explanation as text for an admin: the decision, then each rule with each condition, what it was given, where that came from and how
 * old it is.
 *
 * Values come from tokens and devices, and are shown as JSON so that none of them can write to a terminal or pass for two.
 */

import type { ConditionTrace } from '../policy/compose-condition.ts'
import type { TraceInput } from '../policy/condition.ts'
import { reasons } from '../policy/decision.ts'
import { type Explanation, type PartTrace, type RuleTrace, standingWords } from '../policy/explain.ts'
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
  for (const rule of [...rules].sort((a, b) => Number(b.isDeciding) - Number(a.isDeciding))) {
    const { isDeciding, isReport, name, origin, standing, verb } = rule
    const more = [origin === 'company' ? 'for the company' : '', isReport ? 'report only' : '', isDeciding ? 'this decided' : ''].filter(
      (word) => word !== '',
    )
    lines.push('', `${verb} ${JSON.stringify(name)}${more.length === 0 ? '' : `  (${more.join(', ')})`}`, `    ${standingWords[standing]}`)
    lines.push(...printConditions(rule, at).map((line) => `    ${line}`))
  }
  if (rules.length === 0) lines.push('', 'No rule speaks of this app: nobody may open it.')
  return lines.join('\n')
}

/** The parts of one rule, a line each. */
export function printConditions(rule: RuleTrace, at?: number): readonly string[] {
  return rule.parts.flatMap((part) => printPart(part, at))
}

function printPart({ condition, inputs, outcome, place }: PartTrace, at: number | undefined): readonly string[] {
  const head = `${marks[outcome]} ${place}`
  const lines = condition === undefined ? inputs.map((input) => printInput(input, at)) : printCondition(condition, at)
  const [only] = lines
  return lines.length === 1 && only !== undefined ? [`${head}: ${only}`] : [head, ...lines.map((line) => `    ${line}`)]
}

function printCondition({ inputs, kind, name, of, outcome }: ConditionTrace, at: number | undefined): readonly string[] {
  const own = inputs.map((input) => printInput(input, at))
  const inner = of.flatMap((one) => printCondition(one, at))
  if (kind !== 'level' && of.length === 0) return own
  const label = kind === 'level' ? `level ${name ?? ''}` : kind
  return [`${marks[outcome]} ${label}`, ...[...own, ...inner].map((line) => `    ${line}`)]
}

function printInput({ at: observedAt, fact, outcome, source, value, wanted }: TraceInput, at: number | undefined): string {
  const got = value.known ? printValue(value.value) : `unknown (${value.why})`
  const age = observedAt === undefined || at === undefined ? '' : `, ${printAge(at - observedAt)} old`
  return `${marks[outcome]} ${fact} is ${got}, wanted ${wanted}  [${source}${age}]`
}

function printValue(value: unknown): string {
  const text = value === undefined ? 'none' : JSON.stringify(value)
  const safe = (text ?? 'none').replace(/[\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g, '?')
  return safe.length > 300 ? `${safe.slice(0, 300)}…` : safe
}

/** Milliseconds as a person would say them. */
export function printAge(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000))
  if (seconds < 120) return `${seconds} s`
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`
  return seconds < 172_800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86_400)} d`
}
