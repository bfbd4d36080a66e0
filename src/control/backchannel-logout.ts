/**
 * Back-channel logout (OpenID Connect Back-Channel Logout 1.0): the provider tells us, server to server, whose session is over.
 *
 * A token with `sid` ends that session, and has every other session of that subject asked about at once: one that is
 * refused ends as well, the others have fresh claims. The provider is not kept waiting for that.
 *
 * There is no cookie here and no origin to compare; the signed token is all the proof there is, and the only thing believed. 200 is said
 * when the end is on record and never before; what cannot be recorded is 503, so that the provider tries again. A token counts once:
 * a copy of it must not sign the same person out again and again. Only wrong tokens count against an address, and the limit never
 * turns a right one away: behind a balancer, or in one office, a stranger's address is the provider's as well.
 */

import type { Request, Response, Router } from 'express'
import { isPosternError } from '../errors.ts'
import { describeError, type Logger } from '../log.ts'
import type { LogoutToken, RelyingParty } from '../oidc/relying-party.ts'
import type { RateLimit } from '../rate-limits.ts'
import type { RequestCause, Sessions } from '../session/sessions.ts'
import type { Answers } from './answers.ts'
import { formBody, onlyMethods, readForm } from './guards.ts'
import { getContext } from './request-context.ts'

export interface BackchannelLogoutPorts {
  readonly relyingParty: Pick<RelyingParty, 'verifyLogoutToken'>
  readonly sessions: Sessions
  readonly answers: Answers
  /** Of wrong tokens. */
  readonly limit: RateLimit
  readonly log: Logger
}

const maxFormBytes = 100 * 1024
/** How often one token may be presented while it was not honoured yet: a store that fails in mid-work must not use it up. */
const presentations = [1, 2, 3]

/** Adds `/oidc/backchannel-logout`. */
export function mountBackchannelLogout(router: Router, ports: BackchannelLogoutPorts): void {
  const path = '/oidc/backchannel-logout'
  router.post(path, formBody(maxFormBytes), (request, response) => logOut(ports, request, response))
  router.all(path, onlyMethods('POST', ports.answers))
}

async function logOut(ports: BackchannelLogoutPorts, request: Request, response: Response): Promise<void> {
  const text = readForm(request.body)?.get('logout_token')
  if (text === undefined || text === null || text === '') return await refuse(ports, request, response, 'no single logout_token in a form')
  let token: LogoutToken
  try {
    token = await ports.relyingParty.verifyLogoutToken(text)
  } catch (error) {
    if (!isPosternError(error) || error.code !== 'sign_in_invalid') throw error
    return await refuse(ports, request, response, describeError(error))
  }
  const presentation = await takePresentation(ports.sessions, token)
  if (presentation === undefined) return await refuse(ports, request, response, 'this token was honoured before')
  const subjects = await endSessions(ports.sessions, token, getContext(request))
  for (const sub of subjects) refreshOthers(ports, token.issuer, sub, getContext(request).requestId)
  for (const later of presentations.filter((count) => count > presentation)) {
    await ports.sessions.takeOnce('logout_token', nameOf(token, later), token.remainingSeconds)
  }
  response.status(200).end()
}

async function takePresentation(sessions: Sessions, token: LogoutToken): Promise<number | undefined> {
  for (const presentation of presentations) {
    if (await sessions.takeOnce('logout_token', nameOf(token, presentation), token.remainingSeconds)) return presentation
  }
  return undefined
}

function nameOf({ issuer, jti }: LogoutToken, presentation: number): string {
  return JSON.stringify([issuer, jti, presentation])
}

/**
 * `sid` names one session at the provider. Sessions of this subject that never learned their `sid` end as well: one of them is meant.
 * Resolves to the subjects whose other sessions the provider is to be asked about.
 */
async function endSessions(sessions: Sessions, { issuer, sid, sub }: LogoutToken, by: RequestCause): Promise<readonly string[]> {
  if (sid === undefined) {
    if (sub !== undefined) await sessions.endSubject(issuer, sub, 'back_channel', by)
    return []
  }
  // A token need not say whose session it is; once that has ended nothing does.
  const subjects = sub === undefined ? (await sessions.listProviderSid(issuer, sid)).map((session) => session.sub) : [sub]
  await sessions.endProviderSid(issuer, sid, 'back_channel', by)
  if (sub === undefined) return [...new Set(subjects)]
  for (const session of await sessions.listSubject(issuer, sub)) {
    if (session.providerSid === undefined) await sessions.endSession(session.id, 'back_channel', by)
  }
  return subjects
}

/** What the token says is on record already; these are as fresh as `refresh_after` even if nothing comes of it. */
function refreshOthers({ log, sessions }: BackchannelLogoutPorts, issuer: string, sub: string, requestId: string): void {
  sessions.refreshSubject(issuer, sub).catch((error: unknown) => {
    log.warn({ request: requestId, err: error }, 'other sessions of a person whom the provider signed out could not be asked about')
  })
}

/** §2.8: 400 with an OAuth error. Beyond the limit it is 429 and not a line in the log. */
async function refuse(ports: BackchannelLogoutPorts, request: Request, response: Response, why: unknown): Promise<void> {
  const { answers, limit, log } = ports
  const { address, requestId } = getContext(request)
  const wait = await limit.consume(address)
  if (wait !== undefined) {
    answers.refuse(request, response, 'rate_limited', { retryAfterSeconds: wait })
    return
  }
  log.warn({ request: requestId, address, why }, 'a logout token was refused')
  response.status(400).set('X-Postern', 'sign_in_invalid').json({ error: 'invalid_request', request_id: requestId })
}
