/** A decision from its line: the very facts that it was made from, and none where the line does not hold them whole. */

import { describe, expect, it } from 'vitest'
import type { AuditEvent } from '../audit/event.ts'
import type { TrailLine } from '../audit/find-decision.ts'
import { formatAuditLine } from '../audit/line.ts'
import { createFactsLedger } from '../audit/recorded-facts.ts'
import type { Facts } from '../policy/facts.ts'
import { environmentWith, facts, now, person, service } from '../policy/policy.fixture.ts'
import { readRecordedDecision } from './recorded-decision.ts'

type Decided = Extract<AuditEvent, { event: 'access.decided' }>

const country = { known: true, value: 'DE' } as const
const unknownAsn = { known: false, why: 'not_gathered' } as const
const client = {
  browser: { known: true, value: 'firefox' },
  browserVersion: { known: true, value: '140.0' },
  os: { known: false, why: 'not_stated' },
} as const

const given: Facts = {
  ...facts(person(), { method: 'GET', methodClass: 'websocket', path: '/a%20b/c' }),
  signIn: {
    known: true,
    value: { at: { known: true, value: now - 5 }, acr: { known: true, value: '2' }, amr: { known: false, why: 'claim_absent' } },
  },
  environment: environmentWith({ country, asn: unknownAsn, client, tlsVersion: { known: true, value: 'TLSv1.3' } }),
}

/** Through the trail and back. */
function throughTrail(from: Facts, changes: Partial<Decided> = {}) {
  const texts = new Map<string, string>()
  const ledger = createFactsLedger(({ hash, facts: text }) => void texts.set(hash, text))
  const hashes = ledger.refer(from, [['department'], ['azp']])
  const event: Decided = {
    event: 'access.decided',
    request: 'r1',
    host: 'wiki.corp.example',
    method: from.request.method,
    path: from.request.path,
    query: undefined,
    policy: 'sha256-1',
    address: from.environment.address,
    userAgent: undefined,
    subject: { kind: 'nobody' },
    session: undefined,
    app: 'wiki',
    effect: 'allow',
    reason: 'rule_matched',
    rule: 'staff',
    claimsAt: from.subject.kind === 'person' ? from.subject.claimsAt : undefined,
    claimsState: undefined,
    decidedAt: from.environment.at,
    methodClass: from.request.methodClass,
    facts: hashes,
    tlsVersion: 'TLSv1.3',
    circumstances: JSON.stringify({ country, client }),
    ...changes,
  }
  const decided = JSON.parse(formatAuditLine(event, now + 7, 'one')) as TrailLine
  const { device, signIn, subject } = hashes
  const found = { subject: texts.get(subject), signIn: texts.get(signIn), device: texts.get(device) }
  return readRecordedDecision({ decided, facts: found }, 'https')
}

describe('a recorded decision', () => {
  it('comes back with the facts that it was made from', () => {
    expect(throughTrail(given).facts).toEqual(given)
    expect(throughTrail({ ...given, subject: service }).facts).toEqual({ ...given, subject: service })
  })

  it('was made at the instant of the decision, not at that of its line', () => {
    expect(throughTrail(given).at).toBe(now)
  })

  it('has a path that is not whole where it did not fit its line', () => {
    const path = `/${'a'.repeat(3000)}`
    expect(throughTrail({ ...given, request: { ...given.request, path } }).evidence).toMatchObject({ isPathWhole: false })
    expect(throughTrail(given).evidence).toMatchObject({ isPathWhole: true })
  })

  it('guesses no circumstances that the line does not hold', () => {
    const { environment } = throughTrail(given, { circumstances: undefined, tlsVersion: undefined }).facts ?? given
    const unknown = { known: false, why: 'not_gathered' }
    expect(environment).toMatchObject({ country: unknown, asn: unknown, tlsVersion: unknown, client: { browser: unknown } })
    expect(throughTrail(given, { circumstances: '{"country":' }).facts?.environment.country).toEqual(unknown)
  })
})
