/**
 * Every answer that Postern gives itself on the data plane: the one switch from reason to status, and the three shapes of an answer.
 *
 * A navigation gets a page or a redirect, a frame gets a page that leads out of it, a program gets JSON with the same facts.
 * Answers are values; `reply.ts` writes them to a response or a bare socket. All say `X-Postern: <reason>` and `X-Postern-Request`,
 * none may be stored or sniffed. What the log knows beyond the reason never gets in here. RFC 9110 §15, Fetch Metadata.
 */

import type { IncomingMessage } from 'node:http'
import { type Reason, reasons, remedyWords, type StepUp, type Unmet } from '../policy/decision.ts'
import type { App } from '../policy/document.ts'
import { type Readers, readerHeaders } from './cross-origin.ts'
import type { Asset, EnforcementPorts, EnforcementSettings, OwnPage } from './ports.ts'

/** A complete answer. Header names are lower-case; length and connection are the writer's business. */
export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string | readonly string[]>>
  readonly body: string | Buffer
  /** The connection must not carry another request: where this one ends is not certain. */
  readonly closes: boolean
}

/** Who reads the answer. `page`: a person, in a tab. `frame`: a person, inside another page. `program`: anything else. */
export type Audience = 'page' | 'frame' | 'program'

/** What an answer to a refusal may tell. Everything in it, the person who asked may know. */
export interface Refusal {
  readonly reason: Reason
  readonly requestId: string
  readonly audience: Audience
  /** `undefined`: there is none, or it is not for this person, or a stranger, to know of it. */
  readonly app?: App | undefined
  readonly person?: string | undefined
  readonly unmet?: readonly Unmet[]
  readonly retryPath?: string | undefined
  /** For 401 answers: where the person can sign in, and the host for which. */
  readonly signInUrl?: string | undefined
  readonly realm?: string | undefined
  readonly allow?: string
  /** An access token would have been ours to judge here, or one was: the answer says so as RFC 6750 §3 wants it. */
  readonly takesBearer?: boolean
  /** What a stronger or fresher sign-in has to bring (RFC 9470). */
  readonly stepUp?: StepUp | undefined
  /** Which page of another origin may read it; see `readersOf`. `undefined`: the app is called by none. */
  readonly readers?: Readers | undefined
}

export interface Responder {
  refuse(refusal: Refusal): Answer
  redirect(status: 302 | 303 | 308, location: string, more: { requestId: string; reason?: Reason; cookies?: readonly string[] }): Answer
  json(status: number, body: object, more: { requestId: string; cacheSeconds?: number; reason?: Reason }): Answer
  page(page: OwnPage, more: { requestId: string; reason?: Reason }): Answer
  asset(type: string, body: Buffer, requestId: string): Answer
  /** A file of ours under a name that stays, for pages of the same origin: 304 where `isKnown`; for ever where `isPinned` to this very content. */
  file(file: Asset, more: { requestId: string; etag: string; isKnown: boolean; isPinned: boolean }): Answer
}

/** The status of an answer with this reason. */
export function statusOf(reason: Reason): number {
  switch (reason) {
    case 'rule_matched':
    case 'public':
    case 'report_mode':
    case 'cors_preflight':
      return 200
    case 'bad_request':
    case 'bad_hand_off':
    case 'two_identities':
    case 'sign_in_invalid':
    case 'kept_post_gone':
      return 400
    case 'invalid_token':
    case 'insufficient_user_authentication':
    case 'login_required':
    case 'session_expired':
    case 'session_ended':
      return 401
    case 'insufficient_scope':
    case 'device_changed':
    case 'step_up_failed':
    case 'no_rule_matched':
    case 'denied_by_rule':
    case 'locked':
    case 'evaluation_failed':
    case 'sign_in_too_old':
    case 'cross_origin':
    case 'provider_refused':
    case 'kept_post_of_another':
    case 'connection_cut':
      return 403
    case 'app_not_found':
    case 'path_not_found':
      return 404
    case 'method_not_allowed':
      return 405
    case 'request_timeout':
      return 408
    case 'body_too_large':
      return 413
    case 'misdirected_request':
      return 421
    case 'rate_limited':
      return 429
    case 'headers_too_large':
      return 431
    case 'internal_error':
      return 500
    case 'upstream_unreachable':
    case 'upstream_protocol_error':
      return 502
    case 'session_store_unavailable':
    case 'provider_unavailable':
    case 'audit_unavailable':
    case 'shutting_down':
      return 503
    case 'upstream_timeout':
      return 504
  }
}

