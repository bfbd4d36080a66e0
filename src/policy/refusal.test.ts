/** What a refusal costs, and that its shortcuts come to what the long way comes to. */

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { decide } from './decide.ts'
import type { Unmet } from './decision.ts'
import type { Condition, Rule, SignInCondition } from './document.ts'
import type { Facts } from './facts.ts'
import { compileApp, facts, now, person, rule } from './policy.fixture.ts'
import { compareNearness, compareUnmet, joinUnmet, nearnessBeside } from './unmet.ts'

const weak: Facts = {
  ...facts(person()),
  signIn: {
    known: true,
    value: { at: { known: true, value: now - 36_000_000 }, acr: { known: true, value: '0' }, amr: { known: false, why: 'claim_absent' } },
  },
}

/** Rules that any better sign-in would have to satisfy together, each in either of two ways. */
function demanding(count: number): readonly Rule[] {
  return Array.from({ length: count }, (_, index) => {
    const either: Condition = { kind: 'any_of', of: [signIn({ withinSeconds: 60 + index }), signIn({ acr: [`x${index}`] })] }
    return rule('require', { kind: 'signed_in' }, { name: `require ${index}`, require: [either] })
  })
}

function permissive(count: number): readonly Rule[] {
  return Array.from({ length: count }, (_, index) =>
    rule('allow', { kind: 'groups', groups: ['staff'] }, { name: `allow ${index}`, when: [signIn({ withinSeconds: 600 + index })] }),
  )
}

function signIn(changes: Partial<SignInCondition>): SignInCondition {
  return { kind: 'sign_in', strength: undefined, acr: undefined, amr: undefined, withinSeconds: undefined, ...changes }
}

describe('a refusal', () => {
  it('that a sign-in would mend costs what rules demand together, not once for each allow', () => {
    const measure = (allows: number) => {
      const app = compileApp([...permissive(allows), ...demanding(60)])
      return Math.min(
        ...Array.from({ length: 5 }, () => {
          const began = performance.now()
          expect(decide(app, { ...weak }).effect).toBe('challenge')
          return performance.now() - began
        }),
      )
    }
    measure(1)
    expect(measure(60)).toBeLessThan(10 * measure(1))
  })
})

describe('the nearness of a list beside what all of them lack', () => {
  const unmet: fc.Arbitrary<Unmet> = fc.record({
    condition: fc.constantFrom('subject', 'sign_in', 'device', 'expression'),
    outcome: fc.constantFrom('false', 'unknown'),
    remedy: fc.constantFrom('ask_for_access', 'sign_in_too_weak', 'device_unknown'),
  })
  const list = fc.array(unmet, { maxLength: 5 })

  it('compares as the joined lists themselves', () => {
    fc.assert(
      fc.property(list, list, list, (shared, left, right) => {
        const nearnessOf = nearnessBeside(joinUnmet([shared]))
        const order = compareNearness(nearnessOf(left), nearnessOf(right))
        expect(Math.sign(order)).toBe(Math.sign(compareUnmet(joinUnmet([left, shared]), joinUnmet([right, shared]))))
      }),
      { numRuns: 2000 },
    )
  })
})
