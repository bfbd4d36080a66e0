/**
 * The part of the composition root that turns events of the trail into numbers. What is no event is counted where it happens.
 */

import type { AuditEvent } from './audit/event.ts'
import type { Metrics } from './metrics.ts'

/** Counts an event, if it is one of those that are also numbers. */
export function countEvent(metrics: Metrics, event: AuditEvent): void {
  switch (event.event) {
    case 'session.started':
      metrics.countSignIn('started')
      break
    case 'session.continued':
      metrics.countSignIn('continued')
      break
    case 'sign_in.failed':
      metrics.countSignIn(event.reason === 'provider_refused' ? 'refused' : 'failed')
      break
    case 'session.refreshed':
      metrics.countSessionRefresh('refreshed')
      break
    case 'session.ended':
      metrics.countSessionEnd(event.cause)
      break
    case 'access.ended':
      if (event.outcome === 'cut') metrics.countCut(event.reason)
      break
    default:
  }
}
