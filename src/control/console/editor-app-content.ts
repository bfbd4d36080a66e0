/**
 * The fields of an app as a form has them, and the changes that a form that comes back asks for: of fields that were changed, and of no other.
 */

import type { PolicyEdit } from '../../config/edit-policy.ts'
import type { YamlData } from '../../config/edit-yaml-text.ts'
import type { OutlinedApp } from '../../config/policy-editor.ts'

interface AppField {
  /** Path of keys below the app. */
  readonly path: readonly string[]
  readonly label: string
  readonly hint?: string
  readonly choices?: readonly string[]
}

/** In the order of the page. A field whose value is written otherwise is not offered. */
const appFields: readonly AppField[] = [
  { path: ['name'], label: 'Name' },
  { path: ['url'], label: 'Public address', hint: 'An origin, perhaps with a path: https://payroll.corp.example' },
  { path: ['upstream'], label: 'Upstream', hint: 'Where the app is: http://payroll.internal:8080' },
  { path: ['sensitivity'], label: 'Sensitivity', choices: ['open', 'internal', 'confidential', 'restricted'] },
  { path: ['description'], label: 'Description', hint: 'One sentence in the portal.' },
  { path: ['owner'], label: 'Owner', hint: 'Shown with refusals.' },
  { path: ['help'], label: 'Help', hint: 'Where to ask for access: a URL or an e-mail address.' },
  { path: ['portal'], label: 'In the portal', choices: ['if_relevant', 'if_allowed', 'listed', 'hidden'] },
  { path: ['session', 'idle_timeout'], label: 'Session ends after idle', hint: 'Such as 10m; stricter than the instance’s only.' },
  { path: ['session', 'lifetime'], label: 'Session ends in any case after', hint: 'Such as 8h.' },
  { path: ['max_body'], label: 'Largest upload', hint: 'Such as 200MiB; no limit if it is left out.' },
  { path: ['preserve_host'], label: 'Upstream sees the public host', choices: ['true', 'false'] },
  { path: ['strip_prefix'], label: 'Path prefix is cut', choices: ['true', 'false'] },
]

/** A field as the page shows it. */
export interface AppFieldView {
  readonly name: string
  readonly id: string
  readonly label: string
  readonly hint: string | undefined
  readonly value: string
  readonly choices: readonly { readonly value: string; readonly isChosen: boolean }[]
  readonly errors: readonly string[]
  /** It is written in a way that a line of text would flatten. */
  readonly isFixed: boolean
}

export function describeAppFields(
  app: OutlinedApp,
  problems: readonly { readonly below: string; readonly message: string; readonly expected: string | undefined }[],
): readonly AppFieldView[] {
  return appFields.map(({ choices, hint, label, path }) => {
    const name = path.join('.')
    const value = valueAt(app, path)
    const text = asText(value, choices)
    const errors = problems.filter(({ below }) => below === name || below.startsWith(`${name}.`))
    return {
      name,
      id: `app-${name.replaceAll('.', '-')}`,
      label,
      hint,
      value: text ?? '',
      choices: choices === undefined ? [] : ['', ...choices].map((choice) => ({ value: choice, isChosen: choice === (text ?? '') })),
      errors: errors.map(
        ({ expected, message }) =>
          `${message.charAt(0).toUpperCase()}${message.slice(1)}${expected === undefined ? '' : `; expected ${expected}`}.`,
      ),
      isFixed: text === undefined,
    }
  })
}

/** One edit for each field that was changed. */
export function readAppFields(sent: URLSearchParams, app: OutlinedApp): readonly PolicyEdit[] {
  return appFields.flatMap(({ choices, path }): PolicyEdit[] => {
    const name = path.join('.')
    const before = asText(valueAt(app, path), choices)
    const now = sent.get(name)
    if (now === null || before === undefined || now.trim() === before) return []
    const text = now.trim()
    const isBoolean = choices?.[0] === 'true'
    if (choices !== undefined && text !== '' && !choices.includes(text)) return []
    const value: YamlData | undefined = text === '' ? undefined : isBoolean ? text === 'true' : text
    return [{ kind: 'set_app_field', app: app.id, field: path, value }]
  })
}

function valueAt(app: OutlinedApp, path: readonly string[]): YamlData | undefined {
  let value: YamlData | undefined = app.fields
  for (const key of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined
    value = (value as Readonly<Record<string, YamlData>>)[key]
  }
  return value
}

/** Empty where there is none; `undefined`: no line of text. */
function asText(value: YamlData | undefined, choices: readonly string[] | undefined): string | undefined {
  if (value === undefined) return ''
  if (typeof value === 'boolean' && choices?.[0] === 'true') return String(value)
  if (typeof value !== 'string' || /[\r\n]/.test(value)) return undefined
  return choices === undefined || choices.includes(value) ? value : undefined
}
