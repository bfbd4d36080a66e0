/**
 * Putting revisions back into a store that lost them: at their own numbers, with their authors and times, as they were published.
 *
 * The head moves last, so that a crash before it leaves the store as lost as it was, and the next try begins again; until then numbers below a
 * head that is there may lead to what was put back. It moves by compare-and-set, as in publishing: whoever publishes at the same moment is not
 * undone, and then numbers get their names back. A head that does not open has no version to compare, and is removed by name after a second look.
 * Numbers that the store has already, with the same files, are left alone; others lose their name to what was published first.
 */

import { randomBytes } from 'node:crypto'
import { isPosternError } from '../errors.ts'
import type { SessionStore } from '../session/store.ts'
import { createDurableRecords, type DurableParts, listDurable, openDurable } from './durable-records.ts'
import type { RevisionRestoring } from './policy-adoption.ts'
import { createPolicyFiles } from './policy-files.ts'
import type { Revision, RevisionFacts } from './policy-history.ts'
import { type Head, headId, holdPublication, type RevisionRecord } from './policy-revisions.ts'

/** What is needed for it. */
export interface RestoringParts extends DurableParts {
  readonly store: SessionStore
  /** Tells every instance that there is another head. */
  readonly tell: (revision: RevisionFacts) => Promise<void>
}

interface Placed {
  /** Of its record. */
  readonly key: string
  readonly undo: () => Promise<void>
}

/** Puts revisions back. */
export function createRevisionRestoring(parts: RestoringParts): RevisionRestoring {
  const { store } = parts
  const heads = createDurableRecords<Head>('policy_head', parts)
  const records = createDurableRecords<RevisionRecord>('policy_revision', parts)
  const files = createPolicyFiles(parts)

  /** The record that has this number and these files, made if it is not there; and how to take that back. */
  async function place(revision: Revision): Promise<Placed> {
    const number = String(revision.number)
    const named = await readable(() => records.findByAlias('number', number))
    const there = named === undefined ? undefined : await readable(() => records.load(named))
    if (named !== undefined && there !== undefined && (await isWhole(there.value, revision)))
      return { key: named, undo: async () => undefined }
    const key = randomBytes(16).toString('base64url')
    const saved = await files.save(revision.bundle, { kind: 'revision', number: revision.number, key })
    const { bundle: _, predecessor, restores, tests, ...facts } = revision
    await records.create(key, {
      ...facts,
      predecessor: predecessor ?? null,
      tests: tests ?? null,
      restores: restores ?? null,
      files: { key: saved.key, parts: saved.parts, hash: saved.hash },
    })
    if (named !== undefined) await records.removeAlias('number', number, named)
    await records.setAlias('number', number, key)
    await saved.settle()
    return {
      key,
      async undo() {
        await records.removeAlias('number', number, key)
        if (named !== undefined) await records.setAlias('number', number, named)
        await records.remove(key)
        await files.remove({ key: saved.key, parts: saved.parts })
      },
    }
  }

  async function isWhole(record: RevisionRecord, { hash, number }: Revision): Promise<boolean> {
    if (record.number !== number || record.hash !== hash) return false
    return (await readable(() => files.load(record.files))) !== undefined
  }

  async function loadHead() {
    try {
      return await heads.load(headId)
    } catch (error) {
      if (isUnreadable(error)) return 'unreadable'
      throw error
    }
  }

  /** `false` if there is another head. One that was only sealed anew meanwhile is still the same. */
  async function moveHead(from: Awaited<ReturnType<typeof loadHead>>, next: Head): Promise<boolean> {
    if (from === 'unreadable') {
      // What does not open under our keys is removed by name, and only while it still does not.
      if ((await loadHead()) !== 'unreadable') return false
      await heads.remove(headId)
    }
    if (from === undefined || from === 'unreadable') return heads.create(headId, next)
    for (let head = from; ; ) {
      if (await heads.replace(headId, next, head.version)) return true
      const now = await loadHead()
      if (now === undefined || now === 'unreadable' || now.value.key !== from.value.key) return false
      head = now
    }
  }

  return {
    restore: (known, isStill) =>
      holdPublication(store, async () => {
        const [oldest] = known
        const last = known.at(-1)
        if (oldest === undefined || last === undefined) return 'restored'
        const before = await loadHead()
        if (!(await isStill())) return 'moved_on'
        const placed: Placed[] = []
        for (const revision of known) placed.push(await place(revision))
        const key = placed.at(-1)?.key ?? ''
        // Those below are there if the store had not lost them.
        const hasOlder = oldest.number > 1 && typeof before === 'object' && before.value.number >= oldest.number - 1
        const first = hasOlder ? (before.value.first ?? 1) : oldest.number
        const next: Head = { number: last.number, key, hash: last.hash, ...(first === 1 ? {} : { first }) }
        if (!(await moveHead(before, next))) {
          for (const { undo } of placed.toReversed()) await undo()
          return 'moved_on'
        }
        const { bundle: _, ...facts } = last
        await parts.tell(facts)
        await store.confirmDurable()
        return 'restored'
      }),
    tidy: () =>
      holdPublication(store, async () => {
        const head = (await heads.load(headId))?.value
        const last = head?.number ?? 0
        for await (const { name, value } of listDurable(store, 'policy_revision_alias')) {
          const alias = await readable(async () => openDurable<{ readonly id: string; readonly value: string }>(parts, name, value))
          const number = Number(alias?.id)
          if (number > last || (number === last && alias?.value !== head?.key)) await store.removeDurable(name)
        }
        if (head !== undefined) await records.setAlias('number', String(last), head.key)
      }),
    clear: () =>
      holdPublication(store, async () => {
        for await (const { name, value } of listDurable(store, 'policy_revision')) {
          const record = await readable(async () => openDurable<{ readonly value: RevisionRecord }>(parts, name, value))
          if (record !== undefined) await files.remove(record.value.files)
          await store.removeDurable(name)
        }
        for await (const { name } of listDurable(store, 'policy_revision_alias')) await store.removeDurable(name)
        await heads.remove(headId)
      }),
  }
}

/** What does not open, or does not hold together, is not there: it is about to be replaced by what is. */
async function readable<T>(load: () => Promise<T>): Promise<T | undefined> {
  try {
    return await load()
  } catch (error) {
    if (isUnreadable(error)) return undefined
    throw error
  }
}

function isUnreadable(error: unknown): boolean {
  return isPosternError(error) && error.code === 'record_unreadable'
}
