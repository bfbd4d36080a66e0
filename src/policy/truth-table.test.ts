/**
 * The truth table of the policy language: every condition, true, false and unknown, in each place where it can stand; and the
 * precedence, row by row. Both print as tables.
 *
 * It is also the guard against a kind of condition or rule that quietly stops doing anything (A240): each has rows that end in a denial.
 */

import { describe, expect, it } from 'vitest'
import { decide } from './decide.ts'
import type { Decision } from './decision.ts'
import type { App, Condition, Rule, Who } from './document.ts'
import { explainDecision } from './explain.ts'
import type { Device, EnvironmentFacts, Facts, Known, SignIn } from './facts.ts'
import {
  compileApp,
  deviceWith,
  environmentWith,
  facts,
  level,
  mfa,
  networkWith,
  nobody,
  now,
  person,
  reportedDevice,
  rule,
  service,
  signedIn,
  signInWith,
  timeWith,
} from './policy.fixture.ts'

const signedInPeople: Who = { kind: 'signed_in' }
const staff: Condition = { kind: 'subject', who: { kind: 'groups', groups: ['staff'] } }
const never: Condition = { kind: 'not', of: { kind: 'subject', who: signedInPeople } }

/** Facts that differ from those of a person with a sign-in and a device of which nothing in particular is known. */
type Change = Partial<Omit<Facts, 'environment'>> & { readonly environment?: Partial<EnvironmentFacts> }
type State = 'true' | 'false' | 'unknown'

const noDevice = { known: false, why: 'no_device' } as const
const value = <Value>(known: Value): Known<Value> => ({ known: true, value: known })
const device = (attributes: Readonly<Record<string, string | boolean>>, changes?: Partial<Device>): Change => ({
  device: reportedDevice(attributes, changes),
})
const signIn = (given?: Parameters<typeof signedIn>[0]): Change => ({ signIn: signedIn(given) })
const place = (environment: Partial<EnvironmentFacts>): Change => ({ environment })
const client = (given: Partial<EnvironmentFacts['client']>) => place({ client: { ...environmentWith().client, ...given } })
const groups = (known: Known<readonly string[]>): Change => ({ subject: person({ groups: known }) })
const hours = [{ from: 420, to: 1200 }]
const clientWith = (changes: Partial<Extract<Condition, { kind: 'client' }>>): Condition => ({
  kind: 'client',
  browsers: undefined,
  browserVersion: undefined,
  os: undefined,
  ...changes,
})
const isStaff = {
  true: {},
  false: groups(value([])),
  unknown: groups({ known: false, why: 'claim_absent' }),
}
const brokenClock = place({ at: Number.NaN })

