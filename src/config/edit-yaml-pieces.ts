/**
 * A piece of a YAML text as a text of its own, and back: one rule, one app, as somebody wrote it, without the margin that it has in its document.
 */

import { isSeq } from 'yaml'
import { dataAt, editYaml, type Readable, readYamlData, replaceYamlText, toReadable, withDataAt, type YamlEdit } from './edit-yaml.ts'
import { nodeAt } from './edit-yaml-move.ts'
import { endOf, isBlock, lineEnd, lineStart, startOf } from './edit-yaml-places.ts'
import { indented } from './edit-yaml-text.ts'
import type { Path } from './problems.ts'

interface Piece {
  readonly start: number
  readonly end: number
  /** Column of its first character. */
  readonly column: number
}

/** A piece with the line it begins in. */
export interface CutPiece {
  readonly text: string
  readonly line: number
}

/** Cuts pieces of one document, which is read once. */
export function pieceCutter(text: string): (path: Path) => CutPiece | undefined {
  const given = toReadable(text)
  const breaks: number[] = []
  for (let at = text.indexOf('\n'); at !== -1; at = text.indexOf('\n', at + 1)) breaks.push(at)
  return (path) => {
    const piece = findPiece(given, path)
    if (piece === undefined) return undefined
    const margin = ' '.repeat(piece.column)
    const lines = text.slice(piece.start, piece.end).replaceAll('\r\n', '\n').trimEnd().split('\n')
    const cut = lines.map((line, index) => (index > 0 && line.startsWith(margin) ? line.slice(piece.column) : line)).join('\n')
    return { text: cut, line: countBelow(breaks, piece.start) + 1 }
  }
}

/** The text with the piece at `path` replaced by what somebody wrote. */
export function replacePiece(text: string, path: Path, written: string): YamlEdit {
  const { data, problems } = readYamlData(written)
  if (data === undefined || written.trim() === '') return { outcome: 'unreadable', problems }
  const clean = written.replaceAll('\r\n', '\n').trimEnd()
  const replaced = replaceYamlText(text, path, clean, (given) => {
    const piece = findPiece(given, path)
    if (piece === undefined) return undefined
    const lines = indented(clean, piece.column).trimStart()
    // What ends with its line takes the line's end with it.
    return [{ start: piece.start, end: piece.end, text: given.text[piece.end - 1] === '\n' ? `${lines}\n` : lines }]
  })
  if (replaced.outcome === 'changed') return replaced
  return editYaml(text, (given) => (dataAt(given, path) === undefined ? given : withDataAt(given, path, data)))
}

function findPiece(given: Readable, path: Path): Piece | undefined {
  const node = nodeAt(given, path)
  const parent = nodeAt(given, path.slice(0, -1))
  if (node === undefined || node === null) return undefined
  const start = startOf(node)
  const end = endOf(given.text, node)
  const isLines = isSeq(parent) ? isBlock(parent) : isBlock(node)
  const rest = given.text.slice(end, lineEnd(given.text, end)).trim()
  return {
    start,
    end: isLines && (rest === '' || rest.startsWith('#')) ? lineEnd(given.text, end) : end,
    column: start - lineStart(given.text, start),
  }
}

function countBelow(sorted: readonly number[], value: number): number {
  let low = 0
  let high = sorted.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((sorted[middle] ?? 0) < value) low = middle + 1
    else high = middle
  }
  return low
}
