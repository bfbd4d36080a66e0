/**
 * `/.postern/kept-post`: after a sign-in, the page that asks what becomes of the form that was kept before it.
 *
 * It is for the browser that sent the form (the attempt's sealed cookie names it) and for the person who sent it (the session's subject).
 * Nothing goes out by itself: a person reads where, as whom and what, and presses a button. The page works without script, and script of
 * the app, whose origin this is, is not answered: what is sent in a person's name should have been seen by a person.
 */

import { displayNameOf } from '../attributes/subject-facts.ts'
import type { Reason } from '../policy/decision.ts'
import { type KeptPost, keptMs } from '../session/kept-posts.ts'
import type { SessionLookup } from '../session/session.ts'
import { hashSubject } from '../session/session-record.ts'
import type { Arrival, EnforcementPoint } from './arrival.ts'
import type { Target } from './exchange.ts'
import { recordPost } from './kept-post.ts'
import { type Answer, readAudience } from './respond.ts'
import { type AppHost, isHiddenFrom, matchRoute, type Route } from './route-table.ts'
import { keptPostPath } from './sign-in-challenge.ts'

/** One request for the page, as `own-endpoints.ts` has it. */
export interface KeptPostRequest {
  readonly point: EnforcementPoint
  readonly arrival: Arrival
  readonly host: AppHost
  readonly target: Target
  readonly route: Route
}

/** Why there is no form to ask about; the caller refuses in its own way. */
export interface KeptPostProblem {
  readonly reason: Reason
  readonly person?: string
  /** The page that the form was sent to. */
  readonly retryPath?: string
}

/** `GET`: the page. A form of another person is thrown away here, and that is said. */
export async function answerKeptPost(own: KeptPostRequest, lookup: SessionLookup): Promise<Answer | KeptPostProblem> {
  const { point, arrival, host } = own
  const { ports, settings } = point
  if (readAudience(arrival.request) !== 'page') return { reason: 'path_not_found' }
  const found = await findPost(own)
  if (found === undefined) return { reason: 'kept_post_gone', retryPath: own.route.app.address.prefix }
  const { attempt, id, post } = found
  // Whoever is signed out meanwhile signs in, comes back here by hand or by the back button, and finds the form if it is still there.
  if (lookup.state !== 'live') return { reason: 'login_required' }
  const person = displayNameOf(lookup.session)
  const route = matchRoute(host, post.path) ?? own.route
  if (hashSubject(lookup.session.issuer, lookup.session.sub) !== post.sender.subjectHash) {
    if ((await ports.keptPosts.take(id)) !== undefined)
      recordPost(point, arrival, route, { event: 'post.discarded', kept: post, cause: 'another_person' })
    return { reason: 'kept_post_of_another', person, retryPath: post.path }
  }

  const ageMs = Math.max(0, lookup.now - post.at)
  const page = ports.renderKeptPost({
    person,
    appName: isHiddenFrom(route, ports.readSubject(lookup.session, lookup.claimsState)) ? own.target.hostname : route.app.name,
    address: `${host.origin.host}${post.path}`,
    action: `${host.origin.origin}${post.path}${post.query}`,
    resume: id,
    discardAction: `${keptPostPath}?attempt=${attempt}`,
    hasFiles: post.contentType.toLowerCase().startsWith('multipart/'),
    bytes: post.body.length,
    ageMs,
    leftMs: Math.max(0, keptMs - ageMs),
    portalUrl: `${settings.accessUrl.origin}/`,
  })
  return point.responder.page(page, { requestId: arrival.id })
}

/** `POST`, from a page of the same origin: throws the form away and leads to the page that it was sent to. */
export async function discardKeptPost(own: KeptPostRequest): Promise<Answer> {
  const { point, arrival, host, route } = own
  const { cookies, keptPosts } = point.ports
  const { attempt, id } = findId(own) ?? {}
  const post = id === undefined ? undefined : await keptPosts.take(id)
  if (post !== undefined)
    recordPost(point, arrival, matchRoute(host, post.path) ?? route, { event: 'post.discarded', kept: post, cause: 'by_person' })
  return point.responder.redirect(303, `${host.origin.origin}${post?.path ?? route.app.address.prefix}`, {
    requestId: arrival.id,
    cookies: attempt === undefined ? [] : [cookies.clearAttempt(attempt, host.origin)],
  })
}

async function findPost(
  own: KeptPostRequest,
): Promise<{ readonly attempt: string; readonly id: string; readonly post: KeptPost } | undefined> {
  const named = findId(own)
  const post = named === undefined ? undefined : await own.point.ports.keptPosts.find(named.id)
  return named === undefined || post?.origin !== own.host.origin.origin ? undefined : { ...named, post }
}

/** The form's id, from the attempt cookie of this browser that the address names. */
function findId({ point, arrival, host, target }: KeptPostRequest): { readonly attempt: string; readonly id: string } | undefined {
  const [attempt, ...others] = new URLSearchParams(target.query).getAll('attempt')
  if (attempt === undefined || others.length > 0) return undefined
  const id = point.ports.cookies.readAppAttempt(attempt, arrival.request.headers.cookie, host.origin)?.kept
  return id === undefined ? undefined : { attempt, id }
}
