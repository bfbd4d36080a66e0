/**
 * The files behind the trail: `NNNNNNNN.ndjson` in one folder of this process, appended to and rotated by size.
 *
 * A file that an earlier process left is never opened again, so that a line torn by a crash stays the last of its file and can
 * spoil no other. A failed write is taken back to the last whole line, so that the next attempt does not follow half a line.
 */

import type { FileHandle } from 'node:fs/promises'
import { mkdir, open, readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'

export interface Segments {
  /** Appends whole lines. Rejects if they could not be written in full; then nothing of them was. One call at a time. */
  append(lines: Buffer): Promise<void>
  /** Puts what was appended on the disk and closes the file. */
  close(): Promise<void>
}

interface OpenSegment {
  readonly file: FileHandle
  readonly path: string
  readonly inode: bigint
  size: number
}

/** How often an open file is compared with its name: a deleted folder would swallow lines without an error. */
const presenceCheckMs = 1000

/** Segments in `folder`, which is made when the first line is written. `monotonicNow` is in milliseconds. */
export function createSegments(folder: string, segmentBytes: number, monotonicNow: () => number): Segments {
  let current: OpenSegment | undefined
  let checkedAt = 0

  const openNext = async (): Promise<OpenSegment> => {
    await mkdir(folder, { recursive: true, mode: 0o700 })
    let number = (await readdir(folder)).reduce((last, name) => Math.max(last, numberOf(name)), 0) + 1
    for (;;) {
      const path = join(folder, `${String(number).padStart(8, '0')}.ndjson`)
      try {
        const file = await open(path, 'ax', 0o600)
        checkedAt = monotonicNow()
        return { file, path, inode: (await file.stat({ bigint: true })).ino, size: 0 }
      } catch (error) {
        // Another process that shares the folder took this number.
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
        number += 1
      }
    }
  }

  const release = async (segment: OpenSegment) => {
    current = undefined
    await segment.file.datasync()
    await segment.file.close()
  }

  const isGone = async (segment: OpenSegment) => {
    if (monotonicNow() - checkedAt < presenceCheckMs) return false
    checkedAt = monotonicNow()
    const found = await stat(segment.path, { bigint: true }).catch(() => undefined)
    return found?.ino !== segment.inode
  }

  return {
    append: async (lines) => {
      if (current !== undefined && ((current.size > 0 && current.size + lines.length > segmentBytes) || (await isGone(current)))) {
        await release(current)
      }
      current ??= await openNext()
      const segment = current
      try {
        await writeFully(segment.file, lines)
        segment.size += lines.length
      } catch (error) {
        await segment.file.truncate(segment.size).catch(async () => {
          // Half a line may stand there now: leave it as the last of its file.
          current = undefined
          await segment.file.close().catch(() => undefined)
        })
        throw error
      }
    },
    close: async () => {
      if (current !== undefined) await release(current)
    },
  }
}

async function writeFully(file: FileHandle, lines: Buffer): Promise<void> {
  let written = 0
  while (written < lines.length) {
    const { bytesWritten } = await file.write(lines, written)
    if (bytesWritten === 0) throw new Error('nothing was written')
    written += bytesWritten
  }
}

function numberOf(name: string): number {
  const digits = /^(\d{8})\.ndjson$/.exec(name)?.[1]
  return digits === undefined ? 0 : Number(digits)
}
