/**
 * What operations about people, sessions and locks take and give, stated once: the forms that programs use already among them, to the letter.
 *
 * Ids, names and reasons are bounded here and judged by the use cases. Nothing has a place for a token or a secret.
 */

import { z } from 'zod'
import type { Ordered, OrderProblem, Rank } from '../../administration/access-orders.ts'
import { mostSessionsAnOrder } from '../../administration/access-orders.ts'
import type { Asker } from '../../administration/asker.ts'
import type { AuditEvent } from '../../audit/event.ts'
import { done, type Outcome, refused } from './operation.ts'
import { instantText } from './paging.ts'

/** Records that somebody looks at what is known of others, and resolves when it is on the disk. Rejects with `audit_unavailable`. */
export type RecordFirst = (event: Extract<AuditEvent, { readonly event: 'data.read' }>) => Promise<void>

/** Open connections by whose they are, over all instances; `undefined` where nobody could say in time. */
export interface OpenConnectionsCount {
  countOpen(about: {
    readonly subject?: { readonly issuer: string; readonly sub: string }
    readonly sessions?: readonly string[]
    readonly device?: string
  }): Promise<number | undefined>
}

/** Why something is done: one line. */
export const reasonText = z.string().max(500).meta({ description: 'Why, in one line of at most 500 characters.' })

export const refText = z.string().min(1).max(2_048).meta({ description: 'A person: base64url of the issuer, a line feed and the `sub`.' })

export const untilText = z
  .string()
  .max(64)
  .nullish()
  .meta({ description: 'An RFC 3339 instant, or a duration such as `8h`; null or left out: until it is lifted.' })

export const lockStatement = z.strictObject({
  on: z.enum(['subject', 'service', 'device', 'app']),
  target: z.string().meta({ description: 'The `sub`, name or id.' }),
  label: z.string(),
  since: instantText,
  until: instantText.nullable(),
  reason: z.string(),
  by: z.string(),
})

export const liftedStatement = z.strictObject({ on: lockStatement.shape.on, target: z.string(), label: z.string() })

export const sessionStatement = z.strictObject({
  id: z.string(),
  sub: z.string(),
  email: z.string().nullable(),
  name: z.string().nullable(),
  started_at: instantText,
  last_used_at: instantText,
  idle_ends_at: instantText.meta({ description: 'Unless it is used again.' }),
  amr: z.array(z.string()),
  acr: z.string().nullable(),
  address: z.string().meta({ description: 'Where it began.' }),
  user_agent: z.string(),
  has_certificate: z.boolean(),
})

/** A session with what its address, its browser and its app sessions say. */
export const sessionDetail = sessionStatement.extend({
  person: refText,
  is_admin: z.boolean().meta({ description: 'Its person holds the role admin as last seen, or nobody can tell.' }),
  country: z.string().nullable(),
  browser: z.string().nullable(),
  os: z.string().nullable(),
  device: z.string().nullable().meta({ description: 'Name of the certificate that it began with.' }),
  apps: z.array(z.strictObject({ id: z.string(), name: z.string() })).meta({ description: 'Apps of the origins that it was let into.' }),
})

export type SessionDetail = z.output<typeof sessionDetail>

export const revocationStatement = z.strictObject({
  revoked: z.array(z.string()),
  ended_before: z.array(z.string()),
  unknown: z.array(z.string()),
})

/** Ids of sessions, or a subject. */
export const revokeInput = z.strictObject({
  sessions: z.array(z.string().max(64)).max(mostSessionsAnOrder).optional(),
  subject: z.string().max(1_024).optional().meta({ description: 'An e-mail address or a `sub`.' }),
  reason: reasonText.optional(),
})

/** A small company is read in so long; a large one is shown as far as it is read. */
export const firstReadingMs = 30

/** How old what is listed may be. */
export const asOf = {
  total: z.int().meta({ description: 'How many there are in all.' }),
  read_at: instantText.nullable().meta({ description: 'When everything was last read; null while it is read for the first time.' }),
  is_cut: z.boolean().meta({ description: 'There are more than can be looked through.' }),
}

/** An order's answer as an operation's. */
export function outcomeOf<T>(ordered: Ordered<T>): Outcome<T> {
  if (ordered.outcome === 'done') return done(ordered.value)
  const { matches, message, problem } = ordered
  return refused(problem, sentence(message), matches === undefined ? undefined : { matches })
}

/** What orders can be refused with. */
export const orderProblems: readonly OrderProblem[] = ['invalid_order', 'subject_never_seen', 'subject_ambiguous']

/** The refusal of whoever may do this, but not to an admin. */
export function refusedForAdmin(what: string): ReturnType<typeof refused> {
  return refused('target_protected', `${what} Only an admin may do this; ask one.`)
}

/** Whether an asker is held to what the helpdesk may: a person without the role `admin`. */
export function isHeldBack({ roles, subject }: Asker): boolean {
  return subject !== undefined && !roles.includes('admin')
}

/** The same, as orders take it. */
export function rankOf(asker: Asker): Rank {
  return isHeldBack(asker) ? 'helpdesk' : 'admin'
}

function sentence(message: string): string {
  const text = `${message.charAt(0).toUpperCase()}${message.slice(1)}`
  return /[.!?]$/.test(text) ? text : `${text}.`
}
