/**
 * The pages of the access review: beginning one for everything, an app or a person, its rows, and its rows as a table for whoever has to confirm them.
 *
 * The columns of the table are those of `postern access review --format csv`, and so is the care that no cell becomes a formula.
 */

import { formatCsvCell } from '../../audit/trail-csv.ts'
import type { AccessReviewOperations, ReviewRow } from '../operations/access-review.ts'
import { type CarryOut, mostEntries } from '../operations/operation.ts'
import type { ConsoleAnswer, ConsoleRequest, ConsoleRoutes } from './console-page.ts'
import { describeReviewPage, reviewHref, reviewMarks } from './review-content.ts'

export interface ReviewPagesPorts {
  readonly operations: AccessReviewOperations
  readonly carryOut: CarryOut
  /** Ids of the apps, for the form. */
  readonly listApps: () => readonly string[]
}

const reviewPath = '/console/review'
/** Suggestions of a field; more are typed. */
const mostSuggested = 500

/** Adds the pages. */
export function mountReviewPages(routes: ConsoleRoutes, { carryOut, listApps, operations }: ReviewPagesPorts): void {
  function page(
    request: ConsoleRequest,
    run: Parameters<typeof describeReviewPage>[0],
    more: object,
    status: 200 | 400 = 200,
  ): ConsoleAnswer {
    const mark = readMark(request.query)
    const after = request.query.get('after') ?? undefined
    const form = { app: request.query.get('app') ?? '', person: request.query.get('person') ?? '', since: '' }
    const about = describeReviewPage(run, { now: request.now, isForgotten: false, mark, after })
    const content = { ...about, apps: listApps().slice(0, mostSuggested), form, problems: {}, ...more }
    return { kind: 'page', template: 'review', title: 'Access review', section: 'review', status, scripts: ['trail.js'], content }
  }

  routes.get(reviewPath, 'audit:read', async (request) => {
    const id = request.query.get('run')
    if (id === null) return page(request, undefined, {})
    const asked = { id, mark: readMark(request.query), after: request.query.get('after') ?? undefined }
    const found = await carryOut(operations.get, asked, request.asker)
    if (found.outcome === 'done') return page(request, found.value, {})
    if (found.problem !== 'not_found' && found.problem !== 'malformed') return { kind: 'refused', refusal: found }
    return page(request, undefined, { isForgotten: true })
  })

  routes.post(reviewPath, 'audit:read', async (request, form) => {
    const fields = { app: form.get('app')?.trim() ?? '', person: form.get('person')?.trim() ?? '', since: form.get('since')?.trim() ?? '' }
    const input = {
      ...(fields.app === '' ? {} : { app: fields.app }),
      ...(fields.person === '' ? {} : { person: fields.person }),
      ...(fields.since === '' ? {} : { since: /^\d{4}-\d{2}-\d{2}$/.test(fields.since) ? `${fields.since}T00:00:00Z` : fields.since }),
    }
    const begun = await carryOut(operations.start, input, request.asker)
    if (begun.outcome === 'done') return { kind: 'redirect', to: reviewHref(begun.value.id) }
    if (begun.problem !== 'malformed') return { kind: 'refused', refusal: begun }
    return page(request, undefined, { form: fields, problems: begun.detail?.['fields'] ?? {} }, 400)
  })

  routes.get('/console/review/export', 'audit:read', async (request) => {
    const id = request.query.get('run') ?? ''
    const mark = readMark(request.query)
    const first = await carryOut(operations.get, { id, mark, limit: mostEntries }, request.asker)
    if (first.outcome === 'refused') return first.problem === 'malformed' ? { kind: 'not_found' } : { kind: 'refused', refusal: first }
    if (first.value.state !== 'done')
      return { kind: 'redirect', to: reviewHref(id), notice: { tone: 'info', text: 'The review is not done yet.' } }
    const day = new Date(request.now).toISOString().slice(0, 10)
    return {
      kind: 'download',
      type: 'text/csv; charset=utf-8',
      filename: `access-review-${day}.csv`,
      body: writeRows(first.value, request),
    }

    async function* writeRows(
      { entries, next }: { readonly entries: readonly ReviewRow[]; readonly next: string | null },
      { asker }: ConsoleRequest,
    ): AsyncGenerator<string> {
      yield `${columns.join(',')}\r\n`
      yield entries.map(formatRow).join('')
      for (let after = next; after !== null; ) {
        const found = await carryOut(operations.get, { id, mark, limit: mostEntries, after }, asker)
        if (found.outcome === 'refused') throw new Error(`an access review ended before its end: ${found.problem}`)
        yield found.value.entries.map(formatRow).join('')
        after = found.value.next
      }
    }
  })
}

const columns = ['app', 'subject', 'kind', 'sub', 'issuer', 'rule', 'today', 'uses', 'first_used', 'last_used', 'mark'] as const

function formatRow(row: ReviewRow): string {
  const cells = columns.map((name) => formatCsvCell(name === 'rule' && row.rule === '' ? '(report mode)' : row[name]))
  return `${cells.join(',')}\r\n`
}

function readMark(query: URLSearchParams) {
  return reviewMarks.find((mark) => mark === query.get('mark'))
}
