/**
 * Every kind of rule, selector and condition keeps somebody out, through a running instance: the guard against one that quietly stops doing
 * anything, as a group check once did in a release (CVE-2021-21411).
 *
 * Each condition stands in every place where one can stand, and is asked by somebody for whom it is true, false and unknown. What
 * reached the upstream is compared with what should have, as a whole. The tables are typed over the document's own kinds and keys:
 * a kind that is added to the language does not compile here until it has a row that ends in a denial.
 */

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect } from 'vitest'
import type {
  ClientCondition,
  Condition,
  DeviceCondition,
  NetworkCondition,
  Rule,
  SignInCondition,
  TimeCondition,
  Who,
} from '../../src/policy/document.ts'
import {
  type Asker,
  callers,
  deviceless,
  differs,
  fits,
  nobody,
  outdated,
  type PolicyRig,
  service,
  silent,
  startPolicyRig,
} from '../support/policy-rig.ts'
import { attack } from './attack.ts'

type Outcome = 'true' | 'false' | 'unknown'
type Askers = Partial<Record<Outcome, Asker>>

interface Row extends Askers {
  readonly condition: unknown
}

/** The usual three. */
const three = { true: fits, false: differs, unknown: silent }
const two = { true: fits, false: differs }
const row = (condition: unknown, askers: Askers = three): Row => ({ condition, ...askers })
const wanted = { subject: { groups: ['wanted'] } }

/** `HH:MM-HH:MM` in UTC, some hours from now; the test is over long before they are. */
function hours(from: number, to: number): string {
  const at = (offset: number) => new Date(Date.now() + offset * 3_600_000).toISOString().slice(11, 16)
  return `${at(from)}-${at(to).replace('00:00', '24:00')}`
}

function dayAt(offset: number): string {
  return ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'][new Date(Date.now() + offset * 86_400_000).getUTCDay()] ?? ''
}

type Keys<C> = Exclude<keyof C, 'kind'>

const signIn = {
  strength: row({ sign_in: { strength: 'mfa' } }),
  acr: row({ sign_in: { acr: ['2'] } }),
  amr: row({ sign_in: { amr: ['otp'] } }),
  withinSeconds: row({ sign_in: { within: '1h' } }),
} satisfies Record<Keys<SignInCondition>, Row>

const device = {
  known: row({ device: { known: true } }, { true: fits, false: deviceless }),
  managed: row({ device: { managed: true } }),
  diskEncrypted: row({ device: { disk_encrypted: true } }, { ...three, unknown: outdated }),
  screenLock: row({ device: { screen_lock: true } }),
  firewall: row({ device: { firewall: true } }),
  os: row({ device: { os: ['linux >= 6', 'macos'] } }),
  serials: row({ device: { serials: ['WANTED-1'] } }, { ...three, unknown: deviceless }),
  tags: row({ device: { tags: ['wanted'] } }, { ...three, unknown: deviceless }),
  attributes: row({ device: { attributes: { ring: 'wanted' } } }),
  reportedWithinSeconds: row({ device: { attributes: { ring: 'wanted' }, reported_within: '1h' } }, { ...three, unknown: outdated }),
  isReportAsked: row({ device: { reported_within: '1h' } }, { true: fits, unknown: silent }),
  identifiedBy: row({ device: { identified_by: 'certificate' } }, { false: fits, unknown: deviceless }),
} satisfies Record<Keys<DeviceCondition>, Row>

const network = {
  cidrs: row({ network: { cidrs: ['198.51.100.0/24'] } }, two),
  cidrsFile: row({ network: { cidrs_file: 'networks.txt' } }, two),
  countries: row({ network: { countries: ['DE'] } }),
  asns: row({ network: { asns: [64_512] } }),
} satisfies Record<Keys<NetworkCondition>, Row>

const open = [row({ time: { between: hours(-3, 3) } }, { true: fits }), row({ time: { from: '2020-01-01' } }, { true: fits })]
const time = {
  days: row({ time: { days: [dayAt(2), dayAt(3), dayAt(4)] } }, { false: fits }),
  between: row({ time: { between: hours(3, 9) } }, { false: fits }),
  // Fourteen hours ahead of UTC the hour of now is another one.
  zone: row({ time: { between: hours(-1, 1), zone: 'Pacific/Kiritimati' } }, { false: fits }),
  from: row({ time: { from: '2900-01-01' } }, { false: fits }),
  until: row({ time: { until: '2020-01-01' } }, { false: fits }),
} satisfies Record<Keys<TimeCondition>, Row>

