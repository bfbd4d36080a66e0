/**
 * CORS preflights: the question that a browser asks an app, before a page of another app may send what a form could not (Fetch §4.8).
 *
 * A browser names nobody when it asks: no cookie, no token, no client certificate. Judged like a request it would be a stranger's, and the
 * call that it was to prepare would fail for everybody. So a preflight from a page of an app in `called_by` goes to the app, as nobody's.
 * What carries an identity or a body was not sent by a browser as a preflight and is judged like any request; so is everybody else's.
 * Anybody can pretend to be such a browser, so of the answer only the head goes back: an app that answers OPTIONS with its page shows it to
 * nobody. It opens nothing: the call itself is judged when it comes. A lock on the app, and a deny that holds for everyone, hold here as well.
 */

import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import { decide } from '../policy/decide.ts'
import type { Decision } from '../policy/decision.ts'
import type { Facts } from '../policy/facts.ts'
import type { Route } from './route-table.ts'

/** What a preflight never carries. */
const identities = ['cookie', 'authorization', 'postern-authorization', 'proxy-authorization'] as const

/** The decision about a preflight from a calling app; `undefined` for what is none, which is decided as ever. Pure. */
export function decidePreflight(
  route: Pick<Route, 'calledBy' | 'policy'>,
  request: Pick<IncomingMessage, 'method' | 'headers'>,
  facts: Facts,
): Decision | undefined {
  if (facts.subject.kind !== 'nobody' || facts.request.methodClass !== 'read') return undefined
  if (!isPreflight(request) || !route.calledBy.has(request.headers.origin ?? '')) return undefined
  const decision = decide(route.policy, facts)
  // For nobody a denial is a lock, a deny on everyone, or a failure.
  return decision.effect === 'deny' ? decision : { effect: 'allow', reason: 'cors_preflight', rule: '' }
}

/** Whether a browser could have sent this as a preflight. */
export function isPreflight({ method, headers }: Pick<IncomingMessage, 'method' | 'headers'>): boolean {
  if (method !== 'OPTIONS' || headers.origin === undefined || headers['access-control-request-method'] === undefined) return false
  return !hasBody(headers) && identities.every((name) => headers[name] === undefined)
}

function hasBody(headers: IncomingHttpHeaders): boolean {
  return headers['transfer-encoding'] !== undefined || (headers['content-length'] ?? '0') !== '0'
}
