/**
 * The control plane as a table of contents: what every request to the access host passes, then the groups, each behind its guard.
 *
 * Feature files get their group's router and mount nothing themselves, so no path escapes its guard. Express sees a request only after
 * the listener has bound what it knows about it; headers by which a client could state scheme, host or address are gone by then, and
 * the public URL's scheme stands in their place, so that Secure cookies work behind a balancer that ends TLS.
 */

import type { IncomingMessage, ServerResponse } from 'node:http'
import express, { type Request, type Response, Router } from 'express'
import type { BreakGlassDoor } from '../administration/break-glass.ts'
import type { DeviceBinding } from '../attributes/device-binding.ts'
import type { DeviceReader } from '../attributes/device-facts.ts'
import type { EnvironmentReader } from '../attributes/environment-facts.ts'
import type { AuditTrail } from '../audit/event.ts'
import type { CurrentKeys } from '../keys.ts'
import type { Live } from '../live/live.ts'
import type { Logger } from '../log.ts'
import type { RelyingParty } from '../oidc/relying-party.ts'
import { createRateLimit } from '../rate-limits.ts'
import type { SealedCookies } from '../session/sealed-cookies.ts'
import type { Sessions } from '../session/sessions.ts'
import type { SessionStore } from '../session/store.ts'
import { createAnswers } from './answers.ts'
import { type DeviceReportsPorts, mountDeviceReports } from './api/device-reports.ts'
import { mountOperations, type OperationsApiPorts } from './api/operation-routes.ts'
import { mountBackchannelLogout } from './backchannel-logout.ts'
import { mountBreakGlass } from './break-glass.ts'
import { createBrowserState } from './browser-state.ts'
import { type ConsoleSettings, mountConsole } from './console/console.ts'
import { createConsoleTokens } from './console/console-token.ts'
import { answerLastResort, handleFailure } from './failures.ts'
import { limitRate, noBackgroundRequests, noForeignEmbeds, onlyMethods, sameOriginPosts, securityHeaders } from './guards.ts'
import { mountMySessions } from './my-sessions.ts'
import { mountPublicPaths, mountWhoami } from './own-paths.ts'
import type { PageRenderer } from './pages.ts'
import type { ReadPerson } from './person.ts'
import { mountPortal, type PublishedApp } from './portal.ts'
import { mountPersonalPages } from './portal-pages.ts'
import { type PersonalSettings, personalPathsOf } from './portal-settings.ts'
import { bindContext, type RequestContext } from './request-context.ts'
import { mountSignIn } from './sign-in.ts'
import { mountSignedOut, mountSignOut } from './sign-out.ts'
import { createSignedInRequests } from './signed-in.ts'

export interface ControlPlaneSettings extends ReadPerson {
  /** Origin of the access host. */
  readonly accessUrl: URL
  readonly relyingParty: RelyingParty
  readonly sessions: Sessions
  /** Where form state is kept. */
  readonly store: SessionStore
  readonly cookies: SealedCookies
  readonly keys: CurrentKeys
  readonly audit: AuditTrail
  readonly pages: PageRenderer
  readonly log: Logger
  /** Epoch milliseconds. */
  readonly now: () => number
  /** Apps of the snapshot in force; read anew for each request. */
  readonly apps: () => Iterable<PublishedApp>
  /** The address of an app's picture; see `app-logos.ts`. */
  readonly logoOf: (appId: string) => string | undefined
  readonly readEnvironment: EnvironmentReader
  readonly devices: DeviceReader
  /** Ties sessions to the devices that they begin on. */
  readonly binding: DeviceBinding
  /** Accepts what devices and management systems report; without it there is no such path. */
  readonly deviceReports?: DeviceReportsPorts
  /** Every operation of the console, for programs; without it there are no such paths. */
  readonly api?: OperationsApiPorts
  /** Takes the codes of emergency sign-ins; without it they are not known here. */
  readonly breakGlass?: BreakGlassDoor
  readonly countBreakGlass?: () => void
  /** What is locked, for the portal to say so. */
  readonly live: Pick<Live, 'findLock'>
  /** Devices, what is known and requests of the person who looks; without it there are no such paths. */
  readonly personal?: PersonalSettings | undefined
  /** The console; without it there are no such paths. */
  readonly console?: ConsoleSettings
  readonly sessionLimits: { readonly idleTimeoutSeconds: number; readonly lifetimeSeconds: number }
  /** Per client address and minute. Thousands of people in one office have one address, and ten tabs each in the morning. */
  readonly rateLimits?: { readonly signInsPerMinute: number; readonly wrongLogoutTokensPerMinute: number }
}

