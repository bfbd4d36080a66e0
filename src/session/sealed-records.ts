/**
 * Sealed JSON records in a session store: what the rest of `session/` (and the control plane's form state) keeps there.
 *
 * Every value is sealed for the name it is stored under. A record that does not open (moved, changed, or sealed with a key that
 * has left the ring) is as good as absent and is logged. Updates are compare-and-set and never create.
 */

import { PosternError } from '../errors.ts'
import type { CurrentKeys } from '../keys.ts'
import type { Logger } from '../log.ts'
import { open, seal } from './seal.ts'
import type { SessionStore, StoredRecord } from './store.ts'

/** A record, opened. */
export interface SealedRecord<T> {
  readonly value: T
  readonly version: number
  /** Instant of the store's clock. */
  readonly expiresAt: number
}

/** Reads and writes sealed records. Every method rejects with `session_store_unavailable` when the store does. */
export interface SealedRecords {
  /** `false` if a record of this name lives. */
  create(name: string, value: unknown, expiresAt: number): Promise<boolean>
  /** What was stored; its shape is what the same code wrote, since nobody else could have sealed it. */
  load<T>(name: string): Promise<SealedRecord<T> | undefined>
  take<T>(name: string): Promise<SealedRecord<T> | undefined>
  /** Replaces the version that was loaded; `false` if it moved on or is gone. */
  replace(name: string, record: SealedRecord<unknown>): Promise<boolean>
  /** Reads, changes and replaces until nobody came between. `undefined` if the record is gone, or `change` returns it to give up. */
  update<T>(name: string, change: (record: SealedRecord<T>) => T | undefined): Promise<T | undefined>
}

/** Only other instances can come between, as updates of one name queue up here; more rounds than this means that something is wrong. */
const updateRounds = 50
const warningPauseMs = 60_000

/** Sealed records over `store`. */
export function createSealedRecords(store: SessionStore, keys: CurrentKeys, log: Logger): SealedRecords {
  /** Last queued update of each name. */
  const queues = new Map<string, Promise<unknown>>()

  const quiet = new Set<string>()

  /** With the wrong key file no record opens, at every request of everybody: one line of each kind a minute says as much. */
  function warnOf(kind: string): void {
    if (quiet.has(kind)) return
    quiet.add(kind)
    setTimeout(() => quiet.delete(kind), warningPauseMs).unref()
    log.warn({ record: kind }, 'a stored record does not open: sealed with a key that is not in the key file, or changed')
  }

  const sealValue = (name: string, value: unknown) => seal(keys(), { purpose: 'record', name }, Buffer.from(JSON.stringify(value ?? null)))

  function openRecord<T>(name: string, record: StoredRecord | undefined): SealedRecord<T> | undefined {
    if (record === undefined) return undefined
    const plaintext = open(keys(), { purpose: 'record', name }, record.value)
    if (plaintext === undefined) {
      warnOf(name.slice(0, name.indexOf(':')))
      return undefined
    }
    return { value: JSON.parse(plaintext.toString()) as T, version: record.version, expiresAt: record.expiresAt }
  }

  const load = async <T>(name: string) => openRecord<T>(name, await store.loadRecord(name))
  const replace = (name: string, { value, version, expiresAt }: SealedRecord<unknown>) =>
    store.replaceRecord(name, { value: sealValue(name, value), version, expiresAt })

  async function updateNow<T>(name: string, change: (record: SealedRecord<T>) => T | undefined): Promise<T | undefined> {
    for (let round = 0; round < updateRounds; round++) {
      const record = await load<T>(name)
      if (record === undefined) return undefined
      const value = change(record)
      if (value === undefined) return undefined
      if (await replace(name, { ...record, value })) return value
    }
    throw new PosternError('session_store_unavailable', `a record could not be updated in ${updateRounds} rounds`)
  }

  return {
    create: (name, value, expiresAt) => store.createRecord(name, sealValue(name, value), expiresAt),
    load,
    take: async <T>(name: string) => openRecord<T>(name, await store.takeRecord(name)),
    replace,
    async update(name, change) {
      const before = queues.get(name) ?? Promise.resolve()
      const mine = before.then(
        () => updateNow(name, change),
        () => updateNow(name, change),
      )
      queues.set(name, mine)
      try {
        return await mine
      } finally {
        if (queues.get(name) === mine) queues.delete(name)
      }
    },
  }
}
