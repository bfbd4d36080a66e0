/**
 * The files of a trail, for everybody who reads it: which chains there are in a folder, which segments a chain has, and their lines.
 *
 *     <folder>/<chain>/NNNNNNNN.ndjson       being written, or closed and not yet compressed
 *     <folder>/<chain>/NNNNNNNN.ndjson.zst   closed
 *
 * Both may be there for a moment while a segment is being compressed; then the plain one counts. Reading never changes anything and holds
 * little more than one line at a time. What is not whole at the end of the last file is handed out as such: it may still be being written.
 */

import { constants } from 'node:fs'
import { type FileHandle, open, readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { createZstdDecompress } from 'node:zlib'
import { longestHeaderBytes, readContentSize } from './zstd-frame.ts'

/** One file of a chain. */
export interface SegmentFile {
  readonly chain: string
  readonly number: number
  readonly path: string
  readonly isCompressed: boolean
}

/** What follows the name of a segment that is compressed. */
export const compressedEnding = '.zst'

/** Where the compressed form of the segment at `plain` stands. */
export function compressedPath(plain: string): string {
  return plain + compressedEnding
}

/** Names of the chains in `data_dir/audit`, sorted. Empty where there is no such folder. */
export async function listChains(folder: string): Promise<readonly string[]> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(nothingIfMissing)
  return entries
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name)
    .sort()
}

/** The segments of a chain, the oldest first. */
export async function listSegments(folder: string, chain: string): Promise<readonly SegmentFile[]> {
  const names = await readdir(join(folder, chain)).catch(nothingIfMissing)
  const byNumber = new Map<number, SegmentFile>()
  for (const name of names.sort().reverse()) {
    const found = /^(\d{8})\.ndjson(\.zst)?$/.exec(name)
    if (found?.[1] === undefined) continue
    const number = Number(found[1])
    byNumber.set(number, { chain, number, path: join(folder, chain, name), isCompressed: found[2] !== undefined })
  }
  return [...byNumber.values()].sort((a, b) => a.number - b.number)
}

function nothingIfMissing(error: unknown): [] {
  if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
  throw error
}

/** A line as it stands in the file: its bytes without the newline. They are good until the next one is asked for. */
export interface RawLine {
  readonly bytes: Buffer
  /** Of its first byte, in the file as it would be without compression. */
  readonly offset: number
  /** False for what stands behind the last newline. */
  readonly isWhole: boolean
}

/** Whole lines in a row, each with its newline; or, not whole, a piece without one. Good until the next is asked for. */
export interface LineBlock {
  readonly bytes: Buffer
  /** Of its first byte, in the file as it would be without compression. */
  readonly offset: number
  readonly isWhole: boolean
}

/** A line that is longer is no line of ours: it is handed out in pieces of this length, of which only the last can be whole. */
const longestLine = 1024 * 1024

const readAtOnceBytes = 256 * 1024

/**
 * The lines of one file in blocks, in order, from `start` on (an offset as `LineBlock` has it). For who looks at many lines and wants few: a
 * line by itself costs more than looking at it. `atOnceBytes`: for who wants the first lines only.
 */
export async function* readBlocks(segment: SegmentFile, start = 0, atOnceBytes: number = readAtOnceBytes): AsyncGenerator<LineBlock> {
  const { handle, isCompressed } = await openSegment(segment)
  // Whoever had read all of it before it was compressed would have all of it unpacked to find nothing.
  if (isCompressed && start > 0 && (await holdsExactly(handle, start).catch(closed(handle)))) {
    await handle.close()
    return
  }
  const file = handle.createReadStream({ highWaterMark: atOnceBytes, ...(isCompressed ? {} : { start }) })
  const input: AsyncIterable<Buffer> = isCompressed ? unpack(file, atOnceBytes) : file
  let toSkip = isCompressed ? start : 0
  let offset = start
  let rest: Buffer = Buffer.alloc(0)
  try {
    for await (const read of input) {
      let chunk = read
      if (toSkip > 0) {
        const skipped = Math.min(toSkip, chunk.length)
        toSkip -= skipped
        chunk = chunk.subarray(skipped)
      }
      if (rest.length > 0) chunk = Buffer.concat([rest, chunk])
      const whole = chunk.lastIndexOf(10) + 1
      if (whole > 0) yield { bytes: chunk.subarray(0, whole), offset, isWhole: true }
      let from = whole
      for (; chunk.length - from > longestLine; from += longestLine) {
        yield { bytes: chunk.subarray(from, from + longestLine), offset: offset + from, isWhole: false }
      }
      offset += from
      rest = chunk.subarray(from)
    }
    if (rest.length > 0) yield { bytes: rest, offset, isWhole: false }
  } finally {
    file.destroy()
  }
}

