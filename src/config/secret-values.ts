/**
 * Secrets of the instance configuration: from `NAME`, `NAME_file` or `${ENV}` to a wrapped value.
 *
 * Nothing here puts a value into a message, and none of these values is echoed elsewhere. A secret that everybody knows is worse
 * than a missing one, because it looks like protection: the values of examples and other people's defaults are refused.
 */

import { stat } from 'node:fs/promises'
import { Secret } from './instance.ts'
import type { Path, Report } from './problems.ts'
import { explainFileError, loadFile } from './yaml-source.ts'

export type Environment = Readonly<Record<string, string | undefined>>

const maxSecretBytes = 64 * 1024

/** Values found in documentation, images and lists of defaults; compared without case and separators. */
const wellKnown = new Set(
  'changeme changeit changethis changemeplease replaceme secret secretsecret mysecret topsecret clientsecret myclientsecret yourclientsecret yoursecret password passw0rd password123 postern posternsecret keycloak admin adminadmin default example test testtest demo foobared redis redispassword letmein qwerty todo none null undefined xxxxxxxx 12345678 123456789 1234567890 0123456789abcdef 1234567890123456'.split(
    ' ',
  ),
)

/** Whether anybody would guess this value: a known default, one character repeated, or a counted row. */
export function isGuessable(value: string): boolean {
  const folded = value.toLowerCase().replace(/[-_ .!<>$]/g, '')
  return folded === '' || wellKnown.has(folded) || new Set(value).size <= 2
}

const reference = /\$\{([A-Za-z_][A-Za-z0-9_]*)\}/g

/** Whether `text` asks for the environment. */
export function hasReference(text: string): boolean {
  return text.search(reference) !== -1
}

/**
 * Replaces `${NAME}`. Within a URL the value is escaped, so that a store password with `@` or `/` cannot move the URL's host.
 * `undefined` after reporting a variable that is missing or empty.
 */
export function expandReferences(text: string, environment: Environment, report: Report, path: Path): string | undefined {
  let isComplete = true
  const isUrl = /^[a-z][a-z0-9+.-]*:\/\//i.test(text)
  const expanded = text.replace(reference, (_match, name: string) => {
    const value = environment[name]
    if (value !== undefined && value !== '') return isUrl ? encodeURIComponent(value) : value
    isComplete = false
    report.problem(path, `the environment variable ${name} is ${value === undefined ? 'not set' : 'empty'}`)
    return ''
  })
  return isComplete ? expanded : undefined
}

/** The text of a secret file less one trailing line break. `undefined` after reporting why there is none. */
export async function loadSecretFile(file: string, report: Report, path: Path): Promise<string | undefined> {
  const bytes = await loadFile(file, maxSecretBytes)
  if (typeof bytes === 'string') {
    report.problem(path, `the secret cannot be read: ${bytes}`)
    return undefined
  }
  await warnIfOpen(file, report, path)
  const text = bytes.toString('utf8').replace(/\r?\n$/, '')
  if (text === '') {
    report.problem(path, 'the secret file is empty')
    return undefined
  }
  return text
}

/** Warns about a file that every user of the machine may read. */
export async function warnIfOpen(file: string, report: Report, path: Path): Promise<void> {
  try {
    const { mode } = await stat(file)
    if ((mode & 0o004) !== 0) {
      report.warning(path, 'every user of this machine may read this file', { suggestion: 'run `chmod o-rwx` on it' })
    }
  } catch (error) {
    report.problem(path, explainFileError(error))
  }
}

export interface SecretSource {
  /** Where the key `NAME` is, or would be. */
  readonly path: Path
  readonly written: string | undefined
  /** Absolute path from `NAME_file`. */
  readonly file: string | undefined
  readonly leastLength: number
}

/** The value of a secret written in any of the three ways; `undefined` if it is not written at all, or after a report. */
export async function resolveSecret(source: SecretSource, environment: Environment, report: Report): Promise<Secret | undefined> {
  const { path, written, file } = source
  const filePath = [...path.slice(0, -1), `${String(path.at(-1))}_file`]
  if (written !== undefined && file !== undefined) {
    report.problem(filePath, 'the secret is given twice, here and as text', { suggestion: 'keep one of them', at: 'key' })
    return undefined
  }
  const place = file === undefined ? path : filePath
  const value =
    file !== undefined
      ? await loadSecretFile(file, report, filePath)
      : written === undefined
        ? undefined
        : expandReferences(written, environment, report, path)
  if (value === undefined) return undefined
  if (isGuessable(value)) report.problem(place, 'this secret is one that anybody would guess')
  else if (value.length < source.leastLength) report.problem(place, `this secret is too short: at least ${source.leastLength} characters`)
  else if (/\p{Cc}/u.test(value)) report.problem(place, 'this secret holds a line break or another control character')
  else return new Secret(value)
  return undefined
}
