/**
 * The paths of ours on app hosts: everything under `/.postern/`. They have left the flow before routing and are never forwarded,
 * also not the ones that do not exist, so that no app can ever stand where a person expects Postern.
 *
 * Reading changes nothing; `sign-out` ends a session only by a POST from a page of the same origin. Every answer is ours, with our headers.
 */

import type { DeviceReading } from '../attributes/device-facts.ts'
import { type ClaimsState, displayNameOf } from '../attributes/subject-facts.ts'
import type { Reason } from '../policy/decision.ts'
import type { App } from '../policy/document.ts'
import type { SubjectFacts } from '../policy/facts.ts'
import type { Session, SessionLookup } from '../session/session.ts'
import { audienceOf, turnAway } from './act.ts'
import type { Arrival, EnforcementPoint } from './arrival.ts'
import { isSameOriginPost, readersOf } from './cross-origin.ts'
import type { Target } from './exchange.ts'
import { stateDevice, stateIdentity } from './identity.ts'
import { publicKeys } from './identity-assertion.ts'
import { reasonOf } from './judge.ts'
import { answerKeptPost, discardKeptPost } from './kept-post-page.ts'
import type { Asset } from './ports.ts'
import { observeEnd, recordRefusal } from './record.ts'
import { answerRenew, answerRenewFile } from './renew-endpoints.ts'
import type { Answer } from './respond.ts'
import { type AppHost, isHiddenFrom, matchRoute, type Route } from './route-table.ts'
import { endOfSession, idleEndOfSession, isOverFor } from './session-limits.ts'
import { completeHandOff, keptPostPath, signInUrl } from './sign-in-challenge.ts'
import { takeBackOnDetour } from './sign-in-detour.ts'

const assetPrefix = '/.postern/assets/'

/** Whether a canonical path is ours. */
export function isOwnPath(path: string): boolean {
  return path === '/.postern' || path.startsWith('/.postern/')
}

/** One request for a path of ours, on one app host. */
interface OwnRequest {
  readonly point: EnforcementPoint
  readonly arrival: Arrival
  readonly host: AppHost
  readonly target: Target
  /** The app that speaks for the origin: the one nearest its root. */
  readonly route: Route
}

type Endpoint = (request: OwnRequest) => Answer | Promise<Answer>

const endpoints: Readonly<Record<string, Readonly<Record<string, Endpoint>>>> = {
  '/.postern/callback': { GET: callback },
  '/.postern/sign-out': { GET: signOutPage, POST: signOut },
  '/.postern/whoami': { GET: whoami },
  '/.postern/jwks.json': { GET: jwks },
  [keptPostPath]: { GET: keptPost, POST: discardedPost },
  '/.postern/renew': { GET: renew },
  '/.postern/renew.js': { GET: answerRenewFile },
  '/.postern/renew.css': { GET: answerRenewFile },
}

/** Answers a path of ours. A failure in here is answered too: 503 while a store is away. */
export async function answerOwnPath(point: EnforcementPoint, arrival: Arrival, host: AppHost, target: Target): Promise<void> {
  const own: OwnRequest = { point, arrival, host, target, route: host.routes.at(-1) ?? host.routes[0] }
  try {
    arrival.answer(await findEndpoint(own)(own))
  } catch (cause) {
    const reason = reasonOf(cause)
    if (reason === 'evaluation_failed') point.ports.log.error({ err: cause, request: arrival.id }, 'a path of ours failed')
    arrival.answer(refuse(own, reason))
  }
}

/** A host that is nobody's: 404, and what that page needs in order to look like one of ours. Nothing else of ours answers there. */
export function answerUnknownHost(point: EnforcementPoint, arrival: Arrival, target: Target): void {
  const isReading = !arrival.isUpgrade && (arrival.request.method === 'GET' || arrival.request.method === 'HEAD')
  const found = isReading ? findAsset(point, target) : undefined
  if (found === undefined) turnAway(point, arrival, 'app_not_found', target)
  else arrival.answer(point.responder.asset(found.type, found.body, arrival.id))
}

