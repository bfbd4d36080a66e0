/**
 * A disk that is full when a test says so: a file system of a few megabytes in memory, mounted on a folder.
 *
 * Only root may mount, and not in every container: there nothing can be said about full disks, and the tests say that they did not run.
 */

import { execFile } from 'node:child_process'
import { mkdir, open, rm, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** A mounted folder. */
export interface SmallDisk {
  /** Takes every byte that is left. */
  fill(): Promise<void>
  /** Gives them back. */
  free(): Promise<void>
  unmount(): Promise<void>
}

/** Mounts `megabytes` on `folder`, which is made; `undefined` where that is not permitted. */
export async function mountSmallDisk(folder: string, megabytes: number): Promise<SmallDisk | undefined> {
  await mkdir(folder, { recursive: true })
  try {
    await run('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m,mode=0700`, 'tmpfs', folder])
  } catch {
    // Not root, or a container without the right.
    return undefined
  }
  const filler = join(folder, 'filler')
  return {
    async fill() {
      const file = await open(filler, 'a')
      try {
        const { bavail, bsize } = await statfs(folder)
        const page = Buffer.alloc(bsize)
        for (let left = bavail + 64; left > 0; left -= 1) await file.write(page)
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error
      } finally {
        await file.close()
      }
    },
    free: () => rm(filler, { force: true }),
    unmount: async () => {
      // Lazily: a process that was killed may not be gone yet.
      await run('umount', ['-l', folder])
    },
  }
}
