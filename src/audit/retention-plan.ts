/**
 * Which segments are to go: by age and by what the folder may take, the oldest of all chains first.
 *
 * A segment is as old as the first line after it, which a checkpoint has to vouch for; the clock of the file system has no say. Whoever can
 * write the files could else date a line back, have what is before it removed under a signed statement, and put the line in order again.
 * What is planned of a chain is always its beginning, so that one line can be named after which it goes on.
 */

import { join } from 'node:path'
import { listChains, listSegments, type SegmentFile, sizeOf } from './trail-files.ts'
import { readFirstLine } from './verify-chain.ts'
import type { AuditPublicKeys, PruneStatement } from './verify-statements.ts'
import { readChainEnd, readVouchedStart } from './vouched.ts'

/** What may stay. */
export interface KeepLimits {
  /** What ended before goes. Epoch milliseconds. */
  readonly olderThan?: number | undefined
  /** Of all segments together. */
  readonly bytes?: number | undefined
}

/**
 * What may be done to a chain: `closed`: segments that are not its last one may go; `whole`: nobody writes it, so all of it may; `none`.
 */
export type ChainReach = 'closed' | 'whole' | 'none'

export interface ChainPlan extends PruneStatement {
  readonly segments: readonly SegmentFile[]
  readonly bytes: number
  /** When the last of them ended, epoch milliseconds. */
  readonly endedAt: number
  /** Nothing of the chain is left then. */
  readonly isWhole: boolean
  readonly cause: 'age' | 'size'
}

export interface PrunePlan {
  readonly chains: readonly ChainPlan[]
  /** Of all segments, before and after. */
  readonly bytesBefore: number
  readonly bytesAfter: number
}

interface Cursor {
  readonly chain: string
  readonly files: readonly SegmentFile[]
  readonly reach: ChainReach
  taken: number
  bytes: number
  isOverSize: boolean
  /** Where the chain goes on if one more goes, and since when; `undefined`: no more may. */
  next: Front | undefined
  /** As `next`, of what was taken. */
  last: Front | undefined
}

interface Front extends Omit<PruneStatement, 'chain'> {
  readonly endedAt: number
}

/** Makes the plan and changes nothing. `keys`: by age goes only what they vouch for. */
export async function planPruning(
  folder: string,
  { bytes: most, olderThan }: KeepLimits,
  reachOf: (chain: string) => ChainReach,
  keys: AuditPublicKeys,
): Promise<PrunePlan> {
  const cursors: Cursor[] = []
  let bytesBefore = 0
  for (const chain of await listChains(folder)) {
    const files = await listReadable(folder, chain)
    for (const file of files) bytesBefore += await sizeOf(file)
    cursors.push({ chain, files, reach: reachOf(chain), taken: 0, bytes: 0, isOverSize: false, next: undefined, last: undefined })
  }
  let bytes = bytesBefore
  const take = async (cursor: Cursor, front: Front, through: number) => {
    for (const file of cursor.files.slice(cursor.taken, through)) {
      const size = await sizeOf(file)
      bytes -= size
      cursor.bytes += size
    }
    cursor.taken = through
    cursor.last = front
  }

  for (const cursor of cursors) {
    const old = olderThan === undefined ? undefined : await findOld(cursor, olderThan, keys)
    if (old !== undefined) await take(cursor, old.front, old.through)
    cursor.next = await readFront(cursor, cursor.taken, keys)
  }
  while (most !== undefined && bytes > most) {
    const oldest = findOldest(cursors)
    if (oldest?.next === undefined) break
    oldest.isOverSize = true
    await take(oldest, oldest.next, oldest.taken + 1)
    oldest.next = await readFront(oldest, oldest.taken, keys)
  }
  return { chains: cursors.flatMap(planOf), bytesBefore, bytesAfter: bytes }
}

