/** The token of the console's forms: one session's, hard to make, and good over a rotation of keys until the old key leaves the ring. */

import { describe, expect, it } from 'vitest'
import type { KeyRing } from '../../keys.ts'
import { createTestRing } from '../../session/session.fixture.ts'
import { createConsoleTokens } from './console-token.ts'

describe('a token of forms', () => {
  it('is the same for every page of a session, and no other session’s', () => {
    const ring = createTestRing()
    const tokens = createConsoleTokens(() => ring)
    const token = tokens.issue({ id: 'a' })
    expect(createConsoleTokens(() => ring).isOf({ id: 'a' }, token)).toBe(true)
    expect(tokens.isOf({ id: 'b' }, token)).toBe(false)
    expect(token).toMatch(/^[A-Za-z0-9_-]{43}$/)
    expect(token).not.toContain('a'.repeat(3))
  })

  it('is no other text, and not nothing', () => {
    const ring = createTestRing()
    const tokens = createConsoleTokens(() => ring)
    const token = tokens.issue({ id: 'a' })
    for (const text of [undefined, '', ' ', token.slice(1), `${token}=`, token.toLowerCase(), '\u{1f600}'.repeat(11)]) {
      expect(tokens.isOf({ id: 'a' }, text), String(text)).toBe(false)
    }
  })

  it('holds after a rotation, and no longer once its key is gone', () => {
    let ring: KeyRing = createTestRing()
    const tokens = createConsoleTokens(() => ring)
    const before = tokens.issue({ id: 'a' })
    const { current } = createTestRing().sealing
    ring = { ...ring, sealing: { current, all: new Map([[current.id, current], ...ring.sealing.all]) } }
    expect(tokens.issue({ id: 'a' })).not.toBe(before)
    expect(tokens.isOf({ id: 'a' }, before)).toBe(true)
    ring = { ...ring, sealing: { current, all: new Map([[current.id, current]]) } }
    expect(tokens.isOf({ id: 'a' }, before)).toBe(false)
  })
})
