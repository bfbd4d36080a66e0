/**
 * What a method and a URL would be to the enforcement point: the app that would answer, and the canonical request that would be judged.
 *
 * For `explain`, `test` and what-if questions. It goes through the very functions of the flow's first steps, so that an explanation
 * cannot speak of another path than the one that is enforced.
 */

import { METHODS } from 'node:http'
import type { RequestFacts } from '../policy/facts.ts'
import { classOf } from './judge.ts'
import type { Snapshot } from './ports.ts'
import { matchRoute, type Route } from './route-table.ts'
import { readTarget } from './target.ts'

/** A question about a request that nobody sent. */
export interface Asked {
  readonly method: string
  /** A WebSocket handshake. */
  readonly isUpgrade: boolean
  readonly url: URL
}

export type Found =
  | { readonly outcome: 'found'; readonly route: Route; readonly request: RequestFacts }
  | { readonly outcome: 'refused'; readonly reason: 'bad_request' | 'method_not_allowed' | 'app_not_found' | 'path_not_found' }

/** Where the request would go. `URL` has already made the path's dots and blanks what a browser makes of them. */
export function findAsked({ routes }: Pick<Snapshot, 'routes'>, { isUpgrade, method, url }: Asked): Found {
  // What the listener's parser does not know, `get` among it, never comes to be judged.
  if (!METHODS.includes(method)) return { outcome: 'refused', reason: 'bad_request' }
  const target = readTarget({ method, url: `${url.pathname}${url.search}`, rawHeaders: ['Host', url.host] })
  if ('problem' in target) return { outcome: 'refused', reason: target.problem === 'method_refused' ? 'method_not_allowed' : 'bad_request' }
  const host = routes.findHost(target.hostname, target.port)
  if (host === undefined) return { outcome: 'refused', reason: 'app_not_found' }
  if (target.path === '/.postern' || target.path.startsWith('/.postern/')) return { outcome: 'refused', reason: 'path_not_found' }
  const route = matchRoute(host, target.path)
  if (route === undefined) return { outcome: 'refused', reason: 'app_not_found' }
  if (!target.uses.every((unusual) => route.keeps.has(unusual))) return { outcome: 'refused', reason: 'bad_request' }
  return { outcome: 'found', route, request: { method, methodClass: classOf(method, isUpgrade), path: target.path } }
}
