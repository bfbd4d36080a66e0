/** The first page of the console: what needs attention now, and what happened of late. */

import type { CarryOut } from '../operations/operation.ts'
import type { OverviewOperations } from '../operations/overview.ts'
import type { ConsoleRoutes } from './console-page.ts'
import { describeOverview } from './overview-content.ts'

export interface OverviewPagesPorts {
  readonly operations: OverviewOperations
  readonly carryOut: CarryOut
}

/** Adds `/console`. */
export function mountOverviewPages(routes: ConsoleRoutes, { carryOut, operations }: OverviewPagesPorts): void {
  routes.get('/console', 'overview:read', async ({ asker, now, query }) => {
    const period = query.get('period')
    const app = query.get('app')
    const found = await carryOut(
      operations.get,
      { ...(period === null ? {} : { period }), ...(app === null || app === '' ? {} : { app }) },
      asker,
    )
    if (found.outcome === 'refused') return { kind: 'refused', refusal: found }
    return { kind: 'page', template: 'overview', title: 'Overview', section: 'overview', content: describeOverview(found.value, now) }
  })
}
