/**
 * Takes an administrative event that a command hands to a running instance, and nothing else: no other event of the trail can be made up here.
 *
 * Who may hand one over was settled before (the control socket is its owner's alone), so `actor` is taken at its word, as long as it
 * is somebody of the operating system. What the trail writes at the head of a line cannot be named.
 */

import type { AdministrativeEvent } from '../audit/event.ts'

/** Complete by its type: an event that is added to the union must be added here. */
const administrativeEvents: Readonly<Record<AdministrativeEvent['event'], true>> = {
  'token.created': true,
  'token.revoked': true,
  'device.registered': true,
  'device.imported': true,
  'device.blocked': true,
  'device.unblocked': true,
  'device.removed': true,
  'device.reported': true,
}

const reserved: ReadonlySet<string> = new Set(['at', 'event', 'instance'])

/** The event; `undefined` for anything that is not one, or not from somebody at a command line. */
export function parseAdministrativeEvent(value: unknown): AdministrativeEvent | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const { event, actor } = value as Readonly<Record<string, unknown>>
  if (typeof event !== 'string' || !Object.hasOwn(administrativeEvents, event)) return undefined
  if (typeof actor !== 'string' || !/^os:[^@]+@./u.test(actor)) return undefined
  const fields = Object.entries(value).filter(([name]) => name !== 'event')
  if (!fields.every(([name, field]) => /^[a-z][A-Za-z]{0,31}$/.test(name) && !reserved.has(name) && isPlain(field))) return undefined
  // Which fields an event has is said by its type; the line holds whatever plain fields the command of the same version gave it.
  return { event, ...Object.fromEntries(fields) } as unknown as AdministrativeEvent
}

function isPlain(field: unknown): boolean {
  if (Array.isArray(field)) return field.length <= 100 && field.every((entry) => typeof entry === 'string')
  return field === undefined || typeof field === 'string' || typeof field === 'number' || typeof field === 'boolean'
}
