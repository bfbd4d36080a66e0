/**
 * Drafts of the policy in the store: what somebody means to publish, shared by everybody who may read the policy.
 *
 * A draft is a small record that names two bundles, its files and those that it began from; a change writes new files and then moves the record by
 * compare-and-set, so that a reader always sees files, hash and approvals that belong together. Approvals are of a hash: whoever changes the
 * draft makes them void in the same write, and whoever ever had a hand in it approves nothing. The trail has each of them before the draft has.
 */

import { randomBytes } from 'node:crypto'
import type { AuditEvent } from '../audit/event.ts'
import { isPosternError, PosternError } from '../errors.ts'
import type { SessionStore } from '../session/store.ts'
import { createDurableRecords, type DurableParts } from './durable-records.ts'
import type { Bundle } from './policy-bundle.ts'
import { createPolicyFiles, type FilesRef, isFitBundle, type SavedFiles } from './policy-files.ts'
import type { Authorship, DraftChange, DraftFacts, DraftState, PolicyDrafts } from './policy-history.ts'

/** What the trail has of a draft. */
export type DraftEvent = Extract<
  AuditEvent,
  { readonly event: 'policy.drafted' | 'policy.proposed' | 'policy.approved' | 'policy.discarded' }
>

/** What drafts are made of. */
export interface PolicyDraftsParts extends DurableParts {
  readonly store: SessionStore
  /** Resolves once the event is on the disk; rejects with `audit_unavailable`. */
  readonly recordFirst: (event: DraftEvent) => Promise<void>
}

type By = Omit<Authorship, 'at'>

interface DraftRecord extends Omit<DraftFacts, 'id' | 'base' | 'published' | 'hash'> {
  readonly base: Omit<DraftFacts['base'], 'revision'> & { readonly revision: number | null }
  readonly published: number | null
  readonly files: FilesRef
  readonly baseFiles: FilesRef
}

interface Loaded {
  readonly value: DraftRecord
  readonly version: number
}

/** More than these at a time are nobody's work; each takes some hundred kilobytes at the most usual. */
const mostOpen = 100

const dayMs = 86_400_000
const keepEndedMs = 30 * dayMs
const keepOpenMs = 90 * dayMs

/** Two administrators at once are two; more rounds than this mean that something is wrong. */
const changeRounds = 20

