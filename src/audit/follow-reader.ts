/**
 * Reads a chain from a position on, in batches of whole lines, over whatever happens to its files meanwhile: they grow, the next one begins,
 * closed ones are compressed or removed, also in the very moment of reading.
 *
 * A segment is finished when it is compressed or a later one was there before its end was read; what then stands behind its last newline
 * was torn by a crash and is no line. Segments that went before they were read are counted as lost, by the numbers of the lines around the gap.
 * The file stays open between batches, so that a compressed segment is unpacked once and not once for each batch.
 */

import { open as openFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { createLineBatch, type LineBatch, parseSeq } from './follow-batch.ts'
import { createReadMemory, readPlainBlocks } from './follow-file.ts'
import type { FollowPosition } from './follow-position.ts'
import { compressedPath, type LineBlock, listSegments, readBlocks, type SegmentFile } from './trail-files.ts'

/** Most of a batch; one line may be longer than all its bytes. */
export interface BatchLimits {
  readonly lines: number
  readonly bytes: number
}

/** Lines, and where the next ones begin. */
export interface ReadBatch {
  /** The same one whenever it is sent again: a receiver may remember what it did with its lines. */
  readonly batch: LineBatch
  readonly lines: number
  readonly after: FollowPosition
  /** Lines that were removed before these could be read. */
  readonly lost: number
  /** What was remembered did not fit what is there, so reading began anew: some lines may come twice. */
  readonly isAgain: boolean
}

export interface ChainReader {
  /**
   * The lines after those of the last batch, whose bytes are overwritten; `undefined` while there are none. Rejects if a file cannot be read;
   * the next call tries again.
   */
  next(): Promise<ReadBatch | undefined>
  /** Gives up the segment that cannot be read; its lines count as lost. */
  skipSegment(): void
  /** What is there beyond a position. Compressed files count with the bytes that they take. */
  measure(position: FollowPosition | undefined): Promise<{ readonly bytes: number; readonly lastSeq: number | undefined }>
  close(): Promise<void>
}

interface OpenSegment {
  readonly file: SegmentFile
  readonly blocks: AsyncGenerator<LineBlock>
  /** What is left of the block that was last read. */
  rest: LineBlock | undefined
  /** Nothing will be added: a later one was there before this was opened, or it is compressed. */
  readonly isFinished: boolean
}

/** Reads `chain` in `folder` from `start`, or from its oldest line. */
export function createChainReader(folder: string, chain: string, start: FollowPosition | undefined, limits: BatchLimits): ChainReader {
  let position = start
  let current: OpenSegment | undefined
  /** Segments were jumped over since the last line that was read. */
  let hasJumped = false
  /** The first line after a restart shows whether the position still means what it meant. */
  let isUnproven = start !== undefined && start.offset > 0
  let isAgain = false
  let isSkipped = false
  const memory = createReadMemory()

  const release = async () => {
    const ended = current
    current = undefined
    await ended?.blocks.return(undefined)
  }

  const startAgain = (segment: number) => {
    position = { segment, offset: 0, seq: undefined }
    isUnproven = false
    isAgain = true
    hasJumped = false
  }

  /** `undefined`: there is nothing to read at the moment. */
  const openNext = async (): Promise<OpenSegment | undefined> => {
    if (position !== undefined && !isSkipped && (await isUnchanged(join(folder, chain), position))) return undefined
    const files = await listSegments(folder, chain)
    const [oldest] = files
    const newest = files.at(-1)
    if (oldest === undefined || newest === undefined) return undefined
    if (position === undefined) position = { segment: oldest.number, offset: 0, seq: undefined }
    // The one after a compressed one may be a while in coming; any other that is ahead of everything is of a chain that began anew.
    const isAwaited = position.offset === 0 && newest.number === position.segment - 1
    if (newest.number < position.segment && !isAwaited) startAgain(oldest.number)
    const wanted = position.segment + (isSkipped ? 1 : 0)
    const file = files.find(({ number }) => number >= wanted)
    if (file === undefined) return undefined
    isSkipped = false
    if (file.number !== position.segment) {
      hasJumped = true
      moveTo(file.number)
    }
    const isFinished = file.number < newest.number || file.isCompressed
    if (!isFinished && !file.isCompressed && position.offset > (await sizeNow(file.path))) startAgain(file.number)
    const blocks = file.isCompressed ? readBlocks(file, position.offset) : readPlainBlocks(file.path, position.offset, memory)
    return { file, blocks, rest: undefined, isFinished }
  }

  const moveTo = (segment: number) => {
    position = { segment, offset: 0, seq: position?.seq }
    isUnproven = false
  }

  /** The next block of the segment at hand, or what is left of it; `undefined` at the segment's end. */
  const readOn = async (segment: OpenSegment): Promise<LineBlock | undefined> => {
    if (segment.rest !== undefined) return segment.rest
    const read = await segment.blocks.next()
    return read.done === true ? undefined : read.value
  }

  const next = async (): Promise<ReadBatch | undefined> => {
    let lost = 0
    /** A line longer than any of ours comes in pieces, and its last one looks whole. */
    let isWithinPieces = false
    let hasLookedAgain = false
    for (;;) {
      let read: LineBlock | undefined
      try {
        current ??= await openNext()
        if (current === undefined) break
        read = await readOn(current)
      } catch (error) {
        await release().catch(() => undefined)
        // A file that vanished was compressed or pruned just now.
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') break
        throw error
      }
      if (position === undefined) break
      const { file, isFinished } = current
      if (read === undefined) {
        current = undefined
        isWithinPieces = false
        if (isFinished) moveTo(file.number + 1)
        // Since it was opened another segment may have followed: who closes asks once, and must not stop between the two.
        else if (hasLookedAgain) break
        else hasLookedAgain = true
        continue
      }
      current.rest = undefined
      if (!read.isWhole) {
        isWithinPieces = true
        continue
      }
      if (isWithinPieces) {
        isWithinPieces = false
        const from = read.bytes.indexOf(10) + 1
        position = { ...position, offset: read.offset + from }
        current.rest = restOf(read, from)
        continue
      }
      const seq = parseSeq(read.bytes)
      if (isUnproven && position.seq !== undefined && seq !== position.seq + 1) {
        await release()
        startAgain(file.number)
        continue
      }
      isUnproven = false
      if (hasJumped && position.seq !== undefined && seq !== undefined) lost += Math.max(0, seq - position.seq - 1)
      hasJumped = false
      const { end, last, lines } = takeLines(read.bytes, limits)
      position = { segment: file.number, offset: read.offset + end, seq: parseSeq(read.bytes, last) ?? position.seq }
      current.rest = restOf(read, end)
      const wasAgain = isAgain
      isAgain = false
      return { batch: createLineBatch(chain, read.bytes.subarray(0, end)), lines, after: position, lost, isAgain: wasAgain }
    }
    // Who asks is done with the batch before.
    memory.release()
    return undefined
  }

  return {
    next,
    skipSegment: () => {
      isSkipped = true
    },
    measure: async (from) => {
      const files = await listSegments(folder, chain)
      let bytes = 0
      for (const file of files) {
        if (from !== undefined && file.number < from.segment) continue
        const size = await sizeNow(file.path)
        bytes += file.number === from?.segment && !file.isCompressed ? Math.max(0, size - from.offset) : size
      }
      const newest = files.findLast(({ isCompressed }) => !isCompressed)
      return { bytes, lastSeq: newest === undefined ? undefined : await loadLastSeq(newest.path) }
    },
    close: release,
  }
}

/** Whole lines from the beginning of a block of them: as many as are wanted, at least one. `last`: where the last of them begins. */
function takeLines(bytes: Buffer, limits: BatchLimits): { readonly lines: number; readonly end: number; readonly last: number } {
  let lines = 0
  let end = 0
  let last = 0
  while (lines < limits.lines && end < limits.bytes && end < bytes.length) {
    last = end
    end = bytes.indexOf(10, last) + 1
    lines += 1
  }
  return { lines, end, last }
}

function restOf({ bytes, offset, isWhole }: LineBlock, from: number): LineBlock | undefined {
  return from < bytes.length ? { bytes: bytes.subarray(from), offset: offset + from, isWhole } : undefined
}

/**
 * Most looks find nothing new: three questions to the file system, and no list of a folder with a year's segments. The next one may be compressed
 * while this one is not, such as one that somebody unpacked.
 */
async function isUnchanged(folder: string, { segment, offset }: FollowPosition): Promise<boolean> {
  const nameOf = (number: number) => join(folder, `${String(number).padStart(8, '0')}.ndjson`)
  const next = nameOf(segment + 1)
  const [here, ...after] = await Promise.all([nameOf(segment), next, compressedPath(next)].map((path) => stat(path).catch(() => undefined)))
  return here?.size === offset && after.every((found) => found === undefined)
}

/** 0 for one that is gone. */
async function sizeNow(path: string): Promise<number> {
  return (await stat(path).catch(() => undefined))?.size ?? 0
}

/** Longer than nearly every line. */
const tailBytes = 64 * 1024

/** The number of the last whole line of a file that may be written meanwhile; `undefined` if its end shows none. */
async function loadLastSeq(path: string): Promise<number | undefined> {
  const file = await openFile(path, 'r').catch(() => undefined)
  if (file === undefined) return undefined
  try {
    const { size } = await file.stat()
    const { buffer, bytesRead } = await file.read(Buffer.alloc(tailBytes), 0, tailBytes, Math.max(0, size - tailBytes))
    const tail = buffer.subarray(0, bytesRead)
    const end = tail.lastIndexOf(10)
    if (end < 1) return undefined
    return parseSeq(tail.subarray(tail.lastIndexOf(10, end - 1) + 1, end))
  } finally {
    await file.close()
  }
}
