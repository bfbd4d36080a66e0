/**
 * Which pieces of a YAML text have to be replaced so that it says something else: the difference of two values, laid over the tree of the text.
 *
 * Places come from the parser's tokens. Nothing here is trusted to be right for every form of YAML: `edit-yaml.ts` reads the result again.
 */

import { isAlias, isMap, isScalar, isSeq, type Node, type Pair, type YAMLMap, type YAMLSeq } from 'yaml'
import type { Readable } from './edit-yaml.ts'
import { rankOfKey } from './edit-yaml-order.ts'
import { dashAt, endOf, isBlock, lineEnd, lineStart, startOf, startWithComments, valueStart } from './edit-yaml-places.ts'
import { isListData, isMapData, isSameData, writeBlock, writeInline, writeItem, writePair, type YamlData } from './edit-yaml-text.ts'

/** Text between two places, by another. */
export interface Splice {
  readonly start: number
  readonly end: number
  readonly text: string
}

/** The text with all pieces replaced; `undefined` where two overlap. */
export function spliceText(text: string, splices: readonly Splice[], ending: string): string | undefined {
  let changed = text
  let before = text.length
  // Of two at one place what is taken away goes first, so that what is added there stays.
  const order = splices.toReversed().sort((a, b) => b.start - a.start || b.end - a.end)
  for (const splice of order) {
    if (splice.end > before || splice.end < splice.start) return undefined
    const written = ending === '\n' ? splice.text : splice.text.replace(/\r?\n/g, ending)
    changed = changed.slice(0, splice.start) + written + changed.slice(splice.end)
    before = splice.start
  }
  return changed
}

/** Pieces for `before` to become `after`; from `depth` steps below the root on, values are written anew as a whole. */
export function planSplices(given: Readable, before: YamlData, after: YamlData, depth: number): readonly Splice[] | undefined {
  const { document, text } = given
  const root = document.contents
  if (root === null || (isScalar(root) && root.value === null)) {
    return [{ start: text.length, end: text.length, text: `${writeBlock(after, 0)}\n` }]
  }
  const plan = new Plan(text)
  return plan.change(root, before, after, { depth, pair: undefined, indent: 0, isInline: false }) ? plan.splices : undefined
}

interface Position {
  /** How many steps deeper the difference may be looked for. */
  readonly depth: number
  /** The pair whose value it is; `undefined`: an entry of a list, or the root. */
  readonly pair: Pair | undefined
  /** Column of the pair's key. */
  readonly indent: number
  /** Whether it stands in braces or brackets, where lines mean nothing. */
  readonly isInline: boolean
}

/** Collects the pieces. Each method answers whether it could. */
class Plan {
  readonly splices: Splice[] = []
  readonly #text: string

  constructor(text: string) {
    this.#text = text
  }

  change(node: unknown, before: YamlData, after: YamlData, at: Position): boolean {
    if (isSameData(before, after)) return true
    if (at.depth > 0 && isMap(node) && isMapData(before) && isMapData(after) && Object.keys(after).length > 0 && node.items.length > 0) {
      return this.#changeMap(node, before, after, at)
    }
    if (at.depth > 0 && isSeq(node) && isListData(before) && isListData(after) && after.length > 0 && node.items.length > 0) {
      return this.#changeList(node, before, after, at)
    }
    return this.#replace(node, after, at)
  }

