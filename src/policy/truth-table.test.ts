/**
 * The truth table of the policy language: every condition, true, false and unknown, in each place where it can stand. It prints as a table.
 *
 * It is also the guard against a kind of condition or rule that quietly stops doing anything (A240): each has rows that end in a denial.
 */

import { describe, expect, it } from 'vitest'
import { decide } from './decide.ts'
import type { Decision } from './decision.ts'
import type { App, Condition, Rule, Who } from './document.ts'
import { explainDecision } from './explain.ts'
import type { Device, EnvironmentFacts, Facts, Known } from './facts.ts'
import {
  compileApp,
  deviceCondition,
  environmentWith,
  facts,
  level,
  mfa,
  networkCondition,
  now,
  person,
  reportedDevice,
  rule,
  signedIn,
  signInCondition,
  timeCondition,
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
    signInCondition({ strength: mfa }),
    { true: signIn({ amr: ['otp'] }), false: signIn({ acr: '1', amr: ['pwd'] }), unknown: signIn() },
  ],
  'sign_in acr': [signInCondition({ acr: ['gold'] }), { true: signIn({ acr: 'gold' }), false: signIn({ acr: '1' }), unknown: signIn() }],
  'sign_in amr': [
    signInCondition({ amr: ['hwk'] }),
    { true: signIn({ amr: ['pwd', 'hwk'] }), false: signIn({ amr: ['pwd'] }), unknown: signIn() },
  ],
  'sign_in within': [
    signInCondition({ withinSeconds: 900 }),
    { true: signIn({ secondsAgo: 900 }), false: signIn({ secondsAgo: 901 }), unknown: signIn() },
  ],
  'device known': [deviceCondition({ known: true }), { true: device({}), false: device({}, { isKnown: false }), unknown: {} }],
  'device managed': [
    deviceCondition({ managed: true }),
    { true: device({ managed: true }), false: device({ managed: false }), unknown: device({}) },
  ],
  'device disk_encrypted': [
    deviceCondition({ diskEncrypted: true }),
    { true: device({ disk_encrypted: true }), false: device({ disk_encrypted: false }), unknown: device({}) },
  ],
  'device screen_lock': [
    deviceCondition({ screenLock: true }),
    { true: device({ screen_lock: true }), false: device({ screen_lock: false }), unknown: device({}) },
  ],
  'device firewall': [
    deviceCondition({ firewall: true }),
    { true: device({ firewall: true }), false: device({ firewall: false }), unknown: device({}) },
  ],
  'device os': [
    deviceCondition({ os: [{ name: 'macos', bound: { operator: '>=', version: '14.4' } }] }),
    {
      true: device({ os: 'macos', os_version: '14.10' }),
      false: device({ os: 'macos', os_version: '14.3.1' }),
      unknown: device({ os: 'macos' }),
    },
  ],
  'device serials': [
    deviceCondition({ serials: ['C02'] }),
    { true: device({}, { serial: 'C02' }), false: device({}, { serial: 'C03' }), unknown: device({}, { serial: undefined }) },
  ],
  'device tags': [
    deviceCondition({ tags: ['kiosk'] }),
    { true: device({}, { tags: ['kiosk'] }), false: device({}), unknown: { device: noDevice } },
  ],
  'device attributes': [
    deviceCondition({ attributes: [{ name: 'ring', values: ['fast'] }] }),
    { true: device({ ring: 'fast' }), false: device({ ring: 'slow' }), unknown: device({}) },
  ],
  'device reported_within': [
    deviceCondition({ isReportAsked: true, reportedWithinSeconds: 7200 }),
    { true: device({ managed: false }), unknown: device({}) },
  ],
  'device, report too old': [deviceCondition({ managed: true, reportedWithinSeconds: 3599 }), { unknown: device({ managed: true }) }],
  'device identified_by': [
    deviceCondition({ identifiedBy: 'certificate' }),
    { true: device({}), false: device({}, { identifiedBy: 'claim' }), unknown: { device: noDevice } },
  ],
  'network cidrs': [
    networkCondition({ cidrs: ['10.0.0.0/8'] }),
    { true: place({ address: '10.1.2.3' }), false: place({ address: '11.1.2.3' }), unknown: place({ address: 'somewhere' }) },
  ],
  'network countries': [
    networkCondition({ countries: ['DE'] }),
    { true: place({ country: value('DE') }), false: place({ country: value(undefined) }), unknown: {} },
  ],
  'network asns': [
    networkCondition({ asns: [64500] }),
    { true: place({ asn: value(64500) }), false: place({ asn: value(64501) }), unknown: {} },
  ],
  'time days': [timeCondition({ days: ['fri'] }), { true: {}, false: place({ at: now + 86_400_000 }), unknown: brokenClock }],
  'time between': [timeCondition({ between: hours }), { true: {}, false: place({ at: now + 12 * 3_600_000 }), unknown: brokenClock }],
  'time from': [timeCondition({ from: '2027-01-15' }), { true: {}, false: place({ at: now - 86_400_000 }), unknown: brokenClock }],
  'time until': [timeCondition({ until: '2027-01-15' }), { true: {}, false: place({ at: now + 86_400_000 }), unknown: brokenClock }],
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

