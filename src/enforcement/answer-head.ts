/**
 * The head of an app's answer: the reason phrase, how it leaves with a body that came whole, and what is left of a head where the answer goes to
 * nobody in particular.
 *
 * The answer to a preflight says in its head what a page may do, and a browser looks at nothing else (Fetch §4.8). It goes to whoever says
 * that a browser asks, and many apps answer OPTIONS as they answer GET: with the page. So its content stays here. RFC 9110 §8, RFC 9112 §4.
 */

import { type ServerResponse, STATUS_CODES } from 'node:http'

/** The upstream's own words where they are plain text; they may be anything (RFC 9112 §4). */
export function reasonPhrase(status: number, received: string | undefined): string | undefined {
  if (received === undefined || received === '' || received === STATUS_CODES[status]) return undefined
  return /^[\x20-\x7e]+$/.test(received) ? received : undefined
}

/** Flat header lines without those that describe, locate or announce content, or start a session for a stranger. */
export function withoutContent(lines: readonly string[], status: number): string[] {
  const kept: string[] = []
  for (let i = 0; i + 1 < lines.length; i += 2) {
    const [name = '', value = ''] = lines.slice(i, i + 2)
    if (!ofContent.test(name)) kept.push(name, value)
  }
  // These have no content by themselves, and must not say so (RFC 9110 §8.6).
  if (status !== 204 && status !== 304) kept.push('Content-Length', '0')
  return kept
}

const ofContent = /^(?:content-.*|transfer-encoding|trailer|etag|last-modified|accept-ranges|link|location|refresh|set-cookie)$/i

/** With a head of usual size still below the 16 KiB that Node writes without memory of its own. */
const mostJoinedBytes = 12 * 1024

/** Ends an answer with its last piece. A small one joins the head in one plain write: a gathering one costs most of a microsecond more. */
export function endAnswer(response: ServerResponse, last: Buffer | undefined): void {
  if (last === undefined || last.length > mostJoinedBytes) response.end(last)
  else response.end(last.toString('latin1'), 'latin1')
}
