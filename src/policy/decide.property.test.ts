/** Laws of the decision, on generated policies and facts. */

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type CompiledApp, compilePolicy } from './compile.ts'
import { decide } from './decide.ts'
import type { Decision } from './decision.ts'
import type { Condition, PolicyDocument, Rule, Who } from './document.ts'
import { explainDecision } from './explain.ts'
import type { Facts } from './facts.ts'
import { naiveDecision } from './naive-decision.fixture.ts'
import { compileApp, rule } from './policy.fixture.ts'
import { anyFacts, documents, losses, ruleOf, withoutFact } from './policy-arbitraries.fixture.ts'

const runs = { numRuns: 10_000 }
/** Ten thousand policies are compiled in each of these; other files run beside. */
const timeout = 120_000

describe('decide', () => {
  it(
    'equals the naive interpreter',
    () => {
      fc.assert(
        fc.property(documents, anyFacts, (document, given) => {
          const { decided, would } = naiveDecision(document, given)
          const decision = decide(compile(document), given)
          expect({ effect: decision.effect, reason: decision.reason }).toEqual({ effect: decided.effect, reason: decided.reason })
          if ('rule' in decision && decision.rule !== undefined) expect(decided.rules).toContain(decision.rule)
          else expect(decided.rules).toEqual([])
          expect(decision.would?.effect).toBe(would?.effect)
          expect(decision.would?.reason).toBe(would?.reason)
          if (decision.effect === 'challenge' && decision.challenge === 'step_up') {
            const { conditions } = decision.stepUp
            expect(decided.stepUp?.isEnough(conditions)).toBe(true)
            expect(conditions).toHaveLength(decided.stepUp?.size ?? Number.NaN)
          }
        }),
        runs,
      )
    },
    timeout,
  )

  it(
    'does not depend on the order of rules, levels, conditions, selectors, values or keys, not even in what it names',
    () => {
      fc.assert(
        fc.property(documents, anyFacts, (document, given) => {
          expect(decide(compile(turned(document)), given)).toEqual(decide(compile(document), given))
        }),
        runs,
      )
    },
    timeout,
  )

  it(
    'decides the same for a rule at the top level as in the app',
    () => {
      fc.assert(
        fc.property(documents, anyFacts, (document, given) => {
          const own = { ...document, rules: [], apps: document.apps.map((app) => ({ ...app, rules: [...app.rules, ...document.rules] })) }
          expect(decide(compile(own), given)).toEqual(decide(compile(document), given))
        }),
        runs,
      )
    },
    timeout,
  )

  it.each(['deny', 'require'] as const)(
    'never lets a further %s open anything',
    (verb) => {
      fc.assert(
        fc.property(documents, ruleOf(verb), anyFacts, (document, further, given) => {
          const before = decide(compile(document), given)
          const after = decide(compile(withRule(document, further)), given)
          // A stranger is asked to sign in where nothing public is left: no access, though a deny that nothing disproves came first before.
          if (given.subject.kind === 'nobody') expect(after.effect !== 'allow' || before.effect === 'allow').toBe(true)
          else expect(opennessOf(after)).toBeLessThanOrEqual(opennessOf(before))
        }),
        runs,
      )
    },
    timeout,
  )

  it(
    'never lets a further allow close anything',
    () => {
      fc.assert(
        fc.property(documents, ruleOf('allow'), anyFacts, (document, further, given) => {
          const before = decide(compile(document), given)
          const after = decide(compile(withRule(document, further)), given)
          // A stranger is no longer asked to sign in where the public may enter, and then a deny that nothing disproves is a denial.
          if (given.subject.kind !== 'nobody') expect(opennessOf(after)).toBeGreaterThanOrEqual(opennessOf(before))
          if (before.effect === 'allow') expect(after.effect).toBe('allow')
        }),
        runs,
      )
    },
    timeout,
  )

  it(
    'never lets a further rule in report mode change anything',
    () => {
      fc.assert(
        fc.property(documents, fc.oneof(ruleOf('allow'), ruleOf('deny'), ruleOf('require')), anyFacts, (document, further, given) => {
          const { would: _before, ...before } = decide(compile(document), given)
          const { would, ...after } = decide(compile(withRule(document, { ...further, isReport: true })), given)
          expect(after).toEqual(before)
          expect(would).toBeDefined()
        }),
        runs,
      )
    },
    timeout,
  )

  it(
    'never allows for want of a fact: a fact that goes missing opens nothing',
    () => {
      fc.assert(
        fc.property(documents, anyFacts, fc.array(losses, { minLength: 1, maxLength: 4 }), (document, given, lost) => {
          const app = compile(document)
          const less = lost.reduce(withoutFact, given)
          if (decide(app, less).effect === 'allow') expect(decide(app, given).effect).toBe('allow')
        }),
        runs,
      )
    },
    timeout,
  )

  it(
    'never throws, and allows nothing, on facts of any shape',
    () => {
      fc.assert(
        fc.property(documents, fc.anything(), fc.anything(), (document, subject, rest) => {
          const given = { subject, request: rest, signIn: rest, device: rest, environment: rest } as unknown as Facts
          expect(decide(compile(document), given)).toMatchObject({ effect: 'deny', reason: 'evaluation_failed' })
        }),
        runs,
      )
    },
    timeout,
  )

  it(
    'never throws where a single fact is of any shape',
    () => {
      fc.assert(
        fc.property(documents, anyFacts, fc.constantFrom('request', 'signIn', 'device', 'environment'), fc.anything(), (...drawn) => {
          const [document, given, name, anything] = drawn
          expect(['allow', 'deny', 'challenge']).toContain(decide(compile(document), { ...given, [name]: anything } as Facts).effect)
        }),
        runs,
      )
    },
    timeout,
  )

  it('denies where a fact throws when it is read', () => {
    const hostile = {
      get subject(): never {
        throw new Error('no')
      },
    } as unknown as Facts
    expect(decide(compileApp([rule('allow', { kind: 'public' })]), hostile)).toEqual({
      effect: 'deny',
      reason: 'evaluation_failed',
      rule: undefined,
      unmet: [],
    })
  })

  it(
    'changes neither the facts nor the policy, and says the same again',
    () => {
      fc.assert(
        fc.property(documents, anyFacts, (document, given) => {
          const app = compile(deepFreeze(document))
          const first = decide(app, deepFreeze(given))
          expect(first.reason).not.toBe('evaluation_failed')
          expect(decide(app, given)).toEqual(first)
          expect(decide(app, structuredClone(given))).toEqual(first)
        }),
        runs,
      )
    },
    timeout,
  )
})

