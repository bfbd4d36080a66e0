/**
 * Who it would be, on what and under which lock: circumstances that somebody wrote down, completed by what is known here, with a note for each
 * thing that an answer then rests on. `postern explain` and the console's what-if ask through here, so that they say the same.
 *
 * Nothing is changed. What is not known stays unknown; a person who was never seen has no claims, and a device that is not in the inventory is
 * none that is known.
 */

import { stateDevice } from '../attributes/device-record.ts'
import type { SubjectReader } from '../attributes/subject-facts.ts'
import type { Lock, LockQuestion } from '../live/lock.ts'
import { createLockSet } from '../live/lock-set.ts'
import type { Device, LockFacts } from '../policy/facts.ts'
import type { People } from '../session/people.ts'
import type { Devices } from './devices.ts'
import type { GivenSignIn, GivenSubject } from './given.ts'
import type { Subject } from './subject-lookup.ts'

/** How a person is looked for. */
export interface PersonLookup {
  readonly people: Pick<People, 'findPeople' | 'findPerson'>
  readonly readSubject: SubjectReader
  /** Whose `sub` one is that comes without an issuer. */
  readonly issuer: string
  /** The instant that is asked about. */
  readonly at: number
  /** In place of those last seen; empty: those. */
  readonly groups: readonly string[]
  /** How groups are given here, such as `as given on the command line`, and how to give some. */
  readonly words: { readonly given: string; readonly how: string }
  readonly notes: string[]
}

/** A person by reference, e-mail address or `sub`, as last seen; a sentence's end where it is not clear who. */
export async function findGivenPerson(who: string | Subject, lookup: PersonLookup): Promise<GivenSubject | string> {
  const { at, issuer, notes, people, readSubject, words } = lookup
  const named = typeof who === 'string' ? who : who.sub
  const isEmail = typeof who === 'string' && who.includes('@')
  const one = typeof who === 'string' ? { issuer, sub: who } : who
  const seen = isEmail
    ? await people.findPeople(who)
    : [await people.findPerson(one.issuer, one.sub)].filter((found) => found !== undefined)
  if (seen.length > 1) return `several people have this address; name one by sub: ${seen.map(({ sub }) => sub).join(', ')}`
  const [person] = seen
  const groups = lookup.groups.length === 0 ? undefined : lookup.groups
  if (groups !== undefined) notes.push(`groups: ${groups.join(', ')}, ${words.given}`)
  if (person === undefined) {
    notes.push(`who: ${named} has never signed in here`)
    if (groups === undefined) notes.push(`groups: unknown; ${words.how} which to assume`)
    const claims: Record<string, unknown> = Object.create(null)
    return { kind: 'person', ...one, email: isEmail ? named : undefined, groups, claims }
  }
  const { claims, seenAt, sub } = person
  const facts = readSubject({ issuer: person.issuer, sub, claims: { at: seenAt, version: 0, all: claims } }, 'fresh')
  if (facts.kind !== 'person') throw new TypeError('a person was read as something else')
  notes.push(`who: ${person.email ?? named} (sub ${sub}), last seen ${printAge(at - seenAt)} before`)
  if (groups === undefined) {
    const { groups: known } = facts
    notes.push(`groups: ${known.known ? known.value.join(', ') || 'none' : `unknown (${known.why})`}, as last seen`)
    return { kind: 'seen', facts }
  }
  return { kind: 'seen', facts: { ...facts, groups: { known: true, value: groups } } }
}

/** A device by its id in the inventory. */
export async function findGivenDevice(id: string, devices: Pick<Devices, 'find'>, notes: string[]): Promise<Device> {
  const record = await devices.find(id)
  if (record !== undefined) return stateDevice(record, record.fingerprints.length + record.names.length > 0 ? 'certificate' : 'claim')
  notes.push(`device: ${id} is not in the inventory`)
  const attributes: Device['attributes'] = Object.create(null)
  return { id, identifiedBy: 'certificate', isKnown: false, serial: undefined, tags: [], attributes }
}

/** The lock that decides, with a note for each that concerns the question. */
export function findGivenLock(locks: readonly Lock[], question: LockQuestion, at: number, notes: string[]): LockFacts | undefined {
  for (const lock of locks) {
    if (createLockSet([lock]).find(question, at) === undefined) continue
    const { by, label, reason, target, until } = lock
    const end = until === undefined ? 'until it is lifted' : `until ${new Date(until).toISOString()}`
    notes.push(`locked: ${target.kind} ${label}, ${end}, by ${by}: ${reason}`)
  }
  return createLockSet(locks).find(question, at)
}

/** A sign-in as it is written down; `undefined`: nothing is said of it. */
export function readGivenSignIn({
  acr,
  amr,
  signedInAgo,
}: {
  readonly acr: string | undefined
  readonly amr: readonly string[]
  /** Such as `10m`. */
  readonly signedInAgo: string | undefined
}): GivenSignIn | 'not_an_age' | undefined {
  if (acr === undefined && amr.length === 0 && signedInAgo === undefined) return undefined
  const match = signedInAgo === undefined ? undefined : /^(\d{1,9})(s|m|h|d)$/.exec(signedInAgo)
  if (match === null) return 'not_an_age'
  const unit = { s: 1, m: 60, h: 3600, d: 86_400 }[match?.[2] ?? ''] ?? 0
  return { acr, amr, agoSeconds: match === undefined ? undefined : Number(match[1]) * unit }
}

/** Milliseconds as a person would say them. */
export function printAge(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000))
  if (seconds < 120) return `${seconds} s`
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`
  return seconds < 172_800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86_400)} d`
}
