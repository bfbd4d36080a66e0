/**
 * The WebSocket opening handshake as a proxy between the two sees it (RFC 6455 §4).
 *
 * A tunnel is opened only for an answer that a client would accept too: `websocket` and nothing else, the right proof of the key,
 * and a subprotocol and extensions that were offered. Anything else could be a tunnel for requests that nobody decides about.
 */

import { createHash } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'

/** What is wrong with a 101, in words for the log; `undefined` if a tunnel may be opened. */
export function findHandshakeProblem(request: IncomingHttpHeaders, answer: IncomingHttpHeaders): string | undefined {
  if (answer.upgrade?.toLowerCase() !== 'websocket') return 'another protocol than websocket'
  const key = request['sec-websocket-key']
  if (key === undefined || answer['sec-websocket-accept'] !== acceptFor(key)) return 'no proof of the key'

  const protocol = answer['sec-websocket-protocol']
  if (protocol !== undefined && !listed(request['sec-websocket-protocol']).includes(protocol)) return 'a subprotocol that was not offered'
  const offered = listed(request['sec-websocket-extensions']).map(nameOf)
  const chosen = listed(answer['sec-websocket-extensions']).map(nameOf)
  return chosen.every((extension) => offered.includes(extension)) ? undefined : 'an extension that was not offered'
}

/** RFC 6455 §4.2.2, step 5.4. The digest is the protocol's, not a matter of secrecy. */
function acceptFor(key: string): string {
  return createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
}

function listed(header: string | undefined): string[] {
  return header === undefined ? [] : header.split(',').map((entry) => entry.trim())
}

function nameOf(extension: string): string {
  return extension.split(';', 1)[0]?.trim() ?? ''
}
