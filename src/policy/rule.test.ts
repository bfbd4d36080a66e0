/** What a rule says besides whom it means: circumstances, dates, requirements, alerts and report mode. */

import { describe, expect, it } from 'vitest'
import { compilePolicy } from './compile.ts'
import { decide } from './decide.ts'
import type { App, Condition, Rule, Who } from './document.ts'
import type { Facts } from './facts.ts'
import {
  appWith,
  compileApp,
  deviceCondition,
  documentWith,
  environmentWith,
  facts,
  mfa,
  networkCondition,
  nobody,
  now,
  person,
  reportedDevice,
  rule,
  service,
  signedIn,
  signInCondition,
  timeCondition,
} from './policy.fixture.ts'

const people: Who = { kind: 'signed_in' }
const everyone: Who = { kind: 'everyone' }
const staff: Condition = { kind: 'subject', who: { kind: 'groups', groups: ['staff'] } }
const admins: Condition = { kind: 'subject', who: { kind: 'groups', groups: ['admins'] } }
const open = rule('allow', people, { name: 'open' })
const given = facts(person())
const day = 86_400_000

const at = (instant: number): Facts => ({ ...given, environment: environmentWith({ at: instant }) })
const effectOf = (rules: readonly Rule[], some: Facts = given, app: Partial<App> = {}) => decide(compileApp(rules, app), some).effect

describe('when and unless', () => {
  it('all of the one have to hold, and any of the other takes the rule away', () => {
    expect(effectOf([rule('allow', people, { when: [staff, staff] })])).toBe('allow')
    expect(effectOf([rule('allow', people, { when: [staff, admins] })])).toBe('deny')
    expect(effectOf([rule('allow', people, { unless: [admins, admins] })])).toBe('allow')
    expect(effectOf([rule('allow', people, { unless: [admins, staff] })])).toBe('deny')
    expect(effectOf([open, rule('deny', people, { when: [staff, admins] })])).toBe('allow')
    expect(effectOf([open, rule('deny', people, { when: [staff], unless: [admins] })])).toBe('deny')
    expect(effectOf([open, rule('deny', people, { when: [staff], unless: [admins, staff] })])).toBe('allow')
  })
})

describe('dates', () => {
  it.each([
    [-day - 1, 'deny', 'not_open_yet'],
    [-day, 'allow', undefined],
    [0, 'allow', undefined],
    [2 * day - 1, 'allow', undefined],
    [2 * day, 'deny', 'no_longer_open'],
  ] as const)('hold on both days and between, %i ms from midnight: %s', (offset, effect, remedy) => {
    const midnight = Date.UTC(2027, 0, 15)
    const dated = { from: '2027-01-14', until: '2027-01-16' }
    const decision = decide(compileApp([rule('allow', people, dated)]), at(midnight + offset))
    expect(decision.effect).toBe(effect)
    if (remedy !== undefined) {
      const instant = remedy === 'not_open_yet' ? midnight - day : midnight + 2 * day
      expect(decision).toMatchObject({ unmet: [{ condition: 'dates', outcome: 'false', remedy, details: { at: instant, zone: 'UTC' } }] })
    }
    expect(effectOf([open, rule('deny', people, dated)], at(midnight + offset))).toBe(effect === 'allow' ? 'deny' : 'allow')
    expect(effectOf([open, rule('require', people, { ...dated, require: [admins] })], at(midnight + offset))).toBe(
      effect === 'allow' ? 'deny' : 'allow',
    )
  })

  it('are unknown where the time is', () => {
    const dated = { from: '2027-01-14' }
    expect(decide(compileApp([rule('allow', people, dated)]), at(Number.NaN))).toMatchObject({
      effect: 'deny',
      unmet: [{ condition: 'dates', outcome: 'unknown', remedy: 'condition_unknown' }],
    })
    expect(effectOf([open, rule('deny', people, dated)], at(Number.NaN))).toBe('deny')
  })

  it('are those of the document’s zone', () => {
    const document = {
      ...documentWith([appWith([rule('allow', people, { from: '2027-07-01', until: '2027-07-01' })])]),
      zone: 'Europe/Berlin',
    }
    const app = compilePolicy(document).apps.get('wiki') ?? raise('wiki')
    const effects = ['2027-06-30T21:59:59.999Z', '2027-06-30T22:00:00Z', '2027-07-01T21:59:59.999Z', '2027-07-01T22:00:00Z'].map(
      (instant) => decide(app, at(Date.parse(instant))).effect,
    )
    expect(effects).toEqual(['deny', 'allow', 'allow', 'deny'])
  })
})

