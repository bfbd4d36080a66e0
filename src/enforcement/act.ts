/**
 * Acting on a decision: the last step of the flow. Forwarding for an allow, a way to sign in for a challenge, an answer for the rest.
 *
 * What is told depends on who asks: the app's name, its owner and the unmet conditions only to somebody who is signed in, and of a
 * hidden app not even that it exists. The audit trail already has the true reason.
 */

import { displayNameOf } from '../attributes/subject-facts.ts'
import type { Reason } from '../policy/decision.ts'
import type { Arrival, EnforcementPoint } from './arrival.ts'
import type { Target } from './exchange.ts'
import type { Judgement } from './judge.ts'
import { observeEnd, recordEnd, recordRefusal } from './record.ts'
import { type Audience, type Refusal, readAudience, statusOf } from './respond.ts'
import { isHiddenFrom } from './route-table.ts'
import { beginSignIn, returnAddress, signInUrl, stepUpUrl } from './sign-in-challenge.ts'
import type { ParsedTarget } from './target.ts'

/** Forwards an allowed request and settles when its exchange is over. */
export async function forward(point: EnforcementPoint, arrival: Arrival, judgement: Judgement): Promise<void> {
  const { route, target, identity, isAuthorizationOurs, decision, session } = judgement
  const { app } = route
  const { findSecret, sessions } = point.ports
  const { id, request, address } = arrival
  const exchange = { id, request, target, route, address, identity, isAuthorizationOurs, findSecret }
  // Who works in a WebSocket for an hour has not been idle, although there was no request.
  const noteUse = () => session !== undefined && sessions.recordUse(session)
  const outcome = await arrival.carry(exchange, noteUse)
  if (outcome.refusal !== undefined) refuse(point, arrival, { ...aboutApp(arrival, judgement), reason: outcome.refusal, app })
  recordEnd(point, arrival, app, outcome)
  const status = outcome.refusal === undefined ? outcome.status : statusOf(outcome.refusal)
  observeEnd(point, arrival, { app: app.id, effect: 'allow', reason: outcome.refusal ?? decision.reason, status })
}

/** Sends a person to sign in, or to sign in more strongly or anew, and tells a program where one could. */
export function challenge(point: EnforcementPoint, arrival: Arrival, judgement: Judgement): void {
  const { route, target, decision } = judgement
  const { reason } = decision
  const stepUp = decision.effect === 'challenge' && decision.challenge === 'step_up' ? decision.stepUp : undefined
  const { accessUrl } = point.settings
  const { method, headers } = arrival.request
  const audience = audienceOf(arrival)
  const isReading = method === 'GET' || method === 'HEAD'
  if (audience === 'page') {
    const start = beginSignIn(point.settings, point.ports, route, { method, target, cookieHeader: headers.cookie, stepUp })
    const { location, cookies } = start
    arrival.answer(point.responder.redirect(isReading ? 302 : 303, location, { requestId: arrival.id, reason, cookies }))
  } else {
    // What script fetches is no page to come back to.
    const returnTo = audience === 'frame' ? returnAddress(route, method, target) : route.audience
    const takesBearer = route.takesBearer(target.path)
    const address = stepUp === undefined ? signInUrl(accessUrl, returnTo) : stepUpUrl(point.settings, point.ports, returnTo, stepUp)
    const about = stepUp === undefined ? {} : aboutApp(arrival, judgement)
    refuse(point, arrival, { ...about, reason, signInUrl: address, realm: target.hostname, takesBearer, stepUp })
  }
  const status = audience !== 'page' ? 401 : isReading ? 302 : 303
  observeEnd(point, arrival, { app: route.app.id, effect: 'challenge', reason, status })
}

/** Refuses, with what failed and what would mend it. */
export function deny(point: EnforcementPoint, arrival: Arrival, judgement: Judgement): void {
  const { decision, route, subject, session } = judgement
  const isHidden = session !== undefined && isHiddenFrom(route, subject)
  // Only what a policy said is hidden: a store that is away is no secret, and a 404 for it would be a lie that is believed.
  const reason = isHidden && statusOf(decision.reason) === 403 ? 'app_not_found' : decision.reason
  const about = reason === 'app_not_found' ? {} : aboutApp(arrival, judgement)
  const returnTo = returnAddress(route, arrival.request.method, judgement.target)
  const signIn = reason === 'device_changed' ? { signInUrl: signInUrl(point.settings.accessUrl, returnTo) } : {}
  refuse(point, arrival, { reason, realm: judgement.target.hostname, ...about, ...signIn })
  observeEnd(point, arrival, { app: route.app.id, effect: 'deny', reason: decision.reason, status: statusOf(reason) })
}

/** Refuses what never came to a decision. Without a `target` there was none to speak of. */
export function turnAway(point: EnforcementPoint, arrival: Arrival, reason: Reason, target?: Target): void {
  recordRefusal(point, arrival, reason, target)
  refuse(point, arrival, { reason })
  observeEnd(point, arrival, { app: undefined, effect: 'deny', reason, status: statusOf(reason) })
}

/** Hands a request for our own host to the control plane. It has no WebSockets, and no page of it has an unusual path. */
export function enterAccessHost(point: EnforcementPoint, arrival: Arrival, target: ParsedTarget): void {
  if (arrival.isUpgrade) turnAway(point, arrival, 'path_not_found', target)
  else if (target.uses.length > 0) turnAway(point, arrival, 'bad_request', target)
  else arrival.enterAccessHost(target)
}

/** A WebSocket handshake is a script's, whatever it says it accepts. */
export function audienceOf(arrival: Arrival): Audience {
  return arrival.isUpgrade ? 'program' : readAudience(arrival.request)
}

function refuse(point: EnforcementPoint, arrival: Arrival, refusal: Omit<Refusal, 'requestId' | 'audience'>): void {
  arrival.answer(point.responder.refuse({ ...refusal, requestId: arrival.id, audience: audienceOf(arrival) }))
}

/** What somebody who is signed in, or a service, is told. Strangers learn nothing of an app but that it wants a sign-in. */
function aboutApp({ request: { method } }: Arrival, { route, target, subject, session, decision }: Judgement): Partial<Refusal> {
  // As for a sign-in: of a form only the path is visited again.
  const retryPath = method === 'GET' || method === 'HEAD' ? `${target.path}${target.query}` : target.path
  const unmet = decision.effect === 'deny' ? decision.unmet : []
  if (session === undefined) return subject.kind === 'service' ? { app: route.app, unmet, retryPath } : { retryPath }
  return { app: route.app, person: displayNameOf(session), unmet, retryPath }
}
