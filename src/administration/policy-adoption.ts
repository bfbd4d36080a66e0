/**
 * When a store has lost revisions that an instance remembers: putting them back, or accepting that they are lost. An administrator decides,
 * at a command line; no instance ever does by itself, because a store that is emptied and filled again must not change who gets in.
 *
 * Accepting is counted in the store, in a sealed record: an instance that remembers more than the store follows it again once the count has
 * grown since. A store that was put back from a backup has an old count, and is not believed for it.
 */

import type { AuditEvent } from '../audit/event.ts'
import { isPosternError } from '../errors.ts'
import { createDurableRecords, type DurableParts } from './durable-records.ts'
import type { Authorship, PolicyRevisions, Revision, RevisionFacts } from './policy-history.ts'

export type StoreAdoptedEvent = Extract<AuditEvent, { readonly event: 'store.adopted' }>

/** How often losses were accepted, and by whom last. */
interface Acceptance {
  readonly count: number
  readonly by: string
}

/** The count of accepted losses. Rejects as durable records do. */
export interface AcceptedLosses {
  count(): Promise<number>
  /** Counts one more, beyond what any instance says that it has seen. */
  accept(by: string, seen: number): Promise<number>
}

const acceptanceId = 'accepted_losses'

/** The count of accepted losses, beside the head. */
export function createAcceptedLosses(parts: DurableParts): AcceptedLosses {
  const records = createDurableRecords<Acceptance>('policy_head', parts)
  return {
    count: async () => (await records.load(acceptanceId))?.value.count ?? 0,
    async accept(by, seen) {
      for (;;) {
        const known = await records.load(acceptanceId)
        const next = { count: Math.max(known?.value.count ?? 0, seen) + 1, by }
        const isWritten =
          known === undefined ? await records.create(acceptanceId, next) : await records.replace(acceptanceId, next, known.version)
        if (isWritten) return next.count
      }
    },
  }
}

/** How a store's history stands to what an instance remembers of it. */
export type HistoryVerdict =
  | { readonly state: 'same' | 'ahead' | 'accepted' }
  /** A sentence for whoever has to decide. */
  | { readonly state: 'lost'; readonly why: string; readonly store: RevisionFacts | undefined }

/** What an instance remembers: the newest revision that it saw, and the losses that were accepted by then. */
export interface RememberedHead {
  readonly newest: Pick<RevisionFacts, 'number' | 'hash'>
  readonly acceptance: number
}

/** Compares the store's history with what is remembered. Rejects with `session_store_unavailable`, which says nothing about a loss. */
export async function judgeHistory(
  { acceptance, newest }: RememberedHead,
  head: RevisionFacts | undefined,
  { losses, revisions }: { readonly losses: Pick<AcceptedLosses, 'count'>; readonly revisions: Pick<PolicyRevisions, 'list'> },
): Promise<HistoryVerdict> {
  if (head?.number === newest.number && head.hash === newest.hash) return { state: 'same' }
  if ((await losses.count()) > acceptance) return { state: 'accepted' }
  if (head === undefined) return { state: 'lost', store: head, why: `the store has no policy, and revision ${newest.number} was published` }
  if (head.number < newest.number)
    return { state: 'lost', store: head, why: `the store ends with revision ${head.number}, and revision ${newest.number} was published` }
  const [same] = head.number === newest.number ? [head] : await revisions.list({ below: newest.number + 1, limit: 1 })
  if (same?.number === newest.number && same.hash === newest.hash) return { state: 'ahead' }
  return { state: 'lost', store: head, why: `revision ${newest.number} of the store is another one than was published` }
}

/** Puts revisions back into a store, at their numbers and under the names of their authors. */
export interface RevisionRestoring {
  /**
   * The oldest first, without a gap; the last becomes the head. What the store has of these numbers is replaced where it is not the same.
   * Tells every instance. `isStill` is asked once nothing else is put back: whether the store is as whoever decided saw it. Where it is not, or
   * somebody publishes meanwhile, everything is left as they have it.
   */
  restore(revisions: readonly Revision[], isStill: () => Promise<boolean>): Promise<'restored' | 'moved_on'>
  /** Takes names of numbers from revisions that were never put back, by a try that ended half way: else nothing could be published under them. */
  tidy(): Promise<void>
  /** Removes what is left of a history that does not hold together, so that there can be another one. */
  clear(): Promise<void>
}

