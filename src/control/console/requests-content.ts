/**
 * What the page of requests shows: who asks for what and why, what kept them out, and the form that answers.
 *
 * Pure. Names and reasons are other people's text; addresses are made here of checked parts.
 */

import { reasons } from '../../policy/decision.ts'
import type { RequestStatement } from '../operations/requests.ts'
import { instantView } from './instants.ts'

/** A form that could not be taken, to be shown again. */
export interface AnswerAgain {
  readonly id: string
  readonly note: string
  readonly error: string
}

export interface RequestsFacts {
  readonly entries: readonly RequestStatement[]
  readonly next: string | null
  readonly waiting: number
  readonly isWhole: boolean
  readonly show: 'waiting' | 'all'
  readonly isFirst: boolean
  readonly now: number
  readonly may: { readonly answer: boolean; readonly person: boolean; readonly app: boolean }
  readonly again?: AnswerAgain | undefined
}

const stateWords = {
  open: { text: 'New', tone: 'warn' },
  seen: { text: 'Seen', tone: 'info' },
  answered: { text: 'Answered', tone: 'good' },
} as const

/** What the template is given. */
export function describeRequests({ again, entries, isFirst, isWhole, may, next, now, show, waiting }: RequestsFacts) {
  const query = show === 'all' ? '?show=all' : ''
  return {
    waiting,
    isWhole,
    tabs: [
      { label: 'Waiting', href: '/console/requests', isCurrent: show === 'waiting' },
      { label: 'All of 90 days', href: '/console/requests?show=all', isCurrent: show === 'all' },
    ],
    mayAnswer: may.answer,
    rows: entries.map((one) => ({
      id: one.id,
      person: one.label,
      personHref: may.person ? `/console/people/${encodeURIComponent(one.person)}` : undefined,
      app: one.app.name,
      appId: one.app.id,
      appHref: may.app ? `/console/apps/${encodeURIComponent(one.app.id)}` : undefined,
      reason: one.reason,
      asked: instantView(Date.parse(one.asked_at), now),
      state: stateWords[one.state],
      isAnswered: one.state === 'answered',
      why: Object.hasOwn(reasons, one.lack.reason) ? reasons[one.lack.reason as keyof typeof reasons] : one.lack.reason,
      rule: one.lack.rule ?? undefined,
      lacks: one.lack.unmet.map(({ means, outcome }) => `${means}${outcome === 'unknown' ? ' (It is not known.)' : ''}`),
      answer:
        one.answer === null
          ? undefined
          : { when: instantView(Date.parse(one.answer.at), now), label: one.answer.label, note: one.answer.note },
      form: again?.id === one.id ? { note: again.note, error: again.error } : { note: one.answer?.note ?? '', error: undefined },
    })),
    show,
    next: next === null ? undefined : `/console/requests?${new URLSearchParams({ ...(show === 'all' ? { show } : {}), after: next })}`,
    first: isFirst ? undefined : `/console/requests${query}`,
  }
}
