/**
 * The name of a request: one id for the line in the audit trail, `X-Postern-Request` on the answer and `X-Request-Id` upstream.
 *
 * It is made here and never taken from a client or a proxy before us, so that nobody can make two requests share a name.
 */

import { randomUUID } from 'node:crypto'

/** A new id: unique, unguessable, and safe in a header, a URL and a file name. */
export function createRequestId(): string {
  return randomUUID()
}