describe('explainDecision', () => {
  it(
    'tells of every rule what decided, and joins each outcome from the parts that it shows',
    () => {
      fc.assert(
        fc.property(documents, anyFacts, (document, given) => {
          const app = compile(document)
          const { decision, rules } = explainDecision(app, given)
          expect(decision).toEqual(decide(app, given))
          expect(rules).toHaveLength(app.rules.length)
          const deciding = rules.filter(({ isDeciding }) => isDeciding).map(({ name }) => name)
          const named = 'rule' in decision && decision.rule !== undefined && decision.rule !== '' ? [decision.rule] : []
          expect(deciding).toEqual(named)
          for (const { outcome, parts } of rules) {
            const outcomes = parts.filter(({ place }) => place !== 'require').map((part) => part.outcome)
            expect(outcome).toBe(outcomes.includes('false') ? 'false' : outcomes.includes('unknown') ? 'unknown' : 'true')
          }
        }),
        runs,
      )
    },
    timeout,
  )
})

function compile(document: PolicyDocument): CompiledApp {
  const app = compilePolicy(document).apps.get('wiki')
  if (app === undefined) throw new Error('the app is missing')
  return app
}

function withRule(document: PolicyDocument, further: Rule): PolicyDocument {
  return { ...document, apps: document.apps.map((app) => ({ ...app, rules: [...app.rules, further] })) }
}

/** A challenge may still end in an allow, a denial may not. */
function opennessOf({ effect }: Decision): number {
  return ['deny', 'challenge', 'allow'].indexOf(effect)
}

/** Everything in the opposite order. */
function turned(document: PolicyDocument): PolicyDocument {
  return turnKeys({
    ...document,
    levels: document.levels.map(({ name, condition }) => ({ name, condition: turnCondition(condition) })).reverse(),
    rules: document.rules.map((one) => ({ ...one, ...turnRule(one) })).reverse(),
    apps: document.apps.map((app) => ({ ...app, rules: app.rules.map(turnRule).reverse() })),
  })
}

function turnRule(one: Rule): Rule {
  const list = (conditions: readonly Condition[]) => conditions.map(turnCondition).reverse()
  const { who, require, when, unless, paths } = one
  return { ...one, who: turnWho(who), require: list(require), when: list(when), unless: list(unless), paths: paths?.toReversed() }
}

function turnCondition(condition: Condition): Condition {
  switch (condition.kind) {
    case 'all_of':
    case 'any_of':
      return { kind: condition.kind, of: condition.of.map(turnCondition).reverse() }
    case 'not':
      return { kind: 'not', of: turnCondition(condition.of) }
    case 'subject':
      return { kind: 'subject', who: turnWho(condition.who) }
    case 'network':
      return { ...condition, cidrs: condition.cidrs?.toReversed(), countries: condition.countries?.toReversed() }
    case 'time':
      return { ...condition, days: condition.days?.toReversed() }
    default:
      return condition
  }
}

function turnWho(who: Who): Who {
  switch (who.kind) {
    case 'any_of':
    case 'all_of':
      return { kind: who.kind, of: who.of.map(turnWho).reverse() }
    case 'groups':
      return { kind: 'groups', groups: who.groups.toReversed() }
    case 'users':
      return { kind: 'users', emails: who.emails.toReversed() }
    default:
      return who
  }
}

function turnKeys<Value>(value: Value): Value {
  if (Array.isArray(value)) return value.map(turnKeys) as Value
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value)
      .map(([key, part]) => [key, turnKeys(part)] as const)
      .reverse(),
  ) as Value
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value)
    for (const part of Object.values(value)) deepFreeze(part)
  }
  return value
}
