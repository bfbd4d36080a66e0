/** Explanations: every rule with what it was judged on, by what decided. */

import { describe, expect, it } from 'vitest'
import { compilePolicy } from './compile.ts'
import type { CompanyRule, Rule, Who } from './document.ts'
import { explainDecision } from './explain.ts'
import type { Facts } from './facts.ts'
import {
  appWith,
  deviceCondition,
  documentWith,
  facts,
  level,
  mfa,
  nobody,
  now,
  person,
  reportedDevice,
  rule,
  service,
  signedIn,
  signInCondition,
} from './policy.fixture.ts'

const people: Who = { kind: 'signed_in' }
const staff: Who = { kind: 'groups', groups: ['staff', 'admins'] }
const healthy = deviceCondition({ managed: true })
const levels = [
  { name: 'healthy', condition: healthy },
  {
    name: 'safe',
    condition: {
      kind: 'all_of' as const,
      of: [level('healthy'), { kind: 'any_of' as const, of: [level('healthy'), signInCondition({ strength: mfa })] }],
    },
  },
]

function explain(rules: readonly Rule[], given: Facts, company: readonly Rule[] = []) {
  const everywhere = company.map((one): CompanyRule => ({ ...one, apps: undefined, sensitivity: undefined }))
  const app = compilePolicy(documentWith([appWith(rules)], everywhere, levels)).apps.get('wiki')
  if (app === undefined) throw new Error('the app is missing')
  return explainDecision(app, given)
}

describe('explainDecision', () => {
  it('shows each condition with its input, the input’s source and age', () => {
    const given = { ...facts(person()), device: reportedDevice({ managed: false }), signIn: signedIn({ acr: '1' }) }
    const rules = [
      rule('allow', staff, {
        name: 'staff',
        methods: { names: [], classes: ['read'] },
        paths: ['/**'],
        until: '2027-01-31',
        when: [level('safe')],
      }),
    ]
    const { decision, rules: traces } = explain(rules, given)
    expect(decision).toMatchObject({ effect: 'deny', rule: 'staff' })
    const input = {
      fact: 'device.managed',
      wanted: 'true',
      value: { known: true, value: false },
      source: 'report',
      at: now - 3_600_000,
      outcome: 'false',
    }
    expect(traces).toMatchObject([
      {
        name: 'staff',
        verb: 'allow',
        origin: 'app',
        isReport: false,
        outcome: 'false',
        isDeciding: true,
        standing: 'does_not_apply',
        parts: [
          {
            place: 'who',
            outcome: 'true',
            inputs: [
              {
                fact: 'subject.groups',
                wanted: 'staff, admins',
                value: { known: true, value: ['staff'] },
                source: 'ID Token and userinfo',
                at: 1_799_999_900_000,
                outcome: 'true',
              },
            ],
          },
          {
            place: 'methods',
            condition: { kind: 'methods', inputs: [{ fact: 'request.method', wanted: 'read', value: { value: 'GET (read)' } }] },
          },
          {
            place: 'dates',
            condition: { kind: 'dates', inputs: [{ wanted: 'until 2027-01-31 (UTC)', value: { value: now }, source: 'clock' }] },
          },
          { place: 'paths', condition: { kind: 'paths', inputs: [{ fact: 'request.path', wanted: '/**', value: { value: '/' } }] } },
          {
            place: 'when',
            outcome: 'false',
            condition: {
              kind: 'level',
              name: 'safe',
              of: [
                {
                  kind: 'all_of',
                  of: [
                    { kind: 'level', name: 'healthy', outcome: 'false', of: [{ kind: 'device', inputs: [input] }] },
                    {
                      kind: 'any_of',
                      outcome: 'unknown',
                      of: [
                        { kind: 'level', name: 'healthy', of: [] },
                        { kind: 'sign_in', outcome: 'unknown' },
                      ],
                    },
                  ],
                },
              ],
            },
          },
        ],
      },
    ])
  })

  it('shows what follows `unless` as it is written, with the outcome that it has for the rule', () => {
    const given = { ...facts(person()), device: reportedDevice({ managed: true }) }
    const { rules } = explain([rule('deny', people, { unless: [level('healthy')] })], given)
    expect(rules[0]?.parts[1]).toMatchObject({
      place: 'unless',
      outcome: 'false',
      condition: { kind: 'level', name: 'healthy', outcome: 'true' },
    })
  })

  it.each<[string, readonly Rule[], readonly string[]]>([
    ['an allow that applies', [rule('allow', people)], ['applies decides']],
    ['an allow of which something is unknown', [rule('allow', people, { when: [healthy] })], ['not_proven decides']],
    ['an allow of which something is false', [rule('allow', people, { paths: ['/x'] })], ['does_not_apply decides']],
    [
      'a deny of which something is unknown',
      [rule('allow', people), rule('deny', people, { when: [healthy] })],
      ['applies', 'not_disproved decides'],
    ],
    ['a deny that does not apply', [rule('allow', people), rule('deny', people, { paths: ['/x'] })], ['applies decides', 'does_not_apply']],
    ['an unmet require', [rule('allow', people), rule('require', people, { require: [healthy] })], ['held_back', 'not_met decides']],
    [
      'a require that is elsewhere',
      [rule('allow', people), rule('require', people, { require: [healthy], paths: ['/x'] })],
      ['applies decides', 'does_not_touch'],
    ],
    ['a deny in report mode', [rule('allow', people), rule('deny', people, { isReport: true })], ['applies decides', 'applies']],
  ])('says how each rule stands: %s', (_name, rules, expected) => {
    const { rules: traces } = explain(rules, { ...facts(person()), device: reportedDevice() })
    expect(traces.map(({ standing, isDeciding }) => (isDeciding ? `${standing} decides` : standing))).toEqual(expected)
  })

  it('tells an own rule from one of the company that has the same name', () => {
    const name = 'same'
    const { rules } = explain([rule('allow', people, { name })], facts(person()), [rule('deny', people, { name, paths: ['/x'] })])
    expect(rules.map(({ origin, verb, isDeciding }) => `${origin} ${verb} ${isDeciding}`).sort()).toEqual([
      'app allow true',
      'company deny false',
    ])
  })

  it('says what is known of services and of nobody, and where from', () => {
    const inputsOf = (who: Who, given: Facts) => explain([rule('allow', who)], given).rules[0]?.parts[0]?.inputs
    expect(inputsOf({ kind: 'services', names: ['billing'] }, facts(service))).toEqual([
      {
        fact: 'subject.services',
        wanted: 'billing',
        value: { known: true, value: ['billing'] },
        source: 'access token',
        at: undefined,
        outcome: 'true',
      },
    ])
    expect(inputsOf(staff, facts(nobody))).toMatchObject([
      { value: { known: true, value: undefined }, source: 'no session', outcome: 'false' },
    ])
    expect(inputsOf({ kind: 'claims', claims: [{ path: ['a', 'b'], values: [1] }] }, facts(person()))).toMatchObject([
      { fact: 'subject.claims.a.b', wanted: '1', value: { known: false, why: 'claim_absent' }, outcome: 'unknown' },
    ])
    expect(
      inputsOf({ kind: 'any_of', of: [{ kind: 'users', emails: ['a@corp.example'] }, { kind: 'everyone' }] }, facts(person())),
    ).toMatchObject([
      { fact: 'subject.email', value: { value: 'alice@corp.example' }, outcome: 'false' },
      { fact: 'subject.kind', wanted: 'everyone', value: { value: 'person' }, outcome: 'true' },
    ])
  })
})
