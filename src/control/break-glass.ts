/**
 * `/sign-in?break_glass=<code>`: the one-time sign-in of an administrator, on the access host, while the provider is down.
 *
 * GET shows whose sign-in it would be and spends nothing, so that no mail scanner or link preview burns the code; it works with HEAD, with
 * prefetching and any number of times. POST from that very page spends it, once over all instances, and begins a session of its own; whatever
 * session this browser had is ended, so that nobody goes on as two. Each use is an alert.
 */

import type { Request, Response, Router } from 'express'
import { type BreakGlassDoor, breakGlassMethod } from '../administration/break-glass.ts'
import type { AuditTrail } from '../audit/event.ts'
import type { Logger } from '../log.ts'
import type { Answers, ControlReason } from './answers.ts'
import { formBody, readForm } from './guards.ts'
import type { PageRenderer } from './pages.ts'
import { findSingle, getContext, readQuery } from './request-context.ts'
import type { SessionPorts } from './sign-in-session.ts'

export interface BreakGlassPorts extends SessionPorts {
  readonly breakGlass: BreakGlassDoor
  readonly answers: Answers
  readonly audit: AuditTrail
  readonly pages: Pick<PageRenderer, 'renderBreakGlass'>
  readonly log: Logger
  /** Counts a use; for the metrics. */
  readonly countBreakGlass?: () => void
}

const maxFormBytes = 1024

/** Adds its half of `/sign-in`, which must come before the other. */
export function mountBreakGlass(router: Router, ports: BreakGlassPorts): void {
  router.get('/sign-in', async (request, response, next) => {
    const query = readQuery(request)
    if (query.has('break_glass')) await showPage(ports, request, response, findSingle(query, 'break_glass') ?? '')
    else next()
  })
  router.post('/sign-in', formBody(maxFormBytes), (request, response) => enter(ports, request, response))
}

async function showPage(ports: BreakGlassPorts, request: Request, response: Response, code: string): Promise<void> {
  const grant = await ports.breakGlass.find(code)
  if (grant === undefined) return refuse(ports, request, response, { reason: 'sign_in_invalid', error: 'break_glass_unknown' })
  const { email, name, seconds } = grant
  ports.answers.page(response, ports.pages.renderBreakGlass({ person: name ?? email, email, minutes: Math.ceil(seconds / 60), code }))
}

async function enter(ports: BreakGlassPorts, request: Request, response: Response): Promise<void> {
  const { accessUrl, answers, binding, cookies, log, sessions } = ports
  const entry = await ports.breakGlass.spend(readForm(request.body)?.get('break_glass') ?? '')
  if (entry.outcome === 'locked') return refuse(ports, request, response, { reason: 'locked', error: 'break_glass_locked' })
  if (entry.outcome !== 'entered')
    return refuse(ports, request, response, { reason: 'sign_in_invalid', error: `break_glass_${entry.outcome}` })
  const by = getContext(request)
  const secretBefore = cookies.readSession('session', request.headers.cookie, accessUrl)
  const before = secretBefore === undefined ? undefined : await sessions.findByAccessSecret(secretBefore)
  const device = await binding.deviceOf(request)
  const userAgent = request.headers['user-agent'] ?? ''
  const { secret, session } = await sessions.begin(entry.signedIn, { address: by.address, userAgent }, by, device)
  const { email, issuer, sub } = entry.grant
  // An end that came between the question and the beginning of the session has an earlier instant than the session, and would spare it.
  if (await ports.breakGlass.isOvertaken(entry.grant)) {
    await sessions.endSession(session.id, 'revoked', by)
    return refuse(ports, request, response, { reason: 'sign_in_invalid', error: 'break_glass_overtaken' })
  }
  log.warn(
    { request: by.requestId, session: session.id, subject: { issuer, sub, email }, address: by.address, amr: breakGlassMethod },
    'alert',
  )
  ports.countBreakGlass?.()
  response.append('Set-Cookie', cookies.writeSession('session', secret, accessUrl))
  if (before?.state === 'live') await sessions.endSession(before.session.id, 'replaced', by)
  answers.redirect(response, 303, new URL('/', accessUrl).href)
}

function refuse(
  { answers, audit }: BreakGlassPorts,
  request: Request,
  response: Response,
  { reason, error }: { readonly reason: ControlReason; readonly error: string },
): void {
  const { address, requestId } = getContext(request)
  audit.record({ event: 'sign_in.failed', request: requestId, reason, error, address })
  answers.refuse(request, response, reason)
}
