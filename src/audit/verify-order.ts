/**
 * Whether lines follow each other as they were written, and if not, which one is wrong.
 *
 * A line carries its number and the hash of the line before it, so two neighbours agree or they do not. Where they do not, the line after them
 * decides who is to blame: what it refers to is what was written. So one line is held back, never more, and memory stays constant.
 * After a break the check goes on from the next line that can be read as one: each of several changes is found by itself.
 */

import { hashLine } from './chain.ts'
import type { FindingKind } from './verify-verdict.ts'

/** A line as it was read. */
export interface SeenLine {
  /** `undefined` for what does not begin like a line of a trail. */
  readonly seq: number | undefined
  readonly prev: string | undefined
  readonly hash: string
  readonly file: string
  readonly segment: number
  readonly line: number
  /** The whole line, where it is about the trail itself (`audit.…`) or is not formed like a line. */
  readonly text: string | undefined
}

/** A line whose beginning could be read. */
export interface PlacedLine extends SeenLine {
  readonly seq: number
  readonly prev: string
}

export interface OrderListener {
  /** A line that stands in the chain; `isBroken`: what is before it is not what was before it when it was written. */
  onLine(line: PlacedLine, isBroken: boolean): void
  onBreak(kind: FindingKind, line: SeenLine, message: string): void
  /** Whether the line is a checkpoint whose signature holds. */
  isSigned(line: PlacedLine): boolean
}

export interface OrderCheck {
  /** The line that the next one has to follow. */
  last(): PlacedLine | undefined
  see(line: SeenLine): void
  end(): void
}

const prefixForm = /^\{"seq":([1-9]\d{0,14}),"prev":"([\w-]{43})",/
/** `{"seq":`, fifteen digits, `,"prev":"`, a hash, `",`. */
const longestPrefix = 7 + 15 + 9 + 43 + 2
const afterInstant = '","event":"'

/** Reads what orders a line. `expected` is the beginning that it should have: then nothing else of it needs to be looked at. */
export function readOrder(bytes: Buffer, expected: { readonly prefix: string; readonly seq: number; readonly prev: string } | undefined) {
  let seq: number | undefined
  let prev: string | undefined
  let end = 0
  if (expected !== undefined && bytes.toString('latin1', 0, expected.prefix.length) === expected.prefix) {
    seq = expected.seq
    prev = expected.prev
    end = expected.prefix.length
  } else {
    const found = prefixForm.exec(bytes.toString('latin1', 0, longestPrefix))
    if (found !== null) {
      seq = Number(found[1])
      prev = found[2]
      end = found[0].length
    }
  }
  // `"at":"` and an instant of 24 characters stand before it.
  const isFormed = bytes.toString('latin1', end + 30, end + 30 + afterInstant.length) === afterInstant
  const isOfTrail = !isFormed || bytes.toString('latin1', end + 41, end + 47) === 'audit.'
  return { seq, prev, hash: hashLine(bytes), text: isOfTrail ? bytes.toString('utf8') : undefined }
}

/** The check of one chain. */
export function createOrderCheck({ isSigned, onBreak, onLine }: OrderListener): OrderCheck {
  let last: PlacedLine | undefined
  let suspect: SeenLine | undefined
  let isLost = false

  const fits = (line: SeenLine, before: PlacedLine): line is PlacedLine => line.seq === before.seq + 1 && line.prev === before.hash
  const isPlaced = (line: SeenLine): line is PlacedLine => line.seq !== undefined && line.prev !== undefined

  function take(line: PlacedLine, isBroken: boolean) {
    last = line
    isLost = false
    onLine(line, isBroken)
  }

  /** Goes on from a line that can be read as one; what cannot was named when it began. */
  function resume(line: SeenLine | undefined) {
    if (line === undefined) return
    if (isPlaced(line)) take(line, true)
    else isLost = true
  }

  function see(line: SeenLine) {
    if (suspect !== undefined) {
      const held = suspect
      suspect = undefined
      decide(held, line)
    } else if (last === undefined && !isPlaced(line)) {
      if (!isLost) onBreak('changed', line, 'it does not begin like a line of a trail')
      isLost = true
    } else if (last === undefined || isLost) resume(line)
    else if (fits(line, last)) take(line, false)
    else suspect = line
  }

  /** `line` does not fit to the last one; `next` is the one after it, if there is one. */
  function decide(line: SeenLine, next: SeenLine | undefined) {
    const before = last
    if (before === undefined) return
    const expected = before.seq + 1
    if (next !== undefined && fits(next, before)) return decideExtra(line, next, before)
    const isFollowed = next !== undefined && isPlaced(line) && fits(next, line)
    const goOnFrom = (from: PlacedLine) => {
      take(from, true)
      if (next !== undefined) see(next)
    }
    if (!isPlaced(line)) {
      if (next?.seq === expected) onBreak('changed', before, 'it was torn into two lines')
      else onBreak('changed', line, `it does not begin like a line of a trail; line ${expected} is expected here`)
      return resume(next)
    }
    if (line.seq === before.seq && line.prev === before.prev && isFollowed) {
      onBreak('inserted', before, `another line ${line.seq} follows it, and the chain goes on from that one`)
      return goOnFrom(line)
    }
    if (line.seq === expected) {
      // Either this line's `prev` was changed or the line before it: what follows, or a signature, tells which.
      const isGenuine = isFollowed || (next === undefined && isSigned(line))
      if (!isGenuine) {
        onBreak(
          'changed',
          line,
          `it does not refer to the line before it${next === undefined ? '' : ', and the next does not refer to it'}`,
        )
        return resume(next)
      }
      // A line that is itself signed is as it was written: what is here in place of its successor is from elsewhere.
      if (isSigned(before)) onBreak('changed', line, 'it refers to another line than the signed one before it')
      else onBreak('changed', before, `line ${line.seq} refers to another text of it`)
      return goOnFrom(line)
    }
    if (line.prev === before.hash) {
      onBreak('changed', line, `its number should be ${expected}`)
      return resume(next)
    }
    if (next?.seq === expected + 1) {
      onBreak('reordered', line, `line ${line.seq} stands where line ${expected} belongs`)
      return resume(next)
    }
    if (line.seq > expected) onBreak('removed', line, `${describeRange(expected, line.seq - 1)} missing before it`)
    else onBreak('duplicated', line, `line ${line.seq} stands here again, where line ${expected} belongs`)
    goOnFrom(line)
  }

  /** `next` fits to the last line, so `line` between them is one too many. */
  function decideExtra(line: SeenLine, next: PlacedLine, before: PlacedLine) {
    if (isPlaced(line) && fits(line, next)) {
      onBreak('reordered', line, `line ${line.seq} stands before line ${next.seq}`)
      take(next, false)
      return take(line, false)
    }
    const isCopy = line.hash === before.hash || (line.seq !== undefined && line.seq <= before.seq)
    onBreak(isCopy ? 'duplicated' : 'inserted', line, `line ${before.seq} and line ${next.seq} belong together, and it stands between them`)
    take(next, false)
  }

  return {
    last: () => (suspect === undefined && !isLost ? last : undefined),
    see,
    end() {
      const held = suspect
      suspect = undefined
      if (held !== undefined) decide(held, undefined)
    },
  }
}

/** Such as `lines 4 to 7 are`. */
export function describeRange(first: number, through: number): string {
  return first === through ? `line ${first} is` : `lines ${first} to ${through} are`
}
