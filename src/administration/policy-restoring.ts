/**
 * Putting revisions back into a store that lost them: at their own numbers, with their authors and times, as they were published.
 *
 * The head moves last, so that a crash before it leaves the store as lost as it was, and the next try begins again; until then numbers below a
 * head that is there may lead to what was put back. It moves by compare-and-set, as in publishing: whoever publishes at the same moment is not
 * undone, and then numbers get their names back, as they do when something fails on the way. A head or a name that does not open is removed only
 * while it is the very one that does not.
 * Numbers that the store has already, with the same files, are left alone; others lose their name to what was published first.
 */

import { randomBytes } from 'node:crypto'
import { isPosternError } from '../errors.ts'
import type { SessionStore } from '../session/store.ts'
import { createDurableRecords, type DurableParts, listDurable, openDurable } from './durable-records.ts'
import type { RevisionRestoring } from './policy-adoption.ts'
import { createPolicyFiles } from './policy-files.ts'
import type { Revision, RevisionFacts } from './policy-history.ts'
import { type Head, headId, holdPublication, type RevisionRecord, unreadable } from './policy-revisions.ts'

/** What is needed for it. */
export interface RestoringParts extends DurableParts {
  readonly store: SessionStore
  /** Tells every instance that there is another head. */
  readonly tell: (revision: RevisionFacts) => Promise<void>
}

type LoadedHead = { readonly value: Head; readonly version: number } | 'unreadable' | undefined

/** How to take back what was done for one revision, the first step first. Each step rests on those behind it. */
type Steps = (() => Promise<unknown>)[]

/** Puts revisions back. */
export function createRevisionRestoring(parts: RestoringParts): RevisionRestoring {
  const { log, store } = parts
  const heads = createDurableRecords<Head>('policy_head', parts)
  const records = createDurableRecords<RevisionRecord>('policy_revision', parts)
  const files = createPolicyFiles(parts)

  /** The key of the record that has this number and these files, made if it is not there. */
  async function place(revision: Revision, undoing: Steps): Promise<string> {
    const number = String(revision.number)
    const named = await readable(() => records.findByAlias('number', number))
    const there = named === undefined ? undefined : await readable(() => records.load(named))
    if (named !== undefined && there !== undefined && (await isWhole(there.value, revision))) return named
    const key = randomBytes(16).toString('base64url')
    const saved = await files.save(revision.bundle, { kind: 'revision', number: revision.number, key })
    undoing.push(() => files.remove({ key: saved.key, parts: saved.parts }))
    const { bundle: _, predecessor, restores, tests, ...facts } = revision
    undoing.push(() => records.remove(key))
    await records.create(key, {
      ...facts,
      predecessor: predecessor ?? null,
      tests: tests ?? null,
      restores: restores ?? null,
      files: { key: saved.key, parts: saved.parts, hash: saved.hash },
    })
    if (named === undefined) {
      await records.removeUnreadableAlias('number', number)
    } else {
      undoing.push(async () => {
        if (!(await records.setAlias('number', number, named))) throw unreadable(`revision ${number} is another one by now`)
      })
      await records.removeAlias('number', number, named)
    }
    undoing.push(() => records.removeAlias('number', number, key))
    // Publishing is held meanwhile, as long as the store lets it: whoever took the number all the same must keep it.
    if (!(await records.setAlias('number', number, key))) throw unreadable(`revision ${number} was another one`)
    await saved.settle()
    return key
  }

  async function isWhole(record: RevisionRecord, { hash, number }: Revision): Promise<boolean> {
    if (record.number !== number || record.hash !== hash) return false
    return (await readable(() => files.load(record.files))) !== undefined
  }

  async function loadHead(): Promise<LoadedHead> {
    try {
      return await heads.load(headId)
    } catch (error) {
      if (isUnreadable(error)) return 'unreadable'
      throw error
    }
  }

  /** `false` if there is another head. One that was only sealed anew meanwhile is still the same. */
  async function moveHead(from: LoadedHead, next: Head): Promise<boolean> {
    if (from === 'unreadable') {
      if (!(await heads.removeUnreadable(headId))) return false
    }
    if (from === undefined || from === 'unreadable') return heads.create(headId, next)
    for (let head = from; ; ) {
      if (await heads.replace(headId, next, head.version)) return true
      const now = await loadHead()
      if (now === undefined || now === 'unreadable' || now.value.key !== from.value.key) return false
      head = now
    }
  }

  /** What cannot be taken back stays whole: the number leads to it, and the next restore begins with what is there. */
  async function takeBack(undoing: readonly Steps[], last: Revision): Promise<void> {
    try {
      const head = await loadHead()
      // Somebody else put the same back at the same time, and their head may lead to what was made here.
      if (typeof head === 'object' && head.value.number === last.number && head.value.hash === last.hash) return
    } catch (error) {
      log.error({ err: error }, 'what a restore of the policy began could not be taken back')
      return
    }
    for (const steps of undoing.toReversed()) {
      try {
        for (const step of steps.toReversed()) await step()
      } catch (error) {
        log.error({ err: error }, 'a revision that a restore put back could not be taken back')
      }
    }
  }

  return {
    restore: (known, isStill) =>
      holdPublication(store, async () => {
        const last = known.at(-1)
        if (last === undefined) return 'restored'
        const before = await loadHead()
        if (!(await isStill())) return 'moved_on'
        const undoing: Steps[] = []
        let key = ''
        try {
          for (const revision of known) {
            const steps: Steps = []
            undoing.push(steps)
            key = await place(revision, steps)
          }
        } catch (error) {
          await takeBack(undoing, last)
          throw error
        }
        // A move that throws may have taken place: what the head may lead to stays.
        if (!(await moveHead(before, headAfter(known, before, key)))) {
          await takeBack(undoing, last)
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

/** The head that leads to the last of `known`, at `key`. Those below them are there if the store had not lost them. */
function headAfter(known: readonly Revision[], before: LoadedHead, key: string): Head {
  const number = known.at(-1)?.number ?? 0
  const oldest = known[0]?.number ?? 1
  const hasOlder = oldest > 1 && typeof before === 'object' && before.value.number >= oldest - 1
  const first = hasOlder ? (before.value.first ?? 1) : oldest
  return { number, key, hash: known.at(-1)?.hash ?? '', ...(first === 1 ? {} : { first }) }
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