const client = {
  browsers: row({ client: { browser: ['firefox'] } }),
  browserVersion: row({ client: { browser_version: '>= 120' } }),
  os: row({ client: { os: ['linux'] } }),
} satisfies Record<Keys<ClientCondition>, Row>

const conditions = {
  level: [row('named')],
  all_of: [row({ all_of: [wanted, { expression: 'true' }] })],
  any_of: [row({ any_of: [wanted, { expression: 'false' }] })],
  not: [row({ not: { subject: { groups: ['others'] } } })],
  subject: [row(wanted)],
  sign_in: Object.values(signIn),
  device: Object.values(device),
  network: Object.values(network),
  time: [...Object.values(time), ...open],
  client: Object.values(client),
  expression: [
    row({ expression: "'wanted' in subject.groups" }),
    row({ expression: "sign_in.acr == '2' && sign_in.age < 3600.0" }),
    row({ expression: "device.disk_encrypted && device.attributes.ring == 'wanted'" }),
    row({ expression: "environment.country == 'DE' && environment.asn == 64512" }),
    row({ expression: "environment.browser == 'firefox'" }),
    row({ expression: "subject.claims.department.startsWith('wan') && re(subject.email, '^f[a-z]*@corp[.]test$')" }),
  ],
} satisfies Record<Condition['kind'], readonly Row[]>

const people: Record<Who['kind'], readonly Row[]> = {
  public: [],
  everyone: [row({ everyone: true }, { true: silent })],
  signed_in: [row({ signed_in: true }, { true: silent, false: service })],
  users: [row({ users: ['fits@corp.test'] })],
  domains: [row({ domains: ['corp.test'] })],
  groups: [row({ groups: ['wanted'] })],
  claims: [row({ claims: { department: 'wanted' } })],
  services: [row({ services: ['nightly'] }, { true: service, false: fits })],
  any_of: [row([{ groups: ['wanted'] }, { users: ['somebody@corp.test'] }])],
  all_of: [row({ all_of: [{ groups: ['wanted'] }, { domains: ['corp.test'] }] })],
}

const everyone = { everyone: true }

/** A rule or rules for the pattern, and the outcomes of the condition for which somebody passes. */
interface Place {
  readonly rules: (condition: unknown, paths: readonly string[]) => readonly object[]
  readonly passes: readonly Outcome[]
}

const allowBeside = (rule: object, paths: readonly string[]) => [
  { allow: everyone, paths },
  { ...rule, paths },
]

/** Where a condition can stand. An allow needs proof, a deny needs disproof, and report mode does neither. */
const places: Readonly<Record<string, Place>> = {
  'allow-when': { passes: ['true'], rules: (condition, paths) => [{ allow: everyone, when: [condition], paths }] },
  'allow-unless': { passes: ['false'], rules: (condition, paths) => [{ allow: everyone, unless: [condition], paths }] },
  'deny-when': { passes: ['false'], rules: (condition, paths) => allowBeside({ deny: everyone, when: [condition] }, paths) },
  'deny-unless': { passes: ['true'], rules: (condition, paths) => allowBeside({ deny: everyone, unless: [condition] }, paths) },
  require: { passes: ['true'], rules: (condition, paths) => allowBeside({ require: [condition], for: everyone }, paths) },
  'require-unless': {
    passes: ['true'],
    rules: (condition, paths) => allowBeside({ require: [{ expression: 'false' }], for: everyone, unless: [condition] }, paths),
  },
  'reported-allow': {
    passes: [],
    rules: (condition, paths) => [{ allow: everyone, when: [condition], paths, mode: 'report' }],
  },
  'reported-deny': {
    passes: ['true', 'false', 'unknown'],
    rules: (condition, paths) => allowBeside({ deny: everyone, when: [condition], mode: 'report' }, paths),
  },
  'reported-require': {
    passes: ['true', 'false', 'unknown'],
    rules: (condition, paths) => allowBeside({ require: [condition], for: everyone, mode: 'report' }, paths),
  },
}

