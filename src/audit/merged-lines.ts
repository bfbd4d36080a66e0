/**
 * The lines of several chains, merged by time: what a search, an export and a replay read.
 *
 * A chain is in order by itself, so one line of each is held and the earliest goes first; lines of one instant come in the order of the chains'
 * names. Memory does not grow with the trail: what is held is a block of each chain. A period skips whole segments by the time of their first
 * lines, and a selection looks at bytes in blocks before anything is made of a line. Nothing is changed, nothing is trusted: what is not
 * whole, or has no time where the trail writes it, is passed over (`postern audit verify` says so).
 */

import { type LineBlock, listChains, listSegments, readBlocks, type SegmentFile } from './trail-files.ts'

/** A time from, and a time before which. Epoch milliseconds; left out: open. */
export interface Period {
  readonly since?: number | undefined
  readonly until?: number | undefined
}

/** Which lines are wanted. */
export interface LineSelection {
  /** Where in the block, at `from` or after it, something stands that a wanted line has; -1: nowhere. Left out: each line is looked at. */
  readonly jump?: ((block: Buffer, from: number) => number) | undefined
  /** Asked for lines in the order of their chain. The bytes are good for the call only. */
  readonly isWanted: (line: Buffer) => boolean
}

export interface MergedLine {
  /** The folder that the chain is in, as it was given. */
  readonly folder: string
  readonly chain: string
  readonly segment: number
  /** The line's own time, as it stands there: RFC 3339 in UTC with milliseconds, so that texts compare as times. */
  readonly at: string
  /** Without the newline; good until the next line is asked for. */
  readonly bytes: Buffer
}

/** How far each chain was read, by folder and chain. */
export type ReadPositions = Map<string, { readonly segment: number; readonly offset: number }>

export interface MergeOptions extends Period {
  readonly selection?: LineSelection | undefined
  /** Where to begin; written to as lines are taken, so that a later merge goes on with what was written since. */
  readonly positions?: ReadPositions | undefined
}

/** Clocks are set back, and so a chain may go back in time a little: so far from a bound its lines are looked at one by one. */
const clockStepMs = 5 * 60_000

/** The lines of all chains in `folders` (each a `data_dir/audit`), the earliest first. */
export async function* mergeLines(folders: readonly string[], options: MergeOptions = {}): AsyncGenerator<MergedLine> {
  const waiting: Cursor[] = []
  try {
    for (const folder of folders) {
      for (const chain of await listChains(folder)) {
        const cursor = createCursor(folder, chain, options)
        if (await cursor.advance()) waiting.push(cursor)
      }
    }
    while (waiting.length > 0) {
      const first = earliest(waiting)
      yield first.line()
      // Most lines are in the block that the last one was in: waiting for those would cost more than reading them.
      if (!first.advanceInBlock() && !(await first.advance())) waiting.splice(waiting.indexOf(first), 1)
    }
  } finally {
    for (const cursor of waiting) await cursor.close()
  }
}

function earliest(cursors: readonly Cursor[]): Cursor {
  return cursors.reduce((first, other) => (other.at() < first.at() ? other : first))
}

/** One line of one chain. */
interface Cursor {
  at(): string
  line(): MergedLine
  /** To the next wanted line of the block; `false` if there is none left in it. */
  advanceInBlock(): boolean
  /** To the next wanted line; `false` at the end. */
  advance(): Promise<boolean>
  /** Lets go of the file. */
  close(): Promise<void>
}

interface Place extends LineBlock {
  readonly segment: number
}

