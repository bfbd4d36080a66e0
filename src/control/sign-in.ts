/**
 * Signing in, on the access host: from an app that does not know the browser, to the provider, and back to that app.
 *
 * A live session goes straight to the hand-off. Else an attempt begins: state, nonce and PKCE verifier are sealed into a cookie of this
 * browser, and nothing is written to a store until the provider has answered. In the callback the order is a security property:
 *
 * 1. the cookie that belongs to `state`, so that nobody is signed in with somebody else's answer (login CSRF, RFC 9700 §4.7);
 * 2. `state` and `iss` compared, while the code is still unspent (RFC 9207);
 * 3. the attempt taken once, over all instances;
 * 4. the code redeemed and the ID Token verified;
 * 5. unless a live session of the same person continues: the sign-in newer than whatever ended the last one;
 * 6. a session begun, with a new secret (fixation), and another person's ended;
 * 7. where a stronger or fresher sign-in was asked for: judged, once; what does not bring it is a refusal that says so, and no second round;
 * 8. the hand-off: a one-time code for exactly the origin and the attempt that asked. Without an attempt none is ever minted.
 */

import type { Request, Response, Router } from 'express'
import { type ClaimsState, displayNameOf } from '../attributes/subject-facts.ts'
import type { AuditTrail } from '../audit/event.ts'
import { isPosternError } from '../errors.ts'
import type { CurrentKeys } from '../keys.ts'
import type { Logger } from '../log.ts'
import type { RelyingParty } from '../oidc/relying-party.ts'
import type { AccessAttempt } from '../session/sealed-cookies.ts'
import { sealDetour } from '../session/sealed-detour.ts'
import type { Session, SessionLookup } from '../session/session.ts'
import type { SessionStore } from '../session/store.ts'
import type { Answers, ControlReason, RefusalDetails } from './answers.ts'
import { reasonOf, setRetryPath } from './failures.ts'
import { renewalFor } from './fresh-sign-in.ts'
import { onlyMethods } from './guards.ts'
import { findSingle, getContext, readQuery } from './request-context.ts'
import { findAppOf, parseConsolePage, parseReturnUrl } from './return-url.ts'
import { type CallableApp, type CompanionPorts, findCompanions } from './sign-in-companions.ts'
import { callbackOf, passBy } from './sign-in-detour.ts'
import { answerFrame, readRenewal } from './sign-in-renewal.ts'
import { establishSession, presentOf, type SessionPorts } from './sign-in-session.ts'
import { findShortfall, isMetBy, readStepUp, signInPath, takeTurn } from './sign-in-step-up.ts'

export interface SignInPorts extends SessionPorts, CompanionPorts {
  readonly relyingParty: RelyingParty
  /** Asked before anybody is sent away: a person who typed a password must not come back to a closed door. */
  readonly store: Pick<SessionStore, 'loadNow'>
  readonly keys: CurrentKeys
  readonly audit: AuditTrail
  readonly answers: Answers
  readonly log: Logger
  /** Apps of the snapshot in force. */
  readonly apps: () => Iterable<CallableApp>
}

/** What an attempt has to remember beside the provider's own secrets. */
type Errand = Pick<AccessAttempt, 'attempt' | 'returnTo' | 'prompt' | 'renewal' | 'restarts' | 'stepUp'>

/** Longer than an attempt's cookie lives, so that an answer cannot be presented twice. */
const attemptTakenSeconds = 600
/** Errors after which trying again is likely to help and cannot loop: the attempt restarts once. */
const passingErrors = new Set(['temporarily_unavailable', 'authentication_expired'])
const troubleErrors = new Set(['temporarily_unavailable', 'server_error'])
/** OpenID Connect Core Error Code unmet_authentication_requirements 1.0: the answer to a wish that cannot be met. */
const unmetErrors = new Set(['unmet_authentication_requirements'])

/** Adds `/sign-in` and `/oidc/callback`. */
export function mountSignIn(router: Router, ports: SignInPorts): void {
  const { answers } = ports
  router.get('/sign-in', (request, response) => startSignInOnErrand(ports, request, response))
  router.all('/sign-in', onlyMethods('GET, HEAD', answers))
  // HEAD would spend a code for nothing, and `form_post` is not what was asked for.
  router.head('/oidc/callback', onlyMethods('GET', answers))
  router.get('/oidc/callback', (request, response) => completeSignInOnErrand(ports, request, response))
  router.all('/oidc/callback', onlyMethods('GET', answers))
}

