/**
 * The decision: a pure, synchronous function of a compiled app and the facts. No clock, no I/O, no log.
 *
 * Precedence, first that holds:
 *   1 a deny that is true for strangers too → deny
 *   2 nobody signed in and no public allow → challenge
 *   3 a deny that nothing disproves → deny
 *   4 an allow that is proven → allow
 *   5 else deny, with what kept the nearest allow from applying
 * Absence of a match is a denial; so is any exception. `explain`, `test` and `replay` call this very function.
 */

import { type CompiledApp, type CompiledRule, judgeParts, type Shortlist } from './compile.ts'
import type { Decision, Unmet } from './decision.ts'
import type { Facts } from './facts.ts'
import type { Outcome } from './outcome.ts'

/** Decides one request. Never throws, whatever the facts are, and never changes them. */
export function decide(app: CompiledApp, facts: Facts): Decision {
  try {
    return decideInOrder(app, facts)
  } catch {
    // Facts of a shape that no type allows. Deny is the floor, and the reason says that it was not a rule.
    return { effect: 'deny', reason: 'evaluation_failed', rule: undefined, unmet: [] }
  }
}

function decideInOrder(app: CompiledApp, facts: Facts): Decision {
  const isAnonymous = facts.subject.kind === 'nobody'
  const { allows, denies } = app.shortlist(facts.subject)
  const deny = findDeny(denies, facts)
  const allow = deny === undefined || isAnonymous ? findAllow(allows, facts) : undefined

  // 1 Before the challenge: what is closed to everyone must not ask strangers to sign in first.
  if (isAnonymous && deny?.outcome === 'true') return deniedBy(deny.rule, facts)
  // 2 In an allow, only `public` is ever true for nobody.
  if (isAnonymous && allow === undefined) return { effect: 'challenge', reason: 'login_required', challenge: 'sign_in' }
  // 3
  if (deny !== undefined) return deniedBy(deny.rule, facts)
  // 4
  if (allow !== undefined) return { effect: 'allow', reason: allow.who.isPublic ? 'public' : 'rule_matched', rule: allow.name }
  // 5
  return deniedForLackOfAllow(app.allows, facts)
}

/** The deny that applies: one that is certain before one that is merely not disproved. */
function findDeny(denies: Shortlist['denies'], facts: Facts): { readonly rule: CompiledRule; readonly outcome: Outcome } | undefined {
  let undisproved: CompiledRule | undefined
  for (const { rule, who } of denies) {
    const outcome = judgeParts(rule, who, facts)
    if (outcome === 'true') return { rule, outcome }
    if (outcome === 'unknown') undisproved ??= rule
  }
  return undisproved === undefined ? undefined : { rule: undisproved, outcome: 'unknown' }
}

function findAllow(allows: Shortlist['allows'], facts: Facts): CompiledRule | undefined {
  for (const rule of allows) if (judgeParts(rule, 'true', facts) === 'true') return rule
  return undefined
}

/** `unmet` names what was unknown: knowing it might disprove the deny. A deny that is true has nothing to mend. */
function deniedBy(rule: CompiledRule, facts: Facts): Decision {
  return { effect: 'deny', reason: 'denied_by_rule', rule: rule.name, unmet: unmetOf(rule, facts) }
}

function deniedForLackOfAllow(allows: readonly CompiledRule[], facts: Facts): Decision {
  let nearest: { readonly rule: CompiledRule; readonly unmet: readonly Unmet[] } | undefined
  for (const rule of allows) {
    const unmet = unmetOf(rule, facts)
    // Rules come in the order of their names, so that of equals the first stays.
    if (nearest === undefined || distanceOf(unmet) < distanceOf(nearest.unmet)) nearest = { rule, unmet }
  }
  return { effect: 'deny', reason: 'no_rule_matched', rule: nearest?.rule.name, unmet: nearest?.unmet ?? [] }
}

function unmetOf(rule: CompiledRule, facts: Facts): readonly Unmet[] {
  const unmet: Unmet[] = []
  const who = rule.who.judge(facts.subject)
  if (who !== 'true') unmet.push({ condition: 'subject', outcome: who, remedy: rule.who.findRemedy(facts.subject) })
  for (const { condition, judge, findRemedy } of rule.parts) {
    const outcome = judge(facts)
    if (outcome !== 'true') unmet.push({ condition, outcome, remedy: findRemedy(facts) })
  }
  return unmet
}

/** Fewest unmet conditions; among as many, the one with fewest that are certainly false, since an unknown can be mended. */
function distanceOf(unmet: readonly Unmet[]): number {
  const certain = unmet.filter(({ outcome }) => outcome === 'false').length
  return unmet.length * 1000 + certain
}
