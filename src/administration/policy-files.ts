/**
 * Bundles in the store: packed, compressed (zstd) and cut into records that both stores and the control socket take.
 *
 * Files are written before whatever names them, so a crash in between would leave some that nobody names. Therefore a note of each writing is
 * made first and removed last, and `sweep` removes what an old note leads to and nobody names. What is loaded must have the hash that its
 * owner says: files that were lost, changed or put in another order are `record_unreadable`, and never a smaller policy.
 */

import { randomBytes } from 'node:crypto'
import { promisify } from 'node:util'
import { zstdCompress, zstdDecompress } from 'node:zlib'
import { PosternError } from '../errors.ts'
import type { SessionStore } from '../session/store.ts'
import { createDurableRecords, type DurableParts } from './durable-records.ts'
import { type Bundle, hashBundle, isBundlePath, mostBundleBytes, mostBundleFiles, toBundle } from './policy-bundle.ts'

/** Where a bundle lies. */
export interface FilesRef {
  readonly key: string
  readonly parts: number
  /** `hashBundle` of what is there. */
  readonly hash: string
}

/** Who is to name the files, so that a sweep can ask whether it does. */
export type FilesOwner =
  | { readonly kind: 'revision'; readonly number: number; readonly key: string }
  | { readonly kind: 'draft'; readonly id: string }

/** Bundles in the store. Every method rejects with `session_store_unavailable` when the store does. */
export interface PolicyFiles {
  /**
   * Writes the bundle. Its owner must name it within `writingMs`, and `settle` it then; or `remove` it. Throws a `TypeError` for a bundle that
   * is too large or has names that no file may have.
   */
  save(bundle: Bundle, owner: FilesOwner): Promise<SavedFiles>
  /** Rejects with `record_unreadable` for anything but the very files that were saved. */
  load(ref: FilesRef): Promise<Bundle>
  /** Files that nobody names, or that their owner named until now. */
  remove(ref: Pick<FilesRef, 'key' | 'parts'>): Promise<void>
  /** Removes what writings of long ago left behind, unless `isNamed`. */
  sweep(
    isNamed: (owner: FilesOwner, ref: Pick<FilesRef, 'key'>) => Promise<'named' | 'unnamed' | 'open'>,
    kind: FilesOwner['kind'],
  ): Promise<void>
}

/** Files that were written, and that nobody names yet. */
export interface SavedFiles extends FilesRef {
  /** Whether the owner may still name them: a writing that took too long may have been swept. */
  isInTime(): Promise<boolean>
  settle(): Promise<void>
}

interface Writing {
  readonly owner: FilesOwner
  readonly parts: number
  readonly at: number
}

/**
 * Of the compressed files. In a listing of a hundred records through the control socket, where each byte is sealed text in base64 twice, this
 * is 23 MB of the 64 that an answer may have; a thousand apps are one or two records.
 */
const partBytes = 128 * 1024

/** How long a writing may take, and after how long what it left behind is nobody's. */
const writingMs = 60_000
const abandonedMs = 10 * 60_000

const compress = promisify(zstdCompress)
const decompress = promisify(zstdDecompress)

/** Bundles over durable records. Holds no state. */
export function createPolicyFiles(parts: DurableParts & { readonly store: Pick<SessionStore, 'loadNow'> }): PolicyFiles {
  const files = createDurableRecords<string>('policy_files', parts)
  const writings = createDurableRecords<Writing>('policy_writing', parts)
  const { store } = parts

  async function remove({ key, parts: count }: Pick<FilesRef, 'key' | 'parts'>): Promise<void> {
    // From the end, so that what a crash leaves is found again by its note, and no bundle looks whole.
    for (let part = count - 1; part >= 0; part--) await files.remove(partOf(key, part))
    await writings.remove(key)
  }

  return {
    async save(bundle, owner) {
      const packed = await compress(packBundle(bundle))
      const ref = { key: randomBytes(16).toString('base64url'), parts: Math.ceil(packed.length / partBytes), hash: hashBundle(bundle) }
      const at = await store.loadNow()
      await writings.create(ref.key, { owner, parts: ref.parts, at })
      for (let part = 0; part < ref.parts; part++) {
        const piece = packed.subarray(part * partBytes, (part + 1) * partBytes)
        await files.create(partOf(ref.key, part), piece.toString('base64'))
      }
      return {
        ...ref,
        isInTime: async () => (await store.loadNow()) - at < writingMs,
        settle: async () => void (await writings.remove(ref.key)),
      }
    },
    async load({ hash, key, parts: count }) {
      const pieces: Buffer[] = []
      for (let part = 0; part < count; part++) {
        const piece = await files.load(partOf(key, part))
        if (piece === undefined) throw unreadable(`${part + 1} of ${count} records are not there`)
        pieces.push(Buffer.from(piece.value, 'base64'))
      }
      const bundle = await unpack(Buffer.concat(pieces))
      if (hashBundle(bundle) !== hash) throw unreadable('they are not the ones that were saved')
      return bundle
    },
    remove,
    async sweep(isNamed, kind) {
      const now = await store.loadNow()
      const old: { readonly key: string; readonly writing: Writing }[] = []
      for await (const { id, value } of writings.list()) {
        if (value.owner.kind === kind && now - value.at > abandonedMs) old.push({ key: id, writing: value })
      }
      for (const { key, writing } of old) {
        const answer = await isNamed(writing.owner, { key })
        if (answer === 'unnamed') await remove({ key, parts: writing.parts })
        else if (answer === 'named') await writings.remove(key)
      }
    },
  }
}

function partOf(key: string, part: number): string {
  return `${key}/${part}`
}

/** Names and lengths as JSON, its length before it, then the contents. */
function packBundle(bundle: Bundle): Buffer {
  if (!isFitBundle(bundle)) throw new TypeError('a bundle is too large, or has names that no file may have')
  const files = toBundle(bundle)
  const head = Buffer.from(JSON.stringify(files.map(({ content, path }) => [path, content.length])))
  const length = Buffer.alloc(4)
  length.writeUInt32BE(head.length)
  return Buffer.concat([length, head, ...files.map(({ content }) => content)])
}

/** Whether the store takes it: within the bounds, every name one that a file may have, and none twice. */
export function isFitBundle(bundle: Bundle): boolean {
  const names = new Set(bundle.map(({ path }) => path))
  const bytes = bundle.reduce((sum, { content }) => sum + content.length, 0)
  return bytes <= mostBundleBytes && bundle.length <= mostBundleFiles && names.size === bundle.length && [...names].every(isBundlePath)
}

/** Names take little beside the contents. */
const mostPackedBytes = mostBundleBytes + 256 * 1024

async function unpack(packed: Buffer): Promise<Bundle> {
  try {
    const plain = await decompress(packed, { maxOutputLength: mostPackedBytes })
    let at = 4 + plain.readUInt32BE(0)
    const names = JSON.parse(plain.toString('utf8', 4, at)) as readonly (readonly [string, number])[]
    return names.map(([path, length]) => {
      const content = plain.subarray(at, at + length)
      at += length
      return { path, content }
    })
  } catch (cause) {
    throw unreadable('they do not hold together', cause)
  }
}

function unreadable(why: string, cause?: unknown): PosternError {
  return new PosternError('record_unreadable', `the files of a policy in the store: ${why}`, cause === undefined ? {} : { cause })
}
