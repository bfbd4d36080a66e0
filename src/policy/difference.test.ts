/** What two policy documents differ in, as the record and people are told. */

import { describe, expect, test } from 'vitest'
import { describeDifference } from './difference.ts'
import type { App, CompanyRule, PolicyDocument } from './document.ts'
import { appWith, documentWith, networkCondition, rule } from './policy.fixture.ts'

const staff = rule('allow', { kind: 'groups', groups: ['staff'] }, { name: 'staff' })
const strangers = rule('deny', { kind: 'everyone' }, { name: 'strangers' })
const company: CompanyRule = { ...strangers, name: 'everywhere', apps: undefined, sensitivity: undefined }

function between(before: Partial<PolicyDocument>, after: Partial<PolicyDocument>): readonly string[] {
  return describeDifference({ ...documentWith([]), ...before }, { ...documentWith([]), ...after })
}

const app = (id: string, changes: Partial<App> = {}) => appWith(changes.rules ?? [staff], { id, ...changes })

describe('the difference of two policies', () => {
  test.each<{ name: string; before: Partial<PolicyDocument>; after: Partial<PolicyDocument>; lines: readonly string[] }>([
    { name: 'the same', before: { apps: [app('wiki')] }, after: { apps: [app('wiki')] }, lines: [] },
    { name: 'an app more', before: {}, after: { apps: [app('wiki')] }, lines: ['app wiki added'] },
    { name: 'an app less', before: { apps: [app('wiki')] }, after: {}, lines: ['app wiki removed'] },
    {
      name: 'rules of an app',
      before: { apps: [app('wiki', { rules: [staff, strangers] })] },
      after: { apps: [app('wiki', { rules: [rule('allow', { kind: 'everyone' }), { ...staff, paths: ['/x'] }] })] },
      lines: ['app wiki: rule "allow everyone" added', 'app wiki: rule "staff" changed', 'app wiki: rule "strangers" removed'],
    },
    {
      name: 'rules in another order',
      before: { apps: [app('wiki', { rules: [staff, strangers] })] },
      after: { apps: [app('wiki', { rules: [strangers, staff] })] },
      lines: [],
    },
    {
      name: 'settings of an app, by their keys',
      before: { apps: [app('wiki')] },
      after: {
        apps: [
          app('wiki', { sensitivity: 'restricted', maxBodyBytes: 5, audit: { paths: 'none', durability: undefined, whenFull: undefined } }),
        ],
      },
      lines: ['app wiki: sensitivity changed', 'app wiki: max_body changed', 'app wiki: audit changed'],
    },
    {
      name: 'levels, services, company rules and the zone',
      before: { levels: [{ name: 'mfa', condition: { kind: 'expression', source: 'true' } }], rules: [company] },
      after: {
        zone: 'Europe/Berlin',
        services: [{ name: 'billing', issuer: 'https://i.example', audience: 'a', scopesAll: [], claims: [], jwksUri: undefined }],
        rules: [{ ...company, sensitivity: ['restricted'] }],
      },
      lines: ['time zone changed', 'level mfa removed', 'service billing added', 'company rule "everywhere" changed'],
    },
    {
      name: 'the same networks from another file',
      before: { levels: [{ name: 'office', condition: networkCondition({ cidrs: ['10.0.0.0/8'], cidrsFile: '/a' }) }] },
      after: { levels: [{ name: 'office', condition: networkCondition({ cidrs: ['10.0.0.0/8'], cidrsFile: '/b' }) }] },
      lines: [],
    },
    {
      name: 'another version of the same meaning',
      before: { version: 'sha256-1' },
      after: { version: 'sha256-2' },
      lines: ['nothing but a picture or the order of rules changed'],
    },
  ])('is told in a line each: $name', ({ before, after, lines }) => {
    expect(between(before, after)).toEqual(lines)
  })

  test('is never longer than a hundred lines, and no line than a line', () => {
    const many = between({}, { apps: Array.from({ length: 250 }, (_, index) => app(`app-${index}`)) })
    expect(many).toHaveLength(100)
    expect(many.at(-1)).toBe('and 151 more')
    const [long = ''] = between({}, { rules: [{ ...company, name: 'x'.repeat(5000) }] })
    expect(long).toHaveLength(240)
    expect(long.endsWith('…')).toBe(true)
  })
})
