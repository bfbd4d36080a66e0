/**
 * Facts: everything a decision is made from, as plain data. They are gathered once a request and recorded with the decision.
 *
 * A fact that is missing, too old or not believed is `unknown`, never a default: an allow needs proof, a deny needs disproof.
 * Instants are epoch milliseconds, here and everywhere inside Postern; they become seconds only where a standard says so.
 */

import type { MethodClass, Scalar } from './document.ts'

/** Where a fact may be missing, the word `unknown` stands in its place; see the table in `docs/policy.md`. */
export type Known<T> = { readonly known: true; readonly value: T } | { readonly known: false; readonly why: UnknownReason }

export type UnknownReason =
  | 'claim_absent'
  | 'email_unverified'
  | 'claims_too_old'
  | 'groups_overage'
  /** Services and nobody have neither a sign-in nor a device of their own. */
  | 'not_a_person'
  /** Nothing on this request names a device. */
  | 'no_device'
  | 'no_auth_time'
  /** No database says in which country or network the address is: there is none, or the address is not in it. */
  | 'no_database'
  /** The user agent does not say, or not in words that anybody knows. */
  | 'not_stated'
  /** No rule of this app asks for it, so it was not looked up. */
  | 'not_gathered'
  /** Of a recorded request: the operator keeps it out of the trail. */
  | 'redacted'

/** What an operator may keep out of the trail. Who it was, in one form or another, always stays. */
export type RedactedField = 'email' | 'address' | 'user_agent' | 'groups' | 'claims' | 'country' | 'asn'

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
      /** When the provider last stated them. */
      readonly claimsAt: number
    }
  | {
      readonly kind: 'service'
      /** Every service of the document that the token is; several may match. */
      readonly names: readonly string[]
      readonly issuer: string
      readonly claims: ClaimSet
      /** Fingerprint of what the document calls a service of this issuer: under the same, the token is the same services. */
      readonly definitions?: string
    }

export type ClaimSet = Readonly<Record<string, unknown>>

export interface RequestFacts {
  /** Upper-case. */
  readonly method: string
  readonly methodClass: MethodClass
  /** Canonical path, without query. */
  readonly path: string
}

/** How and when the person authenticated. */
export interface SignIn {
  /** `auth_time` as the provider stated it; unknown where it did not. Never the time of a silent round. */
  readonly at: Known<number>
  /** Unknown where the ID Token had none. */
  readonly acr: Known<string>
  readonly amr: Known<readonly string[]>
}

/** One thing known about a device, with where it comes from and how old it is. */
export interface DeviceAttribute {
  readonly value: Scalar | readonly Scalar[]
  /**
   * `report`: signed by the device's key. `management`: sent by a management system with a service token. `claim`: from the provider.
   * `inventory`: entered by an admin; it does not age.
   */
  readonly source: 'report' | 'management' | 'claim' | 'inventory'
  /** When the source observed it. */
  readonly at: number
}

export interface Device {
  /** Id in the inventory; of a device that is not in it, what the certificate or claim calls it. */
  readonly id: string
  /** A certificate proves presence on this very connection; a claim only says what the provider said at sign-in. */
  readonly identifiedBy: 'certificate' | 'claim'
  /** Whether it is registered in the inventory and not blocked. */
  readonly isKnown: boolean
  /** In the inventory, and blocked by an admin: then nothing else about it is stated. */
  readonly isBlocked?: true
  readonly serial: string | undefined
  readonly tags: readonly string[]
  /**
   * By name, null prototype. Well-known: `managed`, `disk_encrypted`, `screen_lock`, `firewall` (booleans), `os` (lower-case name),
   * `os_version` (text). Others are what a management system adds.
   */
  readonly attributes: Readonly<Record<string, DeviceAttribute>>
}

export interface ClientFacts {
  readonly browser: Known<string>
  readonly browserVersion: Known<string>
  readonly os: Known<string>
}

export interface EnvironmentFacts {
  /** The client's address, IPv4-mapped forms unmapped; right-most untrusted hop. */
  readonly address: string
  readonly at: number
  /** ISO 3166-1 alpha-2, upper-case. Known and `undefined`: in no country, as private addresses are. */
  readonly country: Known<string | undefined>
  readonly asn: Known<number | undefined>
  /** Of the public URL. */
  readonly scheme: 'https' | 'http'
  /** Such as `TLSv1.3`; unknown behind a balancer that ends TLS. */
  readonly tlsVersion: Known<string>
  readonly client: ClientFacts
}

/** What else besides subject, request, address and time a policy asks for; what nobody asks for is not looked up. */
export type FactGroup = 'device' | 'country' | 'asn' | 'client'

/** A standing refusal. */
export interface LockFacts {
  readonly on: 'subject' | 'service' | 'device' | 'app'
  /** `undefined`: until it is lifted. */
  readonly until: number | undefined
}

export interface Facts {
  /** What concerns this request of all that is locked; `undefined`: nothing. */
  readonly lock?: LockFacts | undefined
  readonly subject: SubjectFacts
  readonly signIn: Known<SignIn>
  readonly device: Known<Device>
  readonly request: RequestFacts
  readonly environment: EnvironmentFacts
}
