/** Step-up: which sign-in is asked for, of whom, and when what came back is enough. */

import { describe, expect, it } from 'vitest'
import { decide } from './decide.ts'
import type { StepUp } from './decision.ts'
import type { Condition, Rule, SignInCondition, Strength, Who } from './document.ts'
import type { Facts, Known, SignIn } from './facts.ts'
import { compareMendings, type Mending, mendAll, mendAny } from './mending.ts'
import {
  compileApp,
  facts,
  mfa,
  nobody,
  now,
  person,
  phishingResistant,
  rule,
  service,
  signedIn,
  signInCondition,
} from './policy.fixture.ts'
import { judgeSignIn, stepUpFor } from './step-up.ts'

const people: Who = { kind: 'signed_in' }
const open = rule('allow', people, { name: 'open' })
const withMfa = signInCondition({ strength: mfa })
const fresh = signInCondition({ withinSeconds: 900 })
const strong = signInCondition({ strength: phishingResistant })
const never: Condition = { kind: 'not', of: { kind: 'subject', who: people } }

const password = signedIn({ acr: '1', amr: ['pwd'], secondsAgo: 7200 })
const given = (signIn: Known<SignIn> = password): Facts => ({ ...facts(person()), signIn })

function stepUpOf(rules: readonly Rule[], some: Facts = given()): StepUp {
  const decision = decide(compileApp(rules), some)
  if (decision.effect !== 'challenge' || decision.challenge !== 'step_up') throw new Error(`not a step-up: ${JSON.stringify(decision)}`)
  return decision.stepUp
}

describe('what is asked for', () => {
  it('is what the allow, and every require that touches it, want of the sign-in', () => {
    const required = rule('require', people, { name: 'required', require: [fresh] })
    expect(decide(compileApp([rule('allow', people, { name: 'strong', when: [withMfa] }), required]), given())).toEqual({
      effect: 'challenge',
      reason: 'insufficient_user_authentication',
      challenge: 'step_up',
      rule: 'strong',
      stepUp: {
        conditions: [withMfa, fresh],
        acrValues: ['mfa', 'phishing_resistant'],
        maxAgeSeconds: 900,
        ask: { prompt_factor: 'second' },
      },
    })
    expect(decide(compileApp([open, required]), given())).toMatchObject({
      rule: 'required',
      stepUp: { conditions: [fresh], acrValues: [] },
    })
  })

  it('names the deny that a better sign-in would disprove', () => {
    const deny = rule('deny', people, { name: 'weak', unless: [withMfa] })
    expect(decide(compileApp([open, deny]), given())).toMatchObject({ rule: 'weak', stepUp: { conditions: [withMfa] } })
    expect(decide(compileApp([rule('allow', people, { when: [never] }), deny]), given())).toMatchObject({ effect: 'deny', rule: 'weak' })
    const certain = rule('deny', people, { name: 'certain' })
    expect(decide(compileApp([open, deny, certain]), given())).toMatchObject({ effect: 'deny', rule: 'certain' })
  })

  it('includes what holds now, because the new sign-in takes the place of the old', () => {
    const strongButOld = signedIn({ acr: 'mfa', amr: ['pwd', 'otp'], secondsAgo: 7200 })
    const rules = [rule('allow', people, { when: [withMfa, fresh] })]
    expect(stepUpOf(rules, given(strongButOld))).toMatchObject({ conditions: [withMfa, fresh], maxAgeSeconds: 900 })
    const guarded = [rule('allow', people, { when: [fresh] }), rule('deny', people, { unless: [withMfa] })]
    expect(stepUpOf(guarded, given(strongButOld)).conditions).toEqual([withMfa, fresh])
  })

  it.each<[string, Condition, readonly SignInCondition[]]>([
    ['the smaller branch', { kind: 'any_of', of: [{ kind: 'all_of', of: [withMfa, fresh] }, strong] }, [strong]],
    [
      'the branch whose other conditions hold',
      {
        kind: 'any_of',
        of: [
          { kind: 'all_of', of: [strong, never] },
          { kind: 'all_of', of: [withMfa, fresh] },
        ],
      },
      [withMfa, fresh],
    ],
    ['what is wanted anyhow', { kind: 'all_of', of: [{ kind: 'any_of', of: [fresh, withMfa, strong] }, strong] }, [strong]],
    ['what a `not` leaves', { kind: 'not', of: { kind: 'any_of', of: [{ kind: 'not', of: strong }, never] } }, [strong]],
  ])('is as little as possible: %s', (_name, condition, expected) => {
    expect(stepUpOf([rule('allow', people, { when: [condition] })]).conditions).toEqual(expected)
  })

  it('is the less demanding of two allows', () => {
    const both = rule('allow', people, { name: 'a both', when: [withMfa, fresh] })
    const one = rule('allow', people, { name: 'b one', when: [strong] })
    expect(decide(compileApp([both, one]), given())).toMatchObject({ rule: 'b one', stepUp: { conditions: [strong] } })
  })

  it('is not something that a better sign-in would spoil', () => {
    expect(decide(compileApp([rule('allow', people, { when: [{ kind: 'not', of: withMfa }, fresh] })]), given()).effect).toBe('deny')
    expect(decide(compileApp([open, rule('deny', people, { when: [{ kind: 'all_of', of: [withMfa] }] })]), given(signedIn())).effect).toBe(
      'deny',
    )
  })

  it('is asked of people only', () => {
    const rules = [rule('allow', { kind: 'everyone' }, { when: [withMfa] })]
    expect(decide(compileApp(rules), facts(service))).toMatchObject({
      effect: 'deny',
      unmet: [{ condition: 'sign_in', outcome: 'unknown' }],
    })
    expect(decide(compileApp(rules), facts(nobody))).toMatchObject({ challenge: 'sign_in' })
    const deny = rule('deny', { kind: 'everyone' }, { unless: [withMfa] })
    expect(decide(compileApp([rule('allow', { kind: 'everyone' }), deny]), facts(service))).toMatchObject({ reason: 'denied_by_rule' })
  })

  it('is what opens the way once it is there', () => {
    const rules = [
      rule('allow', people, { when: [{ kind: 'any_of', of: [strong, { kind: 'all_of', of: [withMfa, fresh] }] }] }),
      rule('deny', people, { unless: [withMfa] }),
    ]
    const { conditions } = stepUpOf(rules)
    const brought = signedIn({ acr: 'phishing_resistant', amr: ['hwk'], secondsAgo: 1 })
    expect(judgeSignIn(conditions, brought, now)).toBe('true')
    expect(decide(compileApp(rules), given(brought)).effect).toBe('allow')
  })
})

