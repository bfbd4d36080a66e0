/** The form of a rule: nothing is lost on the way there and back, and nothing untouched is written differently. */

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { buildCompanyRule } from './build-app.ts'
import { readYamlData } from './edit-yaml.ts'
import { isSameData, writeBlock, type YamlData } from './edit-yaml-text.ts'
import { parseValue } from './parse-value.ts'
import { fieldOfPath, formToRule, ruleToForm } from './policy-form.ts'
import { judgeRuleText, stepsOf } from './policy-form-problems.ts'
import type { Problem } from './problems.ts'
import { companyRuleSchema } from './rule-schema.ts'
import { parseYamlSource } from './yaml-source.ts'

const word = fc.constantFrom('staff', 'NO', 'on', '010', '2026-11-30', 'a: b', '# no', "it's", '"x"', 'été', '12:30', 'null', '~', '- a')
const oneOrList = <T extends YamlData>(value: fc.Arbitrary<T>): fc.Arbitrary<YamlData> =>
  fc.oneof(value, fc.array(value, { minLength: 1, maxLength: 3 }))
const selector: fc.Arbitrary<YamlData> = fc.oneof(
  fc.array(word, { minLength: 1, maxLength: 3 }).map((groups) => ({ groups })),
  fc.constantFrom<YamlData>(
    { users: ['a@corp.example'] },
    { domains: ['corp.example'] },
    { signed_in: true },
    { everyone: true },
    { public: true },
  ),
  fc
    .tuple(fc.constantFrom('department', 'realm.roles'), oneOrList(fc.oneof(word, fc.integer(), fc.boolean())))
    .map(([path, values]) => ({ claims: { [path]: values } })),
)
const who: fc.Arbitrary<YamlData> = fc.oneof(
  selector,
  fc.array(selector, { minLength: 1, maxLength: 3 }),
  fc
    .array(fc.oneof(selector, fc.array(selector, { minLength: 1, maxLength: 2 })), { minLength: 1, maxLength: 3 })
    .map((all) => ({ all_of: all })),
)
const leaf: fc.Arbitrary<YamlData> = fc.oneof(
  fc.constantFrom('mfa_1h', 'healthy-device'),
  fc.constantFrom<YamlData>(
    { sign_in: { strength: 'mfa', within: '1h' } },
    { sign_in: { acr: 'high' } },
    { sign_in: { amr: ['otp', 'hwk'] } },
    { device: { managed: true, firewall: false, os: ['macos >= 14.4', 'linux'], reported_within: '24h' } },
    { device: { attributes: { 'mdm.score': [1, '1', true], other: 'x' }, tags: ['a'] } },
    { network: { cidrs: '10.0.0.0/8' } },
    { network: { countries: ['DE', 'NO'], asns: [64512, 'AS64513'] } },
    { time: { days: 'mon-fri', between: ['07:00-20:00'], zone: 'Europe/Berlin' } },
    { time: { from: '2026-11-30', until: '2026-12-31' } },
    { client: { browser: 'firefox', browser_version: '>= 120' } },
    { expression: "subject.email.endsWith('@corp.example')\n  && true" },
  ),
)
const condition: fc.Arbitrary<YamlData> = fc.oneof(
  { weight: 4, arbitrary: leaf },
  fc.array(leaf, { minLength: 1, maxLength: 3 }).map((of) => ({ any_of: of })),
  leaf.map((of) => ({ not: of })),
  selector.map((subject) => ({ subject })),
)
const verbs: fc.Arbitrary<{ readonly [key: string]: YamlData }> = fc.oneof(
  who.map((allow) => ({ allow })),
  who.map((deny) => ({ deny })),
  fc.tuple(oneOrList(condition), fc.option(who)).map(([require, whom]) => (whom === null ? { require } : { require, for: whom })),
)
const rule: fc.Arbitrary<{ readonly [key: string]: YamlData }> = fc
  .tuple(
    verbs,
    fc.record(
      {
        name: word,
        when: oneOrList(condition),
        unless: oneOrList(condition),
        methods: fc.subarray(['read', 'write', 'websocket', 'POST'], { minLength: 1 }),
        paths: fc.subarray(['/', '/admin/**', '/a*'], { minLength: 1 }),
        from: fc.constant('2026-11-30'),
        until: fc.constant('2026-12-31'),
        mode: fc.constantFrom('enforce', 'report'),
        alert: fc.boolean(),
        apps: fc.constant(['wiki']),
        sensitivity: fc.subarray(['open', 'restricted'], { minLength: 1 }),
      },
      { requiredKeys: [] },
    ),
  )
  .map(([verb, more]) => ({ ...more, ...verb }) as { readonly [key: string]: YamlData })

