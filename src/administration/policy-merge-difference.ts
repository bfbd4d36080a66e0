/**
 * The difference of two bundles as people read it: file by file, the lines that went and came, with a few around them (unified form).
 *
 * Data and no text, so that pages and commands draw it their own way; bounded, so that a page of a wholly rewritten policy stays a page.
 */

import type { Bundle } from './policy-bundle.ts'
import { isText } from './policy-merge.ts'
import { matchLines, splitLines } from './policy-merge-lines.ts'

/** One line of a hunk. */
export interface DifferenceLine {
  readonly kind: 'same' | 'add' | 'del'
  /** Without its end; a very long one is cut, with an ellipsis. */
  readonly text: string
}

/** Lines that stand together. `from` and `to` are the first of them in the old and the new file, from 1. */
export interface DifferenceHunk {
  readonly from: number
  readonly to: number
  readonly lines: readonly DifferenceLine[]
}

/** What is different about one file. */
export interface FileDifference {
  readonly path: string
  readonly kind: 'added' | 'removed' | 'changed'
  /** Of a picture and the like there are no lines. */
  readonly isBinary: boolean
  readonly hunks: readonly DifferenceHunk[]
  /** Lines beyond the bound, which are not among the hunks. */
  readonly leftOut: number
}

/** Lines around a change. */
const context = 3

/** Of all files together: beyond, a page says how much more there is. */
const mostLines = 5_000
const mostCharacters = 500

/** What is different in `to`, by path; empty where the bundles are the same. */
export function describeBundleDifference(from: Bundle, to: Bundle): readonly FileDifference[] {
  const before = new Map(from.map(({ content, path }) => [path, content]))
  const after = new Map(to.map(({ content, path }) => [path, content]))
  const paths = [...new Set([...before.keys(), ...after.keys()])].sort()
  const differences: FileDifference[] = []
  let room = mostLines
  for (const path of paths) {
    const [old, fresh] = [before.get(path), after.get(path)]
    if (old !== undefined && fresh !== undefined && old.equals(fresh)) continue
    const kind = old === undefined ? 'added' : fresh === undefined ? 'removed' : 'changed'
    if (![old, fresh].every((content) => content === undefined || isText(content))) {
      differences.push({ path, kind, isBinary: true, hunks: [], leftOut: 0 })
      continue
    }
    const hunks = toHunks(compareLines(splitLines(old?.toString() ?? ''), splitLines(fresh?.toString() ?? '')))
    const { kept, leftOut } = keepWithin(hunks, room)
    room -= kept.reduce((sum, { lines }) => sum + lines.length, 0)
    differences.push({ path, kind, isBinary: false, hunks: kept, leftOut })
  }
  return differences
}

/** A run of lines of one kind, by their places. */
interface Run {
  readonly kind: DifferenceLine['kind']
  readonly from: number
  readonly to: number
  readonly lines: readonly string[]
}

function compareLines(a: readonly string[], b: readonly string[]): readonly Run[] {
  const runs: Run[] = []
  const push = (kind: Run['kind'], { from, to }: { readonly from: number; readonly to: number }, lines: readonly string[]) => {
    if (lines.length > 0) runs.push({ kind, from, to, lines })
  }
  let at = { from: 0, to: 0 }
  for (const match of [...matchLines(a, b), { a: a.length, b: b.length, length: 0 }]) {
    push('del', at, a.slice(at.from, match.a))
    push('add', { from: match.a, to: at.to }, b.slice(at.to, match.b))
    push('same', { from: match.a, to: match.b }, a.slice(match.a, match.a + match.length))
    at = { from: match.a + match.length, to: match.b + match.length }
  }
  return runs
}

/** Equal runs that are long end one hunk and begin another. */
function toHunks(runs: readonly Run[]): readonly DifferenceHunk[] {
  const hunks: { from: number; to: number; lines: DifferenceLine[] }[] = []
  let open: (typeof hunks)[number] | undefined
  const add = (run: Run, first: number, end: number) => {
    if (first >= end) return
    if (open === undefined) {
      open = { from: run.from + (run.kind === 'add' ? 0 : first) + 1, to: run.to + (run.kind === 'del' ? 0 : first) + 1, lines: [] }
      hunks.push(open)
    }
    for (let line = first; line < end; line++) open.lines.push({ kind: run.kind, text: cut(run.lines[line] ?? '') })
  }
  for (const [index, run] of runs.entries()) {
    const { length } = run.lines
    const [isFirst, isLast] = [index === 0, index === runs.length - 1]
    if (run.kind !== 'same' || (!isFirst && !isLast && length <= 2 * context)) {
      add(run, 0, length)
      continue
    }
    if (!isFirst) add(run, 0, Math.min(context, length))
    open = undefined
    if (!isLast) add(run, Math.max(0, length - context), length)
  }
  return hunks
}

function cut(line: string): string {
  const text = line.replace(/\r?\n$/, '')
  return text.length <= mostCharacters ? text : `${text.slice(0, mostCharacters)}…`
}

function keepWithin(
  hunks: readonly DifferenceHunk[],
  room: number,
): { readonly kept: readonly DifferenceHunk[]; readonly leftOut: number } {
  const kept: DifferenceHunk[] = []
  let left = Math.max(0, room)
  let leftOut = 0
  for (const hunk of hunks) {
    const lines = hunk.lines.slice(0, left)
    left -= lines.length
    leftOut += hunk.lines.length - lines.length
    if (lines.length > 0) kept.push({ ...hunk, lines })
  }
  return { kept, leftOut }
}
