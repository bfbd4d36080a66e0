/**
 * Compresses a closed segment: a copy is made beside it, unpacked again and compared, put on the disk, and only then the plain file goes.
 *
 * At every moment one whole form of the segment is there, whatever is interrupted: a draft is no segment, and while both forms are there
 * the plain one counts. The chain is over the lines, so it knows nothing of compression.
 *
 * The copy is made in pieces, each a member of the file (RFC 1952 §2.2: unpacked they follow each other). A piece is compared in memory, which costs
 * next to nothing, where a whole file would be hashed twice. The calls wait for nothing else, so this belongs in a thread of its own (`compress-thread.ts`).
 */

import { hash } from 'node:crypto'
import { type FileHandle, open, readdir, rename, stat, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { gunzipSync, gzipSync } from 'node:zlib'
import { syncFolder } from './sync-folder.ts'
import type { SegmentFile } from './trail-files.ts'

/**
 * `torn`: it ends in half a line, which a start of its writer has to see as it is. `gone`: it was pruned meanwhile.
 */
export type Compression = 'compressed' | 'torn' | 'gone'

/** What the copy is called while it is made. */
const draftEnding = '.ndjson.gz.new'

const pieceBytes = 4 * 1024 * 1024
const memberBytes = 1024 * 1024

/** Of lines like ours, a seventh of the size at twice the speed of the default, which saves five parts in a hundred more. */
const level = 1
/** The most: a twelfth less CPU for half a megabyte of memory. */
const memLevel = 9

/** Compresses a plain segment that nobody writes to. Rejects, and leaves the plain file, where that cannot be done. */
export async function compressSegment({ path }: SegmentFile): Promise<Compression> {
  const draft = path.replace(/\.ndjson$/, draftEnding)
  try {
    if (!(await writeDraft(path, draft))) return 'torn'
    await rename(draft, `${path}.gz`)
    await syncFolder(join(path, '..'))
    if ((await findStat(path)) === undefined) {
      // Somebody pruned it while the copy was made: it must not come back.
      await unlinkIfThere(`${path}.gz`)
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
    const file = await open(draft, 'wx+', 0o600)
    try {
      if (!(await copyCompressed(source, file))) {
        await unlink(draft)
        return false
      }
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

/** Whether what was read ends in a newline. Rejects if what stands in the file is not what was read. */
async function copyCompressed(source: FileHandle, file: FileHandle): Promise<boolean> {
  const memory = Buffer.allocUnsafeSlow(pieceBytes)
  const written: { readonly bytes: number; readonly digest: string }[] = []
  let last = 10
  for (;;) {
    const piece = await readFully(source, memory)
    // A file without a line is a copy without a line: one member that holds nothing.
    if (piece.length === 0 && written.length > 0) break
    const member = gzipSync(piece, { level, memLevel, chunkSize: memberBytes })
    const unpacked = gunzipSync(member, { chunkSize: pieceBytes, maxOutputLength: pieceBytes })
    if (!unpacked.equals(piece)) throw new Error('a compressed piece of the trail is not what was compressed')
    await file.writeFile(member)
    written.push({ bytes: member.length, digest: hash('sha256', member) })
    last = piece.at(-1) ?? last
    if (piece.length < pieceBytes) break
  }
  let position = 0
  for (const { bytes, digest } of written) {
    const member = Buffer.allocUnsafe(bytes)
    await file.read(member, 0, bytes, position)
    if (hash('sha256', member) !== digest) throw new Error('a compressed piece of the trail is not on the disk as it was written')
    position += bytes
  }
  return last === 10
}

/** As much as there is room for; less at the end of the file. */
async function readFully(source: FileHandle, memory: Buffer): Promise<Buffer> {
  let length = 0
  while (length < memory.length) {
    const { bytesRead } = await source.read(memory, length, memory.length - length, null)
    if (bytesRead === 0) break
    length += bytesRead
  }
  return memory.subarray(0, length)
}

/** Removes drafts that a crash left in the folder of a chain. Only for who may write there. */
export async function removeDrafts(chainFolder: string): Promise<void> {
  for (const name of await readdir(chainFolder).catch(() => [])) {
    if (name.endsWith(draftEnding)) await unlinkIfThere(join(chainFolder, name))
  }
}

/** Removes a segment in whichever form it is there. */
export async function removeSegment({ path }: SegmentFile): Promise<void> {
  const plain = path.replace(/\.gz$/, '')
  // In this order, so that a copy that is just being put in place is seen by whoever puts it there, or here.
  await unlinkIfThere(plain)
  await unlinkIfThere(`${plain}.gz`)
}

async function findStat(path: string) {
  return await stat(path).catch(() => undefined)
}

async function unlinkIfThere(path: string): Promise<void> {
  await unlink(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error
  })
}
