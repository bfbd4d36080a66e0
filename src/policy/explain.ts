/**
 * The explanation of a decision: the decision itself, and every rule of the app with each condition, its input, and where that came from.
 *
 * The very functions that decide are asked here, on the same facts, so an explanation cannot drift from what was enforced. It names rules,
 * groups and networks and is therefore for admins; what the person is told is `unmet`.
 */

import type { CompiledApp } from './compile.ts'
import type { ConditionTrace } from './compose-condition.ts'
import type { TraceInput } from './condition.ts'
import { decide } from './decide.ts'
import type { Decision } from './decision.ts'
import type { Rule } from './document.ts'
import type { Facts } from './facts.ts'
import type { Outcome } from './outcome.ts'
import { isLacking } from './refusal.ts'
import { type CompiledRule, judgeDemands, judgeParts, type RulePart } from './rule.ts'

export interface Explanation {
  readonly decision: Decision
  /** In the order of their names, public allows last. */
  readonly rules: readonly RuleTrace[]
}

export interface RuleTrace {
  readonly name: string
  readonly verb: Rule['verb']
  /** The app's own, or from the top level. */
  readonly origin: 'app' | 'company'
  /** In report mode: whatever its standing, it decided nothing. */
  readonly isReport: boolean
  /** Of everything in it but what a `require` demands. */
  readonly outcome: Outcome
  /** Of what a `require` demands; absent for the other verbs. */
  readonly demanded?: Outcome
  /** Named by the decision. */
  readonly isDeciding: boolean
  readonly standing: Standing
  readonly parts: readonly PartTrace[]
}

/** Every way in which a rule can have mattered or not, with what it says. */
export const standingWords = {
  applies: 'Everything in it is true: it applies.',
  not_disproved: 'It is not known to be false, and a deny needs disproof: it applies.',
  held_back: 'Everything in it is true, but something that is required is not: it does not apply.',
  not_proven: 'Something in it is unknown, and an allow needs proof: it does not apply.',
  does_not_apply: 'Something in it is false: it does not apply.',
  met: 'It touches this request, and what it requires is true.',
  not_met: 'It touches this request, or might, and what it requires is not proven: no allow applies.',
  does_not_touch: 'Something in it is false: it does not touch this request.',
} as const

export type Standing = keyof typeof standingWords

/** One part of a rule. `trace` of an `unless` is of what follows it; the outcome is that of the part, so the opposite. */
export interface PartTrace {
  readonly place: 'who' | RulePart['place'] | 'require'
  readonly outcome: Outcome
  /** Of a *who*. */
  readonly inputs: readonly TraceInput[]
  /** Of everything else. */
  readonly condition: ConditionTrace | undefined
}

/** Decides and explains. Throws on facts that no type allows, where the decision alone would be `evaluation_failed`. */
export function explainDecision(app: CompiledApp, facts: Facts): Explanation {
  const decision = decide(app, facts)
  const isHeldBack = app.enforced.shortlist(facts.subject).requires.some((one) => isLacking(one, facts))
  const rules = app.rules.map((rule) => traceRule(rule, facts, isHeldBack))
  const deciding = findDeciding(rules, decision)
  return { decision, rules: rules.map((rule) => (rule === deciding ? { ...rule, isDeciding: true } : rule)) }
}

function traceRule(rule: CompiledRule, facts: Facts, isHeldBack: boolean): RuleTrace {
  const { name, verb, origin, isReport } = rule
  const outcome = judgeParts(rule, rule.who.judge(facts.subject), facts)
  const demanded = verb === 'require' ? { demanded: judgeDemands(rule, facts) } : {}
  const standing = findStanding(verb, outcome, verb === 'require' ? demanded.demanded !== 'true' : isHeldBack)
  return { name, verb, origin, isReport, outcome, ...demanded, isDeciding: false, standing, parts: traceParts(rule, facts) }
}

/** `isLacking`: of a require, that it is not met; of an allow, that some require is not. */
function findStanding(verb: Rule['verb'], outcome: Outcome, isLacking: boolean): Standing {
  switch (verb) {
    case 'allow':
      if (outcome === 'true') return isLacking ? 'held_back' : 'applies'
      return outcome === 'false' ? 'does_not_apply' : 'not_proven'
    case 'deny':
      if (outcome === 'true') return 'applies'
      return outcome === 'false' ? 'does_not_apply' : 'not_disproved'
    case 'require':
      if (outcome === 'false') return 'does_not_touch'
      return isLacking ? 'not_met' : 'met'
  }
}

function traceParts({ who, parts, demands }: CompiledRule, facts: Facts): readonly PartTrace[] {
  return [
    { place: 'who', outcome: who.judge(facts.subject), inputs: who.trace(facts.subject), condition: undefined },
    ...parts.map(({ place, condition }): PartTrace => {
      const trace = condition.trace(facts)
      const [opposite] = trace.of
      return { place, outcome: trace.outcome, inputs: [], condition: place === 'unless' ? opposite : trace }
    }),
    ...demands.map((demand): PartTrace => {
      const trace = demand.trace(facts)
      return { place: 'require', outcome: trace.outcome, inputs: [], condition: trace }
    }),
  ]
}

/** A name is unique within its app and at the top level, and may stand in both: then the first whose standing fits, as in the decision. */
function findDeciding(rules: readonly RuleTrace[], decision: Decision): RuleTrace | undefined {
  if (!('rule' in decision) || decision.rule === undefined) return undefined
  const named = rules.filter(({ name, isReport }) => name === decision.rule && !isReport)
  const wanted = namedVerbs(decision)
  return named.find(({ verb, standing }) => wanted.includes(verb) && (verb === 'allow' || !standing.startsWith('does_not')))
}

function namedVerbs({ effect, reason }: Decision): readonly Rule['verb'][] {
  if (reason === 'denied_by_rule') return ['deny']
  if (effect === 'challenge') return ['deny', 'require', 'allow']
  return reason === 'rule_matched' || reason === 'public' ? ['allow'] : ['require', 'allow']
}
