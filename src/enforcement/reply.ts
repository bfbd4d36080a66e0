/**
 * Writes an answer of ours to where the request came from: a response, or the bare socket of an Upgrade and of what was no request.
 *
 * The danger is in what the client is still sending. A body that nobody reads would be taken for the next request on this
 * connection, so a small one is read and thrown away, and after anything else the connection closes: late enough for the client to
 * read the answer (a close with unread input becomes a reset, which discards it), soon enough that nobody can hold it open.
 */

import { type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Answer } from './respond.ts'

/** A body up to this size is cheaper to read than a new connection is to make. */
const smallBodyBytes = 64 * 1024

/** How much, and how long, a client may go on sending after it was refused. */
const lingerBytes = 1024 * 1024
const lingerMs = 2000

/** Writes `answer` as the response. Does nothing sensible twice: an answer that has begun is cut instead. */
export function sendAnswer(request: IncomingMessage, response: ServerResponse, answer: Answer): void {
  if (response.headersSent) {
    response.destroy()
    return
  }
  const closes = answer.closes || !isBodySmall(request)
  // Whatever was prepared for an app's answer is not part of ours.
  for (const name of response.getHeaderNames()) response.removeHeader(name)
  response.shouldKeepAlive &&= !closes
  response.writeHead(answer.status, {
    ...copyHeaders(answer),
    'content-length': Buffer.byteLength(answer.body),
    ...(closes ? { connection: 'close' } : {}),
  })
  const body = request.method === 'HEAD' ? '' : answer.body
  if (!closes || request.complete || request.headers.expect !== undefined) {
    request.resume()
    response.end(body)
    return
  }
  if (body.length > 0) response.write(body)
  else response.flushHeaders()
  linger(request, () => response.end())
}

/** Writes `answer` as raw HTTP/1.1 to a socket that has no response object, and closes it. Never throws. */
export function sendRawAnswer(socket: Duplex, answer: Answer, isHead = false): void {
  socket.on('error', () => socket.destroy())
  if (!socket.writable) {
    socket.destroy()
    return
  }
  const lines = [`HTTP/1.1 ${answer.status} ${STATUS_CODES[answer.status] ?? 'Refused'}`]
  for (const [name, value] of Object.entries(copyHeaders(answer))) {
    for (const one of typeof value === 'string' ? [value] : value) lines.push(`${name}: ${one}`)
  }
  lines.push(`content-length: ${Buffer.byteLength(answer.body)}`, 'connection: close', '', '')
  socket.write(lines.join('\r\n'), 'latin1')
  socket.end(isHead ? '' : answer.body)
  linger(socket, () => socket.destroy())
}

/** Nothing more than a small body of stated length can follow before the next request. */
function isBodySmall({ headers, complete }: IncomingMessage): boolean {
  if (complete) return true
  if (headers['transfer-encoding'] !== undefined) return false
  const length = Number(headers['content-length'] ?? '0')
  // Who asked for 100 and got a refusal may send the body or not; only a closed connection is unambiguous (RFC 9110 §10.1.1).
  return length === 0 || (length <= smallBodyBytes && headers.expect === undefined)
}

/** Reads and forgets what still comes, until its end or our patience's; `done` is called once. */
function linger(source: NodeJS.ReadableStream, done: () => void): void {
  let bytes = 0
  const finish = () => {
    clearTimeout(timer)
    source.off('data', count).off('end', finish).off('close', finish).off('error', finish)
    source.on('error', () => {
      // After the answer there is nobody left to tell.
    })
    done()
  }
  const count = (chunk: Buffer | string) => {
    bytes += chunk.length
    if (bytes > lingerBytes) finish()
  }
  const timer = setTimeout(finish, lingerMs)
  timer.unref()
  source.on('data', count).on('end', finish).on('close', finish).on('error', finish)
  source.resume()
}

function copyHeaders(answer: Answer): Record<string, string | string[]> {
  return Object.fromEntries(Object.entries(answer.headers).map(([name, value]) => [name, typeof value === 'string' ? value : [...value]]))
}
