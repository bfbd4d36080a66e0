/**
 * Which apps a person's portal shows, by the real policy and each app's `portal:` setting.
 *
 * Showing an app gives away that it exists, so an unknown fact never shows one. The decision beside it is for opening the
 * app's start page now, made by the same function that will guard it.
 */

import type { CompiledApp, CompiledRule } from './compile.ts'
import { decide } from './decide.ts'
import type { Decision } from './decision.ts'
import type { Facts, SubjectFacts } from './facts.ts'

export interface PortalEntry {
  readonly isVisible: boolean
  /** Of a GET for the app's start page. */
  readonly decision: Decision
}

/** Whether this subject's portal lists the app, and whether opening it would be allowed now. */
export function decidePortal(app: CompiledApp, given: Omit<Facts, 'request'>): PortalEntry {
  const { subject } = given
  const decision = decide(app, { ...given, request: { method: 'GET', methodClass: 'read', path: app.startPath } })
  return { isVisible: isVisible(app, subject, decision), decision }
}

function isVisible(app: CompiledApp, subject: SubjectFacts, decision: Decision): boolean {
  switch (app.portal) {
    case 'listed':
      return true
    case 'hidden':
      return false
    case 'if_allowed':
      return decision.effect === 'allow'
    case 'if_relevant':
      return app.shortlist(subject).allows.length > 0 && !app.shortlist(subject).denies.some(({ rule }) => shutsOut(rule))
  }
}

/** A deny about the subject alone leaves nothing of the app to open. */
function shutsOut(rule: CompiledRule): boolean {
  return rule.parts.length === 0
}
