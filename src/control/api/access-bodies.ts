/**
 * The bodies of orders over the API, taken whole or not at all: each key known, each value of its kind, nothing besides.
 *
 * A refusal is a sentence for whoever wrote the program; it never repeats a value. What the words mean is judged by the use case.
 */

import type { LockOrder, RevokeOrder, UnlockOrder } from '../../administration/access-orders.ts'
import { mostSessionsAnOrder } from '../../administration/access-orders.ts'

/** `{on, name, reason, until?}`. */
export function parseLockBody(value: unknown): LockOrder | string {
  const body = readKeys(value, ['on', 'name', 'until', 'reason'])
  if (typeof body === 'string') return body
  const { name, on, reason, until } = body
  if (typeof on !== 'string' || typeof name !== 'string') return '`on` and `name` say what to lock, as text.'
  if (typeof reason !== 'string') return '`reason` says why, as text.'
  if (until !== undefined && until !== null && typeof until !== 'string') return '`until` is an instant or a duration, as text.'
  return { on, name, reason, until: until ?? undefined }
}

/** `{reason}`; what is unlocked stands in the path. */
export function parseUnlockBody(value: unknown): Pick<UnlockOrder, 'reason'> | string {
  const body = readKeys(value, ['reason'])
  if (typeof body === 'string') return body
  return typeof body['reason'] === 'string' ? { reason: body['reason'] } : '`reason` says why, as text.'
}

/** `{sessions, reason?}` or `{subject, reason?}`. */
export function parseRevokeBody(value: unknown): RevokeOrder | string {
  const body = readKeys(value, ['sessions', 'subject', 'reason'])
  if (typeof body === 'string') return body
  const { reason, sessions, subject } = body
  if (reason !== undefined && typeof reason !== 'string') return '`reason` is text.'
  if (subject !== undefined && typeof subject !== 'string') return '`subject` is an e-mail address or a `sub`, as text.'
  if (sessions !== undefined && !isListOfIds(sessions)) return `\`sessions\` is a list of at most ${mostSessionsAnOrder} ids.`
  return { sessions, subject, reason }
}

function isListOfIds(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.length <= mostSessionsAnOrder && value.every((id) => typeof id === 'string' && id.length <= 64)
}

function readKeys(value: unknown, known: readonly string[]): Readonly<Record<string, unknown>> | string {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return 'The body is not a JSON object.'
  const stranger = Object.keys(value).find((key) => !known.includes(key))
  return stranger === undefined ? (value as Readonly<Record<string, unknown>>) : `The keys of this body are ${known.join(', ')}.`
}
