/**
 * An entry of a list of a YAML text in another place: the pieces of text change places as they are, with the comments above and beside them.
 */

import { isAlias, isMap, isSeq } from 'yaml'
import type { Readable } from './edit-yaml.ts'
import { endOf, isBlock, lineEnd, startOf, startWithComments } from './edit-yaml-places.ts'
import type { Splice } from './edit-yaml-splices.ts'
import type { Path } from './problems.ts'

/** The node at a path; `undefined`: there is none, or an alias stands for it. */
export function nodeAt({ document }: Readable, path: Path): unknown {
  let node: unknown = document.contents
  for (const step of path) {
    if (isAlias(node)) return undefined
    if (isMap(node)) node = node.get(step, true)
    else if (isSeq(node) && typeof step === 'number') node = node.items[step]
    else return undefined
  }
  return node
}

/** Pieces that put entry `from` of the list at `path` at `to`. */
export function planMove(given: Readable, path: Path, from: number, to: number): readonly Splice[] | undefined {
  const { text } = given
  const list = nodeAt(given, path)
  if (!isSeq(list)) return undefined
  const places = list.items.map((item, index) => {
    if (!isBlock(list)) return { start: startOf(item), end: endOf(text, item) }
    return { start: startWithComments(text, list, index), end: lineEnd(text, endOf(text, item)) }
  })
  const pieces = places.map(({ end, start }) => (start === undefined ? undefined : text.slice(start, end)))
  const moved = pieces.toSpliced(from, 1).toSpliced(to, 0, pieces[from])
  return places.flatMap(({ end, start }, index) => {
    const piece = moved[index]
    return start === undefined || piece === undefined || piece === pieces[index] ? [] : [{ start, end, text: piece }]
  })
}
