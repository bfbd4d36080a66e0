/**
 * An access review: who may open what, through which rule, and when it was last used, over the trails of all instances.
 *
 * It is begun, takes a while, and is then read page by page. Rows are about other people: handing them out is on record (`data.read`) first.
 */

import { z } from 'zod'
import { type AccessEntry, markWords, todayWords, unusedDays } from '../../administration/access-review.ts'
import { parseRef, refOf } from '../../administration/person-ref.ts'
import { marks, rowsOf } from '../../administration/trail-review.ts'
import type { TrailRuns } from '../../administration/trail-runs.ts'
import { defineOperation, done, mostEntries, refused } from './operation.ts'
import { instantText, toInstant, toInstantOrNull } from './paging.ts'
import type { RecordFirst } from './trail.ts'
import { runPartOutput, silentOutput } from './trail-schemas.ts'

export interface AccessReviewPorts {
  readonly runs: Pick<TrailRuns, 'beginReview' | 'lookReview'>
  readonly hasApp: (id: string) => boolean
  readonly recordFirst: RecordFirst
}

const mark = z.enum(marks as [(typeof marks)[number], ...(typeof marks)[number][]])

const reviewRow = z.strictObject({
  app: z.string(),
  subject: z.string().meta({ description: 'E-mail address, `sub` or name of a service; `(nobody)` for strangers.' }),
  kind: z.string(),
  sub: z.string().nullable(),
  issuer: z.string().nullable(),
  person: z.string().nullable().meta({ description: 'The person’s reference in this API.' }),
  rule: z.string().meta({ description: 'Empty: the report mode of the app.' }),
  today: z.enum(Object.keys(todayWords) as [keyof typeof todayWords, ...(keyof typeof todayWords)[]]),
  uses: z.int(),
  first_used: instantText.nullable(),
  last_used: instantText.nullable(),
  mark,
})

export type ReviewRow = z.output<typeof reviewRow>

/** The operations of access reviews. */
export function createAccessReviewOperations({ hasApp, recordFirst, runs }: AccessReviewPorts) {
  const start = defineOperation({
    id: 'access_review.start',
    summary: 'Begin an access review',
    description:
      'Gathers from the trails of all instances what was used, in the background, and holds it against the policy in force. The id is asked with for the rows, and forgotten after an hour. Recorded as `data.read`.',
    method: 'POST',
    path: '/access-review',
    permission: 'audit:read',
    input: z.strictObject({
      app: z.string().trim().min(1).max(128).optional().meta({ description: 'One app.' }),
      person: z.string().trim().min(1).max(2_048).optional().meta({ description: 'One person, by their reference.' }),
      since: z.iso.datetime({ offset: true }).optional().meta({ description: 'Use not before; all that is recorded, if left out.' }),
    }),
    output: z.strictObject({ id: z.string() }),
    problems: ['malformed'],
    async carryOut({ app, person, since }, { actor }) {
      const subject = person === undefined ? undefined : parseRef(person)
      if (person !== undefined && subject === undefined) return malformed('person', 'This names nobody.')
      if (app !== undefined && !hasApp(app)) return malformed('app', 'The policy has no app of this id.')
      await recordFirst({ event: 'data.read', actor, what: 'access_review', target: subject?.sub ?? app, entries: undefined })
      return done({ id: await runs.beginReview({ app, subject, since: since === undefined ? undefined : Date.parse(since) }, actor) })
    },
  })

  const get = defineOperation({
    id: 'access_review.get',
    summary: 'How far an access review is, and its rows',
    description: `Rows by app, subject and rule. \`mark\` says what stands out: ${marks.map((one) => `\`${one}\` (${markWords[one]})`).join(', ')}. Handing out rows is recorded as \`data.read\`.`,
    method: 'GET',
    path: '/access-review',
    permission: 'audit:read',
    input: z.strictObject({
      id: z.string().regex(/^[\w-]{16,64}$/),
      mark: mark.optional().meta({ description: 'Only rows with this mark.' }),
      limit: z.coerce.number().int().min(1).max(mostEntries).default(50),
      after: z
        .string()
        .regex(/^\d{1,7}$/)
        .optional()
        .meta({ description: '`next` of the page before.' }),
    }),
    output: z.strictObject({
      id: z.string(),
      begun_at: instantText,
      app: z.string().nullable(),
      person: z.string().nullable(),
      since: instantText.nullable(),
      state: z.enum(['running', 'done', 'failed']),
      instances: z.array(runPartOutput),
      silent: z.array(silentOutput).meta({ description: 'Instances whose trails are not in it.' }),
      total: z.int(),
      known_from: instantText.nullable().meta({ description: 'Before this nothing is known of use.' }),
      unused_days: z.int(),
      unlisted: z.int().meta({ description: 'Rows that found no room: review one app at a time.' }),
      entries: z.array(reviewRow),
      next: z.string().nullable(),
    }),
    problems: ['not_found'],
    async carryOut({ after, id, limit, mark: wanted }, { actor }) {
      const run = await runs.lookReview(id)
      if (run === undefined) return refused('not_found', 'This review is not known any more. Begin another.')
      const { asked, begunAt, isFailed, parts, reviewed, silent } = run
      const { app, since, subject } = asked
      const head = {
        ...{ id, begun_at: toInstant(begunAt), app: app ?? null, person: subject === undefined ? null : refOf(subject) },
        ...{ since: toInstantOrNull(since), instances: parts.map((part) => ({ ...part })), silent: [...silent], unused_days: unusedDays },
      }
      if (reviewed === undefined) {
        const state = isFailed ? ('failed' as const) : ('running' as const)
        return done({ ...head, state, total: 0, known_from: null, unlisted: 0, entries: [], next: null })
      }
      const { entries, next } = rowsOf(reviewed, { from: after === undefined ? 0 : Number(after), limit, mark: wanted })
      await recordFirst({ event: 'data.read', actor, what: 'access_review', target: subject?.sub ?? app, entries: entries.length })
      const rows = { entries: entries.map(describeRow), next: next === undefined ? null : String(next) }
      const { ends, knownFrom, unlisted } = reviewed
      return done({ ...head, state: 'done' as const, total: ends.length, known_from: toInstantOrNull(knownFrom), unlisted, ...rows })
    },
  })

  return { start, get }
}

export type AccessReviewOperations = ReturnType<typeof createAccessReviewOperations>

function describeRow({ app, firstAt, lastAt, mark: own, rule, subject, today, uses }: AccessEntry): ReviewRow {
  const { email, issuer, kind, sub } = subject
  const person = kind === 'person' && issuer !== undefined && sub !== undefined ? refOf({ issuer, sub }) : null
  return {
    ...{ app, subject: email ?? sub ?? '(nobody)', kind, sub: sub ?? null, issuer: issuer ?? null, person, rule, today, uses },
    ...{ first_used: toInstantOrNull(firstAt), last_used: toInstantOrNull(lastAt), mark: own },
  }
}

function malformed(field: string, sentence: string) {
  return refused('malformed', `${field}: ${sentence}`, { fields: { [field]: sentence } })
}
