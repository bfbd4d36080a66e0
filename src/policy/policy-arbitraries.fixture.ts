/** Generated policies and facts for property tests: small vocabularies, so that rules and facts meet often. */

import fc from 'fast-check'
import type { CompanyRule, Condition, Level, PolicyDocument, Rule, Who } from './document.ts'
import type { Device, Facts, Known, SignIn, SubjectFacts } from './facts.ts'
import { expressions } from './naive-decision.fixture.ts'
import {
  appWith,
  deviceCondition,
  documentWith,
  level,
  mfa,
  networkCondition,
  now,
  phishingResistant,
  signInCondition,
  timeCondition,
} from './policy.fixture.ts'

const groups = ['staff', 'admins', 'contractors']
const emails = ['alice@corp.example', 'BOB@corp.example', 'eve@evil.example']
const claimValues = ['finance', 1, true]

const selector = (verb: Rule['verb'] | 'condition'): fc.Arbitrary<Who> =>
  fc.oneof(
    fc.constant<Who>(verb === 'allow' ? { kind: 'public' } : { kind: 'everyone' }),
    fc.constant<Who>({ kind: 'everyone' }),
    { weight: 2, arbitrary: fc.constant<Who>({ kind: 'signed_in' }) },
    fc.subarray(emails, { minLength: 1 }).map((some): Who => ({ kind: 'users', emails: some })),
    fc.subarray(['corp.example', 'evil.example'], { minLength: 1 }).map((domains): Who => ({ kind: 'domains', domains })),
    fc.subarray(groups, { minLength: 1 }).map((some): Who => ({ kind: 'groups', groups: some })),
    fc.subarray(['billing', 'nightly'], { minLength: 1 }).map((names): Who => ({ kind: 'services', names })),
    fc
      .tuple(fc.constantFrom('department', 'level', '__proto__', 'toString'), fc.subarray(claimValues, { minLength: 1 }))
      .map(([path, values]): Who => ({ kind: 'claims', claims: [{ path: [path], values }] })),
  )

const whoOf = (verb: Rule['verb'] | 'condition'): fc.Arbitrary<Who> => {
  const list = fc.array(selector(verb), { minLength: 1, maxLength: 3 })
  return fc.oneof(
    { weight: 6, arbitrary: selector(verb) },
    { weight: 1, arbitrary: list.map((of): Who => ({ kind: 'any_of', of })) },
    { weight: 1, arbitrary: list.map((of): Who => ({ kind: 'all_of', of })) },
  )
}

/** Five of them, so that a test can try every set. */
const signInConditions: fc.Arbitrary<Condition> = fc.constantFrom(
  signInCondition({ strength: mfa }),
  signInCondition({ strength: mfa, withinSeconds: 3600 }),
  signInCondition({ strength: phishingResistant }),
  signInCondition({ withinSeconds: 900 }),
  signInCondition({ acr: ['mfa', 'phishing_resistant'], amr: ['otp'] }),
)

const leaves: fc.Arbitrary<Condition> = fc.oneof(
  { weight: 5, arbitrary: signInConditions },
  fc.constantFrom(
    deviceCondition({ managed: true }),
    deviceCondition({ managed: false }),
    deviceCondition({ managed: true, diskEncrypted: true, reportedWithinSeconds: 3600 }),
  ),
  fc.constantFrom(
    networkCondition({ cidrs: ['10.0.0.0/8'] }),
    networkCondition({ cidrs: ['192.0.2.0/24', '10.0.0.0/8'] }),
    networkCondition({ countries: ['DE', 'FR'] }),
    networkCondition({ cidrs: ['192.0.2.0/24'], countries: ['DE'] }),
  ),
  fc.constantFrom(
    timeCondition({ days: ['fri', 'sat'] }),
    timeCondition({ between: [{ from: 420, to: 1200 }] }),
    timeCondition({ days: ['mon'], between: [{ from: 0, to: 1440 }] }),
  ),
  fc.constant<Condition>({ kind: 'client', browsers: ['firefox'], browserVersion: undefined, os: undefined }),
  fc.constantFrom(...Object.keys(expressions)).map((source): Condition => ({ kind: 'expression', source })),
  whoOf('condition').map((who): Condition => ({ kind: 'subject', who })),
)

/** `l0` stands on nothing, each further level on leaves and those before it. */
const levelNames = ['l0', 'l1', 'l2']

