/** Report mode summed up: who would have been refused or let in, and when there is enough to call it safe. */

import { describe, expect, it } from 'vitest'
import type { PolicyDocument } from '../policy/document.ts'
import { appWith, documentWith, facts, now, person, rule } from '../policy/policy.fixture.ts'
import type { RecordedDecision } from './recorded-decision.ts'
import { createRollout, enough } from './rollout.ts'

const day = 86_400_000
const closing = rule('deny', { kind: 'groups', groups: ['guests'] }, { name: 'closing', isReport: true })
const policy = documentWith([appWith([rule('allow', { kind: 'everyone' }), closing])])

function recorded(sub: string, at = now, effect = 'allow'): RecordedDecision {
  const from = facts(person({ sub }))
  return {
    request: `${sub}-${at}`,
    subject: { kind: 'person', issuer: 'https://op.example', sub, email: `${sub}@corp.example` },
    appId: 'wiki',
    host: 'wiki.corp.example',
    policy: 'p',
    effect,
    reason: 'rule_matched',
    rule: 'open',
    at,
    facts: from,
    evidence: { facts: from, isPathWhole: true, isClientTold: true, claimPaths: new Set() },
  }
}

const would = (effect: string, name?: string) => ({ would: { effect, reason: 'x', ...(name === undefined ? {} : { rule: name }) } })

function rolledOut(document: PolicyDocument, fill: (see: ReturnType<typeof createRollout>['see']) => void) {
  const rollout = createRollout(document)
  fill(rollout.see)
  return rollout.entries()
}

describe('the rollout of a rule', () => {
  it('names whom it would have refused, how often and since when', () => {
    const [entry, ...others] = rolledOut(policy, (see) => {
      see(recorded('a', now), would('deny', 'closing'))
      see(recorded('a', now + 5), would('deny', 'closing'))
      see(recorded('b', now + 2), would('challenge', 'closing'))
      see(recorded('c', now + 3), would('allow', 'open'))
      see(recorded('d', now + 4), {})
    })
    expect(others).toEqual([])
    expect(entry).toMatchObject({ app: 'wiki', rule: 'closing', verb: 'deny', requests: 4, subjects: 3, verdict: 'refuses' })
    expect(entry?.refused).toMatchObject({ requests: 3, subjectCount: 2, firstAt: now, lastAt: now + 5 })
    expect(entry?.refused.subjects[0]).toMatchObject({ count: 2, firstAt: now, lastAt: now + 5, example: `a-${now}` })
  })

  it('says whom it would let in', () => {
    const opening = { ...closing, verb: 'allow', name: 'opening' } as const
    const [entry] = rolledOut(documentWith([appWith([opening])]), (see) => see(recorded('a', now, 'deny'), would('allow', 'opening')))
    expect(entry).toMatchObject({ letIn: { requests: 1, subjectCount: 1 }, refused: { requests: 0 }, verdict: 'too_little' })
  })

  it.each([
    ['unseen', 0, 0],
    ['too_little', enough.requests - 1, enough.days],
    ['too_little', enough.requests * 2, enough.days - 1],
    ['safe', enough.requests, enough.days],
  ])('is %s with %i requests on %i days', (verdict, requests, days) => {
    const [entry] = rolledOut(policy, (see) => {
      for (let index = 0; index < requests; index += 1) see(recorded('a', now + (index % days) * day), would('allow', 'open'))
    })
    expect(entry?.verdict).toBe(verdict)
  })

  it('is not called safe on requests that another rule would have refused before it was asked', () => {
    const everybody = { kind: 'everyone' } as const
    const named = (verb: 'allow' | 'deny' | 'require', name: string) => rule(verb, everybody, { name, isReport: true })
    const rules = [rule('allow', everybody), closing, named('deny', 'second'), named('require', 'third'), named('allow', 'fourth')]
    const verdicts = (reason: string, by: string) =>
      rolledOut(documentWith([appWith(rules)]), (see) => {
        for (let index = 0; index < enough.requests * 2; index += 1)
          see(recorded('a', now + (index % enough.days) * day), would('allow', 'open'))
        see(recorded('b'), { would: { effect: 'deny', reason, rule: by } })
      }).map(({ rule: name, verdict }) => `${name} ${verdict}`)
    expect(verdicts('denied_by_rule', 'closing')).toEqual(['closing refuses', 'second hidden', 'third hidden', 'fourth safe'])
    // Denies come first: what a require kept out, no deny did.
    expect(verdicts('no_rule_matched', 'third')).toEqual(['closing safe', 'second safe', 'third refuses', 'fourth safe'])
  })

  it('of an app in report mode is whatever would decide once the mode ends', () => {
    const app = appWith([rule('allow', { kind: 'groups', groups: ['staff'] })], {
      report: { until: undefined, pass: { kind: 'signed_in' } },
    })
    const entries = rolledOut(documentWith([app]), (see) => {
      see(recorded('a'), would('deny', 'allow groups'))
      see(recorded('b'), would('deny'))
    })
    expect(entries).toMatchObject([{ rule: undefined, isReported: true, refused: { requests: 2, subjectCount: 2 } }])
  })

  it('is still told of a rule that is no longer in report mode', () => {
    const entries = rolledOut(documentWith([appWith([])]), (see) => see(recorded('a'), would('deny', 'gone')))
    expect(entries).toMatchObject([{ rule: 'gone', verb: undefined, isReported: false, verdict: 'refuses' }])
  })
})