/** A stop of a detour and a renewal in a frame have nobody who could read a page about a failure. */
async function startSignInOnErrand(ports: SignInPorts, request: Request, response: Response): Promise<void> {
  const query = readQuery(request)
  const sealed = findSingle(query, 'detour')
  const returnTo = parseReturnUrl(findSingle(query, 'return_to'), ports.apps())
  if (sealed !== undefined) {
    const onward = await passBy(ports, request, { sealed, returnTo, attempt: parseAttempt(findSingle(query, 'attempt')) })
    if (onward !== undefined) return ports.answers.redirect(response, 303, onward)
    return refuseSignIn(ports, request, response, { reason: 'sign_in_invalid', error: 'detour_unknown' })
  }
  if (returnTo === undefined || readRenewal(request) !== 'frame') return await startSignIn(ports, request, response)
  await startSignIn(ports, request, response).catch((error: unknown) => {
    ports.log.warn({ request: getContext(request).requestId, err: error }, 'a renewal in a frame failed')
    answerFrame(ports.answers, response, returnTo, reasonOf(error))
  })
}

async function startSignIn(ports: SignInPorts, request: Request, response: Response): Promise<void> {
  const { accessUrl, answers, apps, binding, cookies, now, sessions, store } = ports
  const query = readQuery(request)
  const ownPage = parseConsolePage(findSingle(query, 'return_to'), accessUrl)
  const returnTo = ownPage ?? parseReturnUrl(findSingle(query, 'return_to'), apps())
  // A page of this very host needs no hand-off: its cookie is the session's own.
  const attempt = returnTo === undefined || ownPage !== undefined ? undefined : parseAttempt(findSingle(query, 'attempt'))
  setRetryPath(response, signInPath(ports, accessUrl, { returnTo, attempt }))
  const values = query.getAll('step_up')
  const wanted = returnTo === undefined ? 'none' : readStepUp(ports, accessUrl, { returnTo, attempt, values })
  const stepUp = typeof wanted === 'string' ? undefined : wanted
  setRetryPath(response, signInPath(ports, accessUrl, { returnTo, attempt, stepUp }))
  const secret = cookies.readSession('session', request.headers.cookie, accessUrl)
  const lookup: SessionLookup = secret === undefined ? { state: 'none' } : await sessions.findByAccessSecret(secret)
  // A cookie that was carried to another device is worth a new sign-in there, and no hand-off.
  const isElsewhere = lookup.state === 'live' && (await binding.isElsewhere(request, lookup.session))
  // Without an attempt nothing could take a hand-off: the app itself begins one, in the browser that is to have the session. It would
  // refuse one that is elsewhere, and send it here again.
  if (returnTo !== undefined && ownPage === undefined && attempt === undefined && stepUp === undefined && !isElsewhere) {
    answers.redirect(response, 302, returnTo)
    return
  }
  if (returnTo !== undefined && wanted === 'invalid') {
    return refuseSignIn(ports, request, response, { startAgainUrl: returnTo, reason: 'sign_in_invalid', error: 'step_up_unknown' })
  }
  const renewal = attempt === undefined ? undefined : readRenewal(request)
  const errand: Errand = { attempt, returnTo, prompt: undefined, renewal, restarts: 0, stepUp }
  // Without a live session the store has perhaps not been asked yet, and it is needed when the browser comes back.
  const storeNow = lookup.state === 'live' ? lookup.now : await store.loadNow()
  const app = returnTo === undefined ? undefined : findAppOf(returnTo, apps())
  const present = presentOf(lookup)
  const round = app === undefined || present === undefined ? 'none' : renewalFor(app.app.session, present, storeNow)
  if (lookup.state === 'live' && round === 'none' && !isElsewhere) {
    const { session } = lookup
    // Another tab may have been to the provider already.
    const isEnough =
      stepUp === undefined ||
      (isMetBy(stepUp, session.signIn, now()) && (await takeTurn(sessions, 'at_once', { session, returnTo, stepUp })))
    if (isEnough) return answers.redirect(response, 303, await destinationOf(ports, request, lookup, errand))
  }
  if (renewal === 'frame' && returnTo !== undefined && round === 'fresh') return answerFrame(answers, response, returnTo, 'login_required')
  await beginAttempt(ports, request, response, {
    ...errand,
    prompt: renewal === 'frame' ? 'none' : round === 'fresh' ? 'login' : undefined,
  })
}

