/**
 * One HTTP exchange: the request to the upstream, its answer to the client, as streams with backpressure in both directions.
 *
 * In order: 1 the client is told to go on if it asked (`Expect`), and a body must begin before it costs the upstream a connection ·
 * 2 upstreams are tried in turn until one can be connected to · 3 the head of the answer is checked and cleaned before any of it is
 * sent · 4 the body is passed on unchanged · 5 the end is reported. Whichever side fails or leaves, the other is aborted at once.
 *
 * The upstream is not trusted to speak HTTP: an unsolicited 100 or 101, a status below 200 that never ends, a body of another length
 * than announced or a head that is no head is `upstream_protocol_error`, or, once the answer has begun, a cut connection.
 * Redirects are not followed, nothing is decompressed. RFC 9110 §7.6, §10.1.1, §15.2; RFC 9112 §6, §9.
 */

import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Dispatcher } from 'undici'
import type { Logger } from '../log.ts'
import { endAnswer, reasonPhrase, withoutContent } from './answer-head.ts'
import { breakOff, ClientStall, closeGently } from './client-connection.ts'
import { authenticatesConnection, type ChallengeWatch, createChallengeWatch } from './connection-authentication.ts'
import type { CutCause, Exchange, ExchangeOutcome, Route, Standing } from './exchange.ts'
import type { CompiledForwarding } from './forwarding.ts'
import type { ParsedHeaders } from './header-hygiene.ts'
import { type OpenExchange, type OpenExchanges, ticksOf } from './open-exchanges.ts'
import { hasBody, RequestBody, type RequestBodyListener } from './request-body.ts'
import { isFaultOfOurs, reasonOfFailure } from './upstream-failure.ts'
import { upstreamTarget } from './upstream-locations.ts'
import { inOrderOfHope, type ReachableUpstream } from './upstreams.ts'
import type { WatchedExchange } from './watched-exchange.ts'

export interface ForwardParts {
  readonly compile: (route: Route) => CompiledForwarding
  readonly open: OpenExchanges
  readonly log: Logger
  readonly noteBodyBytes: (bytes: number) => void
  readonly monotonicNow: () => number
}

/** Returns the function that forwards; see `Forwarding`. */
export function createForward(parts: ForwardParts): (exchange: Exchange, response: ServerResponse) => Promise<ExchangeOutcome> {
  const shared = { ...parts, noteChallenge: createChallengeWatch(parts.log) }
  return (exchange, response) =>
    new Promise((resolve) => {
      new HttpExchange(exchange, response, shared, resolve).begin()
    })
}

interface ExchangeParts extends ForwardParts {
  readonly noteChallenge: ChallengeWatch
}

/** Options that the client reads and its types leave out. */
type DispatchOptions = Dispatcher.DispatchOptions & { readonly servername: string }

type Refusal = NonNullable<ExchangeOutcome['refusal']>

/** Early hints and progress reports before one answer; more is nonsense or an attack on memory. */
const maxInformational = 64

class HttpExchange implements Dispatcher.DispatchHandler, RequestBodyListener, OpenExchange {
  readonly exchangeId: string
  readonly standing: Standing | undefined
  openIndex = -1
  dueAt = 0
  watched: WatchedExchange | undefined = undefined
  readonly #exchange: Exchange
  readonly #request: IncomingMessage
  readonly #response: ServerResponse
  readonly #parts: ExchangeParts
  readonly #resolve: (outcome: ExchangeOutcome) => void
  readonly #compiled: CompiledForwarding
  #candidates: readonly ReachableUpstream[]
  #body: RequestBody | undefined = undefined
  #controller: Dispatcher.DispatchController | undefined = undefined
  /** When waiting for the upstream is over. */
  #dueTick = Number.POSITIVE_INFINITY
  #lines: string[] | undefined = undefined
  #stall: ClientStall | undefined = undefined
  #isSettled = false
  #isHeadSent = false
  #isEnded = false
  #hasUpstreamSpoken = false
  #hasRetried = false
  #informational = 0
  /** Length of the answer's body where it is known and there is one; else -1. */
  #expectedBytes = -1
  #bytesOut = 0
  /** Spent on the heads of request and answer; everything else is waiting. */
  #ownMs = 0

