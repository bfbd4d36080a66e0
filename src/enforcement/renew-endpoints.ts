/**
 * `/.postern/renew.js` and what it uses: the script and stylesheet that an app may include, and the page behind them.
 *
 * `/.postern/renew?mode=frame|popup` begins a renewal: an ordinary attempt of this browser that ends on `?outcome=…` of the same origin,
 * where a page of ours tells the one that waits. It is begun by the app's own pages alone; only they can frame its end. What that page says
 * is news and no proof: the script asks `whoami` before it goes on. `?detour=…` is a stop on the way to a page of another app.
 */

import { createHash } from 'node:crypto'
import type { StepUp } from '../policy/decision.ts'
import { openStepUp } from '../session/sealed-step-up.ts'
import type { Arrival, EnforcementPoint } from './arrival.ts'
import type { Target } from './exchange.ts'
import type { Asset } from './ports.ts'
import type { Answer } from './respond.ts'
import { type AppHost, matchRoute, type Route } from './route-table.ts'
import { beginAttempt } from './sign-in-challenge.ts'
import { beginStop } from './sign-in-detour.ts'

/** One request for one of these, as `own-endpoints.ts` has it. */
export interface RenewRequest {
  readonly point: EnforcementPoint
  readonly arrival: Arrival
  readonly host: AppHost
  readonly target: Target
  /** The app that speaks for the origin. */
  readonly route: Route
}

/** Why there is nothing to answer with; the caller refuses in its own way. */
export type RenewProblem = 'path_not_found' | 'cross_origin' | 'bad_hand_off'

/** `GET /.postern/renew`. */
export async function answerRenew(own: RenewRequest): Promise<Answer | RenewProblem> {
  const query = new URLSearchParams(own.target.query)
  if (query.has('detour')) return (await beginStop(own)) ?? 'bad_hand_off'
  const mode = query.get('mode')
  if (mode !== 'frame' && mode !== 'popup') return 'path_not_found'
  const outcome = query.get('outcome')
  if (outcome === null) return beginRenewal(own, mode, query)
  const { point, arrival } = own
  return point.responder.page(point.ports.renewal.renderPage({ outcome: wordOf(outcome), mode }), { requestId: arrival.id })
}

/** `GET /.postern/renew.js` and `/.postern/renew.css`. */
export function answerRenewFile({ point, arrival, target }: RenewRequest): Answer {
  const { script, stylesheet } = point.ports.renewal
  const file = target.path.endsWith('.js') ? script : stylesheet
  const version = versionOf(file)
  const etag = `"${version}"`
  const known = (arrival.request.headers['if-none-match'] ?? '').split(',').map((tag) => tag.trim().replace(/^W\//, ''))
  const isPinned = new URLSearchParams(target.query).get('v') === version
  return point.responder.file(file, { requestId: arrival.id, etag, isKnown: known.includes(etag), isPinned })
}

function beginRenewal(own: RenewRequest, mode: 'frame' | 'popup', query: URLSearchParams): Answer | RenewProblem {
  const { point, arrival, host } = own
  const { headers } = arrival.request
  // Another site's page could else have a person signed in, or asked to, at a moment of its choosing.
  const site = headers['sec-fetch-site']
  if (site !== undefined && site !== 'same-origin' && site !== 'none') return 'cross_origin'
  const { origin } = host.origin
  const about = URL.parse(query.get('for') ?? '', origin)
  const { app } = (about?.origin === origin ? matchRoute(host, about.pathname) : undefined) ?? own.route
  const { location, cookies } = beginAttempt(point.settings, point.ports, host.origin, {
    returnTo: `${origin}${app.address.prefix}`,
    landOn: `${origin}/.postern/renew?mode=${mode}&outcome=renewed`,
    cookieHeader: headers.cookie,
    stepUp: readDemand(own, about, query.getAll('step_up')),
    renewal: mode,
  })
  return point.responder.redirect(303, location, { requestId: arrival.id, cookies })
}

/**
 * What the refusal that began this asked for, as it stands in its `sign_in`: of this origin, or of one that its pages may call. A demand that
 * does not open is none: the round is made without, and the app asks again.
 */
function readDemand({ point, arrival, host }: RenewRequest, about: URL | null, values: readonly string[]): StepUp | undefined {
  const [value, ...others] = values
  if (value === undefined || others.length > 0 || about === null) return undefined
  const isCallable = arrival.snapshot.routes.routes.some(
    (route) => route.app.address.origin === about.origin && route.calledBy.has(host.origin.origin),
  )
  if (about.origin !== host.origin.origin && !isCallable) return undefined
  return openStepUp(point.ports, point.settings.accessUrl, about.origin, value)
}

/** Becomes an attribute of a page; anything that is no word of ours or of the provider is none. */
function wordOf(outcome: string): string {
  return /^[a-z_]{1,64}$/.test(outcome) ? outcome : 'failed'
}

const versions = new WeakMap<Asset, string>()

function versionOf(file: Asset): string {
  let version = versions.get(file)
  if (version === undefined) {
    version = createHash('sha256').update(file.body).digest('hex').slice(0, 20)
    versions.set(file, version)
  }
  return version
}
