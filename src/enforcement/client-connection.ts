/**
 * The client's side of the wire, where HTTP alone does not keep the promises: closing without eating the answer, and clients that
 * stop reading.
 */

import type { IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'

/** How long a client may go on sending after it was answered early. */
const lingerMs = 2000

/**
 * Makes the connection close after the answer, but not at once: what the client still sends is read and thrown away for a while.
 * Closing with unread bytes resets the connection, and a reset can overtake the answer (RFC 9112 §9.6). For answers to requests
 * whose body was not read to its end; before the head of the answer is written.
 */
export function closeGently(request: IncomingMessage, response: ServerResponse): void {
  const { socket } = request
  response.shouldKeepAlive = false
  // Node's HTTP server closes with `destroySoon`, which would be the reset; there is no option for it.
  socket.destroySoon = () => {
    socket.end()
    const timer = setTimeout(() => socket.destroy(), lingerMs)
    socket.once('close', () => clearTimeout(timer))
    request.once('end', () => socket.destroy())
    request.resume()
  }
  request.resume()
}

/**
 * Breaks a connection off, so that nobody takes what came over it for whole: a reset, which no proxy and no client mistakes for an end. Over
 * TLS there is no such thing, but a connection that closes without `close_notify` says the same (RFC 8446 §6.1).
 */
export function breakOff(socket: Duplex): void {
  if (socket instanceof Socket && !('encrypted' in socket)) socket.resetAndDestroy()
  else socket.destroy()
}

/** Cuts a client that takes nothing for too long. Any byte it takes counts, also within one large write. */
export class ClientStall {
  readonly #socket: Socket
  readonly #idleMs: number
  #timeoutBefore: number | undefined
  #isRunning = false

  constructor(socket: Socket, idleMs: number) {
    this.#socket = socket
    this.#idleMs = idleMs
  }

  start(): void {
    if (this.#isRunning) return
    this.#isRunning = true
    this.#timeoutBefore = this.#socket.timeout
    this.#socket.setTimeout(this.#idleMs)
    this.#socket.on('timeout', this.#cut)
  }

  stop(): void {
    if (!this.#isRunning) return
    this.#isRunning = false
    this.#socket.off('timeout', this.#cut)
    this.#socket.setTimeout(this.#timeoutBefore ?? 0)
  }

  readonly #cut = (): void => {
    this.#socket.destroy()
  }
}
