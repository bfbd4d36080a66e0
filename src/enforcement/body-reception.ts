/**
 * Receives a small body whole, for the few requests whose body is looked at or kept before anything is forwarded.
 *
 * Never more than the limit is held: what is announced longer is not read at all, and what grows longer is let go. A client that is
 * silent, too slow, or gone ends the wait. What to answer is the caller's business; nothing here is logged. RFC 9110 §10.1.1.
 */

import type { IncomingMessage, ServerResponse } from 'node:http'

/** How much, and how long it may take. */
export interface BodyReceptionLimits {
  readonly maxBytes: number
  /** Silence. */
  readonly idleMs: number
  /** From now to the last byte. */
  readonly withinMs: number
}

/** How receiving went. `gone`: the client left, and nobody is there to be answered. */
export type BodyReception =
  | { readonly outcome: 'received'; readonly bytes: Buffer }
  | { readonly outcome: 'too_large' | 'too_slow' | 'gone' }

/** Receives the body of `request`. Never rejects. */
export function receiveBody(
  request: IncomingMessage,
  response: Pick<ServerResponse, 'writeContinue'>,
  { maxBytes, idleMs, withinMs }: BodyReceptionLimits,
): Promise<BodyReception> {
  if (Number(request.headers['content-length'] ?? 0) > maxBytes) return Promise.resolve({ outcome: 'too_large' })
  if (request.destroyed || request.socket.destroyed) return Promise.resolve({ outcome: 'gone' })
  // HTTP/1.0 knows no 1xx: its client would take one for the answer (RFC 9110 §15.2).
  if (request.headers.expect !== undefined && request.httpVersionMinor > 0) response.writeContinue()

  return new Promise((resolve) => {
    let chunks: Buffer[] = []
    let length = 0
    const silence = setTimeout(() => settle({ outcome: 'too_slow' }), idleMs)
    const deadline = setTimeout(() => settle({ outcome: 'too_slow' }), withinMs)

    function settle(reception: BodyReception): void {
      clearTimeout(silence)
      clearTimeout(deadline)
      request.off('data', onData).off('end', onEnd).off('close', onClose)
      // Without a listener the rest stays where it is; whoever answers decides what becomes of it.
      request.pause()
      chunks = []
      resolve(reception)
    }
    function onData(chunk: Buffer): void {
      silence.refresh()
      length += chunk.length
      if (length > maxBytes) settle({ outcome: 'too_large' })
      else chunks.push(chunk)
    }
    function onEnd(): void {
      settle({ outcome: 'received', bytes: Buffer.concat(chunks, length) })
    }
    function onClose(): void {
      settle({ outcome: 'gone' })
    }
    request.on('data', onData).on('end', onEnd).on('close', onClose)
  })
}
