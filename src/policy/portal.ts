/**
 * Which apps a person's portal shows, by the real policy and each app's `portal:` setting.
 *
 * Showing an app gives away that it exists, so an unknown fact never shows one. The decision beside it is for opening the
 * app's start page now, made by the same function that will guard it.
 */

import type { CompiledApp } from './compile.ts'
import { decide } from './decide.ts'
import type { Decision } from './decision.ts'
import type { Facts } from './facts.ts'
import type { CompiledRule } from './rule.ts'

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
      return isRelevant(app, facts)
  }
}

/** Circumstances change: an allow that does not apply now is still of interest, and a deny under circumstances shuts nobody out. */
function isRelevant(app: CompiledApp, facts: Facts): boolean {
  const { allows, denies } = app.enforced.shortlist(facts.subject)
  return (allows.length > 0 || app.passesInReport(facts)) && !denies.some(({ rule }) => shutsOut(rule))
}

/** A deny about the subject alone leaves nothing of the app to open. */
function shutsOut(rule: CompiledRule): boolean {
  return rule.parts.length === 0
}
