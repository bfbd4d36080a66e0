/**
 * Removes the beginnings of chains so that what is left verifies: first it is stated in the trail, signed and on the disk, then files go.
 *
 * The oldest go first, so that an interruption leaves a beginning that the statement covers. A statement that stands in a segment which goes,
 * and that another chain still rests on, is made again, if it was signed. Of a chain that goes as a whole the anchor goes first: what the
 * store remembers and no folder has would look like a chain that somebody took away. One that the store remembers more of than is here stays:
 * with its anchor the only witness would go that its end was cut off.
 */

import { rmdir, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import type { Anchors } from './chain.ts'
import { removeDrafts, removeSegment } from './compress.ts'
import type { AuditEvent } from './event.ts'
import { lockFolder } from './folder-lock.ts'
import { type ChainPlan, chainFolder, findBeginnings, type PrunePlan } from './retention-plan.ts'
import { syncFolder } from './sync-folder.ts'
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
  readonly anchors: Pick<Anchors, 'load' | 'remove'>
  /** Resolves once all of them are signed and on the disk; rejects if they cannot be brought there. Then nothing is removed. */
  readonly state: (statements: readonly Pruned[]) => Promise<void>
  /** The chain that this process writes itself: its folder is never locked a second time, nor removed. */
  readonly ownChain: string | undefined
}

/** Carries out `planned`. Rejects where that stops half way; what is left verifies all the same. */
export async function prune(planned: PrunePlan, parts: PruningParts): Promise<void> {
  const remembered = await findRemembered(planned, parts)
  const plan = { ...planned, chains: planned.chains.filter((one) => !remembered.includes(one.chain)) }
  if (plan.chains.length > 0) await carryOut(plan, parts)
  if (remembered.length > 0) throw new Error(`the store remembers more of ${remembered.join(', ')} than is here, so that it stays`)
}

async function carryOut(plan: PrunePlan, parts: PruningParts): Promise<void> {
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

/** Chains that are to go as a whole although the store remembers a later line, or a later instant, than they end with. */
async function findRemembered({ chains }: PrunePlan, { anchors }: PruningParts): Promise<readonly string[]> {
  const found: string[] = []
  for (const { chain, endedAt, isWhole, throughSeq } of chains) {
    const anchor = isWhole ? await anchors.load(chain) : undefined
    if (anchor !== undefined && (anchor.seq > throughSeq || anchor.at > endedAt)) found.push(chain)
  }
  return found
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
        const { chain: of, head, throughSeq } = one
        if (throughSeq >= (beginnings.get(of) ?? Number.POSITIVE_INFINITY) - 1)
          found.set(`${of} ${throughSeq}`, { chain: of, head, throughSeq })
      }
    }
  }
  return [...found.values()]
}
