/** What a record lacks, and whether that matters: a decision that is made again is the one that the whole facts would have given, or none. */

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { AuditEvent } from '../audit/event.ts'
import { formatAuditLine } from '../audit/line.ts'
import { createFactsLedger, createRecordedFactsReader } from '../audit/recorded-facts.ts'
import { createRedaction } from '../audit/redaction.ts'
import type { TrailLine } from '../audit/trail-files.ts'
import { collectAskedFacts } from '../policy/asked-facts.ts'
import { compilePolicy } from '../policy/compile.ts'
import { decide } from '../policy/decide.ts'
import type { Condition, PolicyDocument, Rule, Who } from '../policy/document.ts'
import type { Facts, RedactedField } from '../policy/facts.ts'
import {
  appWith,
  clientCondition,
  deviceCondition,
  documentWith,
  environmentWith,
  facts,
  networkCondition,
  now,
  person,
  reportedDevice,
  rule,
  service,
  signInCondition,
  timeCondition,
} from '../policy/policy.fixture.ts'
import { anyFacts, documents } from '../policy/policy-arbitraries.fixture.ts'
import { createDecisionReader, type Evidence } from './recorded-decision.ts'
import { findGap, type Gap } from './recorded-gaps.ts'

type Decided = Extract<AuditEvent, { event: 'access.decided' }>

interface Recording {
  readonly claimPaths?: readonly (readonly string[])[]
  readonly redact?: readonly RedactedField[]
  /** A rule of the app asked for the browser. */
  readonly isClientAsked?: boolean
  readonly changes?: Partial<Decided>
}

/** Recorded as the data plane does, written as a line, read back. */
function throughTrail(given: Facts, { changes, claimPaths = [], isClientAsked = true, redact = [] }: Recording = {}): Evidence {
  const redaction = createRedaction({ fields: redact, groupClaims: [['groups']] })
  const reader = createRecordedFactsReader()
  const ledger = createFactsLedger(({ hash, facts: text }) => reader.add(hash, text))
  const recorded = redaction.subject(given.subject, claimPaths)
  const { address, asn, at, client, country } = redaction.environment(given.environment)
  const isGathered = (fact: Facts['environment']['country' | 'asn']) => fact.known || fact.why !== 'not_gathered'
  const event: Decided = {
    event: 'access.decided',
    request: 'r1',
    host: 'wiki.corp.example',
    method: given.request.method,
    path: given.request.path,
    query: undefined,
    policy: 'sha256-1',
    address: address === '' ? undefined : address,
    userAgent: undefined,
    subject: { kind: given.subject.kind },
    session: undefined,
    app: 'wiki',
    effect: 'allow',
    reason: 'rule_matched',
    rule: 'staff',
    claimsAt: given.subject.kind === 'person' ? given.subject.claimsAt : undefined,
    claimsState: undefined,
    decidedAt: at,
    methodClass: given.request.methodClass,
    facts: ledger.refer({ ...given, subject: recorded.subject }, recorded.claimPaths),
    circumstances: JSON.stringify({
      ...(isGathered(country) ? { country } : {}),
      ...(isGathered(asn) ? { asn } : {}),
      ...(isClientAsked ? { client } : {}),
    }),
    ...changes,
  }
  const line = JSON.parse(formatAuditLine(event, now + 7, 'one')) as TrailLine
  const { evidence } = createDecisionReader('https')(line, reader)
  if (typeof evidence === 'string') throw new Error(`the evidence is ${evidence}`)
  return evidence
}

function askedOf(document: PolicyDocument) {
  const asked = collectAskedFacts(document).get('wiki')
  const app = compilePolicy(document).apps.get('wiki')
  if (asked === undefined || app === undefined) throw new Error('the app is missing')
  return { app, asked }
}

describe('a recorded request', () => {
  const runs = process.env['POSTERN_TEST_LONG'] === undefined ? 400 : 20_000
  const fields: readonly RedactedField[] = ['email', 'address', 'user_agent', 'groups', 'claims', 'country', 'asn']

  it('has all that is needed for the policy that it was recorded under', () => {
    fc.assert(
      fc.property(documents, anyFacts, (document, given) => {
        const { app, asked } = askedOf(document)
        // What the rules ask for was looked up; what was looked up may have been unknown.
        const gathered = withNothingUngathered(given)
        const evidence = throughTrail(gathered, { claimPaths: compilePolicy(document).claimPaths })
        expect(findGap(evidence, asked)).toBeUndefined()
        expect(decide(app, evidence.facts)).toEqual(decide(app, gathered))
      }),
      { numRuns: runs },
    )
  })

  it('is decided under another policy as on the whole facts, or not at all, whatever was kept out of the record', () => {
    let decided = 0
    let undecided = 0
    const recordings = fc.record({
      redact: fc.subarray([...fields], { maxLength: 2 }),
      isClientAsked: fc.boolean(),
      isPathCut: fc.boolean(),
    })
    fc.assert(
      fc.property(documents, documents, anyFacts, recordings, (then, other, given, { isPathCut, ...recording }) => {
        const { app, asked } = askedOf(other)
        const changes = isPathCut ? { path: '/…', pathRedacted: 'first_segment' as const } : {}
        const evidence = throughTrail(given, { ...recording, changes, claimPaths: compilePolicy(then).claimPaths })
        if (findGap(evidence, asked) !== undefined) {
          undecided += 1
          return
        }
        decided += 1
        expect(decide(app, evidence.facts)).toEqual(decide(app, given))
      }),
      { numRuns: runs * 5 },
    )
    // Both happen often enough for the property to say something.
    expect(Math.min(decided, undecided)).toBeGreaterThan(runs / 4)
  })
})

