/**
 * Which apps a person's portal shows, by the real policy and each app's `portal:` setting.
 *
 * Showing an app gives away that it exists, so an unknown fact never shows one. The decision beside it is for opening the
 * app's start page now, made by the same function that will guard it.
 */

import type { CompiledApp } from './compile.ts'
import type { ConditionTrace } from './compose-condition.ts'
import { decide } from './decide.ts'
import type { Decision } from './decision.ts'
import type { Facts } from './facts.ts'
import type { CompiledRule, RulePart } from './rule.ts'

export interface PortalEntry {
  readonly isVisible: boolean
  /** Of a GET for the app's start page. */
  readonly decision: Decision
}

/** Whether this subject's portal lists the app, and whether opening it would be allowed now. */
export function decidePortal(app: CompiledApp, given: Omit<Facts, 'request'>): PortalEntry {
  const facts: Facts = { ...given, request: { method: 'GET', methodClass: 'read', path: app.startPath } }
  const decision = decide(app, facts)
  return { isVisible: isVisible(app, facts, decision), decision }
}

function isVisible(app: CompiledApp, facts: Facts, decision: Decision): boolean {
  switch (app.portal) {
    case 'listed':
      return true
    case 'hidden':
      return false
    case 'if_allowed':
      // One visit to the provider away: an app that vanished whenever a sign-in grew old could never be opened from here again.
      return decision.effect === 'allow' || (decision.effect === 'challenge' && decision.challenge === 'step_up')
    case 'if_relevant':
      // What holds now is possible: only of what is closed one has to look further.
      return decision.effect === 'allow' || isRelevant(app, facts)
  }
}

/**
 * Circumstances change, so an allow that does not apply now is still of interest, and a deny under circumstances shuts nobody out. Who somebody
 * is does not change by itself: what a condition asks about the person counts as the rule's own *who* does.
 */
function isRelevant(app: CompiledApp, facts: Facts): boolean {
  const { allows, denies, requires } = app.enforced.shortlist(facts.subject)
  const couldBe = possibilitiesFor(facts)
  const couldApply = ({ parts }: CompiledRule) => parts.every((part) => couldBe(part).true)
  const couldNotApply = ({ parts }: CompiledRule) => parts.some((part) => couldBe(part).false)
  if (!denies.every(({ rule }) => couldNotApply(rule))) return false
  if (app.passesInReport(facts)) return true
  const couldBeMet = ({ demands }: CompiledRule) => demands.every((condition) => couldBe({ place: 'when', condition }).true)
  return allows.some(couldApply) && requires.every(({ rule }) => couldNotApply(rule) || couldBeMet(rule))
}

/** How a condition could come out for this person, under whatever circumstances. */
interface Possible {
  readonly true: boolean
  readonly false: boolean
}

const either: Possible = { true: true, false: true }

function possibilitiesFor(facts: Facts): (part: RulePart) => Possible {
  /** A level is opened where it is first met in a trace. */
  const levels = new Map<string, Possible>()

  function possibleOf(trace: ConditionTrace): Possible {
    const { inputs, kind, name, of, outcome } = trace
    switch (kind) {
      case 'level': {
        const inner = of[0] === undefined ? undefined : possibleOf(of[0])
        if (name !== undefined && inner !== undefined) levels.set(name, inner)
        return inner ?? levels.get(name ?? '') ?? nothing
      }
      case 'all_of': {
        const parts = of.map(possibleOf)
        return { true: parts.every((part) => part.true), false: parts.some((part) => part.false) }
      }
      case 'any_of': {
        const parts = of.map(possibleOf)
        return { true: parts.some((part) => part.true), false: parts.every((part) => part.false) }
      }
      case 'not': {
        const [inner = nothing] = of.map(possibleOf)
        return { true: inner.false, false: inner.true }
      }
      case 'subject':
        return { true: outcome === 'true', false: outcome === 'false' }
      case 'expression':
        return inputs.every(({ fact }) => isCircumstance(fact)) ? either : { true: outcome === 'true', false: outcome === 'false' }
      default:
        return either
    }
  }

  // Another day, another page of the app, another way of asking: these are circumstances as well, and need no look.
  return ({ condition, place }) => (place === 'when' || place === 'unless' ? possibleOf(condition.trace(facts)) : either)
}

/** Nothing that is not understood shows an app. */
const nothing: Possible = { true: false, false: false }

/** An expression without any fact is what it is. */
function isCircumstance(fact: string): boolean {
  return fact !== 'expression' && !fact.startsWith('subject')
}
