/**
 * Values as YAML text that reads the same to everybody: to this program, to an editor with another YAML version, and to people.
 *
 * A text stays plain only where no version of YAML reads anything else into it: `NO`, `on`, `2026-11-30`, `010` and `12:30` are quoted. Whatever
 * is quoted is quoted as JSON, which YAML 1.2 contains.
 */

/** Plain data as the reader of YAML makes it. */
export type YamlData = string | number | boolean | null | readonly YamlData[] | { readonly [key: string]: YamlData }

/** Lines of a document are at most so long where there is a choice. */
const mostColumns = 120

/** Lists of things that people read one a line. */
const blockKeys: ReadonlySet<string> = new Set(['apps', 'rules', 'levels', 'services'])

export function isMapData(value: YamlData | undefined): value is { readonly [key: string]: YamlData } {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

export function isListData(value: YamlData | undefined): value is readonly YamlData[] {
  return Array.isArray(value)
}

/** Whether two values are the same; the order of keys means nothing. */
export function isSameData(left: unknown, right: unknown): boolean {
  if (Object.is(left, right)) return true
  if (typeof left !== 'object' || typeof right !== 'object' || left === null || right === null) return false
  if (Array.isArray(left) || Array.isArray(right)) {
    return (
      Array.isArray(left) &&
      Array.isArray(right) &&
      left.length === right.length &&
      left.every((entry, index) => isSameData(entry, right[index]))
    )
  }
  const one = left as Readonly<Record<string, unknown>>
  const other = right as Readonly<Record<string, unknown>>
  const keys = Object.keys(one)
  return keys.length === Object.keys(other).length && keys.every((key) => Object.hasOwn(other, key) && isSameData(one[key], other[key]))
}

/** In one line, with braces and brackets. */
export function writeInline(value: YamlData): string {
  if (typeof value === 'string') return writeText(value)
  if (isListData(value)) return `[${value.map(writeInline).join(', ')}]`
  if (!isMapData(value)) return String(value)
  const entries = Object.entries(value)
  return entries.length === 0 ? '{}' : `{ ${entries.map(([key, inner]) => `${writeText(key)}: ${writeInline(inner)}`).join(', ')} }`
}

/** `key: value`, over several lines where it is long. `indent` is the column of the key; the first line is not indented, the last has no end. */
export function writePair(key: string, value: YamlData, indent: number): string {
  const inner = indent + 2
  const inline = writeInline(value)
  const head = `${writeText(key)}:`
  if (typeof value === 'string' && isLiteral(value)) return `${head} |-\n${indented(value, inner)}`
  const isCollection = (isListData(value) && value.length > 0) || (isMapData(value) && Object.keys(value).length > 0)
  if (!isCollection || (!blockKeys.has(key) && !hasLines(value) && head.length + inline.length + indent < mostColumns))
    return `${head} ${inline}`
  return `${head}\n${' '.repeat(inner)}${writeBlock(value, inner)}`
}

/** A map or list over several lines; the first line is not indented, the last has no end. */
export function writeBlock(value: YamlData, indent: number): string {
  const margin = `\n${' '.repeat(indent)}`
  if (isListData(value) && value.length > 0) return value.map((entry) => `- ${writeItem(entry, indent + 2)}`).join(margin)
  if (!isMapData(value) || Object.keys(value).length === 0) return writeInline(value)
  return Object.entries(value)
    .map(([key, inner]) => writePair(key, inner, indent))
    .join(margin)
}

/** An entry of a list, without its dash. */
export function writeItem(entry: YamlData, indent: number): string {
  const inline = writeInline(entry)
  const isLong =
    hasLines(entry) || inline.length + indent > mostColumns || (isMapData(entry) && Object.keys(entry).some((key) => blockKeys.has(key)))
  return isLong && typeof entry === 'object' ? writeBlock(entry, indent) : inline
}

/** Lines with a margin; empty lines stay empty. */
export function indented(text: string, columns: number): string {
  return text.replace(/^(?=.)/gm, ' '.repeat(columns))
}

function hasLines(value: YamlData): boolean {
  if (typeof value === 'string') return isLiteral(value)
  return typeof value === 'object' && value !== null && Object.values(value).some(hasLines)
}

function isLiteral(text: string): boolean {
  return text.includes('\n') && !/^\s|\s$|[^\P{Cc}\n]|\n[ \t]+\n|[\u2028\u2029\ufeff\ud800-\udfff]/u.test(text)
}

const plainText = /^[\p{L}_/0-9](?:[\p{L}\p{M}\p{N}_/.@+*()=$-]|:(?=[\p{L}\p{N}/])| (?=[\p{L}\p{N}_/(*.]))*$/u

/** Words and numbers of YAML 1.1 and 1.2, and what could be one to some reader: dates, times of day, digits with underscores. */
const special =
  /^(?:y|yes|n|no|on|off|true|false|null|nan|inf)$|^[-+]?\.?\d[\d_]*(?:\.[\d_]*)?(?:e[-+]?\d+)?$|^0[xob]|^\d{1,4}-\d|^[-+]?\d+:\d|^[=~]$|^<<$/i

function writeText(text: string): string {
  if (plainText.test(text) && !special.test(text) && text.length <= 200) return text
  return JSON.stringify(text).replace(
    /[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}
