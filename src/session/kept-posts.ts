/**
 * Forms kept while their person signs in: sealed, for five minutes, taken once.
 *
 * A form is kept only for somebody whose app cookie leads to a session on record, live or over: strangers write nothing. Room is taken
 * before a byte of the body is read: each browser has five places, and all browsers of all instances together 64 MiB. A place is entered
 * in an index first and counted afterwards, so of requests at the same moment each sees the other's, and what is kept can never exceed
 * a limit. At the edge of one, those that see each other all step back and try again, each after a while of its own. What a crash leaves
 * behind runs out by itself.
 *
 * The browser has the id, the store its hash and sealed bytes. Any presentation of an id burns it.
 */

import { randomInt } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import { PosternError } from '../errors.ts'
import type { CurrentKeys } from '../keys.ts'
import type { Logger } from '../log.ts'
import { open, seal } from './seal.ts'
import { createSealedRecords } from './sealed-records.ts'
import { createSecret, hashOf, isSecret } from './secret.ts'
import { hashSessionId, type Pointer, recordNames } from './session-record.ts'
import type { SessionStore } from './store.ts'

/** Whose browser a form comes from: what its app cookie leads to, live or not. */
export interface FormSender {
  readonly sessionId: string
  /** SHA-256 of issuer and `sub`. */
  readonly subjectHash: string
}

/** Where a form was sent, and by whom: the app's origin, the canonical path and the query. */
export interface FormAddress {
  readonly origin: string
  readonly path: string
  readonly query: string
  readonly contentType: string
  readonly sender: FormSender
}

/** A form as it was sent. */
export interface KeptPost extends FormAddress {
  /** Instant of the store's clock. */
  readonly at: number
  readonly body: Buffer
}

/** Why a form cannot be kept. The last: what was kept before would be sent on by somebody else than it came from. */
export type NotKept =
  | 'switched_off'
  | 'other_type'
  | 'too_large'
  | 'other_site'
  | 'unknown_session'
  | 'too_many'
  | 'no_room'
  | 'another_person'

/** Room for one form. It is given back by `release`, or by taking what was kept in it. */
export interface FormRoom {
  /** Keeps the form with this body, no longer than was announced; resolves to its id. */
  keep(body: Buffer): Promise<string>
  /** Never rejects: what cannot be given back now runs out by itself. */
  release(): Promise<void>
}

/** Every method rejects with `session_store_unavailable` when the store does. */
export interface KeptPosts {
  /** The longest body that is kept; 0: none is. */
  readonly maxBytes: number
  /** Who the app cookie with this secret belongs or belonged to, while their session is on record. */
  findSender(secret: string, origin: string): Promise<FormSender | undefined>
  /** Room for this form with a body of at most `bytes`: `too_many` of this browser, or `no_room` for anybody. */
  reserve(form: FormAddress, bytes: number): Promise<FormRoom | 'too_many' | 'no_room'>
  /** The form, left where it is; `undefined` if it is unknown, used or too old. */
  find(id: string): Promise<KeptPost | undefined>
  /** The form, for one caller alone. */
  take(id: string): Promise<KeptPost | undefined>
}

/** What `createKeptPosts` needs. */
export interface KeptPostsOptions {
  readonly store: SessionStore
  readonly keys: CurrentKeys
  readonly maxBytes: number
  readonly log: Logger
}

/** Long enough to find a second factor; a form that somebody left there should not go out hours later. */
export const keptMs = 300_000
/** How long a body may take to arrive, so that nobody can hold a place by sending slowly. */
export const formArrivalMs = 120_000
/** A place outlasts the slowest arrival and what the store takes on top: a form whose place is gone would come on top of those after it. */
const placeMs = formArrivalMs + 30_000
const maxOfBrowser = 5
const maxBytesOfAll = 64 * 1024 ** 2
/** What even an empty form counts for: a bound on how many there are, and so on the index that each new one is counted in. */
const leastCharge = 16 * 1024
/** Who is refused by others that are refused as well gets in now; who is refused by forms that stay loses some milliseconds. */
const reservationRounds = 4
const longestStepBackMs = 30
/** Seal, instant and charge, beside the address and the body. */
const overheadBytes = 512

