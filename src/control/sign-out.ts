/**
 * Signing out: a page with a button, and the POST behind it. GET never changes anything, so no picture and no link signs anybody out.
 *
 * What ends is the session with every app session in it, and with it whatever else hangs on the same session at the provider (tabs that
 * signed in at the same moment may have begun several). Then the browser goes to the provider, so that the next person
 * at this machine is not signed in silently. The end is on record before the browser is sent anywhere.
 */

import type { Request, RequestHandler, Response, Router } from 'express'
import { displayNameOf } from '../attributes/subject-facts.ts'
import type { RelyingParty } from '../oidc/relying-party.ts'
import type { SealedCookies } from '../session/sealed-cookies.ts'
import type { Session, SessionLookup } from '../session/session.ts'
import type { RequestCause, Sessions } from '../session/sessions.ts'
import type { Answers } from './answers.ts'
import { endFormState, isFormOf, issueFormToken } from './form-token.ts'
import { formBody, onlyMethods } from './guards.ts'
import { contentSecurityPolicy } from './page-headers.ts'
import type { PageRenderer } from './pages.ts'
import { findSingle, getContext, readQuery } from './request-context.ts'

export interface SignOutPorts {
  readonly accessUrl: URL
  readonly relyingParty: Pick<RelyingParty, 'endSessionUrl'>
  readonly sessions: Sessions
  readonly cookies: SealedCookies
  readonly answers: Answers
  readonly pages: PageRenderer
  /** Form state of a signed-in person; see `browser-state.ts`. */
  readonly browserState: RequestHandler
}

/** Names in `/signed-out` what became of the provider's session. A provider hands `state` back (RP-Initiated Logout §2). */
const toldMark = 'provider-told'
const maxFormBytes = 4096

/**
 * Ends a session for good and returns where the browser goes next: to the provider's end-session address, or, where it has none, to
 * `/signed-out`. Rejects with `session_store_unavailable` if the end is not on record.
 */
export function createSignOut({
  accessUrl,
  relyingParty,
  sessions,
}: Pick<SignOutPorts, 'accessUrl' | 'relyingParty' | 'sessions'>): (session: Session, by: RequestCause) => Promise<URL> {
  return async (session, by) => {
    await sessions.endSession(session.id, 'signed_out', by)
    if (session.providerSid !== undefined) await sessions.endProviderSid(session.issuer, session.providerSid, 'signed_out', by)
    const atProvider = relyingParty.endSessionUrl(session.tokens.idToken)
    if (atProvider === undefined) return new URL('/signed-out?provider=none', accessUrl)
    atProvider.searchParams.set('state', toldMark)
    return atProvider
  }
}

/** Origins that the answer to a sign-out form leads to, besides our own; for `form-action`, on app hosts as well. */
export function formActionOriginsOf({ relyingParty }: Pick<SignOutPorts, 'relyingParty'>): readonly string[] {
  const atProvider = relyingParty.endSessionUrl('')
  return atProvider === undefined ? [] : [atProvider.origin]
}

/** Lets the forms of this page lead to these origins besides our own: a browser checks `form-action` on redirects too. */
export function permitFormsTo(response: Response, formActionOrigins: readonly string[]): void {
  const policy = Object.entries(contentSecurityPolicy({ formActionOrigins }))
  response.set('Content-Security-Policy', policy.map(([name, sources]) => `${name} ${sources.join(' ')}`).join(';'))
}

/** Adds `/signed-out` to the public group. Any page may link here, so what it says is held against the session first. */
export function mountSignedOut(router: Router, { accessUrl, answers, cookies, pages, sessions }: SignOutPorts): void {
  router.get('/signed-out', async (request, response) => {
    const secret = cookies.readSession('session', request.headers.cookie, accessUrl)
    const remembered = secret === undefined ? undefined : sessionOf(await sessions.findByAccessSecret(secret))
    // Another instance may have ended it a moment ago, so memory does not count.
    if (remembered !== undefined && sessionOf(await sessions.findById(remembered.id)) !== undefined) {
      answers.redirect(response, 302, new URL('/.postern/sign-out', accessUrl).href)
      return
    }
    const query = readQuery(request)
    const providerTold = findSingle(query, 'state') === toldMark ? 'yes' : findSingle(query, 'provider') === 'none' ? 'no' : 'unknown'
    answers.page(response, pages.renderSignedOut({ signInUrl: new URL('/sign-in', accessUrl).href, providerTold }))
  })
  router.all('/signed-out', onlyMethods('GET, HEAD', answers))
}

/** Adds `/.postern/sign-out`, whose page and form also work for somebody whose session is already over. */
export function mountSignOut(router: Router, ports: SignOutPorts): void {
  const { accessUrl, answers, cookies } = ports
  const signOut = createSignOut(ports)
  const people = findPeople(ports)
  router.get('/.postern/sign-out', people.find, (request, response) => showPage(ports, request, response, people.of(request)))
  router.post('/.postern/sign-out', formBody(maxFormBytes), people.find, async (request, response) => {
    const session = people.of(request)
    if (session !== undefined && !isFormOf(request, session)) {
      answers.refuse(request, response, 'cross_origin')
      return
    }
    const next = session === undefined ? leaveWithoutSession(ports, request) : await signOut(session, getContext(request))
    response.append('Set-Cookie', cookies.clearSession('session', accessUrl))
    if (session !== undefined) await endFormState(request)
    answers.redirect(response, 303, next.href)
  })
  router.all('/.postern/sign-out', onlyMethods('GET, HEAD, POST', answers))
}

/** Here it is over already, by idleness perhaps; at the provider it may go on, and would let the next person in silently. */
function leaveWithoutSession({ accessUrl, cookies, relyingParty }: SignOutPorts, request: Request): URL {
  const wasHere = cookies.readSession('session', request.headers.cookie, accessUrl) !== undefined
  const atProvider = wasHere ? relyingParty.endSessionUrl('') : undefined
  atProvider?.searchParams.set('state', toldMark)
  return atProvider ?? new URL('/signed-out', accessUrl)
}

/** The session that there is to end: also one that waits for fresh claims, since the next sign-in would bring it back to life. */
function sessionOf(lookup: SessionLookup | undefined): Session | undefined {
  return lookup?.state === 'live' || lookup?.state === 'expired' ? lookup.session : undefined
}

/** Looks the session up once a request. Form state exists only where it is live: strangers write nothing to the store. */
function findPeople({ accessUrl, browserState, cookies, sessions }: SignOutPorts) {
  const found = new WeakMap<Request, Session>()
  const find: RequestHandler = async (request, response, next) => {
    const secret = cookies.readSession('session', request.headers.cookie, accessUrl)
    const session = secret === undefined ? undefined : sessionOf(await sessions.findByAccessSecret(secret))
    if (session === undefined) return next()
    found.set(request, session)
    return await browserState(request, response, next)
  }
  return { find, of: (request: Request) => found.get(request) }
}

function showPage(
  { accessUrl, answers, pages, relyingParty }: SignOutPorts,
  request: Request,
  response: Response,
  session?: Session,
): void {
  const formActionOrigins = formActionOriginsOf({ relyingParty })
  permitFormsTo(response, formActionOrigins)
  const view = {
    person: session === undefined ? undefined : displayNameOf(session),
    appName: undefined,
    portalUrl: new URL('/', accessUrl).href,
    formActionOrigins,
    formToken: session === undefined ? undefined : issueFormToken(request, session),
  }
  answers.page(response, pages.renderSignOut(view))
}
