/**
 * The facts behind decisions, as the trail keeps them: what changes seldom (who, how they signed in, on which device) is written once under
 * a hash of its content, once in each segment, and each decision names the hashes. So a decision can be explained, and made again, long
 * afterwards, and from its segment alone.
 *
 * Of a person's claims only those that the policy in force speaks of are kept. Objects of facts live as long as what they were made
 * from, so the hash of one is worked out once; what was written before is remembered up to a bound and else written again, which is harmless.
 */

import { createHash } from 'node:crypto'
import { findClaim } from '../policy/claim-path.ts'
import type { Device, Facts, Known, SignIn, SubjectFacts } from '../policy/facts.ts'
import type { AuditEvent } from './event.ts'

/** Hashes of the facts of one decision. */
export interface FactsReference {
  readonly subject: string
  readonly signIn: string
  readonly device: string
}

/** The facts of a kind, as a line keeps them. */
export type RecordedFacts = Extract<AuditEvent, { event: 'facts.recorded' }>

export interface FactsLedger {
  /**
   * The references to write with a decision, one object as long as the facts are the same; records what no line has yet. `claims` are the paths that
   * the policy speaks of.
   */
  refer(facts: Pick<Facts, 'subject' | 'signIn' | 'device'>, claims: readonly (readonly string[])[]): FactsReference
}

const maxRemembered = 20_000

interface Referred extends Pick<Facts, 'signIn' | 'device'> {
  readonly claims: unknown
  readonly reference: FactsReference
}

/**
 * A ledger that writes through `record`. `isWritable` and `segment` are the trail's: after a time in which it could not be written, and in
 * each segment, everything is written anew.
 */
export function createFactsLedger(
  record: (event: RecordedFacts) => void,
  isWritable: () => boolean = () => true,
  segment: () => number = () => 1,
): FactsLedger {
  const written = new Set<string>()
  let hasGap = false
  let writtenIn = segment()
  /** By the identity of facts, and for subjects also of the list of claims: a reload may ask for others. */
  const known = new WeakMap<object, { readonly claims: unknown; readonly hash: string }>()
  /** By the subject, what was last referred to with it; empty where something has to be written again. */
  let references = new WeakMap<SubjectFacts, Referred>()

  function forgetWritten(): void {
    written.clear()
    references = new WeakMap()
  }

  function referTo(kind: RecordedFacts['kind'], key: object, claims: unknown, describe: () => unknown): string {
    const earlier = known.get(key)
    if (earlier !== undefined && earlier.claims === claims && written.has(earlier.hash)) return earlier.hash
    const text = JSON.stringify(describe())
    const hash = hashFacts(kind, text)
    known.set(key, { claims, hash })
    if (!written.has(hash)) {
      if (written.size >= maxRemembered) forgetWritten()
      written.add(hash)
      record({ event: 'facts.recorded', kind, hash, facts: text })
    }
    return hash
  }

  return {
    refer({ subject, signIn, device }, claims) {
      // What was recorded while lines were lost may be among them, and decisions would name hashes that no line has.
      if (segment() !== writtenIn || (hasGap && isWritable())) {
        forgetWritten()
        writtenIn = segment()
        hasGap = false
      }
      const last = references.get(subject)
      const isAgain = last !== undefined && last.signIn === signIn && last.device === device && last.claims === claims
      const reference = isAgain
        ? last.reference
        : {
            subject: referTo('subject', subject, claims, () => describeSubject(subject, claims)),
            signIn: referTo('sign_in', signIn, undefined, () => signIn),
            device: referTo('device', device, undefined, () => device),
          }
      hasGap ||= !isWritable()
      if (!isAgain && !hasGap) references.set(subject, { signIn, device, claims, reference })
      return reference
    },
  }
}

/** What a decision names facts by. Who reads them back can tell by it whether they are what was written. */
export function hashFacts(kind: string, text: string): string {
  return createHash('sha256').update(`${kind}\n${text}`).digest('base64url').slice(0, 22)
}

/** Without the instant of the claims: that stands in each decision's line, and would make a new description at every refresh. */
function describeSubject(subject: SubjectFacts, paths: readonly (readonly string[])[]): unknown {
  if (subject.kind === 'nobody') return subject
  const pick = (claims: Readonly<Record<string, unknown>>) =>
    // One that is absent is named too: of a claim that is not named nobody knows later whether it was there.
    paths.map((path) => {
      const value = findClaim(claims, path)
      return value === undefined ? [path] : [path, value]
    })
  if (subject.kind === 'service') return { ...subject, claims: pick(subject.claims) }
  const { claimsAt: _, claims, ...rest } = subject
  return { ...rest, claims: claims.known ? { known: true, value: pick(claims.value) } : claims }
}

/** The facts of one decision again. */
export interface RestoredFacts extends Pick<Facts, 'subject' | 'signIn' | 'device'> {
  /** Paths of the claims that were looked for then, as JSON: what is not under one of them may have been there. */
  readonly claimPaths: ReadonlySet<string>
}

