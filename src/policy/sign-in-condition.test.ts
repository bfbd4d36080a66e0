/** What the provider said of a sign-in, against what a rule asks for: every key true, false and unknown. */

import { describe, expect, it } from 'vitest'
import { factsWith, hours, minutes, now, signInWith } from './condition.fixture.ts'
import type { SignInCondition, Strength } from './document.ts'
import { signInCondition } from './policy.fixture.ts'
import { compileSignInCondition } from './sign-in-condition.ts'

const mfa: Strength = { name: 'mfa', acr: ['gold'], amr: ['otp', 'hwk'], ask: {} }
const acrOnly: Strength = { name: 'mfa', acr: ['gold'], amr: [], ask: {} }

const table: readonly [string, Partial<SignInCondition>, Parameters<typeof signInWith>[0], string][] = [
  ['strength by acr', { strength: mfa }, { acr: 'gold', amr: ['pwd'] }, 'true'],
  ['strength by amr', { strength: mfa }, { acr: 'bronze', amr: ['pwd', 'otp'] }, 'true'],
  ['strength by acr alone, no amr stated', { strength: mfa }, { acr: 'gold' }, 'true'],
  ['strength by amr alone, no acr stated', { strength: mfa }, { amr: ['hwk'] }, 'true'],
  ['strength, both stated and neither fits', { strength: mfa }, { acr: 'bronze', amr: ['pwd'] }, 'false'],
  ['strength, only a wrong acr stated', { strength: mfa }, { acr: 'bronze' }, 'unknown'],
  ['strength, only a wrong amr stated', { strength: mfa }, { amr: ['pwd'] }, 'unknown'],
  ['strength, nothing stated', { strength: mfa }, {}, 'unknown'],
  ['strength that has no amr, wrong acr', { strength: acrOnly }, { acr: 'bronze' }, 'false'],
  ['strength that has no amr, no acr stated', { strength: acrOnly }, { amr: ['otp'] }, 'unknown'],
  ['acr, one of several', { acr: ['silver', 'gold'] }, { acr: 'gold' }, 'true'],
  ['acr, another', { acr: ['silver', 'gold'] }, { acr: 'GOLD' }, 'false'],
  ['acr, absent', { acr: ['gold'] }, { amr: ['otp'] }, 'unknown'],
  ['amr, one of several', { amr: ['hwk', 'otp'] }, { amr: ['pwd', 'otp'] }, 'true'],
  ['amr, none of them', { amr: ['hwk'] }, { amr: ['pwd', 'otp'] }, 'false'],
  ['amr, absent', { amr: ['hwk'] }, { acr: 'gold' }, 'unknown'],
  ['within, exactly as old as accepted', { withinSeconds: 3600 }, { at: now - hours }, 'true'],
  ['within, a millisecond older', { withinSeconds: 3600 }, { at: now - hours - 1 }, 'false'],
  ['within, no auth_time', { withinSeconds: 3600 }, { acr: 'gold' }, 'unknown'],
  ['within, a minute in the future', { withinSeconds: 3600 }, { at: now + minutes }, 'true'],
  ['within, more than a minute in the future', { withinSeconds: 3600 }, { at: now + minutes + 1 }, 'unknown'],
  ['within 0, a minute in the future is age 0', { withinSeconds: 0 }, { at: now + minutes }, 'true'],
  ['within, no number', { withinSeconds: 3600 }, { at: Number.NaN }, 'unknown'],
  ['two keys, both', { strength: mfa, withinSeconds: 60 }, { acr: 'gold', at: now }, 'true'],
  ['two keys, one false', { strength: mfa, withinSeconds: 60 }, { acr: 'gold', at: now - hours }, 'false'],
  ['two keys, one unknown', { strength: mfa, withinSeconds: 60 }, { acr: 'gold' }, 'unknown'],
  ['two keys, one false and one unknown', { acr: ['gold'], withinSeconds: 60 }, { acr: 'bronze' }, 'false'],
]

describe('sign_in', () => {
  it.each(table)('%s', (_name, keys, stated, outcome) => {
    const condition = compileSignInCondition(signInCondition(keys))
    const given = factsWith({ signIn: signInWith(stated) })
    expect(condition.judge(given)).toBe(outcome)
    expect(condition.findUnmet(given).length === 0).toBe(outcome === 'true')
  })

  it('is unknown in every key for services and for nobody', () => {
    const given = factsWith({ signIn: { known: false, why: 'not_a_person' } })
    for (const keys of [{ strength: mfa }, { acr: ['gold'] }, { amr: ['otp'] }, { withinSeconds: 60 }]) {
      expect(compileSignInCondition(signInCondition(keys)).judge(given)).toBe('unknown')
    }
  })

  it('says what would mend it: stronger, fresher, or both', () => {
    const condition = compileSignInCondition(signInCondition({ strength: mfa, withinSeconds: 3600 }))
    expect(condition.findUnmet(factsWith({ signIn: signInWith({ acr: 'bronze', amr: ['pwd'], at: now - 2 * hours }) }))).toEqual([
      { condition: 'sign_in', outcome: 'false', remedy: 'sign_in_too_weak', details: { wanted: 'mfa' } },
      { condition: 'sign_in', outcome: 'false', remedy: 'sign_in_not_recent', details: { at: now - 2 * hours, withinSeconds: 3600 } },
    ])
    expect(condition.findUnmet(factsWith({ signIn: signInWith({ acr: 'gold' }) }))).toEqual([
      { condition: 'sign_in', outcome: 'unknown', remedy: 'sign_in_not_recent', details: { withinSeconds: 3600 } },
    ])
  })

  it('shows no time to the person that has not come yet', () => {
    const condition = compileSignInCondition(signInCondition({ withinSeconds: 3600 }))
    expect(condition.findUnmet(factsWith({ signIn: signInWith({ at: now + hours }) }))[0]?.details).toEqual({ withinSeconds: 3600 })
  })

  it('traces each key with what the ID Token said and when', () => {
    const condition = compileSignInCondition(signInCondition({ strength: mfa, withinSeconds: 60 }))
    const trace = condition.trace(factsWith({ signIn: signInWith({ acr: 'gold', at: now - 5000 }) }))
    expect(trace).toMatchObject([
      { fact: 'sign_in.strength', value: { known: true, value: { acr: 'gold' } }, source: 'ID Token', at: now - 5000, outcome: 'true' },
      { fact: 'sign_in.at', value: { known: true, value: now - 5000 }, source: 'ID Token', at: now - 5000, outcome: 'true' },
    ])
  })

  it('refuses to be compiled with nothing to ask, or with a strength that nothing meets', () => {
    expect(() => compileSignInCondition(signInCondition({}))).toThrow(TypeError)
    expect(() => compileSignInCondition(signInCondition({ strength: { name: 'x', acr: [], amr: [], ask: {} } }))).toThrow(TypeError)
  })
})
