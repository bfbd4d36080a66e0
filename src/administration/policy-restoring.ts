/**
 * Putting revisions back into a store that lost them: at their own numbers, with their authors and times, as they were published.
 *
 * The head moves last, so that a crash before it leaves the store as lost as it was, and the next try begins again. Numbers that the store
 * has already, with the same files, are left alone; others lose their name to what was published first.
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

/** Puts revisions back. */
export function createRevisionRestoring(parts: RestoringParts): RevisionRestoring {
  const { store } = parts
  const heads = createDurableRecords<Head>('policy_head', parts)
  const records = createDurableRecords<RevisionRecord>('policy_revision', parts)
  const files = createPolicyFiles(parts)

  /** The key of the record that has this number and these files, made if it is not there. */
  async function place(revision: Revision): Promise<string> {
    const number = String(revision.number)
    const named = await readable(() => records.findByAlias('number', number))
    const there = named === undefined ? undefined : await readable(() => records.load(named))
    if (named !== undefined && there !== undefined && (await isWhole(there.value, revision))) return named
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
    return key
  }

  async function isWhole(record: RevisionRecord, { hash, number }: Revision): Promise<boolean> {
    if (record.number !== number || record.hash !== hash) return false
    return (await readable(() => files.load(record.files))) !== undefined
  }

  async function moveHead(next: Head): Promise<void> {
    const head = await readable(() => heads.load(headId))
    if (head !== undefined && (await heads.replace(headId, next, head.version))) return
    // What does not open under our keys is removed by name.
    await heads.remove(headId)
    await heads.create(headId, next)
  }

  return {
    restore: (known) =>
      holdPublication(store, async () => {
        const [oldest] = known
        const last = known.at(-1)
        if (oldest === undefined || last === undefined) return
        const before = await readable(() => heads.load(headId))
        let key = ''
        for (const revision of known) key = await place(revision)
        // Those below are there if the store had not lost them.
        const hasOlder = oldest.number > 1 && before !== undefined && before.value.number >= oldest.number - 1
        const first = hasOlder ? (before.value.first ?? 1) : oldest.number
        await moveHead({ number: last.number, key, hash: last.hash, ...(first === 1 ? {} : { first }) })
        const { bundle: _, ...facts } = last
        await parts.tell(facts)
        await store.confirmDurable()
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
    if (isPosternError(error) && error.code === 'record_unreadable') return undefined
    throw error
  }
}