describe('the request to the provider', () => {
  const strength = (name: string, acr: readonly string[], ask: Readonly<Record<string, string>> = {}): SignInCondition =>
    signInCondition({ strength: { name, acr, amr: ['x'], ask } satisfies Strength })

  it.each<[string, readonly SignInCondition[], readonly string[]]>([
    ['no strength', [fresh], []],
    ['a strength in its own order', [strength('a', ['z', 'b'])], ['z', 'b']],
    ['what two strengths share', [strength('a', ['1', '2', '3']), strength('b', ['3', '2'])], ['2', '3']],
    ['the first by name of two that share nothing', [strength('b', ['2']), strength('a', ['1'])], ['1']],
    ['the first, narrowed by those that leave something', [strength('a', ['1', '2']), strength('b', ['3']), strength('c', ['2'])], ['2']],
    ['an `acr` before a strength, which an `amr` can meet', [strength('a', ['1']), signInCondition({ acr: ['2'] })], ['2']],
    ['a strength without acr', [strength('a', []), strength('b', ['1'])], ['1']],
  ])('asks for %s', (_name, conditions, expected) => {
    expect(stepUpFor(conditions).acrValues).toEqual(expected)
    expect(stepUpFor(conditions.toReversed()).acrValues).toEqual(expected)
  })

  it('asks for the smallest age, and merges what strengths ask for', () => {
    const conditions = [
      signInCondition({ withinSeconds: 3600 }),
      fresh,
      strength('b', ['1'], { prompt: 'b', other: 'b' }),
      strength('a', ['1'], { prompt: 'a' }),
    ]
    expect(stepUpFor(conditions)).toMatchObject({ maxAgeSeconds: 900, ask: { prompt: 'a', other: 'b' } })
    expect(stepUpFor([withMfa]).maxAgeSeconds).toBeUndefined()
  })
})

describe('judgeSignIn', () => {
  it.each<[readonly SignInCondition[], Known<SignIn>, string]>([
    [[withMfa], signedIn({ amr: ['otp'] }), 'true'],
    [[withMfa], signedIn({ acr: '1', amr: ['pwd'] }), 'false'],
    [[withMfa], signedIn({ acr: '1' }), 'unknown'],
    [[withMfa, fresh], signedIn({ acr: 'mfa', secondsAgo: 900 }), 'true'],
    [[withMfa, fresh], signedIn({ acr: 'mfa', secondsAgo: 901 }), 'false'],
    [[withMfa, fresh], signedIn({ acr: 'mfa' }), 'unknown'],
    [[withMfa], { known: false, why: 'not_a_person' }, 'unknown'],
    [[], signedIn(), 'true'],
  ])('%j of %j is %s', (conditions, signIn, outcome) => {
    expect(judgeSignIn(conditions, signIn, now)).toBe(outcome)
  })
})

describe('sets of conditions', () => {
  const step = (key: string, isPending = true) => ({ condition: withMfa, key, isPending })
  const set = (...keys: readonly string[]): Mending => ({ steps: keys.map((key) => step(key)) })

  it('are joined each with each, and forgotten where another asks for less', () => {
    const either = mendAny([[set('a')], [set('b')]])
    expect(either).toEqual([set('a'), set('b')])
    expect(mendAll([either, [set('b')]])).toEqual([set('b')])
    expect(mendAll([either, [set('c')]])).toEqual([set('a', 'c'), set('b', 'c')])
    expect(mendAny([[set('a', 'b')], [set('a')]])).toEqual([set('a')])
    expect(mendAll([either, []])).toEqual([])
    expect(mendAny([either, [set()]])).toEqual([set()])
    expect(mendAll([])).toEqual([set()])
    expect(mendAny([])).toEqual([])
  })

  it('are ordered by what does not hold yet, then by size, then by key', () => {
    const held = { steps: [step('y', false), step('z', false)] }
    expect([set('b'), set('a', 'b'), set('a'), held].sort(compareMendings)).toEqual([held, set('a'), set('b'), set('a', 'b')])
  })

  it('stay few, however many ways a policy has', () => {
    const pairs = Array.from({ length: 200 }, (_, index) => mendAny([[set(`a${index}`)], [set(`b${index}`)]]))
    const begun = performance.now()
    expect(mendAll(pairs).length).toBeLessThanOrEqual(16)
    expect(performance.now() - begun).toBeLessThan(5000)
  })
})
