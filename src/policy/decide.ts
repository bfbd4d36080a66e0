/**
 * The decision: a pure, synchronous function of a compiled app and the facts. No clock, no I/O, no log.
 *
 * Precedence, first that holds:
 *   0 a lock concerns the request, or the device is blocked → deny: a lock comes before every rule, and before report mode
 *   1 nobody signed in, and a deny that is true for strangers too → deny
 *   2 nobody signed in, and no public allow → challenge: sign in
 *   3 a deny that nothing disproves → deny; or challenge: step up, where a better sign-in alone disproves every such deny and opens an allow
 *   4 an allow that is proven, and with it everything that a require adds → allow
 *   5 the app's report mode lets this subject pass → allow
 *   6 an allow that a better sign-in alone would prove → challenge: step up
 *   7 else deny, with what kept the nearest allow from applying
 * Absence of a match is a denial; so is any exception. `explain`, `test` and `replay` call this very function.
 */

import type { CompiledApp, RuleSet, Shortlist } from './compile.ts'
import type { Decision } from './decision.ts'
import type { Facts } from './facts.ts'
import type { Outcome } from './outcome.ts'
import { findNearestWay, findUnmetOfDeny, findWayBySignIn, isLacking, type WayBySignIn } from './refusal.ts'
import { type CompiledRule, judgeParts } from './rule.ts'

/** Decides one request. Never throws, whatever the facts are, and never changes them. */
export function decide(app: CompiledApp, facts: Facts): Decision {
  try {
    // 0 Without the second line a blocked device would still pass for one: that it has a certificate, or is not in the inventory, stays true of it.
    if (facts.lock !== undefined) return locked
    if (facts.device.known && facts.device.value.isBlocked === true) return locked
    const decision = decideInOrder(app.enforced, facts, app.passesInReport)
    if (app.intended === undefined) return decision
    return { ...decision, would: outlineOf(decideInOrder(app.intended, facts, passesNobody)) }
  } catch {
    // Facts of a shape that no type allows. Deny is the floor, and the reason says that it was not a rule.
    return { effect: 'deny', reason: 'evaluation_failed', rule: undefined, unmet: [] }
  }
}

function decideInOrder(rules: RuleSet, facts: Facts, passesInReport: CompiledApp['passesInReport']): Decision {
  const shortlist = rules.shortlistFor(facts.subject, facts.request.path)
  const { allows, denies, requires } = shortlist
  const deny = findDeny(denies, facts)
  const isAnonymous = facts.subject.kind === 'nobody'

  // 1 Before the challenge: what is closed to everyone must not ask strangers to sign in first.
  if (isAnonymous && deny?.outcome === 'true') return deniedBy(deny.rule, facts)
  const allow = deny === undefined || isAnonymous ? findAllow(allows, requires, facts) : undefined
  // 2 In an allow, only `public` is ever true for nobody.
  if (isAnonymous && allow === undefined) return signInChallenge
  // 3
  if (deny !== undefined) {
    const way = findWayBySignIn(shortlist, facts, { deny: deny.rule, isPassing: passesInReport(facts) })
    return way === undefined ? deniedBy(deny.rule, facts) : challengeTo(way)
  }
  // 4
  if (allow !== undefined) return allow.allowed
  // 5 A rule that is not there yet has no name; the record then says which app's report mode it was.
  if (passesInReport(facts)) return { effect: 'allow', reason: 'report_mode', rule: findNearestWay(rules, facts).rule?.name ?? '' }
  // 6
  const way = findWayBySignIn(shortlist, facts, { deny: undefined, isPassing: false })
  if (way !== undefined) return challengeTo(way)
  // 7
  return deniedForLackOfAllow(rules, facts)
}

const signInChallenge: Decision = Object.freeze({ effect: 'challenge', reason: 'login_required', challenge: 'sign_in' })

const locked: Decision = Object.freeze({ effect: 'deny', reason: 'locked', rule: undefined, unmet: [] })

const passesNobody = () => false

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

/** What a require adds is added to every allow, a public one too: one that is not met leaves none. */
function findAllow(allows: Shortlist['allows'], requires: Shortlist['requires'], facts: Facts): CompiledRule | undefined {
  for (const one of requires) if (isLacking(one, facts)) return undefined
  for (const rule of allows) if (judgeParts(rule, 'true', facts) === 'true') return rule
  return undefined
}

/** `unmet` names what might still disprove the deny. A deny about the subject alone has nothing to mend. */
function deniedBy(rule: CompiledRule, facts: Facts): Decision {
  return { effect: 'deny', reason: 'denied_by_rule', rule: rule.name, unmet: findUnmetOfDeny(rule, facts), ...alertOf(rule) }
}

/** The nearest allow did not decide, so its alert is not raised; a require that kept it from applying did. */
function deniedForLackOfAllow(rules: RuleSet, facts: Facts): Decision {
  const { rule, unmet } = findNearestWay(rules, facts)
  return { effect: 'deny', reason: 'no_rule_matched', rule: rule?.name, unmet, ...(rule?.verb === 'require' ? alertOf(rule) : {}) }
}

/** No alert: nobody was let in or kept out yet. */
function challengeTo({ rule, stepUp }: WayBySignIn): Decision {
  return { effect: 'challenge', reason: 'insufficient_user_authentication', challenge: 'step_up', rule: rule.name, stepUp }
}

function alertOf({ isAlert }: CompiledRule): { readonly isAlert?: true } {
  return isAlert ? { isAlert } : {}
}

function outlineOf(decision: Decision): NonNullable<Decision['would']> {
  const { effect, reason } = decision
  return { effect, reason, rule: 'rule' in decision ? decision.rule : undefined }
}
