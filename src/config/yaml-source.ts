/**
 * A YAML file as plain data in which every value still knows its line: the first step of both loaders.
 *
 * The file is not trusted to be small, sane or ours. Refused: more than 5 MB, not UTF-8, another YAML than 1.2 (in 1.1 `no` is a
 * boolean and `010` is eight), tabs as indentation, the same key twice, tags, keys that are not text, aliases that contain
 * themselves or multiply, and nesting that no configuration has. Messages are our own: the parser's quote the source, which may
 * hold a secret.
 */

import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  type Pair,
  parseDocument,
  type Scalar,
  type YAMLMap,
} from 'yaml'
import { createReport, type Path, type Place, type Problem, quote, type Report } from './problems.ts'

/** Generous: ten thousand rules are about 2 MB. */
const maxFileBytes = 5_000_000
const maxDepth = 48
/** Counts aliased values as often as they are used, so that a few lines cannot expand to gigabytes. */
const maxValues = 400_000

/** YAML 1.2 §5.1: not printable, so not part of a document. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const forbiddenCharacter = /[\0-\x08\x0b\x0c\x0e-\x1f\x7f]/

/** Nobody mends more at once. */
const maxSyntaxProblems = 20

/** Stands where a value was refused and reported while reading, so that it is not blamed again for being absent. */
export const unreadable = Symbol('unreadable')

export interface YamlSource {
  readonly file: string
  /** Maps are objects without a prototype. `undefined` if the text could not be read as one document. */
  readonly data: unknown
  readonly report: Report
}

/** Reads and parses; whatever goes wrong is in the report, with `data` undefined. Never rejects. */
export async function loadYamlSource(file: string, lists: { problems: Problem[]; warnings: Problem[] }): Promise<YamlSource> {
  const atFile = createReport(file, () => ({ file, line: 0, column: 0 }), lists)
  const bytes = await loadFile(file, maxFileBytes)
  if (typeof bytes === 'string') {
    atFile.problem([], bytes)
    return { file, data: undefined, report: atFile }
  }
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    // The decoder says nothing more than that some byte is wrong.
    atFile.problem([], 'the file is not UTF-8 text')
    return { file, data: undefined, report: atFile }
  }
  return parseYamlSource(file, text, lists)
}

/** The bytes of a regular file, or a sentence that says why there are none. */
export async function loadFile(file: string, maxBytes: number): Promise<Buffer | string> {
  try {
    // A pipe would be waited for until somebody writes into it, by one of the few threads that read files for everybody.
    const handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK)
    try {
      const status = await handle.stat()
      if (!status.isFile()) return status.isDirectory() ? 'this is a folder, not a file' : 'this is not a regular file'
      if (status.size > maxBytes) return `the file is larger than ${maxBytes} bytes`
      const bytes = await handle.readFile()
      return bytes.length > maxBytes ? `the file is larger than ${maxBytes} bytes` : bytes
    } finally {
      await handle.close()
    }
  } catch (error) {
    return explainFileError(error)
  }
}

/** A sentence for an error of the file system, without the path: the problem names it. */
export function explainFileError(error: unknown): string {
  const code = (error as NodeJS.ErrnoException).code
  if (code === 'ENOENT' || code === 'ENOTDIR') return 'the file does not exist'
  if (code === 'EACCES' || code === 'EPERM') return 'the file may not be read by this user'
  if (code === 'EISDIR') return 'this is a folder, not a file'
  if (code === 'ELOOP') return 'the file is a symbolic link to itself'
  return `the file could not be read (${code ?? 'unknown error'})`
}