/** Each condition, with facts that make it come out in each way; a way that is not there cannot happen. */
const conditions: Readonly<Record<string, readonly [Condition, Partial<Record<State, Change>>]>> = {
  subject: [staff, isStaff],
  level: [level('staff'), isStaff],
  all_of: [{ kind: 'all_of', of: [staff, { kind: 'subject', who: signedInPeople }] }, isStaff],
  any_of: [{ kind: 'any_of', of: [staff, never] }, isStaff],
  not: [
    { kind: 'not', of: staff },
    { true: isStaff.false, false: isStaff.true, unknown: isStaff.unknown },
  ],
  'sign_in strength': [
    signInWith({ strength: mfa }),
    { true: signIn({ amr: ['otp'] }), false: signIn({ acr: '1', amr: ['pwd'] }), unknown: signIn() },
  ],
  'sign_in acr': [signInWith({ acr: ['gold'] }), { true: signIn({ acr: 'gold' }), false: signIn({ acr: '1' }), unknown: signIn() }],
  'sign_in amr': [
    signInWith({ amr: ['hwk'] }),
    { true: signIn({ amr: ['pwd', 'hwk'] }), false: signIn({ amr: ['pwd'] }), unknown: signIn() },
  ],
  'sign_in within': [
    signInWith({ withinSeconds: 900 }),
    { true: signIn({ secondsAgo: 900 }), false: signIn({ secondsAgo: 901 }), unknown: signIn() },
  ],
  'device known': [deviceWith({ known: true }), { true: device({}), false: device({}, { isKnown: false }), unknown: {} }],
  'device managed': [
    deviceWith({ managed: true }),
    { true: device({ managed: true }), false: device({ managed: false }), unknown: device({}) },
  ],
  'device disk_encrypted': [
    deviceWith({ diskEncrypted: true }),
    { true: device({ disk_encrypted: true }), false: device({ disk_encrypted: false }), unknown: device({}) },
  ],
  'device screen_lock': [
    deviceWith({ screenLock: true }),
    { true: device({ screen_lock: true }), false: device({ screen_lock: false }), unknown: device({}) },
  ],
  'device firewall': [
    deviceWith({ firewall: true }),
    { true: device({ firewall: true }), false: device({ firewall: false }), unknown: device({}) },
  ],
  'device os': [
    deviceWith({ os: [{ name: 'macos', bound: { operator: '>=', version: '14.4' } }] }),
    {
      true: device({ os: 'macos', os_version: '14.10' }),
      false: device({ os: 'macos', os_version: '14.3.1' }),
      unknown: device({ os: 'macos' }),
    },
  ],
  'device serials': [
    deviceWith({ serials: ['C02'] }),
    { true: device({}, { serial: 'C02' }), false: device({}, { serial: 'C03' }), unknown: device({}, { serial: undefined }) },
  ],
  'device tags': [
    deviceWith({ tags: ['kiosk'] }),
    { true: device({}, { tags: ['kiosk'] }), false: device({}), unknown: { device: noDevice } },
  ],
  'device attributes': [
    deviceWith({ attributes: [{ name: 'ring', values: ['fast'] }] }),
    { true: device({ ring: 'fast' }), false: device({ ring: 'slow' }), unknown: device({}) },
  ],
  'device reported_within': [
    deviceWith({ isReportAsked: true, reportedWithinSeconds: 7200 }),
    { true: device({ managed: false }), unknown: device({}) },
  ],
  'device, report too old': [deviceWith({ managed: true, reportedWithinSeconds: 3599 }), { unknown: device({ managed: true }) }],
  'device identified_by': [
    deviceWith({ identifiedBy: 'certificate' }),
    { true: device({}), false: device({}, { identifiedBy: 'claim' }), unknown: { device: noDevice } },
  ],
  'network cidrs': [
    networkWith({ cidrs: ['10.0.0.0/8'] }),
    { true: place({ address: '10.1.2.3' }), false: place({ address: '11.1.2.3' }), unknown: place({ address: 'somewhere' }) },
  ],
  'network countries': [
    networkWith({ countries: ['DE'] }),
    { true: place({ country: value('DE') }), false: place({ country: value(undefined) }), unknown: {} },
  ],
  'network asns': [
    networkWith({ asns: [64500] }),
    { true: place({ asn: value(64500) }), false: place({ asn: value(64501) }), unknown: {} },
  ],
  'time days': [timeWith({ days: ['fri'] }), { true: {}, false: place({ at: now + 86_400_000 }), unknown: brokenClock }],
  'time between': [timeWith({ between: hours }), { true: {}, false: place({ at: now + 12 * 3_600_000 }), unknown: brokenClock }],
  'time from': [timeWith({ from: '2027-01-15' }), { true: {}, false: place({ at: now - 86_400_000 }), unknown: brokenClock }],
  'time until': [timeWith({ until: '2027-01-15' }), { true: {}, false: place({ at: now + 86_400_000 }), unknown: brokenClock }],
  'client browser': [
    clientWith({ browsers: ['firefox'] }),
    { true: client({ browser: value('firefox') }), false: client({ browser: value('chrome') }), unknown: {} },
  ],
  'client browser_version': [
    clientWith({ browserVersion: { operator: '>=', version: '140' } }),
    { true: client({ browserVersion: value('140.1') }), false: client({ browserVersion: value('139') }), unknown: {} },
  ],
  'client os': [
    clientWith({ os: ['linux'] }),
    { true: client({ os: value('linux') }), false: client({ os: value('windows') }), unknown: {} },
  ],
  expression: [{ kind: 'expression', source: "'staff' in subject.groups" }, isStaff],
}

