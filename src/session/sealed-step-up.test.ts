/** A demand for a stronger sign-in on its way through the browser: it arrives whole, or not at all. */

import { describe, expect, it } from 'vitest'
import type { StepUp } from '../policy/decision.ts'
import type { SignInCondition } from '../policy/document.ts'
import { openStepUp, packStepUp, sealStepUp, unpackStepUp } from './sealed-step-up.ts'
import { createTestRing } from './session.fixture.ts'

const access = new URL('https://access.corp.example')
const attempt = 'A'.repeat(43)
const ring = createTestRing()
let time = 1_800_000_000_000
const sealer = { keys: () => ring, now: () => time }

const condition: SignInCondition = {
  kind: 'sign_in',
  strength: { name: 'mfa', acr: ['2', 'urn:corp:mfa'], amr: ['otp', 'hwk'], ask: { kc_idp_hint: 'corp' } },
  acr: undefined,
  amr: undefined,
  withinSeconds: 3600,
}
const stepUp: StepUp = { conditions: [condition], acrValues: ['2', 'urn:corp:mfa'], maxAgeSeconds: 3600, ask: { kc_idp_hint: 'corp' } }

describe('a sealed step-up', () => {
  it('arrives as it was sent, in a short address', () => {
    const sealed = sealStepUp(sealer, access, attempt, stepUp)
    expect(openStepUp(sealer, access, attempt, sealed)).toStrictEqual(stepUp)
    expect(sealed).toMatch(/^[A-Za-z0-9_-]{1,500}$/)
  })

  it('keeps what JSON has no word for', () => {
    const bare: StepUp = {
      conditions: [{ kind: 'sign_in', strength: undefined, acr: ['3'], amr: undefined, withinSeconds: undefined }],
      acrValues: ['3'],
      maxAgeSeconds: undefined,
      ask: {},
    }
    expect(unpackStepUp(packStepUp(bare))).toStrictEqual(bare)
  })

  it('is worth nothing for another attempt, another access host, or under other keys', () => {
    const sealed = sealStepUp(sealer, access, attempt, stepUp)
    expect(openStepUp(sealer, access, 'B'.repeat(43), sealed)).toBeUndefined()
    expect(openStepUp(sealer, new URL('https://access.other.example'), attempt, sealed)).toBeUndefined()
    const other = createTestRing()
    expect(openStepUp({ keys: () => other, now: sealer.now }, access, attempt, sealed)).toBeUndefined()
  })

  it('is worth nothing once a character of it was changed, or it was cut', () => {
    const sealed = sealStepUp(sealer, access, attempt, stepUp)
    for (let at = 0; at < sealed.length; at += 7) {
      const changed = sealed.slice(0, at) + (sealed[at] === 'A' ? 'B' : 'A') + sealed.slice(at + 1)
      expect(openStepUp(sealer, access, attempt, changed)).toBeUndefined()
      expect(openStepUp(sealer, access, attempt, sealed.slice(0, at))).toBeUndefined()
    }
    expect(openStepUp(sealer, access, attempt, '')).toBeUndefined()
    expect(openStepUp(sealer, access, attempt, '%%%')).toBeUndefined()
  })

  it('is worth nothing after five minutes, also by a clock that was set back', () => {
    const sealed = sealStepUp(sealer, access, attempt, stepUp)
    time += 299_000
    expect(openStepUp(sealer, access, attempt, sealed)).toBeDefined()
    time += 2_000
    expect(openStepUp(sealer, access, attempt, sealed)).toBeUndefined()
    time -= 700_000
    expect(openStepUp(sealer, access, attempt, sealed)).toBeUndefined()
  })

  it('of any size fits an address: what the app can judge again stays behind', () => {
    const noise = (count: number) => Array.from({ length: count }, (_, i) => `urn:${createSecretLike(i)}`)
    const many = { ...stepUp, conditions: Array.from({ length: 60 }, (_, i) => ({ ...condition, acr: noise(i) })) }
    const kept = openStepUp(sealer, access, attempt, sealStepUp(sealer, access, attempt, many))
    expect(kept).toStrictEqual({ ...stepUp, conditions: [] })
    const huge = { ...many, acrValues: noise(500) }
    const sealed = sealStepUp(sealer, access, attempt, huge)
    expect(sealed.length).toBeLessThan(1_800)
    expect(openStepUp(sealer, access, attempt, sealed)).toStrictEqual({ conditions: [], acrValues: [], maxAgeSeconds: 3600, ask: {} })
  })
})

/** Text that hardly deflates, the same each time. */
function createSecretLike(seed: number): string {
  let state = seed + 1
  return Array.from({ length: 24 }, () => {
    state = (state * 48_271) % 2_147_483_647
    return (state % 36).toString(36)
  }).join('')
}