/** Parses text that came from `file`. */
export function parseYamlSource(file: string, text: string, lists: { problems: Problem[]; warnings: Problem[] }): YamlSource {
  const lines = new LineCounter()
  const placeAt = (offset: number): Place => {
    const { line, col } = lines.linePos(Math.max(0, Math.min(offset, text.length)))
    return { file, line: Math.max(1, line), column: Math.max(1, col) }
  }
  let document: Document.Parsed
  try {
    document = parseDocument(text, {
      lineCounter: lines,
      prettyErrors: false,
      version: '1.2',
      schema: 'core',
      logLevel: 'error',
      uniqueKeys: false,
    })
  } catch {
    // The composer is recursive: only nesting deeper than the stack makes it throw.
    const report = createReport(file, () => ({ file, line: 1, column: 1 }), lists)
    report.problem([], 'values are nested too deeply to be a configuration')
    return { file, data: undefined, report }
  }

  const report = createReport(
    file,
    (path, part, within) => {
      const { offset, node } = findNode(document, path, part)
      return placeAt(within === undefined ? offset : offset + findInnerOffset(node, text.slice(offset), within))
    },
    lists,
  )
  const atOffset = (offset: number, message: string, suggestion?: string) =>
    void lists.problems.push({ ...placeAt(offset), path: '', message, ...(suggestion === undefined ? {} : { suggestion }) })

  const control = text.search(forbiddenCharacter)
  if (control !== -1) {
    atOffset(control, 'there is a control character here', 'save the file as UTF-8 text')
    return { file, data: undefined, report }
  }
  const directive = document.directives?.yaml
  if (directive?.explicit === true && directive.version !== '1.2') {
    atOffset(Math.max(0, text.indexOf('%YAML')), 'only YAML 1.2 is read', 'remove the %YAML line')
    return { file, data: undefined, report }
  }
  let isReadable = true
  const reportedLines = new Set<number>()
  for (const error of [...document.errors, ...document.warnings]) {
    // Tags are found again, all of them, when the tree is read.
    if (error.code === 'TAG_RESOLVE_FAILED') continue
    isReadable = false
    // What follows an error in its line is nearly always its consequence.
    const { line } = placeAt(error.pos[0])
    if (reportedLines.has(line) || reportedLines.size >= maxSyntaxProblems) continue
    reportedLines.add(line)
    const [message, suggestion] = explainSyntax(error.code)
    atOffset(error.pos[0], message, suggestion)
  }
  if (!isReadable) return { file, data: undefined, report }
  if (document.contents === null || (isScalar(document.contents) && document.contents.value === null)) {
    atOffset(0, 'the file is empty')
    return { file, data: undefined, report }
  }
  return { file, data: readTree(document, atOffset), report }
}

type Complain = (offset: number, message: string, suggestion?: string) => void

const plainTags = new Set(['str', 'int', 'float', 'bool', 'null', 'map', 'seq'].map((name) => `tag:yaml.org,2002:${name}`))

/** Node tree to plain data. Aliases are followed here, with a budget, and not by the library. */
function readTree(document: Document.Parsed, complain: Complain): unknown {
  let values = 0
  let isExhausted = false
  const open = new Set<Node>()
  /** Of a map that several aliases lead to, each is said once. */
  const twins = new Set<Node>()

  function read(node: unknown, depth: number): unknown {
    if (isExhausted) return null
    values += 1
    const offset = offsetOf(node)
    if (values > maxValues || depth > maxDepth) {
      isExhausted = true
      complain(offset, values > maxValues ? 'aliases multiply to more values than a configuration has' : 'values are nested too deeply')
      return null
    }
    if (isAlias(node)) {
      const target = node.resolve(document)
      if (target === undefined) complain(offset, 'this alias has no anchor before it', 'a text that begins with * must be quoted')
      else if (open.has(target)) complain(offset, 'this alias contains itself')
      else return read(target, depth)
      return unreadable
    }
    if (isScalar(node) || isMap(node) || isSeq(node)) {
      if (node.tag !== undefined && !plainTags.has(node.tag)) {
        complain(offset, 'tags (!name) are not used here', 'a text that begins with ! must be quoted')
        return unreadable
      }
    }
    if (isScalar(node)) {
      const { value, source } = node
      const isPlain = (typeof value === 'number' || typeof value === 'boolean') && source !== undefined
      if (!isPlain || source === String(value)) return value
      complain(offset, explainSpelling(value), 'quote it if the text is meant')
      return unreadable
    }
    if (isSeq(node)) {
      open.add(node)
      const list = node.items.map((item) => read(item, depth + 1))
      open.delete(node)
      return list
    }
    if (!isMap(node)) return null
    open.add(node)
    const map: Record<string, unknown> = Object.create(null)
    for (const pair of node.items) {
      const { key } = pair
      // An alias could stand for a key that is there already.
      if (isAlias(key)) complain(offsetOf(key), 'a key must be written out, not an alias')
      else if (isScalar(key) && key.tag !== undefined && !plainTags.has(key.tag)) complain(offsetOf(key), 'tags (!name) are not used here')
      else if (!isScalar(key) || typeof key.value !== 'string') complain(offsetOf(key), 'a key must be text', 'quote the key')
      else if (key.value in map) complainOfTwin(key)
      else map[key.value] = read(pair.value, depth + 1)
    }
    open.delete(node)
    return map
  }

  /** The parser would find twins too, by comparing each key of a map with each: five seconds for twenty thousand. */
  function complainOfTwin(key: Scalar): void {
    if (!twins.has(key)) complain(offsetOf(key), `the key ${quote(String(key.value))} is there twice`)
    twins.add(key)
  }

  const data = read(document.contents, 0)
  return isExhausted ? undefined : data
}

