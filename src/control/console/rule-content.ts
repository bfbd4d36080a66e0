/**
 * View models of the rule form and of the level form: rows with the fields of their kind, what is wrong at each, and words to complete.
 *
 * Pure. Names, addresses and whatever else stands in a policy is text that templates escape.
 */

import type { ConditionForm, FormProblem, RuleForm, SelectorForm } from '../../config/policy-form.ts'
import type { PieceProblem } from '../../config/policy-form-problems.ts'
import { conditionFieldNames, conditionKinds, methodClasses, selectorKinds, sensitivities } from './rule-form-fields.ts'

/** Words that really occur, by what they complete. */
export type Words = Readonly<
  Record<
    'groups' | 'users' | 'domains' | 'services' | 'levels' | 'apps' | 'acr' | 'amr' | 'countries' | 'tags' | 'attributes' | 'strengths',
    readonly string[]
  >
>

interface Choice {
  readonly value: string
  readonly label: string
  readonly isChosen: boolean
}

interface FieldView {
  readonly name: string
  readonly id: string
  readonly label: string
  readonly hint: string | undefined
  readonly control: 'line' | 'lines' | 'values' | 'yesno' | 'choice' | 'code'
  readonly value: string
  /** Of `values`: one input each, with an empty one at the end. */
  readonly values: readonly string[]
  readonly choices: readonly Choice[]
  readonly list: string | undefined
}

/** One row: a condition or a selector. */
export interface RowView {
  readonly name: string
  readonly legend: string
  readonly kinds: readonly Choice[]
  readonly fields: readonly FieldView[]
  readonly errors: readonly string[]
  readonly isSpare: boolean
}

const selectorLabels: Readonly<Record<(typeof selectorKinds)[number], string>> = {
  groups: 'Groups',
  users: 'People by e-mail',
  domains: 'E-mail domains',
  services: 'Services',
  claim: 'A claim',
  signed_in: 'Everybody who is signed in',
  everyone: 'Everyone',
  public: 'Anybody, without signing in',
  yaml: 'Something else (YAML)',
}

const conditionLabels: Readonly<Record<(typeof conditionKinds)[number], string>> = {
  level: 'Level',
  sign_in: 'Sign-in',
  device: 'Device',
  network: 'Network',
  time: 'Time',
  expression: 'Expression',
  yaml: 'Something else (YAML)',
}

interface FieldWords {
  readonly label: string
  readonly hint?: string
  readonly control: FieldView['control']
  readonly list?: keyof Words
}

const fieldWords: Readonly<Record<string, FieldWords>> = {
  level: { label: 'Name', control: 'line', list: 'levels' },
  strength: { label: 'Strength', hint: 'A name of provider.strengths, such as mfa.', control: 'line', list: 'strengths' },
  within: { label: 'At most this long ago', hint: 'Such as 15m, 1h or 12h.', control: 'line' },
  acr: { label: 'acr, any of', control: 'values', list: 'acr' },
  amr: { label: 'amr, any of', control: 'values', list: 'amr' },
  known: { label: 'In the inventory', control: 'yesno' },
  managed: { label: 'Managed', control: 'yesno' },
  disk_encrypted: { label: 'Disk encrypted', control: 'yesno' },
  screen_lock: { label: 'Screen lock', control: 'yesno' },
  firewall: { label: 'Firewall', control: 'yesno' },
  os: { label: 'Systems, any of', hint: 'One a line, with a version or without: macos >= 14.4', control: 'lines' },
  tags: { label: 'Tags, any of', control: 'values', list: 'tags' },
  serials: { label: 'Serial numbers, any of', hint: 'One a line.', control: 'lines' },
  attributes: { label: 'Further attributes', hint: 'One a line, as YAML: mdm.compliant: true', control: 'code', list: 'attributes' },
  reported_within: { label: 'Reported at most this long ago', hint: 'Such as 24h; a day where it is left out.', control: 'line' },
  identified_by: { label: 'Identified by', control: 'choice' },
  cidrs: { label: 'Networks, any of', hint: 'One a line: 10.0.0.0/8', control: 'lines' },
  cidrs_file: { label: 'Or networks of a file', hint: 'Such as networks/office.txt.', control: 'line' },
  countries: { label: 'Countries, any of', hint: 'Two letters, such as DE.', control: 'values', list: 'countries' },
  asns: { label: 'Network numbers, any of', hint: 'One a line: 64512', control: 'lines' },
  days: { label: 'Days', hint: 'One a line: mon-fri', control: 'lines' },
  between: { label: 'Hours', hint: 'One a line: 07:00-20:00', control: 'lines' },
  zone: { label: 'Time zone', hint: 'Such as Europe/Berlin; the document’s where it is left out.', control: 'line' },
  from: { label: 'First day', hint: 'Such as 2026-11-30.', control: 'line' },
  until: { label: 'Last day', hint: 'That day included.', control: 'line' },
  expression: { label: 'CEL expression', hint: 'Over subject, sign_in, device, environment and request.', control: 'code' },
  yaml: { label: 'As YAML', control: 'code' },
}

