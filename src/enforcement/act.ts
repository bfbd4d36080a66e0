/**
 * Acting on a decision: the last step of the flow. Forwarding for an allow, a way to sign in for a challenge, an answer for the rest.
 *
 * What is told depends on who asks: the app's name, its owner and the unmet conditions only to somebody who is signed in, and of a
 * hidden app not even that it exists. The audit trail already has the true reason.
 */

import { displayNameOf } from '../attributes/subject-facts.ts'
import type { Reason, StepUp } from '../policy/decision.ts'
import type { NotKept } from '../session/kept-posts.ts'
import type { Arrival, EnforcementPoint } from './arrival.ts'
import { readersOf } from './cross-origin.ts'
import type { Target } from './exchange.ts'
import type { Judgement } from './judge.ts'
import { keepPost } from './kept-post.ts'
import { observeEnd, recordEnd, recordRefusal, ruleOf } from './record.ts'
import { type Audience, type Refusal, readAudience, statusOf } from './respond.ts'
import { isHiddenFrom, matchRoute, type Route } from './route-table.ts'
import { beginSignIn, returnAddress, signInUrl, stepUpUrl } from './sign-in-challenge.ts'
import type { ParsedTarget } from './target.ts'

/** Forwards an allowed request and settles when its exchange is over. */
export async function forward(point: EnforcementPoint, arrival: Arrival, judgement: Judgement): Promise<void> {
  const { route, target, identity, isAuthorizationOurs, decision, session } = judgement
  const { app } = route
  const { findSecret, sessions } = point.ports
  const { id, request, address } = arrival
  const standing = { arrival, judgement }
  arrival.trace.step('upstream')
  const isPreflight = decision.reason === 'cors_preflight'
  const exchange = {
    id,
    request,
    target,
    route,
    address,
    trace: arrival.trace.carried(),
    identity,
    isAuthorizationOurs,
    isPreflight,
    body: arrival.received,
    findSecret,
    standing,
  }
  // Who works in a WebSocket for an hour has not been idle, although there was no request.
  const noteUse = () => session !== undefined && sessions.recordUse(session)
  const handedOverAt = point.ports.monotonicNow()
  const outcome = await arrival.carry(exchange, noteUse)
  if (outcome.refusal !== undefined) refuse(point, arrival, { ...aboutApp(arrival, judgement), reason: outcome.refusal, app }, target)
  recordEnd(point, arrival, app, outcome)
  const status = outcome.refusal === undefined ? outcome.status : statusOf(outcome.refusal)
  const reason = outcome.refusal ?? outcome.cause?.reason ?? decision.reason
  observeEnd(
    point,
    arrival,
    { app: app.id, effect: 'allow', reason, rule: ruleOf(decision), status },
    handedOverAt - arrival.arrivedAt + outcome.ownMs,
  )
}

/** Sends a person to sign in, or to sign in more strongly or anew, and tells a program where one could. */
export async function challenge(point: EnforcementPoint, arrival: Arrival, judgement: Judgement): Promise<void> {
  if (audienceOf(arrival) !== 'page') return refuseForSignIn(point, arrival, judgement)
  const keeping = await keepPost(point, arrival, judgement)
  const isSentOn = arrival.received?.kept !== undefined
  switch (keeping.outcome) {
    case 'kept':
      return isSentOn ? linkToSignIn(point, arrival, judgement, keeping.id) : sendToSignIn(point, arrival, judgement, keeping.id)
    case 'nothing':
      return sendToSignIn(point, arrival, judgement, undefined)
    case 'not_kept':
      if (isSentOn) return tellOfLoss(point, arrival, judgement, keeping.because)
      return tellBeforeSignIn(point, arrival, judgement, keeping.because)
    case 'failed':
      refuse(point, arrival, { ...aboutApp(arrival, judgement), reason: keeping.reason }, judgement.target)
      return observeChallenge(point, arrival, judgement, statusOf(keeping.reason))
    case 'gone':
      return observeChallenge(point, arrival, judgement, 0)
  }
}

function sendToSignIn(point: EnforcementPoint, arrival: Arrival, judgement: Judgement, kept: string | undefined): void {
  const { method } = arrival.request
  const { location, cookies } = beginSignInFor(point, arrival, judgement, kept)
  const status = method === 'GET' || method === 'HEAD' ? 302 : 303
  arrival.answer(point.responder.redirect(status, location, { requestId: arrival.id, reason: judgement.decision.reason, cookies }))
  observeChallenge(point, arrival, judgement, status)
}

/**
 * A form that was sent on meets one more sign-in. The page that it came from lets a form lead to this origin alone, and browsers hold
 * redirects to that; where a provider leads on to nobody knows. So this is a page with a link.
 */
function linkToSignIn(point: EnforcementPoint, arrival: Arrival, judgement: Judgement, kept: string): void {
  const { decision, target } = judgement
  const { location, cookies } = beginSignInFor(point, arrival, judgement, kept)
  const { id: requestId } = arrival
  const page = point.responder.refuse({
    ...aboutApp(arrival, judgement),
    reason: decision.reason,
    requestId,
    audience: 'frame',
    signInUrl: location,
    realm: target.hostname,
    stepUp: stepUpOf(judgement),
  })
  arrival.answer({ ...page, headers: { ...page.headers, 'set-cookie': cookies } })
  observeChallenge(point, arrival, judgement, 401)
}

