/** Laws of the decision, on generated policies and facts. */

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type CompiledApp, compilePolicy } from './compile.ts'
import { decide } from './decide.ts'
import type { Rule, Who } from './document.ts'
import type { Facts, Known, SubjectFacts } from './facts.ts'
import { appWith, documentWith, naiveDecision, rule } from './policy.fixture.ts'

const runs = { numRuns: 10_000 }

describe('decide', () => {
  it('equals the naive interpreter', () => {
    fc.assert(
      fc.property(ruleLists, anyFacts, (rules, given) => {
        const naive = naiveDecision(rules, given)
        const decision = decide(compile(rules), given)
        expect({ effect: decision.effect, reason: decision.reason }).toEqual({ effect: naive.effect, reason: naive.reason })
        if (decision.effect === 'allow' || (decision.effect === 'deny' && decision.rule !== undefined)) {
          expect(naive.rules).toContain(decision.rule)
        } else expect(naive.rules).toEqual([])
      }),
      runs,
    )
  })

  it('does not depend on the order of rules, selectors or values, not even in what it names', () => {
    fc.assert(
      fc.property(ruleLists, anyFacts, (rules, given) => {
        const turned = rules.map((one) => ({ ...one, who: turn(one.who), paths: one.paths?.toReversed() })).reverse()
        expect(decide(compile(turned), given)).toEqual(decide(compile(rules), given))
      }),
      runs,
    )
  })

  it('decides the same for a rule at the top level as in the app', () => {
    fc.assert(
      fc.property(ruleLists, anyFacts, fc.nat(), (rules, given, seed) => {
        const own = rules.filter((_, index) => (seed >> index) % 2 === 0)
        const company = rules.filter((one) => !own.includes(one)).map((one) => ({ ...one, apps: ['wiki'], sensitivity: undefined }))
        const split = compilePolicy(documentWith([appWith(own)], company)).apps.get('wiki')
        expect(split === undefined ? undefined : decide(split, given)).toEqual(decide(compile(rules), given))
      }),
      runs,
    )
  })

  it('never lets a further deny open anything', () => {
    fc.assert(
      fc.property(ruleLists, ruleOf('deny'), anyFacts, (rules, deny, given) => {
        const before = decide(compile(rules), given)
        const after = decide(compile([...rules, { ...deny, name: 'further' }]), given)
        if (after.effect === 'allow') expect(before.effect).toBe('allow')
        if (before.effect === 'deny') expect(after.effect).not.toBe('allow')
      }),
      runs,
    )
  })

  it('never lets a further allow close anything', () => {
    fc.assert(
      fc.property(ruleLists, ruleOf('allow'), anyFacts, (rules, allow, given) => {
        const before = decide(compile(rules), given)
        const after = decide(compile([...rules, { ...allow, name: 'further' }]), given)
        if (before.effect === 'allow') expect(after.effect).toBe('allow')
      }),
      runs,
    )
  })

  it('never allows for want of a fact: what is allowed stays so whatever an unknown turns out to be', () => {
    fc.assert(
      fc.property(ruleLists, anyFacts, knownFacts, (rules, given, told) => {
        if (decide(compile(rules), given).effect !== 'allow') return
        expect(decide(compile(rules), fillUnknowns(given, told)).effect).toBe('allow')
      }),
      runs,
    )
  })

  it('never throws, and denies, on facts of any shape', () => {
    fc.assert(
      fc.property(ruleLists, fc.anything(), fc.anything(), (rules, subject, request) => {
        const given = { subject, request, environment: { address: '', at: Number.NaN } } as unknown as Facts
        const decision = decide(compile(rules), given)
        expect(['allow', 'deny', 'challenge']).toContain(decision.effect)
      }),
      runs,
    )
    const hostile = {
      get subject(): never {
        throw new Error('no')
      },
    } as unknown as Facts
    expect(decide(compile([rule('allow', { kind: 'public' })]), hostile)).toMatchObject({ effect: 'deny', reason: 'evaluation_failed' })
  })

  it('changes neither the facts nor the policy', () => {
    fc.assert(
      fc.property(ruleLists, anyFacts, (rules, given) => {
        const app = compile(deepFreeze(rules))
        const first = decide(app, deepFreeze(given))
        expect(first.reason).not.toBe('evaluation_failed')
        expect(decide(app, given)).toEqual(first)
      }),
      runs,
    )
  })
})

const names = ['staff', 'admins', 'contractors']
const emails = ['alice@corp.example', 'BOB@corp.example', 'eve@evil.example']
const claimValues = ['finance', 1, true]

const leaf = (verb: Rule['verb']): fc.Arbitrary<Who> =>
  fc.oneof(
    fc.constant<Who>(verb === 'allow' ? { kind: 'public' } : { kind: 'everyone' }),
    fc.constant<Who>({ kind: 'everyone' }),
    fc.constant<Who>({ kind: 'signed_in' }),
    fc.subarray(emails, { minLength: 1 }).map((some): Who => ({ kind: 'users', emails: some })),
    fc.subarray(['corp.example', 'evil.example'], { minLength: 1 }).map((domains): Who => ({ kind: 'domains', domains })),
    fc.subarray(names, { minLength: 1 }).map((groups): Who => ({ kind: 'groups', groups })),
    fc.subarray(['billing', 'nightly'], { minLength: 1 }).map((some): Who => ({ kind: 'services', names: some })),
    fc
      .tuple(fc.constantFrom('department', 'level', '__proto__', 'toString'), fc.subarray(claimValues, { minLength: 1 }))
      .map(([path, values]): Who => ({ kind: 'claims', claims: [{ path: [path], values }] })),
  )