// The allow, the deny and the require each under the condition; open: everybody who is signed in. `unless` takes the rule away. "touch": what is
// required cannot be met; without a time no report mode is known to last. "report": the deny in report mode, then the require where the app is in report mode.
const conditionTable = `
  condition                 | state   | allow   | unless  | deny    | deny unless | require | touch   | report deny         | report app
  subject                   | true    | allow   | deny    | deny    | allow       | allow   | deny    | allow, would deny   | allow, would allow
  subject                   | false   | deny    | allow   | allow   | deny        | deny    | allow   | allow, would allow  | pass, would deny
  subject                   | unknown | deny    | deny    | deny    | deny        | deny    | deny    | allow, would deny   | pass, would deny
  level                     | true    | allow   | deny    | deny    | allow       | allow   | deny    | allow, would deny   | allow, would allow
  level                     | false   | deny    | allow   | allow   | deny        | deny    | allow   | allow, would allow  | pass, would deny
  level                     | unknown | deny    | deny    | deny    | deny        | deny    | deny    | allow, would deny   | pass, would deny
  all_of                    | true    | allow   | deny    | deny    | allow       | allow   | deny    | allow, would deny   | allow, would allow
  all_of                    | false   | deny    | allow   | allow   | deny        | deny    | allow   | allow, would allow  | pass, would deny
  all_of                    | unknown | deny    | deny    | deny    | deny        | deny    | deny    | allow, would deny   | pass, would deny
  any_of                    | true    | allow   | deny    | deny    | allow       | allow   | deny    | allow, would deny   | allow, would allow
  any_of                    | false   | deny    | allow   | allow   | deny        | deny    | allow   | allow, would allow  | pass, would deny
  any_of                    | unknown | deny    | deny    | deny    | deny        | deny    | deny    | allow, would deny   | pass, would deny
  not                       | true    | allow   | deny    | deny    | allow       | allow   | deny    | allow, would deny   | allow, would allow
  not                       | false   | deny    | allow   | allow   | deny        | deny    | allow   | allow, would allow  | pass, would deny
  not                       | unknown | deny    | deny    | deny    | deny        | deny    | deny    | allow, would deny   | pass, would deny
  sign_in strength          | true    | allow   | deny    | deny    | allow       | allow   | deny    | allow, would deny   | allow, would allow
  sign_in strength          | false   | step_up | allow   | allow   | step_up     | step_up | allow   | allow, would allow  | pass, would challenge
  sign_in strength          | unknown | step_up | deny    | deny    | step_up     | step_up | deny    | allow, would deny   | pass, would challenge
  sign_in acr               | true    | allow   | deny    | deny    | allow       | allow   | deny    | allow, would deny   | allow, would allow
  sign_in acr               | false   | step_up | allow   | allow   | step_up     | step_up | allow   | allow, would allow  | pass, would challenge
  sign_in acr               | unknown | step_up | deny    | deny    | step_up     | step_up | deny    | allow, would deny   | pass, would challenge
  sign_in amr               | true    | allow   | deny    | deny    | allow       | allow   | deny    | allow, would deny   | allow, would allow
  sign_in amr               | false   | step_up | allow   | allow   | step_up     | step_up | allow   | allow, would allow  | pass, would challenge
  sign_in amr               | unknown | step_up | deny    | deny    | step_up     | step_up | deny    | allow, would deny   | pass, would challenge
  sign_in within            | true    | allow   | deny    | deny    | allow       | allow   | deny    | allow, would deny   | allow, would allow
  sign_in within            | false   | step_up | allow   | allow   | step_up     | step_up | allow   | allow, would allow  | pass, would challenge
  sign_in within            | unknown | step_up | deny    | deny    | step_up     | step_up | deny    | allow, would deny   | pass, would challenge
  device known              | true    | allow   | deny    | deny    | allow       | allow   | deny    | allow, would deny   | allow, would allow
  device known              | false   | deny    | allow   | allow   | deny        | deny    | allow   | allow, would allow  | pass, would deny
  device known              | unknown | deny    | deny    | deny    | deny        | deny    | deny    | allow, would deny   | pass, would deny
  device managed            | true    | allow   | deny    | deny    | allow       | allow   | deny    | allow, would deny   | allow, would allow
  device managed            | false   | deny    | allow   | allow   | deny        | deny    | allow   | allow, would allow  | pass, would deny
  device managed            | unknown | deny    | deny    | deny    | deny        | deny    | deny    | allow, would deny   | pass, would deny
  device disk_encrypted     | true    | allow   | deny    | deny    | allow       | allow   | deny    | allow, would deny   | allow, would allow
  device disk_encrypted     | false   | deny    | allow   | allow   | deny        | deny    | allow   | allow, would allow  | pass, would deny
  device disk_encrypted     | unknown | deny    | deny    | deny    | deny        | deny    | deny    | allow, would deny   | pass, would deny
  device screen_lock        | true    | allow   | deny    | deny    | allow       | allow   | deny    | allow, would deny   | allow, would allow
  device screen_lock        | false   | deny    | allow   | allow   | deny        | deny    | allow   | allow, would allow  | pass, would deny
  device screen_lock        | unknown | deny    | deny    | deny    | deny        | deny    | deny    | allow, would deny   | pass, would deny
  device firewall           | true    | allow   | deny    | deny    | allow       | allow   | deny    | allow, would deny   | allow, would allow
  device firewall           | false   | deny    | allow   | allow   | deny        | deny    | allow   | allow, would allow  | pass, would deny
  device firewall           | unknown | deny    | deny    | deny    | deny        | deny    | deny    | allow, would deny   | pass, would deny
  device os                 | true    | allow   | deny    | deny    | allow       | allow   | deny    | allow, would deny   | allow, would allow
  device os                 | false   | deny    | allow   | allow   | deny        | deny    | allow   | allow, would allow  | pass, would deny
  device os                 | unknown | deny    | deny    | deny    | deny        | deny    | deny    | allow, would deny   | pass, would deny
  device serials            | true    | allow   | deny    | deny    | allow       | allow   | deny    | allow, would deny   | allow, would allow
  device serials            | false   | deny    | allow   | allow   | deny        | deny    | allow   | allow, would allow  | pass, would deny
  device serials            | unknown | deny    | deny    | deny    | deny        | deny    | deny    | allow, would deny   | pass, would deny
  device tags               | true    | allow   | deny    | deny    | allow       | allow   | deny    | allow, would deny   | allow, would allow
  device tags               | false   | deny    | allow   | allow   | deny        | deny    | allow   | allow, would allow  | pass, would deny
  device tags               | unknown | deny    | deny    | deny    | deny        | deny    | deny    | allow, would deny   | pass, would deny
  device attributes         | true    | allow   | deny    | deny    | allow       | allow   | deny    | allow, would deny   | allow, would allow
  device attributes         | false   | deny    | allow   | allow   | deny        | deny    | allow   | allow, would allow  | pass, would deny
  device attributes         | unknown | deny    | deny    | deny    | deny        | deny    | deny    | allow, would deny   | pass, would deny
  device reported_within    | true    | allow   | deny    | deny    | allow       | allow   | deny    | allow, would deny   | allow, would allow
  device reported_within    | unknown | deny    | deny    | deny    | deny        | deny    | deny    | allow, would deny   | pass, would deny
  device, report too old    | unknown | deny    | deny    | deny    | deny        | deny    | deny    | allow, would deny   | pass, would deny
  device identified_by      | true    | allow   | deny    | deny    | allow       | allow   | deny    | allow, would deny   | allow, would allow
  device identified_by      | false   | deny    | allow   | allow   | deny        | deny    | allow   | allow, would allow  | pass, would deny
  device identified_by      | unknown | deny    | deny    | deny    | deny        | deny    | deny    | allow, would deny   | pass, would deny
  network cidrs             | true    | allow   | deny    | deny    | allow       | allow   | deny    | allow, would deny   | allow, would allow
  network cidrs             | false   | deny    | allow   | allow   | deny        | deny    | allow   | allow, would allow  | pass, would deny
  network cidrs             | unknown | deny    | deny    | deny    | deny        | deny    | deny    | allow, would deny   | pass, would deny
  network countries         | true    | allow   | deny    | deny    | allow       | allow   | deny    | allow, would deny   | allow, would allow
  network countries         | false   | deny    | allow   | allow   | deny        | deny    | allow   | allow, would allow  | pass, would deny
  network countries         | unknown | deny    | deny    | deny    | deny        | deny    | deny    | allow, would deny   | pass, would deny
  network asns              | true    | allow   | deny    | deny    | allow       | allow   | deny    | allow, would deny   | allow, would allow
  network asns              | false   | deny    | allow   | allow   | deny        | deny    | allow   | allow, would allow  | pass, would deny
  network asns              | unknown | deny    | deny    | deny    | deny        | deny    | deny    | allow, would deny   | pass, would deny
  time days                 | true    | allow   | deny    | deny    | allow       | allow   | deny    | allow, would deny   | allow, would allow
  time days                 | false   | deny    | allow   | allow   | deny        | deny    | allow   | allow, would allow  | pass, would deny
  time days                 | unknown | deny    | deny    | deny    | deny        | deny    | deny    | allow, would deny   | deny, would deny
  time between              | true    | allow   | deny    | deny    | allow       | allow   | deny    | allow, would deny   | allow, would allow
  time between              | false   | deny    | allow   | allow   | deny        | deny    | allow   | allow, would allow  | pass, would deny
  time between              | unknown | deny    | deny    | deny    | deny        | deny    | deny    | allow, would deny   | deny, would deny
  time from                 | true    | allow   | deny    | deny    | allow       | allow   | deny    | allow, would deny   | allow, would allow
  time from                 | false   | deny    | allow   | allow   | deny        | deny    | allow   | allow, would allow  | pass, would deny
  time from                 | unknown | deny    | deny    | deny    | deny        | deny    | deny    | allow, would deny   | deny, would deny
  time until                | true    | allow   | deny    | deny    | allow       | allow   | deny    | allow, would deny   | allow, would allow
  time until                | false   | deny    | allow   | allow   | deny        | deny    | allow   | allow, would allow  | pass, would deny
  time until                | unknown | deny    | deny    | deny    | deny        | deny    | deny    | allow, would deny   | deny, would deny
  client browser            | true    | allow   | deny    | deny    | allow       | allow   | deny    | allow, would deny   | allow, would allow
  client browser            | false   | deny    | allow   | allow   | deny        | deny    | allow   | allow, would allow  | pass, would deny
  client browser            | unknown | deny    | deny    | deny    | deny        | deny    | deny    | allow, would deny   | pass, would deny
  client browser_version    | true    | allow   | deny    | deny    | allow       | allow   | deny    | allow, would deny   | allow, would allow
  client browser_version    | false   | deny    | allow   | allow   | deny        | deny    | allow   | allow, would allow  | pass, would deny
  client browser_version    | unknown | deny    | deny    | deny    | deny        | deny    | deny    | allow, would deny   | pass, would deny
  client os                 | true    | allow   | deny    | deny    | allow       | allow   | deny    | allow, would deny   | allow, would allow
  client os                 | false   | deny    | allow   | allow   | deny        | deny    | allow   | allow, would allow  | pass, would deny
  client os                 | unknown | deny    | deny    | deny    | deny        | deny    | deny    | allow, would deny   | pass, would deny
  expression                | true    | allow   | deny    | deny    | allow       | allow   | deny    | allow, would deny   | allow, would allow
  expression                | false   | deny    | allow   | allow   | deny        | deny    | allow   | allow, would allow  | pass, would deny
  expression                | unknown | deny    | deny    | deny    | deny        | deny    | deny    | allow, would deny   | pass, would deny
`