/** Where a selector can stand besides. */
const whoPlaces: Readonly<Record<string, Place>> = {
  allow: { passes: ['true'], rules: (who, paths) => [{ allow: who, paths }] },
  deny: { passes: ['false'], rules: (who, paths) => allowBeside({ deny: who }, paths) },
  for: { passes: ['false'], rules: (who, paths) => allowBeside({ require: [{ expression: 'false' }], for: who }, paths) },
  subject: { passes: ['true'], rules: (who, paths) => [{ allow: everyone, when: [{ subject: who }], paths }] },
  'not-subject': { passes: ['false'], rules: (who, paths) => [{ allow: everyone, unless: [{ subject: who }], paths }] },
}

/** What else narrows a rule: each key that is not met makes an allow no allow, and a deny no deny. */
const narrowings = {
  methods: { methods: ['POST', 'websocket'] },
  paths: { paths: ['/elsewhere/**'] },
  from: { from: '2900-01-01' },
  until: { until: '2020-01-01' },
  when: { when: [{ expression: 'false' }] },
  unless: { unless: [{ expression: 'true' }] },
  isReport: { mode: 'report' },
} satisfies Partial<Record<keyof Rule, object>>

interface Case {
  readonly path: string
  readonly asker: Asker
  readonly passes: boolean
  readonly what: string
}

const rules: object[] = [{ name: 'start', allow: { signed_in: true }, paths: ['/'] }]
const cases: Case[] = []
let lastPath = 0
const nextPath = () => `/case/${++lastPath}`

function addRules(path: string, made: readonly object[]): void {
  made.forEach((rule, index) => {
    rules.push({ name: `${path} ${index}`, paths: [path], ...rule })
  })
}

function addRow(kind: string, { condition, ...askers }: Row, where: Readonly<Record<string, Place>>): void {
  for (const [place, { rules: make, passes }] of Object.entries(where)) {
    const path = nextPath()
    addRules(path, make(condition, [path]))
    for (const [outcome, asker] of Object.entries(askers) as [Outcome, Asker][]) {
      cases.push({ path, asker, passes: passes.includes(outcome), what: `${kind}: ${JSON.stringify(condition)} ${outcome} in ${place}` })
    }
  }
}

for (const [kind, rows] of Object.entries(conditions)) for (const one of rows) addRow(kind, one, places)
for (const [kind, rows] of Object.entries(people)) for (const one of rows) addRow(kind, one, whoPlaces)
for (const [key, narrowing] of Object.entries(narrowings)) {
  const allowed = nextPath()
  addRules(allowed, [{ allow: everyone, ...narrowing }])
  cases.push({ path: allowed, asker: fits, passes: false, what: `an allow narrowed by ${key}` })
  const denied = nextPath()
  addRules(denied, [{ allow: everyone }, { deny: everyone, ...narrowing }])
  cases.push({ path: denied, asker: fits, passes: true, what: `a deny narrowed by ${key}` })
  const required = nextPath()
  addRules(required, [{ allow: everyone }, { require: [{ expression: 'false' }], for: everyone, ...narrowing }])
  cases.push({ path: required, asker: fits, passes: true, what: `a require narrowed by ${key}` })
}
{
  const opened = nextPath()
  addRules(opened, [{ allow: { public: true } }])
  cases.push({ path: opened, asker: nobody, passes: true, what: 'public' })
  const closed = nextPath()
  addRules(closed, [{ allow: { public: true } }, { deny: everyone }])
  cases.push({ path: closed, asker: nobody, passes: false, what: 'public beside a deny on everyone' })
  const nothing = nextPath()
  for (const asker of [fits, nobody, service]) cases.push({ path: nothing, asker, passes: false, what: 'no rule at all' })
  const strangers = nextPath()
  addRules(strangers, [{ allow: everyone }])
  cases.push({ path: strangers, asker: nobody, passes: false, what: 'an allow for everyone, and nobody signed in' })
}

