/**
 * Expressions against another implementation of CEL, on generated expressions and facts.
 *
 * Where both come to an answer, it is the same; where the other one fails, ours is unknown. Ours may be unknown where the other one answers: it is
 * stricter about types. `re` is the only word that the other one does not know; JavaScript's own patterns stand in for it.
 */

import { CelScalar, celFunc, celMethod, isCelError, run } from '@bufbuild/cel'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { deviceWith, factsWith, hours, now, reported, signInWith } from './condition.fixture.ts'
import { checkExpression, compileExpression } from './expression.ts'
import { expressionFields, viewFacts } from './expression-facts.ts'
import type { Facts, Known, SubjectFacts } from './facts.ts'
import { nobody, person, service } from './policy.fixture.ts'

const runs = { numRuns: 10_000 }

describe('an expression', () => {
  it('means what CEL means', () => {
    const seen = { agreed: 0, failed: 0, stricter: 0, refused: 0 }
    fc.assert(
      fc.property(expressions.bool, anyFacts, (source, facts) => {
        if (checkExpression(source) !== undefined) {
          seen.refused++
          return
        }
        const ours = compileExpression(source).judge(facts)
        const theirs = run(source, bindingsOf(facts), { funcs: [re, textRe] })
        if (isCelError(theirs) || typeof theirs !== 'boolean') {
          seen.failed++
          expect(`${source}: ${ours}`).toBe(`${source}: unknown`)
        } else if (ours === 'unknown') seen.stricter++
        else {
          seen.agreed++
          expect(`${source}: ${ours}`).toBe(`${source}: ${theirs}`)
        }
      }),
      runs,
    )
    // The comparison is worth something only where most of what is generated can be compared.
    expect(seen.agreed).toBeGreaterThan(runs.numRuns / 3)
    expect(seen.failed).toBeGreaterThan(runs.numRuns / 20)
    expect(seen.stricter).toBeLessThan(runs.numRuns / 20)
  })

  it('never takes an unknown fact for anything: what it says stays so, whatever the fact turns out to be', () => {
    fc.assert(
      fc.property(expressions.bool, anyFacts, knownFacts, (source, facts, told) => {
        if (checkExpression(source) !== undefined) return
        const { judge } = compileExpression(source)
        const before = judge(facts)
        if (before !== 'unknown') expect(judge(fillUnknowns(facts, told))).toBe(before)
      }),
      runs,
    )
  })

  it('is refused, or judged, and never throws, whatever is written', () => {
    const words = fc.constantFrom(
      'subject',
      '.',
      'email',
      '(',
      ')',
      '[',
      ']',
      "'",
      '"',
      '&&',
      '!',
      'exists',
      'x',
      ',',
      '1',
      '==',
      '{',
      '}',
      '\\',
      'in',
      ' ',
    )
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.array(words, { maxLength: 20 }).map((some) => some.join('')),
        ),
        anyFacts,
        (source, facts) => {
          const problem = checkExpression(source)
          if (problem === undefined) expect(['true', 'false', 'unknown']).toContain(compileExpression(source).judge(facts))
          else expect(problem.start >= 0 && problem.end >= problem.start && problem.end <= source.length).toBe(true)
        },
      ),
      { numRuns: 3000 },
    )
  })

  it('never changes the facts', () => {
    fc.assert(
      fc.property(expressions.bool, anyFacts, (source, facts) => {
        if (checkExpression(source) !== undefined) return
        const before = JSON.stringify(facts)
        const condition = compileExpression(source)
        const first = condition.judge(facts)
        condition.trace(facts)
        expect(condition.judge(facts)).toBe(first)
        expect(JSON.stringify(facts)).toBe(before)
      }),
      { numRuns: 2000 },
    )
  })
})

