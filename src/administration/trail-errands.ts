/**
 * What this instance does for anybody who asks about its own trail: search it, find one decision, hand a stretch of it out, verify it, count what
 * was used. Everything that reads much is done in a thread.
 *
 * Whoever asked was allowed to, and it is on record, before the errand began: that is the business of the operations. An errand came
 * through the store, sealed, and was written by this program.
 */

import type { Anchor, Anchors } from '../audit/chain.ts'
import type { Period } from '../audit/merged-lines.ts'
import type { AuditQuery } from '../audit/search.ts'
import type { TrailVerdict } from '../audit/verify-verdict.ts'
import { isPosternError } from '../errors.ts'
import type { ErrandContext, Errands } from './errands.ts'
import type { UsesAsked } from './recorded-uses.ts'
import { carryOutTrailTask, type SharedPlace, type TrailFindings } from './trail-tasks.ts'
import type { TrailThreads } from './trail-threads.ts'

/** The errands on the trail: what each is asked with, and what each instance's part is. */
export interface TrailErrands {
  readonly 'trail.search': {
    readonly input: { readonly query: AuditQuery & Period; readonly limit: number; readonly before?: SharedPlace | undefined }
    readonly part: TrailFindings['search']
  }
  readonly 'trail.decision': {
    /** `near`: about when it was decided, epoch milliseconds; without it everything is looked through. */
    readonly input: { readonly request: string; readonly near?: number | undefined }
    readonly part: { readonly found: Exclude<TrailFindings['decision'], undefined> | null }
  }
  readonly 'trail.export': {
    readonly input: { readonly query: AuditQuery; readonly since: number; readonly until: number }
    readonly part: TrailFindings['export']
  }
  readonly 'trail.verify': { readonly input: Readonly<Record<string, never>>; readonly part: VerifiedTrail }
  readonly 'trail.review': { readonly input: UsesAsked & { readonly at: number }; readonly part: TrailFindings['uses'] }
}

/** What an instance says of its own trail. */
export interface VerifiedTrail extends TrailVerdict {
  /** Why what the store remembers was not read, or not all of it. */
  readonly unread?: string | undefined
}

export interface TrailErrandParts {
  readonly errands: Pick<Errands, 'serve'>
  readonly threads: TrailThreads
  /** `data_dir/audit` of this instance. */
  readonly folder: string
  /** Every public key that ever signed, by id. */
  readonly auditKeys: () => ReadonlyMap<string, string>
  /** What the store remembers of chains. */
  readonly anchors: Pick<Anchors, 'list'>
  /** Several instances may have the store: a chain that it remembers may be another one's. */
  readonly isStoreShared: boolean
  /** Epoch milliseconds. */
  readonly now: () => number
}

/** Serves all of them. At start. */
export function serveTrailErrands(parts: TrailErrandParts): void {
  const { anchors, auditKeys, errands, folder, isStoreShared, now, threads } = parts

  function serve<K extends keyof TrailErrands>(
    kind: K,
    carryOut: (input: TrailErrands[K]['input'], context: ErrandContext) => Promise<TrailErrands[K]['part']>,
  ): void {
    errands.serve(kind, carryOut)
  }

  serve('trail.search', ({ before, limit, query }, { signal }) => threads.run({ kind: 'search', folder, query, limit, before }, { signal }))
  serve('trail.decision', async ({ near, request }, { signal }) => {
    const task = { kind: 'decision', folder, request, near } as const
    // The few segments of one moment are read as quickly as a thread is started.
    const found = near === undefined ? await threads.run(task, { signal }) : await carryOutTrailTask(task, () => undefined)
    return { found: found ?? null }
  })
  serve('trail.export', ({ query, since, until }, { signal }) => threads.run({ kind: 'export', folder, query, since, until }, { signal }))
  serve('trail.verify', async (_input, context) => {
    // Before any file is read: what is remembered now is on the disk now.
    const remembered = await loadAnchors(anchors)
    const task = { folder, keys: auditKeys(), anchors: remembered.anchors, now: now(), isAllHere: !isStoreShared }
    return { ...(await threads.run({ kind: 'verify', ...task }, context)), unread: remembered.unread }
  })
  serve('trail.review', ({ app, since, subject }, context) =>
    threads.run({ kind: 'uses', folder, asked: { app, since, subject } }, context),
  )
}

/** What could not be read is not taken for nothing: one that does not open comes after all that do. */
async function loadAnchors(anchors: Pick<Anchors, 'list'>): Promise<{
  readonly anchors: ReadonlyMap<string, Anchor> | undefined
  readonly unread: string | undefined
}> {
  const all = new Map<string, Anchor>()
  try {
    for await (const anchor of anchors.list()) all.set(anchor.chain, anchor)
    return { anchors: all, unread: undefined }
  } catch (error) {
    if (!isPosternError(error)) throw error
    return { anchors: error.code === 'record_unreadable' ? all : undefined, unread: error.message }
  }
}
