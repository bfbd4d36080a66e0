/**
 * The body of a request on its way to an upstream: counted, limited, watched for silence, never buffered beyond one step.
 *
 * It stands between the client's message and the HTTP client so that destroying one does not destroy the other: an upstream that
 * refuses an upload early must still be heard by the client. Trailer fields of the request end here (RFC 9110 §6.5.1).
 */

import type { IncomingMessage } from 'node:http'
import { Readable } from 'node:stream'

export interface RequestBodyListener {
  /** The first bytes, or the end of an empty body, have come: worth a connection now. */
  onBegun(): void
  onBytes(bytes: number): void
  /** The client has sent everything. */
  onComplete(): void
  onTooLarge(): void
  /** Nothing moved for `idleMs`, because the client does not send or because the upstream does not read. */
  onSilence(who: 'client' | 'upstream'): void
}

export interface RequestBodyLimits {
  readonly maxBytes: number | undefined
  readonly idleMs: number
}

export class RequestBody extends Readable {
  /** Bytes received from the client. */
  bytes = 0
  readonly #request: IncomingMessage
  readonly #limits: RequestBodyLimits
  readonly #listener: RequestBodyListener
  #silence: NodeJS.Timeout | undefined
  #hasBegun = false
  #isHeldBack = false

  constructor(request: IncomingMessage, limits: RequestBodyLimits, listener: RequestBodyListener) {
    super()
    // Whoever destroys it with an error has the error already; unheard, it would end the process.
    this.on('error', () => undefined)
    this.#request = request
    this.#limits = limits
    this.#listener = listener
    this.#silence = setTimeout(() => listener.onSilence(this.#isHeldBack ? 'upstream' : 'client'), limits.idleMs)
    request.on('data', this.#onData)
    request.on('end', this.#onEnd)
  }

  override _read(): void {
    if (!this.#isHeldBack) return
    this.#isHeldBack = false
    this.#silence?.refresh()
    this.#request.resume()
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#release()
    callback(error)
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#silence?.refresh()
    this.bytes += chunk.length
    if (this.#limits.maxBytes !== undefined && this.bytes > this.#limits.maxBytes) {
      this.#release()
      this.#listener.onTooLarge()
      return
    }
    this.#listener.onBytes(chunk.length)
    if (!this.push(chunk)) {
      this.#isHeldBack = true
      this.#request.pause()
    }
    this.#begin()
  }

  readonly #onEnd = (): void => {
    this.#release()
    this.push(null)
    this.#listener.onComplete()
    this.#begin()
  }

  #begin(): void {
    if (this.#hasBegun) return
    this.#hasBegun = true
    this.#listener.onBegun()
  }

  #release(): void {
    clearTimeout(this.#silence)
    this.#silence = undefined
    this.#request.off('data', this.#onData)
    this.#request.off('end', this.#onEnd)
  }
}

/** Whether a message has a body, by its framing (RFC 9112 §6.3); never by its method. */
export function hasBody({ headers }: IncomingMessage): boolean {
  const length = headers['content-length']
  return headers['transfer-encoding'] !== undefined || (length !== undefined && Number(length) > 0)
}
