/**
 * Puts the names in a folder on the disk: a file that was made, renamed or removed is only so after a power cut if its folder was synced.
 * Whoever goes on because of it (removes a file that has a copy, says that a line is kept) must hear when that failed.
 */

import { open } from 'node:fs/promises'

/** Windows and some network file systems know no fsync of folders. */
const unknownCodes: readonly string[] = ['EPERM', 'EINVAL', 'ENOTSUP', 'EISDIR']

/** Rejects where the disk fails, or where there is no such folder. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r')
  try {
    await folder.sync()
  } catch (error) {
    if (!unknownCodes.includes((error as NodeJS.ErrnoException).code ?? '')) throw error
  } finally {
    await folder.close()
  }
}
