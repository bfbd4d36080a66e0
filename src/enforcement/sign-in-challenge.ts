/**
 * The two halves of signing in that happen on an app's host: sending the browser away, and taking it back.
 *
 * Away: the app host keeps a sealed attempt cookie with a secret and the page asked for; only the secret's hash travels. Nothing is
 * written to a store for a stranger. Back: the hand-off code is taken (any presentation burns it), and counts only for the browser
 * that holds the attempt it was minted for and only on its own origin, so that nobody can be signed in to somebody else's session
 * (login CSRF) and a leaked code opens nothing.
 *
 * Where a rule wants a stronger or fresher sign-in, what it wants travels sealed and bound to the attempt, for the access host to ask.
 */

import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import type { StepUp } from '../policy/decision.ts'
import { sealStepUp } from '../session/sealed-step-up.ts'
import type { HandOff } from '../session/sessions.ts'
import type { Target } from './exchange.ts'
import type { EnforcementPorts, EnforcementSettings } from './ports.ts'
import type { AppHost, Route } from './route-table.ts'

/** A redirect to the sign-in, with the cookies that must go with it. */
export interface SignInStart {
  readonly location: string
  readonly cookies: readonly string[]
}

/** How a hand-off went. `restart`: the attempt cookie is gone; one more try at the page asked for is harmless and usually mends it. */
export type HandOffOutcome =
  | {
      readonly outcome: 'accepted'
      readonly sessionId: string
      readonly returnTo: string
      /** The page that the access host was told: of the very app, also where the browser is given a page of ours. */
      readonly askedFor: string
      /** The page about the form that was kept when this sign-in began. */
      readonly keptPostPage: string | undefined
      readonly cookies: readonly string[]
    }
  | { readonly outcome: 'restart'; readonly returnTo: string }
  | { readonly outcome: 'refused' }

/** Where a person is asked what becomes of the form that was kept. `attempt` names the cookie that holds its id. */
export const keptPostPath = '/.postern/kept-post'

/** Cookies must stay under 4 KiB with their seal, and so must a Location that every balancer passes. */
const maxReturnLength = 2000

/** A second loss within this time is no accident: this browser keeps no cookies, and would go round for ever. */
const restartSeconds = 60

/** Begins a sign-in for a navigation: of a stranger, or a stronger or fresher one (`stepUp`) of a person. */
export function beginSignIn(
  { accessUrl }: Pick<EnforcementSettings, 'accessUrl'>,
  { cookies, keys, now }: Pick<EnforcementPorts, 'cookies' | 'keys' | 'now'>,
  route: Route,
  request: {
    readonly method: string | undefined
    readonly target: Target
    readonly cookieHeader: string | undefined
    readonly stepUp: StepUp | undefined
    /** The id of the form that this navigation brought, where it was kept. */
    readonly kept?: string | undefined
  },
): SignInStart {
  const { cookieHeader, kept, stepUp } = request
  const returnTo = returnAddress(route, request.method, request.target)
  return beginAttempt({ accessUrl }, { cookies, keys, now }, route.origin, { returnTo, landOn: returnTo, cookieHeader, stepUp, kept })
}

/**
 * Begins an attempt of this browser on one app origin. `returnTo` is what the access host is told, `landOn` what the browser is given when
 * it is back: a page of ours may be that, and no address of ours is ever a `return_to`.
 */
export function beginAttempt(
  { accessUrl }: Pick<EnforcementSettings, 'accessUrl'>,
  { cookies, keys, now }: Pick<EnforcementPorts, 'cookies' | 'keys' | 'now'>,
  origin: URL,
  {
    returnTo,
    landOn,
    cookieHeader,
    stepUp,
    kept,
    ...more
  }: {
    readonly returnTo: string
    readonly landOn: string
    readonly cookieHeader: string | undefined
    readonly stepUp?: StepUp | undefined
    readonly kept?: string | undefined
    /** A renewal from within a page: in a hidden frame nobody is ever asked anything. */
    readonly renewal?: 'frame' | 'popup'
    /** Sealed: this sign-in is a stop on the way to a page of another app. */
    readonly detour?: string
  },
): SignInStart {
  const secret = randomBytes(32).toString('base64url')
  const attempt = hashOf(secret)
  const sealed = stepUp === undefined ? undefined : sealStepUp({ keys, now }, accessUrl, attempt, stepUp)
  return {
    location: signInUrl(accessUrl, returnTo, { ...more, attempt, stepUp: sealed }),
    cookies: cookies.writeAttempt(attemptId(attempt), { secret, returnTo: landOn, kept }, cookieHeader, origin),
  }
}

