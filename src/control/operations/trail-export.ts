/**
 * Exporting the trail, a stretch at a time: lines of all instances, the oldest first, in a format that other programs read.
 *
 * Nothing is left out silently: an instance that does not answer refuses the stretch, unless it was asked for without it, and then is named. Each
 * stretch is bounded and says where the next begins; each is on record (`data.read`).
 */

import { z } from 'zod'
import type { TrailDesk } from '../../administration/trail-desk.ts'
import { formatTrailLine, trailFormatHead, trailFormats } from '../../administration/trail-format.ts'
import { defineOperation, done, refused } from './operation.ts'
import { instantText, toInstant } from './paging.ts'
import { queryOf, type RecordFirst, targetOf } from './trail.ts'
import { silentOutput, trailQueryFields } from './trail-schemas.ts'

/** A year and a day: what auditors ask for. More is for the command, on the machine. */
export const longestExportDays = 366
const dayMs = 86_400_000

/** The operation. */
export function createTrailExport({ desk, recordFirst }: { readonly desk: TrailDesk; readonly recordFirst: RecordFirst }) {
  return defineOperation({
    id: 'audit.export',
    summary: 'Export the trail',
    description:
      'Events of all instances in a period, the oldest first, as stored lines, OCSF events or CSV, a stretch at a time: ask again with `next` as `after` until it is null, and put the contents behind one another. Refused (`conflict`) while an instance does not answer, unless `partial` is true: then `silent` names it. Recorded as `data.read`.',
    method: 'GET',
    path: '/audit/export',
    permission: 'audit:read',
    input: z.strictObject({
      ...trailQueryFields,
      since: z.iso.datetime({ offset: true }).meta({ description: 'Not before.' }),
      until: z.iso.datetime({ offset: true }).meta({ description: 'Before.' }),
      format: z.enum(trailFormats),
      partial: z.stringbool().default(false).meta({ description: 'Also without instances that do not answer.' }),
      after: z.iso.datetime({ offset: true }).optional().meta({ description: '`next` of the stretch before.' }),
    }),
    output: z.strictObject({
      format: z.enum(trailFormats),
      events: z.int(),
      content: z.string().meta({ description: 'Whole lines in the format; of CSV, the names of the columns in the first stretch.' }),
      next: instantText.nullable(),
      silent: z.array(silentOutput),
    }),
    problems: ['malformed', 'conflict'],
    async carryOut({ after, format, partial, ...asked }, { actor }) {
      const { since, until, ...query } = queryOf(asked)
      const from = Math.max(since ?? 0, after === undefined ? 0 : Date.parse(after))
      const to = until ?? from
      if (to <= from) return malformed('until', 'It must be after the beginning.')
      if (to - from > longestExportDays * dayMs)
        return malformed('since', `At most ${longestExportDays} days at once; use the command on the machine for more.`)
      await recordFirst({ event: 'data.read', actor, what: 'audit', target: targetOf(query), entries: undefined })
      const { lines, silent, through } = await desk.exportStretch(query, { since: from, until: to, by: actor })
      if (silent.length > 0 && !partial) {
        const named = silent.map(({ instance, why }) => `${instance} (${why})`).join(', ')
        return refused('conflict', `The export would not be whole: no answer from ${named}.`, { silent: [...silent] })
      }
      const written = lines.flatMap((line) => formatTrailLine(format, line) ?? [])
      const content = `${after === undefined ? trailFormatHead(format) : ''}${written.join('')}`
      return done({ format, events: written.length, content, next: through >= to ? null : toInstant(through), silent: [...silent] })
    },
  })
}

function malformed(field: string, sentence: string) {
  return refused('malformed', `${field}: ${sentence}`, { fields: { [field]: sentence } })
}
