/**
 * An explanation as rows that a person reads from top to bottom: each rule, its parts, what each was judged on, where that came from and how old
 * it was. One making of it, so that `postern explain` and the console cannot say different things of one decision.
 *
 * Values come from tokens and devices. They are shown as JSON, less what a terminal or a page would act upon, so that none can pass for two.
 */

import type { ConditionTrace } from '../policy/compose-condition.ts'
import type { TraceInput } from '../policy/condition.ts'
import { type Explanation, type PartTrace, type RuleTrace, type Standing, standingWords } from '../policy/explain.ts'
import type { Outcome } from '../policy/outcome.ts'

/** One input of a condition, in words. */
export interface InputRow {
  readonly kind: 'input'
  readonly outcome: Outcome
  /** Such as `device.disk_encrypted`. */
  readonly fact: string
  /** As JSON, `none`, or `unknown (why)`. */
  readonly got: string
  readonly isKnown: boolean
  readonly wanted: string
  /** Where it came from, such as `report`. */
  readonly source: string
  /** Between when the source observed it and the decision; `undefined`: it does not age. */
  readonly ageMs: number | undefined
}

/** What joins others: a level, `all`, `any`, `not`. */
export interface GroupRow {
  readonly kind: 'group'
  readonly outcome: Outcome
  /** `level managed`, `any`. */
  readonly label: string
  readonly of: readonly ConditionRow[]
}

export type ConditionRow = InputRow | GroupRow

/** A part of a rule: who, when, unless, what a require demands. */
export interface PartRow {
  readonly place: PartTrace['place']
  readonly outcome: Outcome
  readonly of: readonly ConditionRow[]
}

export interface RuleRow {
  readonly verb: RuleTrace['verb']
  readonly name: string
  readonly origin: RuleTrace['origin']
  readonly isReport: boolean
  readonly isDeciding: boolean
  readonly standing: Standing
  /** The standing in a sentence. */
  readonly says: string
  readonly parts: readonly PartRow[]
}

/** The rules, the deciding one first. `at`: what ages are counted from, mostly the instant of the decision; without it nothing has one. */
export function treeOf({ rules }: Pick<Explanation, 'rules'>, at: number | undefined): readonly RuleRow[] {
  return [...rules].sort((a, b) => Number(b.isDeciding) - Number(a.isDeciding)).map((rule) => rowOf(rule, at))
}

/** The parts of one rule. */
export function partsOf({ parts }: Pick<RuleTrace, 'parts'>, at: number | undefined): readonly PartRow[] {
  return parts.map(({ condition, inputs, outcome, place }) => {
    const of = condition === undefined ? inputs.map((input) => inputRow(input, at)) : conditionRows(condition, at)
    return { place, outcome, of }
  })
}

function rowOf(rule: RuleTrace, at: number | undefined): RuleRow {
  const { isDeciding, isReport, name, origin, standing, verb } = rule
  return { verb, name, origin, isReport, isDeciding, standing, says: standingWords[standing], parts: partsOf(rule, at) }
}

/** A leaf says no more than its inputs do. */
function conditionRows({ inputs, kind, name, of, outcome }: ConditionTrace, at: number | undefined): readonly ConditionRow[] {
  const own = inputs.map((input) => inputRow(input, at))
  const inner = of.flatMap((one) => conditionRows(one, at))
  if (kind !== 'level' && of.length === 0) return own
  return [{ kind: 'group', outcome, label: kind === 'level' ? `level ${name ?? ''}` : kind, of: [...own, ...inner] }]
}

function inputRow({ at: observedAt, fact, outcome, source, value, wanted }: TraceInput, at: number | undefined): InputRow {
  const got = value.known ? printValue(value.value) : `unknown (${value.why})`
  const ageMs = observedAt === undefined || at === undefined ? undefined : at - observedAt
  return { kind: 'input', outcome, fact, got, isKnown: value.known, wanted, source, ageMs }
}

/** A value as JSON, less what a terminal or a page would act upon, and not longer than one reads. */
export function printValue(value: unknown): string {
  const text = value === undefined ? 'none' : JSON.stringify(value)
  const safe = (text ?? 'none').replace(/[\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g, '?')
  return safe.length > 300 ? `${safe.slice(0, 300)}…` : safe
}
