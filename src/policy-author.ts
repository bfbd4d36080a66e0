/**
 * Whose a policy is that came as files: the owner of the one that was changed last, as `file:<name>`.
 *
 * A file system knows no more. Who wrote it through a shared account, or by way of a repository, is known there; the console and the
 * API, where a change has a person, say that person instead. What cannot be found out is left out and never guessed.
 */

import { readdir, readFile, realpath, stat } from 'node:fs/promises'
import { join } from 'node:path'

/** Whose the newest of the policy's files is, and since when it is as it is (epoch milliseconds). */
export interface FilesChange {
  readonly by: string
  readonly at: number
}

/** The owner of the newest of the policy's files; `undefined` where none can be looked at. Never rejects. */
export async function findPolicyAuthor(path: string, others: readonly string[]): Promise<string | undefined> {
  return (await findFilesChange(path, others))?.by
}

/** The same, with the time of it. */
export async function findFilesChange(path: string, others: readonly string[]): Promise<FilesChange | undefined> {
  try {
    const real = await realpath(path)
    const own = (await stat(real)).isDirectory()
      ? (await readdir(real)).filter((name) => name.endsWith('.yaml')).map((name) => join(real, name))
      : [real]
    let newest: { readonly at: number; readonly uid: number } | undefined
    for (const file of [...own, ...others]) {
      // One of several may be gone by now.
      const status = await stat(file).catch(() => undefined)
      // By the change of its state: a file that was moved here keeps the time at which it was written.
      if (status !== undefined && (newest === undefined || status.ctimeMs > newest.at)) newest = { at: status.ctimeMs, uid: status.uid }
    }
    return newest === undefined ? undefined : { by: `file:${await nameOf(newest.uid)}`, at: Math.round(newest.at) }
  } catch {
    // It is not there, or may not be looked at; loading it says so.
    return undefined
  }
}

/** As the system's table of users has it; without one, or without this user in it, the number. */
async function nameOf(uid: number): Promise<string> {
  const table = await readFile('/etc/passwd', 'utf8').catch(() => '')
  for (const line of table.split('\n')) {
    const [name, , id] = line.split(':')
    if (id === String(uid) && name !== undefined && /^[\x21-\x7e]{1,64}$/.test(name)) return name
  }
  return String(uid)
}
