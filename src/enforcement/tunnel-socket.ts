/**
 * The client's end of a tunnel, as it is handed to the proxy engine in place of the real socket.
 *
 * It stands in between for three reasons. Until an answer is ready to be sent, nothing the engine does (ending, destroying) may
 * reach the client: another upstream can still be tried, or a proper refusal answered. Bytes towards the client are counted by
 * frames, so that a cut says goodbye between two frames. And the socket's own settings (keep-alive, silence) stay ours.
 */

import { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { breakOff } from './client-connection.ts'
import { closeFrame, createFrameTracker } from './websocket-frames.ts'

export interface TunnelListener {
  /** Bytes moved, in either direction. */
  onActivity(): void
}

/** How long a frame may take to end before a cut stops waiting for it; a cut has to be over within a second. */
const boundaryWaitMs = 300

/** How long a client may take to close its side after ours was closed; and after it was told that it may not go on. */
const closeWaitMs = 500
const verdictWaitMs = 200

/** TCP probes begin after this much silence and give up ten seconds later (libuv: ten probes, one a second). */
const keepAliveMs = 20_000

export class TunnelSocket extends Duplex {
  bytesIn = 0
  bytesOut = 0
  readonly #client: Duplex
  readonly #listener: TunnelListener
  readonly #frames = createFrameTracker()
  #phase: 'waiting' | 'frames' | 'answer' | 'detached' = 'waiting'
  #hasWrittenHead = false
  #closeCode: number | undefined
  #timer: NodeJS.Timeout | undefined
  #closeWaitMs = closeWaitMs

  constructor(client: Duplex, listener: TunnelListener) {
    super({ decodeStrings: false, allowHalfOpen: true })
    this.#client = client
    this.#listener = listener
    if (client instanceof Socket) {
      client.setTimeout(0)
      client.setNoDelay(true)
      client.setKeepAlive(true, keepAliveMs)
    }
    client.on('data', this.#onData)
    client.on('end', this.#onEnd)
    client.on('close', this.#onClose)
  }

  /** What the engine writes next is the head of an answer: of a 101, behind which frames follow, or of any other. */
  expectHead(isSwitch: boolean): void {
    if (this.#phase === 'waiting') this.#phase = isSwitch ? 'frames' : 'answer'
  }

  /** Whether anything can have reached the client. */
  get hasAnswered(): boolean {
    return this.#phase === 'frames' || this.#phase === 'answer'
  }

  /** Takes the client's socket back before anything was answered; returns what the client had sent already. */
  detach(): Buffer {
    this.#phase = 'detached'
    this.#release()
    this.#client.pause()
    const unread = (this.read() as Buffer | null) ?? Buffer.alloc(0)
    this.destroy()
    return unread
  }

  /**
   * Ends the tunnel: a close frame between two frames, then the connection. `at_boundary` waits a moment for the frame under way to end;
   * `now` does not, as the rest of it is nothing that this client may still have: the connection breaks off within it. So it does where
   * the client is behind with reading, which a close frame at the end of the queue would wait for.
   */
  cut(closeCode: number, when: 'at_boundary' | 'now'): void {
    const isFirst = this.#closeCode === undefined
    if (!isFirst && when === 'at_boundary') return
    this.#closeCode ??= closeCode
    this.#client.off('data', this.#onData)
    this.#client.resume()
    const canSayGoodbye = this.#phase === 'frames' && this.#frames.isAtBoundary && this.#hasWrittenHead
    if (when === 'now') {
      this.#closeWaitMs = verdictWaitMs
      if (isFirst && canSayGoodbye && this.#client.writableLength === 0) this.#sayGoodbye()
      else breakOff(this.#client)
    } else if (this.#phase !== 'frames') this.#client.destroy()
    else if (canSayGoodbye) this.#sayGoodbye()
    else this.#timer = setTimeout(() => this.#client.destroy(), boundaryWaitMs)
  }

  override _read(): void {
    this.#client.resume()
  }

  override _write(chunk: Buffer | string, _encoding: BufferEncoding, callback: (error?: Error | null) => void): void {
    if (!this.hasAnswered || this.#client.destroyed) {
      callback()
      return
    }
    // The head is text whose characters are bytes: names and values as the upstream sent them.
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk, 'latin1') : chunk
    this.#listener.onActivity()
    if (!this.#hasWrittenHead) {
      this.#hasWrittenHead = true
      this.#client.write(bytes, callback)
      return
    }
    if (this.#closeCode !== undefined) {
      this.#writeLast(bytes, callback)
      return
    }
    if (this.#phase === 'frames') this.#frames.advance(bytes)
    this.bytesOut += bytes.length
    this.#client.write(bytes, callback)
  }

  #writeLast(bytes: Buffer, callback: () => void): void {
    if (this.#client.writableEnded) {
      callback()
      return
    }
    const rest = bytes.subarray(0, this.#frames.advanceToBoundary(bytes))
    this.bytesOut += rest.length
    this.#client.write(rest)
    if (this.#frames.isAtBoundary) this.#sayGoodbye()
    callback()
  }

  #sayGoodbye(): void {
    if (this.#closeCode !== undefined) this.#client.write(closeFrame(this.#closeCode))
    this.#closeClient()
  }

  override _final(callback: () => void): void {
    if (this.hasAnswered) this.#closeClient()
    callback()
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    if (this.hasAnswered && !this.#client.writableEnded) this.#client.destroy()
    callback(error)
  }

  #closeClient(): void {
    this.#client.end()
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.#client.destroy(), this.#closeWaitMs)
    // A side that waits for a client to take its leave is in nobody's way.
    this.#client.resume()
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#listener.onActivity()
    this.bytesIn += chunk.length
    if (!this.push(chunk)) this.#client.pause()
  }

  readonly #onEnd = (): void => {
    // Nobody half-closes while waiting for an answer to a handshake.
    if (this.hasAnswered) this.push(null)
    else this.#client.destroy()
  }

  readonly #onClose = (): void => {
    this.#release()
    this.destroy()
  }

  #release(): void {
    clearTimeout(this.#timer)
    this.#client.off('data', this.#onData)
    this.#client.off('end', this.#onEnd)
    this.#client.off('close', this.#onClose)
  }

  // The engine sets these on what it takes for a TCP socket; ours are set already, and shorter.

  setTimeout(): this {
    return this
  }

  setNoDelay(): this {
    return this
  }

  setKeepAlive(): this {
    return this
  }
}
