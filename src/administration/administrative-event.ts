/**
 * Takes an administrative event that a command hands to a running instance, and nothing else: no other event of the trail can be made up here.
 * What ended because of it comes along: `session.ended` and `subject.ended`, for a revocation and without a request.
 *
 * Who may hand one over was settled before (the control socket is its owner's alone), so `actor` is taken at its word, as long as it
 * is somebody of the operating system. What the trail writes at the head of a line cannot be named.
 */

import type { AdministrativeEvent } from '../audit/event.ts'

/** Complete by its type: an event that is added to the union must be added here. */
const administrativeEvents: Readonly<Record<AdministrativeEvent['event'], true>> = {
  'session.ended': true,
  'subject.ended': true,
  'token.created': true,
  'token.rotated': true,
  'token.revoked': true,
  'console.invited': true,
  'console.uninvited': true,
  'lock.set': true,
  'lock.lifted': true,
  'sessions.revoked': true,
  'connection.cut': true,
  'access.request_answered': true,
  'break_glass.issued': true,
  'audit.pruned': true,
  'data.read': true,
  'policy.published': true,
  'policy.publication_refused': true,
  'policy.drafted': true,
  'policy.proposed': true,
  'policy.approved': true,
  'policy.discarded': true,
  'store.adopted': true,
  'device.registered': true,
  'device.imported': true,
  'device.blocked': true,
  'device.unblocked': true,
  'device.tagged': true,
  'device.removed': true,
  'device.reported': true,
}

const reserved: ReadonlySet<string> = new Set(['seq', 'prev', 'at', 'event', 'instance'])

/** The event; `undefined` for anything that is not one, or not from somebody at a command line. */
export function parseAdministrativeEvent(value: unknown): AdministrativeEvent | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const { event, actor } = value as Readonly<Record<string, unknown>>
  if (typeof event !== 'string' || !Object.hasOwn(administrativeEvents, event)) return undefined
  if (event === 'session.ended' || event === 'subject.ended') return parseEnd(value)
  if (typeof actor !== 'string' || !/^os:[^@]+@./u.test(actor)) return undefined
  const fields = Object.entries(value).filter(([name]) => name !== 'event')
  if (!fields.every(([name, field]) => /^[a-z][A-Za-z]{0,31}$/.test(name) && !reserved.has(name) && isPlain(field))) return undefined
  // Which fields an event has is said by its type; the line holds whatever plain fields the command of the same version gave it.
  return { event, ...Object.fromEntries(fields) } as unknown as AdministrativeEvent
}

/** Whoever is at the socket may end sessions, as revoked and as nothing else, so the trail learns nothing here that is not so. */
function parseEnd(value: object): AdministrativeEvent | undefined {
  const { address, cause, event, request, session, sid, subject, ...others } = value as Readonly<Record<string, unknown>>
  const isOurs = cause === 'revoked' && request === undefined && address === undefined && sid === undefined
  if (!isOurs || Object.keys(others).length > 0 || typeof subject !== 'object' || subject === null) return undefined
  const { email, issuer, kind, sub, ...unknown } = subject as Readonly<Record<string, unknown>>
  const isText = (text: unknown) => typeof text === 'string' || text === undefined
  if (kind !== 'person' || ![email, issuer, sub].every(isText) || Object.keys(unknown).length > 0) return undefined
  // JSON made `null` of what was not there, and the trail would print it.
  const person = Object.fromEntries(Object.entries({ kind, issuer, sub, email }).filter(([, text]) => text !== undefined))
  if (event === 'session.ended') {
    return typeof session === 'string' ? ({ event, session, subject: person, cause } as unknown as AdministrativeEvent) : undefined
  }
  return session === undefined ? ({ event, subject: person, cause } as unknown as AdministrativeEvent) : undefined
}

function isPlain(field: unknown): boolean {
  if (Array.isArray(field)) return field.length <= 100 && field.every((entry) => typeof entry === 'string')
  return field === undefined || typeof field === 'string' || typeof field === 'number' || typeof field === 'boolean'
}
