/**
 * What an operator keeps out of the trail (`audit.redact`), taken out of events and of the facts behind decisions.
 *
 * Decisions are made on everything; only what is written of them is less. A fact that was left out is `unknown(redacted)` to whoever
 * reads it later, so that a replay can tell what was kept from it from what was not known. A value also hides in others: an
 * e-mail address in claims, groups in the claims that they come from; those go with it. The subject's own identifier always stays.
 */

import { findClaim } from '../policy/claim-path.ts'
import type { ClaimSet, EnvironmentFacts, Facts, RedactedField, SubjectFacts } from '../policy/facts.ts'
import type { AuditEvent, AuditTrail } from './event.ts'

type ClaimPaths = readonly (readonly string[])[]

/** Whom a decision was about, and which of their claims are recorded. */
export interface RecordedSubject {
  readonly subject: SubjectFacts
  readonly claimPaths: ClaimPaths
}

/** What is left of things, for one instance. What nothing is left out of is the very object that was given. */
export interface Redaction {
  readonly fields: ReadonlySet<RedactedField>
  /** The same answer for the same facts and list. */
  subject(subject: SubjectFacts, claimPaths: ClaimPaths): RecordedSubject
  /** Management systems say whose a device is. */
  device(device: Facts['device']): Facts['device']
  environment(facts: EnvironmentFacts): EnvironmentFacts
  event(event: AuditEvent): AuditEvent
}

export interface RedactionOptions {
  readonly fields: readonly RedactedField[]
  /** Where the provider states the groups. */
  readonly groupClaims: ClaimPaths
}

const redacted = { known: false, why: 'redacted' } as const
const none: ClaimPaths = []

/** Claims that hold an address whatever they say. */
const emailClaims: ClaimPaths = [['email']]

/** Stands in an event where something has to stand; of addresses it is also the word for several. */
const anything = '*'

/** The redaction of one instance. */
export function createRedaction({ fields: listed, groupClaims }: RedactionOptions): Redaction {
  const fields = new Set(listed)
  const forbidden = [...(fields.has('email') ? emailClaims : []), ...(fields.has('groups') ? groupClaims : [])]
  const allowedPaths = new WeakMap<ClaimPaths, ClaimPaths>()
  const devices = new WeakMap<Facts['device'], boolean>()
  const subjects = new WeakMap<SubjectFacts, { readonly of: ClaimPaths; readonly left: RecordedSubject }>()

  function allowedOf(paths: ClaimPaths): ClaimPaths {
    if (fields.has('claims')) return none
    const earlier = allowedPaths.get(paths)
    if (earlier !== undefined) return earlier
    const allowed = paths.filter((path) => !forbidden.some((other) => isWithin(path, other) || isWithin(other, path)))
    allowedPaths.set(paths, allowed)
    return allowed
  }

  function redactSubject(subject: SubjectFacts, paths: ClaimPaths): RecordedSubject {
    const allowed = allowedOf(paths)
    if (subject.kind === 'nobody') return { subject, claimPaths: allowed }
    if (subject.kind === 'service')
      return { subject, claimPaths: fields.has('email') && nameEmail(subject.claims, allowed) ? none : allowed }
    const { claims, email, groups } = subject
    const areClaimsLeftOut = fields.has('claims') || (fields.has('email') && claims.known && nameEmail(claims.value, allowed))
    // Some providers have a group for each person, called by their address.
    const own = fields.has('email') && email.known ? email.value.toLowerCase() : undefined
    const areGroupsLeftOut =
      fields.has('groups') || (own !== undefined && groups.known && groups.value.some((group) => nameAddress(group, own)))
    const left = {
      ...subject,
      // What was not known when it was decided is not known either way.
      email: fields.has('email') && email.known ? redacted : email,
      groups: areGroupsLeftOut && groups.known ? redacted : groups,
      claims: areClaimsLeftOut && claims.known ? redacted : claims,
    }
    return { subject: left, claimPaths: allowed }
  }

  const touchesSubjects = fields.has('email') || fields.has('groups') || fields.has('claims')
  const touchesEnvironment = fields.has('address') || fields.has('user_agent') || fields.has('country') || fields.has('asn')
  const touchesEvents = fields.has('email') || fields.has('address') || fields.has('user_agent')

  return {
    fields,
    subject(subject, claimPaths) {
      if (!touchesSubjects) return { subject, claimPaths }
      const earlier = subjects.get(subject)
      if (earlier?.of === claimPaths) return earlier.left
      const left = redactSubject(subject, claimPaths)
      subjects.set(subject, { of: claimPaths, left })
      return left
    },
    device(device) {
      if (!fields.has('email') || !device.known) return device
      let hasEmail = devices.get(device)
      if (hasEmail === undefined) {
        hasEmail = emailAnywhere.test(JSON.stringify(device.value))
        devices.set(device, hasEmail)
      }
      return hasEmail ? redacted : device
    },
    environment(facts) {
      if (!touchesEnvironment) return facts
      return {
        ...facts,
        address: fields.has('address') ? '' : facts.address,
        country: fields.has('country') ? redacted : facts.country,
        asn: fields.has('asn') ? redacted : facts.asn,
        client: fields.has('user_agent') ? { browser: redacted, browserVersion: redacted, os: redacted } : facts.client,
      }
    },
    event: (event) => (touchesEvents ? redactEvent(event, fields) : event),
  }
}

/** Where everything that is recorded goes through: also sign-ins, ends and what administrators do. */
export function redactTrail<T extends AuditTrail>(trail: T, { event: redact }: Redaction): T {
  return { ...trail, record: (event: AuditEvent) => trail.record(redact(event)) }
}

function redactEvent(event: AuditEvent, fields: ReadonlySet<RedactedField>): AuditEvent {
  if (event.event === 'facts.recorded' || event.event === 'access.ended') return event
  const left: Record<string, unknown> = { ...event }
  if (fields.has('address') && 'address' in event && event.address !== undefined)
    left['address'] = event.event === 'sign_in.failed' || event.event === 'access.counted' ? anything : undefined
  if (fields.has('user_agent') && 'userAgent' in event) left['userAgent'] = undefined
  if (fields.has('email')) {
    if ('subject' in event && event.subject.email !== undefined) left['subject'] = { ...event.subject, email: undefined }
    // What an administrator asked for may have been somebody's address; whose it was is in the other names. What a lock is on is an identifier.
    const isLock = event.event === 'lock.set' || event.event === 'lock.lifted'
    for (const name of isLock ? ['label'] : ['email', 'label', 'target']) if (isEmail(left[name])) left[name] = anything
  }
  // Only values were exchanged, each for one of its own kind.
  return left as unknown as AuditEvent
}

/** An address may also be what some other claim says: a user name, a list of aliases. */
function nameEmail(claims: ClaimSet, paths: ClaimPaths): boolean {
  return paths.some((path) => emailAnywhere.test(JSON.stringify(findClaim(claims, path) ?? '')))
}

function nameAddress(group: string, address: string): boolean {
  return group.toLowerCase().includes(address)
}

/** In JSON text. */
const emailAnywhere = /[^\s"@]@[^\s"@]/

function isEmail(value: unknown): boolean {
  return typeof value === 'string' && /^[^\s@]+@[^\s@]+$/.test(value)
}

function isWithin(path: readonly string[], other: readonly string[]): boolean {
  return other.every((step, index) => path[index] === step)
}
