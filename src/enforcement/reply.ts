/**
 * Writes an answer of ours to where the request came from: a response, or the bare socket of an Upgrade and of what was no request.
 *
 * The danger is in what the client is still sending. A body that nobody reads would be taken for the next request on this
 * connection, so a small one is read and thrown away, and after anything else the connection closes: late enough for the client to
 * read the answer (a close with unread input becomes a reset, which discards it), soon enough that nobody can hold it open.
 */

import { type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'
import { closeGently } from './client-connection.ts'
import type { Answer } from './respond.ts'

/** A body up to this size is cheaper to read than a new connection is to make. */
const smallBodyBytes = 64 * 1024

/** How long a client may go on sending on a bare socket after it was refused. */
const lingerMs = 2000

/** Writes `answer` as the response. Where another answer has begun already, that is cut instead: two would be read as one. */
export function sendAnswer(request: IncomingMessage, response: ServerResponse, answer: Answer): void {
  if (response.headersSent) {
    request.socket.destroy()
    return
  }
  // Whatever was prepared for an app's answer is not part of ours.
  for (const name of response.getHeaderNames()) response.removeHeader(name)
  if (answer.closes) response.shouldKeepAlive = false
  if (!isBodySmall(request)) closeGently(request, response)
  else request.resume()
  // The length in a 304 would be that of the 200, which has no body here to measure (RFC 9110 §15.4.5).
  const length = answer.status === 304 ? {} : { 'content-length': Buffer.byteLength(answer.body) }
  response.writeHead(answer.status, { ...copyHeaders(answer), ...length })
  response.end(request.method === 'HEAD' ? undefined : answer.body)
}

/** Writes `answer` as raw HTTP/1.1 to a socket that has no response object, and closes it. Never throws. */
export function sendRawAnswer(socket: Duplex, answer: Answer): void {
  socket.on('error', () => socket.destroy())
  if (!socket.writable) {
    socket.destroy()
    return
  }
  const lines = [`HTTP/1.1 ${answer.status} ${STATUS_CODES[answer.status] ?? 'Refused'}`]
  for (const [name, value] of Object.entries(copyHeaders(answer))) {
    for (const one of [value].flat()) lines.push(`${name}: ${one}`)
  }
  lines.push(`content-length: ${Buffer.byteLength(answer.body)}`, 'connection: close', '', '')
  socket.write(lines.join('\r\n'), 'latin1')
  socket.end(answer.body)
  const patience = setTimeout(() => socket.destroy(), lingerMs)
  patience.unref()
  socket.once('close', () => clearTimeout(patience))
  socket.once('end', () => socket.destroy())
  socket.resume()
}

/** Nothing more than a small body of stated length can follow before the next request. */
function isBodySmall({ headers, complete }: IncomingMessage): boolean {
  if (complete) return true
  if (headers['transfer-encoding'] !== undefined) return false
  const length = Number(headers['content-length'] ?? '0')
  // Who asked for 100 and got a refusal may send the body or not; only a closed connection is unambiguous (RFC 9110 §10.1.1).
  return length === 0 || (length <= smallBodyBytes && headers.expect === undefined)
}

function copyHeaders(answer: Answer): Record<string, string | string[]> {
  return Object.fromEntries(Object.entries(answer.headers).map(([name, value]) => [name, typeof value === 'string' ? value : [...value]]))
}