function parsed(data: YamlData): unknown {
  const lists = { problems: [] as Problem[], warnings: [] as Problem[] }
  const source = parseYamlSource('', writeBlock(data, 0), lists)
  const { value } = parseValue(companyRuleSchema, source.data, source.report)
  // `x` and `[x]` become the same rule.
  const built = value === undefined ? undefined : buildCompanyRule(value, 0, (condition) => condition as never)
  return { built, problems: lists.problems.map(({ message, path }) => `${path} ${message}`) }
}

describe('the form of a rule', () => {
  it('means the same rule on the way there and back, also made anew', () => {
    fc.assert(
      fc.property(rule, (data) => {
        const form = ruleToForm(data)
        if (form === undefined) throw new Error('no form')
        const { problems, rule: again } = formToRule(form)
        expect(problems).toEqual([])
        expect(parsed(again)).toEqual(parsed(data))
      }),
      { numRuns: 500 },
    )
  })

  it('writes nothing differently that was not touched', () => {
    fc.assert(
      fc.property(rule, (data) => {
        const form = ruleToForm(data)
        if (form === undefined) throw new Error('no form')
        expect(isSameData(formToRule(form, data).rule, data)).toBe(true)
        const renamed = formToRule({ ...form, name: 'another' }, data).rule
        expect(isSameData(renamed, { ...data, name: 'another' })).toBe(true)
      }),
      { numRuns: 500 },
    )
  })

  it('keeps what it has no field for, right or wrong, as YAML', () => {
    const wrong: YamlData = {
      allow: { groups: ['a'], users: ['b@c.de'] },
      deny: { groups: [] },
      colour: { a: [1, null] },
      from: 5,
      when: [],
    }
    const form = ruleToForm(wrong)
    expect(form?.rest).toContain('colour')
    expect(form?.rest).toContain('deny')
    expect(form && formToRule(form).rule).toEqual({ ...wrong, allow: [wrong['allow']] })
  })

  it('has no form for what is no map or holds what could not be read', () => {
    expect(ruleToForm('x')).toBeUndefined()
    expect(ruleToForm(readYamlData('allow: !tag x\nname: y').data)).toBeUndefined()
  })

  it('asks for whom a rule is, for a level, and for YAML that can be read', () => {
    const form = ruleToForm({ allow: { groups: ['a'] } })
    if (form === undefined) throw new Error('no form')
    const { problems } = formToRule({
      ...form,
      who: [],
      rest: '- a',
      when: [
        { kind: 'level', fields: {} },
        { kind: 'yaml', fields: { yaml: 'a: [' } },
      ],
    })
    expect(problems.map(({ field }) => field)).toEqual(['who', 'when.0', 'when.1', 'rest'])
  })

  it('finds the field and the line of what is wrong', () => {
    const text = 'name: x\nallow: { groups: [] }\nwhen:\n  - mfa\n  - { sign_in: { within: 5 } }\npaths: [admin]\nfrom: soon\n'
    const found = judgeRuleText(text, false).map(({ field, line }) => [field, line])
    expect(found).toEqual([
      ['who.0', 2],
      ['when.1', 5],
      ['paths', 6],
      ['from', 7],
    ])
    expect(fieldOfPath(stepsOf('allow.all_of[1].groups'))).toBe('who.1')
    expect(stepsOf('apps.2.rules.0.when')).toEqual(['apps', 2, 'rules', 0, 'when'])
    expect(stepsOf('apps[2].rules[0].when[`a b`]')).toEqual(['apps', 2, 'rules', 0, 'when', 'a b'])
  })
})
