/** Rules as sentences: they read well, and say everything that the rule says. */

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { CompanyRule, Condition, Level, Who } from './document.ts'
import { deviceCondition, level, mfa, networkCondition, rule, signInCondition, timeCondition } from './policy.fixture.ts'
import { documents, ruleOf } from './policy-arbitraries.fixture.ts'
import { concerns, describeLevel, describeRule, levelFinder, levelsUsed } from './rule-sentences.ts'
import { mostNamed } from './rule-sentences-conditions.ts'

const levels: readonly Level[] = [
  { name: 'mfa_1h', condition: signInCondition({ strength: mfa, withinSeconds: 3600 }) },
  { name: 'healthy_device', condition: deviceCondition({ managed: true, diskEncrypted: true }) },
  { name: 'in_europe', condition: networkCondition({ countries: ['DE', 'FR'] }) },
  { name: 'office_hours', condition: timeCondition({ days: ['mon'] }) },
  { name: 'headquarters', condition: networkCondition({ cidrs: ['10.0.0.0/8'] }) },
  { name: 'own_staff', condition: { kind: 'expression', source: 'subject.email.endsWith("@corp.example")' } },
]
const findLevel = levelFinder(levels)
const groups = (...names: string[]): Who => ({ kind: 'groups', groups: names })
const company = (base: ReturnType<typeof rule>, changes: Partial<CompanyRule> = {}): CompanyRule => ({
  ...base,
  apps: undefined,
  sensitivity: undefined,
  ...changes,
})

