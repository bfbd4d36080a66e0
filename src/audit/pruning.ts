/**
 * Removes the beginnings of chains so that what is left verifies: first it is stated in the trail, signed and on the disk, then files go.
 *
 * The oldest go first, so that an interruption leaves a beginning that the statement covers. A statement that stands in a segment which goes,
 * and that another chain still rests on, is made again, if it was signed. Of a chain that goes as a whole the anchor goes first: what the
 * store remembers and no folder has would look like a chain that somebody took away.
 */

import { rmdir, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import type { Anchors } from './chain.ts'
import { removeDrafts, removeSegment, syncFolder } from './compress.ts'
import type { AuditEvent } from './event.ts'
import { lockFolder } from './folder-lock.ts'
import { type ChainPlan, chainFolder, findBeginnings, type PrunePlan } from './retention-plan.ts'
import { listSegments } from './trail-files.ts'
import { readChain } from './verify-chain.ts'
import type { AuditPublicKeys, PruneStatement } from './verify-statements.ts'

type Pruned = Extract<AuditEvent, { event: 'audit.pruned' }>

export interface PruningParts {
  readonly folder: string
  /** As the trail says it. */
  readonly actor: string
  /** Instead of the plan's own causes. */
  readonly cause?: Pruned['cause']
  readonly keys: AuditPublicKeys
  readonly anchors: Pick<Anchors, 'remove'>
  /** Resolves once all of them are signed and on the disk; rejects if they cannot be brought there. Then nothing is removed. */
  readonly state: (statements: readonly Pruned[]) => Promise<void>
  /** The chain that this process writes itself: its folder is never locked a second time, nor removed. */
  readonly ownChain: string | undefined
}

/** Carries out `plan`. Rejects where that stops half way; what is left verifies all the same. */
export async function prune(plan: PrunePlan, parts: PruningParts): Promise<void> {
  if (plan.chains.length === 0) return
  const { actor, cause, folder } = parts
  const stated = plan.chains.map(
    (one): Pruned => ({
      event: 'audit.pruned',
      actor,
      chain: one.chain,
      segments: one.segments.length,
      throughSeq: one.throughSeq,
      head: one.head,
      cause: cause ?? one.cause,
    }),
  )
  const kept = (await findStillNeeded(plan, parts)).map(
    (one): Pruned => ({ event: 'audit.pruned', actor, ...one, segments: 0, cause: cause ?? 'age' }),
  )
  await parts.state([...kept, ...stated])
  for (const one of plan.chains) {
    if (one.isWhole && one.chain !== parts.ownChain) await removeChain(one, parts)
    else await removeBeginning(one, folder)
  }
}

async function removeBeginning({ chain, segments }: ChainPlan, folder: string): Promise<void> {
  for (const segment of segments) await removeSegment(segment)
  await syncFolder(chainFolder(folder, chain))
}

async function removeChain(plan: ChainPlan, { anchors, folder }: PruningParts): Promise<void> {
  const path = chainFolder(folder, plan.chain)
  const lock = await lockFolder(path)
  try {
    const left = await listSegments(folder, plan.chain)
    // Somebody writes it again: then it goes on, behind what was stated.
    if (lock === undefined || left.length > plan.segments.length) return await removeBeginning(plan, folder)
    await anchors.remove(plan.chain)
    await removeBeginning(plan, folder)
    await removeDrafts(path)
    for (const name of ['reserve', 'writer.lock']) await unlink(join(path, name)).catch(() => undefined)
    // What else is there was put there by somebody and is not ours to remove.
    await rmdir(path).catch(() => undefined)
    await syncFolder(folder)
  } finally {
    lock?.release()
  }
}

/** Statements in what goes that chains in what stays begin with. */
async function findStillNeeded(plan: PrunePlan, { folder, keys }: PruningParts): Promise<readonly PruneStatement[]> {
  const beginnings = await findBeginnings(folder, plan)
  if (beginnings.size === 0) return []
  const found = new Map<string, PruneStatement>()
  for (const { chain, segments } of plan.chains) {
    for (const { number } of segments) {
      const only = { from: number, through: number }
      const { pruned } = await readChain({ folder, chain, keys, anchor: 'unread', only })
      for (const one of pruned.signed) {
        if (one.throughSeq >= (beginnings.get(one.chain) ?? Number.POSITIVE_INFINITY) - 1) found.set(`${one.chain} ${one.throughSeq}`, one)
      }
    }
  }
  return [...found.values()]
}
