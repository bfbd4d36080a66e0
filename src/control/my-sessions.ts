/**
 * `/sessions`: where a person is signed in, and the buttons that end it: one session, all others, or all of them.
 *
 * Only sessions of the person who asks can be named, by a reference that means nothing elsewhere; their ids never leave. Changes are POSTs of
 * our own page with its token, as signing out is. An end that a person causes counts like any other: here it is `revoked` for other
 * browsers and `signed_out` for this one, and each of them needs a fresh sign-in to come back.
 */

import type { Request, RequestHandler, Response, Router } from 'express'
import type { EnvironmentReader } from '../attributes/environment-facts.ts'
import { displayNameOf } from '../attributes/subject-facts.ts'
import type { AuditTrail } from '../audit/event.ts'
import type { FactGroup, Known } from '../policy/facts.ts'
import type { SealedCookies } from '../session/sealed-cookies.ts'
import { hashOf } from '../session/secret.ts'
import type { Session } from '../session/session.ts'
import type { RequestCause } from '../session/sessions.ts'
import { endFormState, isFormOf, issueFormToken } from './form-token.ts'
import { formBody, onlyMethods, readForm } from './guards.ts'
import { leaveForNextPage, takeForNextPage } from './next-page.ts'
import type { MySessionView } from './pages.ts'
import { emailOf, type LiveSession, type ReadPerson } from './person.ts'
import { getContext } from './request-context.ts'
import { createSignOut, formActionOriginsOf, permitFormsTo, type SignOutPorts } from './sign-out.ts'
import type { SignedInRequests } from './signed-in.ts'

export interface MySessionsPorts extends SignOutPorts, ReadPerson {
  readonly cookies: SealedCookies
  readonly signedIn: SignedInRequests
  readonly readEnvironment: EnvironmentReader
  readonly audit: Pick<AuditTrail, 'record'>
}

/** What is asked to end. */
type Wish = { readonly kind: 'one'; readonly reference: string } | { readonly kind: 'others' } | { readonly kind: 'all' }

const path = '/sessions'
const maxFormBytes = 4096
const place: ReadonlySet<FactGroup> = new Set(['country', 'client'])

/** Adds `/sessions` to the signed-in group, behind its guard. */
export function mountMySessions(router: Router, ports: MySessionsPorts): void {
  const { answers, browserState, signedIn } = ports
  const formState: RequestHandler = (request, response, next) => browserState(request, response, next)
  router.get(path, formState, (request, response) => showSessions(ports, request, response, signedIn.get(request)))
  router.post(path, formBody(maxFormBytes), formState, (request, response) => endSessions(ports, request, response, signedIn.get(request)))
  router.all(path, onlyMethods('GET, HEAD, POST', answers))
}

async function showSessions(ports: MySessionsPorts, request: Request, response: Response, live: LiveSession): Promise<void> {
  const { accessUrl, answers, pages, readSubject } = ports
  const { session, claimsState, now } = live
  const formActionOrigins = formActionOriginsOf(ports)
  permitFormsTo(response, formActionOrigins)
  const all = await listSessions(ports, session)
  const { ended } = takeForNextPage(request, session)
  const view = {
    person: { name: displayNameOf(session), email: emailOf(readSubject(session, claimsState)) },
    at: now,
    sessions: all.map((each) => describe(ports, each, each.id === session.id)),
    ended,
    formToken: issueFormToken(request, session),
    signOutUrl: new URL('/.postern/sign-out', accessUrl).href,
    portalUrl: new URL('/', accessUrl).href,
  }
  answers.page(response, pages.renderMySessions(view))
}

