/**
 * Durable records: what must outlive every session and every restart (devices, locks, service tokens), sealed like everything in the store.
 *
 * They have no expiry and stand under names of their own, `kind:H(kind, id)`, so that nothing volatile can push them out. The id is
 * sealed with the value: a listing needs no readable name. A record that does not open (another key file, or changed by somebody with
 * access to the store) is never taken for one that is not there: that would turn a blocked device into an unknown one. It is logged as an
 * error, and rejects with `record_unreadable`. What an older key sealed is sealed again when it is read; `resealing.ts` does the rest
 * before that key leaves the ring.
 */

import { setImmediate as nextTurn } from 'node:timers/promises'
import { PosternError } from '../errors.ts'
import type { CurrentKeys } from '../keys.ts'
import type { Logger } from '../log.ts'
import { isSealedWithCurrentKey, open, seal } from '../session/seal.ts'
import { hashOf } from '../session/secret.ts'
import type { DurableStore } from '../session/store.ts'

/** The kinds there are; each is also the beginning of its records' names. */
export type DurableKind =
  | 'device'
  | 'lock'
  | 'token'
  | 'audit_anchor'
  | 'console_invite'
  | 'access_request'
  | 'policy_head'
  | 'policy_revision'
  | 'policy_draft'
  | 'policy_files'
  | 'policy_writing'

/** The records of one kind. Every method rejects with `session_store_unavailable` when the store does. */
export interface DurableRecords<T> {
  /** `undefined` if there is none. Rejects with `record_unreadable` for one that does not open. */
  load(id: string): Promise<{ readonly value: T; readonly version: number } | undefined>
  /** `false` if a record of this id exists. On the store's disk when it resolves. */
  create(id: string, value: T): Promise<boolean>
  /** Compare-and-set; `false` if the version moved on or the record is gone. */
  replace(id: string, value: T, version: number): Promise<boolean>
  /** Waits a moment until a fail-over of the store would not undo what was written: call it after what ends somebody's access. */
  confirm(): Promise<void>
  /** `false` if there was none. Also removes a record that does not open: whoever asks for it names it. With a `version`, only that one. */
  remove(id: string, version?: number): Promise<boolean>
  /** Removes a record only as long as it does not open, and never one that was written meanwhile; `false` if nothing was removed. */
  removeUnreadable(id: string): Promise<boolean>
  /**
   * All of them, in no order that means anything, in batches, so that memory does not grow with their number. One that does not open is
   * passed over at first: the rest come, and then the listing rejects with `record_unreadable`, so that no list looks whole and is not.
   */
  list(): AsyncIterable<{ readonly id: string; readonly value: T }>
  /**
   * Makes `alias` (of a kind such as `fingerprint` or `serial`) lead to the record `id`, which need not exist yet. `false` if it leads to
   * another one already: an alias identifies, so nobody takes over somebody else's.
   */
  setAlias(kind: string, alias: string, id: string): Promise<boolean>
  /** The id that the alias leads to. The record may be gone; `load` tells. */
  findByAlias(kind: string, alias: string): Promise<string | undefined>
  /** Forgets the alias if it leads to `id`; `false` if it does not. */
  removeAlias(kind: string, alias: string, id: string): Promise<boolean>
  /** As `removeUnreadable`, of an alias. */
  removeUnreadableAlias(kind: string, alias: string): Promise<boolean>
}

/** What records are made of. */
export interface DurableParts {
  readonly store: DurableStore
  readonly keys: CurrentKeys
  readonly log: Pick<Logger, 'error'>
}

/** Little enough for one answer of a store that also serves requests. */
const batchSize = 100

/** What is sealed: the id stands beside the value, for names are hashes. */
interface Content<T> {
  readonly id: string
  readonly value: T
}

