/**
 * Pages of open connections: what is open now, by app, with a way to cut one; kept fresh by script while somebody looks.
 *
 * The stream carries what the page showed, every two seconds. That somebody looks is on record when the page, and when the stream, begins,
 * and every few minutes after: not each time that numbers change on a screen.
 */

import { setTimeout as pause } from 'node:timers/promises'
import type { AdministeredConnections } from '../../administration/connections.ts'
import { type ConnectionsJson, type ConnectionsOperations, describeConnections } from '../operations/connections.ts'
import type { CarryOut } from '../operations/operation.ts'
import { connectionsHref, describeConnectionsPage, describeLive } from './connections-content.ts'
import type { ConsoleRequest, ConsoleRoutes } from './console-page.ts'

export interface ConnectionsPagesPorts {
  readonly operations: ConnectionsOperations
  readonly connections: Pick<AdministeredConnections, 'list'>
  readonly carryOut: CarryOut
  readonly now: () => number
}

const rowsOfPage = 100
const freshEveryMs = 2_000
const recordEveryMs = 300_000

/** Adds `/console/connections`. */
export function mountConnectionsPages(routes: ConsoleRoutes, { carryOut, connections, now, operations }: ConnectionsPagesPorts): void {
  const filterOf = ({ query }: Pick<ConsoleRequest, 'query'>) => ({
    app: (query.get('app') ?? '').trim(),
    subject: (query.get('subject') ?? '').trim(),
  })
  const inputOf = ({ app, subject }: ReturnType<typeof filterOf>) => ({
    ...(app === '' ? {} : { app }),
    ...(subject === '' ? {} : { subject }),
    limit: rowsOfPage,
  })

  routes.get('/console/connections', 'connections:read', async (request) => {
    const filter = filterOf(request)
    const after = request.query.get('after')
    const found = await carryOut(operations.list, { ...inputOf(filter), ...(after === null ? {} : { after }) }, request.asker)
    if (found.outcome === 'refused') return { kind: 'refused', refusal: found }
    return {
      kind: 'page',
      template: 'connections',
      title: 'Open connections',
      section: 'connections',
      content: describeConnectionsPage(found.value, { filter, isFirst: after === null, may: request.may, now: request.now }),
      scripts: ['connections.js'],
    }
  })

  routes.get('/console/connections/live', 'connections:read', async (request) => {
    const input = inputOf(filterOf(request))
    return { kind: 'events', events: (signal) => follow(input, request, signal) }
  })

  async function* follow(input: ReturnType<typeof inputOf>, { asker, may }: ConsoleRequest, signal: AbortSignal): AsyncIterable<object> {
    let recordedAt = Number.NEGATIVE_INFINITY
    while (!signal.aborted) {
      let found: ConnectionsJson
      if (now() - recordedAt >= recordEveryMs) {
        const recorded = await carryOut(operations.list, input, asker)
        if (recorded.outcome === 'refused') return
        recordedAt = now()
        found = recorded.value
      } else {
        found = describeConnections(await connections.list({ ...input, app: input.app, subject: input.subject }, asker.actor))
      }
      yield describeLive(found, { may, now: now() })
      await pause(freshEveryMs, undefined, { signal, ref: false }).catch(() => undefined)
    }
  }

  routes.post('/console/connections/cut', 'connections:cut', async (request, form) => {
    const back = connectionsHref({ app: form.get('app') ?? '', subject: form.get('subject') ?? '' })
    const input = { id: form.get('connection') ?? '', reason: form.get('reason') ?? '' }
    const outcome = await carryOut(operations.cut, input, request.asker)
    if (outcome.outcome === 'done') {
      return { kind: 'redirect', to: back, notice: { tone: 'good', text: `The connection to ${outcome.value.app} was cut.` } }
    }
    // Somebody else was faster, or it ended by itself: nothing is wrong, and the list says what there is now.
    if (outcome.problem === 'not_found') return { kind: 'redirect', to: back, notice: { tone: 'info', text: outcome.message } }
    return { kind: 'refused', refusal: outcome }
  })
}