describe('a require', () => {
  const required = (changes: Partial<Rule> = {}, who: Who = people) =>
    rule('require', who, { name: 'required', require: [admins], ...changes })

  it('is added to every allow that it touches, all of it', () => {
    expect(effectOf([open, required()])).toBe('deny')
    expect(effectOf([open, required({ require: [staff] })])).toBe('allow')
    expect(effectOf([open, required({ require: [staff, admins] })])).toBe('deny')
  })

  it.each<[string, Partial<Rule>, Partial<Facts['request']>, string]>([
    ['another method', { methods: { names: ['POST'], classes: [] } }, {}, 'allow'],
    ['this method', { methods: { names: ['GET'], classes: [] } }, {}, 'deny'],
    ['an Upgrade', { methods: { names: ['GET'], classes: [] } }, { methodClass: 'websocket' }, 'allow'],
    ['another path', { paths: ['/admin/**'] }, { path: '/administrator' }, 'allow'],
    ['this path', { paths: ['/admin/**'] }, { path: '/admin/x' }, 'deny'],
    ['another spelling of it', { paths: ['/admin/**'] }, { path: '/Admin;a/x.' }, 'deny'],
    ['circumstances that are not', { when: [admins] }, {}, 'allow'],
    ['circumstances that are', { when: [staff] }, {}, 'deny'],
    ['circumstances that nobody knows', { when: [networkCondition({ countries: ['DE'] })] }, {}, 'deny'],
    ['an exception that holds', { unless: [staff] }, {}, 'allow'],
    ['an exception that nobody knows to hold', { unless: [networkCondition({ countries: ['DE'] })] }, {}, 'deny'],
  ])('touches only what it is about: %s', (_name, changes, request, effect) => {
    expect(effectOf([open, required(changes)], facts(person(), request))).toBe(effect)
  })

  it('is for people who are signed in, for those it names, or for strangers as well', () => {
    const opened = [rule('allow', { kind: 'public' }, { name: 'open' })]
    const effects = (who: Who) => [nobody, service, person()].map((subject) => effectOf([...opened, required({}, who)], facts(subject)))
    expect(effects(people)).toEqual(['allow', 'allow', 'deny'])
    expect(effects({ kind: 'services', names: ['billing'] })).toEqual(['allow', 'deny', 'allow'])
    expect(effects(everyone)).toEqual(['challenge', 'deny', 'deny'])
    const unknown = facts(person({ groups: { known: false, why: 'claim_absent' } }))
    expect(effectOf([...opened, required({}, { kind: 'groups', groups: ['staff'] })], unknown)).toBe('deny')
  })

  it('is named where an allow applies but for it, with what it asks for', () => {
    const healthy = deviceCondition({ diskEncrypted: true })
    const app = compileApp([open, required({ require: [healthy, admins] })])
    expect(decide(app, { ...given, device: reportedDevice({ disk_encrypted: false }) })).toMatchObject({
      effect: 'deny',
      reason: 'no_rule_matched',
      rule: 'required',
      unmet: [
        { condition: 'subject', outcome: 'false', remedy: 'ask_for_access' },
        { condition: 'device', outcome: 'false', remedy: 'disk_not_encrypted' },
      ],
    })
    const others = rule('allow', { kind: 'groups', groups: ['admins'] }, { name: 'others' })
    expect(decide(compileApp([others, required({ require: [healthy] })]), given)).toMatchObject({
      rule: 'others',
      unmet: [{ condition: 'subject' }, { condition: 'device' }],
    })
  })

  it('opens nothing by itself', () => {
    expect(decide(compileApp([required({ require: [staff] })]), given)).toMatchObject({ effect: 'deny', rule: undefined, unmet: [] })
  })

  it.each<[string, Rule]>([
    ['a require that demands nothing', rule('require', people)],
    ['an allow that demands something', rule('allow', people, { require: [staff] })],
    ['a require for the public', required({}, { kind: 'public' })],
    ['a condition on the public', rule('allow', people, { when: [{ kind: 'subject', who: { kind: 'public' } }] })],
  ])('%s is refused when it is compiled', (_name, one) => {
    expect(() => compileApp([one])).toThrow(TypeError)
  })
})

