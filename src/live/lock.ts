/**
 * Locks: standing refusals on a subject, a service, a device or an app. Plain data, and which of them concerns a request.
 *
 * A lock comes before every rule, `public` and report mode, and outlives sign-ins: it holds until its time is over or somebody lifts it.
 * Times are the store's clock.
 */

import type { LockFacts, SubjectFacts } from '../policy/facts.ts'

/** What a lock is on. A subject is named as the provider names it, never by an address that another account may get. */
export type LockTarget =
  | { readonly kind: 'subject'; readonly issuer: string; readonly sub: string }
  | { readonly kind: 'service'; readonly name: string }
  | { readonly kind: 'device'; readonly id: string }
  | { readonly kind: 'app'; readonly id: string }

/** A lock that is on record. */
export interface Lock {
  readonly target: LockTarget
  /** The target as the administrator knows it: an e-mail address, a device's name. */
  readonly label: string
  readonly since: number
  /** `undefined`: until it is lifted. */
  readonly until: number | undefined
  /** In the administrator's words; for administrators only. */
  readonly reason: string
  /** Who locked, as in the audit trail. */
  readonly by: string
  /** Set by a person without the role admin: others of them may change and lift it. */
  readonly isByHelpdesk?: boolean | undefined
}

/** Whom and what a request concerns, as far as locks look at it. */
export interface LockQuestion {
  readonly subject: SubjectFacts
  /** The device by its id in the inventory; `undefined` where it is in none, or not known. */
  readonly deviceId: string | undefined
  readonly appId: string
}

/** Locks, indexed by what they are on. Immutable. */
export interface LockSet {
  readonly all: readonly Lock[]
  /** The lock that concerns this request at `at`, an instant of the store's clock; of several, the one that lasts longest. */
  find(question: LockQuestion, at: number): LockFacts | undefined
}
