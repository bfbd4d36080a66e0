/**
 * A session: one signed-in browser from sign-in to its end. Plain, immutable data; the rules about it are in `lifetime.ts`.
 *
 * A session has a stable internal id that never leaves the server except as `sid` in an assertion. Cookies hold secrets
 * that point to it: one on the access host, one for each app origin (the *app session*).
 */

/** Claims as last heard from the provider: replaced whole, never merged. */
export interface Claims {
  /** Instant of the provider's answer. */
  readonly at: number
  /** Grows with each replacement; part of the assertion cache key. */
  readonly version: number
  /** ID Token and userinfo claims together; only own properties, null prototype. */
  readonly all: Readonly<Record<string, unknown>>
}

export interface SignIn {
  /** When the person last actively authenticated: `auth_time`, else the instant of the sign-in. */
  readonly at: number
  /** `auth_time` as the provider stated it; `undefined` where it did not. */
  readonly authTime: number | undefined
  readonly acr: string | undefined
  readonly amr: readonly string[]
}

export interface Tokens {
  readonly idToken: string
  readonly accessToken: string
  readonly refreshToken: string | undefined
}

/** What a completed sign-in at the provider yields. */
export interface SignedIn {
  readonly issuer: string
  readonly sub: string
  readonly claims: Readonly<Record<string, unknown>>
  readonly signIn: SignIn
  readonly tokens: Tokens
  /** The provider's `sid`, for back-channel logout. */
  readonly providerSid: string | undefined
  /** Break-glass: the provider was not asked. The session ends after this time at the latest, and so long its claims stand. */
  readonly withoutProvider?: { readonly seconds: number; readonly claimsAt: number } | undefined
}

/** The certificate that a sign-in was made with. A session that begins with one is bound to it for good. */
export interface BoundDevice {
  /** SHA-256 of the certificate's DER, lower-case hex. */
  readonly certificate: string
  /** The certificate's names, by which the same device is known after its certificate was renewed. */
  readonly names: readonly string[]
}

export interface Session {
  readonly id: string
  readonly issuer: string
  readonly sub: string
  readonly claims: Claims
  readonly signIn: SignIn
  readonly tokens: Tokens
  readonly providerSid: string | undefined
  /** Instants of the store's clock. */
  readonly startedAt: number
  readonly lastUsedAt: number
  /** Where the person signed in from, for their own list of sessions. */
  readonly origin: { readonly address: string; readonly userAgent: string }
  /** `undefined`: it began without a certificate, and needs none. */
  readonly device: BoundDevice | undefined
  /** It began without the provider and ends at this instant, whatever the limits allow. */
  readonly standsUntil?: number | undefined
}

/** Answer to "whose request is this?". `expired` and `ended` may be told apart from `none`, to the log and by the renewal rules. */
export type SessionLookup =
  | {
      readonly state: 'live'
      readonly session: Session /** Claims older than `claims_max_age` that could not be refreshed. */
      readonly claimsState: 'fresh' | 'stale' | 'unknown'
      /** The store's clock at this answer: what `startedAt` and `lastUsedAt` may be compared with. An instance's clock may not. */
      readonly now: number
    }
  | { readonly state: 'none' }
  | {
      readonly state: 'expired'
      /** Set where only the claims ran out (no refresh token, `reauthenticate`): a sign-in of the same subject continues this session. */
      readonly session?: Session
    }
  | { readonly state: 'ended'; readonly cause: string }