describe('every kind of rule keeps somebody out', () => {
  let policy: PolicyRig
  beforeAll(async () => {
    policy = await startPolicyRig(({ issuer, networksFile: file }) => ({
      apps: [
        { id: 'app', rules: JSON.parse(JSON.stringify(rules).replaceAll('networks.txt', file)) },
        {
          id: 'trial',
          report: { until: '2900-01-01', pass: { groups: ['wanted'] } },
          rules: [
            { name: 'start', allow: { signed_in: true }, paths: ['/'] },
            { name: 'barred', deny: { everyone: true }, paths: ['/barred'] },
            { name: 'open', allow: { signed_in: true }, paths: ['/required'] },
            { name: 'required', require: [{ expression: 'false' }], paths: ['/required'] },
          ],
        },
        {
          id: 'past',
          report: { until: '2020-01-01', pass: { signed_in: true } },
          rules: [{ name: 'start', allow: { signed_in: true }, paths: ['/'] }],
        },
        { id: 'sibling', sensitivity: 'confidential', rules: [{ name: 'all', allow: { signed_in: true } }] },
      ],
      document: {
        levels: { named: { any_of: ['deeper'] }, deeper: wanted },
        services: callers(issuer),
        rules: [
          { name: 'by sensitivity', deny: { signed_in: true }, sensitivity: ['confidential'], paths: ['/by-sensitivity'] },
          { name: 'by app', deny: { signed_in: true }, apps: ['sibling'], paths: ['/by-app'] },
          { name: 'for all', deny: { signed_in: true }, paths: ['/for-all'] },
          { name: 'required by sensitivity', require: [wanted], sensitivity: ['confidential'], paths: ['/required'] },
        ],
      },
    }))
  })
  afterAll(() => policy?.stop())
  beforeEach(() => policy.rig.upstream('app').reset())
  afterEach(() => policy.check())

  attack('A240', 'POL', 'every kind of rule and condition, true, false and unknown', async () => {
    const statuses: Record<number, number> = {}
    const wrong: string[] = []
    const queue = [...cases.entries()]
    await Promise.all(
      Array.from({ length: 6 }, async () => {
        for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
          const [index, { path, asker, passes, what }] = next
          const answer = await policy.ask(asker, `GET ${path}?case=${index}`)
          const status = answer.statuses[0] ?? 0
          statuses[status] = (statuses[status] ?? 0) + 1
          const isExpected = passes ? status === 200 : status === 401 || status === 403
          if (!isExpected) wrong.push(`${what}: ${status} ${/^x-postern: (.*)$/im.exec(answer.text)?.[1] ?? ''}`)
        }
      }),
    )
    expect(wrong).toEqual([])
    const arrived = policy.rig
      .upstream('app')
      .requests()
      .map(({ target }) => Number(/case=(\d+)$/.exec(target)?.[1]))
    const expected = [...cases.entries()].filter(([, { passes }]) => passes).map(([index]) => index)
    // Signing in ends at `/`, which arrives as well.
    expect(arrived.filter((index) => !Number.isNaN(index)).sort((a, b) => a - b)).toEqual(expected)
    return `${cases.length} requests to ${lastPath} paths: ${Object.entries(statuses)
      .map(([status, count]) => `${count}× ${status}`)
      .join(', ')}`
  })

  attack('A240b', 'POL', 'rules for all apps, for some, for a sensitivity, and an app in report mode', async () => {
    const expected: readonly (readonly [asker: Asker, app: string, path: string, status: number])[] = [
      [fits, 'sibling', '/', 200],
      [fits, 'sibling', '/for-all', 403],
      [fits, 'sibling', '/by-app', 403],
      [fits, 'sibling', '/by-sensitivity', 403],
      [fits, 'sibling', '/required', 200],
      [differs, 'sibling', '/required', 403],
      [silent, 'sibling', '/required', 403],
      [fits, 'trial', '/unmentioned', 200],
      [differs, 'trial', '/unmentioned', 403],
      [silent, 'trial', '/unmentioned', 403],
      [nobody, 'trial', '/unmentioned', 401],
      [service, 'trial', '/unmentioned', 403],
      [fits, 'trial', '/required', 200],
      [differs, 'trial', '/required', 403],
      [fits, 'trial', '/barred', 403],
      [fits, 'trial', '/for-all', 403],
      [fits, 'past', '/', 200],
      [fits, 'past', '/unmentioned', 403],
    ]
    const seen: (readonly [Asker, string, string, number])[] = []
    for (const [asker, app, path] of expected) {
      seen.push([asker, app, path, (await policy.ask(asker, `GET ${path}`, { app })).statuses[0] ?? 0])
    }
    expect(seen).toEqual(expected)
    return `${expected.length} requests as expected; denies hold in report mode`
  })
})