async function endSessions(ports: MySessionsPorts, request: Request, response: Response, { session }: LiveSession): Promise<void> {
  const { accessUrl, answers, cookies } = ports
  if (!isFormOf(request, session)) return answers.refuse(request, response, 'cross_origin')
  const wish = parseWish(readForm(request.body)?.get('end') ?? '')
  if (wish === undefined) return answers.refuse(request, response, 'bad_request')
  const by = getContext(request)
  const others = wish.kind === 'all' ? [] : (await listSessions(ports, session)).filter((each) => each.id !== session.id)
  const isOwn = wish.kind === 'one' && wish.reference === referenceOf(session)
  if (wish.kind === 'all' || isOwn) {
    const next = wish.kind === 'all' ? await endAll(ports, session, by) : await createSignOut(ports)(session, by)
    response.append('Set-Cookie', cookies.clearSession('session', accessUrl))
    await endFormState(request)
    return answers.redirect(response, 303, next.href)
  }
  // One that is not there any more has ended: that is what was asked for.
  const meant = wish.kind === 'others' ? others : others.filter((each) => referenceOf(each) === wish.reference)
  for (const each of meant) await endOther(ports, session, each, by)
  if (meant.length > 0) recordRevocation(ports, session, meant)
  leaveForNextPage(request, session, { ended: wish.kind })
  answers.redirect(response, 303, new URL(path, accessUrl).href)
}

/** Everything of this person, also what no index lists yet; then this browser's session at the provider. */
async function endAll(ports: MySessionsPorts, session: Session, by: RequestCause): Promise<URL> {
  const ended = await ports.sessions.endSubject(session.issuer, session.sub, 'signed_out', by)
  recordRevocation(
    ports,
    session,
    ended.map((id) => ({ id })),
  )
  return await createSignOut(ports)(session, by)
}

/** With what else hangs on the same session at the provider, as at a sign-out; unless this browser does. */
async function endOther({ sessions }: MySessionsPorts, present: Session, other: Session, by: RequestCause): Promise<void> {
  await sessions.endSession(other.id, 'revoked', by)
  const { providerSid } = other
  if (providerSid !== undefined && providerSid !== present.providerSid) {
    await sessions.endProviderSid(other.issuer, providerSid, 'revoked', by)
  }
}

/** Each has a line of its own as well; this one says who wanted it. */
function recordRevocation({ audit, readSubject }: MySessionsPorts, session: Session, ended: readonly Pick<Session, 'id'>[]): void {
  audit.record({
    event: 'sessions.revoked',
    actor: `person:${session.sub}`,
    sessions: ended.map(({ id }) => id),
    target: emailOf(readSubject(session, 'fresh')) ?? session.sub,
    reason: undefined,
  })
}

/** This browser's first, then as last used. */
async function listSessions({ sessions }: MySessionsPorts, present: Session): Promise<readonly Session[]> {
  const others = (await sessions.listSubject(present.issuer, present.sub)).filter(({ id }) => id !== present.id)
  return [present, ...others.sort((a, b) => b.lastUsedAt - a.lastUsedAt)]
}

function describe({ readEnvironment }: MySessionsPorts, session: Session, isCurrent: boolean): MySessionView {
  const { address, userAgent } = session.origin
  const { client, country } = readEnvironment({ address, at: session.startedAt, scheme: 'https', tlsVersion: undefined, userAgent }, place)
  return {
    reference: referenceOf(session),
    browser: nameOf(client.browser),
    system: nameOf(client.os),
    device: session.device?.names[0],
    address,
    country: nameOf(country),
    startedAt: session.startedAt,
    lastUsedAt: session.lastUsedAt,
    isCurrent,
  }
}

function nameOf(known: Known<string | undefined>): string | undefined {
  return known.known ? known.value : undefined
}

/** Names a session on this page and nowhere else: the store knows it by another hash. */
function referenceOf(session: Pick<Session, 'id'>): string {
  return hashOf('my sessions', session.id)
}

function parseWish(text: string): Wish | undefined {
  if (text === 'others' || text === 'all') return { kind: text }
  return /^[A-Za-z0-9_-]{43}$/.test(text) ? { kind: 'one', reference: text } : undefined
}