const defaultRateLimits = { signInsPerMinute: 3000, wrongLogoutTokensPerMinute: 60 }

/** Creates the handler for the access host. */
export function createControlPlane(
  settings: ControlPlaneSettings,
): (request: IncomingMessage, response: ServerResponse, context: RequestContext) => void {
  const { accessUrl, log, pages, rateLimits = defaultRateLimits } = settings
  const answers = createAnswers(pages, accessUrl)
  const signedIn = createSignedInRequests({ ...settings, answers })
  const { personal } = settings
  const tokens = createConsoleTokens(settings.keys)
  const ports = { ...settings, answers, signedIn, tokens, browserState: createBrowserState(settings) }
  const signIns = createRateLimit({ points: rateLimits.signInsPerMinute, seconds: 60 })
  const wrongLogoutTokens = createRateLimit({ points: rateLimits.wrongLogoutTokensPerMinute, seconds: 60 })

  const app = express()
  app.disable('x-powered-by')
  app.disable('etag')
  app.set('query parser', 'simple')
  app.set('case sensitive routing', true)
  app.set('strict routing', true)
  app.set('trust proxy', true) // Of the forwarding headers only our own is left; see `stateScheme`.

  app.use(...securityHeaders())

  // Server to server: no browser, no origin.
  const provider = groupRouter()
  mountBackchannelLogout(provider, { ...ports, limit: wrongLogoutTokens })
  app.use(provider)

  // Machines with a proof of their own: no browser, no cookie.
  const machines = groupRouter()
  if (settings.deviceReports !== undefined) mountDeviceReports(machines, { ...settings.deviceReports, answers })
  if (settings.api !== undefined) mountOperations(machines, { ...settings.api, answers })
  app.use(machines)

  app.use(sameOriginPosts(accessUrl, answers))
  app.use(['/sign-in', '/oidc/callback'], noBackgroundRequests(answers), limitRate(signIns, answers))

  const anybody = groupRouter()
  if (settings.breakGlass !== undefined) mountBreakGlass(anybody, { ...ports, breakGlass: settings.breakGlass })
  mountSignIn(anybody, ports)
  mountSignOut(anybody, ports)
  mountSignedOut(anybody, ports)
  mountPublicPaths(anybody, ports)
  app.use(anybody)

  const signedInPeople = groupRouter()
  const guarded = ['/', '/.postern/whoami']
  signedInPeople.all([...guarded, '/sessions', ...personalPathsOf(personal)], signedIn.guard)
  mountPortal(signedInPeople, ports)
  mountWhoami(signedInPeople, ports)
  mountMySessions(signedInPeople, ports)
  if (personal !== undefined) mountPersonalPages(signedInPeople, { ...ports, personal })
  signedInPeople.all(guarded, onlyMethods('GET, HEAD', answers))
  app.use(signedInPeople)

  // Each of its pages stands behind its own permission; see `console-routes.ts`.
  app.use('/console', noForeignEmbeds(answers))
  const consoleRoles = groupRouter()
  if (settings.console !== undefined) mountConsole(consoleRoles, ports, settings.console)
  app.use(consoleRoles)

  app.use((request, response) => answers.refuse(request, response, 'path_not_found'))
  app.use(handleFailure(answers, log))

  return (request, response, context) => {
    bindContext(request, context)
    stateScheme(request, accessUrl)
    // Express's own last handler prints stacks, on the page or on standard error.
    app(request as Request, response as Response, (error?: unknown) => answerLastResort(response, log, error, context.requestId))
  }
}

function groupRouter(): Router {
  return Router({ caseSensitive: true, strict: true })
}

/** Replaces everything by which a client could claim another scheme, host or address with the one thing that is known: our scheme. */
function stateScheme(request: IncomingMessage, accessUrl: URL): void {
  for (const name of Object.keys(request.headers)) {
    if (name === 'forwarded' || name.startsWith('x-forwarded-')) delete request.headers[name]
  }
  request.headers['x-forwarded-proto'] = accessUrl.protocol.slice(0, -1)
}
