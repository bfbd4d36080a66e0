/**
 * Room that is kept for the worst moment: a file of a fixed size beside the segments, given up when the disk is full.
 *
 * What is freed then belongs to ends, locks and what administrators do; lines about requests are refused until the file could be made
 * again. Its content is random, because a file system that compresses would keep no room for anything else.
 */

import { randomFillSync } from 'node:crypto'
import { open, stat, statfs, unlink } from 'node:fs/promises'
import { join } from 'node:path'

export interface Reserve {
  /** Makes it, unless it is there. `false` if there is no room for it and a quarter more. Never rejects. */
  make(folder: string): Promise<boolean>
  /** `true` if there was something to give up. Never rejects. */
  giveUp(folder: string): Promise<boolean>
}

const pieceBytes = 1024 * 1024

/** A reserve of so many bytes; with 0, none. */
export function createReserve(reserveBytes: number): Reserve {
  return {
    make: async (folder) => {
      const path = join(folder, 'reserve')
      try {
        if (reserveBytes === 0 || (await sizeOf(path)) === reserveBytes) return true
        const { bavail, bsize } = await statfs(folder)
        // With nothing beside the reserve, the next lines would take it away again.
        if (bavail * bsize < reserveBytes * 1.25) return false
        // Never through a link that somebody put there.
        await unlink(path).catch(() => undefined)
        const file = await open(path, 'wx', 0o600)
        try {
          const piece = randomFillSync(Buffer.allocUnsafe(Math.min(pieceBytes, reserveBytes)))
          for (let written = 0; written < reserveBytes; ) {
            written += (await file.write(piece, 0, Math.min(piece.length, reserveBytes - written), written)).bytesWritten
          }
        } finally {
          await file.close()
        }
        return true
      } catch {
        // A quota says only now that there is no room; half a reserve would keep what the lines need.
        await unlink(path).catch(() => undefined)
        return false
      }
    },
    giveUp: async (folder) => {
      const path = join(folder, 'reserve')
      const size = await sizeOf(path)
      return await unlink(path).then(
        () => size > 0,
        () => false,
      )
    },
  }
}

async function sizeOf(path: string): Promise<number> {
  return (await stat(path).catch(() => undefined))?.size ?? 0
}

/** Whether a write failed for want of room. A network file system may say so in less than plain words. */
export function isForWantOfRoom(error: unknown): boolean {
  return ['ENOSPC', 'EDQUOT', 'EIO'].includes((error as NodeJS.ErrnoException).code ?? '')
}
