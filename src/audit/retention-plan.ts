/**
 * Which segments are to go: by age and by what the folder may take, the oldest of all chains first.
 *
 * A segment is as old as the first line after it, which its own header and hash vouch for; the clock of the file system has no say. What is
 * planned of a chain is always its beginning, so that one line can be named after which it goes on.
 */

import { join } from 'node:path'
import { hashLine } from './chain.ts'
import { listChains, listSegments, parseTrailLine, readLines, type SegmentFile, sizeOf } from './trail-files.ts'
import { readFirstLine } from './verify-chain.ts'
import type { PruneStatement } from './verify-statements.ts'

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

/** Makes the plan and changes nothing. */
export async function planPruning(
  folder: string,
  { bytes: most, olderThan }: KeepLimits,
  reachOf: (chain: string) => ChainReach,
): Promise<PrunePlan> {
  const cursors: Cursor[] = []
  let bytes = 0
  for (const chain of await listChains(folder)) {
    const files = await listSegments(folder, chain)
    for (const file of files) bytes += await sizeOf(file)
    const cursor: Cursor = {
      ...{ chain, files, reach: reachOf(chain), taken: 0, bytes: 0, isOverSize: false, next: undefined, last: undefined },
    }
    cursor.next = await readFront(cursor)
    cursors.push(cursor)
  }
  const bytesBefore = bytes
  for (;;) {
    const oldest = findOldest(cursors)
    const file = oldest?.files[oldest.taken]
    if (oldest?.next === undefined || file === undefined) break
    const isOld = olderThan !== undefined && oldest.next.endedAt < olderThan
    if (!isOld && (most === undefined || bytes <= most)) break
    const size = await sizeOf(file)
    bytes -= size
    oldest.bytes += size
    oldest.isOverSize ||= !isOld
    oldest.taken += 1
    oldest.last = oldest.next
    oldest.next = await readFront(oldest)
  }
  return { chains: cursors.flatMap(planOf), bytesBefore, bytesAfter: bytes }
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
  const { head, throughSeq } = last
  const isWhole = taken === files.length
  return [{ chain, throughSeq, head, segments: files.slice(0, taken), bytes, isWhole, cause: isOverSize ? 'size' : 'age' }]
}

async function readFront({ files, reach, taken }: Cursor): Promise<Front | undefined> {
  const file = files[taken]
  if (file === undefined || reach === 'none') return undefined
  const after = files[taken + 1]
  if (after === undefined) return reach === 'whole' ? await readEnd(file) : undefined
  const line = await readFirstLine(after)
  const { at, prev, seq } = line ?? {}
  const endedAt = Date.parse(String(at))
  // What cannot be stated stays: a chain without its beginning would not verify.
  if (typeof seq !== 'number' || typeof prev !== 'string' || Number.isNaN(endedAt)) return undefined
  return { throughSeq: seq - 1, head: prev, endedAt }
}

/** The last line of a chain that nobody writes any more. */
async function readEnd(file: SegmentFile): Promise<Front | undefined> {
  let last: Buffer | undefined
  try {
    for await (const { bytes, isWhole } of readLines(file)) {
      if (isWhole) last = Buffer.from(bytes)
    }
  } catch {
    // Not even its end can be read: it stays, for whoever wants to know why.
    return undefined
  }
  const line = last === undefined ? undefined : parseTrailLine(last)
  const endedAt = Date.parse(String(line?.['at']))
  const throughSeq = line?.['seq']
  if (last === undefined || typeof throughSeq !== 'number' || Number.isNaN(endedAt)) return undefined
  return { throughSeq, head: hashLine(last), endedAt }
}

/** The chains that begin behind a line that is not here, as their first segments say, `plan` carried out. */
export async function findBeginnings(folder: string, plan: PrunePlan): Promise<ReadonlyMap<string, number>> {
  const planned = new Set(plan.chains.map(({ chain }) => chain))
  const found = new Map<string, number>()
  for (const chain of await listChains(folder)) {
    const first = planned.has(chain) ? undefined : (await listSegments(folder, chain))[0]
    const seq = first === undefined ? undefined : (await readFirstLine(first))?.['seq']
    if (typeof seq === 'number' && seq > 1) found.set(chain, seq)
  }
  return found
}

/** Folder of a chain. */
export function chainFolder(folder: string, chain: string): string {
  return join(folder, chain)
}