describe('what a denial names', () => {
  const unmetOf = (rules: readonly Rule[], some: Facts = given) => decide(compileApp(rules), some)
  const remedies = (rules: readonly Rule[], some: Facts = given) => {
    const decision = unmetOf(rules, some)
    return decision.effect === 'deny'
      ? decision.unmet.map(({ condition, outcome, remedy }) => `${condition} ${outcome} ${remedy}`)
      : decision
  }
  const evening = at(now + 12 * 3_600_000)
  const office = timeCondition({ between: [{ from: 420, to: 1200 }] })

  it('of an unmet `any_of`, the branch that asks for least', () => {
    const any: Condition = { kind: 'any_of', of: [{ kind: 'all_of', of: [admins, deviceCondition({ managed: true })] }, office] }
    expect(remedies([rule('allow', people, { when: [any] })], evening)).toEqual(['time false outside_hours'])
  })

  it('of several allows, the one that the person could mend', () => {
    const rules = [
      rule('allow', { kind: 'groups', groups: ['admins'] }, { name: 'a for admins' }),
      rule('allow', people, {
        name: 'b with a healthy device',
        when: [deviceCondition({ diskEncrypted: true, screenLock: true, firewall: true })],
      }),
    ]
    expect(
      unmetOf(rules, { ...given, device: reportedDevice({ disk_encrypted: false, screen_lock: false, firewall: false }) }),
    ).toMatchObject({
      rule: 'b with a healthy device',
      unmet: [{ remedy: 'disk_not_encrypted' }, { remedy: 'firewall_off' }, { remedy: 'screen_lock_off' }],
    })
  })

  it.each<[string, Partial<Rule>, readonly string[]]>([
    ['what an exception asks for', { unless: [office] }, ['time false outside_hours']],
    ['what is behind a `not`', { when: [{ kind: 'not', of: office }] }, ['time false outside_hours']],
    ['what is unknown', { when: [networkCondition({ countries: ['DE'] })] }, ['network unknown place_unknown']],
    ['circumstances, where they just are', { when: [timeCondition({ days: ['fri'] })] }, ['circumstances false condition_not_met']],
    [
      'what can be mended before what cannot',
      { when: [timeCondition({ days: ['fri'] })], unless: [admins, office] },
      ['time false outside_hours'],
    ],
    ['nothing, where it is about people and requests alone', { paths: ['/**'] }, []],
  ])('of a deny, what might disprove it: %s', (_name, changes, expected) => {
    expect(remedies([open, rule('deny', people, changes)], evening)).toEqual(expected)
  })

  it('of an allow with a `not` or an `unless`, circumstances', () => {
    const expected = ['circumstances false condition_not_met']
    expect(remedies([rule('allow', people, { unless: [staff] })])).toEqual(expected)
    expect(remedies([rule('allow', people, { when: [{ kind: 'not', of: staff }] })])).toEqual(expected)
    const unknown = facts(person({ groups: { known: false, why: 'claim_absent' } }))
    expect(remedies([rule('allow', people, { unless: [staff] })], unknown)).toEqual(['subject unknown groups_missing'])
  })

  it('each thing once', () => {
    expect(remedies([rule('allow', people, { when: [office, { kind: 'all_of', of: [office] }] })], evening)).toEqual([
      'time false outside_hours',
    ])
  })
})

describe('alert', () => {
  const alert = { isAlert: true } as const
  it('is raised by the rule that let in or kept out', () => {
    expect(decide(compileApp([rule('allow', people, alert)]), given).isAlert).toBe(true)
    expect(decide(compileApp([open, rule('deny', people, alert)]), given).isAlert).toBe(true)
    expect(decide(compileApp([open, rule('require', people, { ...alert, require: [admins] })]), given).isAlert).toBe(true)
  })

  it('is not raised by a rule that decided nothing', () => {
    const others: Who = { kind: 'groups', groups: ['admins'] }
    expect(decide(compileApp([rule('allow', others, alert)]), given)).not.toHaveProperty('isAlert')
    expect(decide(compileApp([open, rule('deny', others, alert)]), given)).not.toHaveProperty('isAlert')
    expect(decide(compileApp([open, rule('deny', people, { ...alert, isReport: true })]), given)).not.toHaveProperty('isAlert')
    const weak = { ...given, signIn: signedIn({ acr: '1', amr: ['pwd'] }) }
    const strong = rule('require', people, { ...alert, require: [signInCondition({ strength: mfa })] })
    expect(decide(compileApp([open, strong]), weak)).not.toHaveProperty('isAlert')
  })
})

