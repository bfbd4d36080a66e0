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
