/**
 * What lies between a request and an allow, once it is known that none applies: the nearest way in, what would disprove a deny, and
 * whether a better sign-in alone would do.
 *
 * Asked about refusals only, so it may cost more than a decision; what it costs is bounded by the rules that concern this subject. It reads
 * the same compiled conditions as the decision and so can never promise what the decision would not keep.
 */

import type { RuleSet, Shortlist, ShortlistedRule } from './compile.ts'
import type { StepUp, Unmet } from './decision.ts'
import type { Facts } from './facts.ts'
import { compareMendings, type Mending, mendAll, mendAny } from './mending.ts'
import { type CompiledRule, judgeDemands, judgeParts } from './rule.ts'
import { stepUpFor } from './step-up.ts'
import { compareNearness, joinUnmet, type Nearness, nearestUnmet, nearnessBeside } from './unmet.ts'

/** How near a request came. */
export interface NearestWay {
  /** The allow that it nearly was; where that one holds by itself, the first `require` that it lacks. `undefined`: there is no allow. */
  readonly rule: CompiledRule | undefined
  readonly unmet: readonly Unmet[]
}

/** The allow with the fewest unmet conditions, those of unmet requires included. */
export function findNearestWay({ allows, shortlist }: RuleSet, facts: Facts): NearestWay {
  const lacking = shortlist(facts.subject).requires.filter((one) => isLacking(one, facts))
  const demanded = joinUnmet(lacking.flatMap(({ rule }) => rule.demands.map((demand) => demand.findUnmet(facts, 'true'))))
  const nearnessOf = nearnessBeside(demanded)
  let nearest: { readonly rule: CompiledRule; readonly own: readonly Unmet[]; readonly nearness: Nearness } | undefined
  for (const rule of allows) {
    const own = findUnmetOfAllow(rule, facts)
    const nearness = nearnessOf(own)
    // Rules come in the order of their names, so that of equals the first stays.
    if (nearest === undefined || compareNearness(nearness, nearest.nearness) < 0) nearest = { rule, own, nearness }
  }
  if (nearest === undefined) return { rule: undefined, unmet: [] }
  const { own, rule } = nearest
  return { rule: own.length === 0 ? (lacking[0]?.rule ?? rule) : rule, unmet: joinUnmet([own, demanded]) }
}

/**
 * What would disprove a deny, along the nearest way. That it speaks of this subject and of this request is no circumstance
 * that could be mended: a deny about nothing else leaves nothing to name.
 */
export function findUnmetOfDeny({ who, parts }: CompiledRule, facts: Facts): readonly Unmet[] {
  const ways = parts
    .filter(({ place }) => place === 'when' || place === 'unless')
    .map(({ condition }) => condition.findUnmet(facts, 'false'))
  const outcome = who.judge(facts.subject)
  if (outcome === 'unknown') ways.push([{ condition: 'subject', outcome, remedy: who.findRemedy(facts.subject) }])
  return nearestUnmet(ways)
}

/** Whether this require touches the request, or might, and is not met. */
export function isLacking({ rule, who }: ShortlistedRule, facts: Facts): boolean {
  return judgeParts(rule, who, facts) !== 'false' && judgeDemands(rule, facts) !== 'true'
}

/** A better sign-in that would open what is closed. */
export interface WayBySignIn {
  /** The rule that wants it. */
  readonly rule: CompiledRule
  readonly stepUp: StepUp
}

/**
 * The least demanding sign-in with which every deny would be disproved and an allow would apply; `undefined` where none would do, and for
 * whoever is no person. `deny`: the one that applies now. `isPassing`: the app's report mode stands in for allows and requires.
 */
export function findWayBySignIn(
  { allows, denies, requires }: Shortlist,
  facts: Facts,
  { deny, isPassing }: { readonly deny: CompiledRule | undefined; readonly isPassing: boolean },
): WayBySignIn | undefined {
  if (facts.subject.kind !== 'person') return undefined
  const common: (readonly Mending[])[] = []
  for (const { rule, who } of denies) {
    // Also one that does not apply now must not begin to, where the sign-in is what keeps it away.
    if (judgeParts(rule, who, facts, true) === 'false')
      common.push(mendAny(rule.parts.map(({ condition }) => condition.findMendings(facts, 'false'))))
    else if (judgeParts(rule, who, facts) !== 'false') return undefined
  }
  if (isPassing) return deny === undefined ? undefined : wayWith(deny, mendAll(common)[0])

  for (const { rule } of requires) {
    const untouched = rule.parts.map(({ condition }) => condition.findMendings(facts, 'false'))
    const met = mendAll(rule.demands.map((demand) => demand.findMendings(facts, 'true')))
    common.push(mendAny([...untouched, met]))
  }
  // Once, and not again for each allow: a refusal must not cost the product of the two.
  const shared = mendAll(common)
  let least: { readonly rule: CompiledRule; readonly mending: Mending } | undefined
  for (const rule of allows) {
    if (judgeParts(rule, 'true', facts, true) !== 'true') continue
    const [mending] = mendAll([shared, ...rule.parts.map(({ condition }) => condition.findMendings(facts, 'true'))])
    if (mending !== undefined && (least === undefined || compareMendings(mending, least.mending) < 0)) least = { rule, mending }
  }
  if (least === undefined) return undefined
  const isHeldBack = judgeParts(least.rule, 'true', facts) === 'true'
  const lacked = isHeldBack ? requires.find((one) => isLacking(one, facts))?.rule : undefined
  return wayWith(deny ?? lacked ?? least.rule, least.mending)
}

function wayWith(rule: CompiledRule, mending: Mending | undefined): WayBySignIn | undefined {
  return mending === undefined ? undefined : { rule, stepUp: stepUpFor(mending.steps.map(({ condition }) => condition)) }
}

function findUnmetOfAllow({ who, parts }: CompiledRule, facts: Facts): readonly Unmet[] {
  const outcome = who.judge(facts.subject)
  const unmet: Unmet[] = outcome === 'true' ? [] : [{ condition: 'subject', outcome, remedy: who.findRemedy(facts.subject) }]
  for (const { condition } of parts) if (condition.judge(facts) !== 'true') unmet.push(...condition.findUnmet(facts, 'true'))
  return unmet
}
