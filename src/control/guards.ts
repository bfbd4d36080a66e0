/**
 * What stands before every handler of the access host: security headers, the same-origin rule for changes, body and rate limits.
 *
 * A change is a POST from a page of this very origin. `SameSite` does not say that: sibling apps are the same *site*. A browser states
 * where a request comes from in `Sec-Fetch-Site`, which no page can forge; an older one in `Origin`; a request with neither is refused.
 */

import type { IncomingMessage } from 'node:http'
import { type RequestHandler, text } from 'express'
import helmet from 'helmet'
import type { RateLimit } from '../rate-limits.ts'
import type { Answers } from './answers.ts'
import { contentSecurityPolicy, pageHeaders } from './page-headers.ts'
import { getContext, isAheadOfTime, isNavigation } from './request-context.ts'

/** Headers of every answer of the access host; a page that needs more sets its own policy over it. */
export function securityHeaders(): RequestHandler[] {
  const { 'permissions-policy': permissions = '', 'x-robots-tag': robots = '' } = pageHeaders()
  return [
    helmet({
      contentSecurityPolicy: { useDefaults: false, directives: contentSecurityPolicy() },
      // `hsts` of the instance configuration decides, in the listener, for every host alike.
      strictTransportSecurity: false,
      referrerPolicy: { policy: 'no-referrer' },
      frameguard: { action: 'deny' },
    }),
    (request, response, next) => {
      response.set({
        'Cache-Control': 'no-store',
        'Permissions-Policy': permissions,
        'X-Robots-Tag': robots,
        'X-Postern-Request': getContext(request).requestId,
      })
      next()
    },
  ]
}

/** Refuses a POST that does not come from a page of the access host itself. */
export function sameOriginPosts(accessUrl: URL, answers: Answers): RequestHandler {
  return (request, response, next) => {
    if (request.method === 'GET' || request.method === 'HEAD' || isFromOrigin(request, accessUrl.origin)) next()
    else answers.refuse(request, response, 'cross_origin')
  }
}

function isFromOrigin({ headers }: IncomingMessage, origin: string): boolean {
  const site = headers['sec-fetch-site']
  return site === undefined ? headers.origin === origin : site === 'same-origin'
}

/**
 * Refuses what another site's page loads in the background, and what a browser loads ahead of time, before it is counted: a picture that points here a thousand times would
 * use up the sign-ins of everybody behind the same address, and push a person's pending ones out of the browser.
 */
export function noBackgroundRequests(answers: Answers): RequestHandler {
  return (request, response, next) => {
    const { 'sec-fetch-mode': mode, 'sec-fetch-site': site } = request.headers
    const isBackground = mode !== undefined && mode !== 'navigate' && (site === 'cross-site' || site === 'same-site')
    if (isBackground || isAheadOfTime(request.headers)) answers.refuse(request, response, 'cross_origin')
    else next()
  }
}

/**
 * Refuses what a page of another origin, a sibling app's among them, has a browser load: a picture, a script, a frame, a stream. It could read none of it, but
 * what is read of other people goes on record under the name of whoever asked, streams are counted, and a session that is used lives on. Whoever
 * follows a link comes with a whole window.
 */
export function noForeignEmbeds(answers: Answers): RequestHandler {
  return (request, response, next) => {
    const site = request.headers['sec-fetch-site']
    const isForeign = site === 'cross-site' || site === 'same-site'
    if (isForeign && !isNavigation(request)) answers.refuse(request, response, 'cross_origin')
    else next()
  }
}

/** Counts the request against the client's address. */
export function limitRate(limit: RateLimit, answers: Answers): RequestHandler {
  return async (request, response, next) => {
    const wait = await limit.consume(getContext(request).address)
    if (wait === undefined) next()
    else answers.refuse(request, response, 'rate_limited', { retryAfterSeconds: wait })
  }
}

/** Answers every method that has no handler on a path of ours. */
export function onlyMethods(allow: string, answers: Answers): RequestHandler {
  return (request, response) => answers.refuse(request, response, 'method_not_allowed', { allow })
}

/**
 * Reads a form as text, for `readForm`. Compressed bodies are refused, so that the limit is one on memory; anything that is not
 * a form leaves the body unread, which `readForm` takes for none.
 */
export function formBody(limitBytes: number): RequestHandler {
  return text({ type: 'application/x-www-form-urlencoded', limit: limitBytes, inflate: false, defaultCharset: 'utf-8' })
}

/** The form of a request; `undefined` if the body was no form or states a name twice. */
export function readForm(body: unknown): URLSearchParams | undefined {
  if (typeof body !== 'string') return undefined
  const form = new URLSearchParams(body)
  const names = [...form.keys()]
  return new Set(names).size === names.length ? form : undefined
}