/** What the page of a rule shows. */
export function describeRuleForm(form: RuleForm, problems: readonly (FormProblem | PieceProblem)[], isCompany: boolean) {
  const errorsOf = (field: string) => problems.filter((problem) => problem.field === field).map(({ message }) => message)
  const conditions = (key: 'require' | 'when' | 'unless', legend: string) =>
    [...form[key], undefined].map((condition, index) =>
      describeCondition(condition, `${key}.${index}`, legend, errorsOf(`${key}.${index}`)),
    )
  const names = form.methods.filter((method) => !(methodClasses as readonly string[]).includes(method))
  return {
    name: form.name,
    nameErrors: errorsOf('name'),
    verbs: choices(['allow', 'deny', 'require'], form.verb, { allow: 'Lets in', deny: 'Keeps out', require: 'Requires' }),
    verb: form.verb,
    joins: choices(['any', 'all'], form.join, { any: 'any of these', all: 'all of these at once' }),
    who: [...form.who, undefined].map((selector, index) =>
      describeSelector(selector, index, [...errorsOf(`who.${index}`), ...(index === 0 ? errorsOf('who') : [])]),
    ),
    require: form.verb === 'require' || form.require.length > 0 ? conditions('require', 'Requirement') : [],
    when: conditions('when', 'Condition'),
    unless: conditions('unless', 'Exception'),
    methods: choices(methodClasses, form.methods, { read: 'Read', write: 'Write', websocket: 'WebSockets' }),
    methodNames: names.join(' '),
    methodErrors: errorsOf('methods'),
    paths: form.paths.join('\n'),
    pathErrors: errorsOf('paths'),
    from: form.from,
    fromErrors: errorsOf('from'),
    until: form.until,
    untilErrors: errorsOf('until'),
    isReport: form.mode === 'report',
    isAlert: form.alert,
    isCompany,
    apps: [...form.apps, ''],
    appsErrors: errorsOf('apps'),
    sensitivity: choices(sensitivities, form.sensitivity, {}),
    sensitivityErrors: errorsOf('sensitivity'),
    rest: form.rest,
    restErrors: errorsOf('rest'),
  }
}

/** One condition of a form, or the empty row that a new one is begun in. */
export function describeCondition(condition: ConditionForm | undefined, name: string, legend: string, errors: readonly string[]): RowView {
  const kind = condition?.kind ?? ''
  const fields = kind === '' ? [] : conditionFieldNames[kind]
  return {
    name,
    legend: `${legend} ${Number(name.split('.').at(-1) ?? 0) + 1}`.replace(' NaN', ''),
    kinds: [
      { value: '', label: condition === undefined ? 'Add one …' : 'Take it away', isChosen: condition === undefined },
      ...choices(conditionKinds, kind, conditionLabels),
    ],
    fields: fields.map((field) => describeField(name, field, condition?.fields[field] ?? '')),
    errors,
    isSpare: condition === undefined,
  }
}

function describeSelector(selector: SelectorForm | undefined, index: number, errors: readonly string[]): RowView {
  const name = `who.${index}`
  const kind = selector?.kind ?? ''
  const base = { hint: undefined, choices: [], list: undefined, value: '', values: [] } as const
  const field = (key: string, more: Pick<FieldView, 'label' | 'control'> & Partial<FieldView>): FieldView => ({
    ...base,
    name: `${name}.${key}`,
    id: `${name}.${key}`.replaceAll('.', '-'),
    ...more,
  })
  const values = [...(selector?.values ?? []), '']
  const fields: FieldView[] = []
  if (kind === 'claim')
    fields.push(
      field('claim', { label: 'Claim', control: 'line', value: selector?.claim ?? '', hint: 'Such as department, or realm.roles.' }),
    )
  if (kind === 'groups' || kind === 'users' || kind === 'domains' || kind === 'services') {
    fields.push(field('values', { label: selectorLabels[kind], control: 'values', values, list: `words-${kind}` }))
  }
  if (kind === 'claim') fields.push(field('values', { label: 'Is any of', control: 'values', values }))
  if (kind === 'yaml') fields.push(field('yaml', { label: 'As YAML', control: 'code', value: selector?.yaml ?? '' }))
  return {
    name,
    legend: `Who ${index + 1}`,
    kinds: [
      { value: '', label: selector === undefined ? 'Add …' : 'Take it away', isChosen: selector === undefined },
      ...choices(selectorKinds, kind, selectorLabels),
    ],
    fields,
    errors,
    isSpare: selector === undefined,
  }
}

function describeField(row: string, key: string, value: string): FieldView {
  const words = fieldWords[key] ?? { label: key, control: 'line' as const }
  const name = `${row}.${key}`
  const yesNo: readonly Choice[] = choices(['', 'yes', 'no'], value, { '': 'not asked', yes: 'yes', no: 'no' })
  const identified: readonly Choice[] = choices(['', 'certificate', 'claim'], value, {
    '': 'either',
    certificate: 'a certificate',
    claim: 'a claim',
  })
  return {
    name,
    id: name.replaceAll('.', '-'),
    label: words.label,
    hint: words.hint,
    control: words.control,
    value,
    values: words.control === 'values' ? [...value.split('\n').filter((one) => one !== ''), ''] : [],
    choices: words.control === 'yesno' ? yesNo : words.control === 'choice' ? withUnknown(identified, value) : [],
    list: words.list === undefined ? undefined : `words-${words.list}`,
  }
}

/** A value that the form does not know stays chosen. */
function withUnknown(known: readonly Choice[], value: string): readonly Choice[] {
  return known.some(({ isChosen }) => isChosen) ? known : [...known, { value, label: value, isChosen: true }]
}

function choices(
  values: readonly string[],
  chosen: string | readonly string[],
  labels: Readonly<Record<string, string>>,
): readonly Choice[] {
  const isChosen = (value: string) => (typeof chosen === 'string' ? chosen === value : chosen.includes(value))
  return values.map((value) => ({ value, label: labels[value] ?? value, isChosen: isChosen(value) }))
}

/** Lists for completion, each bounded, as the page prints them. */
export function describeWords(words: Words): readonly { readonly id: string; readonly values: readonly string[] }[] {
  return Object.entries(words)
    .filter(([, values]) => values.length > 0)
    .map(([kind, values]) => ({ id: `words-${kind}`, values: values.slice(0, 100) }))
}
