/**
 * The files that a process writes: `NNNNNNNN.ndjson` in the folder of its chain, the number being the lines' own.
 *
 * A file that was found is never written to. A write stands at its place in the file, so that one that failed half way is simply done again
 * over what it left. A deleted folder would swallow lines without an error, so the open file is compared with its name each second.
 * A failed fsync may have marked as clean what never reached the disk: what was not yet on it is read back and written again.
 */

import type { FileHandle } from 'node:fs/promises'
import { open, stat, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import type { LineBatch } from './line-queue.ts'
import { syncFolder } from './sync-folder.ts'
import { compressedPath } from './trail-files.ts'

export interface SegmentsOptions {
  readonly folder: () => string
  /** Makes the folder, should it be gone, and makes sure that it is ours alone. */
  readonly prepareFolder: () => Promise<void>
  /** Hears that a file was gone from under us and that what was in it is lost. */
  readonly onVanished: () => void
  readonly monotonicNow: () => number
  /** Opens a file that must not be there yet. */
  readonly openFile: ((path: string) => Promise<SegmentHandle>) | undefined
}

/** What is asked of an open file. */
export type SegmentHandle = Pick<FileHandle, 'write' | 'read' | 'truncate' | 'datasync' | 'close' | 'stat'>

export interface Segments {
  /** Appends whole lines. Rejects if they could not be written in full; the same ones are then to be given again. One call at a time. */
  append(batch: LineBatch): Promise<void>
  /** Puts what was appended until now on the disk; also while `append` is at work. */
  sync(): Promise<void>
  /** Puts what was appended on the disk and closes the file. */
  close(): Promise<void>
}

interface OpenSegment {
  readonly file: SegmentHandle
  readonly path: string
  readonly number: number
  readonly inode: bigint
  size: number
  /** So much is known to be on the disk. */
  syncedSize: number
  /** The last fsync failed. */
  isSuspect: boolean
  /** One at a time: of two, only the first hears of an error. */
  syncing: Promise<void>
}

const presenceCheckMs = 1000

/** Nothing is touched before the first batch. */
export function createSegments(options: SegmentsOptions): Segments {
  const { folder, prepareFolder, onVanished, monotonicNow, openFile = openExclusively } = options
  let current: OpenSegment | undefined
  let checkedAt = 0

  const openSegment = async (wanted: number): Promise<OpenSegment> => {
    await prepareFolder()
    for (let number = wanted; ; number += 1) {
      const path = join(folder(), `${String(number).padStart(8, '0')}.ndjson`)
      // Beside a compressed file of its number a plain one would hide it.
      if ((await stat(compressedPath(path)).catch(() => undefined)) !== undefined) continue
      let file: SegmentHandle
      try {
        file = await openFile(path)
      } catch (error) {
        // Somebody put a file there: it is not ours to write to.
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
        continue
      }
      try {
        checkedAt = monotonicNow()
        const { ino } = await file.stat({ bigint: true })
        await syncFolder(folder())
        return { file, path, number: wanted, inode: ino, size: 0, syncedSize: 0, isSuspect: false, syncing: Promise.resolve() }
      } catch (error) {
        // Left there, it would be in the way of the next attempt, whose lines would stand under another number than they say.
        await file.close().catch(() => undefined)
        await unlink(path).catch(() => undefined)
        throw error
      }
    }
  }

  const syncSegment = (segment: OpenSegment): Promise<void> => {
    const { size } = segment
    const sync = async () => {
      if (size <= segment.syncedSize) return
      try {
        if (segment.isSuspect) await writeAgain(segment, size)
        await segment.file.datasync()
      } catch (error) {
        segment.isSuspect = true
        throw error
      }
      segment.isSuspect = false
      segment.syncedSize = size
    }
    segment.syncing = segment.syncing.then(sync, sync)
    return segment.syncing
  }

  const release = async (segment: OpenSegment) => {
    await syncSegment(segment)
    current = undefined
    await segment.file.close()
  }

  const isGone = async (segment: OpenSegment) => {
    if (monotonicNow() - checkedAt < presenceCheckMs) return false
    checkedAt = monotonicNow()
    const found = await stat(segment.path, { bigint: true }).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return undefined
      throw error
    })
    return found?.ino !== segment.inode
  }

  return {
    append: async ({ bytes, segment: number }) => {
      if (current !== undefined && current.number !== number) await release(current)
      if (current !== undefined && (await isGone(current))) {
        const lost = current
        current = undefined
        onVanished()
        await lost.file.close().catch(() => undefined)
      }
      current ??= await openSegment(number)
      const segment = current
      try {
        await writeFully(segment.file, bytes, segment.size)
        segment.size += bytes.length
      } catch (error) {
        // Half a line would take room from the next attempt, and be read as one that is still being written.
        await segment.file.truncate(segment.size).catch(() => undefined)
        throw error
      }
    },
    sync: async () => {
      if (current !== undefined) await syncSegment(current)
    },
    close: async () => {
      if (current !== undefined) await release(current)
    },
  }
}

function openExclusively(path: string): Promise<FileHandle> {
  return open(path, 'wx+', 0o600)
}

async function writeFully(file: SegmentHandle, bytes: Buffer, position: number): Promise<void> {
  let written = 0
  while (written < bytes.length) {
    const { bytesWritten } = await file.write(bytes, written, bytes.length - written, position + written)
    if (bytesWritten === 0) throw new Error('nothing was written')
    written += bytesWritten
  }
}

/** What the system still holds of the part that is not known to be on the disk becomes something to be written again. */
async function writeAgain({ file, syncedSize }: OpenSegment, size: number): Promise<void> {
  const piece = Buffer.allocUnsafe(256 * 1024)
  for (let position = syncedSize; position < size; ) {
    const { bytesRead } = await file.read(piece, 0, Math.min(piece.length, size - position), position)
    if (bytesRead === 0) throw new Error('the file is shorter than what was written')
    // No line holds one: the system gave up what it held (some file systems do), and what never was on the disk reads as zeros.
    if (piece.subarray(0, bytesRead).includes(0)) throw new Error('what was written is neither on the disk nor held any more')
    await writeFully(file, piece.subarray(0, bytesRead), position)
    position += bytesRead
  }
}