// What each kind of rule comes out as: a deny on `everyone`, or for this subject under a condition that is true, false, unknown or that of a
// person without MFA; a require of everyone; an allow. `!`: the app is in report mode for whoever is signed in. The first row that fits decides.
const precedenceTable = `
  subject | deny     | require | allow    | decision
  nobody  | everyone | none    | public   | deny denied_by_rule
  nobody  | everyone | none    | none     | deny denied_by_rule
  nobody  | true     | none    | public   | deny denied_by_rule
  nobody  | unknown  | none    | none     | challenge login_required
  nobody  | unknown  | none    | true     | challenge login_required
  nobody  | not mfa  | none    | none     | challenge login_required
  nobody  | false    | none    | none     | challenge login_required
  nobody  | none     | none    | none     | challenge login_required
  nobody  | none     | none    | true     | challenge login_required
  nobody  | none     | none    | false !  | challenge login_required
  nobody  | none     | false   | public   | challenge login_required
  nobody  | none     | mfa     | public   | challenge login_required
  nobody  | unknown  | none    | public   | deny denied_by_rule
  nobody  | not mfa  | none    | public   | deny denied_by_rule
  nobody  | false    | none    | public   | allow public
  nobody  | none     | true    | public   | allow public
  nobody  | none     | none    | public   | allow public
  person  | everyone | none    | true     | deny denied_by_rule
  person  | everyone | none    | true !   | deny denied_by_rule
  person  | true     | none    | true     | deny denied_by_rule
  person  | unknown  | none    | true     | deny denied_by_rule
  person  | unknown  | none    | true !   | deny denied_by_rule
  person  | unknown  | none    | none     | deny denied_by_rule
  person  | not mfa  | none    | none     | deny denied_by_rule
  person  | not mfa  | none    | false    | deny denied_by_rule
  person  | not mfa  | false   | true     | deny denied_by_rule
  person  | not mfa  | none    | true     | challenge insufficient_user_authentication
  person  | not mfa  | none    | mfa      | challenge insufficient_user_authentication
  person  | not mfa  | mfa     | true     | challenge insufficient_user_authentication
  person  | not mfa  | none    | false !  | challenge insufficient_user_authentication
  person  | mfa      | none    | true     | allow rule_matched
  person  | false    | none    | true     | allow rule_matched
  person  | none     | true    | true     | allow rule_matched
  person  | none     | none    | true     | allow rule_matched
  person  | none     | none    | true !   | allow rule_matched
  person  | none     | none    | public   | allow public
  person  | none     | false   | true !   | allow report_mode
  person  | none     | mfa     | true !   | allow report_mode
  person  | none     | none    | mfa !    | allow report_mode
  person  | none     | none    | none !   | allow report_mode
  person  | none     | mfa     | true     | challenge insufficient_user_authentication
  person  | none     | mfa     | public   | challenge insufficient_user_authentication
  person  | none     | none    | mfa      | challenge insufficient_user_authentication
  person  | none     | mfa     | false    | deny no_rule_matched
  person  | none     | mfa     | none     | deny no_rule_matched
  person  | none     | false   | mfa      | deny no_rule_matched
  person  | none     | false   | true     | deny no_rule_matched
  person  | none     | unknown | true     | deny no_rule_matched
  person  | none     | none    | unknown  | deny no_rule_matched
  person  | none     | none    | false    | deny no_rule_matched
  person  | none     | none    | none     | deny no_rule_matched
  service | everyone | none    | true     | deny denied_by_rule
  service | not mfa  | none    | true     | deny denied_by_rule
  service | none     | none    | true     | allow rule_matched
  service | none     | none    | false !  | allow report_mode
  service | none     | mfa     | true     | deny no_rule_matched
  service | none     | none    | mfa      | deny no_rule_matched
`

