/**
 * Pages of lists, the same in every operation: `limit` and `after` in, `entries` and `next` out.
 *
 * A cursor is opaque text that comes back by browsers and programs: whoever reads one treats it as a stranger's word.
 */

import { z } from 'zod'
import { mostEntries } from './operation.ts'

/** Fields of the input of every list. */
export const pageInput = {
  limit: z.coerce.number().int().min(1).max(mostEntries).default(50).meta({ description: 'How many entries at most.' }),
  after: z.string().max(2_048).optional().meta({ description: '`next` of the page before.' }),
}

/** Output of every list. */
export function pageOf<T extends z.ZodType>(entry: T) {
  return z.strictObject({
    entries: z.array(entry),
    next: z.string().nullable().meta({ description: 'What to ask the next page with as `after`; null at the end.' }),
  })
}

/** An instant as JSON. */
export const instantText = z.iso.datetime({ offset: true }).meta({ description: 'RFC 3339, in UTC.' })

/** Epoch milliseconds as JSON has them. */
export function toInstant(at: number): string {
  return new Date(at).toISOString()
}

export function toInstantOrNull(at: number | undefined): string | null {
  return at === undefined ? null : toInstant(at)
}
