/**
 * What must hold of a message before anybody looks at its target: that it has one length, and that everybody behind us will agree on it.
 *
 * Node's strict parser has refused most smuggling by now (two lengths, broken chunks, folded lines). These are the cases that it
 * lets through. RFC 9112 §6, RFC 9110 §7.6.1.
 */

import type { IncomingMessage } from 'node:http'

/** Whether this message could mean different things to us and to an upstream. */
export function isAmbiguouslyFramed(request: IncomingMessage, isUpgrade: boolean): boolean {
  const { headers } = request
  const encoding = headers['transfer-encoding']
  if (request.httpVersionMajor !== 1) return true
  // HTTP/1.0 has no chunks: an upstream may take the body for the next request (RFC 9112 §6.1).
  if (encoding !== undefined && (request.httpVersionMinor === 0 || encoding.toLowerCase() !== 'chunked')) return true
  // What follows the head of an Upgrade belongs to the new protocol; with a body it could be read as either.
  if (isUpgrade && (encoding !== undefined || (headers['content-length'] ?? '0') !== '0')) return true
  return headers.connection !== undefined && nominatesForbiddenField(headers.connection)
}

/** Fields that a client must not have removed on the way: identity, routing and framing hang on them. */
const neverHopByHop = new Set(['host', 'cookie', 'authorization', 'content-length', 'transfer-encoding', 'origin', 'sec-fetch-site'])

function nominatesForbiddenField(connection: string): boolean {
  return connection.split(',').some((name) => neverHopByHop.has(name.trim().toLowerCase()))
}