const conditionOn = (names: readonly string[], depth: number): fc.Arbitrary<Condition> => {
  const base = names.length === 0 ? leaves : fc.oneof({ weight: 3, arbitrary: leaves }, fc.constantFrom(...names).map(level))
  if (depth === 0) return base
  const inner = conditionOn(names, depth - 1)
  const list = fc.array(inner, { minLength: 1, maxLength: 3 })
  return fc.oneof(
    { weight: 4, arbitrary: base },
    list.map((of): Condition => ({ kind: 'all_of', of })),
    list.map((of): Condition => ({ kind: 'any_of', of })),
    inner.map((of): Condition => ({ kind: 'not', of })),
  )
}

const levels: fc.Arbitrary<readonly Level[]> = fc
  .tuple(...levelNames.map((_, index) => conditionOn(levelNames.slice(0, index), 1)))
  .map((conditions) => conditions.map((condition, index) => ({ name: `l${index}`, condition })))

const condition = conditionOn(levelNames, 2)

const methods = fc
  .record({ names: fc.subarray(['GET', 'POST', 'DELETE']), classes: fc.subarray(['read', 'write', 'websocket'] as const) })
  .filter((some) => some.names.length + some.classes.length > 0)

const rarely = <Value>(arbitrary: fc.Arbitrary<Value>) => fc.option(arbitrary, { nil: undefined, freq: 2 })
const seldom = <Value>(arbitrary: fc.Arbitrary<Value>) =>
  fc.oneof({ weight: 6, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary })

/** The day of `now`, and its neighbours. */
const days = fc.constantFrom('2027-01-14', '2027-01-15', '2027-01-16')

/** A rule of this verb, in force or not. */
export const ruleOf = (verb: Rule['verb']): fc.Arbitrary<Rule> =>
  fc.record({
    name: fc.constant('further'),
    verb: fc.constant(verb),
    who: whoOf(verb),
    require: verb === 'require' ? fc.array(condition, { minLength: 1, maxLength: 2 }) : fc.constant([]),
    when: fc.array(condition, { maxLength: 2 }),
    unless: fc.oneof({ weight: 2, arbitrary: fc.constant([]) }, fc.array(condition, { maxLength: 2 })),
    from: seldom(days),
    until: seldom(days),
    isReport: fc.oneof({ weight: 7, arbitrary: fc.constant(false) }, fc.constant(true)),
    isAlert: fc.boolean(),
    methods: rarely(methods),
    paths: rarely(fc.subarray(['/**', '/a', '/a/**', '/b'], { minLength: 1 })),
  })

const rules: fc.Arbitrary<readonly Rule[]> = fc
  .array(
    fc.oneof(
      { weight: 4, arbitrary: ruleOf('allow') },
      { weight: 1, arbitrary: ruleOf('deny') },
      { weight: 1, arbitrary: ruleOf('require') },
    ),
    { maxLength: 6 },
  )
  .map((some) => some.map((one, index) => ({ ...one, name: `rule ${index}` })))

const report = seldom(fc.record({ until: rarely(days), pass: whoOf('condition') }))

/** One app with rules of its own and from the top level, and three levels. */
export const documents: fc.Arbitrary<PolicyDocument> = fc
  .record({ rules, levels, report, places: fc.nat() })
  .map(({ rules: some, levels: named, report: mode, places }) => {
    const isCompany = (index: number) => ((places >> index) & 1) === 1
    const company = some
      .filter((_, index) => isCompany(index))
      .map((one): CompanyRule => ({ ...one, apps: ['wiki'], sensitivity: undefined }))
    const own = some.filter((_, index) => !isCompany(index))
    return documentWith([appWith(own, { report: mode })], company, named)
  })

const unknown = fc
  .constantFrom('claim_absent', 'email_unverified', 'claims_too_old', 'groups_overage')
  .map((why) => ({ known: false, why }) as const)
const notGathered = { known: false, why: 'not_gathered' } as const
const knownOr = <Value>(value: fc.Arbitrary<Value>): fc.Arbitrary<Known<Value>> =>
  fc.oneof({ weight: 3, arbitrary: value.map((one) => ({ known: true, value: one }) as const) }, fc.constant(notGathered))

const claimSets = fc.record(
  {
    department: fc.constantFrom<unknown>('finance', 'sales', ['sales', 'finance'], null, {}),
    level: fc.constantFrom<unknown>(1, '1', true, []),
  },
  { requiredKeys: [] },
)

