/** What becomes of a recorded request under another policy: decided, not enough, no matter of rules; and how changes are counted. */

import { describe, expect, it } from 'vitest'
import { fingerprintServices } from '../attributes/service-callers.ts'
import { compileReplayPolicy } from '../commands/replay-policy.ts'
import type { App, PolicyDocument, Rule, Service } from '../policy/document.ts'
import type { Facts, SubjectFacts } from '../policy/facts.ts'
import { appWith, documentWith, facts, now, person, rule, service, signInCondition } from '../policy/policy.fixture.ts'
import type { Evidence, RecordedDecision } from './recorded-decision.ts'
import { replayDecision, replayInto } from './replay.ts'
import { createTally, mergeTally, noteChange } from './replay-tally.ts'

const staff = { kind: 'groups', groups: ['staff'] } as const
const everyone = { kind: 'everyone' } as const
const billing: Service = {
  name: 'billing',
  issuer: 'https://auth.example.com',
  audience: 'internal',
  scopesAll: [],
  claims: [],
  jwksUri: undefined,
}

interface Recording extends Partial<Omit<RecordedDecision, 'subject'>> {
  readonly from?: Facts
  readonly held?: Partial<Evidence>
}

function recorded({ from = facts(person()), held, ...changes }: Recording = {}): RecordedDecision {
  const { subject } = from
  const evidence: Evidence = { facts: from, isPathWhole: true, isClientTold: true, claimPaths: new Set(), ...held }
  return {
    request: 'r1',
    subject: {
      kind: subject.kind,
      issuer: subject.kind === 'nobody' ? undefined : subject.issuer,
      sub: subject.kind === 'person' ? subject.sub : undefined,
      email: undefined,
    },
    appId: 'wiki',
    host: 'wiki.corp.example',
    policy: 'sha256-then',
    effect: 'allow',
    reason: 'rule_matched',
    rule: 'staff',
    at: now,
    facts: from,
    evidence,
    ...changes,
  }
}

function policyOf(
  rules: readonly Rule[],
  changes: Partial<App> = {},
  document: Partial<PolicyDocument> = {},
  live: readonly Service[] = [],
) {
  return compileReplayPolicy({ ...documentWith([appWith(rules, changes)]), ...document }, { services: live, version: 'sha256-then' })
}

const at = (path: string, subject: SubjectFacts = person()): Facts => facts(subject, { path })

describe('a recorded request', () => {
  it('is decided by the rules of the app that now has its address', () => {
    expect(replayDecision(recorded(), policyOf([rule('allow', staff)]))).toEqual({
      outcome: 'decided',
      app: 'wiki',
      effect: 'allow',
      reason: 'rule_matched',
      rule: 'allow groups',
    })
    const moved = policyOf([rule('allow', staff)], { id: 'handbook' })
    expect(replayDecision(recorded(), moved)).toMatchObject({ app: 'handbook', effect: 'allow' })
    expect(replayDecision(recorded({ host: 'old.corp.example' }), moved)).toMatchObject({ effect: 'deny', reason: 'app_not_found' })
  })

  it('goes to the longest prefix of its host, and to nobody where none has its path', () => {
    const address = { origin: 'https://wiki.corp.example', hostname: 'wiki.corp.example', port: 443 }
    const apps = [
      appWith([rule('allow', everyone)], { id: 'a', address: { ...address, prefix: '/a' } }),
      appWith([], { id: 'ab', address: { ...address, prefix: '/a/b' } }),
    ]
    const policy = compileReplayPolicy(documentWith(apps), { services: [], version: 'sha256-then' })
    expect(replayDecision(recorded({ from: at('/a/x') }), policy)).toMatchObject({ app: 'a', effect: 'allow' })
    expect(replayDecision(recorded({ from: at('/a/b/x') }), policy)).toMatchObject({ app: 'ab', effect: 'deny' })
    expect(replayDecision(recorded({ from: at('/c') }), policy)).toMatchObject({ effect: 'deny', reason: 'app_not_found' })
    const cut = recorded({ from: at('/a/…'), held: { isPathWhole: false } })
    expect(replayDecision(cut, policy)).toEqual({ outcome: 'insufficient', gap: 'path_incomplete' })
    expect(replayDecision(cut, policyOf([rule('allow', everyone)]))).toMatchObject({ outcome: 'decided', effect: 'allow' })
  })

  it('is refused where its path is spelled as the app no longer takes it', () => {
    const given = recorded({ from: at('/a;b/c') })
    expect(replayDecision(given, policyOf([rule('allow', staff)]))).toMatchObject({ effect: 'deny', reason: 'bad_request' })
    expect(replayDecision(given, policyOf([rule('allow', staff)], { pathRules: ['semicolon'] }))).toMatchObject({ effect: 'allow' })
  })

  it('stays locked, whatever the rules are', () => {
    const from = { ...facts(person()), lock: { on: 'subject', until: undefined } } as const
    const given = recorded({ from, effect: 'deny', reason: 'locked', rule: undefined })
    expect(replayDecision(given, policyOf([rule('allow', everyone)]))).toMatchObject({ effect: 'deny', reason: 'locked' })
  })

  it.each([
    'cross_origin',
    'two_identities',
    'invalid_token',
    'session_store_unavailable',
    'audit_unavailable',
    'device_changed',
    'cors_preflight',
  ])('is no matter of rules where it was settled by %s', (reason) => {
    expect(replayDecision(recorded({ reason }), policyOf([]))).toEqual({ outcome: 'not_policy' })
  })

  it('is a stranger’s where nothing was recorded of it, and insufficient where something was and is gone', () => {
    const policy = policyOf([rule('allow', staff)])
    const stranger = { kind: 'nobody', issuer: undefined, sub: undefined, email: undefined }
    const gone = { evidence: 'none', reason: 'login_required', effect: 'challenge' } as const
    expect(replayDecision({ ...recorded(gone), subject: stranger }, policy)).toEqual({ outcome: 'stranger' })
    expect(replayDecision(recorded(gone), policy)).toEqual({ outcome: 'insufficient', gap: 'facts_missing' })
    expect(replayDecision(recorded({ evidence: 'missing' }), policy)).toEqual({ outcome: 'insufficient', gap: 'facts_missing' })
    expect(replayDecision(recorded({ evidence: 'unreadable' }), policy)).toEqual({ outcome: 'insufficient', gap: 'facts_unreadable' })
  })
})