const unknown = { known: false, why: 'no_database' } as const

function withNothingUngathered(given: Facts): Facts {
  const { device, environment } = given
  const settled = <T extends { readonly known: boolean }>(fact: T) => (fact.known ? fact : unknown)
  return {
    ...given,
    device: device.known || device.why !== 'not_gathered' ? device : { known: false, why: 'no_device' },
    environment: { ...environment, country: settled(environment.country), asn: settled(environment.asn) },
  }
}

describe('what a record lacks', () => {
  const staff: Who = { kind: 'groups', groups: ['staff'] }
  const everybody: Who = { kind: 'signed_in' }
  const given: Facts = {
    ...facts(person({ claims: { known: true, value: { department: 'finance', org: { unit: 'x' } } } })),
    device: reportedDevice({ managed: true }),
    environment: environmentWith({ country: { known: true, value: 'DE' }, asn: { known: true, value: 64_500 } }),
  }
  const notGathered = { known: false, why: 'not_gathered' } as const
  const expression = (source: string): Condition => ({ kind: 'expression', source })
  const claims = (...path: readonly string[]): Who => ({ kind: 'claims', claims: [{ path, values: ['x'] }] })
  const when = (condition: Condition): Rule => rule('allow', everybody, { when: [condition] })

  function gapOf(rules: readonly Rule[], from: Facts, recording: Recording = {}, levels: PolicyDocument['levels'] = []) {
    return findGap(throughTrail(from, recording), askedOf(documentWith([appWith(rules)], [], levels)).asked)
  }

  const cases: readonly [gap: Gap, what: string, one: Rule, recorded: readonly [from: Facts, recording: Recording]][] = [
    ['email_redacted', 'a list of users', rule('allow', { kind: 'users', emails: ['a@b.example'] }), [given, { redact: ['email'] }]],
    ['email_redacted', 'domains', rule('deny', { kind: 'domains', domains: ['b.example'] }), [given, { redact: ['email'] }]],
    ['email_redacted', 'an expression', when(expression("subject.email == 'x'")), [given, { redact: ['email'] }]],
    ['groups_redacted', 'groups', rule('allow', staff), [given, { redact: ['groups'] }]],
    ['groups_redacted', 'a nested selector', rule('allow', { kind: 'all_of', of: [everybody, staff] }), [given, { redact: ['groups'] }]],
    [
      'groups_redacted',
      'an `unless`',
      rule('allow', everybody, { unless: [{ kind: 'subject', who: staff }] }),
      [given, { redact: ['groups'] }],
    ],
    ['claims_redacted', 'a claim', rule('allow', claims('department')), [given, { redact: ['claims'] }]],
    ['claim_not_recorded', 'a claim', rule('allow', claims('department')), [given, { claimPaths: [['org']] }]],
    ['claim_not_recorded', 'an expression', when(expression("subject.claims.org.unit == 'x'")), [given, { claimPaths: [['org', 'unit']] }]],
    [
      'claim_not_recorded',
      "a service's claim",
      rule('allow', claims('scope')),
      [{ ...given, ...facts(service) }, { claimPaths: [['azp']] }],
    ],
    ['address_redacted', 'a network', when(networkCondition({ cidrs: ['10.0.0.0/8'] })), [given, { redact: ['address'] }]],
    ['country_not_recorded', 'a country', when(networkCondition({ countries: ['DE'] })), [given, { redact: ['country'] }]],
    ['asn_not_recorded', 'a network by number', when(networkCondition({ asns: [64_500] })), [given, { redact: ['asn'] }]],
    ['device_not_recorded', 'a device', when(deviceCondition({ managed: true })), [{ ...given, device: notGathered }, {}]],
    ['device_not_recorded', 'an expression', when(expression('device.managed')), [{ ...given, device: notGathered }, {}]],
    ['client_not_recorded', 'a browser', when(clientCondition({ browsers: ['firefox'] })), [given, { isClientAsked: false }]],
    ['client_not_recorded', 'a browser', when(clientCondition({ browsers: ['firefox'] })), [given, { redact: ['user_agent'] }]],
    ['path_incomplete', 'paths', rule('allow', everybody, { paths: ['/a/**'] }), [given, { changes: { path: '/a/…' } }]],
    [
      'path_incomplete',
      'an expression',
      when(expression("request.path == '/a'")),
      [given, { changes: { path: '', pathRedacted: 'none' } }],
    ],
  ]
  it.each(cases)('is a gap, %s, where a rule asks for it: %s', (gap, _, one, [from, recording]) => {
    expect(gapOf([one], from, recording)).toBe(gap)
    // It is that fact, and no other rule is touched by it.
    expect(
      gapOf([rule('allow', everybody), when(timeCondition({ days: ['mon'] })), when(signInCondition({ acr: ['1'] }))], from, recording),
    ).toBeUndefined()
  })

  it('is found through levels that name each other', () => {
    const levels = [
      { name: 'inner', condition: deviceCondition({ managed: true }) },
      { name: 'outer', condition: { kind: 'not', of: { kind: 'level', name: 'inner' } } as const },
    ]
    const one = when({ kind: 'any_of', of: [{ kind: 'level', name: 'outer' }] })
    expect(gapOf([one], { ...given, device: notGathered }, {}, levels)).toBe('device_not_recorded')
    expect(gapOf([one], given, {}, levels)).toBeUndefined()
  })

  it.each(['{"country":5,"asn":{},"client":{}}', '{"country":null,"client":{"browser":{"known":true}}}', '[]', '7'])(
    'is what has another form than any that is written: %s',
    (circumstances) => {
      const recording: Recording = { isClientAsked: false, changes: { circumstances } }
      expect(gapOf([when(networkCondition({ countries: ['DE'] }))], given, recording)).toBe('country_not_recorded')
      expect(gapOf([when(networkCondition({ asns: [64_500] }))], given, recording)).toBe('asn_not_recorded')
      expect(gapOf([when(clientCondition({ browsers: ['firefox'] }))], given, recording)).toBe('client_not_recorded')
    },
  )

  it.each([
    '{"kind":"person"}',
    '{"kind":"person","email":{},"groups":{"known":true},"claims":{"known":true,"value":[5]}}',
    '{"kind":"x"}',
  ])('is everything where a subject has another form: %s', (text) => {
    const reader = createRecordedFactsReader()
    const known = '{"known":false,"why":"no_device"}'
    for (const [hash, facts] of [
      ['s', text],
      ['i', known],
      ['d', known],
      ['odd', '{"known":true}'],
    ] as const)
      reader.add(hash, facts)
    expect(reader.restore({ subject: 's', signIn: 'i', device: 'd' }, now)).toBe('unreadable')
    reader.add('nobody', '{"kind":"nobody"}')
    expect(reader.restore({ subject: 'nobody', signIn: 'i', device: 'd' }, now)).toMatchObject({ subject: { kind: 'nobody' } })
    expect(reader.restore({ subject: 'nobody', signIn: 'odd', device: 'd' }, now)).toBe('unreadable')
  })

  it('is none where it was looked up and not known: nobody would have known it', () => {
    const from: Facts = {
      ...given,
      subject: person({ groups: { known: false, why: 'groups_overage' }, claims: { known: false, why: 'claims_too_old' } }),
      device: { known: false, why: 'no_device' },
      environment: environmentWith({ country: unknown, asn: unknown }),
    }
    const rules = [
      rule('allow', staff),
      rule('deny', claims('department')),
      when(deviceCondition({ managed: true })),
      when(networkCondition({ countries: ['DE'] })),
    ]
    expect(gapOf(rules, from)).toBeUndefined()
  })

  it('is none of services and strangers, who have no groups and no device', () => {
    const rules = [rule('allow', staff), when(deviceCondition({ managed: true }))]
    expect(gapOf(rules, facts(service), { redact: ['groups', 'email'] })).toBeUndefined()
    expect(gapOf(rules, facts({ kind: 'nobody' }), { redact: ['groups', 'email'] })).toBeUndefined()
  })

  it('is no claim that was looked for and absent, and no part of one that was recorded whole', () => {
    const asks = [rule('allow', claims('team')), when(expression('has(subject.claims.org.unit)'))]
    expect(gapOf(asks, given, { claimPaths: [['team'], ['org']] })).toBeUndefined()
    expect(gapOf(asks, given, { claimPaths: [['org']] })).toBe('claim_not_recorded')
  })

  it('is read from the user agent where no rule asked for the browser then', () => {
    const one = [when(clientCondition({ browsers: ['firefox'] }))]
    const firefox = 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0'
    const recording = (userAgent: string): Recording => ({ isClientAsked: false, changes: { userAgent } })
    expect(gapOf(one, given, recording(firefox))).toBeUndefined()
    expect(throughTrail(given, recording(firefox)).facts.environment.client.browser).toEqual({ known: true, value: 'firefox' })
    // So long a one was never read, then or now; one that an older line cut may have been.
    expect(gapOf(one, given, recording(firefox.padEnd(900, 'x')))).toBeUndefined()
    expect(gapOf(one, given, recording(`${firefox.slice(0, 30)}…`))).toBe('client_not_recorded')
  })
})
