/**
 * What employees asked for: reading it, noting it as seen, answering it. An answer is words; nothing is granted by it.
 *
 * Whoever reads the list reads about other people, so it is on record first. Reasons are what people wrote: text, and nothing else.
 */

import { z } from 'zod'
import { type AccessRequest, type AccessRequests, longestRequestText, parseRequestText } from '../../administration/access-requests.ts'
import { refOf } from '../../administration/person-ref.ts'
import { remedyWords } from '../../policy/decision.ts'
import { defineOperation, done, refused } from './operation.ts'
import { instantText, pageInput, pageOf, toInstant } from './paging.ts'
import { type RecordFirst, refText } from './people-schemas.ts'

export interface RequestsOperationsPorts {
  readonly requests: Pick<AccessRequests, 'list' | 'answer'>
  readonly recordFirst: RecordFirst
}

const stateText = z.enum(['open', 'seen', 'answered']).meta({ description: '`open` and `seen` are still to be answered.' })
const idText = z.string().regex(/^[A-Za-z0-9_-]{22}$/)

export const requestStatement = z.strictObject({
  id: z.string(),
  person: refText,
  label: z.string().meta({ description: 'What the person was called when they asked.' }),
  app: z.strictObject({ id: z.string(), name: z.string() }).meta({ description: 'As it was when they asked.' }),
  reason: z.string().meta({ description: 'In the person’s words.' }),
  asked_at: instantText,
  lack: z
    .strictObject({
      reason: z.string(),
      rule: z.string().nullable(),
      unmet: z.array(z.strictObject({ condition: z.string(), outcome: z.enum(['false', 'unknown']), means: z.string() })),
    })
    .meta({ description: 'What kept the person out when they asked, by the policy that was in force then.' }),
  state: stateText,
  answer: z
    .strictObject({ at: instantText, by: z.string(), label: z.string(), note: z.string() })
    .nullable()
    .meta({ description: 'What the person is told. `note` is empty where it was only noted as seen.' }),
})

export type RequestStatement = z.output<typeof requestStatement>

/** The operations on requests for access. */
export function createRequestsOperations({ recordFirst, requests }: RequestsOperationsPorts) {
  return {
    list: defineOperation({
      id: 'requests.list',
      summary: 'What people asked for',
      description: 'Requests for access, the newest first; each is gone 90 days after it was made. Recorded as `data.read`.',
      method: 'GET',
      path: '/requests',
      permission: 'requests:read',
      input: z.strictObject({
        ...pageInput,
        show: z.enum(['waiting', 'all']).default('waiting').meta({ description: '`waiting`: those that are not answered yet.' }),
      }),
      output: pageOf(requestStatement).extend({
        waiting: z.int().meta({ description: 'How many are not answered yet.' }),
        is_whole: z.boolean().meta({ description: 'False where a record did not open; the log says which.' }),
      }),
      problems: [],
      async carryOut({ after, limit, show }, asker) {
        const { isWhole, requests: all } = await requests.list()
        const wanted = show === 'all' ? all : all.filter(({ state }) => state !== 'answered')
        const position = after === undefined ? undefined : parsePosition(after)
        if (after !== undefined && position === undefined) return refused('malformed', 'This is no `next` of a page of this list.')
        const left = position === undefined ? wanted : wanted.filter((one) => isBehind(one, position))
        const page = left.slice(0, limit)
        const last = page.at(-1)
        await recordFirst({ event: 'data.read', actor: asker.actor, what: 'access_requests', target: undefined, entries: page.length })
        return done({
          entries: page.map(stateRequest),
          next: last === undefined || left.length === page.length ? null : `${last.askedAt}.${last.id}`,
          waiting: all.filter(({ state }) => state !== 'answered').length,
          is_whole: isWhole,
        })
      },
    }),

    answer: defineOperation({
      id: 'requests.answer',
      summary: 'Answer a request for access',
      description:
        'Notes it as seen, or answers it with a note that the person reads. Grants nothing: who may open what is said by the policy. Recorded as `access.request_answered`.',
      method: 'POST',
      path: '/requests/{id}/answer',
      permission: 'requests:write',
      input: z.strictObject({
        id: idText,
        state: z.enum(['seen', 'answered']),
        note: z
          .string()
          .max(4_000)
          .default('')
          .meta({ description: `For the person; at most ${longestRequestText} characters. An answer needs one.` }),
      }),
      output: requestStatement,
      problems: ['not_found', 'invalid_order'],
      async carryOut({ id, note: written, state }, { actor, label }) {
        const note = written.trim() === '' ? '' : parseRequestText(written)
        if (note === undefined) return refused('invalid_order', `A note has at most ${longestRequestText} characters.`, { field: 'note' })
        if (note === '' && state === 'answered')
          return refused('invalid_order', 'Say what you answer: the person reads it.', { field: 'note' })
        const answered = await requests.answer(id, { state, note }, { actor, label })
        return answered === undefined ? refused('not_found', 'There is no such request any more.') : done(stateRequest(answered))
      },
    }),
  }
}

export type RequestsOperations = ReturnType<typeof createRequestsOperations>

function stateRequest({ answer, app, askedAt, id, label, lack, person, reason, state }: AccessRequest): RequestStatement {
  const { reason: why, rule, unmet } = lack
  return {
    ...{ id, label, app, reason, state },
    person: refOf(person),
    asked_at: toInstant(askedAt),
    lack: {
      reason: why,
      rule: rule ?? null,
      unmet: unmet.map(({ condition, outcome, remedy }) => ({
        ...{ condition, outcome },
        // Written by another version, it may be a word that this one does not have.
        means: Object.hasOwn(remedyWords, remedy) ? remedyWords[remedy] : remedy,
      })),
    },
    answer: answer === undefined ? null : { at: toInstant(answer.at), by: answer.by, label: answer.label, note: answer.note },
  }
}

interface Position {
  readonly askedAt: number
  readonly id: string
}

function parsePosition(text: string): Position | undefined {
  const [, askedAt, id] = /^(\d{1,15})\.([A-Za-z0-9_-]{22})$/.exec(text) ?? []
  return askedAt === undefined || id === undefined ? undefined : { askedAt: Number(askedAt), id }
}

/** The newest first; of one instant, by id. */
function isBehind(one: Position, position: Position): boolean {
  return one.askedAt < position.askedAt || (one.askedAt === position.askedAt && one.id > position.id)
}
