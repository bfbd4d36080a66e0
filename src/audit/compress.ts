/**
 * Compresses a closed segment: a copy is made beside it, unpacked again and compared, put on the disk, and only then the plain file goes.
 *
 * At every moment one whole form of the segment is there, whatever is interrupted: a draft is no segment, and while both forms are there
 * the plain one counts. The chain is over the lines, so it knows nothing of compression.
 *
 * The copy is one Zstandard frame (RFC 8878) that says how much it holds, with a checksum. It is unpacked from the file as any reader would, which compares it to its end. All this takes
 * much memory for a moment, and so belongs in a thread of its own (`compress-thread.ts`).
 */

import { type FileHandle, open, readdir, rename, stat, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { constants, createZstdCompress } from 'node:zlib'
import { syncFolder } from './sync-folder.ts'
import { compressedEnding, compressedPath, type SegmentFile, unpack } from './trail-files.ts'

/**
 * `torn`: it ends in half a line, which a start of its writer has to see as it is. `gone`: it was pruned meanwhile.
 */
export type Compression = 'compressed' | 'torn' | 'gone'

/** What the copy is called while it is made. */
const draftEnding = `${compressedEnding}.new`

const atOnceBytes = 1024 * 1024

/** Of lines like ours, a ninth of the size. Packing and comparing 64 MiB takes 0.11 s of CPU, half of what gzip at its fastest takes for an eighth. */
const params = { [constants.ZSTD_c_compressionLevel]: 1, [constants.ZSTD_c_checksumFlag]: 1 }

/** Compresses a plain segment that nobody writes to. Rejects, and leaves the plain file, where that cannot be done. */
export async function compressSegment({ path }: SegmentFile): Promise<Compression> {
  const draft = `${path}${draftEnding}`
  try {
    if (!(await writeDraft(path, draft))) return 'torn'
    await rename(draft, compressedPath(path))
    await syncFolder(join(path, '..'))
    if ((await findStat(path)) === undefined) {
      // Somebody pruned it while the copy was made: it must not come back.
      await unlinkIfThere(compressedPath(path))
      return 'gone'
    }
    await unlinkIfThere(path)
    await syncFolder(join(path, '..'))
    return 'compressed'
  } catch (error) {
    await unlinkIfThere(draft)
    if ((error as NodeJS.ErrnoException).code === 'ENOENT' && (await findStat(path)) === undefined) return 'gone'
    throw error
  }
}

/** Makes the copy and puts it on the disk. `false`, and no draft, for a file that ends in half a line. */
async function writeDraft(path: string, draft: string): Promise<boolean> {
  const found = await stat(path)
  if (!found.isFile()) throw new Error(`${path} is not a file`)
  // Never through a link that somebody put there.
  await unlinkIfThere(draft)
  const source = await open(path, 'r')
  try {
    if (!(await endsInLine(source, found.size))) return false
    const file = await open(draft, 'wx+', 0o600)
    try {
      await pipeline(
        readPieces(source),
        createZstdCompress({ chunkSize: atOnceBytes, params, pledgedSrcSize: found.size }),
        async (packed: AsyncIterable<Buffer>) => {
          for await (const piece of packed) await file.writeFile(piece)
        },
      )
      await compare(file, source)
      await file.utimes(found.atime, found.mtime)
      await file.sync()
      return true
    } finally {
      await file.close()
    }
  } finally {
    await source.close()
  }
}

/** Rejects if what stands in the copy is not what stands in the segment. */
async function compare(copy: FileHandle, segment: FileHandle): Promise<void> {
  const memory = Buffer.allocUnsafeSlow(atOnceBytes)
  let position = 0
  for await (const unpacked of unpack(Readable.from(readPieces(copy)), atOnceBytes)) {
    const { bytesRead } = await segment.read(memory, 0, unpacked.length, position)
    if (!unpacked.equals(memory.subarray(0, bytesRead))) throw new Error('the compressed copy is not what was compressed')
    position += bytesRead
  }
  if (position !== (await segment.stat()).size) throw new Error('the compressed copy is shorter than what was compressed')
}

/** From its beginning, in memory of their own: more than one is under way. */
async function* readPieces(file: FileHandle): AsyncGenerator<Buffer> {
  for (let position = 0; ; ) {
    const { buffer, bytesRead } = await file.read(Buffer.allocUnsafeSlow(atOnceBytes), 0, atOnceBytes, position)
    if (bytesRead === 0) return
    yield buffer.subarray(0, bytesRead)
    position += bytesRead
  }
}

/** A file without a line is a copy without a line. */
async function endsInLine(file: FileHandle, size: number): Promise<boolean> {
  if (size === 0) return true
  const { buffer } = await file.read(Buffer.alloc(1), 0, 1, size - 1)
  return buffer[0] === 10
}

/** Removes drafts that a crash left in the folder of a chain. Only for who may write there. */
export async function removeDrafts(chainFolder: string): Promise<void> {
  for (const name of await readdir(chainFolder).catch(() => [])) {
    if (name.endsWith(draftEnding)) await unlinkIfThere(join(chainFolder, name))
  }
}

/** Removes a segment in whichever form it is there. */
export async function removeSegment({ path }: SegmentFile): Promise<void> {
  const plain = path.endsWith(compressedEnding) ? path.slice(0, -compressedEnding.length) : path
  // In this order, so that a copy that is just being put in place is seen by whoever puts it there, or here.
  await unlinkIfThere(plain)
  await unlinkIfThere(compressedPath(plain))
}

async function findStat(path: string) {
  return await stat(path).catch(() => undefined)
}

async function unlinkIfThere(path: string): Promise<void> {
  await unlink(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error
  })
}
