/**
 * Facts: everything a decision is made from, as plain data. They are gathered once a request and recorded with the decision.
 *
 * A fact that is missing, too old or not believed is `unknown`, never a default: an allow needs proof, a deny needs disproof.
 * Instants are epoch milliseconds, here and everywhere inside Postern; they become seconds only where a standard says so.
 */

import type { MethodClass } from './document.ts'

/** Where a fact may be missing, the word `unknown` stands in its place; see the table in `docs/policy.md`. */
export type Known<T> = { readonly known: true; readonly value: T } | { readonly known: false; readonly why: UnknownReason }

export type UnknownReason = 'claim_absent' | 'email_unverified' | 'claims_too_old' | 'groups_overage'

export type SubjectFacts =
  | { readonly kind: 'nobody' }
  | {
      readonly kind: 'person'
      readonly issuer: string
      readonly sub: string
      /** Only a verified address counts; known and `undefined` cannot happen for a person. */
      readonly email: Known<string>
      readonly groups: Known<readonly string[]>
      /** ID Token and userinfo claims together, as plain JSON with null-prototype objects. */
      readonly claims: Known<ClaimSet>
    }
  | { readonly kind: 'service'; readonly names: readonly string[]; readonly claims: ClaimSet }

export type ClaimSet = Readonly<Record<string, unknown>>

export interface RequestFacts {
  /** Upper-case. */
  readonly method: string
  readonly methodClass: MethodClass
  /** Canonical path, without query. */
  readonly path: string
}

export interface EnvironmentFacts {
  /** The client's address, IPv4-mapped forms unmapped; right-most untrusted hop. */
  readonly address: string
  readonly at: number
}

export interface Facts {
  readonly subject: SubjectFacts
  readonly request: RequestFacts
  readonly environment: EnvironmentFacts
}
