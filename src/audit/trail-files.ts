/**
 * The files of a trail, for everybody who reads it: which chains there are in a folder, which segments a chain has, and their lines.
 *
 *     <folder>/<chain>/NNNNNNNN.ndjson       being written, or closed and not yet compressed
 *     <folder>/<chain>/NNNNNNNN.ndjson.gz    closed
 *
 * Both may be there for a moment while a segment is being compressed; then the plain one counts. Reading never changes anything and holds
 * little more than one line at a time. What is not whole at the end of the last file is handed out as such: it may still be being written.
 */

import { createReadStream } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { createGunzip } from 'node:zlib'

/** One file of a chain. */
export interface SegmentFile {
  readonly chain: string
  readonly number: number
  readonly path: string
  readonly isCompressed: boolean
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
    const found = /^(\d{8})\.ndjson(\.gz)?$/.exec(name)
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

/** A line that is longer is no line of ours: it is handed out in pieces of this length, of which only the last can be whole. */
const longestLine = 1024 * 1024

/** The lines of one file, in order, from `start` on (an offset as `RawLine` has it). */
export async function* readLines({ path, isCompressed }: SegmentFile, start = 0): AsyncGenerator<RawLine> {
  const file = createReadStream(path, { highWaterMark: 256 * 1024, ...(isCompressed ? {} : { start }) })
  const input = isCompressed ? file.pipe(createGunzip({ chunkSize: 256 * 1024 })) : file
  // `pipe` hands no errors on, and an unread one would end the process.
  file.on('error', (error) => input.destroy(error))
  let toSkip = isCompressed ? start : 0
  let offset = start
  let rest: Buffer = Buffer.alloc(0)
  try {
    for await (const read of input as AsyncIterable<Buffer>) {
      let chunk = read
      if (toSkip > 0) {
        const skipped = Math.min(toSkip, chunk.length)
        toSkip -= skipped
        chunk = chunk.subarray(skipped)
      }
      if (rest.length > 0) chunk = Buffer.concat([rest, chunk])
      let from = 0
      for (let end = chunk.indexOf(10); end !== -1; end = chunk.indexOf(10, from)) {
        yield { bytes: chunk.subarray(from, end), offset: offset + from, isWhole: true }
        from = end + 1
      }
      while (chunk.length - from > longestLine) {
        yield { bytes: chunk.subarray(from, from + longestLine), offset: offset + from, isWhole: false }
        from += longestLine
      }
      offset += from
      rest = chunk.subarray(from)
    }
    if (rest.length > 0) yield { bytes: rest, offset, isWhole: false }
  } finally {
    file.destroy()
    input.destroy()
  }
}

/** Bytes that the file takes on the disk; 0 for one that is gone. */
export async function sizeOf({ path }: SegmentFile): Promise<number> {
  return (await stat(path).catch(() => undefined))?.size ?? 0
}
