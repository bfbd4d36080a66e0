/**
 * Where things stand in a YAML text: beginnings and ends of nodes without the comments around them, dashes, colons, lines.
 *
 * The range that the parser gives a map or list of several lines runs up to what follows; an edit needs where its last value ends.
 */

import { isAlias, isMap, isPair, isScalar, isSeq, type Pair, type YAMLSeq } from 'yaml'

/** Whether a map or list is written over lines and not in braces. */
export function isBlock(node: unknown): boolean {
  return (isMap(node) || isSeq(node)) && node.flow !== true
}

/** First character of a node. */
export function startOf(node: unknown): number {
  if (isPair(node)) return startOf(node.key)
  return (isScalar(node) || isMap(node) || isSeq(node) || isAlias(node)) && node.range ? node.range[0] : 0
}

/** Behind the last character of a node, comments not counted. */
export function endOf(text: string, node: unknown): number {
  if (isPair(node)) {
    const { value } = node
    if (value === null || (isScalar(value) && value.value === null && value.source === '')) return valueStart(node) ?? endOf(text, node.key)
    return endOf(text, value)
  }
  if ((isMap(node) || isSeq(node)) && isBlock(node) && node.items.length > 0) {
    const last: unknown = node.items.at(-1)
    return isScalar(last) && last.value === null && isSeq(node) ? (dashAt(node, node.items.length - 1) ?? 0) + 1 : endOf(text, last)
  }
  return (isScalar(node) || isMap(node) || isSeq(node) || isAlias(node)) && node.range ? node.range[1] : 0
}

/** Behind the colon of a pair. */
export function valueStart(pair: Pair): number | undefined {
  const colon = pair.srcToken?.sep?.find(({ type }) => type === 'map-value-ind')
  return colon === undefined ? undefined : colon.offset + 1
}

/** Of the dash before an entry. */
export function dashAt(list: YAMLSeq, index: number): number | undefined {
  const token = list.srcToken
  if (token?.type !== 'block-seq') return undefined
  return token.items[index]?.start.find(({ type }) => type === 'seq-item-ind')?.offset
}

export function lineStart(text: string, place: number): number {
  return text.lastIndexOf('\n', place - 1) + 1
}

/** Behind the end of the line in which a node ends; a text of several lines has its end in it. */
export function lineEnd(text: string, place: number): number {
  if (place > 0 && text[place - 1] === '\n') return place
  const end = text.indexOf('\n', place)
  return end === -1 ? text.length : end + 1
}

/** Begin of the lines of an entry, with the comment lines right above it; `undefined` where it begins within a line of something else. */
export function startWithComments(text: string, list: YAMLSeq, index: number): number | undefined {
  const dash = dashAt(list, index)
  if (dash === undefined) return undefined
  let start = lineStart(text, dash)
  if (text.slice(start, dash).trim() !== '') return undefined
  const floor = index === 0 ? lineEnd(text, previousEnd(text, list)) : lineEnd(text, endOf(text, list.items[index - 1]))
  while (start > floor) {
    const above = lineStart(text, start - 1)
    if (above < floor || !text.slice(above, start).trim().startsWith('#')) break
    start = above
  }
  return start
}

/** Where the line that names the list ends. */
function previousEnd(text: string, list: YAMLSeq): number {
  const dash = dashAt(list, 0) ?? 0
  let at = lineStart(text, dash)
  while (at > 0) {
    const above = lineStart(text, at - 1)
    const line = text.slice(above, at).trim()
    if (line !== '' && !line.startsWith('#')) return at - 1
    at = above
  }
  return 0
}