describe('a recorded request of a service', () => {
  const reads = rule('allow', { kind: 'services', names: ['billing'] }, { paths: ['/api/**'] })
  const given = recorded({ from: at('/api/x', service) })

  it('is decided where its service is defined as it is in force', () => {
    expect(replayDecision(given, policyOf([reads], {}, { services: [billing] }, [billing]))).toMatchObject({ effect: 'allow' })
  })

  it('is insufficient where a service of its issuer is defined otherwise', () => {
    const changed = { ...billing, scopesAll: ['data:read'] }
    const gap = { outcome: 'insufficient', gap: 'service_changed' }
    expect(replayDecision(given, policyOf([reads], {}, { services: [changed] }, [billing]))).toEqual(gap)
    const other = { ...billing, name: 'other' }
    expect(
      replayDecision(given, policyOf([rule('allow', { kind: 'services', names: ['other'] })], {}, { services: [other] }, [billing])),
    ).toEqual(gap)
    // Of another issuer, and no rule here names it.
    expect(replayDecision(given, policyOf([reads], {}, { services: [billing, other] }, [billing]))).toMatchObject({ effect: 'allow' })
  })

  it('is never asked to sign in', () => {
    const strong = { when: [signInCondition({ acr: ['2'] })] }
    const policy = policyOf([rule('allow', { kind: 'services', names: ['billing'] }, strong)], {}, { services: [billing] }, [billing])
    expect(replayDecision(given, policy)).toMatchObject({ effect: 'deny' })
  })

  it('is refused where no rule takes tokens any more, unless everyone who is somebody is let in: then nobody can tell', () => {
    const kept = (one: Rule) => policyOf([one], {}, { services: [billing] }, [billing])
    expect(replayDecision(given, kept(rule('allow', staff)))).toMatchObject({ outcome: 'decided', effect: 'deny' })
    expect(replayDecision(given, kept(rule('allow', everyone)))).toEqual({ outcome: 'insufficient', gap: 'token_unclear' })
    expect(replayDecision(given, kept(rule('allow', { kind: 'public' })))).toMatchObject({ outcome: 'decided', effect: 'allow' })
  })

  const other = { ...billing, name: 'other' }
  const namesOther = rule('deny', { kind: 'services', names: ['other'] })

  it('is refused where its token is no service any more, also where everyone is let in and tokens are taken', () => {
    const elsewhere = { ...other, issuer: 'https://other.example' }
    const open = [rule('allow', everyone), namesOther]
    expect(replayDecision(given, policyOf(open, {}, { services: [elsewhere] }, [billing]))).toMatchObject({
      outcome: 'decided',
      effect: 'deny',
      reason: 'invalid_token',
    })
    // Beside others of its issuer that stay as they are, and that it was not.
    expect(replayDecision(given, policyOf(open, {}, { services: [other] }, [billing, other]))).toMatchObject({ reason: 'invalid_token' })
    // Its own is written otherwise, and no rule names it.
    const changed = { ...billing, scopesAll: ['data:read'] }
    expect(replayDecision(given, policyOf(open, {}, { services: [changed, other] }, [billing, other]))).toEqual({
      outcome: 'insufficient',
      gap: 'service_changed',
    })
    // Nobody can tell whose it was where a stranger is let in.
    const isPublic = policyOf([rule('allow', { kind: 'public' })], {}, { services: [] }, [billing])
    expect(replayDecision(given, isPublic)).toEqual({ outcome: 'insufficient', gap: 'token_unclear' })
  })

  it('of an older policy is decided only where its issuer’s services are known to be the same', () => {
    const older = { ...given, policy: 'sha256-older' }
    const policy = policyOf([reads], {}, { services: [billing] }, [billing])
    expect(replayDecision(older, policy)).toEqual({ outcome: 'insufficient', gap: 'service_changed' })
    const told = (services: readonly Service[]) => {
      const subject = { ...service, definitions: fingerprintServices(services, billing.issuer) } as SubjectFacts
      return { ...recorded({ from: at('/api/x', subject) }), policy: 'sha256-older' }
    }
    expect(replayDecision(told([billing]), policy)).toMatchObject({ outcome: 'decided', effect: 'allow' })
    expect(replayDecision(told([{ ...billing, audience: 'then' }]), policy)).toEqual({ outcome: 'insufficient', gap: 'service_changed' })
  })

  it('is insufficient where an expression looks at its names and one of them may be another', () => {
    const looks = rule('allow', everyone, { when: [{ kind: 'expression', source: "'other' in subject.services" }] })
    const changed = { ...other, scopesAll: ['x'] }
    const policy = policyOf([looks, reads], {}, { services: [billing, changed] }, [billing, other])
    expect(replayDecision(given, policy)).toEqual({ outcome: 'insufficient', gap: 'service_changed' })
  })
})