async function beginAttempt(
  { accessUrl, answers, cookies, relyingParty }: SignInPorts,
  request: Request,
  response: Response,
  errand: Errand,
) {
  const { url, pending } = await relyingParty.beginSignIn({ prompt: errand.prompt, loginHint: undefined, stepUp: errand.stepUp })
  const attempt: AccessAttempt = { ...pending, ...errand }
  for (const cookie of cookies.writeAttempt(attemptIdOf(pending.state), attempt, request.headers.cookie, accessUrl)) {
    response.append('Set-Cookie', cookie)
  }
  answers.redirect(response, 302, url.href)
}

/** As at its start: whatever fails in a frame, the page behind it is told. */
async function completeSignInOnErrand(ports: SignInPorts, request: Request, response: Response): Promise<void> {
  await completeSignIn(ports, request, response).catch((error: unknown) => {
    const attempt = findAttempt(ports, request, readQuery(request))
    const returnTo = parseReturnUrl(attempt?.returnTo, ports.apps())
    if (attempt?.renewal !== 'frame' || returnTo === undefined) throw error
    ports.log.warn({ request: getContext(request).requestId, err: error }, 'a renewal in a frame failed')
    answerFrame(ports.answers, response, returnTo, reasonOf(error))
  })
}

async function completeSignIn(ports: SignInPorts, request: Request, response: Response): Promise<void> {
  const answer = readQuery(request)
  const taken = await takeAttempt(ports, request, response, answer)
  if (taken === undefined) return
  const { attempt, errand, again } = taken
  const { renewal, returnTo, stepUp } = errand
  const refuse = (details: Parameters<typeof refuseSignIn>[3]) => {
    if (renewal !== 'frame' || returnTo === undefined) return refuseSignIn(ports, request, response, { ...again, ...details })
    // What a frame is told is no failure: that somebody has to be asked is what most renewals in a frame are to find out.
    answerFrame(ports.answers, response, returnTo, details.providerError ?? details.reason)
  }

  // 4
  const result = await ports.relyingParty.completeSignIn(answer, attempt).catch((error: unknown) => {
    if (!isPosternError(error)) throw error
    ports.log.warn({ request: getContext(request).requestId, err: error }, 'a sign-in failed')
    return { outcome: 'failed' as const, reason: reasonOf(error) }
  })
  if (result.outcome === 'failed') return refuse({ reason: result.reason })
  if (result.outcome === 'refused') {
    const { error } = result
    if (passingErrors.has(error) && errand.restarts === 0) {
      return await beginAttempt(ports, request, response, { ...errand, restarts: errand.restarts + 1 })
    }
    const isUnmet = stepUp !== undefined && unmetErrors.has(error)
    const reason = isUnmet ? 'step_up_failed' : troubleErrors.has(error) ? 'provider_unavailable' : 'provider_refused'
    return refuse({ reason, providerError: error, error })
  }

  // 5, 6
  const session = await establishSession(ports, request, response, { attempt, signedIn: result.signedIn })
  if (session === undefined) {
    if (renewal === 'frame') return refuse({ reason: 'sign_in_too_old', providerError: 'login_required' })
    if (attempt.prompt !== 'login') return await beginAttempt(ports, request, response, { ...errand, prompt: 'login' })
    return refuse({ reason: 'sign_in_too_old' })
  }

  // 7
  if (stepUp !== undefined) {
    const shortfall = findShortfall(stepUp, { session: session.signIn, round: result.signedIn.signIn }, ports.now())
    const isOver = shortfall !== undefined || !(await takeTurn(ports.sessions, 'after_round', { session, returnTo, stepUp }))
    if (isOver) {
      const error = shortfall ?? 'app_not_satisfied'
      const details = { reason: 'step_up_failed', person: displayNameOf(session), providerError: error, error } as const
      return refuse(details)
    }
  }

  // 8
  ports.answers.redirect(response, 303, await destinationOf(ports, request, { session, claimsState: 'fresh' }, errand))
}