/** What is known, as plain values: the other engine has no notion of ours. */
function bindingsOf(facts: Facts): NonNullable<Parameters<typeof run>[1]> {
  const view: Readonly<Record<string, object>> = { ...viewFacts(facts) }
  return Object.fromEntries(
    Object.entries(expressionFields).map(([variable, fields]) => {
      const known = Object.keys(fields)
        .map((field): [string, unknown] => [field, Reflect.get(view[variable] ?? {}, field)])
        .filter(([, value]) => value !== undefined)
      return [variable, new Map(known)]
    }),
  ) as NonNullable<Parameters<typeof run>[1]>
}

const matches = (text: string, source: string) => new RegExp(source, 'u').test(text)
const re = celFunc('re', [CelScalar.STRING, CelScalar.STRING], CelScalar.BOOL, matches)
const textRe = celMethod('re', CelScalar.STRING, [CelScalar.STRING], CelScalar.BOOL, function (source) {
  return matches(this, source)
})

const texts = ['finance', 'staff', 'team-7', 'a', '', '14.4', 'é😀', 'corp.example']
const textLiteral = fc.constantFrom(...texts).map((text) => JSON.stringify(text))
const numberLiteral = fc.oneof(fc.integer({ min: -5, max: 700 }).map(String), fc.constantFrom('0.5', '3.0', '599.5'))
const pattern = fc.constantFrom("'^team-[0-9]+$'", "'a'", "'^$'", "'(a|e)+$'", "'[.]example$'", "'^.{1,3}$'")
const claimNames = ['department', 'level', 'ratio', 'active', 'roles', 'projects', 'nothing']
const claim = fc.constantFrom(...claimNames).map((name) => `subject.claims.${name}`)