describe('a condition', () => {
  const given = (change: Change): Facts => ({
    ...facts(person()),
    signIn: signedIn(),
    device: { known: false, why: 'not_gathered' },
    ...change,
    environment: environmentWith(change.environment),
  })

  it.each(rowsOf(conditionTable))('%s, %s: %s', (name, state, ...answers) => {
    const [condition, changes] = conditions[name] ?? raise(name)
    const those = given(changes[state as State] ?? raise(`${name} ${state}`))
    const judged = explainDecision(compile([rule('allow', signedInPeople, { when: [condition] })]), those).rules[0]?.parts[1]?.outcome
    expect(judged).toBe(state)
    const open = rule('allow', signedInPeople, { name: 'open' })
    const places: readonly (readonly [readonly Rule[], Partial<App>?])[] = [
      [[rule('allow', signedInPeople, { when: [condition] })]],
      [[rule('allow', signedInPeople, { unless: [condition] })]],
      [[open, rule('deny', signedInPeople, { when: [condition] })]],
      [[open, rule('deny', signedInPeople, { unless: [condition] })]],
      [[open, rule('require', signedInPeople, { require: [condition] })]],
      [[open, rule('require', signedInPeople, { require: [never], when: [condition] })]],
      [[open, rule('deny', signedInPeople, { when: [condition], isReport: true })]],
      [[open, rule('require', signedInPeople, { require: [condition] })], { report: { until: undefined, pass: signedInPeople } }],
    ]
    expect(places.map(([rules, app]) => print(decide(compile(rules, app), those)))).toEqual(answers)
  })

  it('has a row for each way in which each can come out', () => {
    const ways = Object.entries(conditions).flatMap(([name, [, changes]]) => Object.keys(changes).map((state) => `${name} ${state}`))
    expect(rowsOf(conditionTable).map(([name, state]) => `${name} ${state}`)).toEqual(ways)
  })
})

