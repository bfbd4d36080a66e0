/**
 * Postern as the relying party of one OpenID Provider: what sign-in, refresh and logout need of it.
 *
 * `createRelyingParty` (in `openid-relying-party.ts`) is the only door to `openid-client`. Discovery is retried in the
 * background while the provider is down; until then every method rejects with `provider_unavailable`.
 */

import type { SignedIn } from '../session/session.ts'

export type IdentityProviderPreset = 'keycloak' | 'entra' | 'okta' | 'google'

/** What has to come back unchanged; kept in a sealed cookie, never in the store. */
export interface PendingSignIn {
  readonly state: string
  readonly nonce: string
  readonly codeVerifier: string
  /** Instant at which the browser was sent away. */
  readonly begunAt: number
}

export interface SignInWish {
  /** Ask for a fresh sign-in (`prompt=login`) or for none at all (`prompt=none`). */
  readonly prompt: 'login' | 'none' | undefined
  readonly loginHint: string | undefined
  /** What the sign-in has to bring, for the provider to ask the person for; whether it brought it is the caller's to judge. */
  readonly stepUp?: AuthenticationWish | undefined
}

/** A stronger or fresher authentication, in the terms of RFC 9470; a decision's `StepUp` is one. */
export interface AuthenticationWish {
  /** Any of them; empty where only freshness is wanted. */
  readonly acrValues: readonly string[]
  /** Greatest age in seconds that will be accepted; `undefined` where age does not matter. */
  readonly maxAgeSeconds: number | undefined
  /** Further authorization request parameters. Those that the protocol itself needs are never taken from here. */
  readonly ask: Readonly<Record<string, string>>
}

/** A provider's answer that is a refusal, not a failure. */
export type SignInResult =
  | { readonly outcome: 'signed_in'; readonly signedIn: SignedIn }
  | { readonly outcome: 'refused' /** OAuth error code, sanitised to `[a-z_]{1,64}`. */; readonly error: string }

export type RefreshResult =
  | { readonly outcome: 'refreshed'; readonly signedIn: Omit<SignedIn, 'signIn'> }
  /** Only `invalid_grant`, and tokens that turn out to belong to another subject. */
  | { readonly outcome: 'refused'; readonly isOfAnotherSubject?: true }
  | {
      readonly outcome: 'unreachable'
      readonly cause: unknown
      /** The token was exchanged before it went wrong: this one counts from now on, and the used one may end everything. */
      readonly refreshToken?: string
    }

/** What a verified logout token names. */
export interface LogoutToken {
  readonly issuer: string
  readonly sub: string | undefined
  readonly sid: string | undefined
  readonly jti: string
  /** Seconds until the token could no longer be replayed. */
  readonly remainingSeconds: number
}

export interface RelyingParty {
  /** True once discovery succeeded. */
  isReady(): boolean
  /** The provider's authorization URL for a new attempt, and what must be kept for its answer. */
  beginSignIn(wish: SignInWish): Promise<{ readonly url: URL; readonly pending: PendingSignIn }>
  /** `state` and `iss` of an answer, checked against the attempt before anything is spent. */
  isAnswerTo(answer: URLSearchParams, pending: PendingSignIn): boolean
  /**
   * Redeems the code and verifies the ID Token. Rejects with `sign_in_invalid` if a check fails, `provider_unavailable` if it
   * cannot tell.
   */
  completeSignIn(answer: URLSearchParams, pending: PendingSignIn): Promise<SignInResult>
  /**
   * New claims for a session. A provider may leave out the ID Token (then `tokens.idToken` is the expected one's, for the
   * logout hint) and the refresh token (then it is the one that was given); `providerSid` is then `undefined` and stands as it was.
   */
  refresh(
    refreshToken: string,
    expected: { readonly issuer: string; readonly sub: string; readonly idToken?: string },
  ): Promise<RefreshResult>
  /** Where to send the browser so that the provider's own session ends too; `undefined` if it has no such endpoint. */
  endSessionUrl(idToken: string): URL | undefined
  /** Back-Channel Logout 1.0 §2.6; rejects with `sign_in_invalid` if the token fails a check. */
  verifyLogoutToken(token: string): Promise<LogoutToken>
  close(): void
}
