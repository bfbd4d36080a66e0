/**
 * People seen: who has signed in here, with their claims as last heard. It is what commands look a person up in by e-mail.
 *
 * It is no source of rights: decisions are made on the claims of a live session alone. A record is renewed by each sign-in and each
 * refresh, and sealed like any other.
 */

import { PosternError } from '../errors.ts'
import type { SealedRecords } from './sealed-records.ts'
import { hashOf } from './secret.ts'
import type { Session } from './session.ts'
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
  readonly seenAt: number
}

/** The people seen, over all instances. */
export interface People {
  /** Renews what is known of the person. */
  recordPerson(session: Pick<Session, 'issuer' | 'sub' | 'claims'>): Promise<void>
  /** Everybody last seen with this address, in any case of letters; newest first. */
  findPeople(email: string): Promise<readonly Person[]>
  findPerson(issuer: string, sub: string): Promise<Person | undefined>
}

/** Somebody who has not signed in for this long is forgotten; as long as the audit trail is kept by default. */
const keepMs = 400 * 86_400_000

/** People in the store. */
export function createPeople(store: SessionStore, records: SealedRecords): People {
  async function findByHash(subjectHash: string): Promise<Person | undefined> {
    const stored = (await records.load<Person>(recordNames.person(subjectHash)))?.value
    if (stored === undefined) return undefined
    const claims = withoutPrototypes(stored.claims) as Record<string, unknown>
    return { ...stored, email: stored.email ?? undefined, name: stored.name ?? undefined, claims }
  }

  return {
    async recordPerson({ issuer, sub, claims }) {
      const subjectHash = hashSubject(issuer, sub)
      const name = recordNames.person(subjectHash)
      const email = textOf(claims.all['email'])
      const person: Person = { issuer, sub, email, name: textOf(claims.all['name']), claims: claims.all, seenAt: claims.at }
      const expiresAt = claims.at + keepMs
      for (let round = 0; ; round++) {
        const known = await records.load<Person>(name)
        if (known !== undefined && known.value.seenAt >= person.seenAt) break
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
  }
}

function hashEmail(email: string): string {
  return hashOf(email.trim().toLowerCase())
}

function textOf(claim: unknown): string | undefined {
  return typeof claim === 'string' && claim !== '' ? claim : undefined
}
