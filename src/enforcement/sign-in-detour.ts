/**
 * The stops of a detour on app hosts: before a browser that just signed in to one app gets its page, it goes by the apps which that app's
 * pages call. Their first fetch there would else meet a host that has never seen the browser, and a fetch cannot be sent to sign in.
 *
 * Each stop is an ordinary sign-in of that app: an attempt cookie of its own, the access host with the browser's own session, a one-time
 * code bound to both. So nobody can be put into somebody else's session by a detour they were made to follow. Nothing on the way may keep
 * the person from the page they asked for: whatever fails at a stop, the next address is the next stop, or that page.
 */

import { type Detour, openDetour, sealDetour } from '../session/sealed-detour.ts'
import type { Arrival, EnforcementPoint } from './arrival.ts'
import type { Target } from './exchange.ts'
import type { Answer } from './respond.ts'
import type { AppHost } from './route-table.ts'
import { beginAttempt } from './sign-in-challenge.ts'

interface Stop {
  readonly point: EnforcementPoint
  readonly arrival: Arrival
  readonly host: AppHost
  readonly target: Target
}

/** The detour that an address carries, if it is one of ours and ends at an app of ours. One may be kept for longer than an app is. */
function readDetour({ arrival, point, target }: Stop): Detour | undefined {
  const [sealed, ...others] = new URLSearchParams(target.query).getAll('detour')
  const detour = sealed === undefined || others.length > 0 ? undefined : openDetour(point.ports, point.settings.accessUrl, sealed)
  return detour?.returnTo === undefined || isOurs(arrival, detour.returnTo) ? detour : undefined
}

/**
 * Takes a hand-off back with `takeBack` and sends the browser on. The app that was signed in to begins the detour when it has accepted, and
 * answers a failure as ever; a failure at a stop is only a stop less.
 */
export async function takeBackOnDetour(stop: Stop, takeBack: () => Promise<Answer>): Promise<Answer> {
  const detour = readDetour(stop)
  if (detour === undefined) return await takeBack()
  const { returnTo } = detour
  if (returnTo === undefined) {
    const answer = await takeBack()
    const { location } = answer.headers
    return isAccepted(answer) && typeof location === 'string'
      ? leadingTo(answer, nextAddress(stop, detour.origins, { ...detour, returnTo: location }))
      : answer
  }
  const onward = nextAddress(stop, detour.origins.slice(1), { ...detour, returnTo })
  try {
    const answer = await takeBack()
    if (isAccepted(answer)) return leadingTo(answer, onward)
  } catch (error) {
    stop.point.ports.log.warn({ request: stop.arrival.id, err: error }, 'an app that another calls could not be opened ahead')
  }
  return goOn(stop, onward)
}

/** Begins the sign-in of a stop. `undefined`: what came is no detour of ours. */
export async function beginStop(stop: Stop): Promise<Answer | undefined> {
  const { point, arrival, host } = stop
  const detour = readDetour(stop)
  if (detour?.returnTo === undefined) return undefined
  const { origins, returnTo, sessionId } = detour
  const { origin } = host.origin
  const rest = origins.slice(1)
  if (origins[0] !== origin) return goOn(stop, returnTo)
  if (await isOpenFor(stop, sessionId)) return goOn(stop, nextAddress(stop, rest, { ...detour, returnTo }))
  const root = `${origin}/`
  const { location, cookies } = beginAttempt(point.settings, point.ports, host.origin, {
    returnTo: root,
    landOn: root,
    cookieHeader: arrival.request.headers.cookie,
    detour: sealDetour(point.ports, point.settings.accessUrl, detour),
  })
  return point.responder.redirect(303, location, { requestId: arrival.id, cookies })
}

/** Whether this origin knows the browser by this very session already. A store that cannot say makes the stop an ordinary one. */
async function isOpenFor({ point, arrival, host }: Stop, sessionId: string): Promise<boolean> {
  const secret = point.ports.cookies.readSession('app', arrival.request.headers.cookie, host.origin)
  if (secret === undefined) return false
  const lookup = await point.ports.sessions.findByAppSecret(secret, host.origin.origin).catch(() => undefined)
  return lookup?.state === 'live' && lookup.session.id === sessionId
}

/** The next stop that is still an app of ours, else the end. */
function nextAddress({ point, arrival }: Stop, origins: readonly string[], detour: Detour & { readonly returnTo: string }): string {
  const at = origins.findIndex((origin) => isOurs(arrival, origin))
  const next = origins[at]
  if (next === undefined) return detour.returnTo
  const url = new URL('/.postern/renew', next)
  url.searchParams.set('detour', sealDetour(point.ports, point.settings.accessUrl, { ...detour, origins: origins.slice(at) }))
  return url.href
}

function isOurs({ snapshot }: Arrival, address: string): boolean {
  const { hostname, origin, port } = new URL(address)
  return snapshot.routes.findHost(hostname, port === '' ? undefined : Number(port))?.origin.origin === origin
}

/** A hand-off that was accepted sets a cookie; a restart does not. */
function isAccepted({ status, headers }: Answer): boolean {
  return status === 303 && headers['set-cookie'] !== undefined
}

function leadingTo(answer: Answer, location: string): Answer {
  return { ...answer, headers: { ...answer.headers, location } }
}

function goOn({ point, arrival }: Stop, location: string): Answer {
  return point.responder.redirect(303, location, { requestId: arrival.id })
}
