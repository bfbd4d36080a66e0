/**
 * A rule as a form has it: texts, choices and lists, from the data of a document and back, without loss.
 *
 * What the form has no field for stays as YAML in a field of its own: a condition of conditions, a key that is not known, a value of another kind
 * than its key wants. So any map can be shown, also one that is wrong, and nothing that was not touched is written differently afterwards.
 * Whether it is right is judged elsewhere (`policy-form-problems.ts`).
 */

import { readYamlData } from './edit-yaml.ts'
import { isListData, isMapData, isSameData, writeBlock, type YamlData } from './edit-yaml-text.ts'
import {
  type ConditionForm,
  conditionToForm,
  type FormProblem,
  formToCondition,
  keepSpelling,
  readSnippet,
} from './policy-form-conditions.ts'

export type { ConditionForm, FormProblem } from './policy-form-conditions.ts'

export type RuleVerb = 'allow' | 'deny' | 'require'

export const selectorKinds = ['groups', 'users', 'domains', 'services', 'claim', 'signed_in', 'everyone', 'public', 'yaml'] as const

/** One line of "who". */
export interface SelectorForm {
  readonly kind: (typeof selectorKinds)[number]
  /** Names of groups, addresses, domains, services, or values of the claim. */
  readonly values: readonly string[]
  /** Path of the claim. */
  readonly claim: string
  /** Of the kind `yaml`. */
  readonly yaml: string
}

export interface RuleForm {
  readonly name: string
  readonly verb: RuleVerb
  /** Whether one of the lines is enough, or all of them are needed. */
  readonly join: 'any' | 'all'
  readonly who: readonly SelectorForm[]
  readonly require: readonly ConditionForm[]
  readonly when: readonly ConditionForm[]
  readonly unless: readonly ConditionForm[]
  readonly methods: readonly string[]
  readonly paths: readonly string[]
  readonly from: string
  readonly until: string
  readonly mode: 'enforce' | 'report'
  readonly alert: boolean
  /** Of rules of the company. */
  readonly apps: readonly string[]
  readonly sensitivity: readonly string[]
  /** Everything else, as YAML. Mostly empty. */
  readonly rest: string
}

type MapData = { readonly [key: string]: YamlData }

const emptyRule: RuleForm = {
  name: '',
  verb: 'allow',
  join: 'any',
  who: [],
  require: [],
  when: [],
  unless: [],
  methods: [],
  paths: [],
  from: '',
  until: '',
  mode: 'enforce',
  alert: false,
  apps: [],
  sensitivity: [],
  rest: '',
}

const listKeys = ['methods', 'paths', 'apps', 'sensitivity'] as const
const textKeys = ['name', 'from', 'until'] as const
const conditionKeys = ['require', 'when', 'unless'] as const
type ListKey = (typeof listKeys)[number]
type TextKey = (typeof textKeys)[number]
type ConditionKey = (typeof conditionKeys)[number]

/** A line that a text field can hold as it is. */
export function isFieldText(value: YamlData | undefined): value is string {
  return typeof value === 'string' && value !== '' && value === value.trim() && !/[\p{Cc}\u2028\u2029]/u.test(value)
}

/** The form of a rule; `undefined` where it is no map, or holds what could not be read. */
export function ruleToForm(rule: YamlData | undefined): RuleForm | undefined {
  if (!isMapData(rule) || hasUnreadable(rule)) return undefined
  const verb =
    rule['allow'] !== undefined ? 'allow' : rule['deny'] !== undefined ? 'deny' : rule['require'] !== undefined ? 'require' : 'allow'
  const form: Record<string, unknown> = { ...emptyRule, verb }
  const rest: Record<string, YamlData> = {}
  for (const [key, value] of Object.entries(rule)) {
    const taken = takeKey(key, value, verb)
    if (taken === undefined) rest[key] = value
    else Object.assign(form, taken)
  }
  return { ...(form as unknown as RuleForm), rest: Object.keys(rest).length === 0 ? '' : writeBlock(rest, 0) }
}

/** What a key becomes in the form; `undefined`: it has no field there. */
function takeKey(key: string, value: YamlData, verb: RuleVerb): Partial<RuleForm> | undefined {
  if ((textKeys as readonly string[]).includes(key)) return isFieldText(value) ? { [key as TextKey]: value } : undefined
  if ((listKeys as readonly string[]).includes(key)) {
    return isListData(value) && value.length > 0 && value.every(isFieldText) ? { [key as ListKey]: value } : undefined
  }
  if ((conditionKeys as readonly string[]).includes(key)) {
    const list = isListData(value) ? value : [value]
    return list.length === 0 ? undefined : { [key as ConditionKey]: list.map(conditionToForm) }
  }
  if (key === 'mode') return value === 'report' || value === 'enforce' ? { mode: value } : undefined
  if (key === 'alert') return typeof value === 'boolean' ? { alert: value } : undefined
  if (key === (verb === 'require' ? 'for' : verb)) return takeWho(value)
  return undefined
}

function takeWho(value: YamlData): Pick<RuleForm, 'join' | 'who'> | undefined {
  if (isListData(value)) return value.length === 0 ? undefined : { join: 'any', who: value.map(selectorToForm) }
  if (!isMapData(value)) return undefined
  const all = value['all_of']
  if (isListData(all) && all.length > 0 && Object.keys(value).length === 1) return { join: 'all', who: all.map(selectorToForm) }
  return { join: 'any', who: [selectorToForm(value)] }
}

