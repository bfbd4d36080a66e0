/** Levels and conditions on conditions: what cannot be compiled, and what judging and explaining them may cost. */

import { describe, expect, it } from 'vitest'
import { compileCondition, compileLevels } from './compose-condition.ts'
import { decide } from './decide.ts'
import type { Condition, Level } from './document.ts'
import { explainDecision } from './explain.ts'
import { compileApp, deviceCondition, facts, level, mfa, person, rule, signInCondition } from './policy.fixture.ts'

const given = facts(person())
const staff: Condition = { kind: 'subject', who: { kind: 'groups', groups: ['staff'] } }
const noLevels = (name: string): never => {
  throw new TypeError(name)
}

describe('levels', () => {
  it('may stand on each other in any order', () => {
    const levels = [
      { name: 'upper', condition: level('lower') },
      { name: 'lower', condition: staff },
    ]
    const compiled = compileLevels(levels)
    expect(compiled.get('upper')?.judge(given)).toBe('true')
    expect(compiled.get('upper')?.levels).toEqual(['upper', 'lower'])
  })

  it.each<[string, readonly Level[], RegExp]>([
    ['that is missing', [{ name: 'a', condition: level('b') }], /no level b/],
    [
      'that rests on itself',
      [
        { name: 'a', condition: { kind: 'not', of: level('b') } },
        { name: 'b', condition: level('a') },
      ],
      /rests on itself/,
    ],
  ])('name none %s', (_name, levels, message) => {
    expect(() => compileLevels(levels)).toThrow(message)
  })

  it('that each name the one below twice are judged and explained in a blink', () => {
    const base: Level = {
      name: 'l0',
      condition: { kind: 'all_of', of: [staff, deviceCondition({ managed: true }), signInCondition({ strength: mfa })] },
    }
    const towers = Array.from({ length: 60 }, (_, index): Level => {
      const below = level(`l${index}`)
      const of = [below, { kind: 'not', of: { kind: 'not', of: below } } as const]
      return { name: `l${index + 1}`, condition: { kind: index % 2 === 0 ? 'all_of' : 'any_of', of } }
    })
    const app = compileApp([rule('allow', { kind: 'signed_in' }, { when: [level('l60')] })], { levels: [base, ...towers] })
    const begun = performance.now()
    const { decision, rules } = explainDecision(app, given)
    expect(decision).toMatchObject({ effect: 'deny', unmet: [{ condition: 'sign_in' }, { condition: 'device' }] })
    expect(JSON.stringify(rules).length).toBeLessThan(100_000)
    expect(performance.now() - begun).toBeLessThan(2000)
  })

  it('answer anew for other facts', () => {
    const app = compileApp([rule('allow', { kind: 'signed_in' }, { when: [level('staff')] })], {
      levels: [{ name: 'staff', condition: staff }],
    })
    const others = facts(person({ groups: { known: true, value: [] } }))
    expect([given, others, given, others].map((some) => decide(app, some).effect)).toEqual(['allow', 'deny', 'allow', 'deny'])
  })
})

describe('a list of conditions', () => {
  it.each(['all_of', 'any_of'] as const)('is never empty: %s', (kind) => {
    expect(() => compileCondition({ kind, of: [] }, noLevels)).toThrow(TypeError)
  })

  it('needs what its parts need', () => {
    const compiled = compileCondition({ kind: 'all_of', of: [staff, { kind: 'not', of: deviceCondition({ managed: true }) }] }, noLevels)
    expect(compiled.needs).toEqual(['device'])
  })
})

describe('`everyone` in a condition', () => {
  it('is every person and every service', () => {
    const everyone = compileCondition({ kind: 'subject', who: { kind: 'everyone' } }, noLevels)
    expect(everyone.judge(given)).toBe('true')
    expect(everyone.judge(facts({ kind: 'nobody' }))).toBe('false')
  })
})

describe('mended', () => {
  const mended = (condition: Condition) => compileCondition(condition, noLevels).judge(given, true)
  it('takes every `sign_in` condition for true, also under a `not`, and nothing else', () => {
    const strong = signInCondition({ strength: mfa })
    expect(mended(strong)).toBe('true')
    expect(mended({ kind: 'not', of: strong })).toBe('false')
    expect(mended({ kind: 'all_of', of: [strong, deviceCondition({ managed: true })] })).toBe('unknown')
  })
})
