/**
 * Keeps the trail within its limits while an instance runs: compresses closed segments, and prunes what is too old or too much.
 *
 * It looks at the start, when a segment was closed, and every few minutes; one thing at a time, in streams, and no request waits for it. It
 * touches its own chain's closed segments, and chains that nobody writes any more; those of other living processes are theirs.
 */

import { stat, statfs } from 'node:fs/promises'
import type { Logger } from '../log.ts'
import type { Anchors } from './chain.ts'
import { removeDrafts } from './compress.ts'
import { compressInThread } from './compress-thread.ts'
import type { AuditTrail } from './event.ts'
import { type FolderLock, lockFolder } from './folder-lock.ts'
import { prune } from './pruning.ts'
import { type ChainReach, chainFolder, type PrunePlan, planPruning } from './retention-plan.ts'
import { listChains, listSegments, type SegmentFile } from './trail-files.ts'
import type { AuditPublicKeys } from './verify-statements.ts'

export interface RetentionParts {
  /** `data_dir/audit`. */
  readonly folder: string
  readonly keep: { readonly ageSeconds: number; readonly bytes: number }
  /** The trail of this process: its chain's name, and where prunings are stated. */
  readonly trail: Pick<AuditTrail, 'record' | 'settle' | 'segment'> & {
    readonly chain: string
    onWritten(listener: () => void): () => void
  }
  readonly keys: () => AuditPublicKeys
  readonly anchors: Pick<Anchors, 'load' | 'remove'>
  /** Epoch milliseconds. */
  readonly now: () => number
  readonly log: Pick<Logger, 'info' | 'warn'>
  readonly everyMs?: number
}

/** What the trail takes of what it may, as of the last look. */
export interface TrailUsage {
  readonly bytes: number
  readonly limitBytes: number
  /** `undefined`: the file system does not say. */
  readonly diskFreeBytes: number | undefined
  /** Of the limit: 1 is all of it. */
  readonly share: number
}

export interface Retention {
  /** Looks now, or once more after the look that is under way. Resolves when that is over; never rejects. */
  look(): Promise<void>
  usage(): TrailUsage
  /** Stops what is under way where that is safe. */
  close(): Promise<void>
}

const everyMsByDefault = 5 * 60_000

/** The last segment of a chain that nobody writes may be gone on with soon, by the next start of its process. */
const restsForMs = 86_400_000

/** A segment ends in the queue; what is left of it, and the beginning of the next, is written after that. */
const writesUntilClosed = 3

/** Who prunes by itself, in the trail. */
const actor = 'retention'

