/**
 * Where a follower of the trail is, and the small file that remembers it across restarts.
 *
 * It is replaced as a whole, and only after what it speaks of arrived: a crash leaves the old one or the new one, and with the old one
 * some lines are sent a second time. A file that cannot be read is no position: beginning anew repeats lines, guessing would lose some.
 */

import { mkdir, open, readFile, rename } from 'node:fs/promises'
import { dirname } from 'node:path'

/** The place after the last line that arrived. */
export interface FollowPosition {
  readonly segment: number
  /** In the segment as it is without compression. */
  readonly offset: number
  /** Number of the last line that arrived. */
  readonly seq: number | undefined
}

/** `undefined` where there is none; `'unreadable'` where there is something else. */
export async function loadPosition(file: string): Promise<FollowPosition | 'unreadable' | undefined> {
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
  try {
    const { segment, offset, seq } = JSON.parse(text) as Record<string, unknown>
    if (!isCount(segment) || !isCount(offset) || !(seq === undefined || isCount(seq))) return 'unreadable'
    return { segment, offset, seq }
  } catch {
    // Not JSON: somebody wrote into it, or a file system lost its content.
    return 'unreadable'
  }
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}

/** Replaces the file; the position is on the disk when it resolves. One call at a time for a file. */
export async function savePosition(file: string, { segment, offset, seq }: FollowPosition): Promise<void> {
  await mkdir(dirname(file), { recursive: true, mode: 0o700 })
  const fresh = `${file}.new`
  const handle = await open(fresh, 'w', 0o600)
  try {
    await handle.writeFile(`${JSON.stringify({ segment, offset, seq })}\n`)
    await handle.datasync()
  } finally {
    await handle.close()
  }
  await rename(fresh, file)
}