  #changeMap(map: YAMLMap, before: Record<string, YamlData>, after: Record<string, YamlData>, at: Position): boolean {
    const pairs = map.items
    const keys = pairs.map(({ key }) => (isScalar(key) ? String(key.value) : ''))
    const kept = keys.filter((key) => Object.hasOwn(after, key))
    if (kept.length === 0) return this.#replace(map, after, at)
    const isBlockMap = isBlock(map)
    const indent = isBlockMap ? this.#columnOf(startOf(pairs[0]?.key)) : at.indent
    for (const [index, pair] of pairs.entries()) {
      const key = keys[index] ?? ''
      if (!Object.hasOwn(after, key)) {
        if (isBlockMap) this.#removePair(pairs, index)
        else this.#removeFromFlow(pairs, index, kept.length)
        continue
      }
      const was = before[key]
      const is = after[key]
      if (was === undefined || is === undefined) return false
      if (!this.change(pair.value, was, is, { depth: at.depth - 1, pair, indent, isInline: !isBlockMap })) return false
    }
    for (const key of Object.keys(after).filter((one) => !keys.includes(one))) {
      const value = after[key]
      if (value === undefined) continue
      const rank = rankOfKey(key, keys)
      const above = kept.findLast((other) => rankOfKey(other, keys) <= rank) ?? kept[0] ?? ''
      this.#addPair({ map, anchor: pairs[keys.indexOf(above)], isBlockMap, indent }, key, value)
    }
    return true
  }

  #addPair(
    place: { readonly map: YAMLMap; readonly anchor: Pair | undefined; readonly isBlockMap: boolean; readonly indent: number },
    key: string,
    value: YamlData,
  ): void {
    const { anchor, indent, isBlockMap } = place
    const end = endOf(this.#text, anchor)
    if (!isBlockMap) {
      this.splices.push({ start: end, end, text: `, ${writeInline({ [key]: value }).slice(2, -2)}` })
      return
    }
    const at = lineEnd(this.#text, end)
    // Sections of a document stand apart.
    const gap = indent === 0 && typeof value === 'object' ? '\n' : ''
    this.splices.push({ start: at, end: at, text: `${gap}${' '.repeat(indent)}${writePair(key, value, indent)}\n` })
  }

  #changeList(list: YAMLSeq, before: readonly YamlData[], after: readonly YamlData[], at: Position): boolean {
    let head = 0
    while (head < before.length && head < after.length && isSameData(before[head], after[head])) head += 1
    let tail = 0
    const most = Math.min(before.length, after.length) - head
    while (tail < most && isSameData(before[before.length - 1 - tail], after[after.length - 1 - tail])) tail += 1
    const was = before.slice(head, before.length - tail)
    const is = after.slice(head, after.length - tail)
    const inner: Position = { depth: at.depth - 1, pair: undefined, indent: at.indent, isInline: !isBlock(list) }
    const kept = before.length - Math.max(0, was.length - is.length)
    for (const [offset, entry] of was.entries()) {
      const index = head + offset
      const next = is[offset]
      if (next === undefined) {
        if (isBlock(list)) {
          if (!this.#removeItem(list, index, offset === is.length)) return this.#replace(list, after, at)
        } else this.#removeFromFlow(list.items, index, kept)
      } else if (!this.change(list.items[index], entry, next, inner)) return false
    }
    const added = is.slice(was.length)
    return added.length === 0 || this.#addItems(list, head + was.length, added, at)
  }

  /** Before the entry that stands at `index`, or at the end. */
  #addItems(list: YAMLSeq, index: number, added: readonly YamlData[], at: Position): boolean {
    const text = this.#text
    if (!isBlock(list)) {
      const written = added.map(writeInline).join(', ')
      const next = list.items[index]
      const place = next === undefined ? endOf(text, list.items.at(-1)) : startOf(next)
      this.splices.push({ start: place, end: place, text: next === undefined ? `, ${written}` : `${written}, ` })
      return true
    }
    const first = dashAt(list, 0)
    if (first === undefined) return this.#replace(list, [], at)
    const indent = this.#columnOf(first)
    const isSpaced = this.#isSpaced(list, at)
    const items = added.map((entry) => `${' '.repeat(indent)}- ${writeItem(entry, indent + 2)}\n`)
    if (index >= list.items.length) {
      const place = lineEnd(text, endOf(text, list.items.at(-1)))
      this.splices.push({ start: place, end: place, text: items.map((item) => (isSpaced ? `\n${item}` : item)).join('') })
      return true
    }
    const place = startWithComments(text, list, index)
    if (place === undefined) return false
    this.splices.push({ start: place, end: place, text: items.map((item) => (isSpaced ? `${item}\n` : item)).join('') })
    return true
  }

  /** Whether entries have a blank line between them. */
  #isSpaced(list: YAMLSeq, at: Position): boolean {
    if (list.items.length === 1) return at.indent === 0 && isScalar(at.pair?.key) && at.pair.key.value === 'apps'
    const last = startWithComments(this.#text, list, list.items.length - 1)
    return last !== undefined && /\n[ \t]*\r?\n$/.test(this.#text.slice(0, last))
  }

  /** With the comments right above it: they speak of it. */
  #removeItem(list: YAMLSeq, index: number, isFirstGone: boolean): boolean {
    const start = startWithComments(this.#text, list, index)
    if (start === undefined) return false
    const end = lineEnd(this.#text, endOf(this.#text, list.items[index]))
    // The blank line that stood between it and what was before would now stand twice, or at the end.
    const isLast = index === list.items.length - 1
    const blank = /\n([ \t]*\r?\n)$/.exec(this.#text.slice(0, start))
    const after = /^[ \t]*\r?\n/.exec(this.#text.slice(end))
    if (isLast && blank !== null && index > 0 && isFirstGone) this.splices.push({ start: start - (blank[1] ?? '').length, end, text: '' })
    else this.splices.push({ start, end: end + (isLast || after === null ? 0 : after[0].length), text: '' })
    return true
  }

  #removePair(pairs: readonly Pair[], index: number): void {
    const text = this.#text
    const start = startOf(pairs[index]?.key)
    const begin = lineStart(text, start)
    const isOwnLine = text.slice(begin, start).trim() === ''
    const end = lineEnd(text, endOf(text, pairs[index]))
    if (isOwnLine) this.splices.push({ start: begin, end, text: '' })
    else this.splices.push({ start, end: pairs[index + 1] === undefined ? end : startOf(pairs[index + 1]?.key), text: '' })
  }

  #removeFromFlow(items: readonly unknown[], index: number, kept: number): void {
    const place = (at: number) => startOf(itemKey(items[at]))
    const next = items[index + 1]
    if (next !== undefined) this.splices.push({ start: place(index), end: place(index + 1), text: '' })
    else if (index > 0 && kept > 0) {
      const start = endOf(this.#text, items[index - 1])
      this.splices.push({ start, end: endOf(this.#text, items[index]), text: '' })
    }
  }

  #replace(node: unknown, after: YamlData, { indent, isInline, pair }: Position): boolean {
    const text = this.#text
    const end = endOf(text, node ?? pair)
    if (pair !== undefined && !isInline) {
      const colon = valueStart(pair)
      if (colon === undefined) return false
      // Behind a text of several lines a comment would become part of the text.
      const isCommented = text.slice(end, lineEnd(text, end)).includes('#')
      const written = isCommented ? ` ${writeInline(after)}` : writePair('k', after, indent).slice(2)
      const isNull = node === null || (isScalar(node) && node.value === null)
      const hasComment = text.slice(colon, isNull ? colon : startOf(node as Node)).includes('#')
      const isBlockScalar = isScalar(node) && (node.type === 'BLOCK_LITERAL' || node.type === 'BLOCK_FOLDED')
      const key = isScalar(pair.key) ? String(pair.key.value) : ''
      const isLines =
        !isCommented && (written.startsWith('\n') || (typeof after === 'object' && writePair(key, after, indent).includes(':\n')))
      if (isLines) {
        const lines = `\n${' '.repeat(indent + 2)}${writeBlock(after, indent + 2)}`
        this.splices.push({ start: colon, end: isBlockScalar ? end - 1 : end, text: lines })
      } else if (hasComment && !isBlockScalar) this.splices.push({ start: startOf(node as Node), end, text: writeInline(after) })
      else this.splices.push({ start: colon, end: isBlockScalar ? end - 1 : isNull ? colon : end, text: written })
      return true
    }
    if (!isScalar(node) && !isMap(node) && !isSeq(node) && !isAlias(node)) return false
    const isLines = pair === undefined && isBlock(node) && !text.slice(end, lineEnd(text, end)).includes('#')
    const written = isLines ? writeBlock(after, this.#columnOf(startOf(node))) : writeInline(after)
    this.splices.push({ start: startOf(node), end, text: written })
    return true
  }

  #columnOf(place: number): number {
    return place - lineStart(this.#text, place)
  }
}

function itemKey(item: unknown): unknown {
  return typeof item === 'object' && item !== null && 'key' in item ? (item as Pair).key : item
}