/** Kept forms over `store`. */
export function createKeptPosts({ store, keys, maxBytes, log }: KeptPostsOptions): KeptPosts {
  const records = createSealedRecords(store, keys, log)

  async function enter(place: Place, expiresAt: number): Promise<void> {
    await Promise.all(indexesOf(place.sender).map((index) => store.addToIndex(index, memberOf(place), expiresAt)))
  }

  async function leave(place: Place): Promise<void> {
    try {
      await Promise.all(indexesOf(place.sender).map((index) => store.removeFromIndex(index, memberOf(place))))
    } catch (error) {
      log.warn({ err: error }, 'the room of a kept form could not be given back; it is free in a few minutes')
    }
  }

  async function findExcess(sender: FormSender): Promise<'too_many' | 'no_room' | undefined> {
    const [ofBrowser, ofAll] = indexesOf(sender)
    if ((await store.loadIndex(ofBrowser)).length > maxOfBrowser) return 'too_many'
    const bytes = (await store.loadIndex(ofAll)).reduce((sum, member) => sum + chargeOf(member), 0)
    return bytes > maxBytesOfAll ? 'no_room' : undefined
  }

  async function reserve(form: FormAddress, bytes: number): Promise<FormRoom | 'too_many' | 'no_room'> {
    const id = createSecret()
    let place = placeFor(form, hashOf(id), bytes)
    for (let round = 1; ; round += 1) {
      await enter(place, (await store.loadNow()) + placeMs)
      const excess = await findExcess(form.sender)
      if (excess === undefined) break
      await leave(place)
      if (round === reservationRounds) return excess
      await pause(randomInt(longestStepBackMs * round))
    }

    async function keep(body: Buffer): Promise<string> {
      if (body.length > bytes) throw new TypeError('a form is longer than its room')
      const reserved = place
      const at = await store.loadNow()
      place = placeFor(form, reserved.idHash, body.length)
      await enter(place, at + keptMs)
      // Where no length was announced, the longest was reserved.
      if (memberOf(place) !== memberOf(reserved)) await leave(reserved)
      const name = recordNames.keptPost(place.idHash)
      const sealed = seal(keys(), { purpose: 'kept_post', name }, joined({ ...form, at, charge: place.charge }, body))
      const isKept = await store.createRecord(name, sealed, at + keptMs)
      if (!isKept) throw new PosternError('session_store_unavailable', 'a form could not be kept under a new name')
      return id
    }
    return { keep, release: () => leave(place) }
  }

  function openPost(name: string, sealed: Buffer | undefined): (KeptPost & { readonly charge: number }) | undefined {
    if (sealed === undefined) return undefined
    const plaintext = open(keys(), { purpose: 'kept_post', name }, sealed)
    return plaintext === undefined ? undefined : parted(plaintext)
  }

  return {
    maxBytes,
    async findSender(secret, origin) {
      const pointer = isSecret(secret) ? (await records.load<Pointer>(recordNames.pointer('app', hashOf(secret))))?.value : undefined
      return pointer?.origin === origin ? { sessionId: pointer.sessionId, subjectHash: pointer.subjectHash } : undefined
    },
    reserve,
    async find(id) {
      if (!isSecret(id)) return undefined
      const name = recordNames.keptPost(hashOf(id))
      return openPost(name, (await store.loadRecord(name))?.value)
    },
    async take(id) {
      if (!isSecret(id)) return undefined
      const idHash = hashOf(id)
      const name = recordNames.keptPost(idHash)
      const post = openPost(name, (await store.takeRecord(name))?.value)
      if (post === undefined) return undefined
      await leave({ sender: post.sender, idHash, charge: post.charge })
      return post
    },
  }
}

interface Place {
  readonly sender: FormSender
  readonly idHash: string
  /** Bytes that it counts for. */
  readonly charge: number
}

/** What stands before the body in the sealed record, as JSON. */
interface StoredHead extends Omit<KeptPost, 'body'> {
  readonly charge: number
}

function placeFor(form: FormAddress, idHash: string, bytes: number): Place {
  const charge = bytes + Buffer.byteLength(JSON.stringify(form)) + overheadBytes
  return { sender: form.sender, idHash, charge: Math.max(leastCharge, charge) }
}

function indexesOf({ sessionId }: FormSender): readonly [ofBrowser: string, ofAll: string] {
  return [recordNames.keptPostsIndex(hashSessionId(sessionId)), recordNames.allKeptPostsIndex]
}

function memberOf({ idHash, charge }: Place): string {
  return `${idHash}:${charge}`
}

function chargeOf(member: string): number {
  return Number(member.slice(member.indexOf(':') + 1))
}

/** Length of the head, head, body: as bytes, since the text form of a file would be a third longer. */
function joined(head: StoredHead, body: Buffer): Buffer {
  const text = Buffer.from(JSON.stringify(head))
  const length = Buffer.alloc(4)
  length.writeUInt32BE(text.length)
  return Buffer.concat([length, text, body])
}

/** What `joined` made; nobody else could have sealed it. */
function parted(plaintext: Buffer): KeptPost & { readonly charge: number } {
  const bodyAt = 4 + plaintext.readUInt32BE(0)
  return { ...(JSON.parse(plaintext.toString('utf8', 4, bodyAt)) as StoredHead), body: plaintext.subarray(bodyAt) }
}
