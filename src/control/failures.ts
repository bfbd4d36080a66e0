/**
 * The one error handler of the control plane, the last row of its table.
 *
 * An operational failure is answered by its code, a malformed body by what is wrong with it, everything else with 500. The browser
 * learns the reason and the request id; the log gets the rest, once. A failure after the head was sent cuts the connection: half
 * a page must not look whole.
 */

import type { ServerResponse } from 'node:http'
import type { ErrorRequestHandler, Response } from 'express'
import { isPosternError } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { Answers, ControlReason } from './answers.ts'
import { getContext } from './request-context.ts'

/** Handles whatever a controller threw. */
export function handleFailure(answers: Answers, log: Logger): ErrorRequestHandler {
  return (error: unknown, request, response, _next) => {
    const reason = reasonOf(error)
    const facts = { request: getContext(request).requestId, path: request.path, reason, err: error }
    if (reason === 'internal_error') log.error(facts, 'the control plane failed')
    // Anybody can send what is malformed, as often as they like, and must not be able to fill a log with it.
    else if (reason === 'bad_request' || reason === 'body_too_large') log.debug(facts, 'a request to the access host was malformed')
    else log.warn(facts, 'a request to the access host failed')
    if (response.headersSent) {
      response.destroy()
      return
    }
    // Cookies of a half-done step must not survive its failure.
    response.removeHeader('Set-Cookie')
    const retryPath: unknown = response.locals['retryPath']
    answers.refuse(request, response, reason, typeof retryPath === 'string' ? { retryPath } : {})
  }
}

/** For when even the page about a failure fails: plain words and the request id. */
export function answerLastResort(response: ServerResponse, log: Logger, error: unknown, requestId: string): void {
  log.error({ request: requestId, err: error }, 'the page about a failure failed')
  if (response.headersSent) {
    response.destroy()
    return
  }
  response.writeHead(500, { 'content-type': 'text/plain; charset=utf-8', 'cache-control': 'no-store', 'x-postern': 'internal_error' })
  response.end(`Something went wrong. Request: ${requestId}\n`)
}

/** Says where the person may try again if this request fails; made from checked values only, for it becomes a link. */
export function setRetryPath(response: Response, path: string): void {
  response.locals['retryPath'] = path
}

/** The public reason for a thrown value. */
export function reasonOf(error: unknown): ControlReason {
  if (isPosternError(error)) {
    switch (error.code) {
      case 'session_store_unavailable':
      case 'provider_unavailable':
      case 'provider_refused':
      case 'sign_in_invalid':
      case 'audit_unavailable':
        return error.code
      default:
        return 'internal_error'
    }
  }
  // What `body-parser` and the router throw for malformed input carries a client status; the rest is ours.
  const status: unknown = error instanceof Error ? (error as { status?: unknown }).status : undefined
  if (status === 413) return 'body_too_large'
  return typeof status === 'number' && status >= 400 && status < 500 ? 'bad_request' : 'internal_error'
}
