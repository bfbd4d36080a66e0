/**
 * Differences of files as pages print them: a line each, with its sign, so that colour is not all that tells what came from what went.
 *
 * A reviewer decides on what they see. Characters that change the direction of writing, or show nothing, could make a line read as another
 * one (CVE-2021-42574, "Trojan Source"): they are printed by their number. Bounded, so that a page of a wholly rewritten policy stays a page.
 */

import type { Bundle } from '../../administration/policy-bundle.ts'
import { describeBundleDifference } from '../../administration/policy-merge-difference.ts'

/** A line of a difference. */
export interface DiffLine {
  /** As a class: lines that are the same have none. */
  readonly kind: 'add' | 'del' | 'at' | ''
  readonly text: string
}

export interface DiffFile {
  readonly path: string
  readonly word: string
  readonly isBinary: boolean
  readonly lines: readonly DiffLine[]
  readonly added: number
  readonly removed: number
  /** Lines that found no room. */
  readonly leftOut: number
}

/** Lines of all files together on a page; the files themselves are handed out whole. */
const mostLines = 300

const words = { added: 'added', removed: 'removed', changed: 'changed' } as const
const signs = { add: '+', del: '-', same: ' ' } as const

/** What is different in `to`, for a page. */
export function describeDiff(from: Bundle, to: Bundle): readonly DiffFile[] {
  let room = mostLines
  return describeBundleDifference(from, to).map(({ hunks, isBinary, kind, leftOut, path }) => {
    const all = hunks.flatMap((hunk): readonly DiffLine[] => [
      { kind: 'at', text: `@@ ${hunk.from} → ${hunk.to} @@` },
      ...hunk.lines.map((line) => ({
        kind: line.kind === 'same' ? ('' as const) : line.kind,
        text: `${signs[line.kind]}${showHidden(line.text)}`,
      })),
    ])
    const lines = all.slice(0, room)
    room -= lines.length
    const count = (wanted: DiffLine['kind']) => all.filter((line) => line.kind === wanted).length
    return {
      path,
      word: words[kind],
      isBinary,
      lines,
      added: count('add'),
      removed: count('del'),
      leftOut: leftOut + all.length - lines.length,
    }
  })
}

/** Text in which nothing hides: what has no picture, and what turns the direction of others, stands there as its number. */
export function showHidden(text: string): string {
  return text.replace(
    /[\p{Cf}\p{Zl}\p{Zp}\u115f\u1160\u3164\uffa0]/gu,
    (character) => `⟨U+${(character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')}⟩`,
  )
}