// The allow, the deny and the require each under the condition; what is open is so to everybody who is signed in. `unless` takes the rule
// away. "touch": what is required cannot be met. "report": the deny in report mode, then the require where the app is in report mode (which
// is not known to last where the time is unknown); in brackets what would have been decided otherwise.
const conditionTable = `
  condition                 | state   | allow   | unless  | deny    | deny unless | require | touch   | report deny   | report app
  subject                   | true    | allow   | deny    | deny    | allow       | allow   | deny    | allow (deny)  | allow (allow)
  subject                   | false   | deny    | allow   | allow   | deny        | deny    | allow   | allow (allow) | pass (deny)
  subject                   | unknown | deny    | deny    | deny    | deny        | deny    | deny    | allow (deny)  | pass (deny)
  level                     | true    | allow   | deny    | deny    | allow       | allow   | deny    | allow (deny)  | allow (allow)
  level                     | false   | deny    | allow   | allow   | deny        | deny    | allow   | allow (allow) | pass (deny)
  level                     | unknown | deny    | deny    | deny    | deny        | deny    | deny    | allow (deny)  | pass (deny)
  all_of                    | true    | allow   | deny    | deny    | allow       | allow   | deny    | allow (deny)  | allow (allow)
  all_of                    | false   | deny    | allow   | allow   | deny        | deny    | allow   | allow (allow) | pass (deny)
  all_of                    | unknown | deny    | deny    | deny    | deny        | deny    | deny    | allow (deny)  | pass (deny)
  any_of                    | true    | allow   | deny    | deny    | allow       | allow   | deny    | allow (deny)  | allow (allow)
  any_of                    | false   | deny    | allow   | allow   | deny        | deny    | allow   | allow (allow) | pass (deny)
  any_of                    | unknown | deny    | deny    | deny    | deny        | deny    | deny    | allow (deny)  | pass (deny)
  not                       | true    | allow   | deny    | deny    | allow       | allow   | deny    | allow (deny)  | allow (allow)
  not                       | false   | deny    | allow   | allow   | deny        | deny    | allow   | allow (allow) | pass (deny)
  not                       | unknown | deny    | deny    | deny    | deny        | deny    | deny    | allow (deny)  | pass (deny)
  sign_in strength          | true    | allow   | deny    | deny    | allow       | allow   | deny    | allow (deny)  | allow (allow)
  sign_in strength          | false   | step_up | allow   | allow   | step_up     | step_up | allow   | allow (allow) | pass (challenge)
  sign_in strength          | unknown | step_up | deny    | deny    | step_up     | step_up | deny    | allow (deny)  | pass (challenge)
  sign_in acr               | true    | allow   | deny    | deny    | allow       | allow   | deny    | allow (deny)  | allow (allow)
  sign_in acr               | false   | step_up | allow   | allow   | step_up     | step_up | allow   | allow (allow) | pass (challenge)
  sign_in acr               | unknown | step_up | deny    | deny    | step_up     | step_up | deny    | allow (deny)  | pass (challenge)
  sign_in amr               | true    | allow   | deny    | deny    | allow       | allow   | deny    | allow (deny)  | allow (allow)
  sign_in amr               | false   | step_up | allow   | allow   | step_up     | step_up | allow   | allow (allow) | pass (challenge)
  sign_in amr               | unknown | step_up | deny    | deny    | step_up     | step_up | deny    | allow (deny)  | pass (challenge)
  sign_in within            | true    | allow   | deny    | deny    | allow       | allow   | deny    | allow (deny)  | allow (allow)
  sign_in within            | false   | step_up | allow   | allow   | step_up     | step_up | allow   | allow (allow) | pass (challenge)
  sign_in within            | unknown | step_up | deny    | deny    | step_up     | step_up | deny    | allow (deny)  | pass (challenge)
  device known              | true    | allow   | deny    | deny    | allow       | allow   | deny    | allow (deny)  | allow (allow)
  device known              | false   | deny    | allow   | allow   | deny        | deny    | allow   | allow (allow) | pass (deny)
  device known              | unknown | deny    | deny    | deny    | deny        | deny    | deny    | allow (deny)  | pass (deny)
  device managed            | true    | allow   | deny    | deny    | allow       | allow   | deny    | allow (deny)  | allow (allow)
  device managed            | false   | deny    | allow   | allow   | deny        | deny    | allow   | allow (allow) | pass (deny)
  device managed            | unknown | deny    | deny    | deny    | deny        | deny    | deny    | allow (deny)  | pass (deny)
  device disk_encrypted     | true    | allow   | deny    | deny    | allow       | allow   | deny    | allow (deny)  | allow (allow)
  device disk_encrypted     | false   | deny    | allow   | allow   | deny        | deny    | allow   | allow (allow) | pass (deny)
  device disk_encrypted     | unknown | deny    | deny    | deny    | deny        | deny    | deny    | allow (deny)  | pass (deny)
  device screen_lock        | true    | allow   | deny    | deny    | allow       | allow   | deny    | allow (deny)  | allow (allow)
  device screen_lock        | false   | deny    | allow   | allow   | deny        | deny    | allow   | allow (allow) | pass (deny)
  device screen_lock        | unknown | deny    | deny    | deny    | deny        | deny    | deny    | allow (deny)  | pass (deny)
  device firewall           | true    | allow   | deny    | deny    | allow       | allow   | deny    | allow (deny)  | allow (allow)
  device firewall           | false   | deny    | allow   | allow   | deny        | deny    | allow   | allow (allow) | pass (deny)
  device firewall           | unknown | deny    | deny    | deny    | deny        | deny    | deny    | allow (deny)  | pass (deny)
  device os                 | true    | allow   | deny    | deny    | allow       | allow   | deny    | allow (deny)  | allow (allow)
  device os                 | false   | deny    | allow   | allow   | deny        | deny    | allow   | allow (allow) | pass (deny)
  device os                 | unknown | deny    | deny    | deny    | deny        | deny    | deny    | allow (deny)  | pass (deny)
  device serials            | true    | allow   | deny    | deny    | allow       | allow   | deny    | allow (deny)  | allow (allow)
  device serials            | false   | deny    | allow   | allow   | deny        | deny    | allow   | allow (allow) | pass (deny)
  device serials            | unknown | deny    | deny    | deny    | deny        | deny    | deny    | allow (deny)  | pass (deny)
  device tags               | true    | allow   | deny    | deny    | allow       | allow   | deny    | allow (deny)  | allow (allow)
  device tags               | false   | deny    | allow   | allow   | deny        | deny    | allow   | allow (allow) | pass (deny)
  device tags               | unknown | deny    | deny    | deny    | deny        | deny    | deny    | allow (deny)  | pass (deny)
  device attributes         | true    | allow   | deny    | deny    | allow       | allow   | deny    | allow (deny)  | allow (allow)
  device attributes         | false   | deny    | allow   | allow   | deny        | deny    | allow   | allow (allow) | pass (deny)
  device attributes         | unknown | deny    | deny    | deny    | deny        | deny    | deny    | allow (deny)  | pass (deny)
  device reported_within    | true    | allow   | deny    | deny    | allow       | allow   | deny    | allow (deny)  | allow (allow)
  device reported_within    | unknown | deny    | deny    | deny    | deny        | deny    | deny    | allow (deny)  | pass (deny)
  device, report too old    | unknown | deny    | deny    | deny    | deny        | deny    | deny    | allow (deny)  | pass (deny)
  device identified_by      | true    | allow   | deny    | deny    | allow       | allow   | deny    | allow (deny)  | allow (allow)
  device identified_by      | false   | deny    | allow   | allow   | deny        | deny    | allow   | allow (allow) | pass (deny)
  device identified_by      | unknown | deny    | deny    | deny    | deny        | deny    | deny    | allow (deny)  | pass (deny)
  network cidrs             | true    | allow   | deny    | deny    | allow       | allow   | deny    | allow (deny)  | allow (allow)
  network cidrs             | false   | deny    | allow   | allow   | deny        | deny    | allow   | allow (allow) | pass (deny)
  network cidrs             | unknown | deny    | deny    | deny    | deny        | deny    | deny    | allow (deny)  | pass (deny)
  network countries         | true    | allow   | deny    | deny    | allow       | allow   | deny    | allow (deny)  | allow (allow)
  network countries         | false   | deny    | allow   | allow   | deny        | deny    | allow   | allow (allow) | pass (deny)
  network countries         | unknown | deny    | deny    | deny    | deny        | deny    | deny    | allow (deny)  | pass (deny)
  network asns              | true    | allow   | deny    | deny    | allow       | allow   | deny    | allow (deny)  | allow (allow)
  network asns              | false   | deny    | allow   | allow   | deny        | deny    | allow   | allow (allow) | pass (deny)
  network asns              | unknown | deny    | deny    | deny    | deny        | deny    | deny    | allow (deny)  | pass (deny)
  time days                 | true    | allow   | deny    | deny    | allow       | allow   | deny    | allow (deny)  | allow (allow)
  time days                 | false   | deny    | allow   | allow   | deny        | deny    | allow   | allow (allow) | pass (deny)
  time days                 | unknown | deny    | deny    | deny    | deny        | deny    | deny    | allow (deny)  | deny (deny)
  time between              | true    | allow   | deny    | deny    | allow       | allow   | deny    | allow (deny)  | allow (allow)
  time between              | false   | deny    | allow   | allow   | deny        | deny    | allow   | allow (allow) | pass (deny)
  time between              | unknown | deny    | deny    | deny    | deny        | deny    | deny    | allow (deny)  | deny (deny)
  time from                 | true    | allow   | deny    | deny    | allow       | allow   | deny    | allow (deny)  | allow (allow)
  time from                 | false   | deny    | allow   | allow   | deny        | deny    | allow   | allow (allow) | pass (deny)
  time from                 | unknown | deny    | deny    | deny    | deny        | deny    | deny    | allow (deny)  | deny (deny)
  time until                | true    | allow   | deny    | deny    | allow       | allow   | deny    | allow (deny)  | allow (allow)
  time until                | false   | deny    | allow   | allow   | deny        | deny    | allow   | allow (allow) | pass (deny)
  time until                | unknown | deny    | deny    | deny    | deny        | deny    | deny    | allow (deny)  | deny (deny)
  client browser            | true    | allow   | deny    | deny    | allow       | allow   | deny    | allow (deny)  | allow (allow)
  client browser            | false   | deny    | allow   | allow   | deny        | deny    | allow   | allow (allow) | pass (deny)
  client browser            | unknown | deny    | deny    | deny    | deny        | deny    | deny    | allow (deny)  | pass (deny)
  client browser_version    | true    | allow   | deny    | deny    | allow       | allow   | deny    | allow (deny)  | allow (allow)
  client browser_version    | false   | deny    | allow   | allow   | deny        | deny    | allow   | allow (allow) | pass (deny)
  client browser_version    | unknown | deny    | deny    | deny    | deny        | deny    | deny    | allow (deny)  | pass (deny)
  client os                 | true    | allow   | deny    | deny    | allow       | allow   | deny    | allow (deny)  | allow (allow)
  client os                 | false   | deny    | allow   | allow   | deny        | deny    | allow   | allow (allow) | pass (deny)
  client os                 | unknown | deny    | deny    | deny    | deny        | deny    | deny    | allow (deny)  | pass (deny)
  expression                | true    | allow   | deny    | deny    | allow       | allow   | deny    | allow (deny)  | allow (allow)
  expression                | false   | deny    | allow   | allow   | deny        | deny    | allow   | allow (allow) | pass (deny)
  expression                | unknown | deny    | deny    | deny    | deny        | deny    | deny    | allow (deny)  | pass (deny)
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

function compile(rules: readonly Rule[], changes: Partial<App> = {}) {
  return compileApp(rules, { ...changes, levels: [{ name: 'staff', condition: staff }] })
}

function print({ would, ...decision }: Decision): string {
  const word = decision.effect === 'challenge' ? decision.challenge : decision.reason === 'report_mode' ? 'pass' : decision.effect
  return would === undefined ? word : `${word} (${would.effect})`
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

console.log(conditionTable)
