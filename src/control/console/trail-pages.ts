/**
 * The pages of the trail: the search with its live following, one decision explained, verifying, exporting.
 *
 * Each carries out the operation of the same name, so that what a page may and records is what the API may and records. Filters and tab stand in the
 * address: a search can be kept and sent to a colleague. Following goes on for as long as the page is open and its reader may read.
 */

import type { TrailFormat } from '../../administration/trail-format.ts'
import { trailFormatFiles, trailFormats } from '../../administration/trail-format.ts'
import type { TrailWindow } from '../../administration/trail-window.ts'
import type { CarryOut, Outcome } from '../operations/operation.ts'
import type { RecordFirst, TrailOperations } from '../operations/trail.ts'
import { targetOf } from '../operations/trail.ts'
import type { createTrailExport } from '../operations/trail-export.ts'
import { reasonWords } from '../operations/trail-schemas.ts'
import type { ConsoleAnswer, ConsoleRequest, ConsoleRoutes } from './console-page.ts'
import { describeDecisionPage } from './decision-content.ts'
import { describeTrailRow, fieldTime, filtersHref, guessFilter, readFilters, type TrailFilters, type TrailRow } from './trail-content.ts'
import { eventsOf, kindOf, trailKinds } from './trail-kinds.ts'
import { describeVerificationPage } from './verify-content.ts'

export interface TrailPagesPorts {
  readonly operations: TrailOperations
  readonly exportTrail: ReturnType<typeof createTrailExport>
  readonly carryOut: CarryOut
  /** For following. */
  readonly window: Pick<TrailWindow, 'follow' | 'isKept'>
  readonly recordFirst: RecordFirst
}

const pageLength = 50
/** Filters that are no rarer than a search. */
const alwaysShown: ReadonlySet<string> = new Set(['subject', 'app', 'effect'])
const trailPath = '/console/trail'
const verifyPath = '/console/trail/verify'
const exportPath = '/console/trail/export'
const dayMs = 86_400_000

/** Adds the pages. */
export function mountTrailPages(routes: ConsoleRoutes, ports: TrailPagesPorts): void {
  const { carryOut, exportTrail, operations, recordFirst, window } = ports

  routes.get(trailPath, 'audit:read', async (request) => {
    const q = request.query.get('q')
    if (q !== null) {
      const guessed = guessFilter(q)
      // Of a name it is not known what it is the name of: a person, a token, whoever changed something.
      return { kind: 'redirect', to: filtersHref(trailPath, guessed, guessed.subject === undefined ? {} : { show: 'everything' }) }
    }
    const filters = readFilters(request.query)
    const show = request.query.get('show')
    const kind = kindOf(filters, show)
    /** Only what was asked for is carried on: another filter may show something else by itself. */
    const shown = kind === undefined || kind !== show ? {} : { show }
    const after = request.query.get('after') ?? undefined
    const found = await carryOut(
      operations.search,
      { ...filters, ...eventsOf(kind), limit: pageLength, ...(after === undefined ? {} : { after }) },
      request.asker,
    )
    if (found.outcome === 'refused' && found.problem !== 'malformed') return { kind: 'refused', refusal: found }
    const problems = fieldsOf(found)
    const page = found.outcome === 'done' ? found.value : { entries: [], next: null, searched_to: null, silent: [] }
    const isFirst = after === undefined
    const mayFollow = isFirst && found.outcome === 'done' && filters.where !== 'files' && filters.until === undefined && window.isKept
    return {
      kind: 'page',
      template: 'trail',
      title: 'Trail',
      section: 'trail',
      status: found.outcome === 'done' ? 200 : 400,
      scripts: ['trail.js'],
      content: {
        filters: { ...filters, since: fieldTime(filters.since), until: fieldTime(filters.until) },
        problems,
        isFiltered: Object.keys(filters).some((name) => name !== 'where'),
        hasMore: Object.entries(filters).some(([name, value]) => !alwaysShown.has(name) && value !== 'recent'),
        isFiles: filters.where === 'files',
        isKept: window.isKept,
        rows: page.entries.map((entry) => describeTrailRow(entry, request.now, reasonWords)),
        silent: page.silent,
        searchedTo: page.searched_to === null ? undefined : clockOf(page.searched_to),
        kind,
        shown: shown.show,
        tabs: trailKinds.map(({ kind: one, label }) => ({
          label,
          isCurrent: one === kind,
          href: filtersHref(trailPath, withoutEvent(filters), { show: one }),
        })),
        next: page.next === null ? undefined : filtersHref(trailPath, filters, { ...shown, after: page.next }),
        first: isFirst ? undefined : filtersHref(trailPath, filters, shown),
        reload: filtersHref(trailPath, filters, shown),
        follow: mayFollow ? filtersHref('/console/trail/follow', filters, shown) : undefined,
        inFiles: filtersHref(trailPath, { ...filters, where: 'files' }, shown),
        inEverything: filtersHref(trailPath, filters, { show: 'everything' }),
        exportHref: filtersHref(exportPath, withoutPlace(filters)),
      },
    }
  })

  routes.get('/console/trail/follow', 'audit:read', async (request) => {
    const filters = readFilters(request.query)
    // Checked as a search is, and found out before the stream begins.
    const kind = kindOf(filters, request.query.get('show'))
    const asked = operations.search.input.safeParse({ ...filters, ...eventsOf(kind), limit: 1 })
    if (!asked.success) return { kind: 'not_found' }
    const { app, device, effect, event, reason, request: id, subject } = asked.data
    const query = { app, device, effect, events: event, reason, request: id, subject }
    await recordFirst({ event: 'data.read', actor: request.asker.actor, what: 'audit', target: targetOf(query), entries: undefined })
    return { kind: 'events', events: (signal) => followRows(window, query, signal) }
  })

  routes.get('/console/trail/decisions/:request', 'audit:read', async (request) => {
    const found = await carryOut(operations.decision, { request: request.params['request'] }, request.asker)
    if (found.outcome === 'refused') {
      if (found.problem !== 'not_found') return { kind: 'refused', refusal: found }
      const content = { request: request.params['request'] ?? '', message: found.message }
      return { kind: 'page', template: 'decision-missing', title: 'No such decision', section: 'trail', status: 404, content }
    }
    const content = describeDecisionPage(found.value, { now: request.now, mayTry: request.may('policy:read') })
    return { kind: 'page', template: 'decision', title: 'A decision', section: 'trail', content }
  })

  routes.get(verifyPath, 'audit:read', async (request) => {
    const id = request.query.get('run')
    const found = id === null ? undefined : await carryOut(operations.verification, { id }, request.asker)
    if (found?.outcome === 'refused' && found.problem !== 'not_found' && found.problem !== 'malformed')
      return { kind: 'refused', refusal: found }
    const run = found?.outcome === 'done' ? found.value : undefined
    const content = describeVerificationPage(run, { now: request.now, isForgotten: found?.outcome === 'refused' })
    return { kind: 'page', template: 'verify', title: 'Verify the trail', section: 'trail', scripts: ['trail.js'], content }
  })

  routes.post(verifyPath, 'audit:read', async (request) => {
    const begun = await carryOut(operations.startVerification, {}, request.asker)
    if (begun.outcome === 'refused') return { kind: 'refused', refusal: begun }
    return { kind: 'redirect', to: `${verifyPath}?run=${encodeURIComponent(begun.value.id)}` }
  })

  routes.get(exportPath, 'audit:read', async (request) => {
    const filters = readFilters(request.query)
    const format = request.query.get('format') ?? 'csv'
    if (request.query.get('download') !== '1' || !isFormat(format)) return exportForm(request, filters, format, {})
    const asked = { ...withoutPlace(filters), format, ...(request.query.get('partial') === '1' ? { partial: 'true' } : {}) }
    const first = await carryOut(exportTrail, asked, request.asker)
    if (first.outcome === 'refused') {
      if (first.problem !== 'malformed' && first.problem !== 'conflict') return { kind: 'refused', refusal: first }
      return exportForm(request, filters, format, {
        problems: fieldsOf(first),
        refusal: first.problem === 'conflict' ? first.message : undefined,
      })
    }
    const { ending, type } = trailFormatFiles[format]
    const filename = `audit-${dayOf(filters.since)}-${dayOf(filters.until)}.${ending}`
    return { kind: 'download', type, filename, body: writeStretches(first.value, asked, request) }
  })

  /** Stretch by stretch. One that fails ends the download as broken: a file that looks whole and is not would be worse. */
  async function* writeStretches(
    first: { readonly content: string; readonly next: string | null },
    asked: object,
    request: ConsoleRequest,
  ): AsyncGenerator<string> {
    yield first.content
    for (let next = first.next; next !== null; ) {
      const found = await carryOut(exportTrail, { ...asked, after: next }, request.asker)
      if (found.outcome === 'refused') throw new Error(`an export ended before its end: ${found.problem}`)
      yield found.value.content
      next = found.value.next
    }
  }
}

