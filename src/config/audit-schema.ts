/**
 * The section `audit:` of the instance configuration as it is written: how surely the trail is on disk, how long it is kept, what is
 * recorded beyond the usual and what is left out.
 *
 * An app may be stricter or laxer by its own `audit:` in the policy document, for which the two words are shared. Who it was
 * can never be left out altogether: `redact` names parts, and the subject's own identifier is not among them.
 */

import { z } from 'zod'
import type { RedactedField } from '../policy/facts.ts'
import { auditSinksSchema } from './audit-sink-schema.ts'
import { claimPath, duration, listOf, refuse, size } from './plain-values.ts'

/** When a request that is allowed may go on. */
export const durability = z
  .enum(['relaxed', 'group'])
  .optional()
  .meta({ description: '`group`: an allowed request waits until its decision is on the disk; left out: `group` for restricted apps.' })

/** What becomes of a request whose line finds no room. */
export const whenFull = z
  .enum(['deny', 'drop'])
  .optional()
  .meta({ description: 'Where the trail cannot be written: refuse requests, or go on and count; left out: `deny` for restricted apps.' })

/** Ten years: what the longest rules about keeping records ask for. */
const longestAge = { text: '3660d', seconds: 3660 * 86_400 }

/** Less would be pruned away before anybody could read it. */
const leastKept = 64 * 1024 ** 2

const mostEvents = 10_000_000

const redactedFields = ['email', 'address', 'user_agent', 'groups', 'claims', 'country', 'asn'] as const satisfies readonly RedactedField[]

export const auditSchema = z.strictObject(
  {
    durability,
    when_full: whenFull,
    keep: z
      .strictObject({
        age: duration(longestAge).prefault('400d').meta({ description: 'Closed segments older than this are removed.' }),
        size: size({ least: leastKept, most: 2 ** 50 })
          .prefault('20GiB')
          .meta({ description: 'Beyond this size of the whole trail, the oldest segments are removed.' }),
      })
      .prefault({})
      .meta({ description: 'How much of the trail is kept; what is reached first counts.' }),
    query: z.enum(['drop', 'keep']).default('drop').meta({ description: 'Whether query strings are recorded.' }),
    record_claims: listOf(claimPath, 'a list of claim paths')
      .optional()
      .meta({ description: 'Claims recorded besides those that the policy speaks of.', examples: [['department']] }),
    redact: listOf(z.enum(redactedFields, { error: redactedFields.map((field) => `\`${field}\``).join(', ') }), 'a list of fields')
      .optional()
      .meta({ description: 'What is left out of every line. A policy that asks for it cannot be tried on recorded requests.' }),
    window: z
      .number({ error: 'a whole number' })
      .superRefine((value, context) => {
        if (!Number.isInteger(value) || value < 0 || value > mostEvents)
          refuse(context, `this must be a whole number from 0 to ${mostEvents}`)
      })
      .default(100_000)
      .meta({ description: 'How many of the latest events the store holds for the console; `0`: none.' }),
    sinks: auditSinksSchema
      .default([])
      .meta({ description: 'Receivers of the trail. Each gets every line, from its own remembered position.' }),
  },
  { error: 'a map with the settings of the audit trail' },
)

export type WrittenAudit = z.output<typeof auditSchema>