/** By the kind of their value, as far as that is known beforehand; the wrong kind is among them. */
const expressions = fc.letrec<{ bool: string; text: string; number: string; list: string; any: string; item: string }>((tie) => ({
  any: fc.oneof(
    claim,
    tie('text'),
    tie('number'),
    tie('list'),
    fc.constantFrom('true', 'false', 'device.attributes.edr', 'device.managed'),
  ),
  text: fc.oneof(
    { weight: 3, arbitrary: textLiteral },
    {
      weight: 5,
      arbitrary: fc.constantFrom(
        'subject.email',
        'subject.sub',
        'subject.kind',
        'sign_in.acr',
        'device.id',
        'device.os',
        'device.os_version',
        'device.serial',
        'environment.country',
        'environment.browser',
        'environment.address',
        'request.path',
        'request.method',
        'device.attributes.edr',
      ),
    },
    { weight: 2, arbitrary: claim },
    fc.tuple(tie('text'), tie('text')).map(([left, right]) => `(${left} + ${right})`),
    fc.tuple(tie('list'), fc.integer({ min: 0, max: 2 })).map(([list, index]) => `${list}[${index}]`),
    fc.tuple(tie('bool'), tie('text'), tie('text')).map(([test, yes, no]) => `(${test} ? ${yes} : ${no})`),
  ),
  number: fc.oneof(
    { weight: 3, arbitrary: numberLiteral },
    { weight: 3, arbitrary: fc.constantFrom('sign_in.age', 'environment.asn', 'environment.at', 'device.attributes.patch') },
    { weight: 2, arbitrary: claim },
    fc.oneof(tie('list'), tie('text')).map((sized) => `size(${sized})`),
    fc.tuple(tie('number'), fc.constantFrom('+', '-'), tie('number')).map(([left, operator, right]) => `(${left} ${operator} ${right})`),
    tie('number').map((number) => `-${number}`),
  ),
  list: fc.oneof(
    fc.constantFrom('subject.groups', 'subject.services', 'sign_in.amr', 'device.tags', 'device.attributes.apps'),
    fc.constantFrom('subject.claims.roles', 'subject.claims.projects'),
    fc.array(textLiteral, { maxLength: 3 }).map((items) => `[${items.join(', ')}]`),
    fc.array(fc.integer({ min: 0, max: 4 }), { minLength: 1, maxLength: 3 }).map((items) => `[${items.join(', ')}]`),
    fc.tuple(tie('list'), tie('item')).map(([list, test]) => `${list}.filter(x, ${test})`),
  ),
  /** Of the iteration variable `x`. */
  item: fc.oneof(
    tie('any').map((other) => `x == ${other}`),
    textLiteral.map((text) => `x.startsWith(${text})`),
    pattern.map((source) => `x.re(${source})`),
    textLiteral.map((text) => `x.name == ${text}`),
    fc.constantFrom('has(x.name)', "'read' in x.scopes", "x.scopes.exists(y, y == 'read')", 'x < "m"', 'x > 1', 'size(x) > 2'),
    fc.tuple(tie('item'), fc.constantFrom('&&', '||'), tie('bool')).map(([left, operator, right]) => `(${left} ${operator} ${right})`),
    tie('item').map((test) => `!(${test})`),
  ),
  bool: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.constantFrom('true', 'false', 'device.managed', 'device.disk_encrypted', 'device.known'),
    fc.constantFrom(...claimNames).map((name) => `has(subject.claims.${name})`),
    fc.constantFrom(...claimNames).map((name) => `'${name}' in subject.claims`),
    fc.tuple(tie('text'), fc.constantFrom('==', '!=', '<', '>='), tie('text')).map((parts) => parts.join(' ')),
    fc.tuple(tie('number'), fc.constantFrom('==', '!=', '<', '<=', '>', '>='), tie('number')).map((parts) => parts.join(' ')),
    fc.tuple(tie('any'), fc.constantFrom('==', '!='), tie('any')).map((parts) => parts.join(' ')),
    fc.tuple(tie('any'), tie('list')).map(([item, list]) => `${item} in ${list}`),
    fc.tuple(tie('text'), fc.constantFrom('startsWith', 'endsWith'), tie('text')).map(([text, call, part]) => `${text}.${call}(${part})`),
    fc.tuple(tie('text'), textLiteral).map(([text, part]) => `${text}.contains(${part})`),
    fc.tuple(tie('text'), pattern).map(([text, source]) => `${text}.re(${source})`),
    fc.tuple(tie('text'), pattern).map(([text, source]) => `re(${text}, ${source})`),
    fc
      .tuple(fc.oneof(tie('list'), claim), fc.constantFrom('all', 'exists', 'exists_one'), tie('item'))
      .map(([list, call, test]) => `${list}.${call}(x, ${test})`),
    fc.tuple(tie('bool'), fc.constantFrom('&&', '||'), tie('bool')).map(([left, operator, right]) => `(${left} ${operator} ${right})`),
    tie('bool').map((test) => `!(${test})`),
    fc.tuple(tie('bool'), tie('bool'), tie('bool')).map(([test, yes, no]) => `(${test} ? ${yes} : ${no})`),
  ),
}))

const missing = { known: false, why: 'claim_absent' } as const
const knownOr = <Value>(value: fc.Arbitrary<Value>): fc.Arbitrary<Known<Value>> =>
  fc.oneof({ weight: 3, arbitrary: value.map((one) => ({ known: true, value: one }) as const) }, fc.constant(missing))

const project = fc.record(
  { name: fc.constantFrom<unknown>('apollo', 'a', 7), scopes: fc.constantFrom<unknown>(['read'], ['write', 'read'], [], 'read') },
  { requiredKeys: [] },
)
const claims = fc.record(
  {
    department: fc.constantFrom<unknown>('finance', 'a', 3, null),
    level: fc.constantFrom<unknown>(3, 0, -2, '3', 599.5),
    ratio: fc.constantFrom<unknown>(0.5, 3, -0.25),
    active: fc.constantFrom<unknown>(true, false, 'yes'),
    roles: fc.constantFrom<unknown>(['a', 'staff'], [], ['team-7'], [1, 2], ['a', 1], 'a', [[1]]),
    projects: fc.oneof(fc.array(project, { maxLength: 3 }), fc.constant({ a: 1 })),
  },
  { requiredKeys: [] },
)

