/**
 * The facts behind decisions, as the trail keeps them: what changes seldom (who, how they signed in, on which device) is written once under
 * a hash of its content, and each decision names the hashes. So a decision can be explained, and made again, long afterwards.
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
  /** The references to write with a decision; records what no line has yet. `claims` are the paths that the policy speaks of. */
  refer(facts: Pick<Facts, 'subject' | 'signIn' | 'device'>, claims: readonly (readonly string[])[]): FactsReference
}

const maxRemembered = 20_000

/** A ledger that writes through `record`. `isWritable`: of the trail; after a time in which it was not, everything is written anew. */
export function createFactsLedger(record: (event: RecordedFacts) => void, isWritable: () => boolean = () => true): FactsLedger {
  const written = new Set<string>()
  let hasGap = false
  /** By the identity of facts, and for subjects also of the list of claims: a reload may ask for others. */
  const known = new WeakMap<object, { readonly claims: unknown; readonly hash: string }>()

  function referTo(kind: RecordedFacts['kind'], key: object, claims: unknown, describe: () => unknown): string {
    const earlier = known.get(key)
    if (earlier !== undefined && earlier.claims === claims && written.has(earlier.hash)) return earlier.hash
    const text = JSON.stringify(describe())
    const hash = createHash('sha256').update(`${kind}\n${text}`).digest('base64url').slice(0, 22)
    known.set(key, { claims, hash })
    if (!written.has(hash)) {
      if (written.size >= maxRemembered) written.clear()
      written.add(hash)
      record({ event: 'facts.recorded', kind, hash, facts: text })
    }
    return hash
  }

  return {
    refer({ subject, signIn, device }, claims) {
      // What was recorded while lines were lost may be among them, and decisions would name hashes that no line has.
      if (hasGap && isWritable()) {
        written.clear()
        hasGap = false
      }
      const reference = {
        subject: referTo('subject', subject, claims, () => describeSubject(subject, claims)),
        signIn: referTo('sign_in', signIn, undefined, () => signIn),
        device: referTo('device', device, undefined, () => device),
      }
      hasGap ||= !isWritable()
      return reference
    },
  }
}

/** Without the instant of the claims: that stands in each decision's line, and would make a new description at every refresh. */
function describeSubject(subject: SubjectFacts, paths: readonly (readonly string[])[]): unknown {
  if (subject.kind === 'nobody') return subject
  const pick = (claims: Readonly<Record<string, unknown>>) =>
    paths.flatMap((path) => {
      const value = findClaim(claims, path)
      return value === undefined ? [] : [[path, value]]
    })
  if (subject.kind === 'service') return { ...subject, claims: pick(subject.claims) }
  const { claimsAt: _, claims, ...rest } = subject
  return { ...rest, claims: claims.known ? { known: true, value: pick(claims.value) } : claims }
}

/** The facts again, from the lines that hold them. `undefined` where a line is missing or says something else. */
export function restoreFacts(
  lines: { readonly subject: string; readonly signIn: string; readonly device: string },
  claimsAt: number,
): Pick<Facts, 'subject' | 'signIn' | 'device'> | undefined {
  try {
    const subject = JSON.parse(lines.subject) as RecordedSubject
    return {
      subject: restoreSubject(subject, claimsAt),
      signIn: JSON.parse(lines.signIn) as Known<SignIn>,
      device: JSON.parse(lines.device) as Known<Device>,
    }
  } catch {
    // Not JSON: a line that was cut or changed.
    return undefined
  }
}

type RecordedClaims = readonly (readonly [path: readonly string[], value: unknown])[]
type RecordedSubject =
  | { readonly kind: 'nobody' }
  | (Omit<Extract<SubjectFacts, { kind: 'person' }>, 'claims' | 'claimsAt'> & { readonly claims: Known<RecordedClaims> })
  | (Omit<Extract<SubjectFacts, { kind: 'service' }>, 'claims'> & { readonly claims: RecordedClaims })

function restoreSubject(recorded: RecordedSubject, claimsAt: number): SubjectFacts {
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