/** Who is asking, from what browsers write and script cannot; without that, from what it would accept. */
export function readAudience({ headers }: IncomingMessage): Audience {
  if (isAheadOfTime(headers)) return 'program'
  const mode = headers['sec-fetch-mode']
  const destination = headers['sec-fetch-dest']
  if (mode !== undefined || destination !== undefined) {
    if (mode !== 'navigate' || destination === undefined) return 'program'
    if (destination === 'document') return 'page'
    return frameDestinations.has(destination) ? 'frame' : 'program'
  }
  const isForPeople = headers['x-requested-with'] === undefined && (headers.accept ?? '').toLowerCase().includes('text/html')
  return isForPeople ? 'page' : 'program'
}

/**
 * A page that a browser loads in case somebody goes there: nobody is waiting, and nobody is signed in for it. What it is refused, it throws
 * away, and asks again when somebody does go.
 */
function isAheadOfTime({ purpose, 'sec-purpose': secPurpose }: IncomingMessage['headers']): boolean {
  return [purpose, secPurpose].some((value) => typeof value === 'string' && value.startsWith('prefetch'))
}

const frameDestinations = new Set(['iframe', 'frame', 'embed', 'object', 'fencedframe'])

/**
 * As on the access host. The name follows the content, so what is under a name never changes; and a picture that somebody opens by its
 * address must not run script with the rights of the app whose origin this is (an SVG may carry some).
 */
const assetHeaders = {
  'cache-control': 'public, max-age=31536000, immutable',
  'content-security-policy': "default-src 'none'; style-src 'unsafe-inline'; sandbox",
  'cross-origin-resource-policy': 'same-origin',
} as const

/** Long enough that a restart is over, short enough that nobody gives up. */
const retryAfterSeconds = '5'

