/** The instants at which time alone may change a decision: exact where they can be, and never missed. */

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type CompiledApp, compilePolicy } from './compile.ts'
import { decide } from './decide.ts'
import type { Condition, Rule } from './document.ts'
import type { Facts } from './facts.ts'
import { findNextChange } from './next-change.ts'
import { appWith, compileApp, deviceCondition, documentWith, now, rule, signInCondition, timeCondition } from './policy.fixture.ts'
import { anyFacts, documents } from './policy-arbitraries.fixture.ts'

describe('findNextChange', () => {
  it('never misses an instant at which the decision changes', () => {
    let changes = 0
    fc.assert(
      fc.property(
        documents,
        anyFacts,
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.integer({ min: -86_400_000, max: 86_400_000 }),
        (document, given, share, shift) => {
          const app = compilePolicy(document).apps.get('wiki')
          if (app === undefined) throw new Error('the app is missing')
          const facts = at(given, given.environment.at + shift)
          const from = facts.environment.at
          const next = findNextChange(app, facts)
          expect(next).toBeGreaterThanOrEqual(from)
          const last = Math.min(Math.max(next - 1, from), from + 3 * 86_400_000)
          const before = outcomeOf(app, facts)
          for (const instant of [last, from + Math.floor((last - from) * share)]) expect(outcomeOf(app, at(facts, instant))).toEqual(before)
          if (next < from + 3 * 86_400_000 && outcomeOf(app, at(facts, next)) !== before) changes++
        },
      ),
      { numRuns: 5_000 },
    )
    // Without changes there is nothing that could be missed.
    expect(changes).toBeGreaterThan(100)
  }, 120_000)

  it.each<[string, Condition, number]>([
    ['the beginning of a window', timeCondition({ between: [{ from: 600, to: 660 }] }), Date.parse('2027-01-15T10:00:00Z')],
    ['the end of a window', timeCondition({ between: [{ from: 0, to: 541 }] }), Date.parse('2027-01-15T09:01:00Z')],
    ['midnight', timeCondition({ days: ['fri'] }), Date.parse('2027-01-16T00:00:00Z')],
  ])('is %s, exactly', (_what, condition, expected) => {
    const app = compileApp([rule('allow', { kind: 'signed_in' }, { when: [condition] })])
    expect(findNextChange(app, at(person, Date.parse('2027-01-15T09:00:59.999Z') - 59_000))).toBe(expected)
  })

  it.each([
    ['skips an hour', '2027-03-28T00:30:00Z', '2027-03-28T01:00:00Z'],
    ['repeats one', '2027-10-31T00:30:00Z', '2027-10-31T01:00:00Z'],
  ])('is the jump of a clock that %s', (_what, from, to) => {
    const condition = timeCondition({ between: [{ from: 240, to: 600 }], zone: 'Europe/Berlin' })
    const app = compileApp([rule('allow', { kind: 'signed_in' }, { when: [condition] })])
    expect(findNextChange(app, at(person, Date.parse(from)))).toBe(Date.parse(to))
  })

  it('is when a sign-in becomes too old', () => {
    const app = compileApp([rule('allow', { kind: 'signed_in' }, { when: [signInCondition({ withinSeconds: 900 })] })])
    expect(findNextChange(app, person)).toBe(now - 60_000 + 900_001)
    expect(findNextChange(app, at(person, now + 900_000))).toBe(Number.POSITIVE_INFINITY)
  })

  it('is when the oldest of what a device reported becomes too old, also within levels, lists and opposites', () => {
    const condition = deviceCondition({ managed: true, diskEncrypted: true, reportedWithinSeconds: 3_600 })
    const nested: Condition = { kind: 'not', of: { kind: 'any_of', of: [{ kind: 'level', name: 'healthy' }] } }
    const document = documentWith(
      [appWith([rule('allow', { kind: 'signed_in' }, { when: [nested] })])],
      [],
      [{ name: 'healthy', condition: { kind: 'all_of', of: [condition] } }],
    )
    expect(findNextChange(appOf(document), person)).toBe(now - 1_800_000 + 3_600_001)
  })

  it('is the first instant of a day that a rule begins or ends with, and of the end of report mode', () => {
    const dated = (changes: Partial<Rule>) => compileApp([rule('allow', { kind: 'signed_in' }, changes)])
    const from = at(person, Date.parse('2027-01-15T09:00:00Z'))
    expect(findNextChange(dated({ from: '2027-01-17' }), from)).toBe(Date.parse('2027-01-17T00:00:00Z'))
    expect(findNextChange(dated({ until: '2027-01-17' }), from)).toBe(Date.parse('2027-01-18T00:00:00Z'))
    const report = { pass: { kind: 'signed_in' } as const, until: '2027-01-16' }
    expect(findNextChange(appOf(documentWith([appWith([], { report })])), from)).toBe(Date.parse('2027-01-17T00:00:00Z'))
  })

  it('is any moment for an expression about the clock or an age, and none for any other', () => {
    const saying = (source: string) => compileApp([rule('allow', { kind: 'signed_in' }, { when: [{ kind: 'expression', source }] })])
    expect(findNextChange(saying('environment.at > 5.0'), person)).toBe(now)
    expect(findNextChange(saying('sign_in.age < 5.0'), person)).toBe(now)
    expect(findNextChange(saying("'staff' in subject.groups"), person)).toBe(Number.POSITIVE_INFINITY)
  })

  it('leaves out rules that are not about the subject, and those in report mode', () => {
    const when = [timeCondition({ between: [{ from: 600, to: 660 }] })]
    const app = compileApp([
      rule('allow', { kind: 'groups', groups: ['admins'] }, { when }),
      rule('deny', { kind: 'signed_in' }, { when, isReport: true, name: 'tried out' }),
    ])
    expect(findNextChange(app, person)).toBe(Number.POSITIVE_INFINITY)
  })
})

const notGathered = { known: false, why: 'not_gathered' } as const

const person: Facts = {
  subject: {
    kind: 'person',
    issuer: 'https://op.example',
    sub: 'u1',
    email: notGathered,
    groups: { known: true, value: ['staff'] },
    claims: notGathered,
    claimsAt: now,
  },
  signIn: { known: true, value: { at: { known: true, value: now - 60_000 }, acr: notGathered, amr: notGathered } },
  device: {
    known: true,
    value: {
      id: 'd1',
      identifiedBy: 'certificate',
      isKnown: true,
      serial: undefined,
      tags: [],
      attributes: {
        managed: { value: true, source: 'report', at: now - 60_000 },
        disk_encrypted: { value: true, source: 'report', at: now - 1_800_000 },
        screen_lock: { value: true, source: 'inventory', at: now - 3_500_000 },
      },
    },
  },
  request: { method: 'GET', methodClass: 'read', path: '/' },
  environment: {
    address: '192.0.2.1',
    at: now,
    country: notGathered,
    asn: notGathered,
    scheme: 'https',
    tlsVersion: notGathered,
    client: { browser: notGathered, browserVersion: notGathered, os: notGathered },
  },
}

function at(facts: Facts, instant: number): Facts {
  return { ...facts, environment: { ...facts.environment, at: instant } }
}

function outcomeOf(app: CompiledApp, facts: Facts): string {
  const decision = decide(app, facts)
  return `${decision.effect} ${decision.reason}`
}

function appOf(document: Parameters<typeof compilePolicy>[0]): CompiledApp {
  const app = compilePolicy(document).apps.get('wiki')
  if (app === undefined) throw new Error('the app is missing')
  return app
}
