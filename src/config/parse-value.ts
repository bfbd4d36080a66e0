/**
 * From plain data to typed values along a zod schema, reporting every problem and keeping whatever part is good.
 *
 * zod decides about single values. Maps, lists and choices are walked here, for three reasons: an unknown key gets its nearest
 * known one; a choice is reported for the branch that was meant and not for all of them; and one bad value does not hide its
 * neighbours from the checks that compare them with each other. No value from the data ever enters a message.
 */

import { z } from 'zod'
import { type Detail, findNearest, type Path, quote, type Report, suggestNearest } from './problems.ts'
import { unreadable } from './yaml-source.ts'

/** What of `T` could be read: every key of every map and every item of every list may be missing. */
export type Partially<T> = T extends string | number | boolean | bigint | symbol | undefined | null
  ? T
  : T extends URL | ReadonlyMap<unknown, unknown> | { readonly kind: string }
    ? T
    : T extends readonly (infer E)[]
      ? readonly (Partially<E> | undefined)[]
      : { readonly [K in keyof T]?: Partially<T[K]> | undefined }

/** Extra words of a refusal made in a schema: `addIssue({ code: 'custom', message, params })`. */
export interface RefusalWords {
  readonly expected?: string
  readonly suggestion?: string
  readonly at?: 'key' | 'value'
}

/** Parses `data`; `value` is there exactly if nothing was reported. Items that failed stay in `parts` as `undefined`, so positions hold. */
export function parseValue<S extends z.ZodType>(
  schema: S,
  data: unknown,
  report: Report,
): { readonly value: z.output<S> | undefined; readonly parts: Partially<z.output<S>> | undefined } {
  const progress: Progress = { report, at: 'value', failures: 0 }
  const parts = walk(schema, data, [], progress)
  return { value: progress.failures === 0 ? (parts as z.output<S>) : undefined, parts: parts as Partially<z.output<S>> | undefined }
}

interface Progress {
  readonly report: Report
  /** What a problem points at unless it says otherwise. */
  readonly at: 'key' | 'value'
  /** Problems of this walk, and values that were refused before it. */
  failures: number
}

function complain(progress: Progress, path: Path, message: string, detail: Detail = {}): void {
  progress.failures += 1
  progress.report.problem(path, message, { ...detail, at: detail.at ?? progress.at })
}

function walk(schema: z.core.$ZodType, data: unknown, path: Path, progress: Progress): unknown {
  if (schema instanceof z.ZodOptional) return data === undefined ? undefined : walk(schema.def.innerType, data, path, progress)
  if (schema instanceof z.ZodDefault) return data === undefined ? schema.def.defaultValue : walk(schema.def.innerType, data, path, progress)
  if (schema instanceof z.ZodPrefault)
    return walk(schema.def.innerType, data === undefined ? schema.def.defaultValue : data, path, progress)
  if (schema instanceof z.ZodLazy) return walk(schema.def.getter(), data, path, progress)
  if (data === unreadable) {
    progress.failures += 1
    return undefined
  }
  if (data === null) {
    complain(progress, path, 'this key has no value', { expected: expectedBy(schema), suggestion: 'write a value or remove the key' })
    return undefined
  }
  if (schema instanceof z.ZodPipe) {
    if (isLeaf(schema.def.in)) return judge(schema, data, path, progress)
    const before = progress.failures
    walk(schema.def.in, data, path, progress)
    return progress.failures === before ? judge(schema, data, path, progress) : undefined
  }
  if (schema instanceof z.ZodObject && isMapLike(data)) return walkObject(schema, data, path, progress)
  if (schema instanceof z.ZodRecord && isMapLike(data)) return walkRecord(schema, data, path, progress)
  if (schema instanceof z.ZodArray && Array.isArray(data)) return walkArray(schema, data, path, progress)
  if (schema instanceof z.ZodUnion) {
    const fitting = schema.options.filter((option) => canHold(option, data))
    // Of several for this kind (`none`, or a name) the one that takes the value; else the last, which is the most general.
    const option = fitting.length > 1 ? (fitting.find((one) => z.safeParse(one, data).success) ?? fitting.at(-1)) : fitting[0]
    if (option !== undefined) return walk(option, data, path, progress)
  }
  return judge(schema, data, path, progress)
}