/** The durable records of `kind`. Cheap to make; holds no state. */
export function createDurableRecords<T>(kind: DurableKind, parts: DurableParts): DurableRecords<T> {
  const { store } = parts
  const nameOf = (id: string) => `${kind}:${hashOf(kind, id)}`
  // Lengths first, so that no byte can move from the kind of an alias to the alias.
  const aliasNameOf = (aliasKind: string, alias: string) =>
    `${kind}_alias:${hashOf(kind, String(Buffer.byteLength(aliasKind)), aliasKind + alias)}`

  async function loadContent<C>(name: string): Promise<{ readonly content: C; readonly version: number } | undefined> {
    const record = await store.loadDurable(name)
    if (record === undefined) return undefined
    const content = openDurable<C>(parts, name, record.value)
    if (isSealedWithCurrentKey(parts.keys(), record.value)) return { content, version: record.version }
    // If somebody else wrote it meanwhile, what was read is a moment old, and a replace with its version will be refused. A store that
    // reads and does not write must not hide what it holds: sealing again is tried once more by the sweep, which says so in the log.
    const resealed = { value: sealDurable(parts, name, content), version: record.version }
    const isResealed = await store.replaceDurable(name, resealed).catch(() => false)
    return { content, version: isResealed ? record.version + 1 : record.version }
  }

  async function findByAlias(aliasKind: string, alias: string): Promise<string | undefined> {
    return (await loadContent<Content<string>>(aliasNameOf(aliasKind, alias)))?.content.value
  }

  async function removeUnreadable(name: string): Promise<boolean> {
    const record = await store.loadDurable(name)
    if (record === undefined || openSealed(parts, name, record.value) !== undefined) return false
    return store.removeDurable(name, record.version)
  }

  return {
    async load(id) {
      const loaded = await loadContent<Content<T>>(nameOf(id))
      return loaded === undefined ? undefined : { value: loaded.content.value, version: loaded.version }
    },
    create: (id, value) => store.createDurable(nameOf(id), sealDurable(parts, nameOf(id), { id, value })),
    replace: (id, value, version) => store.replaceDurable(nameOf(id), { value: sealDurable(parts, nameOf(id), { id, value }), version }),
    confirm: () => store.confirmDurable(),
    remove: (id, version) => store.removeDurable(nameOf(id), version),
    removeUnreadable: (id) => removeUnreadable(nameOf(id)),
    async *list() {
      let unreadable: unknown
      for await (const { name, value } of listDurable(store, kind)) {
        let content: Content<T>
        try {
          content = openDurable<Content<T>>(parts, name, value)
        } catch (error) {
          unreadable = error
          continue
        }
        yield content
      }
      if (unreadable !== undefined) throw unreadable
    },
    async setAlias(aliasKind, alias, id) {
      const name = aliasNameOf(aliasKind, alias)
      if (await store.createDurable(name, sealDurable(parts, name, { id: alias, value: id }))) return true
      return (await findByAlias(aliasKind, alias)) === id
    },
    findByAlias,
    async removeAlias(aliasKind, alias, id) {
      const name = aliasNameOf(aliasKind, alias)
      const loaded = await loadContent<Content<string>>(name)
      if (loaded?.content.value !== id) return false
      return store.removeDurable(name, loaded.version)
    },
    removeUnreadableAlias: (aliasKind, alias) => removeUnreadable(aliasNameOf(aliasKind, alias)),
  }
}

/** All durable records of a kind, or of every kind, still sealed, in batches. */
export async function* listDurable(store: DurableStore, kind: string | undefined) {
  let after: string | undefined
  for (;;) {
    const batch = await store.listDurable(kind, after, batchSize)
    const last = batch.at(-1)
    if (last === undefined) return
    yield* batch
    after = last.name
    // The embedded store answers at once: without this, a long listing would keep every request waiting.
    await nextTurn()
  }
}

/** Seals for one name of the durable state; a volatile record of the same name is another place. */
export function sealDurable({ keys }: Pick<DurableParts, 'keys'>, name: string, content: unknown): Buffer {
  return seal(keys(), { purpose: 'durable', name }, Buffer.from(JSON.stringify(content)))
}

function openSealed({ keys }: Pick<DurableParts, 'keys'>, name: string, sealed: Buffer): Buffer | undefined {
  return open(keys(), { purpose: 'durable', name }, sealed)
}

/** Opens; throws `record_unreadable`, and says so in the log, for what does not open or does not hold together. */
export function openDurable<C>({ keys, log }: Pick<DurableParts, 'keys' | 'log'>, name: string, sealed: Buffer): C {
  const plaintext = openSealed({ keys }, name, sealed)
  if (plaintext !== undefined) return JSON.parse(plaintext.toString()) as C
  log.error({ record: name }, 'a durable record does not open: sealed with a key that is not in the key file, or changed')
  throw new PosternError('record_unreadable', `the durable record ${name} does not open`)
}
