/** Where a bearer token is ours to read: on the paths of rules that name services, however they name them, and nowhere else. */

import { describe, expect, test } from 'vitest'
import type { CompanyRule, Condition, Rule, Who } from './document.ts'
import { appWith, rule } from './policy.fixture.ts'
import { compileServicePaths } from './service-paths.ts'

const billing: Who = { kind: 'services', names: ['billing'] }
const isBilling: Condition = { kind: 'subject', who: billing }
const api = { paths: ['/api/*'] }

function takes(rules: readonly Rule[], company: readonly CompanyRule[] = [], levels: Readonly<Record<string, Condition>> = {}) {
  const named = Object.entries(levels).map(([name, condition]) => ({ name, condition }))
  return compileServicePaths(appWith(rules), { rules: company, levels: named })
}

describe('a bearer token is ours', () => {
  test.each<[string, readonly Rule[]]>([
    ['in an allow', [rule('allow', billing, api)]],
    ['in a deny', [rule('deny', billing, api)]],
    ['in a require', [rule('require', billing, api)]],
    ['in a list', [rule('allow', { kind: 'any_of', of: [{ kind: 'signed_in' }, billing] }, api)]],
    ['in all_of', [rule('allow', { kind: 'all_of', of: [{ kind: 'everyone' }, billing] }, api)]],
    ['in a condition', [rule('allow', { kind: 'everyone' }, { ...api, when: [isBilling] })]],
    [
      'in an exception',
      [rule('deny', { kind: 'everyone' }, { ...api, unless: [{ kind: 'not', of: { kind: 'any_of', of: [isBilling] } }] })],
    ],
    ['in what is required', [rule('require', { kind: 'everyone' }, { ...api, require: [{ kind: 'all_of', of: [isBilling] }] })]],
  ])('on the paths of a rule that names a service %s', (_, rules) => {
    const isOurs = takes(rules)
    expect(isOurs('/api/x')).toBe(true)
    expect(isOurs('/api/x/y')).toBe(false)
    expect(isOurs('/')).toBe(false)
  })

  test('through a level that stands on a level', () => {
    const rules = [rule('allow', { kind: 'everyone' }, { ...api, when: [{ kind: 'level', name: 'outer' }] })]
    const levels: Record<string, Condition> = { outer: { kind: 'not', of: { kind: 'level', name: 'inner' } }, inner: isBilling }
    expect(takes(rules, [], levels)('/api/x')).toBe(true)
    expect(takes(rules, [], { outer: { kind: 'expression', source: 'true' } })('/api/x')).toBe(false)
  })

  test.each(['/API/x', '/api/x/', '/api/x.', '/api/x;v=1'])('on %s too, which an app might read as that path', (path) => {
    expect(takes([rule('allow', billing, api)])(path)).toBe(true)
  })

  test('everywhere in the app where a rule that names a service names no path', () => {
    expect(takes([rule('allow', billing, api), rule('deny', billing)])('/anything')).toBe(true)
  })

  test('where a company rule touches the app, and not where it does not', () => {
    const company = (changes: Partial<CompanyRule>) => [{ ...rule('deny', billing), apps: undefined, sensitivity: undefined, ...changes }]
    expect(takes([], company({}))('/')).toBe(true)
    expect(takes([], company({ apps: ['wiki'], sensitivity: ['internal'] }))('/')).toBe(true)
    expect(takes([], company({ apps: ['payroll'] }))('/')).toBe(false)
    expect(takes([], company({ sensitivity: ['restricted'] }))('/')).toBe(false)
  })

  test.each<[string, readonly Rule[]]>([
    ['no rule names a service', [rule('allow', { kind: 'everyone' }), rule('allow', { kind: 'claims', claims: [] })]],
    ['the only one that does is in report mode', [rule('allow', billing, { isReport: true })]],
    ['there is no rule', []],
  ])('nowhere where %s', (_, rules) => {
    expect(takes(rules)('/')).toBe(false)
  })
})
