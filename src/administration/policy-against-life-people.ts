/**
 * The people seen as a policy sees them: which of the groups, claims, addresses and strengths that it names any of them carried.
 *
 * One pass, nothing of a person kept but names that many share, and those only up to a bound: what the policy names is looked for exactly,
 * the rest is there to say what is near. Claims are those of each person's last sign-in or refresh, read as for a request; of strengths
 * all that was ever stated counts.
 */

import type { SubjectReader } from '../attributes/subject-facts.ts'
import { findClaim } from '../policy/claim-path.ts'
import type { Scalar, Who } from '../policy/document.ts'
import type { Known, UnknownReason } from '../policy/facts.ts'
import { compileWho, normaliseEmail } from '../policy/who.ts'
import type { Person, SignInsSeen } from '../session/people.ts'
import type { PolicyDemands } from './policy-against-life-demands.ts'
import type { ReadingBounds } from './policy-against-life-devices.ts'

/** Which of the wanted values somebody carried, and what else there was. */
export interface ValuesSeen<T> {
  readonly wanted: ReadonlySet<T>
  /** Not necessarily all. */
  readonly others: ReadonlySet<T>
}

export interface PeopleSeen {
  /** Everybody on record. */
  readonly total: number
  /** How many of them were read; all, unless there were too many or it took too long. */
  readonly read: number
  readonly groups: ValuesSeen<string>
  /** Why groups, or an address, were not known, and of how many people. */
  readonly withoutGroups: ReadonlyMap<UnknownReason, number>
  readonly withoutEmail: ReadonlyMap<UnknownReason, number>
  /** Addresses in small letters. */
  readonly users: ReadonlySet<string>
  readonly domains: ValuesSeen<string>
  /** In the order of the demands: people with the claim, and its values. */
  readonly claims: readonly { readonly carried: number; readonly values: ValuesSeen<Scalar> }[]
  readonly acr: ReadonlySet<string>
  readonly amr: ReadonlySet<string>
  /** People of whom any sign-in had `auth_time`. */
  readonly timed: number
  /** People whose claims name a device. */
  readonly withDevice: number
  /** Of posture that claims state, by attribute. */
  readonly posture: ReadonlyMap<string, number>
  /** In the order of `circles`: of how many people it is not certain that they are none of these. */
  readonly circles: readonly number[]
}

/** What is looked for. */
export interface PeopleQuestions {
  readonly demands: PolicyDemands
  readonly readSubject: SubjectReader
  /** Paths of claims that name and describe devices. */
  readonly deviceId: readonly string[] | undefined
  readonly posture: ReadonlyMap<string, readonly string[]>
  readonly circles: readonly Who[]
}

/** Names beyond what the policy names, kept for "seen: …". */
const maxOthers = 5000

/** Counts. Rejects with `session_store_unavailable` when the store does. */
export async function observePeople(
  { total, people }: { readonly total: number; readonly people: AsyncIterable<Person> },
  { demands, readSubject, deviceId, posture, circles }: PeopleQuestions,
  { most, until, now }: ReadingBounds,
): Promise<PeopleSeen> {
  const groups = createValues(demands.groups.keys())
  const domains = createValues(demands.domains.keys())
  const claims = demands.claims.map(({ path, values }) => ({ path, carried: 0, values: createValues(values.keys()) }))
  const wantedUsers = new Set(demands.users.keys())
  const users = new Set<string>()
  const withoutGroups = new Map<UnknownReason, number>()
  const withoutEmail = new Map<UnknownReason, number>()
  const acr = new Set<string>()
  const amr = new Set<string>()
  const claimed = new Map<string, number>()
  const counted = circles.map((who) => ({ ...compileWho(withoutPublic(who), 'condition'), count: 0 }))
  let read = 0
  let timed = 0
  let withDevice = 0

  for await (const person of people) {
    if (read >= most || now() > until) break
    read += 1
    const subject = readSubject({ ...person, claims: { at: person.seenAt, version: 1, all: person.claims } }, 'fresh')
    if (subject.kind !== 'person') continue
    for (const group of knownOr(subject.groups, withoutGroups, [])) groups.add(group)
    const email = knownOr(subject.email, withoutEmail, undefined)
    const address = email === undefined ? undefined : normaliseEmail(email)
    if (address !== undefined) {
      if (wantedUsers.has(address)) users.add(address)
      domains.add(address.slice(address.indexOf('@') + 1))
    }
    for (const claim of claims) {
      const value = findClaim(person.claims, claim.path)
      if (value === undefined) continue
      claim.carried += 1
      for (const one of Array.isArray(value) ? value : [value]) if (isScalar(one)) claim.values.add(one)
    }
    const signIns = signInsOf(person)
    for (const value of signIns.acr) addBounded(acr, value)
    for (const value of signIns.amr) addBounded(amr, value)
    if (signIns.isTimed) timed += 1
    if (deviceId !== undefined && typeof findClaim(person.claims, deviceId) === 'string') withDevice += 1
    for (const [name, path] of posture) if (findClaim(person.claims, path) !== undefined) claimed.set(name, (claimed.get(name) ?? 0) + 1)
    for (const circle of counted) if (circle.judge(subject) !== 'false') circle.count += 1
  }
  return {
    total,
    read,
    groups: groups.seen(),
    withoutGroups,
    withoutEmail,
    users,
    domains: domains.seen(),
    claims: claims.map(({ carried, values }) => ({ carried, values: values.seen() })),
    acr,
    amr,
    timed,
    withDevice,
    posture: claimed,
    circles: counted.map(({ count }) => count),
  }
}

/** In an allow, strangers may be meant too; people who signed in are all that can be counted. */
function withoutPublic(who: Who): Who {
  if (who.kind === 'public') return { kind: 'signed_in' }
  return who.kind === 'any_of' || who.kind === 'all_of' ? { ...who, of: who.of.map(withoutPublic) } : who
}

/** Of who was last seen before all was kept: what the claims of the last sign-in say. */
function signInsOf({ claims, signIns }: Person): SignInsSeen {
  if (signIns !== undefined) return signIns
  const acr = findClaim(claims, ['acr'])
  const amr = findClaim(claims, ['amr'])
  return {
    acr: typeof acr === 'string' ? [acr] : [],
    amr: Array.isArray(amr) ? amr.filter((method) => typeof method === 'string') : [],
    isTimed: typeof findClaim(claims, ['auth_time']) === 'number',
  }
}

function knownOr<T, E>(fact: Known<T>, missing: Map<UnknownReason, number>, otherwise: E): T | E {
  if (fact.known) return fact.value
  missing.set(fact.why, (missing.get(fact.why) ?? 0) + 1)
  return otherwise
}

function createValues<T>(wanted: Iterable<T>) {
  const looked = new Set(wanted)
  const found = new Set<T>()
  const others = new Set<T>()
  return {
    add(value: T) {
      if (looked.has(value)) found.add(value)
      else addBounded(others, value)
    },
    seen: (): ValuesSeen<T> => ({ wanted: found, others }),
  }
}

function addBounded<T>(values: Set<T>, value: T): void {
  if (values.size < maxOthers) values.add(value)
}

function isScalar(value: unknown): value is Scalar {
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'
}