/** Where a person can sign in by hand. Without an attempt the sign-in leads to `returnTo` itself, which then begins one. */
export function signInUrl(
  accessUrl: URL,
  returnTo: string,
  {
    attempt,
    stepUp,
    ...more
  }: {
    readonly attempt?: string
    readonly stepUp?: string | undefined
    readonly renewal?: string
    readonly detour?: string
  } = {},
): string {
  const query = new URLSearchParams({ return_to: returnTo })
  if (attempt !== undefined) query.set('attempt', attempt)
  if (stepUp !== undefined) query.set('step_up', stepUp)
  if (more.renewal !== undefined) query.set('renewal', more.renewal)
  if (more.detour !== undefined) query.set('detour', more.detour)
  return `${accessUrl.origin}/sign-in?${query}`
}

/**
 * Where a program that was refused for want of a stronger or fresher sign-in sends its person. It works for any page of the app's origin
 * as `return_to`, so that a script may name the one it runs on.
 */
export function stepUpUrl(
  { accessUrl }: Pick<EnforcementSettings, 'accessUrl'>,
  { keys, now }: Pick<EnforcementPorts, 'keys' | 'now'>,
  returnTo: string,
  stepUp: StepUp,
): string {
  return signInUrl(accessUrl, returnTo, { stepUp: sealStepUp({ keys, now }, accessUrl, new URL(returnTo).origin, stepUp) })
}

/** The page to come back to. A form cannot be sent again, so its path is visited instead, without what may have been its target's query. */
export function returnAddress(route: Route, method: string | undefined, { path, query }: Pick<Target, 'path' | 'query'>): string {
  const { origin, prefix } = route.app.address
  const address = method === 'GET' || method === 'HEAD' ? `${origin}${path}${query}` : `${origin}${path}`
  if (address.length <= maxReturnLength) return address
  return path.length + origin.length <= maxReturnLength ? `${origin}${path}` : `${origin}${prefix}`
}

/** Takes a hand-off. Rejects with `session_store_unavailable` if it cannot tell. */
export async function completeHandOff(
  { sessions, cookies }: Pick<EnforcementPorts, 'sessions' | 'cookies'>,
  host: AppHost,
  code: string,
  cookieHeader: string | undefined,
): Promise<HandOffOutcome> {
  const { origin } = host.origin
  const handOff = await sessions.takeHandOff(code)
  if (handOff === undefined || handOff.origin !== origin || !isOn(origin, handOff.returnTo)) return { outcome: 'refused' }

  const id = attemptId(handOff.attempt)
  const attempt = cookies.readAppAttempt(id, cookieHeader, host.origin)
  if (attempt === undefined) return restart(sessions, handOff)
  if (!isSame(hashOf(attempt.secret), handOff.attempt) || !isOn(origin, attempt.returnTo)) return { outcome: 'refused' }

  const secret = await sessions.openAppSession(handOff.sessionId, origin)
  if (secret === undefined) return { outcome: 'refused' }
  return {
    outcome: 'accepted',
    sessionId: handOff.sessionId,
    returnTo: attempt.returnTo,
    askedFor: handOff.returnTo,
    keptPostPage: attempt.kept === undefined ? undefined : `${origin}${keptPostPath}?attempt=${id}`,
    cookies: [
      cookies.writeSession('app', secret, host.origin),
      // With a kept form the attempt stays until that is settled: it is the browser's proof that the form is its own.
      ...(attempt.kept === undefined ? [cookies.clearAttempt(id, host.origin)] : []),
    ],
  }
}

async function restart(sessions: EnforcementPorts['sessions'], handOff: HandOff): Promise<HandOffOutcome> {
  const loop = hashOf(`restart\n${handOff.sessionId}\n${handOff.returnTo}`)
  const isFirst = await sessions.takeOnce('attempt', loop, restartSeconds)
  return isFirst ? { outcome: 'restart', returnTo: handOff.returnTo } : { outcome: 'refused' }
}

/** The cookie's name follows from what travels, so that coming back needs no second parameter. */
function attemptId(attempt: string): string {
  return attempt.slice(0, 16)
}

function hashOf(text: string): string {
  return createHash('sha256').update(text).digest('base64url')
}

function isSame(left: string, right: string): boolean {
  const [a, b] = [Buffer.from(left), Buffer.from(right)]
  return a.length === b.length && timingSafeEqual(a, b)
}

function isOn(origin: string, address: string): boolean {
  return URL.canParse(address) && new URL(address).origin === origin
}