/** An export is always of the files. */
function withoutPlace({ where: _, ...filters }: TrailFilters): TrailFilters {
  return filters
}

/** A tab is wider than an event. */
function withoutEvent({ event: _, ...filters }: TrailFilters): TrailFilters {
  return filters
}

function exportForm(
  { now }: ConsoleRequest,
  filters: TrailFilters,
  format: string,
  { problems = {}, refusal }: { readonly problems?: Readonly<Record<string, string>>; readonly refusal?: string | undefined },
): ConsoleAnswer {
  const isBad = refusal !== undefined || Object.keys(problems).length > 0
  const content = {
    filters: {
      ...filters,
      since: fieldTime(filters.since ?? new Date(now - 7 * dayMs).toISOString()),
      until: fieldTime(filters.until ?? new Date(now).toISOString()),
    },
    format,
    problems,
    refusal,
  }
  return { kind: 'page', template: 'trail-export', title: 'Export the trail', section: 'trail', status: isBad ? 409 : 200, content }
}

async function* followRows(
  window: Pick<TrailWindow, 'follow'>,
  query: Parameters<TrailWindow['follow']>[0],
  signal: AbortSignal,
): AsyncGenerator<TrailRow> {
  for await (const { at, chain, event, fields, seq } of window.follow(query, signal)) {
    // Just now is what it is, whenever it is read.
    yield describeTrailRow({ chain, seq, at: new Date(at).toISOString(), event, fields }, at, reasonWords)
  }
}

/** The sentences of a malformed input, by field. */
function fieldsOf(found: Outcome<unknown>): Readonly<Record<string, string>> {
  const fields = found.outcome === 'refused' ? found.detail?.['fields'] : undefined
  return typeof fields === 'object' && fields !== null ? (fields as Readonly<Record<string, string>>) : {}
}

function isFormat(text: string): text is TrailFormat {
  return trailFormats.some((format) => format === text)
}

function clockOf(instant: string): string {
  return `${instant.slice(0, 16).replace('T', ' ')} UTC`
}

function dayOf(instant: string | undefined): string {
  return instant?.slice(0, 10) ?? ''
}
