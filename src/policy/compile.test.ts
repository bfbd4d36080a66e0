/** What has to be gathered before an app's rules can be judged: whatever any of its rules asks for, wherever that stands. */

import { describe, expect, it } from 'vitest'
import { compilePolicy } from './compile.ts'
import type { CompanyRule, Condition, Level, Rule } from './document.ts'
import type { FactGroup } from './facts.ts'
import { appWith, documentWith, rule } from './policy.fixture.ts'

const asks: readonly (readonly [FactGroup, Condition])[] = [
  ['device', { kind: 'expression', source: 'device.managed' }],
  ['country', { kind: 'network', cidrs: undefined, cidrsFile: undefined, countries: ['DE'], asns: undefined }],
  ['asn', { kind: 'network', cidrs: undefined, cidrsFile: undefined, countries: undefined, asns: [64512] }],
  ['client', { kind: 'client', browsers: ['firefox'], browserVersion: undefined, os: undefined }],
]
const signedIn = { kind: 'signed_in' } as const

function needsOf(own: readonly Rule[], company: readonly CompanyRule[] = [], levels: readonly Level[] = []): readonly FactGroup[] {
  const app = compilePolicy(documentWith([appWith(own)], company, levels)).apps.get('wiki')
  return [...(app?.needs ?? [])]
}

describe.each(asks)('a rule that asks for %s', (group, condition) => {
  const asLevel: Condition = { kind: 'level', name: 'inner' }
  const levels: readonly Level[] = [
    { name: 'inner', condition },
    { name: 'outer', condition: { kind: 'any_of', of: [{ kind: 'not', of: asLevel }] } },
  ]

  it.each([
    ['when', rule('allow', signedIn, { when: [condition] })],
    ['unless', rule('deny', signedIn, { unless: [condition] })],
    ['require', rule('require', signedIn, { require: [condition] })],
    ['a require’s when', rule('require', signedIn, { require: [{ kind: 'subject', who: signedIn }], when: [condition] })],
    ['report mode', rule('deny', signedIn, { when: [condition], isReport: true })],
    ['a level that another rests on', rule('require', signedIn, { require: [{ kind: 'level', name: 'outer' }] })],
  ])('in %s has it gathered', (_, asking) => {
    expect(needsOf([rule('allow', signedIn), asking], [], levels)).toEqual([group])
  })

  it('at the top level has it gathered for the apps that it is for', () => {
    const asking: CompanyRule = { ...rule('require', signedIn, { require: [condition] }), apps: ['wiki'], sensitivity: undefined }
    expect(needsOf([rule('allow', signedIn)], [asking])).toEqual([group])
    expect(needsOf([rule('allow', signedIn)], [{ ...asking, apps: ['payroll'] }])).toEqual([])
  })
})

it('nothing is gathered for levels that no rule of the app uses', () => {
  const levels = asks.map(([name, condition]) => ({ name, condition }))
  expect(needsOf([rule('allow', signedIn)], [], levels)).toEqual([])
})