function createCursor(folder: string, chain: string, { positions, selection, since, until }: MergeOptions): Cursor {
  const isAfter = since === undefined ? undefined : new Date(since).toISOString()
  const isBefore = until === undefined ? undefined : new Date(until).toISOString()
  const wholeBlockIsAfter = until === undefined ? undefined : new Date(until + clockStepMs).toISOString()
  const key = `${folder}\n${chain}`
  const blocks = readChain(folder, chain, { since, until, from: positions?.get(key) })
  let place: Place | undefined
  /** In the block, behind the present line. */
  let from = 0
  let line: Buffer = Buffer.alloc(0)
  let at = ''

  function advanceInBlock(): boolean {
    if (place === undefined) return false
    const { bytes } = place
    while (from < bytes.length) {
      const found = selection?.jump === undefined ? from : selection.jump(bytes, from)
      if (found === -1) break
      const start = found === from ? from : bytes.lastIndexOf(10, found) + 1
      const end = bytes.indexOf(10, found)
      line = bytes.subarray(start, end)
      from = end + 1
      // The selection sees lines before the period too, for a later one may refer to them; the period is about what is handed out.
      if (selection !== undefined && !selection.isWanted(line)) continue
      at = instantIn(line)
      if (at === '' || (isAfter !== undefined && at < isAfter) || (isBefore !== undefined && at >= isBefore)) continue
      positions?.set(key, { segment: place.segment, offset: place.offset + from })
      return true
    }
    positions?.set(key, { segment: place.segment, offset: place.offset + bytes.length })
    return false
  }

  return {
    at: () => at,
    line: () => ({ folder, chain, segment: place?.segment ?? 0, at, bytes: line }),
    advanceInBlock,
    async advance() {
      for (;;) {
        const next = await blocks.next()
        if (next.done === true) return false
        place = next.value
        from = 0
        const first = wholeBlockIsAfter === undefined ? '' : instantIn(place.bytes)
        if (wholeBlockIsAfter !== undefined && first >= wholeBlockIsAfter) {
          await blocks.return(undefined)
          return false
        }
        if (advanceInBlock()) return true
      }
    },
    close: async () => void (await blocks.return(undefined)),
  }
}

interface ChainPart extends Period {
  readonly from: { readonly segment: number; readonly offset: number } | undefined
}

/** The whole lines of a chain in blocks, without the segments that are outside of the period. */
async function* readChain(folder: string, chain: string, { from, since, until }: ChainPart): AsyncGenerator<Place, undefined> {
  const all = (await listSegments(folder, chain)).filter(({ number }) => from === undefined || number >= from.segment)
  for (const segment of await segmentsOf(all, { since, until })) {
    const start = segment.number === from?.segment ? from.offset : 0
    try {
      for await (const block of readBlocks(segment, start)) if (block.isWhole) yield { ...block, segment: segment.number }
    } catch (error) {
      // Pruned while it was being waited for.
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    }
  }
  return undefined
}

/** The segments that may hold lines of the period. They begin in order, so that few have to be opened to find the first and the last. */
export async function segmentsOf(segments: readonly SegmentFile[], { since, until }: Period): Promise<readonly SegmentFile[]> {
  // One before the first that begins within the period may end in it.
  const first = since === undefined ? 0 : Math.max(0, (await countBefore(segments, since - clockStepMs)) - 1)
  const last = until === undefined ? segments.length : await countBefore(segments, until + clockStepMs)
  return segments.slice(first, last)
}

/** How many begin before this instant. */
async function countBefore(segments: readonly SegmentFile[], instant: number): Promise<number> {
  const text = new Date(instant).toISOString()
  let low = 0
  let high = segments.length
  while (low < high) {
    const middle = (low + high) >> 1
    const segment = segments[middle]
    if (segment !== undefined && (await beginningOf(segment)) < text) low = middle + 1
    else high = middle
  }
  return low
}

const firstLineBytes = 4 * 1024

/** The time of its first line; of one that has none it is not known, and it counts as old: it will be read. */
async function beginningOf(segment: SegmentFile): Promise<string> {
  try {
    for await (const { bytes, isWhole } of readBlocks(segment, 0, firstLineBytes)) if (isWhole) return instantIn(bytes)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
  return ''
}

const instantMark = Buffer.from('"at":"')
/** `{"seq":9007199254740991,"prev":"…","at":"`: the time stands so early in a line, or is none of the trail's. */
const instantWithin = 128
const instantLength = '2026-11-22T08:00:00.000Z'.length

/** The time of the line that begins here, as text; empty if there is none where the trail writes it. */
export function instantIn(line: Buffer): string {
  const mark = line.subarray(0, instantWithin).indexOf(instantMark)
  if (mark === -1) return ''
  const from = mark + instantMark.length
  const text = line.toString('latin1', from, from + instantLength)
  return text.endsWith('Z') && line[from + instantLength] === 34 ? text : ''
}
