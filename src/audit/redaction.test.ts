/** What is kept out of the trail is out of every event and of every fact, and the rest is as it was. */

import { describe, expect, test } from 'vitest'
import { environmentWith, person, reportedDevice, service } from '../policy/policy.fixture.ts'
import type { AuditEvent } from './event.ts'
import { createRedaction, redactTrail } from './redaction.ts'

const redacted = { known: false, why: 'redacted' }
const paths = [['department'], ['email'], ['realm_access', 'roles']]
const claims = { known: true, value: { department: 'finance', email: 'alice@corp.example', realm_access: { roles: ['staff'] } } } as const
const alice = person({ claims })
const make = (...fields: Parameters<typeof createRedaction>[0]['fields']) =>
  createRedaction({ fields, groupClaims: [['groups'], ['realm_access', 'roles']] })

describe('of a subject', () => {
  test('nothing is left out where nothing is named', () => {
    const recorded = make().subject(alice, paths)
    expect(recorded.subject).toBe(alice)
    expect(recorded.claimPaths).toBe(paths)
  })

  test('the e-mail address goes with the claim that holds it, and with every claim that names it', () => {
    const { claimPaths, subject } = make('email').subject(alice, paths)
    expect(subject).toMatchObject({ kind: 'person', sub: 'u1', email: redacted, groups: { known: true }, claims })
    expect(claimPaths).toEqual([['department'], ['realm_access', 'roles']])
    const named = person({ claims: { known: true, value: { upn: ['x', 'Alice@corp.example'] } } })
    expect(make('email').subject(named, [['upn']]).subject).toMatchObject({ claims: redacted })
    expect(make('email').subject(service, [['azp'], ['email']]).claimPaths).toEqual([['azp']])
    const mailing = { ...service, claims: { owner: 'ops@corp.example' } } as typeof service
    expect(make('email').subject(mailing, [['owner']]).claimPaths).toEqual([])
  })

  test('the e-mail address goes with groups that are called by it, and mailing lists stay', () => {
    const email = { known: true, value: 'alice@corp.example' } as const
    const groupsOf = (...value: readonly string[]) => make('email').subject(person({ email, groups: { known: true, value } }), []).subject
    expect(groupsOf('staff', '/people/Alice@corp.example')).toMatchObject({ groups: redacted })
    expect(groupsOf('team@corp.example')).toMatchObject({ groups: { known: true } })
  })

  test('groups go with the claims that they come from', () => {
    const { claimPaths, subject } = make('groups').subject(alice, paths)
    expect(subject).toMatchObject({ groups: redacted, email: { known: true } })
    expect(claimPaths).toEqual([['department'], ['email']])
    expect(make('groups').subject(alice, [['realm_access']]).claimPaths).toEqual([])
  })

  test('claims go altogether', () => {
    expect(make('claims').subject(alice, paths)).toMatchObject({ subject: { claims: redacted }, claimPaths: [] })
    expect(make('claims').subject(service, paths).claimPaths).toEqual([])
  })

  test('what was not known stays not known', () => {
    const email = { known: false, why: 'email_unverified' } as const
    expect(make('email').subject(person({ email }), []).subject).toMatchObject({ email })
  })

  test('the answer is the same object again, as the ledger needs it', () => {
    const redaction = make('groups')
    const first = redaction.subject(alice, paths)
    const again = redaction.subject(alice, paths)
    expect(again.subject).toBe(first.subject)
    expect(again.claimPaths).toBe(first.claimPaths)
    expect(redaction.subject(person(), paths).claimPaths).toBe(first.claimPaths)
  })
})

test('a device goes where it names an e-mail address, and else stays', () => {
  const named = reportedDevice({ owner: 'alice@corp.example' })
  const unnamed = reportedDevice({ owner: 'finance' })
  expect(make('email').device(named)).toEqual(redacted)
  expect(make('email').device(unnamed)).toBe(unnamed)
  expect(make('claims', 'groups').device(named)).toBe(named)
})

test('what was locked stays, also where a provider identifies people by their address', () => {
  const lock = { event: 'lock.set', actor: 'a', on: 'subject', target: 'alice@x', label: 'alice@x', until: undefined, reason: 'x' } as const
  expect(make('email').event(lock)).toMatchObject({ target: 'alice@x', label: '*' })
})

test('of circumstances the place, the address and the browser can go', () => {
  const given = environmentWith({ country: { known: true, value: 'DE' }, asn: { known: true, value: 1 } })
  expect(make('groups').environment(given)).toBe(given)
  expect(make('country').environment(given)).toEqual({ ...given, country: redacted })
  const client = { browser: redacted, browserVersion: redacted, os: redacted }
  expect(make('address', 'asn', 'user_agent').environment(given)).toEqual({ ...given, address: '', asn: redacted, client })
})

describe('a trail that redacts', () => {
  const subject = { kind: 'person', issuer: 'https://op.example', sub: 'u1', email: 'alice@corp.example' } as const
  const address = '203.0.113.9'
  const events: readonly AuditEvent[] = [
    { event: 'session.started', request: 'r', session: 's', subject, address, acr: undefined, amr: [] },
    { event: 'session.ended', request: 'r', session: 's', subject, address, cause: 'revoked' },
    { event: 'sign_in.failed', request: 'r', reason: 'provider_refused', error: undefined, address },
    { event: 'lock.set', actor: 'os:ada@bastion', on: 'subject', target: 'u1', label: 'alice@corp.example', until: undefined, reason: 'x' },
    { event: 'sessions.revoked', actor: 'os:ada@bastion', sessions: ['s'], target: 'alice@corp.example', reason: undefined },
    { event: 'break_glass.issued', actor: 'os:ada@bastion', issuer: 'i', sub: 'u1', email: 'alice@corp.example', until: 1, reason: 'x' },
    { event: 'data.read', actor: 'os:ada@bastion', what: 'audit', target: 'alice@corp.example', entries: 3 },
    { event: 'device.reported', actor: 'device:1', device: '1', request: 'r', address, reason: undefined },
  ]

  test('holds neither in any event, and says who it was all the same', () => {
    const written: AuditEvent[] = []
    const trail = {
      record: (event: AuditEvent) => void written.push(event),
      settle: async () => true,
      isWritable: () => true,
      segment: () => 1,
      close: () => Promise.resolve(),
    }
    const redacting = redactTrail(trail, make('email', 'address'))
    for (const event of events) redacting.record(event)
    expect(written.map(({ event }) => event)).toEqual(events.map(({ event }) => event))
    const text = JSON.stringify(written)
    expect(text).not.toContain('alice@')
    expect(text).not.toContain(address)
    expect(text).toContain('"sub":"u1"')
    expect(redactTrail(trail, make()).segment()).toBe(1)
  })
})