/** The drafts over the store. Holds no state. */
export function createPolicyDrafts(parts: PolicyDraftsParts): PolicyDrafts {
  const { recordFirst, store } = parts
  const records = createDurableRecords<DraftRecord>('policy_draft', parts)
  const files = createPolicyFiles(parts)

  async function loadAll(): Promise<(Loaded & { readonly id: string })[]> {
    const all: (Loaded & { readonly id: string })[] = []
    for await (const { id, value } of records.list()) all.push({ id, value, version: 0 })
    return all
  }

  /** Drafts whose time is over, and files of writings that came to nothing. */
  async function sweep(now: number): Promise<void> {
    for (const { id, value } of await loadAll()) {
      if (now - value.changed.at <= (isOpen(value) ? keepOpenMs : keepEndedMs)) continue
      const loaded = await records.load(id)
      if (loaded === undefined || loaded.value.version !== value.version) continue
      if (await records.remove(id, loaded.version)) await removeFiles([value.files, value.baseFiles])
    }
    await files.sweep(async (owner, { key }) => {
      if (owner.kind !== 'draft') return 'open'
      const draft = (await records.load(owner.id))?.value
      return draft?.files.key === key || draft?.baseFiles.key === key ? 'named' : 'unnamed'
    }, 'draft')
  }

  async function removeFiles(refs: readonly FilesRef[]): Promise<void> {
    for (const ref of refs) await files.remove(ref)
  }

  /**
   * Writes bundles, and then what names them. What is not named after all is removed; what a crash leaves, or a store that does not answer, is
   * swept. `false` if the naming was refused.
   */
  async function withFiles(
    id: string,
    bundles: readonly Bundle[],
    name: (refs: readonly FilesRef[]) => Promise<boolean>,
  ): Promise<boolean> {
    const saved: SavedFiles[] = []
    for (const bundle of bundles) saved.push(await files.save(bundle, { kind: 'draft', id }))
    const refs = saved.map(({ hash, key, parts: count }): FilesRef => ({ key, parts: count, hash }))
    for (const one of saved) if (!(await one.isInTime())) throw tooSlow()
    try {
      if (!(await name(refs))) {
        await removeFiles(refs)
        return false
      }
    } catch (error) {
      // What could not be put on record was not named; of everything else nobody knows.
      if (isPosternError(error) && error.code === 'audit_unavailable') await removeFiles(refs).catch(() => undefined)
      throw error
    }
    for (const one of saved) await one.settle()
    return true
  }

  /** Changes a record that is still open, whoever comes between. `change` sees the newest; a word of its own ends it. */
  async function changeRecord<W extends string>(
    id: string,
    change: (record: DraftRecord, now: number) => Promise<DraftRecord | W>,
  ): Promise<{ readonly before: DraftRecord; readonly after: DraftRecord } | W | 'unknown' | 'closed'> {
    for (let round = 0; round < changeRounds; round++) {
      const loaded = await records.load(id)
      if (loaded === undefined) return 'unknown'
      if (!isOpen(loaded.value)) return 'closed'
      const after = await change(loaded.value, await store.loadNow())
      if (typeof after === 'string') return after
      if (await records.replace(id, after, loaded.version)) return { before: loaded.value, after }
    }
    throw new PosternError('session_store_unavailable', `a draft could not be changed in ${changeRounds} rounds`)
  }

  /** Puts an event on record once, however often a change is tried. */
  function recordOnce(): (event: DraftEvent) => Promise<void> {
    let isRecorded = false
    return async (event) => {
      if (!isRecorded) await recordFirst(event)
      isRecorded = true
    }
  }

  const eventOf = (event: DraftEvent['event'], id: string, by: By, { comment, files: { hash } }: Pick<DraftRecord, 'comment' | 'files'>) =>
    ({ event, actor: by.by, draft: id, hash, comment }) satisfies DraftEvent

  return {
    async begin({ base, bundle, by, comment }) {
      if (!isFitBundle(bundle)) return 'too_large'
      const now = await store.loadNow()
      await sweep(now)
      if ((await loadAll()).filter(({ value }) => isOpen(value)).length >= mostOpen) return 'too_many'
      const id = randomBytes(9).toString('base64url').replace(/^-/, '_')
      const begun = { by: by.by, label: by.label, at: now }
      let record: DraftRecord | undefined
      await withFiles(id, [bundle, base.bundle], async ([own, baseFiles]) => {
        if (own === undefined || baseFiles === undefined) throw new TypeError('two bundles have two references')
        record = {
          comment,
          begun,
          changed: begun,
          state: 'open',
          base: baseOf(base),
          approvals: [],
          contributors: [by.by],
          version: 1,
          published: null,
          files: own,
          baseFiles,
        }
        await recordFirst(eventOf('policy.drafted', id, by, record))
        return records.create(id, record)
      })
      if (record === undefined) throw tooSlow()
      return factsOf(id, record)
    },

    async load(id) {
      const record = (await records.load(id))?.value
      if (record === undefined) return undefined
      try {
        return { ...factsOf(id, record), bundle: await files.load(record.files), baseBundle: await files.load(record.baseFiles) }
      } catch (error) {
        // Somebody changed it while it was read: what was read of the record is over, and so are its files.
        const again = (await records.load(id))?.value
        if (again === undefined || again.version === record.version) throw error
        return { ...factsOf(id, again), bundle: await files.load(again.files), baseBundle: await files.load(again.baseFiles) }
      }
    },

    async list() {
      const all = (await loadAll()).map(({ id, value }) => factsOf(id, value))
      return all.sort((a, b) => Number(isOpen(b)) - Number(isOpen(a)) || b.changed.at - a.changed.at || (a.id < b.id ? -1 : 1))
    },

    async change(id, { base, bundle, by, comment, version }) {
      if ((bundle !== undefined && !isFitBundle(bundle)) || (base !== undefined && !isFitBundle(base.bundle))) return 'too_large'
      const seen = await records.load(id)
      if (seen === undefined) return 'unknown'
      if (!isOpen(seen.value)) return 'closed'
      if (seen.value.version !== version) return 'moved_on'
      const wanted = [bundle, base?.bundle].filter((one) => one !== undefined)
      let changed: Awaited<ReturnType<typeof write>> | undefined
      const tell = recordOnce()
      const write = (refs: readonly FilesRef[]) =>
        changeRecord<'moved_on'>(id, async (record, now) => {
          if (record.version !== version) return 'moved_on'
          const after: DraftRecord = {
            ...record,
            comment: comment ?? record.comment,
            changed: { by: by.by, label: by.label, at: now },
            state: 'open',
            base: base === undefined ? record.base : baseOf(base),
            approvals: [],
            contributors: [...new Set([...record.contributors, by.by])],
            version: version + 1,
            files: (bundle === undefined ? undefined : refs[0]) ?? record.files,
            baseFiles: (base === undefined ? undefined : refs.at(-1)) ?? record.baseFiles,
          }
          if (record.files.hash !== after.files.hash) await tell(eventOf('policy.drafted', id, by, after))
          return after
        })
      await withFiles(id, wanted, async (refs) => {
        changed = await write(refs)
        return typeof changed !== 'string'
      })
      if (changed === undefined) throw tooSlow()
      if (typeof changed === 'string') return changed
      const { after, before } = changed
      const left = [before.files, before.baseFiles].filter(({ key }) => key !== after.files.key && key !== after.baseFiles.key)
      // Nobody names them any more; the change stands whether or not they could be removed now.
      await removeFiles(left).catch(() => undefined)
      return 'changed'
    },

    async setState(id, { by, published, state, version }) {
      const tell = recordOnce()
      const changed = await changeRecord<'moved_on'>(id, async (record, now) => {
        if (record.version !== version) return 'moved_on'
        const at = { by: by.by, label: by.label, at: now }
        if (state === 'proposed' || state === 'discarded') await tell(eventOf(`policy.${state}`, id, by, record))
        // Whoever puts a draft before others has not changed it.
        return { ...record, state, changed: at, version: version + 1, published: published ?? null }
      })
      return typeof changed === 'string' ? changed : 'changed'
    },

    async approve(id, hash, by) {
      const tell = recordOnce()
      const outcome = await changeRecord<DraftChange | 'same_person' | 'other_hash'>(id, async (record, now) => {
        if (!by.by.startsWith('person:') || record.contributors.includes(by.by)) return 'same_person'
        if (record.files.hash !== hash) return 'other_hash'
        if (record.approvals.some((approval) => approval.by === by.by)) return 'changed'
        await tell(eventOf('policy.approved', id, by, record))
        return { ...record, approvals: [...record.approvals, { by: by.by, label: by.label, at: now }] }
      })
      return typeof outcome === 'string' ? outcome : 'changed'
    },
  }
}

function isOpen({ state }: { readonly state: DraftState }): boolean {
  return state === 'open' || state === 'proposed'
}

function baseOf({ hash, policyVersion, revision }: DraftFacts['base']): DraftRecord['base'] {
  return { revision: revision ?? null, policyVersion, hash }
}

function factsOf(id: string, { base, baseFiles: _, files, published, ...facts }: DraftRecord): DraftFacts {
  return { id, ...facts, base: { ...base, revision: base.revision ?? undefined }, hash: files.hash, published: published ?? undefined }
}

function tooSlow(): PosternError {
  return new PosternError('session_store_unavailable', 'the files of a draft could not be written in time')
}
