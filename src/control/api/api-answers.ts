/**
 * How the API answers: what an operation gave as JSON, and a refusal as its word, its sentence and the request's id.
 *
 * A refusal never repeats a value that was sent. RFC 6750 §3 says what a refused bearer is told.
 */

import type { Request, Response } from 'express'
import type { Permission } from '../../administration/asker.ts'
import { type Refused, statusByProblem } from '../operations/operation.ts'
import { getContext } from '../request-context.ts'

/** Answers with a refusal. `permission` is the scope that was needed, where it is known. */
export function refuse(request: Request, response: Response, { detail, message, problem }: Refused, permission?: Permission): void {
  const status = statusByProblem[problem]
  response.status(status).set('X-Postern', problem)
  if (status === 401) response.set('WWW-Authenticate', problem === 'invalid_token' ? 'Bearer error="invalid_token"' : 'Bearer')
  if (problem === 'not_permitted') response.set('WWW-Authenticate', `Bearer error="insufficient_scope", scope="${permission ?? ''}"`)
  response.json({ ...detail, error: problem, message, request_id: getContext(request).requestId })
}
