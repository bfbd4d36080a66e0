/**
 * Revisions of the policy in the store: published one after the other, by whoever's predecessor is still the head, and never changed.
 *
 * The head is one small record; moving it by compare-and-set is what publishes, and before that nothing that was written counts. The order is a
 * safety property: 1 files and revision, under names of their own; 2 the trail, on the disk; 3 the head, if it is still meant to move; 4 the news,
 * and the wait for replicas.
 * A crash between them leaves a revision that nobody's head ever named, which is swept. Number and hash stand inside the seal, in the head and
 * in the revision, and must agree: a head that names something else, or that is gone while revisions are there, is `record_unreadable` and never
 * taken for "there is no policy yet". Somebody with access to the store can put an old head back; whoever remembers a later one must refuse it.
 */

import { randomBytes } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import type { AuditEvent } from '../audit/event.ts'
import { PosternError } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { SessionStore } from '../session/store.ts'
import { createDurableRecords, type DurableParts } from './durable-records.ts'
import { createPolicyFiles, type FilesRef, type PolicyFiles } from './policy-files.ts'
import type { PolicyRevisions, Publication, RevisionFacts } from './policy-history.ts'

/** What the trail has of a publication. */
export type PublishedEvent = Extract<AuditEvent, { readonly event: 'policy.published' }>

/** What revisions are made of. */
export interface PolicyRevisionsParts extends DurableParts {
  readonly store: SessionStore
  readonly log: Pick<Logger, 'error' | 'warn'>
  /** Resolves once the event is on the disk; rejects with `audit_unavailable`, and then nothing is published. */
  readonly recordFirst: (event: PublishedEvent) => Promise<void>
  /** Tells every instance that there is another head. */
  readonly tell: (revision: RevisionFacts) => Promise<void>
}

/** How a revision is kept; JSON has no `undefined`. */
export interface RevisionRecord extends Omit<RevisionFacts, 'predecessor' | 'tests' | 'restores'> {
  readonly predecessor: number | null
  readonly tests: RevisionFacts['tests'] | null
  readonly restores: number | null
  readonly files: FilesRef
}

/** How the head is kept. */
export interface Head {
  readonly number: number
  /** Of the revision's record: random, so that a crash, or somebody who lost a race, never stands in the way of a number. */
  readonly key: string
  readonly hash: string
  /** The oldest that is there, where older ones were lost and the loss was accepted; 1 if left out. */
  readonly first?: number
}

/** Publishing is a moment's work; the lock spares the trail publications that come to nothing, and nothing hangs on it. */
const lockSeconds = 10
const lockWaitMs = 3_000

/** Revisions of one page; beyond, whoever asks pages on. */
const mostListed = 200

/** The revisions over the store. Holds no state. */
export function createPolicyRevisions(parts: PolicyRevisionsParts): PolicyRevisions {
  const { log, store } = parts
  const heads = createDurableRecords<Head>('policy_head', parts)
  const records = createDurableRecords<RevisionRecord>('policy_revision', parts)
  const files = createPolicyFiles(parts)

  async function loadHead() {
    const head = await heads.load(headId)
    if (head !== undefined) return head
    if ((await records.findByAlias('number', '1')) !== undefined)
      throw unreadable('the head of the policy is gone, and revisions are there')
    return undefined
  }

  /** The record that a number has for good; `undefined` beyond the head. */
  async function findRecord(number: number, head: Head): Promise<RevisionRecord | undefined> {
    if (!Number.isSafeInteger(number) || number < (head.first ?? 1) || number > head.number) return undefined
    const key = number === head.number ? head.key : await records.findByAlias('number', String(number))
    const record = key === undefined ? undefined : (await records.load(key))?.value
    if (record === undefined || record.number !== number) throw unreadable(`revision ${number} is not there`)
    if (record.hash !== record.files.hash || (number === head.number && record.hash !== head.hash))
      throw unreadable(`revision ${number} is not the one that was published`)
    return record
  }

  async function loadHeadFacts(head: Head | undefined): Promise<RevisionFacts | undefined> {
    if (head === undefined) return undefined
    const record = await findRecord(head.number, head)
    return record === undefined ? undefined : factsOf(record)
  }

  async function publishHeld(publication: Publication) {
    const head = await loadHead()
    const before = await loadHeadFacts(head?.value)
    if ((before?.number ?? 0) !== publication.predecessor) return { outcome: 'moved_on', head: before } as const
    const number = publication.predecessor + 1
    const key = randomBytes(16).toString('base64url')
    const saved = await files.save(publication.bundle, { kind: 'revision', number, key })
    const ref: FilesRef = { key: saved.key, parts: saved.parts, hash: saved.hash }
    const record = recordOf(publication, { number, files: ref, at: await store.loadNow() })
    const revision = factsOf(record)
    const isStillMeant = publication.isStillMeant ?? (async () => true)
    try {
      await records.create(key, record)
      if (head !== undefined) await nameForGood(records, head.value)
      // Before the trail says so, and again after: a disk takes its time.
      let isMeant = await isStillMeant()
      if (isMeant) {
        await parts.recordFirst(eventOf(revision, before))
        isMeant = await isStillMeant()
      }
      if (!isMeant) {
        await giveUp(key, ref)
        return { outcome: 'taken_back', head: before } as const
      }
    } catch (error) {
      await giveUp(key, ref)
      throw error
    }
    const next: Head = { number, key, hash: revision.hash, ...(head?.value.first === undefined ? {} : { first: head.value.first }) }
    // A store that does not answer may have moved it: then nothing is given up, and the caller hears that nobody knows.
    if (!(await moveHead(head, next))) {
      await giveUp(key, ref)
      return { outcome: 'moved_on', head: await loadHeadFacts((await loadHead())?.value) } as const
    }
    await tellAll(revision)
    // What cannot be tidied now is tidied by the next one; the revision is in force.
    await nameForGood(records, next).catch(() => undefined)
    await saved.settle().catch(() => undefined)
    await sweep(files, records, next).catch(() => undefined)
    return { outcome: 'published', revision } as const
  }

  /** `false` if there is another head. One that was only sealed anew meanwhile is still the predecessor. */
  async function moveHead(from: Awaited<ReturnType<typeof loadHead>>, next: Head): Promise<boolean> {
    if (from === undefined) return heads.create(headId, next)
    for (let head = from; ; ) {
      if (await heads.replace(headId, next, head.version)) return true
      const now = await loadHead()
      if (now === undefined || now.value.key !== from.value.key) return false
      head = now
    }
  }

  /** Whoever reads on after a gap reads the head again, so news that were lost cost a moment and no publication. */
  async function tellAll(revision: RevisionFacts): Promise<void> {
    for (const pauseMs of [100, 500, undefined]) {
      try {
        await parts.tell(revision)
        return await store.confirmDurable()
      } catch (error) {
        if (pauseMs === undefined)
          log.error({ err: error, revision: revision.number }, 'a revision is published, and instances were not told')
        else await delay(pauseMs)
      }
    }
  }

  /** The trail or the store failed, or somebody was faster. What remains after this is swept later. */
  async function giveUp(key: string, ref: FilesRef): Promise<void> {
    try {
      await records.remove(key)
      await files.remove(ref)
    } catch (error) {
      log.warn({ err: error }, 'a revision that was not published could not be removed yet')
    }
  }

  return {
    head: async () => loadHeadFacts((await loadHead())?.value),
    async load(number) {
      const head = await loadHead()
      const record = head === undefined ? undefined : await findRecord(number, head.value)
      return record === undefined ? undefined : { ...factsOf(record), bundle: await files.load(record.files) }
    },
    async list({ below, limit }) {
      const head = (await loadHead())?.value
      if (head === undefined) return []
      const newest = Math.min(head.number, (below ?? Number.MAX_SAFE_INTEGER) - 1)
      const count = Math.max(0, Math.min(limit, mostListed, newest))
      const found = await Promise.all(Array.from({ length: count }, (_, back) => findRecord(newest - back, head)))
      return found.flatMap((record) => (record === undefined ? [] : [factsOf(record)]))
    },
    publish: (publication) => holdPublication(store, () => publishHeld(publication)),
  }
}

