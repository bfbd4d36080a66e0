/**
 * `POST /api/v1/devices/{id}/reports`: posture reports, from devices (`application/jose`) and management systems (`application/json`).
 *
 * Machines call this, no browser: no cookie is read, set or believed, and the proof is in the body or in a bearer token, neither of which
 * another site's page could add. It therefore stands before the same-origin rule. Answers are JSON. Only refused reports count against
 * an address, so that nobody in an office can silence the laptops of the others; a sender that has proven itself is limited by itself.
 */

import { type Request, type Response, type Router, text } from 'express'
import { type PostureReports, type ReportOutcome, type ReportRefusal, reportRefusals } from '../../administration/posture-report.ts'
import type { Tokens } from '../../administration/tokens.ts'
import { createRateLimit, type RateLimit } from '../../rate-limits.ts'
import type { Answers } from '../answers.ts'
import { noBackgroundRequests, onlyMethods } from '../guards.ts'
import { getContext } from '../request-context.ts'

/** What the endpoint needs; `compose.ts` connects it. */
export interface DeviceReportsPorts {
  readonly reports: PostureReports
  readonly tokens: Pick<Tokens, 'verify'>
  /** Per address and minute; for tests. */
  readonly refusalsPerMinute?: number
}

const maxBodyBytes = 16 * 1024
const refusalsPerMinuteByDefault = 120
/** Work that strangers may cause, refused or not: an office of thousands reports far less. */
const requestsPerMinute = 12_000

type ApiRefusal = ReportRefusal | 'token_required' | 'invalid_token' | 'unsupported_type'

/** A table in docs/devices.md says the same; a test compares the two. */
export const statusByRefusal: Readonly<Record<ApiRefusal, number>> = {
  malformed: 400,
  not_verified: 401,
  wrong_audience: 401,
  wrong_device: 401,
  not_current: 401,
  token_required: 401,
  invalid_token: 401,
  device_blocked: 403,
  wrong_serial: 403,
  not_permitted: 403,
  unknown_device: 404,
  not_newer: 409,
  unsupported_type: 415,
  too_many: 429,
}

/** What the sender reads. */
export const wordsByRefusal: Readonly<Record<ApiRefusal, string>> = {
  ...reportRefusals,
  token_required: 'A report in JSON needs a service token: Authorization: Bearer pst_…',
  invalid_token: 'The service token is unknown, expired or revoked.',
  unsupported_type: 'A report is application/jose (signed by the device) or application/json (with a service token).',
}

/** Adds `/api/v1/devices/{id}/reports`. */
export function mountDeviceReports(router: Router, { answers, ...ports }: DeviceReportsPorts & { readonly answers: Answers }): void {
  const path = '/api/v1/devices/:id/reports'
  const refusals = createRateLimit({ points: ports.refusalsPerMinute ?? refusalsPerMinuteByDefault, seconds: 60 })
  const requests = createRateLimit({ points: requestsPerMinute, seconds: 60 })
  const body = text({ type: ['application/jose', 'application/json'], limit: maxBodyBytes, inflate: false, defaultCharset: 'utf-8' })

  router.post(
    path,
    // A page that an employee visits must not use up what their office may send.
    noBackgroundRequests(answers),
    async (request, response, next) => {
      const wait = await requests.consume(getContext(request).address)
      if (wait === undefined) next()
      else answers.refuse(request, response, 'rate_limited', { retryAfterSeconds: wait })
    },
    body,
    async (request: Request<{ id: string }>, response) => {
      const outcome = await accept(ports, request)
      if (outcome.outcome === 'accepted') {
        response.json({
          device: request.params.id,
          observed_at: new Date(outcome.observedAt).toISOString(),
          accepted: outcome.accepted,
          outdated: outcome.outdated,
        })
        return
      }
      const wait = statusByRefusal[outcome.reason] === 429 ? outcome.waitSeconds : await countRefusal(refusals, request, outcome.reason)
      if (wait === undefined) answerRefusal(request, response, outcome)
      else answers.refuse(request, response, 'rate_limited', { retryAfterSeconds: wait })
    },
  )
  router.all(path, onlyMethods('POST', answers))
}

type Accepted = Extract<ReportOutcome, { outcome: 'accepted' }>
type Refused = Omit<Extract<ReportOutcome, { outcome: 'refused' }>, 'reason'> & { readonly reason: ApiRefusal }

async function accept({ reports, tokens }: DeviceReportsPorts, request: Request<{ id: string }>): Promise<Accepted | Refused> {
  const body: unknown = request.body
  const { id } = request.params
  const origin = getContext(request)
  if (typeof body !== 'string') return refuse('unsupported_type')
  if (request.is('application/jose') !== false) return await reports.acceptSigned(id, body.trim(), origin)
  const [, token] = /^Bearer +([\x21-\x7e]+)$/i.exec(request.headers.authorization ?? '') ?? []
  if (token === undefined) return refuse('token_required')
  const verification = await tokens.verify(token)
  if (verification.outcome === 'invalid') return refuse('invalid_token')
  return await reports.acceptManagement(id, body, verification.token, origin)
}

function refuse(reason: ApiRefusal): Refused {
  return { outcome: 'refused', reason }
}

/** Reports that come too late or twice are no attack: a schedule that runs behind a lid that opens sends such. */
async function countRefusal(refusals: RateLimit, request: Request<{ id: string }>, reason: ApiRefusal): Promise<number | undefined> {
  const status = statusByRefusal[reason]
  return status === 409 || status === 415 ? undefined : await refusals.consume(getContext(request).address)
}

function answerRefusal(request: Request<{ id: string }>, response: Response, { reason, problems }: Refused): void {
  const status = statusByRefusal[reason]
  response.status(status).set('X-Postern', reason)
  if (status === 401) response.set('WWW-Authenticate', reason === 'invalid_token' ? 'Bearer error="invalid_token"' : 'Bearer')
  if (reason === 'not_permitted') response.set('WWW-Authenticate', 'Bearer error="insufficient_scope"')
  response.json({
    error: reason,
    message: wordsByRefusal[reason],
    ...(problems === undefined ? {} : { problems }),
    request_id: getContext(request).requestId,
  })
}