function findEndpoint({ arrival, target }: OwnRequest): Endpoint {
  const methods = target.path.startsWith(assetPrefix) ? { GET: asset } : findOwn(endpoints, target.path)
  // None of ours is a WebSocket, although a handshake is a GET.
  if (methods === undefined || arrival.isUpgrade) return (own) => refuse(own, 'path_not_found')
  const { method = '' } = arrival.request
  const endpoint = findOwn(methods, method === 'HEAD' ? 'GET' : method)
  // HEAD on the callback would burn the code of the person whose link somebody's scanner looks at.
  if (endpoint !== undefined && !(method === 'HEAD' && endpoint === callback)) return endpoint
  const allow = Object.entries(methods).flatMap(([name, one]) => (name === 'GET' && one !== callback ? ['GET', 'HEAD'] : [name]))
  return (own) => refuse(own, 'method_not_allowed', { allow: allow.join(', ') })
}

function callback(own: OwnRequest): Promise<Answer> {
  return takeBackOnDetour(own, () => takeBack(own))
}

async function renew(own: OwnRequest): Promise<Answer> {
  const answer = await answerRenew(own)
  return typeof answer === 'string' ? refuse(own, answer) : answer
}

async function keptPost(own: OwnRequest): Promise<Answer> {
  const answer = await answerKeptPost(own, await findLookup(own))
  return 'reason' in answer ? refuse(own, answer.reason, answer) : answer
}

async function discardedPost(own: OwnRequest): Promise<Answer> {
  if (!isSameOriginPost(own.host.origin, own.arrival.request.headers)) return refuse(own, 'cross_origin')
  return discardKeptPost(own)
}

async function takeBack(own: OwnRequest): Promise<Answer> {
  const { point, arrival, host, target, route } = own
  const codes = new URLSearchParams(target.query).getAll('code')
  const [code] = codes
  if (code === undefined || codes.length > 1) return refuse(own, 'bad_hand_off')

  const handOff = await completeHandOff(point.ports, host, code, arrival.request.headers.cookie)
  const { id: requestId } = arrival
  switch (handOff.outcome) {
    case 'refused':
      return refuse(own, 'bad_hand_off')
    case 'restart':
      return point.responder.redirect(303, handOff.returnTo, { requestId })
    case 'accepted': {
      const lookup = await point.ports.sessions.findById(handOff.sessionId)
      if (lookup.state !== 'live') return refuse(own, 'bad_hand_off')
      point.ports.sessions.recordUse(lookup.session)
      const asked = matchRoute(host, new URL(handOff.askedFor).pathname) ?? route
      // Silent single sign-on cannot mend a session that has grown too old for this app: sending it back would go round for ever.
      if (lookup.now >= endOfSession(lookup.session, asked, point.settings.session)) {
        const isHidden = isHiddenFrom(asked, point.ports.readSubject(lookup.session, lookup.claimsState))
        return refuse(own, 'sign_in_too_old', { person: displayNameOf(lookup.session), ...(isHidden ? {} : { app: asked.app }) })
      }
      return point.responder.redirect(303, handOff.keptPostPage ?? handOff.returnTo, { requestId, cookies: handOff.cookies })
    }
  }
}

async function signOutPage(own: OwnRequest): Promise<Answer> {
  const { point, arrival, route, target } = own
  const found = await findSession(own)
  const page = point.ports.renderSignOut({
    person: found === undefined ? undefined : displayNameOf(found.session),
    // An app's name is for people who may know of it; a stranger learns the address that was asked for.
    appName: found === undefined || isHiddenFrom(route, found.subject) ? target.hostname : route.app.name,
    portalUrl: `${point.settings.accessUrl.origin}/`,
    // The form's answer is a redirect there, and from there on; browsers hold redirects to `form-action` too.
    formActionOrigins: [point.settings.accessUrl.origin],
  })
  return point.responder.page(page, { requestId: arrival.id })
}

async function signOut(own: OwnRequest): Promise<Answer> {
  const { point, arrival, host } = own
  if (!isSameOriginPost(host.origin, arrival.request.headers)) return refuse(own, 'cross_origin')
  const found = await findSession(own)
  const by = { requestId: arrival.id, address: arrival.address }
  const next = found === undefined ? `${point.settings.accessUrl.origin}/signed-out` : (await point.ports.signOut(found.session, by)).href
  return point.responder.redirect(303, next, { requestId: arrival.id, cookies: [point.ports.cookies.clearSession('app', host.origin)] })
}

