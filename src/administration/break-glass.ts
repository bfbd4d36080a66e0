/**
 * Break-glass: a one-time sign-in that an administrator hands out while the provider is down.
 *
 * The person is one who has signed in here before, with the claims last heard. It is in the trail before the code exists; a trail that
 * cannot be written is a refusal. The code is 256 random bits, kept as a hash beside sealed facts, good for ten minutes and once. Whoever is
 * locked cannot be named, and what was locked or ended after the code was issued makes it worthless: all of it is asked again when it is
 * spent. The session that it begins ends after the time that was given at the latest, and says `break_glass` in `amr`.
 */

import type { AuditEvent } from '../audit/event.ts'
import type { People, Person } from '../session/people.ts'
import type { SealedRecords } from '../session/sealed-records.ts'
import { createSecret, hashOf, isSecret } from '../session/secret.ts'
import type { SignedIn } from '../session/session.ts'
import type { Sessions } from '../session/sessions.ts'
import type { SessionStore } from '../session/store.ts'
import type { Locks } from './locks.ts'
import { findSubject, type Subject } from './subject-lookup.ts'

/** What the sealed record says; the code itself is nowhere. */
export interface BreakGlassGrant extends Subject {
  readonly email: string
  readonly name: string | undefined
  readonly seconds: number
  /** The store's clock. */
  readonly issuedAt: number
}

export type BreakGlassIssue =
  | { readonly outcome: 'issued'; readonly code: string; readonly grant: BreakGlassGrant; readonly expiresAt: number }
  | { readonly outcome: 'refused'; readonly message: string }

export interface BreakGlassOrder {
  readonly who: string
  readonly seconds: number
  readonly reason: string
  readonly actor: string
}

/** The command's half. */
export interface BreakGlassDesk {
  /** Rejects with `audit_unavailable` if it could not be written down, and with `session_store_unavailable`: then there is no code. */
  issue(order: BreakGlassOrder): Promise<BreakGlassIssue>
}

/** The access host's half. */
export interface BreakGlassDoor {
  /** What a code would do; looking spends nothing. `undefined` for one that is unknown, used or too old. */
  find(code: string): Promise<BreakGlassGrant | undefined>
  /** Spends the code, whatever comes of it. */
  spend(code: string): Promise<BreakGlassEntry>
  /** Whether everything of this person was ended since the code was made; asked once more when its session has begun. */
  isOvertaken(grant: BreakGlassGrant): Promise<boolean>
}

export type BreakGlassEntry =
  | { readonly outcome: 'entered'; readonly signedIn: SignedIn; readonly grant: BreakGlassGrant }
  | { readonly outcome: 'unknown' | 'locked' | 'overtaken' }

/** Longer than a night shift needs it, and the provider is then another's problem to solve. */
export const longestBreakGlassSeconds = 4 * 3_600

/** Time to read an address to somebody on the telephone. */
export const breakGlassCodeSeconds = 600

/** What `amr` says of such a session. No provider says it, so that a rule that names it means this. */
export const breakGlassMethod = 'break_glass'

interface SharedParts {
  readonly store: Pick<SessionStore, 'loadNow'>
  readonly records: Pick<SealedRecords, 'create' | 'load' | 'take'>
  readonly people: Pick<People, 'findPeople' | 'findPerson'>
  readonly locks: Pick<Locks, 'find'>
}

export interface BreakGlassDeskParts extends SharedParts {
  /** How the provider may call itself; see `issuersOf`. */
  readonly issuers: readonly string[]
  /** Resolves once the event is written; rejects if it cannot be. */
  readonly recordFirst: (event: Extract<AuditEvent, { readonly event: 'break_glass.issued' }>) => Promise<void>
}

/** Issues codes. */
export function createBreakGlassDesk({ issuers, locks, people, recordFirst, records, store }: BreakGlassDeskParts): BreakGlassDesk {
  return {
    async issue({ actor, reason, seconds, who }) {
      if (seconds <= 0 || seconds > longestBreakGlassSeconds) throw new TypeError('a break-glass session lasts four hours at the most')
      const found = await findSubject(people, issuers, who)
      if (found.outcome === 'several') {
        const subs = found.people.map(({ sub }) => sub).join(', ')
        return refuse(`several people have the address ${who}; name one by sub: ${subs}`)
      }
      if (found.outcome !== 'found') {
        return refuse(`${who} has never signed in here: without the provider nothing is known of them, and nobody can be signed in as them`)
      }
      const { issuer, name, sub } = found.person
      const { email = sub } = found.person
      const lock = await locks.find({ kind: 'subject', issuer, sub })
      if (lock !== undefined) return refuse(`${email} is locked, by ${lock.by}: ${lock.reason}; a locked person cannot be named`)
      const issuedAt = await store.loadNow()
      const grant: BreakGlassGrant = { issuer, sub, email, name, seconds, issuedAt }
      await recordFirst({ event: 'break_glass.issued', actor, issuer, sub, email, until: issuedAt + seconds * 1000, reason })
      const code = createSecret()
      const expiresAt = issuedAt + breakGlassCodeSeconds * 1000
      if (!(await records.create(recordName(code), grant, expiresAt))) throw new TypeError('a code was drawn twice')
      return { outcome: 'issued', code, grant, expiresAt }
    },
  }
}

export interface BreakGlassDoorParts extends Omit<SharedParts, 'store'> {
  readonly sessions: Pick<Sessions, 'findLatestEnd'>
  /** Epoch milliseconds. */
  readonly now: () => number
}

/** Takes codes. */
export function createBreakGlassDoor({ locks, now, people, records, sessions }: BreakGlassDoorParts): BreakGlassDoor {
  /** The end is of everything of this person, and the code was meant too. */
  async function isOvertaken({ issuedAt, issuer, sub }: BreakGlassGrant): Promise<boolean> {
    const end = await sessions.findLatestEnd({ accessSecret: undefined, issuer, sub, providerSid: undefined })
    return end !== undefined && end.at >= issuedAt
  }

  return {
    isOvertaken,
    find: async (code) => (isSecret(code) ? (await records.load<BreakGlassGrant>(recordName(code)))?.value : undefined),
    async spend(code) {
      const grant = isSecret(code) ? (await records.take<BreakGlassGrant>(recordName(code)))?.value : undefined
      if (grant === undefined) return { outcome: 'unknown' }
      const { issuer, sub } = grant
      const [lock, isOver, person] = await Promise.all([
        locks.find({ kind: 'subject', issuer, sub }),
        isOvertaken(grant),
        people.findPerson(issuer, sub),
      ])
      if (lock !== undefined) return { outcome: 'locked' }
      if (person === undefined || isOver) return { outcome: 'overtaken' }
      return { outcome: 'entered', signedIn: signInOf(person, grant.seconds, now()), grant }
    },
  }
}

/** No provider was asked: there are no tokens, no session of its own to end, and no `auth_time` that a rule could count from. */
function signInOf({ claims, issuer, seenAt, sub }: Person, seconds: number, at: number): SignedIn {
  return {
    issuer,
    sub,
    claims,
    signIn: { at, authTime: undefined, acr: undefined, amr: [breakGlassMethod] },
    tokens: { idToken: '', accessToken: '', refreshToken: undefined },
    providerSid: undefined,
    withoutProvider: { seconds, claimsAt: seenAt },
  }
}

function recordName(code: string): string {
  return `break_glass:${hashOf(code)}`
}

function refuse(message: string): BreakGlassIssue {
  return { outcome: 'refused', message }
}