/**
 * `010`, `1.10`, `0x1F` and `TRUE` are numbers and booleans to YAML and text to whoever wrote them, and an integer beyond 2^53 is another
 * one once it is read: a claim compared with such a value would match somebody else, or nobody.
 */
function explainSpelling(value: number | boolean): string {
  return typeof value === 'boolean'
    ? 'only `true` and `false` are booleans'
    : 'this number would be read as another one than is written here'
}

function offsetOf(node: unknown): number {
  return (isScalar(node) || isMap(node) || isSeq(node) || isAlias(node)) && node.range ? node.range[0] : 0
}

/** The value (or key) at `path` with its offset, or the innermost thing on the way that exists. */
function findNode(document: Document.Parsed, path: Path, part: 'key' | 'value'): { readonly offset: number; readonly node: unknown } {
  let node: unknown = document.contents
  let offset = offsetOf(node)
  for (const [index, step] of path.entries()) {
    if (isAlias(node)) node = node.resolve(document)
    let child: unknown
    if (typeof step === 'number' && isSeq(node)) child = node.items[step]
    else if (isMap(node)) {
      const pair = findPair(node, step)
      if (pair === undefined) return { offset, node }
      // A key without a value has a null node whose range is where the value would stand.
      if ((part === 'key' && index === path.length - 1) || pair.value === null) return { offset: offsetOf(pair.key), node: pair.key }
      child = pair.value
      if (isScalar(child) && child.value === null) return { offset: offsetOf(pair.key), node: pair.key }
    }
    if (child === undefined || child === null) return { offset, node }
    node = child
    offset = offsetOf(node)
  }
  return { offset, node }
}

/** Documents are read and never changed here. */
const pairsByKey = new WeakMap<YAMLMap, ReadonlyMap<unknown, Pair>>()

/** The first pair with this key. Looked up and not searched for: a map of a hundred thousand unknown keys has as many problems to be placed. */
function findPair(map: YAMLMap, step: unknown): Pair | undefined {
  let pairs = pairsByKey.get(map)
  if (pairs === undefined) {
    // Of equal keys the last entry stays, so they go in from behind.
    pairs = new Map(map.items.toReversed().flatMap((pair) => (isScalar(pair.key) ? [[pair.key.value, pair]] : [])))
    pairsByKey.set(map, pairs)
  }
  return pairs.get(step)
}

/** How far into the source of a scalar its character `within` stands; 0 where escapes or folding have moved it. `source` begins at the scalar. */
function findInnerOffset(node: unknown, source: string, within: number): number {
  if (!isScalar(node) || typeof node.value !== 'string') return 0
  const before = node.value.slice(0, within)
  if (node.type === 'BLOCK_LITERAL') {
    const lines = before.split('\n')
    const written = source.split('\n')
    const indentation = /^ */.exec(written[1] ?? '')?.[0].length ?? 0
    const above = written.slice(0, lines.length).reduce((sum, line) => sum + line.length + 1, 0)
    return above + indentation + (lines.at(-1)?.length ?? 0)
  }
  const opening = node.type === 'PLAIN' ? 0 : 1
  return source.startsWith(before, opening) ? opening + within : 0
}

/** Our words for the parser's codes, with what usually mends it. */
function explainSyntax(code: string): readonly [string, string?] {
  switch (code) {
    case 'TAB_AS_INDENT':
      return ['a tab is not indentation in YAML', 'indent with spaces']
    case 'BAD_ALIAS':
      return ['this is not a usable alias', 'a text that begins with * must be quoted']
    case 'BAD_SCALAR_START':
      return ['a text may not begin with this character', 'quote the text']
    case 'MISSING_CHAR':
      return ['a closing quote, bracket or separator is missing']
    case 'BAD_INDENT':
    case 'BAD_PROP_ORDER':
      return ['the indentation does not fit what stands around it, or a closing bracket is missing']
    case 'BLOCK_AS_IMPLICIT_KEY':
    case 'MULTILINE_IMPLICIT_KEY':
      return ['there is a second `: ` on this line, or a colon is missing', 'a text that contains `: ` must be quoted']
    case 'BAD_COLLECTION_TYPE':
    case 'UNEXPECTED_TOKEN':
      return ['this does not belong here', 'a text with special characters must be quoted']
    case 'MULTIPLE_DOCS':
      return ['a second document begins here; a file holds one', 'remove the --- line']
    case 'BAD_DIRECTIVE':
      return ['directives (%NAME) are not used here', 'remove the line']
    case 'BAD_DQ_ESCAPE':
      return ['this escape is not known in a double-quoted text', 'use single quotes, or double the backslash']
    case 'RESOURCE_EXHAUSTION':
      return ['values are nested too deeply to be a configuration']
    default:
      return ['this is not valid YAML']
  }
}
