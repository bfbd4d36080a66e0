/** The rules of a session's life, for all instants. */

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  type ClaimsRules,
  claimsDuty,
  claimsStateOf,
  idleEndsAt,
  isEndedBy,
  isExpired,
  isUseDue,
  sessionEndsAt,
  stricterLimits,
  useIntervalOf,
} from './lifetime.ts'

const instant = fc.integer({ min: 0, max: 4_000_000_000_000 })
const seconds = fc.integer({ min: 1, max: 40_000_000 })
const limits = fc.record({ idleTimeoutSeconds: seconds, lifetimeSeconds: seconds })
const life = fc
  .record({ startedAt: instant, used: fc.integer({ min: 0, max: 40_000_000_000 }) })
  .map(({ startedAt, used }) => ({ startedAt, lastUsedAt: startedAt + used }))
const rules: ClaimsRules = {
  refreshAfterSeconds: 300,
  claimsMaxAgeSeconds: 600,
  providerGraceSeconds: 3_600,
  withoutRefreshToken: 'reauthenticate',
}
const aged = (refreshToken: string | undefined) => ({
  claims: { at: 0, version: 1, all: {} },
  tokens: { idToken: '', accessToken: '', refreshToken },
})

describe('a session', () => {
  it('never lives past its lifetime, nor past its idle timeout', () => {
    fc.assert(
      fc.property(life, limits, instant, (session, limit, now) => {
        const isOver = isExpired(session, limit, now)
        if (now >= session.startedAt + limit.lifetimeSeconds * 1000) expect(isOver).toBe(true)
        if (now >= session.lastUsedAt + limit.idleTimeoutSeconds * 1000) expect(isOver).toBe(true)
        expect(isOver).toBe(now >= idleEndsAt(session, limit))
        expect(idleEndsAt(session, limit)).toBeLessThanOrEqual(sessionEndsAt(session, limit))
      }),
      { numRuns: 2_000 },
    )
  })

  it('stays expired once it is, and stricter limits never lengthen it', () => {
    fc.assert(
      fc.property(life, limits, limits, instant, fc.nat(), (...[session, a, b, now, later]) => {
        if (isExpired(session, a, now)) expect(isExpired(session, a, now + later)).toBe(true)
        if (isExpired(session, a, now)) expect(isExpired(session, stricterLimits(a, b), now)).toBe(true)
        expect(stricterLimits(a, b)).toEqual(stricterLimits(b, a))
      }),
      { numRuns: 2_000 },
    )
  })

  it('does not run idle between two writes of its use', () => {
    fc.assert(
      fc.property(limits, instant, (limit, lastUsedAt) => {
        expect(useIntervalOf(limit)).toBeLessThanOrEqual(60_000)
        expect(useIntervalOf(limit)).toBeLessThan(limit.idleTimeoutSeconds * 1000)
        expect(isUseDue(lastUsedAt, limit, lastUsedAt + useIntervalOf(limit))).toBe(true)
        expect(isUseDue(lastUsedAt, limit, lastUsedAt)).toBe(false)
      }),
    )
  })

  it('is ended by what ended at or after its begin, and by an end of its own whatever the clock said', () => {
    expect(isEndedBy(1_000, { kind: 'subject', at: 999 })).toBe(false)
    expect(isEndedBy(1_000, { kind: 'subject', at: 1_000 })).toBe(true)
    expect(isEndedBy(1_000, { kind: 'provider_sid', at: 1_001 })).toBe(true)
    expect(isEndedBy(1_000, { kind: 'device', at: 999 })).toBe(false)
    // The store's clock was set back after it began.
    expect(isEndedBy(1_000, { kind: 'session', at: 1 })).toBe(true)
    expect(isEndedBy(1_000, { kind: 'app_session', at: 1 })).toBe(true)
  })
})

describe('claims', () => {
  it.each([
    [0, 'keep', 'keep'],
    [300, 'keep', 'keep'],
    [300.001, 'background', 'keep'],
    [600, 'background', 'keep'],
    [600.001, 'before', 'reauthenticate'],
    [99_999, 'before', 'reauthenticate'],
  ] as const)('of %d s: %s with a refresh token, %s without', (age, withToken, without) => {
    expect(claimsDuty(aged('t'), rules, age * 1000)).toBe(withToken)
    expect(claimsDuty(aged(undefined), rules, age * 1000)).toBe(without)
  })

  it('that cannot be refreshed stand for the grace and then are unknown', () => {
    expect(claimsStateOf(aged('t'), rules, 600_000)).toBe('fresh')
    expect(claimsStateOf(aged('t'), rules, 600_001)).toBe('stale')
    expect(claimsStateOf(aged('t'), rules, 4_200_000)).toBe('stale')
    expect(claimsStateOf(aged('t'), rules, 4_200_001)).toBe('unknown')
  })
})