const whoOf = (verb: Rule['verb']): fc.Arbitrary<Who> => {
  const list = fc.array(leaf(verb), { minLength: 1, maxLength: 3 })
  return fc.oneof(
    { weight: 4, arbitrary: leaf(verb) },
    { weight: 1, arbitrary: list.map((of): Who => ({ kind: 'any_of', of })) },
    { weight: 1, arbitrary: list.map((of): Who => ({ kind: 'all_of', of })) },
  )
}

const methods = fc
  .record({
    names: fc.subarray(['GET', 'POST', 'DELETE']),
    classes: fc.subarray(['read', 'write', 'websocket'] as const),
  })
  .filter((some) => some.names.length + some.classes.length > 0)

const ruleOf = (verb: Rule['verb']): fc.Arbitrary<Rule> =>
  fc.record({
    name: fc.constant(''),
    verb: fc.constant(verb),
    who: whoOf(verb),
    methods: fc.option(methods, { nil: undefined, freq: 2 }),
    paths: fc.option(fc.subarray(['/**', '/a', '/a/**', '/b'], { minLength: 1 }), { nil: undefined, freq: 2 }),
  })

const ruleLists = fc
  .array(fc.oneof({ weight: 3, arbitrary: ruleOf('allow') }, { weight: 1, arbitrary: ruleOf('deny') }), { maxLength: 6 })
  .map((rules) => rules.map((one, index) => ({ ...one, name: `rule ${index}` })))

const knownEmail: fc.Arbitrary<Known<string>> = fc
  .constantFrom('alice@corp.example', 'Bob@CORP.example', 'eve@evil.example')
  .map((value) => ({ known: true, value }))
const knownGroups: fc.Arbitrary<Known<readonly string[]>> = fc.subarray(names).map((value) => ({ known: true, value }))
const claimSets = fc.record(
  {
    department: fc.constantFrom<unknown>('finance', 'sales', ['sales', 'finance'], null, {}),
    level: fc.constantFrom<unknown>(1, '1', true, []),
  },
  { requiredKeys: [] },
)
const unknown = fc
  .constantFrom('claim_absent', 'email_unverified', 'claims_too_old', 'groups_overage')
  .map((why) => ({ known: false, why }) as const)

const personWith = (isComplete: boolean): fc.Arbitrary<SubjectFacts> =>
  fc.record({
    kind: fc.constant('person' as const),
    issuer: fc.constant('https://op.example'),
    sub: fc.constant('u1'),
    email: isComplete
      ? knownEmail
      : fc.oneof(knownEmail, unknown, fc.constant({ known: true, value: 'a@corp.example@evil.example' } as const)),
    groups: isComplete ? knownGroups : fc.oneof(knownGroups, unknown),
    claims: isComplete
      ? fc.record({ known: fc.constant(true as const), value: fc.constant({ department: 'finance', level: 1 }) })
      : fc.oneof(
          claimSets.map((value) => ({ known: true, value }) as const),
          unknown,
        ),
  })

const subjects: fc.Arbitrary<SubjectFacts> = fc.oneof(
  { weight: 1, arbitrary: fc.constant<SubjectFacts>({ kind: 'nobody' }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('service' as const), names: fc.subarray(['billing', 'nightly']), claims: claimSets }),
  },
  { weight: 4, arbitrary: personWith(false) },
)

const factsOf = (subject: fc.Arbitrary<SubjectFacts>): fc.Arbitrary<Facts> =>
  fc.record({
    subject,
    request: fc
      .tuple(
        fc.constantFrom(
          { method: 'GET', methodClass: 'read' },
          { method: 'GET', methodClass: 'websocket' },
          { method: 'POST', methodClass: 'write' },
          {
            method: 'DELETE',
            methodClass: 'write',
          } as const,
        ),
        fc.constantFrom('/', '/a', '/A', '/a/x', '/b', '/c'),
      )
      .map(([request, path]) => ({ ...request, path }) as Facts['request']),
    environment: fc.constant({ address: '192.0.2.1', at: 0 }),
  })

const anyFacts = factsOf(subjects)
const knownFacts = factsOf(personWith(true))

function compile(rules: readonly Rule[]): CompiledApp {
  const app = compilePolicy(documentWith([appWith(rules)])).apps.get('wiki')
  if (app === undefined) throw new Error('the app is missing')
  return app
}

function turn(who: Who): Who {
  switch (who.kind) {
    case 'any_of':
    case 'all_of':
      return { kind: who.kind, of: who.of.map(turn).reverse() }
    case 'groups':
      return { kind: 'groups', groups: who.groups.toReversed() }
    case 'users':
      return { kind: 'users', emails: who.emails.toReversed() }
    default:
      return who
  }
}

/** The same request, with everything that was unknown about a person stated by someone. */
function fillUnknowns(given: Facts, told: Facts): Facts {
  const { subject } = given
  if (subject.kind !== 'person' || told.subject.kind !== 'person') return given
  const isOneAddress = subject.email.known && subject.email.value.split('@').length === 2
  const stated = told.subject.claims.known ? told.subject.claims.value : {}
  const present = subject.claims.known ? Object.fromEntries(Object.entries(subject.claims.value).filter(([, value]) => value !== null)) : {}
  return {
    ...given,
    subject: {
      ...subject,
      email: isOneAddress ? subject.email : told.subject.email,
      groups: subject.groups.known ? subject.groups : told.subject.groups,
      claims: { known: true, value: { ...stated, ...present } },
    },
  }
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value)
    for (const part of Object.values(value)) deepFreeze(part)
  }
  return value
}
