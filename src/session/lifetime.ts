/**
 * The rules of a session's life, as pure functions of instants: when it ends, what ends it, and how old its claims may be.
 *
 * All instants are the store's clock. The limits a session began with are sealed into its record; a configuration that has
 * become stricter since counts as well, one that has become looser does not.
 */

import type { Session } from './session.ts'
import type { End } from './store.ts'

/** How long a session may live at most, and unused. */
export interface SessionLimits {
  readonly idleTimeoutSeconds: number
  readonly lifetimeSeconds: number
}

/** How old claims may be, and what stands in for fresh ones. */
export interface ClaimsRules {
  readonly refreshAfterSeconds: number
  readonly claimsMaxAgeSeconds: number
  readonly providerGraceSeconds: number
  readonly withoutRefreshToken: 'reauthenticate' | 'accept'
}

/** At most one write of "last used" in this time; less only where the idle timeout is so short that it would be missed. */
const useIntervalMs = 60_000

/** The absolute end, which no use moves. */
export function sessionEndsAt(session: Pick<Session, 'startedAt' | 'standsUntil'>, limits: SessionLimits): number {
  const endsAt = session.startedAt + limits.lifetimeSeconds * 1000
  return session.standsUntil === undefined ? endsAt : Math.min(endsAt, session.standsUntil)
}

/** The end unless it is used again; never later than the absolute one. */
export function idleEndsAt(session: Pick<Session, 'startedAt' | 'lastUsedAt' | 'standsUntil'>, limits: SessionLimits): number {
  return Math.min(sessionEndsAt(session, limits), session.lastUsedAt + limits.idleTimeoutSeconds * 1000)
}

/** Whether either limit has been reached. */
export function isExpired(session: Pick<Session, 'startedAt' | 'lastUsedAt' | 'standsUntil'>, limits: SessionLimits, now: number): boolean {
  return now >= idleEndsAt(session, limits)
}

/** The stricter of each. */
export function stricterLimits(a: SessionLimits, b: SessionLimits): SessionLimits {
  return {
    idleTimeoutSeconds: Math.min(a.idleTimeoutSeconds, b.idleTimeoutSeconds),
    lifetimeSeconds: Math.min(a.lifetimeSeconds, b.lifetimeSeconds),
  }
}

/** Whether use is worth writing down again. */
export function isUseDue(lastUsedAt: number, limits: SessionLimits, now: number): boolean {
  return now - lastUsedAt >= useIntervalOf(limits)
}

/** Pause between two writes of use. */
export function useIntervalOf(limits: SessionLimits): number {
  return Math.min(useIntervalMs, (limits.idleTimeoutSeconds * 1000) / 4)
}

/**
 * Whether `end` kills what began at `startedAt`. Ids of sessions are never used twice, so an end that names one needs no comparison,
 * and stays right when the clock of the store was moved; ends of subjects and provider sessions spare what began after them.
 */
export function isEndedBy(startedAt: number, end: Pick<End, 'kind' | 'at'>): boolean {
  return end.kind === 'session' || end.kind === 'app_session' || startedAt <= end.at
}

/**
 * What to do about the age of claims: `keep` them, refresh them in the `background`, refresh them `before` deciding, or nothing can be
 * done about their age (`reauthenticate`, `accept`).
 */
export function claimsDuty(
  session: Pick<Session, 'claims' | 'tokens' | 'standsUntil'>,
  rules: ClaimsRules,
  now: number,
): 'keep' | 'background' | 'before' | 'reauthenticate' | 'accept' {
  if (isWithoutProvider(session)) return 'keep'
  const ageMs = now - session.claims.at
  const isTooOld = ageMs > rules.claimsMaxAgeSeconds * 1000
  if (session.tokens.refreshToken === undefined) return isTooOld ? rules.withoutRefreshToken : 'keep'
  if (isTooOld) return 'before'
  return ageMs > rules.refreshAfterSeconds * 1000 ? 'background' : 'keep'
}

/** What claims are worth that could not be refreshed: they stand for the provider's grace, then they are unknown. */
export function claimsStateOf(
  session: Pick<Session, 'claims' | 'tokens' | 'standsUntil'>,
  rules: ClaimsRules,
  now: number,
): 'fresh' | 'stale' | 'unknown' {
  if (isWithoutProvider(session)) return 'fresh'
  const overMs = now - session.claims.at - rules.claimsMaxAgeSeconds * 1000
  if (overMs <= 0) return 'fresh'
  return overMs <= rules.providerGraceSeconds * 1000 ? 'stale' : 'unknown'
}

/** A break-glass session that no sign-in at the provider has continued: its claims stand for as long as it does, which is not long. */
function isWithoutProvider({ standsUntil, tokens }: Pick<Session, 'tokens' | 'standsUntil'>): boolean {
  return standsUntil !== undefined && tokens.idToken === ''
}