/** Closes the file and rejects with what failed. */
function closed(file: FileHandle): (error: unknown) => Promise<never> {
  return async (error) => {
    await file.close()
    throw error
  }
}

/** By what it says itself. One that says less than was read of it is unpacked, so that it shows what is wrong. */
async function holdsExactly(file: FileHandle, bytes: number): Promise<boolean> {
  const { buffer, bytesRead } = await file.read(Buffer.alloc(longestHeaderBytes), 0, longestHeaderBytes, 0)
  const size = readContentSize(buffer.subarray(0, bytesRead))
  return size === bytes
}

/**
 * What a compressed file holds, in pieces of at most `atOnceBytes`. Rejects for a file that is cut off or changed, and at its end for one that goes on behind what
 * was compressed: other programs would unpack that as well, and show an auditor lines that nobody verified.
 */
export async function* unpack(file: Readable, atOnceBytes: number): AsyncGenerator<Buffer> {
  const unpacked = createZstdDecompress({ chunkSize: atOnceBytes })
  let header = Buffer.alloc(0)
  let bytes = 0
  file.on('data', (read: Buffer) => {
    bytes += read.length
    if (header.length < longestHeaderBytes) header = Buffer.concat([header, read.subarray(0, longestHeaderBytes - header.length)])
  })
  // `pipe` hands no errors on, and an unread one would end the process.
  file.on('error', (error) => unpacked.destroy(error))
  file.pipe(unpacked)
  try {
    let held = 0
    for await (const piece of unpacked as AsyncIterable<Buffer>) {
      held += piece.length
      yield piece
    }
    // A second frame is unpacked or not, as the pieces happen to end.
    const isOneFrame = unpacked.bytesWritten === bytes && held === (readContentSize(header) ?? held)
    if (!isOneFrame) throw new Error('something stands behind the end of what was compressed')
  } finally {
    file.destroy()
    unpacked.destroy()
  }
}

/** A segment may have been compressed since it was listed; its lines are the same. Rejects with ENOENT for one that is gone. */
async function openSegment({ isCompressed, path }: SegmentFile): Promise<{ readonly handle: FileHandle; readonly isCompressed: boolean }> {
  try {
    return { handle: await openRegular(path), isCompressed }
  } catch (error) {
    if (isCompressed || (error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    return { handle: await openRegular(compressedPath(path)), isCompressed: true }
  }
}

/** Opens a file to read it. Rejects for a pipe or a device under its name, which would be waited for, or read, for ever. */
export async function openRegular(path: string): Promise<FileHandle> {
  const handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
  const isRegular = (await handle.stat()).isFile()
  if (isRegular) return handle
  await handle.close()
  throw new Error(`${path} is not a file`)
}

/** The lines of one file, in order, from `start` on (an offset as `RawLine` has it). */
export async function* readLines(file: SegmentFile, start = 0): AsyncGenerator<RawLine> {
  for await (const block of readBlocks(file, start)) {
    if (!block.isWhole) yield block
    else {
      const { bytes, offset } = block
      for (let from = 0, end = bytes.indexOf(10); end !== -1; from = end + 1, end = bytes.indexOf(10, from)) {
        yield { bytes: bytes.subarray(from, end), offset: offset + from, isWhole: true }
      }
    }
  }
}

/** A line as it was parsed; its form is `docs/audit.md`'s. */
export type TrailLine = Readonly<Record<string, unknown>>

/** The line as a map; `undefined` for half a line (the file is being written, or its process was killed) and for whatever else is none. */
export function parseTrailLine(bytes: Buffer | string): TrailLine | undefined {
  try {
    const line: unknown = JSON.parse(typeof bytes === 'string' ? bytes : bytes.toString('utf8'))
    return typeof line === 'object' && line !== null && !Array.isArray(line) ? (line as TrailLine) : undefined
  } catch {
    // Not JSON; who verifies the trail says so.
    return undefined
  }
}

/** Bytes that the file takes on the disk; 0 for one that is gone. */
export async function sizeOf({ path }: SegmentFile): Promise<number> {
  return (await stat(path).catch(() => undefined))?.size ?? 0
}
