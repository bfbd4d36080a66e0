/**
 * How the control plane answers: pages for people, JSON for programs, redirects; and the switch from reason to status.
 *
 * Each answer of ours says `X-Postern: <reason>` where there is one. A refusal shows the reason's own sentence and the request id,
 * never a message, a stack or a value that came with the request.
 */

import type { Request, Response } from 'express'
import { type Reason, reasons } from '../policy/decision.ts'
import type { PageRenderer } from './pages.ts'
import { getContext, isNavigation } from './request-context.ts'

/** The reasons that occur on the access host. */
export type ControlReason = Extract<
  Reason,
  | 'login_required'
  | 'bad_request'
  | 'sign_in_invalid'
  | 'provider_refused'
  | 'sign_in_too_old'
  | 'step_up_failed'
  | 'device_changed'
  | 'locked'
  | 'cross_origin'
  | 'path_not_found'
  | 'method_not_allowed'
  | 'body_too_large'
  | 'rate_limited'
  | 'provider_unavailable'
  | 'session_store_unavailable'
  | 'audit_unavailable'
  | 'internal_error'
>

/** A test holds this against the data plane's switch: one reason has one status, wherever it occurs. */
export const statusByReason: Readonly<Record<ControlReason, number>> = {
  login_required: 401,
  bad_request: 400,
  sign_in_invalid: 400,
  provider_refused: 403,
  sign_in_too_old: 403,
  step_up_failed: 403,
  device_changed: 403,
  locked: 403,
  cross_origin: 403,
  path_not_found: 404,
  method_not_allowed: 405,
  body_too_large: 413,
  rate_limited: 429,
  provider_unavailable: 503,
  session_store_unavailable: 503,
  audit_unavailable: 503,
  internal_error: 500,
}

/** Long enough that a restart is over, short enough that nobody gives up. */
const retryAfterSeconds = 5

export interface RefusalDetails {
  /** Path on this host for "try again"; built from checked values only. */
  readonly retryPath?: string
  /** Where a new sign-in begins; built from checked values only. */
  readonly startAgainUrl?: string
  /** The provider's error code, sanitised; or our word for what its answer lacked. */
  readonly providerError?: string
  /** Who is signed in, as they would recognise themselves. */
  readonly person?: string
  readonly retryAfterSeconds?: number
  readonly allow?: string
}

export interface Answers {
  refuse(request: Request, response: Response, reason: ControlReason, details?: RefusalDetails): void
  page(response: Response, html: string): void
  redirect(response: Response, status: 302 | 303, url: string): void
  /** JSON that is not a refusal. */
  json(response: Response, body: object): void
}

/** The answers of this instance. `accessUrl` is where the portal is. */
export function createAnswers(pages: PageRenderer, accessUrl: URL): Answers {
  const portalUrl = `${accessUrl.origin}/`
  const signInUrl = `${accessUrl.origin}/sign-in`

  function pageFor(reason: ControlReason, requestId: string, details: RefusalDetails): string {
    switch (reason) {
      case 'path_not_found':
        return pages.renderNotFound({ requestId, portalUrl, person: undefined })
      case 'provider_unavailable':
      case 'session_store_unavailable':
      case 'audit_unavailable':
        return pages.renderUnavailable({ reason, requestId, portalUrl, retryPath: details.retryPath })
      case 'sign_in_invalid':
      case 'provider_refused':
      case 'sign_in_too_old':
      case 'step_up_failed': {
        const { providerError, startAgainUrl = signInUrl, person } = details
        const offersSignOut = reason === 'sign_in_too_old' || reason === 'step_up_failed'
        const signOutUrl = offersSignOut ? `${accessUrl.origin}/.postern/sign-out` : undefined
        return pages.renderSignInError({ reason, providerError, requestId, startAgainUrl, signOutUrl, portalUrl, person })
      }
      case 'device_changed':
        return pages.renderError({ reason, requestId, portalUrl, person: undefined, signInUrl })
      default:
        return pages.renderError({ reason, requestId, portalUrl, person: undefined })
    }
  }

  return {
    refuse(request, response, reason, details = {}) {
      const { requestId } = getContext(request)
      const status = statusByReason[reason]
      response.status(status).set('X-Postern', reason)
      if (status === 503 || status === 429) response.set('Retry-After', String(details.retryAfterSeconds ?? retryAfterSeconds))
      if (status === 401) response.set('WWW-Authenticate', `Postern realm="${accessUrl.hostname}"`)
      if (details.allow !== undefined) response.set('Allow', details.allow)
      if (isNavigation(request)) {
        response.type('html').send(pageFor(reason, requestId, details))
        return
      }
      response.json({
        error: reason,
        message: reasons[reason],
        ...(status === 401 ? { sign_in: signInUrl } : {}),
        ...(details.providerError === undefined ? {} : { provider_error: details.providerError }),
        request_id: requestId,
      })
    },
    page(response, html) {
      response.type('html').send(html)
    },
    // Not `response.redirect`: it writes a body, and encodes what is already canonical a second time.
    redirect(response, status, url) {
      response.status(status).set('Location', url).end()
    },
    json(response, body) {
      response.json(body)
    },
  }
}