/** Begins with a first look, which nobody waits for. */
export function createRetention(parts: RetentionParts): Retention {
  const { folder, keep, log, now, trail } = parts
  const abort = new AbortController()
  let usage: TrailUsage = { bytes: 0, limitBytes: keep.bytes, diskFreeBytes: undefined, share: 0 }
  let complaint = ''
  let looking: Promise<void> | undefined
  let again: Promise<void> | undefined

  const complain = (error: unknown, message: string) => {
    if (abort.signal.aborted) return
    const text = `${message}: ${error instanceof Error ? error.message : String(error)}`
    // Every few minutes the same would hide everything else.
    if (text !== complaint) log.warn({ err: error }, message)
    complaint = text
  }

  /** `undefined`: somebody else writes it. */
  async function withChain<T>(chain: string, work: (reach: 'closed' | 'whole') => Promise<T>): Promise<T | undefined> {
    if (chain === trail.chain) return await work('closed')
    let lock: FolderLock | undefined
    try {
      lock = await lockFolder(chainFolder(folder, chain))
      return lock === undefined ? undefined : await work('whole')
    } finally {
      lock?.release()
    }
  }

  /** One that cannot be compressed, or even read, must not keep the others from it. Rejects with the first failure, at the end. */
  async function compress(): Promise<void> {
    const failures: unknown[] = []
    for (const chain of await listChains(folder)) {
      await compressChain(chain, failures).catch((error: unknown) => failures.push(error))
      if (failures.some(isWithoutRoom)) break
    }
    if (failures.length > 0) throw failures[0]
  }

  async function compressChain(chain: string, failures: unknown[]): Promise<void> {
    // A folder without a segment may be anybody's: nothing is put there.
    if ((await listSegments(folder, chain)).length === 0) return
    await withChain(chain, async (reach) => {
      await removeDrafts(chainFolder(folder, chain))
      const files = await listSegments(folder, chain)
      for (const file of files) {
        if (abort.signal.aborted) return
        if (!file.isCompressed && (file !== files.at(-1) || (reach === 'whole' && (await isResting(file))))) {
          await compressInThread(file, abort.signal).catch((error: unknown) => failures.push(error))
          // Each further attempt would take the last room from the lines.
          if (failures.some(isWithoutRoom)) return
        }
      }
    })
  }

  const isResting = async ({ path }: SegmentFile) => now() - (await stat(path)).mtimeMs > restsForMs

  async function plan(): Promise<PrunePlan> {
    const reaches = new Map<string, ChainReach>()
    const findReach = async (chain: string): Promise<ChainReach> => {
      if ((await listSegments(folder, chain)).length === 0) return 'none'
      return (await withChain(chain, async (reach): Promise<ChainReach> => reach)) ?? 'none'
    }
    for (const chain of await listChains(folder)) {
      // A folder of another user's is not ours to prune, and must not stop the pruning of ours. That it cannot be read was said before.
      reaches.set(chain, await findReach(chain).catch((): ChainReach => 'none'))
    }
    const limits = { olderThan: now() - keep.ageSeconds * 1000, bytes: keep.bytes }
    return await planPruning(folder, limits, (chain) => reaches.get(chain) ?? 'none', parts.keys())
  }

  async function lookOnce(): Promise<void> {
    // The trail could not begin yet: until it is known which chain is ours, every one may be somebody else's.
    if (trail.segment() === 0) return
    let failure: string | undefined
    try {
      await compress()
    } catch (error) {
      // A disk that has no room for a copy may have room after pruning.
      failure = 'segments of the audit trail could not be compressed'
      complain(error, failure)
    }
    if (abort.signal.aborted) return
    try {
      const planned = await plan()
      usage = await measure(planned.bytesBefore)
      if (planned.chains.length > 0) {
        await prune(planned, { folder, actor, keys: parts.keys(), anchors: parts.anchors, ownChain: trail.chain, state })
        usage = await measure(planned.bytesAfter)
        const pruned = planned.chains.map(({ chain, segments }) => `${chain}: ${segments.length}`)
        log.info({ pruned, bytes: planned.bytesAfter }, 'old segments of the audit trail were removed')
      }
      if (failure === undefined) complaint = ''
    } catch (error) {
      complain(error, 'the audit trail could not be pruned')
    }
  }

  const state: Parameters<typeof prune>[1]['state'] = async (statements) => {
    for (const statement of statements) trail.record(statement)
    if (!(await trail.settle())) throw new Error('what is to be removed could not be stated in the trail')
  }

  async function measure(bytes: number): Promise<TrailUsage> {
    const disk = await statfs(folder).catch(() => undefined)
    return {
      bytes,
      limitBytes: keep.bytes,
      diskFreeBytes: disk === undefined ? undefined : disk.bavail * disk.bsize,
      share: keep.bytes === 0 ? 0 : bytes / keep.bytes,
    }
  }

  function look(): Promise<void> {
    if (abort.signal.aborted) return looking ?? Promise.resolve()
    if (looking === undefined) {
      looking = lookOnce().finally(() => {
        looking = undefined
      })
      return looking
    }
    again ??= looking.then(() => {
      again = undefined
      return look()
    })
    return again
  }

  let segment = trail.segment()
  let due = 0
  const forget = trail.onWritten(() => {
    if (trail.segment() !== segment) due = writesUntilClosed
    segment = trail.segment()
    if (due === 0) return
    due -= 1
    void look()
  })
  const timer = setInterval(() => void look(), parts.everyMs ?? everyMsByDefault)
  timer.unref()
  void look()

  return {
    look,
    usage: () => usage,
    async close() {
      clearInterval(timer)
      forget()
      abort.abort()
      await looking
    },
  }
}

function isWithoutRoom(error: unknown): boolean {
  return ['ENOSPC', 'EDQUOT'].includes((error as NodeJS.ErrnoException).code ?? '')
}