interface TakenAttempt {
  readonly attempt: AccessAttempt
  readonly errand: Errand
  /** Ways to start over, from checked values. */
  readonly again: RefusalDetails
}

/** Steps 1 to 3. `undefined`: it was refused, and nothing is spent. */
async function takeAttempt(
  ports: SignInPorts,
  request: Request,
  response: Response,
  answer: URLSearchParams,
): Promise<TakenAttempt | undefined> {
  const { accessUrl, apps, cookies, relyingParty, sessions } = ports
  const refuse = (error: string, again: RefusalDetails = {}) => {
    refuseSignIn(ports, request, response, { ...again, reason: 'sign_in_invalid', error })
    return undefined
  }

  // 1
  setRetryPath(response, '/sign-in')
  const state = findSingle(answer, 'state') ?? ''
  const id = attemptIdOf(state)
  const attempt = findAttempt(ports, request, answer)
  if (attempt === undefined) return refuse('attempt_unknown')
  const returnTo = parseConsolePage(attempt.returnTo, accessUrl) ?? parseReturnUrl(attempt.returnTo, apps())
  // With the app's own attempt, which outlives this one: a page that waits then looks at the provider and not at a mere redirect.
  const { stepUp } = attempt
  const retryPath = signInPath(ports, accessUrl, { returnTo, attempt: attempt.attempt, stepUp })
  const again: RefusalDetails = { retryPath, ...(returnTo === undefined ? {} : { startAgainUrl: returnTo }) }
  setRetryPath(response, retryPath)

  // 2
  if (!relyingParty.isAnswerTo(answer, attempt)) return refuse('answer_mismatch', again)

  // 3
  if (!(await sessions.takeOnce('attempt', state, attemptTakenSeconds))) return refuse('attempt_used', again)
  response.append('Set-Cookie', cookies.clearAttempt(id, accessUrl))
  const errand: Errand = {
    attempt: attempt.attempt,
    returnTo,
    prompt: attempt.prompt,
    renewal: attempt.renewal,
    restarts: attempt.restarts,
    stepUp,
  }
  return { attempt, errand, again }
}

/** Where a browser with this session goes: through the hand-off to the app that sent it; to the app itself, which begins one; or to the portal. */
async function destinationOf(
  ports: SignInPorts,
  request: Request,
  person: { readonly session: Session; readonly claimsState: ClaimsState },
  { attempt, returnTo }: Errand,
): Promise<string> {
  const { accessUrl, now, sessions } = ports
  if (returnTo === undefined) return new URL('/', accessUrl).href
  if (attempt === undefined) return returnTo
  const { origin } = new URL(returnTo)
  const { id: sessionId } = person.session
  const origins = await findCompanions(ports, request, person, origin)
  const code = await sessions.issueHandOff({ sessionId, origin, attempt, returnTo })
  const detour = sealDetour(ports, accessUrl, { sessionId, origins, returnTo: undefined, at: now() })
  return callbackOf(returnTo, origins.length === 0 ? { code } : { code, detour })
}

/** What this browser was sent to the provider with, if this is an answer to it. */
function findAttempt({ accessUrl, cookies }: SignInPorts, { headers }: Request, answer: URLSearchParams): AccessAttempt | undefined {
  const state = findSingle(answer, 'state') ?? ''
  return isState(state) ? cookies.readAccessAttempt(attemptIdOf(state), headers.cookie, accessUrl) : undefined
}

function refuseSignIn(
  { answers, audit }: SignInPorts,
  request: Request,
  response: Response,
  { reason, error, ...details }: RefusalDetails & { readonly reason: ControlReason; readonly error?: string },
): void {
  const { requestId, address } = getContext(request)
  audit.record({ event: 'sign_in.failed', request: requestId, reason, error, address })
  answers.refuse(request, response, reason, details)
}

/** The cookie's name is the first 96 bits of `state`; the other 160 are proof that the answer belongs to it. */
function attemptIdOf(state: string): string {
  return state.slice(0, 16)
}

function isState(text: string): boolean {
  return /^[A-Za-z0-9_-]{43}$/.test(text)
}

/** An app's attempt is a SHA-256 in base64url; anything else is none. */
function parseAttempt(text: string | undefined): string | undefined {
  return text !== undefined && /^[A-Za-z0-9_-]{43}$/.test(text) ? text : undefined
}