const people = fc
  .record({
    email: knownOr(fc.constantFrom('alice@corp.example', 'eve@evil.example')),
    groups: knownOr(fc.subarray(['staff', 'team-7', 'a', ''])),
    claims: knownOr(claims),
  })
  .map((changes): SubjectFacts => person(changes))

const attributes = fc.record(
  {
    managed: fc.constantFrom(true, false, 'true'),
    disk_encrypted: fc.boolean(),
    os: fc.constantFrom('macos', 'windows'),
    os_version: fc.constantFrom('14.4', '9'),
    edr: fc.constantFrom<string | boolean>('on', 'a', true, reported('on', now - 25 * hours).value as string),
    patch: fc.constantFrom(3, 700, 0.5),
    apps: fc.constantFrom(['a'], ['vpn', 'edr'], []),
  },
  { requiredKeys: [] },
)
const devices = fc.oneof(
  { weight: 4, arbitrary: fc.tuple(attributes, fc.boolean()).map(([some, isKnown]) => deviceWith(some, { isKnown })) },
  fc.constant({ known: false, why: 'not_gathered' } as const),
)
const signIns = fc
  .record(
    {
      at: fc.constantFrom(now, now - 599_500, now - 700_000),
      acr: fc.constantFrom('gold', 'a'),
      amr: fc.constantFrom(['a', 'otp'], ['staff']),
    },
    { requiredKeys: [] },
  )
  .map(signInWith)

const anyFacts: fc.Arbitrary<Facts> = fc
  .record({
    subject: fc.oneof({ weight: 6, arbitrary: people }, fc.constant(nobody), fc.constant(service)),
    signIn: signIns,
    device: devices,
    environment: fc.record({
      country: knownOr(fc.constantFrom('DE', undefined)),
      asn: knownOr(fc.constantFrom(3, undefined)),
    }),
  })
  .map(factsWith)

/** What unknown facts could turn out to be. */
const knownFacts = fc.record({
  email: fc.constantFrom('alice@corp.example', 'a@a.a'),
  groups: fc.subarray(['staff', 'team-7', 'a', '']),
  claims,
  at: fc.constantFrom(now, now - 599_500),
  acr: fc.constantFrom('gold', 'a'),
  amr: fc.constantFrom(['a', 'otp'], ['staff']),
  device: attributes.map((some) => deviceWith(some)),
  country: fc.constantFrom('DE', 'FR'),
  asn: fc.constantFrom(3, 7),
})

type Told = typeof knownFacts extends fc.Arbitrary<infer T> ? T : never

function fillUnknowns(facts: Facts, told: Told): Facts {
  const fill = <Value>(fact: Known<Value>, value: Value): Known<Value> => (fact.known ? fact : { known: true, value })
  const { subject, signIn, device, environment } = facts
  return {
    ...facts,
    subject:
      subject.kind === 'person'
        ? {
            ...subject,
            email: fill(subject.email, told.email),
            groups: fill<readonly string[]>(subject.groups, told.groups),
            claims: fill<Readonly<Record<string, unknown>>>(subject.claims, told.claims),
          }
        : subject,
    signIn: signIn.known
      ? {
          known: true,
          value: {
            at: fill(signIn.value.at, told.at),
            acr: fill(signIn.value.acr, told.acr),
            amr: fill<readonly string[]>(signIn.value.amr, told.amr),
          },
        }
      : signIn,
    device: device.known
      ? {
          known: true,
          value: {
            ...device.value,
            attributes: { ...(told.device.known ? told.device.value.attributes : {}), ...device.value.attributes },
          },
        }
      : told.device,
    environment: { ...environment, country: fill(environment.country, told.country), asn: fill(environment.asn, told.asn) },
  }
}