describe('a rule as a sentence', () => {
  it.each([
    [
      rule('allow', groups('finance'), { when: [level('healthy_device'), level('mfa_1h')] }),
      'Members of finance, on a healthy device, signed in with MFA within the last hour, may do anything.',
    ],
    [rule('allow', groups('contractors'), { methods: { classes: ['read'], names: [] } }), 'Members of contractors may read.'],
    [
      rule('allow', { kind: 'public' }, { methods: { classes: [], names: ['GET'] }, paths: ['/status'] }),
      'Anybody, even without signing in, may send GET requests in /status.',
    ],
    [
      rule('deny', { kind: 'everyone' }, { paths: ['/restart', '/safeRestart'], when: [level('office_hours')], isReport: true }),
      'Nobody may do anything in /restart and /safeRestart, during office hours. On trial: it only records what it would do.',
    ],
    [rule('deny', { kind: 'everyone' }, { unless: [level('in_europe')] }), 'Nobody may do anything, except in europe.'],
    [
      rule('deny', groups('contractors'), { methods: { classes: ['write', 'websocket'], names: [] }, unless: [level('headquarters')] }),
      'Members of contractors may not write or open WebSockets, except from headquarters.',
    ],
    [
      company(rule('require', { kind: 'signed_in' }, { require: [level('mfa_1h'), level('healthy_device')], isAlert: true }), {
        sensitivity: ['restricted'],
      }),
      'In restricted apps, everybody who may come in needs to be signed in with MFA within the last hour, and on a healthy device. Raises an alert whenever it decides.',
    ],
    [
      company(rule('require', groups('platform'), { require: [level('own_staff')], paths: ['/admin/**'], until: '2026-12-31' }), {
        apps: ['wiki', 'grafana'],
      }),
      'In wiki and grafana, members of platform, where they may come in, need to be where own staff holds, to do anything in /admin/**. Holds until 2026-12-31.',
    ],
    [
      rule('allow', { kind: 'all_of', of: [groups('a b'), { kind: 'claims', claims: [{ path: ['department'], values: ['hr', 7] }] }] }),
      'Those who are all of: (members of “a b”) and (people whose department is hr or the number 7) may do anything.',
    ],
    [rule('allow', { kind: 'users', emails: ['alice@corp.example'] }), 'alice@corp.example may do anything.'],
  ])('reads as one would say it: %#', (given, sentence) => {
    expect(describeRule(given, findLevel)).toBe(sentence)
  })

  it.each([
    ['healthy_device', 'Healthy device: on a device that is managed and has its disk encrypted.'],
    ['mfa_1h', 'Mfa 1h: signed in with MFA within the last hour.'],
    ['in_europe', 'In europe: from DE or FR.'],
    ['own_staff', 'Own staff: where "subject.email.endsWith(\\"@corp.example\\")" holds.'],
  ])('says what the level %s asks for', (name, sentence) => {
    const found = levels.find((one) => one.name === name)
    expect(found && describeLevel(found, findLevel)).toBe(sentence)
  })

  it('puts names that could be read as part of the sentence in quotation marks', () => {
    const sentence = describeRule(rule('deny', groups('nobody may do nothing', 'x” may do anything')), findLevel)
    expect(sentence).toBe('Members of “nobody may do nothing” or “x’ may do anything” may do nothing.')
  })

  it('bounds lists and says how many more there are', () => {
    const many = Array.from({ length: 40 }, (_, index) => `g${index}`)
    const sentence = describeRule(rule('allow', groups(...many)), findLevel)
    expect(sentence).toContain(`g${mostNamed - 1} and 28 more may`)
    expect(sentence).not.toContain(`g${mostNamed},`)
  })

  it('is never empty, names every selector value and every level or what it asks for, and tells the verbs apart', () => {
    fc.assert(
      fc.property(
        fc.constantFrom('allow', 'deny', 'require').chain((verb) => ruleOf(verb as 'allow')),
        (given) => {
          const sentence = describeRule(given, findLevel)
          expect(sentence.length).toBeGreaterThan(10)
          for (const value of [...valuesOf(given.who), ...[...given.when, ...given.unless, ...given.require].flatMap(valuesIn)]) {
            expect(sentence).toContain(value)
          }
          for (const value of [...(given.paths ?? []), ...(given.methods?.names ?? []), ...(given.methods?.classes ?? [])]) {
            expect(sentence.toLowerCase()).toContain(value.toLowerCase())
          }
          const others = (['allow', 'deny', 'require'] as const)
            .filter((verb) => verb !== given.verb && !(verb !== 'allow' && given.who.kind === 'public'))
            .map((verb) => describeRule({ ...given, verb }, findLevel))
          expect(others).not.toContain(sentence)
        },
      ),
      { numRuns: 500 },
    )
  })

  it('has a sentence for every level and every rule of any document', () => {
    fc.assert(
      fc.property(documents, (document) => {
        const find = levelFinder(document.levels)
        for (const one of document.levels) expect(describeLevel(one, find)).toMatch(/^\S.*: .+\.$/)
        for (const app of document.apps) {
          expect(levelsUsed(app.rules, find).every((name) => find(name) !== undefined)).toBe(true)
          for (const one of document.rules) expect(concerns(one, app)).toBe(true)
        }
      }),
    )
  })
})

function valuesOf(who: Who): readonly string[] {
  switch (who.kind) {
    case 'users':
      return who.emails
    case 'domains':
      return who.domains
    case 'groups':
      return who.groups
    case 'services':
      return who.names
    case 'claims':
      return who.claims.flatMap(({ path, values }) => [path.join('.'), ...values.map(String)])
    case 'any_of':
    case 'all_of':
      return who.of.flatMap(valuesOf)
    default:
      return []
  }
}

function valuesIn(condition: Condition): readonly string[] {
  switch (condition.kind) {
    case 'all_of':
    case 'any_of':
      return condition.of.flatMap(valuesIn)
    case 'not':
      return valuesIn(condition.of)
    case 'level':
      return [condition.name]
    case 'subject':
      return valuesOf(condition.who)
    case 'network':
      return [...(condition.cidrs ?? []), ...(condition.countries ?? [])]
    case 'sign_in':
      return [...(condition.acr ?? []), ...(condition.amr ?? [])].map((value) => value)
    default:
      return []
  }
}
