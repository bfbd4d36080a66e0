/**
 * `/console/requests`: what employees asked for on their portal, and the notes that they are answered with.
 */

import type { CarryOut } from '../operations/operation.ts'
import type { RequestsOperations } from '../operations/requests.ts'
import type { ConsoleAnswer, ConsoleRequest, ConsoleRoutes } from './console-page.ts'
import { type AnswerAgain, describeRequests } from './requests-content.ts'

export interface RequestsPagesPorts {
  readonly requests: RequestsOperations
  readonly carryOut: CarryOut
}

const path = '/console/requests'

/** Adds the pages. */
export function mountRequestsPages(routes: ConsoleRoutes, { carryOut, requests }: RequestsPagesPorts): void {
  routes.get(path, 'requests:read', (request) => show(request, request.query))

  routes.post(path, 'requests:write', async (request, form) => {
    const [id, state, note] = [form.get('id') ?? '', form.get('state') ?? '', form.get('note') ?? '']
    const outcome = await carryOut(requests.answer, { id, state, note }, request.asker)
    const isAll = form.get('show') === 'all'
    const to = isAll ? `${path}?show=all` : path
    if (outcome.outcome === 'done') {
      const { app, label, state: left } = outcome.value
      const done = left === 'seen' ? 'is noted as seen' : 'is answered'
      return { kind: 'redirect', to, notice: { tone: 'good', text: `The request of ${label} for ${app.name} ${done}.` } }
    }
    if (outcome.problem === 'not_found') return { kind: 'redirect', to, notice: { tone: 'info', text: outcome.message } }
    if (outcome.problem !== 'invalid_order') return { kind: 'refused', refusal: outcome }
    return await show(request, new URLSearchParams(isAll ? { show: 'all' } : {}), { id, note, error: outcome.message })
  })

  async function show(request: ConsoleRequest, query: URLSearchParams, again?: AnswerAgain): Promise<ConsoleAnswer> {
    const after = query.get('after') ?? undefined
    const wanted = query.get('show') === 'all' ? 'all' : 'waiting'
    const outcome = await carryOut(requests.list, { show: wanted, ...(after === undefined ? {} : { after }) }, request.asker)
    if (outcome.outcome === 'refused') return { kind: 'refused', refusal: outcome }
    const { entries, is_whole: isWhole, next, waiting } = outcome.value
    return {
      kind: 'page',
      template: 'requests',
      title: 'Requests',
      section: 'requests',
      status: again === undefined ? 200 : 400,
      content: describeRequests({
        ...{ entries, next, waiting, isWhole, again },
        show: wanted,
        isFirst: after === undefined,
        now: request.now,
        may: { answer: request.may('requests:write'), person: request.may('people:read'), app: request.may('policy:read') },
      }),
    }
  }
}