function selectorToForm(selector: YamlData): SelectorForm {
  const asYaml: SelectorForm = { kind: 'yaml', values: [], claim: '', yaml: writeBlock(selector, 0) }
  if (!isMapData(selector)) return asYaml
  const [entry, ...others] = Object.entries(selector)
  if (entry === undefined || others.length > 0) return asYaml
  const [key, value] = entry
  if (key === 'signed_in' || key === 'everyone' || key === 'public') {
    return value === true ? { kind: key, values: [], claim: '', yaml: '' } : asYaml
  }
  if (key === 'groups' || key === 'users' || key === 'domains' || key === 'services') {
    return isListData(value) && value.length > 0 && value.every(isFieldText) ? { kind: key, values: value, claim: '', yaml: '' } : asYaml
  }
  if (key !== 'claims' || !isMapData(value)) return asYaml
  const [claim, ...more] = Object.entries(value)
  if (claim === undefined || more.length > 0 || !isFieldText(claim[0])) return asYaml
  const values = isListData(claim[1]) ? claim[1] : [claim[1]]
  return values.length > 0 && values.every(isFieldText) ? { kind: 'claim', values, claim: claim[0], yaml: '' } : asYaml
}

/** What a form means, as data; `before` is what it was made from: parts that did not change keep the way they are written. */
export function formToRule(form: RuleForm, before?: YamlData): { readonly rule: MapData; readonly problems: readonly FormProblem[] } {
  const problems: FormProblem[] = []
  const rule: Record<string, YamlData> = {}
  const former = ruleToForm(before)
  const was: MapData = isMapData(before) ? before : {}
  const put = (key: string, value: YamlData | undefined, isUntouched: boolean) => {
    const old = was[key]
    if (isUntouched && old !== undefined) rule[key] = old
    else if (value !== undefined) rule[key] = keepSpelling(old, value)
  }
  for (const key of textKeys) put(key, form[key] === '' ? undefined : form[key], former?.[key] === form[key])
  const who = formToWho(form, problems)
  const isSameWho = former?.verb === form.verb && former.join === form.join && isSameData(former.who, form.who)
  put(form.verb === 'require' ? 'for' : form.verb, who, isSameWho && former?.who.length !== 0)
  for (const key of listKeys) put(key, form[key].length === 0 ? undefined : form[key], isSameData(former?.[key], form[key]))
  for (const key of conditionKeys) {
    const conditions = form[key].map((condition, index) => formToCondition(condition, `${key}.${index}`, problems))
    const isNeeded = conditions.length > 0 || (key === 'require' && form.verb === 'require')
    // An empty list: it says that something is missing, where leaving it out would make another rule.
    put(key, isNeeded ? conditions : undefined, isSameData(former?.[key], form[key]) && form[key].length > 0)
  }
  put('mode', form.mode === 'report' ? 'report' : undefined, former?.mode === form.mode)
  put('alert', form.alert ? true : undefined, former?.alert === form.alert)
  Object.assign(rule, restOf(form, problems))
  return { rule, problems }
}

function formToWho(form: RuleForm, problems: FormProblem[]): YamlData | undefined {
  const selectors = form.who.map((selector, index) => formToSelector(selector, index, problems))
  const [only, ...more] = selectors
  if (only === undefined) {
    if (form.verb === 'require') return undefined
    problems.push({ field: 'who', message: 'Say whom this rule is for.' })
    return {}
  }
  if (form.join === 'all') return { all_of: selectors }
  return more.length === 0 && isMapData(only) && form.who[0]?.kind !== 'yaml' ? only : selectors
}

function formToSelector(selector: SelectorForm, index: number, problems: FormProblem[]): YamlData {
  switch (selector.kind) {
    case 'yaml':
      return readSnippet(selector.yaml, `who.${index}`, problems)
    case 'signed_in':
    case 'everyone':
    case 'public':
      return { [selector.kind]: true }
    case 'claim':
      return { claims: { [selector.claim]: selector.values } }
    default:
      return { [selector.kind]: selector.values }
  }
}

function restOf(form: RuleForm, problems: FormProblem[]): MapData {
  if (form.rest.trim() === '') return {}
  const { data } = readYamlData(form.rest)
  if (isMapData(data)) return data
  problems.push({ field: 'rest', message: 'This is not a map of further keys.' })
  return {}
}

function hasUnreadable(value: unknown): boolean {
  if (typeof value === 'symbol') return true
  return typeof value === 'object' && value !== null && Object.values(value).some(hasUnreadable)
}

/** The field of the form that a path within the rule belongs to: `when.1`, `who.0`, `paths`; empty: the rule as a whole. */
export function fieldOfPath(path: readonly (string | number)[]): string {
  const [key, ...below] = path
  if (key === undefined) return ''
  if (key === 'allow' || key === 'deny' || key === 'for') {
    const index = below.find((step) => typeof step === 'number' || !['all_of'].includes(String(step)))
    return `who.${typeof index === 'number' ? index : 0}`
  }
  if (key === 'require' || key === 'when' || key === 'unless') return `${key}.${typeof below[0] === 'number' ? below[0] : 0}`
  return (textKeys as readonly (string | number)[]).includes(key) ||
    (listKeys as readonly (string | number)[]).includes(key) ||
    key === 'mode' ||
    key === 'alert'
    ? String(key)
    : 'rest'
}
