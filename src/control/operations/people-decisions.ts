/**
 * The latest decisions about a person or a device, as far as whoever asks may see them.
 *
 * Somebody without `audit:read` sees the refusals: what they need to help, and nothing of where people go otherwise.
 */

import { z } from 'zod'
import type { Asker } from '../../administration/asker.ts'
import type { TrailWindow } from '../../administration/trail-window.ts'
import { instantText, toInstant, toInstantOrNull } from './paging.ts'

const mostDecisions = 20
/** So many decisions are looked through for refusals. */
const mostLookedThrough = 200

export const decisionStatement = z.strictObject({
  request: z.string(),
  at: instantText,
  app: z.string().nullable(),
  host: z.string(),
  method: z.string(),
  path: z.string(),
  effect: z.string(),
  reason: z.string(),
  rule: z.string().nullable(),
  address: z.string().nullable(),
})

export const decisionsOutput = z.strictObject({
  entries: z.array(decisionStatement),
  only: z.enum(['all', 'refusals']).meta({ description: 'Without `audit:read` the refusals alone.' }),
  searched_to: instantText.nullable().meta({ description: 'Older ones were not looked for; null: these are all that there are of late.' }),
})

/** The latest decisions about a person or a device, as far as this asker may see them. */
export async function recentDecisions(
  trail: Pick<TrailWindow, 'recentDecisions'>,
  about: Parameters<TrailWindow['recentDecisions']>[0],
  asker: Asker,
): Promise<z.output<typeof decisionsOutput>> {
  const seesAll = asker.permissions.has('audit:read')
  const found = await trail.recentDecisions(about, seesAll ? mostDecisions : mostLookedThrough)
  const entries = found.decisions.filter(({ effect }) => seesAll || effect !== 'allow').slice(0, mostDecisions)
  return {
    entries: entries.map(({ address, app, at, effect, host, method, path, reason, request, rule }) => ({
      ...{ request, at: toInstant(at), app: app ?? null, host, method, path, effect, reason, rule: rule ?? null, address: address ?? null },
    })),
    only: seesAll ? 'all' : 'refusals',
    searched_to: toInstantOrNull(found.searchedTo),
  }
}