/** Of one map: nobody reads more, and each is compared with all that are known. */
const mostUnknownKeys = 200

function walkObject(schema: z.ZodObject, data: Record<string, unknown>, path: Path, progress: Progress): unknown {
  const before = progress.failures
  const shape = schema.shape as Readonly<Record<string, z.core.$ZodType>>
  const known = Object.keys(shape)
  const misspelt = new Set<string>()
  const unknown = Object.keys(data).filter((key) => !Object.hasOwn(shape, key))
  for (const key of unknown.slice(0, mostUnknownKeys)) {
    const nearest = findNearest(key, known)
    if (nearest !== undefined) misspelt.add(nearest)
    complain(progress, [...path, key], `unknown key ${quote(key)}`, {
      expected: known.length <= 12 ? `one of ${known.join(', ')}` : undefined,
      suggestion: nearest === undefined ? undefined : `did you mean ${quote(nearest)}?`,
      at: 'key',
    })
  }
  if (unknown.length > mostUnknownKeys) complain(progress, path, `${unknown.length - mostUnknownKeys} more keys are unknown`)
  const value: Record<string, unknown> = {}
  for (const key of known) {
    const member = shape[key]
    if (member === undefined) continue
    const given = Object.hasOwn(data, key) ? data[key] : undefined
    if (given === undefined && !isOmittable(member)) {
      // It is there under a name that is nearly right, and that has been reported.
      if (misspelt.has(key)) continue
      complain(progress, [...path, key], `the key ${quote(key)} is missing`, { expected: expectedBy(member) })
      continue
    }
    const parsed = walk(member, given, [...path, key], progress)
    if (parsed !== undefined) value[key] = parsed
  }
  if (progress.failures === before && schema.def.checks !== undefined && schema.def.checks.length > 0) {
    return judge(schema, data, path, progress)
  }
  return value
}

function walkRecord(schema: z.ZodRecord, data: Record<string, unknown>, path: Path, progress: Progress): unknown {
  const value: Record<string, unknown> = Object.create(null)
  for (const key of Object.keys(data)) {
    const keys: Progress = { report: progress.report, at: 'key', failures: 0 }
    const name = judge(schema.def.keyType, key, [...path, key], keys)
    progress.failures += keys.failures
    const parsed = walk(schema.def.valueType, data[key], [...path, key], progress)
    if (name !== undefined && parsed !== undefined) value[key] = parsed
  }
  return value
}

function walkArray(schema: z.ZodArray, data: readonly unknown[], path: Path, progress: Progress): unknown {
  const before = progress.failures
  const value = data.map((item, index) => walk(schema.def.element, item, [...path, index], progress))
  if (progress.failures === before && schema.def.checks !== undefined && schema.def.checks.length > 0) {
    return judge(schema, data, path, progress)
  }
  return value
}

/** Lets zod decide, and turns its issues into problems. */
function judge(schema: z.core.$ZodType, data: unknown, path: Path, progress: Progress): unknown {
  const result = z.safeParse(schema, data)
  if (result.success) return result.data
  for (const issue of result.error.issues) {
    const place = [...path, ...issue.path.filter((step) => typeof step !== 'symbol')]
    if (issue.code === 'custom') {
      const words = (issue.params ?? {}) as RefusalWords
      complain(progress, place, issue.message, { expected: words.expected, suggestion: words.suggestion, at: words.at })
      continue
    }
    const expected = expectedByIssue(issue)
    if (issue.code === 'invalid_value' && typeof data === 'string') {
      const choices = issue.values.filter((value) => typeof value === 'string')
      complain(progress, place, 'this value is not known here', {
        expected,
        suggestion: suggestNearest(data, choices) ?? suggestQuotes(schema, data),
      })
    } else if (issue.code === 'invalid_type' || issue.code === 'invalid_union' || issue.code === 'invalid_value') {
      complain(progress, place, `${describeKind(data)} does not fit here`, { expected, suggestion: suggestQuotes(schema, data) })
    } else {
      complain(progress, place, issue.message)
    }
  }
  return undefined
}

