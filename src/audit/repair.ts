/**
 * Where a chain goes on after a start: behind the last whole line that is there, or behind what the store remembers, if that is more.
 *
 * A process that was killed leaves at most half a line, which is cut off. Nothing else is ever removed: a line that does not hang
 * together with the one before it stays for whoever verifies the trail, and the chain goes on behind it. A compressed segment that cannot be read
 * is passed over, as is a draft of one.
 */

import { constants } from 'node:fs'
import { open, unlink } from 'node:fs/promises'
import type { Logger } from '../log.ts'
import { type Anchor, type ChainHead, genesis, hashLine } from './chain.ts'
import { listSegments, readLines, type SegmentFile, sizeOf } from './trail-files.ts'

/** What was found of a chain. */
export interface ChainEnd {
  readonly head: ChainHead
  /** Number of the last segment that there is; 0: none. */
  readonly segment: number
  /** Bytes of half a line that were cut off. */
  readonly tornBytes: number
}

/** A plain segment is read from so far before its end: more than any line is long. */
const tailBytes = 2 * 1024 * 1024

/** The end of the chain in `folder`, repaired. Rejects if the folder cannot be read. */
export async function repairChain(folder: string, chain: string, log: Pick<Logger, 'error'>): Promise<ChainEnd> {
  const files = await listSegments(folder, chain)
  let segment = files.at(-1)?.number ?? 0
  let tornBytes = 0
  for (const file of files.toReversed()) {
    const tail = await readTail(file).catch((error: unknown) => {
      if (!file.isCompressed) throw error
      log.error({ err: error, path: file.path }, 'a segment of the audit trail cannot be read')
    })
    if (tail === undefined) continue
    if (!tail.holdsTogether) log.error({ path: file.path }, 'lines at the end of the audit trail do not hang together')
    if (!file.isCompressed && tail.tornBytes > 0) {
      await cutOff(file, tail.wholeBytes)
      tornBytes += tail.tornBytes
    }
    if (tail.head !== undefined) return { head: tail.head, segment, tornBytes }
    // An empty file has nothing to say, and its number is free again if it is the last.
    if (!file.isCompressed && tail.wholeBytes === 0) {
      await unlink(file.path)
      if (file.number === segment) segment -= 1
    }
  }
  return { head: { seq: 0, hash: genesis }, segment, tornBytes }
}

/** On the disk before another file follows; and never through a link, which may lead to a file of somebody else's. */
async function cutOff({ path }: SegmentFile, size: number): Promise<void> {
  const file = await open(path, constants.O_WRONLY | constants.O_NOFOLLOW)
  try {
    await file.truncate(size)
    await file.sync()
  } finally {
    await file.close()
  }
}

/** Where the chain goes on. */
export function continueChain(found: ChainEnd, anchor: Anchor | undefined): { readonly head: ChainHead; readonly segment: number } {
  if (anchor === undefined || anchor.seq <= found.head.seq) return { head: found.head, segment: found.segment + 1 }
  return { head: { seq: anchor.seq, hash: anchor.hash }, segment: Math.max(found.segment, anchor.segment) + 1 }
}

interface Tail {
  /** The last whole line; `undefined` if there is none that is a chain's. */
  readonly head: ChainHead | undefined
  readonly holdsTogether: boolean
  readonly wholeBytes: number
  readonly tornBytes: number
}

async function readTail(file: SegmentFile): Promise<Tail> {
  const start = file.isCompressed ? 0 : Math.max(0, (await sizeOf(file)) - tailBytes)
  let isFirst = start > 0
  let head: ChainHead | undefined
  let holdsTogether = true
  let wholeBytes = start
  let tornBytes = 0
  for await (const { bytes, isWhole, offset } of readLines(file, start)) {
    if (!isWhole) {
      tornBytes += bytes.length
      continue
    }
    // What came before was a piece of an endless line, or this is what is left of one: no line of ours.
    wholeBytes = offset + bytes.length + 1
    const isPiece = tornBytes > 0 || isFirst
    tornBytes = 0
    isFirst = false
    if (isPiece) continue
    const place = readPlace(bytes)
    if (head !== undefined && (place?.seq !== head.seq + 1 || place.prev !== head.hash)) holdsTogether = false
    if (place !== undefined) head = { seq: place.seq, hash: hashLine(bytes) }
  }
  return { head, holdsTogether, wholeBytes, tornBytes }
}

function readPlace(line: Buffer): { readonly seq: number; readonly prev: string } | undefined {
  const found = /^\{"seq":([1-9]\d{0,15}),"prev":"([\w-]{43})",/.exec(line.toString('latin1', 0, 96))
  return found === null ? undefined : { seq: Number(found[1]), prev: String(found[2]) }
}
