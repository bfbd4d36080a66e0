/**
 * One chain a process: the folder of a chain is held by whoever writes it, and a second process takes another name.
 *
 * The lock is the kernel's, on a file in the folder, and ends with its process however that ends. A note of who holds it (a process id,
 * a start time, a host) cannot be judged from another container, where every process is number one, and would outlive a power cut.
 * Node has no call for such a lock; SQLite takes one on an empty file, without ever writing to it. The file is never removed, for two
 * processes could then each hold one of that name; and nobody else may open it in this process: closing it would release the lock (POSIX).
 */

import { mkdir, stat } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { syncFolder } from './sync-folder.ts'

export interface FolderLock {
  /** Whether the folder is still the one that was locked, and not another of its name. */
  isInPlace(): Promise<boolean>
  release(): void
}

const sqliteBusy = 5

/** Makes the folder and locks it. `undefined` if another holds it. Rejects if it cannot be made or locked at all. */
export async function lockFolder(folder: string): Promise<FolderLock | undefined> {
  await makeFolder(folder)
  const path = join(folder, 'writer.lock')
  const database = new DatabaseSync(path, { timeout: 20 })
  try {
    // A journal on the disk would need room on it.
    database.exec('PRAGMA journal_mode = MEMORY; PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE')
    const { ino } = await stat(path, { bigint: true })
    return {
      isInPlace: async () => (await stat(path, { bigint: true }).catch(() => undefined))?.ino === ino,
      release: () => {
        if (database.isOpen) database.close()
      },
    }
  } catch (error) {
    database.close()
    if ((error as { readonly errcode?: number }).errcode === sqliteBusy) return undefined
    throw error
  }
}

/** What is written in a new folder is lost in a power cut with the folder itself, unless the folders above know of it. */
async function makeFolder(folder: string): Promise<void> {
  const first = await mkdir(folder, { recursive: true, mode: 0o700 })
  if (first === undefined) return
  const last = resolve(first)
  for (let path = resolve(folder); path.length >= last.length; path = dirname(path)) await syncFolder(dirname(path))
}
