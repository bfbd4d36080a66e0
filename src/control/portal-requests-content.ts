/**
 * What the page of one's own requests shows: each with what became of it, and the form again where something is wrong with it.
 *
 * Pure. Reasons and notes are people's own words; the template escapes them. Who answered is not said: an answer is the organisation's.
 */

import { type AccessRequest, keepRequestsDays } from '../administration/access-requests.ts'
import type { Notice } from './console/console-page.ts'
import { printSpan } from './words.ts'

/** The form for one app; of one that could not be taken, with what was written. */
export interface AskAgain {
  readonly app: string
  readonly name: string
  readonly value: string
  readonly error: string | undefined
}

export interface MyRequestsView {
  readonly requests: readonly AccessRequest[]
  /** The clock that the requests' instants are of. */
  readonly now: number
  readonly formToken: string
  readonly notice?: Notice | undefined
  readonly again?: AskAgain | undefined
}

/** One request as the template needs it. */
export interface MyRequest {
  readonly id: string
  readonly app: string
  readonly asked: string
  readonly reason: string
  readonly state: string
  readonly tone: 'quiet' | 'good'
  readonly answer: { readonly when: string; readonly note: string } | undefined
  readonly mayWithdraw: boolean
}

/** What the template of `/requests` is given. */
export interface MyRequestsContent {
  readonly requests: readonly MyRequest[]
  readonly notice: Notice | undefined
  readonly again: AskAgain | undefined
  readonly formToken: string
  readonly keptDays: number
}

const stateWords = { open: 'Not looked at yet', seen: 'Being looked at', answered: 'Answered' } as const

/** Everything that the page for `view` shows. */
export function describeMyRequests({ again, formToken, notice, now, requests }: MyRequestsView): MyRequestsContent {
  return {
    requests: requests.map(({ answer, app, askedAt, id, reason, state }) => ({
      id,
      app: app.name,
      asked: agoOf(now - askedAt),
      reason,
      state: stateWords[state],
      tone: state === 'answered' ? 'good' : 'quiet',
      answer: answer === undefined || answer.note === '' ? undefined : { when: agoOf(now - answer.at), note: answer.note },
      mayWithdraw: state !== 'answered',
    })),
    notice,
    again,
    formToken,
    keptDays: keepRequestsDays,
  }
}

function agoOf(ms: number): string {
  return ms < 60_000 ? 'just now' : `${printSpan(ms)} ago`
}
