/**
 * The fields of the rule form as a browser sends them, read into the form's value: everything is text of a stranger until here.
 *
 * Rows are numbered from 0 and end where none has a kind; a row whose kind was emptied is gone. Numbers and lengths are bounded, so that a form
 * that was made by hand costs no more than one of ours.
 */

import type { ConditionForm, RuleForm, SelectorForm } from '../../config/policy-form.ts'

export const selectorKinds = ['groups', 'users', 'domains', 'services', 'claim', 'signed_in', 'everyone', 'public', 'yaml'] as const
export const conditionKinds = ['level', 'sign_in', 'device', 'network', 'time', 'expression', 'yaml'] as const
export const methodClasses = ['read', 'write', 'websocket'] as const
export const sensitivities = ['open', 'internal', 'confidential', 'restricted'] as const

const mostRows = 60
const mostValues = 500

/** Fields of a condition by kind: the same as the form's, in the order in which the page shows them. */
export const conditionFieldNames: Readonly<Record<(typeof conditionKinds)[number], readonly string[]>> = {
  level: ['level'],
  sign_in: ['strength', 'within', 'acr', 'amr'],
  device: [
    'known',
    'managed',
    'disk_encrypted',
    'screen_lock',
    'firewall',
    'os',
    'tags',
    'serials',
    'attributes',
    'reported_within',
    'identified_by',
  ],
  network: ['cidrs', 'cidrs_file', 'countries', 'asns'],
  time: ['days', 'between', 'zone', 'from', 'until'],
  expression: ['expression'],
  yaml: ['yaml'],
}

/** The form of a rule, as it was sent. */
export function readRuleForm(sent: URLSearchParams): RuleForm {
  const verb = sent.get('verb')
  const names = (sent.get('method_names') ?? '').split(/[\s,]+/).filter((name) => name !== '')
  return {
    name: line(sent.get('name')),
    verb: verb === 'deny' || verb === 'require' ? verb : 'allow',
    join: sent.get('join') === 'all' ? 'all' : 'any',
    who: rows(sent, 'who').flatMap((row) => readSelector(sent, row)),
    require: readConditions(sent, 'require'),
    when: readConditions(sent, 'when'),
    unless: readConditions(sent, 'unless'),
    methods: [
      ...valuesOf(sent, 'methods').filter((value) => (methodClasses as readonly string[]).includes(value)),
      ...names.slice(0, mostValues),
    ],
    paths: linesOf(sent.get('paths') ?? ''),
    from: line(sent.get('from')),
    until: line(sent.get('until')),
    mode: sent.get('mode') === 'report' ? 'report' : 'enforce',
    alert: sent.get('alert') === 'yes',
    apps: valuesOf(sent, 'apps'),
    sensitivity: valuesOf(sent, 'sensitivity').filter((value) => (sensitivities as readonly string[]).includes(value)),
    rest: text(sent.get('rest')),
  }
}

/** One condition, by the prefix of its fields; `undefined` where its kind was emptied. */
export function readCondition(sent: URLSearchParams, row: string): ConditionForm | undefined {
  const kind = conditionKinds.find((one) => one === sent.get(`${row}.kind`))
  if (kind === undefined) return undefined
  const fields: Record<string, string> = {}
  for (const name of conditionFieldNames[kind]) {
    // Several inputs of one name are the lines of a list.
    const value = valuesOf(sent, `${row}.${name}`, true).join('\n')
    if (value.trim() !== '') fields[name] = value
  }
  return { kind, fields }
}

function readConditions(sent: URLSearchParams, key: string): readonly ConditionForm[] {
  return rows(sent, key).flatMap((row) => readCondition(sent, row) ?? [])
}

function readSelector(sent: URLSearchParams, row: string): readonly SelectorForm[] {
  const kind = selectorKinds.find((one) => one === sent.get(`${row}.kind`))
  if (kind === undefined) return []
  const isNamed = kind === 'groups' || kind === 'users' || kind === 'domains' || kind === 'services' || kind === 'claim'
  return [
    {
      kind,
      values: isNamed ? valuesOf(sent, `${row}.values`) : [],
      claim: kind === 'claim' ? line(sent.get(`${row}.claim`)) : '',
      yaml: kind === 'yaml' ? text(sent.get(`${row}.yaml`)) : '',
    },
  ]
}

function rows(sent: URLSearchParams, key: string): readonly string[] {
  const found: string[] = []
  for (let index = 0; index < mostRows && sent.has(`${key}.${index}.kind`); index += 1) found.push(`${key}.${index}`)
  return found
}

function valuesOf(sent: URLSearchParams, name: string, isText = false): readonly string[] {
  const values = sent.getAll(name).map((value) => (isText ? text(value) : line(value)))
  return values.filter((value) => value.trim() !== '').slice(0, mostValues)
}

function linesOf(value: string): readonly string[] {
  return value
    .split(/\r?\n/)
    .map((one) => one.trim())
    .filter((one) => one !== '')
    .slice(0, mostValues)
}

function line(value: string | null): string {
  return (value ?? '').replace(/[\r\n]+/g, ' ').trim()
}

function text(value: string | null): string {
  return (value ?? '').replaceAll('\r\n', '\n')
}
