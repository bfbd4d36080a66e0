/**
 * Compresses a closed segment: a copy is made beside it, read back and compared, put on the disk, and only then the plain file goes.
 *
 * At every moment one whole form of the segment is there, whatever is interrupted: a draft is no segment, and while both forms are there
 * the plain one counts. The chain is over the lines, so it knows nothing of compression. One file at a time, in streams.
 */

import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { open, readdir, rename, stat, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { createGunzip, createGzip } from 'node:zlib'
import { syncFolder } from './sync-folder.ts'
import type { SegmentFile } from './trail-files.ts'

/**
 * `torn`: it ends in half a line, which a start of its writer has to see as it is. `gone`: it was pruned meanwhile.
 */
export type Compression = 'compressed' | 'torn' | 'gone'

/** What the copy is called while it is made. */
const draftEnding = '.ndjson.gz.new'

const chunkBytes = 256 * 1024

/** Of lines like ours, a seventh of the size at twice the speed of the default, which saves five parts in a hundred more. */
const level = 1

/** Compresses a plain segment that nobody writes to. Rejects, and leaves the plain file, where that cannot be done or `signal` aborts it. */
export async function compressSegment({ path }: SegmentFile, signal = new AbortController().signal): Promise<Compression> {
  const draft = path.replace(/\.ndjson$/, draftEnding)
  try {
    const original = await writeDraft(path, draft, signal)
    if (original === undefined) return 'torn'
    const copy = createContentHash()
    await pipeline(createReadStream(draft), createGunzip({ chunkSize: chunkBytes }), copy.read, { signal })
    if (copy.digest() !== original) throw new Error(`the compressed copy of ${path} is not what was compressed`)
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

/** Makes the copy and puts it on the disk. The hash of what was read; `undefined`, and no draft, for a file that ends in half a line. */
async function writeDraft(path: string, draft: string, signal: AbortSignal): Promise<string | undefined> {
  const content = createContentHash()
  const found = await stat(path)
  if (!found.isFile()) throw new Error(`${path} is not a file`)
  // Never through a link that somebody put there.
  await unlinkIfThere(draft)
  const file = await open(draft, 'wx', 0o600)
  try {
    const source = createReadStream(path, { highWaterMark: chunkBytes })
    const write = async (chunks: AsyncIterable<Buffer>) => {
      for await (const chunk of chunks) await file.writeFile(chunk)
    }
    await pipeline(source, content.pass, createGzip({ chunkSize: chunkBytes, level }), write, { signal })
    if (!content.endsWithNewline()) {
      await unlink(draft)
      return undefined
    }
    await file.utimes(found.atime, found.mtime)
    await file.sync()
    return content.digest()
  } finally {
    await file.close()
  }
}

function createContentHash() {
  const hash = createHash('sha256')
  let last = 10
  const note = (chunk: Buffer) => {
    hash.update(chunk)
    last = chunk.at(-1) ?? last
  }
  return {
    async *pass(source: AsyncIterable<Buffer>) {
      for await (const chunk of source) {
        note(chunk)
        yield chunk
      }
    },
    async read(source: AsyncIterable<Buffer>) {
      for await (const chunk of source) note(chunk)
    },
    endsWithNewline: () => last === 10,
    digest: () => hash.digest('base64url'),
  }
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
