/**
 * What the listener found out about a request to the access host, for every handler that runs for it.
 *
 * The request id and the client's address behind trusted proxies are worked out once, on the data plane. They travel beside
 * the request and not in its headers, so that no client can state them.
 */

import type { IncomingMessage } from 'node:http'
import type { Request } from 'express'

/** Equal in structure to the enforcement point's `AccessHostContext`, which this folder may not import. */
export interface RequestContext {
  readonly requestId: string
  readonly address: string
}

const contexts = new WeakMap<IncomingMessage, RequestContext>()

/** Binds a context to a request before Express sees it. */
export function bindContext(request: IncomingMessage, context: RequestContext): void {
  contexts.set(request, context)
}

/** The context of a request that came through `createControlPlane`. */
export function getContext(request: IncomingMessage): RequestContext {
  const context = contexts.get(request)
  if (context === undefined) throw new TypeError('a request reached a controller without a context')
  return context
}

/** Query parameters as they stand in the target; Express's own parser would fold repeated names into arrays. */
export function readQuery(request: Request): URLSearchParams {
  const mark = request.url.indexOf('?')
  return new URLSearchParams(mark === -1 ? '' : request.url.slice(mark + 1))
}

/** The value of a parameter that occurs exactly once. Twice is as good as never: nobody can tell which was meant. */
export function findSingle(parameters: URLSearchParams, name: string): string | undefined {
  const [value, ...others] = parameters.getAll(name)
  return others.length === 0 ? value : undefined
}

/**
 * Whether a person in a browser tab waits for this answer. Fetch Metadata decides where it is present, since no script can
 * forge it; without it, what the client says it accepts.
 */
export function isNavigation({ headers }: IncomingMessage): boolean {
  if (isAheadOfTime(headers)) return false
  const mode = headers['sec-fetch-mode']
  const destination = headers['sec-fetch-dest']
  if (mode !== undefined || destination !== undefined) return mode === 'navigate' && destination === 'document'
  return headers['x-requested-with'] === undefined && (headers.accept ?? '').toLowerCase().includes('text/html')
}

/** A page that a browser loads in case somebody goes there. It throws away what it is refused, and asks again when somebody does. */
export function isAheadOfTime({ purpose, 'sec-purpose': secPurpose }: IncomingMessage['headers']): boolean {
  return [purpose, secPurpose].some((value) => typeof value === 'string' && value.startsWith('prefetch'))
}
