/**
 * Numbers of people: sign-ins and why they failed, sessions from their start to their end, claims that were refreshed.
 */

import type { Reason } from '../policy/decision.ts'
import type { MetricsRegistry } from './registry.ts'

export interface SessionSources {
  /** Sessions that were used through this instance a moment ago. */
  readonly sessionsInUse?: (() => number) | undefined
}

export interface SessionMetrics {
  countSignIn(outcome: SignInOutcome): void
  countSignInFailure(reason: Reason): void
  countSessionStart(): void
  countSessionRefresh(outcome: RefreshOutcome): void
  countSessionEnd(cause: string): void
}

export type SignInOutcome = 'started' | 'continued' | 'refused' | 'failed'
export type RefreshOutcome = 'refreshed' | 'refused' | 'unreachable'

const signInOutcomes: readonly SignInOutcome[] = ['started', 'continued', 'refused', 'failed']
const refreshOutcomes: readonly RefreshOutcome[] = ['refreshed', 'refused', 'unreachable']
const endCauses = ['signed_out', 'replaced', 'revoked', 'refused', 'back_channel', 'device_changed', 'subject_changed']

/** Puts them into `registry`. */
export function addSessions(registry: MetricsRegistry, { sessionsInUse }: SessionSources): SessionMetrics {
  const signIns = registry.counter({
    name: 'postern_sign_ins_total',
    help: 'Sign-ins at the provider, by outcome.',
    labels: ['outcome'],
  })
  const failures = registry.counter({
    name: 'postern_sign_in_failures_total',
    help: 'Sign-ins that came to nothing, by reason.',
    labels: ['reason'],
  })
  const starts = registry.counter({ name: 'postern_session_starts_total', help: 'Sessions that began.' })
  const refreshes = registry.counter({
    name: 'postern_session_refreshes_total',
    help: 'Refreshes of claims at the provider, by outcome.',
    labels: ['outcome'],
  })
  const ends = registry.counter({ name: 'postern_session_ends_total', help: 'Sessions ended, by cause.', labels: ['cause'] })
  registry.source({ name: 'postern_sessions_in_use', help: 'Sessions that were used through this instance within the last minute.' }, () =>
    sessionsInUse?.(),
  )
  // Zero is a statement, and a rate needs one to begin with.
  for (const outcome of signInOutcomes) signIns.add({ outcome }, 0)
  for (const outcome of refreshOutcomes) refreshes.add({ outcome }, 0)
  for (const cause of endCauses) ends.add({ cause }, 0)
  for (const reason of ['provider_refused', 'provider_unavailable'] satisfies Reason[]) failures.add({ reason }, 0)
  const known = new Set(endCauses)

  return {
    countSignIn: (outcome) => signIns.add({ outcome }),
    countSignInFailure: (reason) => failures.add({ reason }),
    countSessionStart: () => starts.add({}),
    countSessionRefresh: (outcome) => refreshes.add({ outcome }),
    countSessionEnd: (cause) => ends.add({ cause: known.has(cause) ? cause : 'other' }),
  }
}
