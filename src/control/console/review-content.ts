/**
 * What the page of an access review shows: rows with what stands out marked, and how far it is until there are any.
 *
 * Pure. Where use is known for less than the period that "unused" is about, the page says so: nobody is marked on the strength of days that no
 * trail has.
 */

import { type Mark, markWords, todayWords } from '../../administration/access-review.ts'
import type { AccessReviewOperations, ReviewRow } from '../operations/access-review.ts'
import { type InstantView, instantView } from './instants.ts'
import type { Badge, NamedLink } from './trail-content.ts'
import { describePart, type PartView } from './verify-content.ts'

type ReviewOutput = Extract<Awaited<ReturnType<AccessReviewOperations['get']['carryOut']>>, { outcome: 'done' }>['value']

export interface ReviewRowView {
  readonly who: NamedLink
  readonly app: NamedLink
  readonly rule: string
  readonly today: string
  readonly first: InstantView | undefined
  readonly last: InstantView | undefined
  readonly uses: number
  readonly badge: Badge
  readonly words: string
}

export interface ReviewPage {
  readonly run:
    | {
        readonly state: 'running' | 'done' | 'failed'
        readonly begun: InstantView | undefined
        readonly about: string
        readonly reload: string
        readonly parts: readonly PartView[]
        readonly silent: readonly { readonly instance: string; readonly why: string }[]
        readonly total: number
        readonly unlisted: number
        /** How far use is known, in a sentence. */
        readonly known: string
        readonly rows: readonly ReviewRowView[]
        readonly tabs: readonly { readonly label: string; readonly href: string; readonly isCurrent: boolean }[]
        readonly next: string | undefined
        readonly first: string | undefined
        readonly csv: string
      }
    | undefined
  readonly isForgotten: boolean
}

const badges: Readonly<Record<Mark, Badge>> = {
  used: { tone: 'good', word: 'used' },
  unused: { tone: 'warn', word: 'unused' },
  withdrawn: { tone: 'quiet', word: 'withdrawn' },
  former: { tone: 'quiet', word: 'former' },
}

/** In the order of what one looks for. */
export const reviewMarks: readonly Mark[] = ['unused', 'used', 'withdrawn', 'former']

/** Where a review stands, with the rows of one mark or of all. */
export function reviewHref(id: string, more: Readonly<Record<string, string>> = {}, path = '/console/review'): string {
  return `${path}?${new URLSearchParams({ run: id, ...more }).toString()}`
}

/** The page of a review; `undefined`: none yet. */
export function describeReviewPage(
  found: ReviewOutput | undefined,
  {
    after,
    isForgotten,
    mark,
    now,
  }: { readonly now: number; readonly isForgotten: boolean; readonly mark?: string | undefined; readonly after?: string | undefined },
): ReviewPage {
  if (found === undefined) return { run: undefined, isForgotten }
  const { app, entries, id, instances, known_from, next, person, since, silent, state, total, unlisted, unused_days } = found
  const chosen = mark === undefined ? {} : { mark }
  return {
    isForgotten,
    run: {
      ...{ state, total, unlisted, silent },
      begun: instantView(Date.parse(found.begun_at), now),
      about: `${app === null ? 'every app' : `the app ${app}`}${person === null ? '' : ', one person'}${since === null ? '' : `, use since ${since.slice(0, 10)}`}`,
      reload: reviewHref(id),
      parts: instances.map(describePart),
      known: knownWords(known_from, { now, days: unused_days }),
      rows: entries.map((row) => describeRow(row, now)),
      tabs: [undefined, ...reviewMarks].map((one) => ({
        label: one === undefined ? 'All' : `${one.charAt(0).toUpperCase()}${one.slice(1)}`,
        href: reviewHref(id, one === undefined ? {} : { mark: one }),
        isCurrent: one === mark,
      })),
      next: next === null ? undefined : reviewHref(id, { ...chosen, after: next }),
      first: after === undefined ? undefined : reviewHref(id, chosen),
      csv: reviewHref(id, chosen, '/console/review/export'),
    },
  }
}

function knownWords(knownFrom: string | null, { days, now }: { readonly now: number; readonly days: number }): string {
  if (knownFrom === null) return 'No trail has a request yet, so nothing is known of use.'
  const isShort = now - Date.parse(knownFrom) < days * 86_400_000
  const short = isShort ? ` That is less than ${days} days: “unused” means since then.` : ''
  return `Use is known from ${knownFrom.slice(0, 10)} on.${short}`
}

function describeRow({ app, first_used, last_used, mark, person, rule, subject, today, uses }: ReviewRow, now: number): ReviewRowView {
  return {
    who: { text: subject, href: person === null ? undefined : `/console/people/${encodeURIComponent(person)}` },
    app: { text: app, href: `/console/apps/${encodeURIComponent(app)}` },
    rule: rule === '' ? '(report mode)' : rule,
    today: todayWords[today],
    first: first_used === null ? undefined : instantView(Date.parse(first_used), now),
    last: last_used === null ? undefined : instantView(Date.parse(last_used), now),
    uses,
    badge: badges[mark],
    words: markWords[mark],
  }
}
