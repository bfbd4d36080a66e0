/**
 * Changes of a YAML text that leave everything else as somebody wrote it: comments, order, quoting, indentation, blank lines.
 *
 * The library prints a whole document anew, in its own taste; here pieces of the text are replaced instead, as few as the change needs. An edit
 * proves itself: the new text is read again and must say exactly the former data with the change made. Where it does not (anchors that
 * are used twice, unusual forms) a larger piece is written anew, and where that does not help either the edit is refused.
 */

import { parseDocument } from 'yaml'
import { planMove } from './edit-yaml-move.ts'
import { planSplices, type Splice, spliceText } from './edit-yaml-splices.ts'
import { isListData, isSameData, type YamlData } from './edit-yaml-text.ts'
import type { Path, Problem } from './problems.ts'
import { parseYamlSource } from './yaml-source.ts'

export type YamlEdit =
  | { readonly outcome: 'changed'; readonly text: string }
  /** The text is no YAML that we read: it has to be changed as text. */
  | { readonly outcome: 'unreadable'; readonly problems: readonly Problem[] }
  /** The change cannot be made without touching other parts. */
  | { readonly outcome: 'not_editable' }

/** Data of a text; `undefined` where it cannot be read. An empty text, or one of comments only, is an empty map. */
export function readYamlData(text: string): { readonly data: YamlData | undefined; readonly problems: readonly Problem[] } {
  if (isEmpty(text)) return { data: {}, problems: [] }
  const lists = { problems: [] as Problem[], warnings: [] as Problem[] }
  const { data } = parseYamlSource('', text, lists)
  return { data: data as YamlData | undefined, problems: lists.problems }
}

/** The text with its data changed. `change` must not modify what it is given. */
export function editYaml(text: string, change: (data: YamlData) => YamlData): YamlEdit {
  const { data, problems } = readYamlData(text)
  if (data === undefined) return { outcome: 'unreadable', problems }
  const wanted = change(data)
  if (isSameData(data, wanted)) return { outcome: 'changed', text }
  return prove(text, wanted, [
    (given) => planSplices(given, data, wanted, Number.POSITIVE_INFINITY),
    (given) => planSplices(given, data, wanted, 5),
    (given) => planSplices(given, data, wanted, 4),
  ])
}

/** The text with an entry of the list at `path` in another place, comments above it and beside it included. */
export function moveYaml(text: string, path: Path, from: number, to: number): YamlEdit {
  const { data, problems } = readYamlData(text)
  if (data === undefined) return { outcome: 'unreadable', problems }
  const list = dataAt(data, path)
  if (!isListData(list) || list[from] === undefined || list[to] === undefined) return { outcome: 'not_editable' }
  const moved = list.toSpliced(from, 1).toSpliced(to, 0, list[from])
  const wanted = withDataAt(data, path, moved)
  return prove(text, wanted, [(given) => planMove(given, path, from, to)])
}

/** The text with the value at `path` replaced by what somebody wrote; `data` is what that says. */
export function replaceYamlText(
  text: string,
  path: Path,
  piece: string,
  plan: (given: Readable) => readonly Splice[] | undefined,
): YamlEdit {
  const { data, problems } = readYamlData(text)
  if (data === undefined) return { outcome: 'unreadable', problems }
  const written = readYamlData(piece)
  if (written.data === undefined) return { outcome: 'unreadable', problems: written.problems }
  return prove(text, withDataAt(data, path, written.data), [plan])
}

/** A text with its tree, whose nodes know their places. */
export interface Readable {
  readonly text: string
  readonly document: ReturnType<typeof parseDocument>
}

export function toReadable(text: string): Readable {
  return {
    text,
    document: parseDocument(text, {
      keepSourceTokens: true,
      logLevel: 'error',
      prettyErrors: false,
      schema: 'core',
      uniqueKeys: false,
      version: '1.2',
    }),
  }
}

/** The value at a path; `undefined`: there is none. */
export function dataAt(data: YamlData, path: Path): YamlData | undefined {
  let at: YamlData | undefined = data
  for (const step of path) {
    if (isListData(at) && typeof step === 'number') at = at[step]
    else if (typeof at === 'object' && at !== null && !isListData(at) && Object.hasOwn(at, step)) at = at[step]
    else return undefined
  }
  return at
}

/** The data with another value at a path; maps on the way are made where they are missing. `undefined` takes the value away. */
export function withDataAt(data: YamlData, path: Path, value: YamlData | undefined): YamlData {
  const [step, ...rest] = path
  if (step === undefined) return value ?? {}
  if (isListData(data) && typeof step === 'number') {
    const inner = rest.length === 0 ? value : withDataAt(data[step] ?? {}, rest, value)
    return inner === undefined ? data.toSpliced(step, 1) : data.toSpliced(step, 1, inner)
  }
  const map = typeof data === 'object' && data !== null && !isListData(data) ? data : {}
  const key = String(step)
  const inner = rest.length === 0 ? value : withDataAt(Object.hasOwn(map, key) ? (map[key] ?? {}) : {}, rest, value)
  if (inner === undefined) return Object.fromEntries(Object.entries(map).filter(([other]) => other !== key))
  return { ...map, [key]: inner }
}

/** The first plan whose text says what is wanted. */
function prove(text: string, wanted: YamlData, plans: readonly ((given: Readable) => readonly Splice[] | undefined)[]): YamlEdit {
  const ending = text.includes('\r\n') ? '\r\n' : '\n'
  const given = toReadable(text === '' || text.endsWith('\n') ? text : `${text}${ending}`)
  for (const plan of plans) {
    const splices = plan(given)
    const changed = splices === undefined ? undefined : spliceText(given.text, splices, ending)
    if (changed === undefined) continue
    const { data, problems } = readYamlData(changed)
    if (problems.length === 0 && isSameData(data, wanted)) return { outcome: 'changed', text: changed }
  }
  return { outcome: 'not_editable' }
}

function isEmpty(text: string): boolean {
  return text.split('\n').every((line) => /^(?:#|$)/.test(line.trim()))
}