/** A schema's own words (`error:`) are a noun phrase, such as "a duration, such as `30m`"; zod's are replaced by plainer ones. */
function expectedByIssue(issue: z.core.$ZodIssue): string {
  if (!issue.message.startsWith('Invalid ')) return issue.message
  if (issue.code === 'invalid_value') return `one of ${issue.values.map(String).join(', ')}`
  if (issue.code !== 'invalid_type') return 'another kind of value'
  const words: Record<string, string> = {
    string: 'text',
    boolean: '`true` or `false`',
    number: 'a number',
    object: 'a map',
    array: 'a list',
    record: 'a map',
  }
  return words[issue.expected] ?? issue.expected
}

function expectedBy(schema: z.core.$ZodType): string | undefined {
  const result = z.safeParse(schema, Symbol('nothing fits'))
  const issue = result.success ? undefined : result.error.issues[0]
  return issue === undefined || issue.code === 'custom' ? undefined : expectedByIssue(issue)
}

function describeKind(data: unknown): string {
  if (Array.isArray(data)) return 'a list'
  switch (typeof data) {
    case 'boolean':
      return `the boolean \`${data}\``
    case 'number':
      return 'a number'
    case 'string':
      return 'text'
    default:
      return 'a map'
  }
}

/** YAML reads `true` and `123` as something else than text; whoever wants the text has to quote it, if the text would do. */
function suggestQuotes(schema: z.core.$ZodType, data: unknown): string | undefined {
  if (typeof data === 'string') {
    const isSwitch = /^(?:yes|no|on|off|true|false)$/i.test(data) && canHold(schema, true)
    return isSwitch ? `write \`${/^(?:yes|on|true)$/i.test(data)}\` without quotes` : undefined
  }
  if (typeof data !== 'boolean' && typeof data !== 'number') return undefined
  if (!canHold(schema, 'text')) return undefined
  const asText = z.safeParse(schema, String(data))
  if (asText.success) return typeof data === 'boolean' ? `quote it if the text is meant: "${data}"` : 'quote it if the text is meant'
  // Quoting alone would lead to the next mistake: a duration without its unit, a port without an address.
  const issue = asText.error.issues[0]
  return issue?.code === 'custom' ? ((issue.params ?? {}) as RefusalWords).suggestion : undefined
}

function isMapLike(data: unknown): data is Record<string, unknown> {
  return typeof data === 'object' && data !== null && !Array.isArray(data)
}

/** The schema inside optional, default and lazy wrappers, and in front of a transformation. */
export function unwrapSchema(schema: z.core.$ZodType): z.core.$ZodType {
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodDefault || schema instanceof z.ZodPrefault) {
    return unwrapSchema(schema.def.innerType)
  }
  if (schema instanceof z.ZodLazy) return unwrapSchema(schema.def.getter())
  if (schema instanceof z.ZodPipe) return unwrapSchema(schema.def.in)
  return schema
}

function isOmittable(schema: z.core.$ZodType): boolean {
  return schema instanceof z.ZodOptional || schema instanceof z.ZodDefault || schema instanceof z.ZodPrefault
}

function isLeaf(schema: z.core.$ZodType): boolean {
  const inner = unwrapSchema(schema)
  return !(inner instanceof z.ZodObject || inner instanceof z.ZodRecord || inner instanceof z.ZodArray || inner instanceof z.ZodUnion)
}

/** Whether the kind of `data` (not its content) is what this schema is about. */
export function canHold(schema: z.core.$ZodType, data: unknown): boolean {
  const inner = unwrapSchema(schema)
  if (inner instanceof z.ZodUnion) return inner.options.some((option) => canHold(option, data))
  if (inner instanceof z.ZodObject || inner instanceof z.ZodRecord) return isMapLike(data)
  if (inner instanceof z.ZodArray) return Array.isArray(data)
  if (inner instanceof z.ZodString || inner instanceof z.ZodEnum) return typeof data === 'string'
  if (inner instanceof z.ZodNumber) return typeof data === 'number'
  if (inner instanceof z.ZodBoolean) return typeof data === 'boolean'
  if (inner instanceof z.ZodLiteral) return [...inner.def.values].some((value) => typeof value === typeof data)
  return false
}
