/**
 * People seen: who has signed in here, with their claims as last heard. It is what commands look a person up in by e-mail.
 *
 * It is no source of rights: decisions are made on the claims of a live session alone. A record is renewed by each sign-in and each
 * refresh, and sealed like any other.
 */

import { setImmediate as nextTurn } from 'node:timers/promises'
import { PosternError } from '../errors.ts'
import type { SealedRecords } from './sealed-records.ts'
import { hashOf } from './secret.ts'
import type { Session, SignIn } from './session.ts'
import { hashSubject, recordNames, withoutPrototypes } from './session-record.ts'
import type { SessionStore } from './store.ts'

/** Somebody who has signed in here. */
export interface Person {
  readonly issuer: string
  readonly sub: string
  readonly email: string | undefined
  readonly name: string | undefined
  /** Claims as of `seenAt`; groups are in there, under the paths of the configuration. */
  readonly claims: Readonly<Record<string, unknown>>
  /** What the provider ever stated about a sign-in of this person; `undefined` for who was last seen before this was kept. */
  readonly signIns: SignInsSeen | undefined
  readonly seenAt: number
}

/** Of all sign-ins of a person, also the weaker ones since: whether a rule can be met at all is not for the last one to tell. */
export interface SignInsSeen {
  /** Newest first, and so many of them at the most that a provider which makes them up fills nothing. */
  readonly acr: readonly string[]
  readonly amr: readonly string[]
  /** Whether any ID Token had `auth_time`. */
  readonly isTimed: boolean
}

/** The people seen, over all instances. */
export interface People {
  /** Renews what is known of the person. */
  recordPerson(session: Pick<Session, 'issuer' | 'sub' | 'claims' | 'signIn'>): Promise<void>
  /** Everybody last seen with this address, in any case of letters; newest first. */
  findPeople(email: string): Promise<readonly Person[]>
  findPerson(issuer: string, sub: string): Promise<Person | undefined>
  /**
   * How many there are, and each of them, in no order that means anything, in batches, so that memory does not grow with their number. One
   * whose record does not open is left out.
   */
  listPeople(): Promise<{ readonly total: number; readonly people: AsyncIterable<Person> }>
}

/** Somebody who has not signed in for this long is forgotten; as long as the audit trail is kept by default. */
export const keepPeopleDays = 400
const keepMs = keepPeopleDays * 86_400_000

/** Little enough for one go at a store that also serves requests. */
const batchSize = 100

/** A provider has a handful of each. */
const maxSignInValues = 16

/** People in the store. */
export function createPeople(store: SessionStore, records: SealedRecords): People {
  async function findByHash(subjectHash: string): Promise<Person | undefined> {
    const stored = (await records.load<Person>(recordNames.person(subjectHash)))?.value
    if (stored === undefined) return undefined
    const claims = withoutPrototypes(stored.claims) as Record<string, unknown>
    return { ...stored, email: stored.email ?? undefined, name: stored.name ?? undefined, claims, signIns: stored.signIns ?? undefined }
  }

  async function* listByHash(hashes: readonly string[]) {
    for (let at = 0; at < hashes.length; at += batchSize) {
      const batch = await Promise.all(hashes.slice(at, at + batchSize).map(findByHash))
      yield* batch.filter((person) => person !== undefined)
      // The embedded store answers at once: without this, a long listing would keep everything else waiting.
      await nextTurn()
    }
  }

  return {
    async recordPerson({ issuer, sub, claims, signIn }) {
      const subjectHash = hashSubject(issuer, sub)
      const name = recordNames.person(subjectHash)
      const email = textOf(claims.all['email'])
      const personWith = (earlier: Person | undefined): Person => ({
        issuer,
        sub,
        email,
        name: textOf(claims.all['name']),
        claims: claims.all,
        signIns: mergeSignIns(signIn, earlier?.signIns),
        seenAt: claims.at,
      })
      const expiresAt = claims.at + keepMs
      for (let round = 0; ; round++) {
        const known = await records.load<Person>(name)
        if (known !== undefined && known.value.seenAt >= claims.at) break
        const person = personWith(known?.value)
        if (known !== undefined && (await records.replace(name, { value: person, version: known.version, expiresAt }))) break
        if (known === undefined && (await records.create(name, person, expiresAt))) break
        // A record that does not open (its key has left the ring) stands in the way of a new one.
        if (known === undefined && round > 0) await store.removeRecord(name)
        if (round === 10) throw new PosternError('session_store_unavailable', 'the record of a person could not be written')
      }
      await Promise.all([
        store.addToIndex(recordNames.peopleIndex, subjectHash, expiresAt),
        email === undefined ? undefined : store.addToIndex(recordNames.emailIndex(hashEmail(email)), subjectHash, expiresAt),
      ])
    },
    async findPeople(email) {
      const wanted = hashEmail(email)
      const hashes = await store.loadIndex(recordNames.emailIndex(wanted))
      const people = await Promise.all(hashes.map(findByHash))
      // An index remembers addresses that a person no longer has.
      return people
        .filter((person) => person !== undefined)
        .filter((person) => person.email !== undefined && hashEmail(person.email) === wanted)
        .sort((a, b) => b.seenAt - a.seenAt)
    },
    findPerson: (issuer, sub) => findByHash(hashSubject(issuer, sub)),
    async listPeople() {
      const hashes = await store.loadIndex(recordNames.peopleIndex)
      return { total: hashes.length, people: listByHash(hashes) }
    },
  }
}

function mergeSignIns({ acr, amr, authTime }: SignIn, earlier: SignInsSeen | undefined): SignInsSeen {
  const newest = (values: readonly string[]) => [...new Set(values)].slice(0, maxSignInValues)
  return {
    acr: newest([...(acr === undefined ? [] : [acr]), ...(earlier?.acr ?? [])]),
    amr: newest([...amr, ...(earlier?.amr ?? [])]),
    isTimed: authTime !== undefined || earlier?.isTimed === true,
  }
}

function hashEmail(email: string): string {
  return hashOf(email.trim().toLowerCase())
}

function textOf(claim: unknown): string | undefined {
  return typeof claim === 'string' && claim !== '' ? claim : undefined
}
