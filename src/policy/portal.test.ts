/** Which apps a portal shows: the `portal:` setting against what a person may do. */

import { describe, expect, it } from 'vitest'
import type { App, Condition, Rule, Who } from './document.ts'
import type { SubjectFacts } from './facts.ts'
import { compileApp, deviceCondition, facts, mfa, person, rule, signInCondition } from './policy.fixture.ts'
import { decidePortal } from './portal.ts'

const staff: Who = { kind: 'groups', groups: ['staff'] }
const admins: Who = { kind: 'groups', groups: ['admins'] }

function entryOf(portal: App['portal'], rules: readonly Rule[], subject: SubjectFacts = person(), changes: Partial<App> = {}) {
  const { request: _, ...given } = facts(subject)
  return decidePortal(compileApp(rules, { portal, ...changes }), given)
}

describe('an app', () => {
  it.each<[string, readonly Rule[], Record<App['portal'], boolean>]>([
    ['whose start page is open', [rule('allow', staff)], { listed: true, hidden: false, if_allowed: true, if_relevant: true }],
    [
      'open in another path only',
      [rule('allow', staff, { paths: ['/docs/**'] })],
      { listed: true, hidden: false, if_allowed: false, if_relevant: true },
    ],
    ['for others', [rule('allow', admins)], { listed: true, hidden: false, if_allowed: false, if_relevant: false }],
    ['without rules', [], { listed: true, hidden: false, if_allowed: false, if_relevant: false }],
    [
      'closed to this person altogether',
      [rule('allow', staff), rule('deny', staff)],
      { listed: true, hidden: false, if_allowed: false, if_relevant: false },
    ],
    [
      'closed to this person for writing',
      [rule('allow', staff), rule('deny', staff, { methods: { names: [], classes: ['write'] } })],
      { listed: true, hidden: false, if_allowed: true, if_relevant: true },
    ],
  ])('%s', (_name, rules, expected) => {
    for (const portal of ['listed', 'hidden', 'if_allowed', 'if_relevant'] as const) {
      expect(`${portal}: ${entryOf(portal, rules).isVisible}`).toBe(`${portal}: ${expected[portal]}`)
    }
  })

  it('is relevant where circumstances keep it closed now, and closed where a deny is about the person alone', () => {
    const managed = deviceCondition({ managed: true })
    const isRelevant = (rules: readonly Rule[]) => entryOf('if_relevant', rules).isVisible
    expect(isRelevant([rule('allow', staff, { when: [managed] })])).toBe(true)
    expect(isRelevant([rule('allow', staff), rule('deny', staff, { unless: [managed] })])).toBe(true)
    expect(isRelevant([rule('allow', staff), rule('require', staff, { require: [managed] })])).toBe(true)
    expect(isRelevant([rule('allow', staff), rule('deny', staff, { isReport: true })])).toBe(true)
    expect(isRelevant([rule('allow', staff, { isReport: true })])).toBe(false)
  })

  it('is not given away where what keeps somebody out is who they are, wherever a rule says so', () => {
    const who = (of: Who): Condition => ({ kind: 'subject', who: of })
    const managed = deviceCondition({ managed: true })
    const isRelevant = (...rules: readonly Rule[]) => entryOf('if_relevant', rules).isVisible
    const everybody: Who = { kind: 'signed_in' }
    expect(isRelevant(rule('allow', everybody, { when: [who(admins)] }))).toBe(false)
    expect(isRelevant(rule('allow', everybody, { when: [{ kind: 'all_of', of: [who(admins), managed] }] }))).toBe(false)
    expect(isRelevant(rule('allow', everybody, { when: [{ kind: 'any_of', of: [who(admins), managed] }] }))).toBe(true)
    expect(isRelevant(rule('allow', everybody, { unless: [who(staff)] }))).toBe(false)
    expect(isRelevant(rule('allow', everybody, { unless: [who(admins)] }))).toBe(true)
    expect(isRelevant(rule('allow', staff), rule('require', everybody, { require: [who(admins)] }))).toBe(false)
    expect(isRelevant(rule('allow', staff), rule('require', everybody, { require: [who(admins)], when: [managed] }))).toBe(true)
    expect(isRelevant(rule('allow', staff), rule('deny', { kind: 'everyone' }, { when: [who(staff)] }))).toBe(false)
    expect(isRelevant(rule('allow', staff), rule('deny', { kind: 'everyone' }, { unless: [who(admins)] }))).toBe(false)
    expect(isRelevant(rule('allow', staff), rule('deny', { kind: 'everyone' }, { unless: [who(admins), managed] }))).toBe(true)
    const expression = (source: string): Condition => ({ kind: 'expression', source })
    expect(isRelevant(rule('allow', everybody, { when: [expression('subject.email == "root@corp.example"')] }))).toBe(false)
    expect(isRelevant(rule('allow', everybody, { when: [expression('request.method == "DELETE"')] }))).toBe(true)
  })

  it('in report mode is relevant to those whom it lets pass', () => {
    const report = { until: undefined, pass: staff }
    expect(entryOf('if_relevant', [], person(), { report })).toMatchObject({ isVisible: true, decision: { reason: 'report_mode' } })
    expect(entryOf('if_relevant', [rule('deny', staff)], person(), { report }).isVisible).toBe(false)
    expect(entryOf('if_relevant', [], person({ groups: { known: true, value: [] } }), { report }).isVisible).toBe(false)
  })

  it('is not given away by a fact that is unknown', () => {
    const unknown = person({ groups: { known: false, why: 'claim_absent' } })
    expect(entryOf('if_relevant', [rule('allow', staff)], unknown).isVisible).toBe(false)
    expect(entryOf('if_relevant', [rule('allow', { kind: 'signed_in' }), rule('deny', admins)], unknown).isVisible).toBe(false)
  })

  it('is as good as open where only a stronger sign-in is missing', () => {
    const strong = signInCondition({ strength: mfa })
    expect(entryOf('if_allowed', [rule('allow', staff, { when: [strong] })])).toMatchObject({
      isVisible: true,
      decision: { challenge: 'step_up' },
    })
    expect(entryOf('if_allowed', [rule('allow', staff, { when: [strong, deviceCondition({ managed: true })] })]).isVisible).toBe(false)
  })

  it('is judged at the path where it begins', () => {
    const rules = [rule('allow', staff, { paths: ['/wiki/**'] })]
    expect(entryOf('if_allowed', rules, person(), startingAt('/wiki'))).toMatchObject({ isVisible: true, decision: { effect: 'allow' } })
    expect(entryOf('if_allowed', rules, person(), startingAt('/'))).toMatchObject({ isVisible: false, decision: { effect: 'deny' } })
  })
})

function startingAt(prefix: string): Partial<App> {
  return { address: { origin: 'https://tools.corp.example', hostname: 'tools.corp.example', port: 443, prefix } }
}
