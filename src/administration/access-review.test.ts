/** Who has access to what: what the policy says today beside what was used, and the marks that follow. */

import { describe, expect, it } from 'vitest'
import { compilePolicy } from '../policy/compile.ts'
import type { Rule } from '../policy/document.ts'
import type { SubjectFacts } from '../policy/facts.ts'
import { appWith, documentWith, facts, now, person, rule, service, timeCondition } from '../policy/policy.fixture.ts'
import { createAccessReview } from './access-review.ts'
import type { RecordedDecision } from './recorded-decision.ts'

const staff = { kind: 'groups', groups: ['staff'] } as const
const day = 86_400_000

function used(subject: SubjectFacts, name: string, at = now, changes: Partial<RecordedDecision> = {}): RecordedDecision {
  const from = facts(subject)
  const sub = subject.kind === 'person' ? subject.sub : subject.kind === 'service' ? subject.names[0] : undefined
  return {
    request: 'r1',
    subject: { kind: subject.kind, issuer: subject.kind === 'person' ? subject.issuer : undefined, sub, email: undefined },
    appId: 'wiki',
    host: 'wiki.corp.example',
    policy: 'p',
    effect: 'allow',
    reason: 'rule_matched',
    rule: name,
    at,
    facts: from,
    evidence: { facts: from, isPathWhole: true, isClientTold: true, claimPaths: new Set() },
    ...changes,
  }
}

function review(rules: readonly Rule[], fill: (reviewed: ReturnType<typeof createAccessReview>) => void) {
  const reviewed = createAccessReview(compilePolicy(documentWith([appWith(rules)])), { at: now })
  fill(reviewed)
  return reviewed.entries().map(({ mark, rule: name, today, uses }) => ({ mark, rule: name, today, uses }))
}

const open = rule('allow', staff, { name: 'staff' })

describe('an access review', () => {
  it('counts use, and marks what was not used for 90 days', () => {
    const entries = review([open], ({ addSubject, see }) => {
      addSubject(person({ sub: 'a' }))
      addSubject(person({ sub: 'b' }))
      addSubject(person({ sub: 'c' }))
      see(used(person({ sub: 'a' }), 'staff', now - 100 * day))
      see(used(person({ sub: 'a' }), 'staff', now - day))
      see(used(person({ sub: 'b' }), 'staff', now - 91 * day))
      see(used(person({ sub: 'b' }), 'staff', now, { effect: 'deny' }))
    })
    expect(entries).toEqual([
      { rule: 'staff', today: 'yes', uses: 2, mark: 'used' },
      { rule: 'staff', today: 'yes', uses: 1, mark: 'unused' },
      { rule: 'staff', today: 'yes', uses: 0, mark: 'unused' },
    ])
  })

  it('gives what an app’s report mode let in to the mode, and not to the rule that came nearest', () => {
    const entries = review([open], ({ see }) => see(used(person({ sub: 'a' }), 'staff', now, { reason: 'report_mode' })))
    expect(entries).toMatchObject([{ rule: '', uses: 1 }])
  })

  it('counts use also where the facts behind it are gone', () => {
    const entries = review([open], ({ addSubject, see }) => {
      addSubject(person({ sub: 'a' }))
      see(used(person({ sub: 'a' }), 'staff', now - day, { facts: undefined, evidence: 'missing' }))
    })
    expect(entries).toEqual([{ rule: 'staff', today: 'yes', uses: 1, mark: 'used' }])
  })

  it('says what a rule still asks for beyond who it is, and whom a deny keeps out altogether', () => {
    const hours = rule('allow', staff, { name: 'hours', when: [timeCondition({ days: ['mon'] })] })
    expect(review([hours], ({ addSubject }) => addSubject(person()))).toMatchObject([{ rule: 'hours', today: 'conditional' }])
    const shut = rule('deny', staff, { name: 'shut' })
    expect(review([open, shut], ({ addSubject }) => addSubject(person()))).toEqual([])
    const partly = rule('deny', staff, { name: 'partly', paths: ['/x/**'] })
    expect(review([open, partly], ({ addSubject }) => addSubject(person()))).toMatchObject([{ rule: 'staff', today: 'conditional' }])
  })

  it('tells access that was taken away from access by another rule, and from people who are not on record', () => {
    const guest = person({ sub: 'guest', groups: { known: true, value: [] } })
    const entries = review([open], ({ addSubject, see }) => {
      addSubject(person({ sub: 'a' }))
      addSubject(guest)
      see(used(person({ sub: 'a' }), 'gone'))
      see(used(guest, 'staff'))
      see(used(person({ sub: 'stranger' }), 'staff'))
      see(used(person({ sub: 'before' }), 'staff', now - 200 * day))
    })
    expect(entries).toEqual(
      expect.arrayContaining([
        { rule: 'gone', today: 'other_rule', uses: 1, mark: 'withdrawn' },
        { rule: 'staff', today: 'no', uses: 1, mark: 'withdrawn' },
        { rule: 'staff', today: 'unknown', uses: 1, mark: 'used' },
        { rule: 'staff', today: 'unknown', uses: 1, mark: 'former' },
      ]),
    )
  })

  it('knows services and strangers', () => {
    const rules = [
      rule('allow', { kind: 'services', names: ['billing'] }, { name: 'billing' }),
      rule('allow', { kind: 'public' }, { name: 'all', paths: ['/p/**'] }),
    ]
    const entries = review(rules, ({ addSubject, see }) => {
      addSubject(service)
      addSubject({ kind: 'nobody' })
      see(used(service, 'billing'))
      see(used(person(), 'all'))
    })
    expect(entries).toEqual(
      expect.arrayContaining([
        { rule: 'billing', today: 'yes', uses: 1, mark: 'used' },
        { rule: 'all', today: 'conditional', uses: 0, mark: 'unused' },
        { rule: 'all', today: 'conditional', uses: 1, mark: 'used' },
      ]),
    )
  })
})
