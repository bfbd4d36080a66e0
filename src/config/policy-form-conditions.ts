/**
 * A condition as a form has it: the name of a level, or a kind with a text for each of its keys; anything else as YAML.
 */

import { readYamlData } from './edit-yaml.ts'
import { isListData, isMapData, isSameData, writeBlock, type YamlData } from './edit-yaml-text.ts'

/** What is wrong with a form, at its field. */
export interface FormProblem {
  readonly field: string
  readonly message: string
}

export const conditionKinds = ['level', 'sign_in', 'device', 'network', 'time', 'expression', 'yaml'] as const
export type ConditionKind = (typeof conditionKinds)[number]

export interface ConditionForm {
  readonly kind: ConditionKind
  /** By field: lists have a line each, booleans are `yes` and `no`. What is not asked for has no field. `level`, `expression` and `yaml` have one of their name. */
  readonly fields: Readonly<Record<string, string>>
}

/** How the text of a field and the value of a key become each other. `undefined`: not with this kind of field. */
type FieldKind = 'text' | 'list' | 'bool' | 'numbers' | 'map'

/** The keys that forms have fields for, kind by kind, in their order. */
export const conditionFields: Readonly<Record<'sign_in' | 'device' | 'network' | 'time', Readonly<Record<string, FieldKind>>>> = {
  sign_in: { strength: 'text', within: 'text', acr: 'list', amr: 'list' },
  device: {
    known: 'bool',
    managed: 'bool',
    disk_encrypted: 'bool',
    screen_lock: 'bool',
    firewall: 'bool',
    os: 'list',
    tags: 'list',
    serials: 'list',
    attributes: 'map',
    reported_within: 'text',
    identified_by: 'text',
  },
  network: { cidrs: 'list', cidrs_file: 'text', countries: 'list', asns: 'numbers' },
  time: { days: 'list', between: 'list', zone: 'text', from: 'text', until: 'text' },
}

/** The form of a condition. Total: what has no fields is YAML. */
export function conditionToForm(condition: YamlData): ConditionForm {
  if (isLine(condition)) return { kind: 'level', fields: { level: condition } }
  const asYaml: ConditionForm = { kind: 'yaml', fields: { yaml: writeBlock(condition, 0) } }
  if (!isMapData(condition)) return asYaml
  const [entry, ...others] = Object.entries(condition)
  if (entry === undefined || others.length > 0) return asYaml
  const [kind, value] = entry
  if (kind === 'expression') {
    const isText = typeof value === 'string' && value.trim() !== '' && !/[^\P{Cc}\n\t]/u.test(value)
    return isText ? { kind, fields: { expression: value } } : asYaml
  }
  if (!isFieldKind(kind) || !isMapData(value)) return asYaml
  const known = conditionFields[kind]
  const fields: Record<string, string> = {}
  for (const [key, inner] of Object.entries(value)) {
    const field = Object.hasOwn(known, key) ? known[key] : undefined
    const text = field === undefined ? undefined : toText(inner, field)
    if (text === undefined) return asYaml
    fields[key] = text
  }
  return { kind, fields }
}

/** The condition that a form means; what cannot be read is told at `field`. */
export function formToCondition(form: ConditionForm, field: string, problems: FormProblem[]): YamlData {
  const { fields, kind } = form
  switch (kind) {
    case 'level': {
      const level = fields['level'] ?? ''
      if (level === '') problems.push({ field, message: 'Choose a level.' })
      return level
    }
    case 'expression':
      return { expression: (fields['expression'] ?? '').replaceAll('\r\n', '\n') }
    case 'yaml':
      return readSnippet(fields['yaml'] ?? '', field, problems)
    default: {
      const entries = Object.entries(conditionFields[kind]).flatMap(([key, how]): [string, YamlData][] => {
        const text = fields[key] ?? ''
        return text.trim() === '' ? [] : [[key, fromText(text, how, field, problems)]]
      })
      return { [kind]: Object.fromEntries(entries) }
    }
  }
}

/** A value written as YAML in a field of its own. */
export function readSnippet(text: string, field: string, problems: FormProblem[]): YamlData {
  const { data } = readYamlData(text.replaceAll('\r\n', '\n'))
  if (data !== undefined) return data
  problems.push({ field, message: 'This cannot be read as YAML.' })
  return {}
}

/** `[x]` and `x` mean the same wherever a rule takes both: what means the same stays as it was written. */
export function keepSpelling(before: YamlData | undefined, after: YamlData): YamlData {
  if (before === undefined || isSameData(before, after)) return before ?? after
  if (isListData(after)) {
    const [only] = after
    if (!isListData(before))
      return after.length === 1 && only !== undefined && isSameData(keepSpelling(before, only), before) ? before : after
    return after.map((entry, index) => keepSpelling(before[index], entry))
  }
  if (isListData(before)) {
    const [only] = before
    return before.length === 1 && only !== undefined && isSameData(keepSpelling(only, after), only) ? before : after
  }
  if (!isMapData(before) || !isMapData(after)) return after
  return Object.fromEntries(Object.entries(after).map(([key, value]) => [key, keepSpelling(before[key], value)]))
}

function isFieldKind(kind: string): kind is keyof typeof conditionFields {
  return Object.hasOwn(conditionFields, kind)
}

function isLine(value: YamlData): value is string {
  return typeof value === 'string' && value !== '' && value === value.trim() && !/[\p{Cc}\u2028\u2029]/u.test(value)
}

function toText(value: YamlData, field: FieldKind): string | undefined {
  switch (field) {
    case 'text':
      return isLine(value) ? value : undefined
    case 'bool':
      return value === true ? 'yes' : value === false ? 'no' : undefined
    case 'map':
      return isMapData(value) && Object.keys(value).length > 0 ? writeBlock(value, 0) : undefined
    default: {
      const list = isListData(value) ? value : [value]
      const lines = list.map((entry) => {
        if (field === 'numbers' && typeof entry === 'number') return String(entry)
        return isLine(entry) && !(field === 'numbers' && /^\d+$/.test(entry)) ? entry : undefined
      })
      return list.length === 0 || lines.includes(undefined) ? undefined : lines.join('\n')
    }
  }
}

function fromText(text: string, field: FieldKind, at: string, problems: FormProblem[]): YamlData {
  switch (field) {
    case 'text':
      return text.trim()
    case 'bool':
      return text === 'yes'
    case 'map':
      return readSnippet(text, at, problems)
    default:
      return linesOf(text).map((line) => (field === 'numbers' && /^\d{1,10}$/.test(line) ? Number(line) : line))
  }
}

/** What stands in a field of several lines, an entry each. */
export function linesOf(text: string): readonly string[] {
  return text
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter((line) => line !== '')
}