/** The id of the head's record. */
export const headId = 'head'
const lockName = 'policy_publication'

/** Whoever writes revisions does it alone, as long as the store lets it. */
export async function holdPublication<T>(store: SessionStore, work: () => Promise<T>): Promise<T> {
  const token = await acquire(store)
  try {
    return await work()
  } finally {
    if (token !== undefined) await store.releaseLock(lockName, token).catch(() => undefined)
  }
}

async function acquire(store: SessionStore): Promise<string | undefined> {
  for (let waitedMs = 0; waitedMs < lockWaitMs; waitedMs += 50) {
    const token = await store.acquireLock(lockName, lockSeconds)
    if (token !== undefined) return token
    await delay(50)
  }
  return undefined
}

type Records = ReturnType<typeof createDurableRecords<RevisionRecord>>

/** Set again before the next revision is the head: so every number below the head leads to its record, whatever crashed. */
async function nameForGood(records: Records, { key, number }: Head): Promise<void> {
  if (!(await records.setAlias('number', String(number), key))) throw unreadable(`revision ${number} was another one`)
}

/** Of a number that the head has passed, what the head's chain does not name can never be published any more. */
async function sweep(files: PolicyFiles, records: Records, head: Head): Promise<void> {
  await files.sweep(async (owner) => {
    if (owner.kind !== 'revision' || owner.number > head.number) return 'open'
    const named = owner.number === head.number ? head.key : await records.findByAlias('number', String(owner.number))
    if (named === owner.key) return 'named'
    await records.remove(owner.key)
    return 'unnamed'
  }, 'revision')
}

function recordOf(
  { approvals, by, comment, difference, policyVersion, predecessor, restores, tests }: Publication,
  { at, files, number }: { readonly at: number; readonly files: FilesRef; readonly number: number },
): RevisionRecord {
  return {
    number,
    hash: files.hash,
    policyVersion,
    published: { by: by.by, label: by.label, at },
    comment,
    predecessor: predecessor === 0 ? null : predecessor,
    difference: difference.slice(0, 100),
    tests: tests ?? null,
    approvals,
    restores: restores ?? null,
    files,
  }
}

function factsOf({ files: _, predecessor, restores, tests, ...facts }: RevisionRecord): RevisionFacts {
  return { ...facts, predecessor: predecessor ?? undefined, tests: tests ?? undefined, restores: restores ?? undefined }
}

function eventOf(revision: RevisionFacts, before: RevisionFacts | undefined): PublishedEvent {
  return {
    event: 'policy.published',
    actor: revision.published.by,
    revision: revision.number,
    policy: revision.policyVersion,
    hash: revision.hash,
    from: before?.policyVersion,
    comment: revision.comment,
    difference: revision.difference,
    approvals: revision.approvals.map(({ by }) => by),
    restores: revision.restores,
  }
}

/** What is there does not hold together. */
export function unreadable(why: string): PosternError {
  return new PosternError('record_unreadable', `the history of the policy: ${why}`)
}