async function whoami(own: OwnRequest): Promise<Answer> {
  const { point, arrival, route } = own
  const lookup = await findLookup(own)
  const limits = point.settings.session
  if (lookup.state !== 'live' || isOverFor(route, lookup.session, limits, lookup.now)) {
    return refuse(own, 'login_required', { audience: 'program' })
  }
  const { session, claimsState } = lookup
  const asksForDevice = route.policy.needs.has('device')
  const reading = asksForDevice || session.device !== undefined ? await readDevice(own, session, claimsState) : undefined
  if (reading?.isChanged === true) return refuse(own, 'device_changed', { audience: 'program' })
  const subject = point.ports.readSubject(session, claimsState)
  // Script of the app reads this: it learns what the app's own assertion says, and not more.
  const known = route.app.identity.kind === 'none' || subject.kind !== 'person' ? undefined : stateIdentity(route.app, subject)
  const body = {
    subject: known?.sub ?? null,
    email: known?.email ?? null,
    name: known?.name ?? null,
    groups: known?.groups ?? null,
    session: {
      started_at: seconds(session.startedAt),
      ends_at: seconds(endOfSession(session, route, limits)),
      idle_ends_at: seconds(idleEndOfSession(session, route, limits)),
    },
    sign_in: { at: seconds(session.signIn.at), acr: session.signIn.acr ?? null, amr: session.signIn.amr },
    device: (known === undefined || !asksForDevice ? undefined : stateDevice(reading?.device)) ?? null,
    claims_at: seconds(session.claims.at),
  }
  return point.responder.json(200, body, { requestId: arrival.id })
}

/** The device of this request, and whether a session that is bound to another one is used on it. */
async function readDevice({ point, arrival: { request } }: OwnRequest, session: Session, claimsState: ClaimsState): Promise<DeviceReading> {
  const { devices } = point.ports
  return devices.recall(request, session, claimsState) ?? (await devices.read(request, session, claimsState))
}

function jwks({ point, arrival }: OwnRequest): Answer {
  // Five minutes: a key is published a quarter of an hour before it signs.
  return point.responder.json(200, publicKeys(point.ports.keys), { requestId: arrival.id, cacheSeconds: 300 })
}

function asset(own: OwnRequest): Answer {
  const { point, arrival, target } = own
  const found = findAsset(point, target)
  return found === undefined ? refuse(own, 'path_not_found') : point.responder.asset(found.type, found.body, arrival.id)
}

function findAsset({ ports }: EnforcementPoint, { path }: Target): Asset | undefined {
  return path.startsWith(assetPrefix) ? ports.findAsset(path.slice(assetPrefix.length)) : undefined
}

/**
 * The session that signing out means. Also one that is over for this app alone, and one whose claims alone ran out: either would go
 * on after the next sign-in, as if nobody had ever signed out.
 */
async function findSession(own: OwnRequest): Promise<{ readonly session: Session; readonly subject: SubjectFacts } | undefined> {
  const lookup = await findLookup(own)
  const session = lookup.state === 'live' || lookup.state === 'expired' ? lookup.session : undefined
  if (session === undefined) return undefined
  return { session, subject: own.point.ports.readSubject(session, lookup.state === 'live' ? lookup.claimsState : 'unknown') }
}

async function findLookup({ point, arrival, host }: OwnRequest): Promise<SessionLookup> {
  const secret = point.ports.cookies.readSession('app', arrival.request.headers.cookie, host.origin)
  return secret === undefined ? { state: 'none' } : await point.ports.sessions.findByAppSecret(secret, host.origin.origin)
}

function refuse(
  { point, arrival, target, route }: OwnRequest,
  reason: Reason,
  more: {
    readonly person?: string
    readonly app?: App
    readonly retryPath?: string
    readonly allow?: string
    readonly audience?: 'program'
  } = {},
): Answer {
  const { prefix } = route.app.address
  const answer = point.responder.refuse({
    reason,
    requestId: arrival.id,
    audience: audienceOf(arrival),
    realm: target.hostname,
    // Where to begin again; the address of a used code leads nowhere.
    retryPath: reason === 'bad_hand_off' ? prefix : undefined,
    signInUrl: signInUrl(point.settings.accessUrl, route.audience),
    readers: readersOf(route, arrival.request.headers),
    ...more,
  })
  recordRefusal(point, arrival, reason, target)
  observeEnd(point, arrival, { app: undefined, effect: 'deny', reason, status: answer.status })
  return answer
}

function findOwn<T>(table: Readonly<Record<string, T>>, name: string): T | undefined {
  return Object.hasOwn(table, name) ? table[name] : undefined
}

/** The public contract speaks JWT's language of time. */
function seconds(instant: number): number {
  return Math.floor(instant / 1000)
}