describe('the tally', () => {
  it('keeps apart what was refused from what was to be signed in for better', () => {
    const tally = createTally()
    const policy = policyOf([rule('allow', staff)])
    replayInto(tally, recorded({ effect: 'deny', reason: 'no_rule_matched' }), policy)
    replayInto(tally, recorded({ effect: 'challenge', reason: 'insufficient_user_authentication' }), policy)
    expect([...tally.changes.values()].map(({ count, direction, was }) => [direction, was, count])).toEqual([
      ['gained', 'deny', 1],
      ['gained', 'challenge', 1],
    ])
  })

  const policy = policyOf([rule('allow', staff), rule('deny', { kind: 'groups', groups: ['guests'] })])
  const guest = facts(person({ sub: 'g', groups: { known: true, value: ['guests'] } }))

  it('counts by subject, app and rule, with the first, the last and a few examples', () => {
    const tally = createTally()
    for (let index = 9; index >= 0; index -= 1) replayInto(tally, recorded({ from: guest, request: `r${index}`, at: now + index }), policy)
    replayInto(tally, recorded(), policy)
    replayInto(tally, recorded({ effect: 'deny', reason: 'no_rule_matched', rule: undefined }), policy)
    replayInto(tally, recorded({ effect: 'challenge', reason: 'insufficient_user_authentication', from: guest }), policy)
    replayInto(tally, recorded({ reason: 'cross_origin' }), policy)
    replayInto(tally, recorded({ evidence: 'missing' }), policy)
    const found = [...tally.changes.values()]
    expect(found.map(({ becomes, count, direction, was }) => ({ becomes, count, direction, was }))).toEqual([
      { becomes: 'deny', count: 10, direction: 'lost', was: 'allow' },
      { becomes: 'allow', count: 1, direction: 'gained', was: 'deny' },
      { becomes: 'deny', count: 1, direction: 'shifted', was: 'challenge' },
    ])
    expect(found[0]).toMatchObject({ rule: 'deny groups', firstAt: now, lastAt: now + 9, rulesBefore: ['staff'] })
    expect(found[0]?.examples.map(({ request }) => request)).toEqual(['r0', 'r1', 'r2', 'r3', 'r4'])
    expect({ decided: tally.decided, unchanged: tally.unchanged }).toEqual({ decided: 13, unchanged: 1 })
    expect([...tally.notPolicy]).toEqual([['cross_origin', 1]])
    expect([...tally.insufficient]).toEqual([['facts_missing', 1]])
    expect([...tally.policies]).toEqual([['sha256-then', 15]])
  })

  it('of several readers adds up to that of one', () => {
    const given = Array.from({ length: 40 }, (_, index) =>
      recorded({
        from: { ...guest, subject: { ...guest.subject, sub: `p${index % 3}` } as SubjectFacts },
        request: `r${index}`,
        at: now + index,
      }),
    )
    const whole = createTally()
    for (const one of given) replayInto(whole, one, policy)
    const parts = [createTally(), createTally()] as const
    given.forEach((one, index) => {
      replayInto(parts[index % 2 === 0 ? 0 : 1], one, policy)
    })
    const merged = createTally()
    for (const part of parts) mergeTally(merged, part)
    expect(merged).toEqual(whole)
  })

  it('is bounded, and says what found no room', () => {
    const change = (sub: string) =>
      ({
        direction: 'lost',
        subject: { kind: 'person', issuer: 'i', sub, email: undefined },
        app: 'wiki',
        rule: 'r',
        reason: 'denied_by_rule',
        becomes: 'deny',
        was: 'allow',
        ruleBefore: undefined,
        request: 'r1',
        at: now,
      }) as const
    const tally = createTally()
    for (const sub of ['a', 'b', 'c', 'a']) noteChange(tally, change(sub), 2)
    expect(tally.changes.size).toBe(2)
    expect(tally.unlisted.lost).toBe(1)
    const merged = createTally()
    mergeTally(merged, tally, 1)
    expect(merged.changes.size).toBe(1)
    expect(merged.unlisted.lost).toBe(2)
  })
})