  constructor(exchange: Exchange, response: ServerResponse, parts: ExchangeParts, resolve: (outcome: ExchangeOutcome) => void) {
    this.exchangeId = exchange.id
    this.standing = exchange.standing
    this.#exchange = exchange
    this.#request = exchange.request
    this.#response = response
    this.#parts = parts
    this.#resolve = resolve
    this.#compiled = parts.compile(exchange.route)
    this.#candidates = inOrderOfHope(this.#compiled.upstreams)
  }

  get bytesIn(): number {
    return this.#body?.bytes ?? this.#exchange.body?.bytes.length ?? 0
  }

  get bytesOut(): number {
    return this.#bytesOut
  }

  begin(): void {
    if (this.#request.socket.destroyed) {
      this.#settle('client_gone')
      return
    }
    this.#response.on('close', () => this.#onClientClose())
    this.#parts.open.add(this)
    const received = this.#exchange.body?.bytes
    const { maxBodyBytes, timeouts } = this.#exchange.route.app
    if (maxBodyBytes !== undefined && Number(received?.length ?? this.#request.headers['content-length'] ?? 0) > maxBodyBytes) {
      this.#fail('body_too_large', new Error('the announced body is larger than the limit'))
      return
    }
    if (received !== undefined || !hasBody(this.#request)) {
      this.#startDeadline()
      this.#dispatch()
      return
    }

    // 1 only now is the body wanted; the upstream never sees the expectation (RFC 9110 §10.1.1)
    if (this.#request.headers.expect !== undefined && this.#request.httpVersionMinor > 0) this.#response.writeContinue()
    this.#body = new RequestBody(this.#request, { maxBytes: maxBodyBytes, idleMs: timeouts.idleSeconds * 1000 }, this)
  }

  cut(_closeCode: number, cause?: CutCause): void {
    if (this.#isSettled) return
    this.#settle('cut', undefined, cause)
    breakOff(this.#request.socket)
  }

  onBegun(): void {
    if (!this.#isSettled) this.#dispatch()
  }

  onComplete(): void {
    if (!this.#isHeadSent && !this.#isSettled) this.#startDeadline()
  }

  onBytes(bytes: number): void {
    this.#parts.noteBodyBytes(bytes)
  }

  onTooLarge(): void {
    this.#fail('body_too_large', new Error('the body grew past the limit'))
  }

  onSilence(who: 'client' | 'upstream'): void {
    if (!this.#isHeadSent) this.#fail(who === 'client' ? 'request_timeout' : 'upstream_timeout', new Error(`silence of the ${who}`))
  }

  // 2 the request

  #dispatch(): void {
    const [current] = this.#candidates
    if (current === undefined || this.#isSettled) return
    const begunAt = this.#parts.monotonicNow()
    const { app } = this.#exchange.route
    this.#lines ??= this.#writeRequestLines()
    const options: DispatchOptions = {
      path: upstreamTarget(app, current.upstream, this.#exchange.target),
      method: this.#request.method as Dispatcher.HttpMethod,
      headers: this.#lines,
      body: this.#body ?? this.#exchange.body?.bytes ?? null,
      // Both are watched by our own clock.
      headersTimeout: 0,
      bodyTimeout: 0,
      // A constant: taken from Host, the client would choose which certificate is asked for.
      servername: current.serverName,
    }
    // NTLM and its kin authenticate a connection, not a request: nobody else may come after on the same one.
    if (authenticatesConnection(this.#request.headers.authorization)) options.reset = true
    current.connections.dispatch(options, this)
    this.#ownMs += this.#parts.monotonicNow() - begunAt
  }

  #writeRequestLines(): string[] {
    const lines = this.#compiled.hygiene.writeRequestHeaders(this.#exchange)
    const length = this.#request.headers['content-length']
    if (this.#body !== undefined && length !== undefined) lines.push('Content-Length', length)
    return lines
  }

  #startDeadline(): void {
    this.#dueTick = this.#parts.open.tick + ticksOf(this.#exchange.route.app.timeouts.responseSeconds)
  }

  #awaitMore(): void {
    this.#dueTick = this.#parts.open.tick + ticksOf(this.#exchange.route.app.timeouts.idleSeconds)
  }

  checkTime(tick: number): void {
    if (tick >= this.#dueTick) this.#fail('upstream_timeout', new Error(this.#isHeadSent ? 'silence within the body' : 'no answer in time'))
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller
    if (this.#isSettled) controller.abort(new Error('the exchange is over'))
  }

  onResponseStarted(): void {
    this.#hasUpstreamSpoken = true
  }

  // 3 the head of the answer

  onResponseStart(_controller: Dispatcher.DispatchController, status: number, headers: ParsedHeaders, statusMessage?: string): void {
    if (this.#isSettled) return
    if (status < 200) {
      this.#passInformational(status, headers)
      return
    }
    const begunAt = this.#parts.monotonicNow()
    this.#awaitMore()
    const response = this.#response
    // The client may still be sending what nobody wants any more; the connection cannot be used again (RFC 9112 §9.3).
    if (this.#body !== undefined && !this.#request.complete) closeGently(this.#request, response)
    if (status === 401) this.#parts.noteChallenge(this.#exchange.route.app, headers)
    const { isPreflight = false } = this.#exchange
    try {
      const lines = this.#compiled.hygiene.writeResponseHeaders(this.#exchange, status, headers)
      response.writeHead(status, reasonPhrase(status, statusMessage), isPreflight ? withoutContent(lines, status) : lines)
    } catch (error) {
      this.#fail('upstream_protocol_error', error)
      return
    }
    this.#isHeadSent = true
    this.#ownMs += this.#parts.monotonicNow() - begunAt
    if (isPreflight) {
      this.#end()
      return
    }
    const length = headers['content-length']
    if (length !== undefined && this.#request.method !== 'HEAD' && status !== 204 && status !== 304) this.#expectedBytes = Number(length)
    // Head and body usually arrive together and leave as one write; a head that comes alone must not wait for its body.
    process.nextTick(flushHead, this)
  }

  flushHead(): void {
    if (this.#bytesOut === 0 && !this.#isEnded && !this.#isSettled) this.#response.flushHeaders()
  }

  #passInformational(status: number, headers: ParsedHeaders): void {
    this.#informational++
    if (status < 100 || status === 101 || this.#informational > maxInformational) {
      this.#fail('upstream_protocol_error', new Error(`status ${status} where an answer was due`))
      return
    }
    // HTTP/1.0 knows none of them; others than these two have no meaning across a proxy that buffers nothing.
    if (this.#request.httpVersionMinor === 0 || this.#exchange.isPreflight === true) return
    try {
      if (status === 103 && headers['link'] !== undefined) this.#response.writeEarlyHints({ link: headers['link'] as string | string[] })
      else if (status === 102) this.#response.writeProcessing()
    } catch {
      // A hint that Node does not take for a valid Link is only a hint.
    }
  }

  // 4 the body

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#isSettled || this.#isEnded) return
    this.#bytesOut += chunk.length
    this.#parts.noteBodyBytes(chunk.length)
    if (this.#bytesOut === this.#expectedBytes) {
      this.#end(chunk)
      return
    }
    if (this.#response.write(chunk)) {
      this.#awaitMore()
      return
    }
    // From here on it is the client who is waited for.
    this.#dueTick = Number.POSITIVE_INFINITY
    controller.pause()
    this.#stall ??= new ClientStall(this.#request.socket, this.#exchange.route.app.timeouts.idleSeconds * 1000)
    this.#stall.start()
    this.#response.once('drain', () => {
      this.#stall?.stop()
      if (!this.#isSettled) this.#awaitMore()
      controller.resume()
    })
  }

  onResponseEnd(_controller: Dispatcher.DispatchController, trailers: ParsedHeaders): void {
    if (this.#isSettled || this.#isEnded) return
    try {
      const lines = this.#compiled.hygiene.writeTrailers(trailers)
      if (lines.length > 0) this.#response.addTrailers(lines)
    } catch (error) {
      this.#fail('upstream_protocol_error', error)
      return
    }
    this.#end()
  }

  #end(chunk?: Buffer): void {
    this.#isEnded = true
    this.#dueTick = Number.POSITIVE_INFINITY
    endAnswer(this.#response, chunk)
    // What a stalled client leaves in memory must not stay there for ever.
    this.#stall?.start()
  }

  // 5 the end

  onResponseError(_controller: Dispatcher.DispatchController | null, error: Error): void {
    if (this.#isSettled || this.#isEnded) return
    const [current, ...others] = this.#candidates
    if (current === undefined) return
    if (this.#controller === undefined) {
      // No connection, so nothing was sent and the body is untouched: any method may go elsewhere.
      if (!isFaultOfOurs(error)) current.connections.recordUnreachable()
      if (others.length > 0 && !isFaultOfOurs(error)) {
        this.#candidates = others
        queueMicrotask(() => this.#dispatch())
        return
      }
    } else if (this.#mayRetry(current, error)) {
      this.#hasRetried = true
      this.#controller = undefined
      queueMicrotask(() => this.#dispatch())
      return
    }
    this.#fail(reasonOfFailure(error, this.#hasUpstreamSpoken), error)
  }

  /** Upstreams close idle connections just when a request sets out; it was not looked at, and repeating it changes nothing. */
  #mayRetry(current: ReachableUpstream, error: Error): boolean {
    const { method } = this.#request
    const isSafe = method === 'GET' || method === 'HEAD' || method === 'OPTIONS'
    return (
      isSafe &&
      this.#body === undefined &&
      !this.#hasUpstreamSpoken &&
      !this.#hasRetried &&
      current.connections.brokeReusedConnection(error)
    )
  }

  /** Ends the exchange for a failure: a refusal for the caller to answer, or a cut once the answer has begun. */
  #fail(reason: Refusal, error: unknown): void {
    if (this.#isSettled) return
    const { app } = this.#exchange.route
    const facts = { request: this.#exchange.id, app: app.id, reason, err: error }
    if (isFaultOfOurs(error)) this.#parts.log.error(facts, 'a request could not be put on the wire')
    else if (reason !== 'body_too_large' && reason !== 'request_timeout') this.#parts.log.warn(facts, 'the upstream failed')
    if (this.#isHeadSent) {
      this.#endUnfinished()
      return
    }
    if (this.#body !== undefined && !this.#request.complete) closeGently(this.#request, this.#response)
    this.#settle(reason.startsWith('upstream') ? 'upstream_failed' : 'cut', reason)
  }

  /** The client must notice that something is missing: without a length, only a reset says so. */
  #endUnfinished(): void {
    const { socket } = this.#request
    const hasFraming = this.#response.chunkedEncoding || this.#expectedBytes !== -1
    this.#settle('upstream_failed')
    if (hasFraming || 'encrypted' in socket) socket.destroy()
    else socket.resetAndDestroy()
  }

  #onClientClose(): void {
    if (!this.#isSettled) this.#settle(this.#isEnded && this.#response.writableFinished ? 'completed' : 'client_gone')
  }

  #settle(outcome: ExchangeOutcome['outcome'], refusal?: Refusal, cause?: CutCause): void {
    this.#isSettled = true
    this.#stall?.stop()
    this.#parts.open.remove(this)
    // What is still to come of a preflight's answer goes nowhere; an answer that is complete cannot be aborted.
    if (outcome !== 'completed' || this.#exchange.isPreflight === true)
      this.#controller?.abort(new Error(`the exchange ended: ${refusal ?? outcome}`))
    this.#body?.destroy()
    this.#resolve({
      status: this.#isHeadSent ? this.#response.statusCode : 0,
      bytesIn: this.bytesIn,
      bytesOut: this.#bytesOut,
      ownMs: this.#ownMs,
      outcome,
      refusal,
      cause,
    })
  }
}

function flushHead(exchange: HttpExchange): void {
  exchange.flushHead()
}