/** The answers of this instance. */
export function createResponder(
  { accessUrl, hstsSeconds }: Pick<EnforcementSettings, 'accessUrl' | 'hstsSeconds'>,
  { renderRefusal, now }: Pick<EnforcementPorts, 'renderRefusal' | 'now'>,
): Responder {
  const portalUrl = `${accessUrl.origin}/`
  const signOutUrl = `${accessUrl.origin}/.postern/sign-out`
  const common: Record<string, string> = { 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' }
  // The public URL decides, not this hop: behind a balancer that ends TLS the browser still speaks https.
  if (hstsSeconds !== undefined && accessUrl.protocol === 'https:') common['strict-transport-security'] = `max-age=${hstsSeconds}`

  const ownHeaders = (requestId: string, reason: Reason | undefined) => ({
    ...common,
    // Node adds it to a response; a bare socket has nobody to (RFC 9110 §6.6.1).
    date: new Date(now()).toUTCString(),
    ...(reason === undefined ? {} : { 'x-postern': reason }),
    'x-postern-request': requestId,
  })

  function json(status: number, body: object, more: { requestId: string; cacheSeconds?: number; reason?: Reason | undefined }): Answer {
    const headers = {
      ...ownHeaders(more.requestId, more.reason),
      'content-type': 'application/json; charset=utf-8',
      ...(more.cacheSeconds === undefined ? {} : { 'cache-control': `public, max-age=${more.cacheSeconds}` }),
    }
    return { status, headers, body: `${JSON.stringify(body)}\n`, closes: false }
  }

  function refusalPage(refusal: Refusal, status: number): Answer {
    const page = renderRefusal({
      status,
      reason: refusal.reason,
      requestId: refusal.requestId,
      app: refusal.app === undefined ? undefined : describeApp(refusal.app),
      person: refusal.person,
      unmet: refusal.unmet ?? [],
      at: now(),
      retryPath: refusal.retryPath,
      signInUrl: refusal.signInUrl,
      signOutUrl: refusal.person === undefined ? undefined : signOutUrl,
      portalUrl,
    })
    return { status, headers: { ...page.headers, ...ownHeaders(refusal.requestId, refusal.reason) }, body: page.body, closes: false }
  }

  function refusalJson(refusal: Refusal, status: number): Answer {
    const body = {
      error: errorWordOf(refusal.reason, status),
      message: reasons[refusal.reason],
      request_id: refusal.requestId,
      ...(status === 401 ? { sign_in: refusal.signInUrl } : {}),
      ...(refusal.stepUp === undefined ? {} : describeStepUp(refusal.stepUp)),
      ...(refusal.app === undefined ? {} : { app: describeApp(refusal.app) }),
      ...(refusal.person === undefined ? {} : { person: refusal.person }),
      ...(refusal.unmet === undefined || refusal.unmet.length === 0 ? {} : { unmet: refusal.unmet.map(describeUnmet) }),
    }
    return json(status, body, refusal)
  }

  return {
    refuse(refusal) {
      const status = statusOf(refusal.reason)
      // A malformed request proves no browser; nothing of it is worth a page, and its connection is not to be trusted.
      const isMalformed = refusal.reason === 'bad_request'
      const answer = refusal.audience === 'program' || isMalformed ? refusalJson(refusal, status) : refusalPage(refusal, status)
      const headers: Record<string, string | readonly string[]> = { ...answer.headers }
      const challenges = challengesOf(refusal, status, refusal.realm ?? accessUrl.hostname)
      if (challenges.length > 0) headers['www-authenticate'] = challenges
      Object.assign(headers, readerHeaders(refusal.readers))
      if (status === 405) headers['allow'] = refusal.allow ?? 'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS'
      if (status === 503 || status === 429) headers['retry-after'] = retryAfterSeconds
      return { ...answer, headers, closes: isMalformed || status === 405 || status === 408 || status === 421 || status === 431 }
    },
    redirect(status, location, { reason, requestId, cookies = [] }) {
      const headers = {
        ...ownHeaders(requestId, reason),
        location,
        // The address that the browser comes from may hold a one-time code.
        'referrer-policy': 'no-referrer',
        ...(cookies.length === 0 ? {} : { 'set-cookie': cookies }),
      }
      return { status, headers, body: '', closes: false }
    },
    json,
    page: ({ status, headers, body }, { requestId, reason }) => ({
      status,
      headers: { ...headers, ...ownHeaders(requestId, reason) },
      body,
      closes: false,
    }),
    asset: (type, body, requestId) => ({
      status: 200,
      headers: { ...ownHeaders(requestId, undefined), ...assetHeaders, 'content-type': type },
      body,
      closes: false,
    }),
    file: ({ type, body }, { requestId, etag, isKnown, isPinned }) => ({
      status: isKnown ? 304 : 200,
      headers: {
        ...ownHeaders(requestId, undefined),
        ...assetHeaders,
        ...(isPinned ? {} : { 'cache-control': 'public, max-age=3600, stale-while-revalidate=86400' }),
        'content-type': type,
        etag,
      },
      body: isKnown ? '' : body,
      closes: false,
    }),
  }
}

/** One public word for "sign in", whatever became of an earlier session; `X-Postern` has the precise reason. */
function errorWordOf(reason: Reason, status: number): Reason {
  const isPrecise = reason === 'invalid_token' || reason === 'insufficient_user_authentication'
  return status === 401 && !isPrecise ? 'login_required' : reason
}

/** What `WWW-Authenticate` says (RFC 9110 §11.6.1): a line for each way in. Names of scopes are the policy's and stay there. */
function challengesOf({ reason, takesBearer, stepUp }: Refusal, status: number, realm: string): readonly string[] {
  const bearer = (error: string) => `Bearer realm="${realm}", error="${error}"`
  switch (reason) {
    case 'invalid_token':
    case 'insufficient_scope':
      return [bearer(reason)]
    case 'two_identities':
      return [bearer('invalid_request')]
    case 'insufficient_user_authentication':
      return [`Postern realm="${realm}", error="${reason}"${stepUp === undefined ? '' : stepUpParameters(stepUp)}`]
    default:
      if (status !== 401) return []
      return [`Postern realm="${realm}"`, ...(takesBearer === true ? [`Bearer realm="${realm}"`] : [])]
  }
}

/** RFC 9470 §3. A value that a quoted string cannot carry (RFC 9110 §5.6.4) is in the body alone. */
function stepUpParameters({ acrValues, maxAgeSeconds }: StepUp): string {
  const acr = acrValues.join(' ')
  const isPlain = acr !== '' && /^[\x20\x21\x23-\x5b\x5d-\x7e]+$/.test(acr)
  return `${isPlain ? `, acr_values="${acr}"` : ''}${maxAgeSeconds === undefined ? '' : `, max_age="${maxAgeSeconds}"`}`
}

function describeStepUp({ acrValues, maxAgeSeconds }: StepUp) {
  return {
    ...(acrValues.length === 0 ? {} : { acr_values: acrValues.join(' ') }),
    ...(maxAgeSeconds === undefined ? {} : { max_age: maxAgeSeconds }),
  }
}

/** In the public contract's spelling: instants as RFC 3339, names in snake_case. */
function describeUnmet({ condition, outcome, remedy, details }: Unmet) {
  const stated = { condition, outcome, remedy, message: remedyWords[remedy] }
  if (details === undefined) return stated
  const { at, zone, withinSeconds, present, wanted } = details
  return { ...stated, details: { at: instantOf(at), zone, within_seconds: withinSeconds, present, wanted } }
}

/** `undefined` for what no calendar has: a fact of that shape must not cost the answer. */
function instantOf(at: number | undefined): string | undefined {
  return at === undefined || !(Math.abs(at) <= 8.64e15) ? undefined : new Date(at).toISOString()
}

function describeApp({ name, address, owner, help }: App) {
  return { name, url: `${address.origin}${address.prefix}`, owner, help }
}
