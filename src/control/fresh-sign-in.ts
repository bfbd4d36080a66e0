/**
 * Two pure questions about time: is a sign-in newer than the end it follows, and does an app ask for a newer one?
 *
 * A person whose session was revoked still has a session at the provider, and would be back without noticing. After such an
 * end a new session needs proof of a sign-in that came later: the provider's own statement (`auth_time`), or, because
 * clocks differ, that this very attempt asked for a password and the password was given during it.
 */

import type { AccessAttempt } from '../session/sealed-cookies.ts'
import type { Session, SignedIn } from '../session/session.ts'

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