describe('report mode', () => {
  it('of a rule grants, denies and requires nothing, and says what would have been', () => {
    const isReport = true
    expect(decide(compileApp([rule('allow', people, { isReport })]), given)).toMatchObject({
      effect: 'deny',
      rule: undefined,
      would: { effect: 'allow', reason: 'rule_matched', rule: 'allow signed_in' },
    })
    expect(decide(compileApp([open, rule('deny', people, { isReport })]), given)).toMatchObject({
      effect: 'allow',
      rule: 'open',
      would: { effect: 'deny', reason: 'denied_by_rule', rule: 'deny signed_in' },
    })
    expect(decide(compileApp([open, rule('require', people, { isReport, require: [admins] })]), given)).toMatchObject({
      effect: 'allow',
      would: { effect: 'deny', reason: 'no_rule_matched', rule: 'require signed_in' },
    })
    expect(decide(compileApp([open]), given)).not.toHaveProperty('would')
  })

  const report = (pass: Who, until?: string): Partial<App> => ({ report: { until, pass } })

  it('of an app turns missing allows and unmet requires into passes, and names what was missing', () => {
    const closed = rule('allow', { kind: 'groups', groups: ['admins'] }, { name: 'for admins' })
    expect(decide(compileApp([closed], report(people)), given)).toEqual({
      effect: 'allow',
      reason: 'report_mode',
      rule: 'for admins',
      would: { effect: 'deny', reason: 'no_rule_matched', rule: 'for admins' },
    })
    const required = rule('require', people, { name: 'required', require: [admins] })
    expect(decide(compileApp([open, required], report(people)), given)).toMatchObject({ reason: 'report_mode', rule: 'required' })
    expect(decide(compileApp([], report(people)), given)).toMatchObject({ reason: 'report_mode', rule: '' })
    expect(decide(compileApp([open], report(people)), given)).toMatchObject({ reason: 'rule_matched', would: { effect: 'allow' } })
  })

  it('of an app passes those it names, and never a stranger, an unknown or one whom a deny keeps out', () => {
    expect(effectOf([], facts(nobody), report(everyone))).toBe('challenge')
    expect(effectOf([], facts(service), report(everyone))).toBe('allow')
    expect(effectOf([], facts(service), report(people))).toBe('deny')
    const team: Who = { kind: 'groups', groups: ['staff'] }
    expect(effectOf([], given, report(team))).toBe('allow')
    expect(effectOf([], facts(person({ groups: { known: false, why: 'claim_absent' } })), report(team))).toBe('deny')
    expect(effectOf([rule('deny', people)], given, report(people))).toBe('deny')
    expect(effectOf([rule('deny', people, { when: [networkCondition({ countries: ['DE'] })] })], given, report(people))).toBe('deny')
  })

  it('of an app ends with its last day', () => {
    const end = Date.UTC(2027, 0, 16)
    expect(effectOf([], at(end - 1), report(people, '2027-01-15'))).toBe('allow')
    expect(effectOf([], at(end), report(people, '2027-01-15'))).toBe('deny')
  })
})

describe('a compiled app', () => {
  it('needs what any of its rules asks for, those in report mode included', () => {
    const levels = [
      { name: 'healthy', condition: deviceCondition({ managed: true }) },
      {
        name: 'at_home',
        condition: { kind: 'any_of', of: [networkCondition({ countries: ['DE'] }), { kind: 'level', name: 'healthy' }] } as Condition,
      },
      { name: 'unused', condition: networkCondition({ asns: [64500] }) },
    ]
    const app = compileApp(
      [
        rule('allow', people, { when: [{ kind: 'level', name: 'at_home' }] }),
        rule('deny', people, {
          isReport: true,
          unless: [{ kind: 'client', browsers: ['firefox'], browserVersion: undefined, os: undefined }],
        }),
      ],
      { levels },
    )
    expect([...app.needs].sort()).toEqual(['client', 'country', 'device'])
    expect(app.levels).toEqual(['at_home', 'healthy'])
    expect(compileApp([open], { levels }).needs.size).toBe(0)
  })
})

function raise(what: string): never {
  throw new Error(`missing: ${what}`)
}