describe('precedence', () => {
  it.each(rowsOf(precedenceTable))('%s, deny %s, require %s, allow %s → %s', (who, ...cells) => {
    const [deny, require, allow, decision] = cells
    const subject = who === 'nobody' ? nobody : who === 'service' ? service : person()
    const outcomes: Readonly<Record<string, Condition>> = {
      true: timeWith({ days: ['fri'] }),
      false: timeWith({ days: ['mon'] }),
      unknown: networkWith({ countries: ['DE'] }),
      'not mfa': { kind: 'not', of: signInWith({ strength: mfa }) },
      mfa: signInWith({ strength: mfa }),
    }
    const when = (word: string | undefined) => [outcomes[word ?? ''] ?? raise(String(word))]
    const everyone: Who = { kind: 'everyone' }
    const isPublic = allow?.startsWith('public')
    const rules = [
      deny === 'none'
        ? []
        : deny === 'everyone'
          ? rule('deny', everyone)
          : rule('deny', who === 'nobody' ? everyone : anybody, { when: when(deny) }),
      require === 'none' ? [] : rule('require', everyone, { require: when(require) }),
      allow?.startsWith('none')
        ? []
        : isPublic
          ? rule('allow', { kind: 'public' })
          : rule('allow', anybody, { when: when(allow?.replace(' !', '')) }),
    ].flat()
    const app = compile(rules, allow?.endsWith('!') ? { report: { until: undefined, pass: anybody } } : {})
    const { effect, reason } = decide(app, {
      ...facts(subject),
      signIn: who === 'person' ? signedIn({ acr: '1', amr: ['pwd'] }) : notAPerson,
    })
    expect(`${effect} ${reason}`).toBe(decision)
  })
})

const notAPerson: Known<SignIn> = { known: false, why: 'not_a_person' }
const anybody: Who = { kind: 'any_of', of: [signedInPeople, { kind: 'services', names: ['billing'] }] }

function compile(rules: readonly Rule[], changes: Partial<App> = {}) {
  return compileApp(rules, { ...changes, levels: [{ name: 'staff', condition: staff }] })
}

function print({ would, ...decision }: Decision): string {
  const word = decision.effect === 'challenge' ? decision.challenge : decision.reason === 'report_mode' ? 'pass' : decision.effect
  return would === undefined ? word : `${word}, would ${would.effect}`
}

function rowsOf(table: string): [string, ...string[]][] {
  const [, ...rows] = table.trim().split('\n')
  return rows.map((line) => {
    const [first = '', ...rest] = line.split('|').map((cell) => cell.trim())
    return [first, ...rest]
  })
}

function raise(what: string): never {
  throw new Error(`missing: ${what}`)
}

for (const table of [conditionTable, precedenceTable]) console.log(table)
