/**
 * Merges what two people did to the same policy: three ways, file by file and line by line, as git does.
 *
 * What one side changed is taken; what both changed alike is taken once; what they changed differently stands in the file with git's marks around
 * both, so that nothing is lost and the document does not load until somebody has decided. Nothing here understands the document: a merge
 * without a conflict may still mean something that neither side meant, so it is tried and judged like any draft.
 */

import { isUtf8 } from 'node:buffer'
import { type Bundle, type BundleFile, toBundle } from './policy-bundle.ts'
import type { Merge } from './policy-history.ts'
import { type Match, matchLines, splitLines } from './policy-merge-lines.ts'

/** What the marks call the two sides. */
export interface MergeLabels {
  readonly ours: string
  readonly theirs: string
}

/** Merges what `ours` and `theirs` made of `base`. */
export function mergeBundles(base: Bundle, ours: Bundle, theirs: Bundle, labels: MergeLabels = { ours: 'ours', theirs: 'theirs' }): Merge {
  const sides = [base, ours, theirs].map((bundle) => new Map(bundle.map(({ content, path }) => [path, content])))
  const [inBase, inOurs, inTheirs] = sides
  const files: BundleFile[] = []
  const conflicts: { readonly path: string; readonly count: number }[] = []
  for (const path of new Set(sides.flatMap((side) => [...side.keys()]))) {
    const { conflictCount, content } = mergeFile({ base: inBase?.get(path), ours: inOurs?.get(path), theirs: inTheirs?.get(path) }, labels)
    if (content !== undefined) files.push({ path, content })
    if (conflictCount > 0) conflicts.push({ path, count: conflictCount })
  }
  conflicts.sort((a, b) => (a.path < b.path ? -1 : 1))
  return { bundle: toBundle(files), conflicts }
}

/** A place where somebody has yet to decide. */
export interface ConflictMark {
  readonly path: string
  /** From 1. */
  readonly line: number
}

const openingMark = '<<<<<<<'
const middleMark = '======='
const closingMark = '>>>>>>>'

/**
 * The first mark of a merge in each file that still has one. Some of YAML's forms would take a mark for a word (a list in brackets over several
 * lines), so whoever publishes asks for them instead of trusting that the document does not load.
 */
export function findConflictMarks(bundle: Bundle): readonly ConflictMark[] {
  return bundle.flatMap(({ content, path }) => {
    if (!isText(content)) return []
    const index = splitLines(content.toString()).findIndex(
      (line) => line.startsWith(`${openingMark} `) || line.startsWith(`${closingMark} `),
    )
    return index < 0 ? [] : [{ path, line: index + 1 }]
  })
}

/** Whether lines of it mean something. */
export function isText(content: Buffer): boolean {
  return isUtf8(content) && !content.includes(0)
}

interface Sides<T> {
  readonly base: T
  readonly ours: T
  readonly theirs: T
}

interface MergedFile {
  /** `undefined`: it is removed. */
  readonly content: Buffer | undefined
  readonly conflictCount: number
}

function mergeFile({ base, ours, theirs }: Sides<Buffer | undefined>, labels: MergeLabels): MergedFile {
  if (isSame(ours, theirs) || isSame(base, theirs)) return { content: ours, conflictCount: 0 }
  if (isSame(base, ours)) return { content: theirs, conflictCount: 0 }
  // Of a picture there is no half: somebody decides which, and until then it is ours, or whichever there is.
  if (![base, ours, theirs].every((content) => content === undefined || isText(content)))
    return { content: ours ?? theirs, conflictCount: 1 }
  const lines = { base: linesOf(base), ours: linesOf(ours), theirs: linesOf(theirs) }
  const { conflictCount, text } = mergeLines(lines, labels)
  return { content: Buffer.from(text), conflictCount }
}

function isSame(one: Buffer | undefined, other: Buffer | undefined): boolean {
  return one === undefined || other === undefined ? one === other : one.equals(other)
}

function linesOf(content: Buffer | undefined): readonly string[] {
  return content === undefined ? [] : splitLines(content.toString())
}

type Lines = readonly string[]

/** diff3: between lines that all three share, whoever changed something. */
function mergeLines(lines: Sides<Lines>, labels: MergeLabels): { readonly text: string; readonly conflictCount: number } {
  const inOurs = placesOf(matchLines(lines.base, lines.ours), lines.base.length)
  const inTheirs = placesOf(matchLines(lines.base, lines.theirs), lines.base.length)
  const merged: string[] = []
  let conflictCount = 0
  let from = { base: 0, ours: 0, theirs: 0 }

  function settle(to: Sides<number>): void {
    const chunk = {
      base: lines.base.slice(from.base, to.base),
      ours: lines.ours.slice(from.ours, to.ours),
      theirs: lines.theirs.slice(from.theirs, to.theirs),
    }
    const settled = settleChunk(chunk)
    if (settled === undefined) {
      conflictCount += 1
      pushAll(merged, markConflict(chunk, labels))
    } else pushAll(merged, settled)
  }

  for (let base = 0; base < lines.base.length; base++) {
    const ours = inOurs[base] ?? -1
    const theirs = inTheirs[base] ?? -1
    if (ours < 0 || theirs < 0) continue
    settle({ base, ours, theirs })
    merged.push(lines.base[base] ?? '')
    from = { base: base + 1, ours: ours + 1, theirs: theirs + 1 }
  }
  settle({ base: lines.base.length, ours: lines.ours.length, theirs: lines.theirs.length })
  return { text: merged.join(''), conflictCount }
}

/** Where each line of the base stands on the other side; -1: nowhere. */
function placesOf(matches: readonly Match[], length: number): Int32Array {
  const places = new Int32Array(length).fill(-1)
  for (const match of matches) for (let line = 0; line < match.length; line++) places[match.a + line] = match.b + line
  return places
}

/** `undefined`: both sides changed it, and not alike. */
function settleChunk({ base, ours, theirs }: Sides<Lines>): Lines | undefined {
  if (areEqual(ours, theirs) || areEqual(base, theirs)) return ours
  return areEqual(base, ours) ? theirs : undefined
}

function areEqual(one: Lines, other: Lines): boolean {
  return one.length === other.length && one.every((line, index) => line === other[index])
}

/** What both sides have at the ends of the conflict stands outside of the marks. */
function markConflict({ ours, theirs }: Sides<Lines>, labels: MergeLabels): Lines {
  let head = 0
  while (head < ours.length && head < theirs.length && ours[head] === theirs[head]) head += 1
  let tail = 0
  while (tail < ours.length - head && tail < theirs.length - head && ours.at(-1 - tail) === theirs.at(-1 - tail)) tail += 1
  const end = (ours[0] ?? theirs[0] ?? '').endsWith('\r\n') ? '\r\n' : '\n'
  return [
    ...ours.slice(0, head),
    `${openingMark} ${labels.ours}${end}`,
    ...ended(ours.slice(head, ours.length - tail), end),
    `${middleMark}${end}`,
    ...ended(theirs.slice(head, theirs.length - tail), end),
    `${closingMark} ${labels.theirs}${end}`,
    ...ours.slice(ours.length - tail),
  ]
}

/** A mark stands on a line of its own, also after a last line without an end. */
function ended(lines: Lines, end: string): Lines {
  return lines.map((line) => (line.endsWith('\n') ? line : `${line}${end}`))
}

/** Without spreading: a chunk may have more lines than a call has arguments. */
function pushAll(target: string[], lines: Lines): void {
  for (const line of lines) target.push(line)
}