/** How much of the chain ended before `olderThan`. A segment whose age nothing vouches for goes with what is behind it, or stays. */
async function findOld(cursor: Cursor, olderThan: number, keys: AuditPublicKeys) {
  const { files } = cursor
  let old: { readonly front: Front; readonly through: number } | undefined
  for (let index = 0; index < files.length; index += 1) {
    const claimed = await readFront(cursor, index, keys)
    if (claimed === undefined || claimed.endedAt >= olderThan) break
    const after = files[index + 1]
    const before = files[index - 1]
    if (after === undefined && before !== undefined) {
      // The last segment of a process that was killed may have no checkpoint: then the one before it has to be old as well.
      const end = (old?.through ?? 0) < index - 1 ? undefined : await readChainEnd(before, keys)
      if (end === undefined || end.at >= olderThan) break
    }
    const front = after === undefined ? claimed : await readVouchedFront(after, keys)
    if (front !== undefined && front.endedAt < olderThan) old = { front, through: index + 1 }
  }
  return old
}

function findOldest(cursors: readonly Cursor[]): Cursor | undefined {
  let oldest: Cursor | undefined
  for (const cursor of cursors) {
    if (cursor.next !== undefined && cursor.next.endedAt < (oldest?.next?.endedAt ?? Number.POSITIVE_INFINITY)) oldest = cursor
  }
  return oldest
}

function planOf({ bytes, chain, files, isOverSize, last, taken }: Cursor): ChainPlan[] {
  if (last === undefined) return []
  const isWhole = taken === files.length
  return [{ chain, ...last, segments: files.slice(0, taken), bytes, isWhole, cause: isOverSize ? 'size' : 'age' }]
}

/** Where the chain goes on behind the segment at `index`, as the files say. */
async function readFront({ files, reach }: Cursor, index: number, keys: AuditPublicKeys): Promise<Front | undefined> {
  const file = files[index]
  if (file === undefined || reach === 'none') return undefined
  const after = files[index + 1]
  if (after === undefined) return reach === 'whole' ? await readEnd(file, keys) : undefined
  const line = await readFirstLine(after)
  const { at, prev, seq } = line ?? {}
  const endedAt = Date.parse(String(at))
  // What cannot be stated stays: a chain without its beginning would not verify.
  if (typeof seq !== 'number' || typeof prev !== 'string' || Number.isNaN(endedAt)) return undefined
  return { throughSeq: seq - 1, head: prev, endedAt }
}

async function readVouchedFront(after: SegmentFile, keys: AuditPublicKeys): Promise<Front | undefined> {
  const start = await readVouchedStart(after, keys)
  return start === undefined ? undefined : { throughSeq: start.seq - 1, head: start.prev, endedAt: start.at }
}

/** The last line of a chain that nobody writes any more. */
async function readEnd(file: SegmentFile, keys: AuditPublicKeys): Promise<Front | undefined> {
  const end = await readChainEnd(file, keys)
  return end === undefined ? undefined : { throughSeq: end.seq, head: end.hash, endedAt: end.at }
}

/** The chains that begin behind a line that is not here, as their first segments say, `plan` carried out. */
export async function findBeginnings(folder: string, plan: PrunePlan): Promise<ReadonlyMap<string, number>> {
  const planned = new Set(plan.chains.map(({ chain }) => chain))
  const found = new Map<string, number>()
  for (const chain of await listChains(folder)) {
    const first = planned.has(chain) ? undefined : (await listReadable(folder, chain))[0]
    const seq = first === undefined ? undefined : (await readFirstLine(first))?.['seq']
    if (typeof seq === 'number' && seq > 1) found.set(chain, seq)
  }
  return found
}

/** A chain that cannot even be listed is as if it were not there: whoever verifies says so. */
async function listReadable(folder: string, chain: string): Promise<readonly SegmentFile[]> {
  return await listSegments(folder, chain).catch(() => [])
}

/** Folder of a chain. */
export function chainFolder(folder: string, chain: string): string {
  return join(folder, chain)
}