const people: fc.Arbitrary<SubjectFacts> = fc.record({
  kind: fc.constant('person' as const),
  issuer: fc.constant('https://op.example'),
  sub: fc.constant('u1'),
  email: fc.oneof(
    {
      weight: 3,
      arbitrary: fc
        .constantFrom('alice@corp.example', 'Bob@CORP.example', 'eve@evil.example', 'a@corp.example@evil.example')
        .map((value): Known<string> => ({ known: true, value })),
    },
    unknown,
  ),
  groups: fc.oneof(
    { weight: 3, arbitrary: fc.subarray(groups).map((value): Known<readonly string[]> => ({ known: true, value })) },
    unknown,
  ),
  claims: fc.oneof({ weight: 3, arbitrary: claimSets.map((value) => ({ known: true, value }) as const) }, unknown),
  claimsAt: fc.constant(now - 60_000),
})

const signIns: fc.Arbitrary<Known<SignIn>> = knownOr(
  fc.record({
    at: knownOr(fc.constantFrom(60, 1800, 7200).map((seconds) => now - seconds * 1000)),
    acr: knownOr(fc.constantFrom('1', 'mfa', 'phishing_resistant')),
    amr: knownOr(fc.subarray(['pwd', 'otp', 'hwk'], { minLength: 1 })),
  }),
)

const attribute = fc
  .record({ value: fc.boolean(), minutes: fc.constantFrom(5, 90, 3000) })
  .map(({ value, minutes }) => ({ value, source: 'report', at: now - minutes * 60_000 }) as const)

const devices: fc.Arbitrary<Known<Device>> = knownOr(
  fc
    .record({ managed: attribute, disk_encrypted: attribute }, { requiredKeys: [] })
    .map((attributes) => ({ id: 'd1', identifiedBy: 'certificate', isKnown: true, serial: undefined, tags: [], attributes }) as const),
)

const requests = fc
  .tuple(
    fc.constantFrom(
      { method: 'GET', methodClass: 'read' } as const,
      { method: 'GET', methodClass: 'websocket' } as const,
      { method: 'POST', methodClass: 'write' } as const,
      { method: 'DELETE', methodClass: 'write' } as const,
    ),
    fc.constantFrom('/', '/a', '/A', '/a/x', '/b', '/c'),
  )
  .map(([request, path]): Facts['request'] => ({ ...request, path }))

const environments = fc.record({
  address: fc.constantFrom('192.0.2.1', '10.1.2.3', '203.0.113.9'),
  at: fc.constantFrom(now, now, now + 14 * 3_600_000),
  country: knownOr(fc.constantFrom('DE', 'US', undefined)),
  asn: fc.constant(notGathered),
  scheme: fc.constant('https' as const),
  tlsVersion: fc.constant(notGathered),
  client: knownOr(fc.constantFrom('firefox', 'chrome')).map((browser) => ({ browser, browserVersion: notGathered, os: notGathered })),
})

const circumstances = { request: requests, environment: environments }
const ofNobody = fc.constant({ known: false, why: 'not_a_person' } as const)

/** What could be known about a request: of people, and rarely of services and of nobody, who have neither sign-in nor device. */
export const anyFacts: fc.Arbitrary<Facts> = fc.oneof(
  {
    weight: 1,
    arbitrary: fc.record({ subject: fc.constant<SubjectFacts>({ kind: 'nobody' }), signIn: ofNobody, device: ofNobody, ...circumstances }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      subject: fc.record({
        kind: fc.constant('service' as const),
        names: fc.subarray(['billing', 'nightly']),
        issuer: fc.constant('https://auth.example.com'),
        claims: claimSets,
      }),
      signIn: ofNobody,
      device: ofNobody,
      ...circumstances,
    }),
  },
  { weight: 6, arbitrary: fc.record({ subject: people, signIn: signIns, device: devices, ...circumstances }) },
)

/** A fact that may go missing. */
export const losses = fc.constantFrom(
  'email',
  'groups',
  'claims',
  'signIn',
  'at',
  'acr',
  'amr',
  'device',
  'attributes',
  'country',
  'browser',
)

/** The same request, less one fact. */
export function withoutFact(given: Facts, loss: string): Facts {
  const lost = { known: false, why: 'claim_absent' } as const
  const { subject, signIn, device, environment } = given
  switch (loss) {
    case 'email':
    case 'groups':
    case 'claims':
      return subject.kind === 'person' ? { ...given, subject: { ...subject, [loss]: lost } } : given
    case 'at':
    case 'acr':
    case 'amr':
      return signIn.known ? { ...given, signIn: { known: true, value: { ...signIn.value, [loss]: lost } } } : given
    case 'attributes':
      return device.known ? { ...given, device: { known: true, value: { ...device.value, attributes: {} } } } : given
    case 'country':
      return { ...given, environment: { ...environment, country: lost } }
    case 'browser':
      return { ...given, environment: { ...environment, client: { ...environment.client, browser: lost } } }
    default:
      return { ...given, [loss]: lost }
  }
}
