/**
 * Pure questions about time: is a sign-in newer than the end it follows, does an app ask for a newer one, and which of two is the latest?
 *
 * A person whose session was revoked still has a session at the provider, and would be back without noticing. After such an
 * end a new session needs proof of a sign-in that came later: the provider's own statement (`auth_time`), or, because
 * clocks differ, that this very attempt asked for a password and the password was given during it.
 */

import type { AccessAttempt } from '../session/sealed-cookies.ts'
import type { Session, SignedIn, SignIn } from '../session/session.ts'

/** Typing and the provider's own bookkeeping. */
const slackSeconds = 5

/** Whether this sign-in is newer than an end at `endedAt`. Without a usable `auth_time` it cannot be told, and so it is not. */
export function isNewerThan(
  endedAt: number,
  { claims }: Pick<SignedIn, 'claims'>,
  attempt: Pick<AccessAttempt, 'prompt' | 'begunAt'>,
  now: number,
): boolean {
  const { auth_time: authTime, iat } = claims
  if (typeof authTime !== 'number' || !Number.isFinite(authTime)) return false
  if (authTime >= Math.floor(endedAt / 1000)) return true
  if (attempt.prompt !== 'login' || typeof iat !== 'number') return false
  return iat - authTime <= (now - attempt.begunAt) / 1000 + slackSeconds
}

export interface AppSessionLimits {
  readonly idleTimeoutSeconds: number | undefined
  readonly lifetimeSeconds: number | undefined
}

/**
 * What a live session has to do before an app with limits of its own accepts it: nothing, a silent round to the provider, or
 * a fresh sign-in. An absolute limit counts from the last real sign-in, which a silent round does not renew.
 */
export function renewalFor(limits: AppSessionLimits, session: Session, now: number): 'none' | 'silent' | 'fresh' {
  const { idleTimeoutSeconds, lifetimeSeconds } = limits
  const begunAt = Math.max(session.startedAt, session.signIn.at)
  if (lifetimeSeconds !== undefined && now >= begunAt + lifetimeSeconds * 1000) return 'fresh'
  if (idleTimeoutSeconds !== undefined && now >= session.lastUsedAt + idleTimeoutSeconds * 1000) return 'silent'
  return 'none'
}

/**
 * The sign-in facts of a session that another round of the same person continues. They are those of the latest authentication, whole:
 * strength of one and time of another would together claim what never happened.
 *
 * A later `auth_time` is a later authentication, and its facts count, also where they are weaker: the provider asked for a password alone,
 * and that is how the person is now signed in. With the same `auth_time`, an earlier one, or none, nobody authenticated anew, and a
 * silent round takes nothing away; where both speak of the same authentication it may add what was missing. `isFresh`: a password was
 * asked for anew, whatever the provider says of the time. `isProof`: something particular was asked for and brought, so what the round
 * says of strength counts even if the provider did not move the time, and it does not make the sign-in any younger.
 */
export function latestSignIn(
  before: SignIn,
  after: SignIn,
  { isFresh, isProof }: { readonly isFresh: boolean; readonly isProof: boolean },
): SignIn {
  if (isFresh && after.authTime === undefined) return after
  if (isProof) return after.authTime === undefined ? { ...after, at: before.at } : after
  if (after.authTime !== undefined && (before.authTime === undefined || after.authTime > before.authTime)) return after
  if (after.authTime !== before.authTime) return before
  return {
    at: before.at,
    authTime: before.authTime,
    acr: before.acr ?? after.acr,
    amr: before.amr.length === 0 ? after.amr : before.amr,
  }
}