/** The ledger read back: facts by their hashes, as far as lines of them were taken in. */
export interface RecordedFactsReader {
  /** Takes in what a `facts.recorded` line says. */
  add(hash: string, text: string): void
  /**
   * The facts that a decision names; objects are shared by decisions that name the same, as they were when they were decided. `missing`: no
   * line of one of them was taken in. `unreadable`: a line was cut or changed.
   */
  restore(reference: FactsReference, claimsAt: number): RestoredFacts | 'missing' | 'unreadable'
}

/** A reader that holds what it is given: for one segment, or one decision. */
export function createRecordedFactsReader(): RecordedFactsReader {
  const texts = new Map<string, string>()
  const parsed = new Map<string, unknown>()
  const subjects = new Map<string, RestoredSubject>()

  function parse(hash: string): unknown {
    const earlier = parsed.get(hash)
    if (earlier !== undefined) return earlier
    const value: unknown = JSON.parse(texts.get(hash) ?? '')
    if (typeof value !== 'object' || value === null) throw new TypeError('facts are a map')
    parsed.set(hash, value)
    return value
  }

  /** One object a state of the claims: a refresh that changed nothing has another time and the same hash. */
  function restoreSubject(hash: string, claimsAt: number): RestoredSubject {
    const earlier = subjects.get(hash)
    if (earlier?.claimsAt === claimsAt) return earlier
    const recorded = parse(hash) as RecordedSubject
    if (!isSubject(recorded)) throw new TypeError('no subject has this form')
    const claimPaths = earlier?.claimPaths ?? new Set(claimsOf(recorded).map(([path]) => JSON.stringify(path)))
    const restored = { claimsAt, claimPaths, subject: subjectOf(recorded, claimsAt) }
    subjects.set(hash, restored)
    return restored
  }

  return {
    add(hash, text) {
      texts.set(hash, text)
    },
    restore({ device, signIn, subject }, claimsAt) {
      if (!texts.has(subject) || !texts.has(signIn) || !texts.has(device)) return 'missing'
      try {
        const { claimPaths, subject: restored } = restoreSubject(subject, claimsAt)
        const [signedIn, seen] = [parse(signIn), parse(device)]
        if (!isFact(signedIn) || !isFact(seen)) return 'unreadable'
        return { subject: restored, claimPaths, signIn: signedIn as Known<SignIn>, device: seen as Known<Device> }
      } catch {
        // Not JSON, or not of this form.
        return 'unreadable'
      }
    },
  }
}

interface RestoredSubject extends Pick<RestoredFacts, 'subject' | 'claimPaths'> {
  readonly claimsAt: number
}

/** A claim that was looked for and not there has no value. */
type RecordedClaims = readonly (readonly [path: readonly string[], value?: unknown])[]
type RecordedSubject =
  | { readonly kind: 'nobody' }
  | (Omit<Extract<SubjectFacts, { kind: 'person' }>, 'claims' | 'claimsAt'> & { readonly claims: Known<RecordedClaims> })
  | (Omit<Extract<SubjectFacts, { kind: 'service' }>, 'claims'> & { readonly claims: RecordedClaims })

/** A hash says that nobody changed the text, and not that this version wrote it. */
function isSubject(recorded: RecordedSubject): boolean {
  switch (recorded.kind) {
    case 'nobody':
      return true
    case 'service':
      return Array.isArray(recorded.names) && areClaims(recorded.claims)
    case 'person': {
      const { claims, email, groups } = recorded
      if (![claims, email, groups].every(isFact)) return false
      return (!groups.known || Array.isArray(groups.value)) && (!claims.known || areClaims(claims.value))
    }
    default:
      return false
  }
}

function isFact(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false
  const { known, value: stated, why } = value as Readonly<Record<string, unknown>>
  return known === true ? stated !== undefined && stated !== null : known === false && typeof why === 'string'
}

function areClaims(claims: unknown): boolean {
  return Array.isArray(claims) && claims.every((one) => Array.isArray(one) && Array.isArray(one[0]))
}

function claimsOf(recorded: RecordedSubject): RecordedClaims {
  if (recorded.kind === 'nobody') return []
  if (recorded.kind === 'service') return recorded.claims
  return recorded.claims.known ? recorded.claims.value : []
}

function subjectOf(recorded: RecordedSubject, claimsAt: number): SubjectFacts {
  switch (recorded.kind) {
    case 'nobody':
      return recorded
    case 'service':
      return { ...recorded, claims: nest(recorded.claims) }
    case 'person': {
      const { claims } = recorded
      return { ...recorded, claims: claims.known ? { known: true, value: nest(claims.value) } : claims, claimsAt }
    }
  }
}

/** Claims at their paths again, every map without a prototype. */
function nest(claims: RecordedClaims): Record<string, unknown> {
  const root: Record<string, unknown> = Object.create(null)
  for (const [path, value] of claims) {
    if (value === undefined) continue
    let map = root
    for (const name of path.slice(0, -1)) {
      const found = map[name]
      const inner = (typeof found === 'object' && found !== null ? found : Object.create(null)) as Record<string, unknown>
      map[name] = inner
      map = inner
    }
    const last = path.at(-1)
    if (last !== undefined) map[last] = value
  }
  return root
}
