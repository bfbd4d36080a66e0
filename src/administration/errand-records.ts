/**
 * What errands leave in the store: the errand itself, the part of each instance, and which errands there are.
 *
 * Sealed like every record, and gone with the errand. A part is compressed: it may be two mebibytes of JSON, and is asked for again and
 * again while somebody looks at how far the others are.
 */

import { promisify } from 'node:util'
import { zstdCompress, zstdDecompress } from 'node:zlib'
import type { SealedRecords } from '../session/sealed-records.ts'
import { hashOf } from '../session/secret.ts'
import type { SessionStore } from '../session/store.ts'
import { type ErrandProgress, mostPartBytes } from './errands.ts'

/** An errand as it is written once, by whoever began it. */
export interface ErrandRecord {
  readonly kind: string
  readonly input: unknown
  readonly by: string
  readonly begunAt: number
  /** The instances that were registered then. */
  readonly asked: readonly { readonly key: string; readonly name: string }[]
  /** How many more were registered than one question asks; none if left out. */
  readonly beyond?: number
  /** Nobody waits for it any longer than this; `undefined`: until it expires. */
  readonly timeoutMs: number | undefined
  readonly expiresAt: number
}

/** A part as the instance that it is of wrote it last. */
export type PartRecord =
  | { readonly state: 'running'; readonly progress: ErrandProgress }
  | { readonly state: 'done'; readonly part: unknown }
  | { readonly state: 'failed'; readonly why: string }

/** Every method rejects with `session_store_unavailable` when the store does. Errands go by the hashes of their ids. */
export interface ErrandRecords {
  /** With `isListed` it is among those that count, and that an instance finds again after it lost the stream. */
  createErrand(hash: string, errand: ErrandRecord, isListed: boolean): Promise<void>
  loadErrand(hash: string): Promise<ErrandRecord | undefined>
  listErrands(): Promise<readonly string[]>
  /** With the parts of these instances. */
  removeErrand(hash: string, keys: readonly string[]): Promise<void>
  loadPart(hash: string, key: string): Promise<PartRecord | undefined>
  /** One instance alone writes its part, one writing at a time. Rejects with a `RangeError` for a part that is too large. */
  savePart(hash: string, key: string, part: PartRecord, expiresAt: number): Promise<void>
  removePart(hash: string, key: string): Promise<void>
  /** Says to all that something of this errand changed. */
  tell(hash: string): Promise<void>
}

type StoredPart = Exclude<PartRecord, { readonly state: 'done' }> | { readonly state: 'done'; readonly packed: string }

const compress = promisify(zstdCompress)
const decompress = promisify(zstdDecompress)
const index = 'errands:all'
const errandName = (hash: string) => `errand:${hash}`
const partName = (hash: string, key: string) => `errand_part:${hashOf(hash, key)}`

/** Records over `store`. Holds nothing by itself. */
export function createErrandRecords(store: SessionStore, sealed: SealedRecords): ErrandRecords {
  const removePart = (hash: string, key: string) => store.removeRecord(partName(hash, key))
  return {
    async createErrand(hash, errand, isListed) {
      await sealed.create(errandName(hash), errand, errand.expiresAt)
      if (isListed) await store.addToIndex(index, hash, errand.expiresAt)
    },
    loadErrand: async (hash) => (await sealed.load<ErrandRecord>(errandName(hash)))?.value,
    listErrands: () => store.loadIndex(index),
    async removeErrand(hash, keys) {
      // First of all the errand: from then on no part of it counts.
      await store.removeRecord(errandName(hash))
      await Promise.all([store.removeFromIndex(index, hash), ...keys.map((key) => removePart(hash, key))])
    },
    async loadPart(hash, key) {
      const stored = (await sealed.load<StoredPart>(partName(hash, key)))?.value
      return stored?.state === 'done' ? { state: 'done', part: await unpack(stored.packed) } : stored
    },
    async savePart(hash, key, part, expiresAt) {
      const name = partName(hash, key)
      const value: StoredPart = part.state === 'done' ? { state: 'done', packed: await pack(part.part) } : part
      if (await sealed.create(name, value, expiresAt)) return
      const before = await sealed.load(name)
      if (before !== undefined) await sealed.replace(name, { value, version: before.version, expiresAt })
    },
    removePart,
    tell: (hash) => store.publish({ kind: 'errand', detail: hash }),
  }
}

async function pack(part: unknown): Promise<string> {
  const json = Buffer.from(JSON.stringify(part ?? null))
  if (json.length > mostPartBytes) throw new RangeError(`a part of an errand is at most ${mostPartBytes} bytes`)
  return (await compress(json)).toString('base64')
}

async function unpack(packed: string): Promise<unknown> {
  return JSON.parse((await decompress(Buffer.from(packed, 'base64'))).toString())
}