/** What came of putting back. */
export type AdoptionOutcome =
  | { readonly outcome: 'restored'; readonly revisions: readonly RevisionFacts[] }
  | { readonly outcome: 'nothing_lost' }
  /** Somebody published meanwhile: what was decided was decided about another store. */
  | { readonly outcome: 'moved_on' }
  | { readonly outcome: 'impossible'; readonly why: string }

/** What an administrator's decision needs. */
export interface AdoptionPorts {
  readonly revisions: Pick<PolicyRevisions, 'head' | 'list'>
  readonly restoring: RevisionRestoring
  readonly losses: AcceptedLosses
  readonly by: Authorship['by']
  /** Resolves once the event is on the disk. */
  readonly recordFirst: (event: StoreAdoptedEvent) => Promise<void>
  /** Tells every instance to look. */
  readonly tell: (head: RevisionFacts | undefined) => Promise<void>
}

/** Gives the store back what is remembered. On the record first. */
export async function restoreHistory(
  remembered: RememberedHead,
  known: readonly Revision[],
  { by, losses, recordFirst, restoring, revisions }: AdoptionPorts,
): Promise<AdoptionOutcome> {
  const seen = await readHead(revisions)
  const { head } = seen
  const verdict = await judgeHistory(remembered, head, { losses, revisions })
  if (verdict.state !== 'lost') return { outcome: 'nothing_lost' }
  const last = known.at(-1)
  if (last === undefined || last.number !== remembered.newest.number || last.hash !== remembered.newest.hash)
    return { outcome: 'impossible', why: 'the files of the last revision are not on this machine' }
  if (head !== undefined && head.number > last.number)
    return { outcome: 'impossible', why: `the store has gone on to revision ${head.number} with another history` }
  await recordFirst({
    event: 'store.adopted',
    actor: by,
    kept: 'mirror',
    revision: last.number,
    policy: last.policyVersion,
    hash: last.hash,
  })
  const isStill = async () => {
    const now = await readHead(revisions)
    return now.isWhole === seen.isWhole && now.head?.number === head?.number && now.head?.hash === head?.hash
  }
  return (await restoring.restore(known, isStill)) === 'restored' ? { outcome: 'restored', revisions: known } : { outcome: 'moved_on' }
}

/**
 * Lets every instance follow the store as it is, or make a first revision where it has none. `remembered` is `undefined` where what this machine
 * knew does not hold together. On the record first.
 */
export async function acceptLoss(
  remembered: (RememberedHead & { readonly newest: RevisionFacts }) | undefined,
  { by, losses, recordFirst, restoring, revisions, tell }: AdoptionPorts,
): Promise<{ readonly outcome: 'nothing_lost' } | { readonly outcome: 'accepted'; readonly head: RevisionFacts | undefined }> {
  const { head, isWhole } = await readHead(revisions)
  if (isWhole && remembered !== undefined && (await judgeHistory(remembered, head, { losses, revisions })).state !== 'lost')
    return { outcome: 'nothing_lost' }
  const { hash, number, policyVersion } = remembered?.newest ?? {}
  await recordFirst({ event: 'store.adopted', actor: by, kept: 'store', revision: number, policy: policyVersion, hash })
  await (isWhole ? restoring.tidy() : restoring.clear())
  await losses.accept(by, remembered?.acceptance ?? 0)
  await tell(head)
  return { outcome: 'accepted', head }
}

/** A head that is gone while revisions are there is no head; that is what brought whoever asks here. */
async function readHead(
  revisions: Pick<PolicyRevisions, 'head'>,
): Promise<{ readonly head: RevisionFacts | undefined; readonly isWhole: boolean }> {
  try {
    return { head: await revisions.head(), isWhole: true }
  } catch (error) {
    if (isPosternError(error) && error.code === 'record_unreadable') return { head: undefined, isWhole: false }
    throw error
  }
}
