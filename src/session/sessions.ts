/**
 * What the two planes may do with sessions. `createSessions` (in `session-service.ts`) implements it over a `SessionStore`.
 *
 * A look-up answers from memory only while that is at most 5 s old on the monotonic clock and the instance has heard of every end, else
 * from the store; a store that is away makes it reject with `session_store_unavailable`, which every caller turns into 503. Ends
 * recorded through this instance count at once, others as soon as its event stream tells of them: well under a second.
 */

import type { BoundDevice, Session, SessionLookup, SignedIn } from './session.ts'
import type { EndCause } from './store.ts'

/** A one-time ticket from the access host to one app origin. 30 s, one use, bound to browser and origin. */
export interface HandOff {
  readonly sessionId: string
  /** The app origin it is meant for. */
  readonly origin: string
  /** `base64url(SHA-256(secret))` of the attempt cookie on the app host. */
  readonly attempt: string
  /** Absolute URL on that origin, already parsed and re-serialised. */
  readonly returnTo: string
}

/** The request that caused a change, for the audit trail. Left out where none did: a command, a refresh. */
export interface RequestCause {
  readonly requestId: string
  /** The client's, behind trusted proxies. */
  readonly address: string
}

export interface Sessions {
  /** For the data plane: the session behind an app cookie of this origin. A secret of another origin is `none`. */
  findByAppSecret(secret: string, origin: string): Promise<SessionLookup>
  /**
   * What memory can answer for `findByAppSecret`, at once; `undefined` where it has to be asked. Nearly every request of the data plane
   * is answered here, and then costs no promise.
   */
  recallByAppSecret(secret: string, origin: string): SessionLookup | undefined
  /**
   * What memory says of it although neither the store nor its events answer, if the operator allows that for so long
   * (`session.unverified_for`). Ends that are known of count, and nothing is refreshed. Never for an app whose sensitivity is `restricted`:
   * that is for the caller to see to.
   */
  recallUnverified(secret: string, origin: string): SessionLookup | undefined
  /** For the access host. */
  findByAccessSecret(secret: string): Promise<SessionLookup>
  /** For renewals, back-channel and the portal; straight from the store. */
  findById(sessionId: string): Promise<SessionLookup>

  /** Starts a session and returns the secret for the access host's cookie. With a `device` it is bound to that device's certificate. */
  begin(
    signedIn: SignedIn,
    origin: Session['origin'],
    by?: RequestCause,
    device?: BoundDevice,
  ): Promise<{ readonly session: Session; readonly secret: string }>
  /**
   * The same subject signed in again: new facts, same id, same cookie, same binding. `undefined` if the session ended meanwhile, or is
   * bound to another certificate than `device`'s: a sign-in never moves a session to another device.
   */
  continueWith(session: Session, signedIn: SignedIn, by?: RequestCause, device?: BoundDevice): Promise<Session | undefined>
  /** Opens the right of this browser to use the session on one app origin; returns the secret for the app cookie. */
  openAppSession(sessionId: string, origin: string): Promise<string | undefined>
  /** Records use; writes at most once a minute a session, and never fails a request. */
  recordUse(session: Session): void

  /** Ends one session: every app session with it. Resolves once the end is on record. */
  endSession(sessionId: string, cause: EndCause, by?: RequestCause): Promise<void>
  /** The same for several, at one instant as far as one write of the store reaches. */
  endSessions(sessionIds: readonly string[], cause: EndCause, by?: RequestCause): Promise<void>
  /** Ends every session of a subject, or of a provider `sid`, also those whose index is not written yet. Resolves to the ids found. */
  endSubject(issuer: string, sub: string, cause: EndCause, by?: RequestCause): Promise<readonly string[]>
  endProviderSid(issuer: string, providerSid: string, cause: EndCause, by?: RequestCause): Promise<readonly string[]>
  /**
   * The latest end that a new sign-in has to be newer than: of the session behind this access secret (the browser), of this
   * provider `sid`, or of this subject, `replaced` left out. `undefined` if there is none, also after `idle` or `lifetime`.
   * Straight from the store.
   */
  findLatestEnd(of: {
    readonly accessSecret: string | undefined
    readonly issuer: string
    readonly sub: string
    readonly providerSid: string | undefined
  }): Promise<{ readonly at: number; readonly cause: EndCause } | undefined>
  /** Live sessions of a subject, newest first. */
  listSubject(issuer: string, sub: string): Promise<readonly Session[]>
  /** Live sessions that hang on one session at the provider, newest first. */
  listProviderSid(issuer: string, providerSid: string): Promise<readonly Session[]>
  /**
   * Asks the provider at once about every live session of a subject, of which it has said that something changed; what it refuses
   * ends. Resolves when all were asked. What cannot be asked (no refresh token, provider away) stays as it was.
   */
  refreshSubject(issuer: string, sub: string): Promise<void>

  /** Mints a hand-off code. */
  issueHandOff(handOff: HandOff): Promise<string>
  /** Any presentation burns the code; `undefined` if it is unknown, used or too old. */
  takeHandOff(code: string): Promise<HandOff | undefined>
  /** `true` for the first caller with this id within `seconds`, on all instances. */
  takeOnce(purpose: 'attempt' | 'logout_token', id: string, seconds: number): Promise<boolean>

  close(): Promise<void>
}