/** A form that was sent on and cannot be kept again is nowhere any more, so nobody is told that it is. */
function tellOfLoss(point: EnforcementPoint, arrival: Arrival, judgement: Judgement, because: NotKept): void {
  const reason = because === 'another_person' ? 'kept_post_of_another' : 'kept_post_gone'
  refuse(point, arrival, { ...aboutApp(arrival, judgement), reason }, judgement.target)
  observeChallenge(point, arrival, judgement, statusOf(reason))
}

function beginSignInFor({ settings, ports }: EnforcementPoint, { request }: Arrival, judgement: Judgement, kept: string | undefined) {
  const asked = { method: request.method, target: judgement.target, cookieHeader: request.headers.cookie, kept }
  return beginSignIn(settings, ports, judgement.route, { ...asked, stepUp: stepUpOf(judgement) })
}

function refuseForSignIn(point: EnforcementPoint, arrival: Arrival, judgement: Judgement): void {
  const { route, target, decision } = judgement
  const stepUp = stepUpOf(judgement)
  const takesBearer = route.takesBearer(target.path)
  const about = stepUp === undefined ? {} : aboutApp(arrival, judgement)
  const address = signInAddress(point, arrival, judgement)
  refuse(point, arrival, { ...about, reason: decision.reason, signInUrl: address, realm: target.hostname, takesBearer, stepUp }, target)
  observeChallenge(point, arrival, judgement, 401)
}

/** A redirect would lose the form for good. The browser has it as long as this page stands in its place: reloading sends it again. */
function tellBeforeSignIn(point: EnforcementPoint, arrival: Arrival, judgement: Judgement, because: NotKept): void {
  const { route, target, decision, session } = judgement
  const { ports, responder, settings } = point
  const stepUp = stepUpOf(judgement)
  const { id: requestId } = arrival
  const page = ports.renderNotKept({
    status: 401,
    because,
    isStepUp: stepUp !== undefined,
    person: session === undefined ? undefined : displayNameOf(session),
    // As in a refusal: an app's name is not for strangers.
    appName: session === undefined ? target.hostname : route.app.name,
    signInUrl: signInAddress(point, arrival, judgement),
    maxBytes: ports.keptPosts.maxBytes,
    requestId,
    portalUrl: `${settings.accessUrl.origin}/`,
  })
  const told = responder.page(page, { requestId, reason: decision.reason })
  // RFC 9110 §15.5.2: every 401 says how one could sign in, as the same refusal does to a program.
  const { headers } = responder.refuse({ reason: decision.reason, requestId, audience: 'program', realm: target.hostname, stepUp })
  arrival.answer({ ...told, headers: { ...told.headers, 'www-authenticate': headers['www-authenticate'] ?? [] } })
  observeChallenge(point, arrival, judgement, 401)
}

function stepUpOf({ decision }: Judgement): StepUp | undefined {
  return decision.effect === 'challenge' && decision.challenge === 'step_up' ? decision.stepUp : undefined
}

/** Where a person signs in by hand. What script fetches is no page to come back to. */
function signInAddress({ settings, ports }: EnforcementPoint, arrival: Arrival, judgement: Judgement): string {
  const { route, target } = judgement
  const returnTo = audienceOf(arrival) === 'program' ? route.audience : returnAddress(route, arrival.request.method, target)
  const stepUp = stepUpOf(judgement)
  return stepUp === undefined ? signInUrl(settings.accessUrl, returnTo) : stepUpUrl(settings, ports, returnTo, stepUp)
}

function observeChallenge(point: EnforcementPoint, arrival: Arrival, { route, decision }: Judgement, status: number): void {
  observeEnd(point, arrival, { app: route.app.id, effect: 'challenge', reason: decision.reason, rule: ruleOf(decision), status })
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
  refuse(point, arrival, { reason, realm: judgement.target.hostname, ...about, ...signIn }, judgement.target)
  observeEnd(point, arrival, {
    app: route.app.id,
    effect: 'deny',
    reason: decision.reason,
    rule: ruleOf(decision),
    status: statusOf(reason),
  })
}

/** Refuses what never came to a decision. Without a `target` there was none to speak of. */
export function turnAway(point: EnforcementPoint, arrival: Arrival, reason: Reason, target?: Target): void {
  recordRefusal(point, arrival, reason, target)
  // What was kept is gone, and with it the form: the page that it came from is where to begin again.
  const retryPath = reason === 'kept_post_gone' ? target?.path : undefined
  refuse(point, arrival, { reason, retryPath }, target)
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

function refuse(point: EnforcementPoint, arrival: Arrival, refusal: Omit<Refusal, 'requestId' | 'audience'>, target?: Target): void {
  const readers = readersOf(routeOf(arrival, target), arrival.request.headers)
  arrival.answer(point.responder.refuse({ ...refusal, requestId: arrival.id, audience: audienceOf(arrival), readers }))
}

function routeOf({ snapshot: { routes } }: Arrival, target: Target | undefined): Route | undefined {
  const host = target === undefined ? undefined : routes.findHost(target.hostname, target.port)
  return target === undefined || host === undefined ? undefined : matchRoute(host, target.path)
}

/** What somebody who is signed in, or a service, is told. Strangers learn nothing of an app but that it wants a sign-in. */
function aboutApp({ request: { method } }: Arrival, { route, target, subject, session, decision }: Judgement): Partial<Refusal> {
  // As for a sign-in: of a form only the path is visited again.
  const retryPath = method === 'GET' || method === 'HEAD' ? `${target.path}${target.query}` : target.path
  const unmet = decision.effect === 'deny' ? decision.unmet : []
  if (session === undefined) return subject.kind === 'service' ? { app: route.app, unmet, retryPath } : { retryPath }
  return { app: route.app, person: displayNameOf(session), unmet, retryPath }
}
