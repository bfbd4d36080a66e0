/**
 * The cross-origin check: may this request spend the person's cookie, or did a page of somebody else's send it?
 *
 * Needed although our cookies are SameSite=Lax: sibling apps share a *site*, so a page of the wiki could otherwise post to payroll
 * in the person's name, and open WebSockets, which are under no same-origin policy at all. Only `write` and `websocket` requests
 * are held to it; reading is the browser's to prevent. Evidence is what browsers write and script cannot (Fetch Metadata, Origin);
 * absent evidence means no.
 */

import type { IncomingHttpHeaders } from 'node:http'
import type { MethodClass } from '../policy/document.ts'
import type { Route } from './route-table.ts'

/** Who besides the app's own pages may read a refusal: the page of a calling app that asked (`origin`), if it was one. */
export interface Readers {
  readonly origin: string | undefined
}

/** Whether a request that carries our cookie must be refused as another site's. Pure. */
export function isCrossOrigin(
  route: Route,
  request: { readonly method: string; readonly methodClass: MethodClass; readonly path: string },
  headers: IncomingHttpHeaders,
): boolean {
  if (request.methodClass === 'read') return false
  // Single endpoints such as a SAML assertion consumer, which a provider's page posts to by design.
  if (request.method === 'POST' && request.methodClass === 'write' && route.opensToOtherSites(request.path)) return false

  // Node joins repeated lines with a comma; such a value equals none of those below and so proves nothing.
  const site = headers['sec-fetch-site']
  const { origin } = headers
  if (origin !== undefined && route.calledBy.has(origin)) return false
  const isOwnOrigin = origin === route.app.address.origin
  switch (site) {
    case 'same-origin':
    case 'none':
      return false
    case undefined:
      return !isOwnOrigin
    default:
      // Firefox calls the WebSocket of an app's own page cross-site, because its scheme is ws; Origin tells the truth there.
      return !(request.methodClass === 'websocket' && isOwnOrigin)
  }
}

/** Whether a POST to a page of ours came from a page of the same origin; absent evidence means no. */
export function isSameOriginPost(origin: URL, headers: IncomingHttpHeaders): boolean {
  const site = headers['sec-fetch-site']
  return site === undefined ? headers.origin === origin.origin : site === 'same-origin'
}

/**
 * Which page may read our refusal of a request to this app: one of an app that the admin named in `called_by`, and no other. Without it a
 * page whose session has ended sees a failed fetch and cannot tell why. `undefined` for an app that is called by none. Pure.
 */
export function readersOf(route: Pick<Route, 'calledBy'> | undefined, { origin }: IncomingHttpHeaders): Readers | undefined {
  if (route === undefined || route.calledBy.size === 0) return undefined
  // `null`, the origin of sandboxed and local pages, is the origin of no app.
  return { origin: origin !== undefined && route.calledBy.has(origin) ? origin : undefined }
}

/** The CORS headers of a refusal (Fetch §3.3). Only ever on answers of ours: what an app lets others read is for the app to say. */
export function readerHeaders(readers: Readers | undefined): Readonly<Record<string, string>> {
  if (readers === undefined) return {}
  const vary = { vary: 'Origin' }
  if (readers.origin === undefined) return vary
  return {
    ...vary,
    'access-control-allow-origin': readers.origin,
    'access-control-allow-credentials': 'true',
    'access-control-expose-headers': 'WWW-Authenticate, X-Postern, X-Postern-Request',
  }
}
