/**
 * The trail: searching it, one decision with its explanation, verifying it.
 *
 * All of it is about other people, so that each is on record (`data.read`) before anything is handed out: whose, or what, was asked for. A trail
 * that cannot be written hands nothing out. What an instance keeps on its disk is asked of every instance; one that does not answer is
 * named in the answer.
 */

import { z } from 'zod'
import { explainRecorded, type PolicyInForce } from '../../administration/decision-explanation.ts'
import type { TrailDesk } from '../../administration/trail-desk.ts'
import type { TrailRuns } from '../../administration/trail-runs.ts'
import type { TrailQuery, TrailWindow } from '../../administration/trail-window.ts'
import type { AdministrativeEvent } from '../../audit/event.ts'
import { defineOperation, done, refused } from './operation.ts'
import { pageInput, pageOf, toInstantOrNull } from './paging.ts'
import {
  decisionOutput,
  describeDecision,
  describeEntry,
  describeVerification,
  silentOutput,
  trailEntry,
  trailQueryFields,
  verificationOutput,
} from './trail-schemas.ts'

/** Writes the event and waits for the disk. Rejects with `audit_unavailable`. */
export type RecordFirst = (event: AdministrativeEvent) => Promise<void>

export interface TrailOperationsPorts {
  readonly window: TrailWindow
  readonly desk: TrailDesk
  readonly runs: Pick<TrailRuns, 'beginVerification' | 'lookVerification'>
  readonly policy: () => PolicyInForce
  /** Of the public URL. */
  readonly scheme: 'https' | 'http'
  readonly recordFirst: RecordFirst
}

const runId = z
  .string()
  .regex(/^[\w-]{16,64}$/)
  .meta({ description: 'As it was given when it was begun.' })

/** The operations on the trail. */
export function createTrailOperations({ desk, policy, recordFirst, runs, scheme, window }: TrailOperationsPorts) {
  const search = defineOperation({
    id: 'audit.search',
    summary: 'Search the trail',
    description:
      'Events, the newest first: of the recent window of all instances, or (`where=files`) of the files of every instance, which takes longer and goes back as far as they do. A page of the window ends after a moment of looking: `searched_to` says how far it got, and `next` goes on. Recorded as `data.read`.',
    method: 'GET',
    path: '/audit/events',
    permission: 'audit:read',
    input: z.strictObject({
      ...trailQueryFields,
      where: z.enum(['recent', 'files']).default('recent').meta({ description: 'The recent window, or the files of every instance.' }),
      ...pageInput,
    }),
    output: pageOf(trailEntry).extend({
      searched_to: z.iso
        .datetime()
        .nullable()
        .meta({ description: 'Everything newer was looked at; null: all of it was, or the page is full.' }),
      silent: z.array(silentOutput).meta({ description: 'Instances whose files could not be searched.' }),
    }),
    problems: [],
    async carryOut({ after, limit, where, ...asked }, { actor }) {
      const query = queryOf(asked)
      await recordFirst({ event: 'data.read', actor, what: 'audit', target: targetOf(query), entries: undefined })
      if (where === 'files') {
        const { entries, next, silent } = await desk.search(query, { limit, after, by: actor })
        return done({ entries: entries.map(describeEntry), next: next ?? null, searched_to: null, silent: [...silent] })
      }
      const { entries, next, searchedTo } = await window.search(query, { limit, after })
      return done({ entries: entries.map(describeEntry), next: next ?? null, searched_to: toInstantOrNull(searchedTo), silent: [] })
    },
  })

  const decision = defineOperation({
    id: 'audit.decision',
    summary: 'Explain one decision',
    description:
      'The decision on one request as it was recorded, how the request ended, and why it was decided so: every rule with every condition, what it was judged on, where that came from and how old it was, by the policy that is in force now. Recorded as `data.read`.',
    method: 'GET',
    path: '/audit/decisions/{request}',
    permission: 'audit:read',
    input: z.strictObject({ request: z.string().min(1).max(128) }),
    output: decisionOutput,
    problems: ['not_found'],
    async carryOut({ request }, { actor }) {
      await recordFirst({ event: 'data.read', actor, what: 'explanation', target: request, entries: undefined })
      const near = (await window.findDecision(request))?.at
      const asked = await desk.findDecision(request, { near, by: actor })
      // A clock may have been set between the writing of a line and that of its segment: then everything is looked through.
      const { found, silent } = asked.found === undefined && near !== undefined ? await desk.findDecision(request, { by: actor }) : asked
      if (found === undefined) {
        const named = silent.map(({ instance, why }) => `${instance} (${why})`).join(', ')
        const but = named === '' ? '' : ` Not asked, or without an answer: ${named}.`
        return refused('not_found', `No trail has a decision about this request.${but}`, { silent: [...silent] })
      }
      return done(describeDecision(found, explainRecorded(found, policy(), scheme), request))
    },
  })

  const startVerification = defineOperation({
    id: 'audit.verification_start',
    summary: 'Begin to verify the trail',
    description:
      'Every instance verifies its own files against the keys and what the store remembers, in the background. The id is asked with for the result, and forgotten after an hour. Recorded as `data.read`.',
    method: 'POST',
    path: '/audit/verification',
    permission: 'audit:read',
    input: z.strictObject({}),
    output: z.strictObject({ id: z.string() }),
    problems: [],
    async carryOut(_input, { actor }) {
      await recordFirst({ event: 'data.read', actor, what: 'verification', target: undefined, entries: undefined })
      return done({ id: await runs.beginVerification(actor) })
    },
  })

  const verification = defineOperation({
    id: 'audit.verification',
    summary: 'How far a verification is, and what it found',
    description:
      'The progress of each instance and, once all of them are done or gone, the verdict on every chain. `complete` only where the store remembers the end of each; an instance that did not answer makes it not verified.',
    method: 'GET',
    path: '/audit/verification',
    permission: 'audit:read',
    input: z.strictObject({ id: runId }),
    output: verificationOutput,
    problems: ['not_found'],
    async carryOut({ id }) {
      const run = await runs.lookVerification(id)
      return run === undefined
        ? refused('not_found', 'This verification is not known any more. Begin another.')
        : done(describeVerification(run))
    },
  })

  return { search, decision, startVerification, verification }
}

export type TrailOperations = ReturnType<typeof createTrailOperations>

type QueryFields = z.output<z.ZodObject<typeof trailQueryFields>>

/** The fields of a query as the search takes them. */
export function queryOf({ app, device, effect, event, reason, request, since, subject, until }: QueryFields): TrailQuery {
  const instantOf = (text: string | undefined) => (text === undefined ? undefined : Date.parse(text))
  return { app, device, effect, events: event, reason, request, subject, since: instantOf(since), until: instantOf(until) }
}

/** Whom or what a query is about, as `data.read` names it; `undefined`: everybody. */
export function targetOf({ app, device, request, subject }: TrailQuery): string | undefined {
  return subject ?? device ?? request ?? app
}
