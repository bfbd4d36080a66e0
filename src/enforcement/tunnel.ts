/**
 * One WebSocket: the handshake to the upstream, its answer, and then bytes in both directions until either side ends.
 *
 * The engine (`httpxy`) never sees the client's socket but `TunnelSocket`, and never sees the client's headers but the cleaned
 * ones. Upstreams are tried in turn while they cannot be connected to. An upstream that answers the handshake with anything but
 * a proper 101 is passed on as a plain answer, cleaned, and the connection closed; a 101 that is none is refused.
 * Idle tunnels end; half-open ones are found by TCP keep-alive. Nothing that happens on a socket reaches the process.
 */

import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { createProxyServer } from 'httpxy'
import type { Logger } from '../log.ts'
import { breakOff } from './client-connection.ts'
import type { CutCause, Exchange, ExchangeOutcome, Route, Standing } from './exchange.ts'
import type { CompiledForwarding } from './forwarding.ts'
import type { NameLookup } from './name-lookup.ts'
import { type OpenExchange, type OpenExchanges, ticksOf } from './open-exchanges.ts'
import { TunnelSocket } from './tunnel-socket.ts'
import { reasonOfFailure, type UpstreamReason } from './upstream-failure.ts'
import { upstreamTarget } from './upstream-locations.ts'
import { bareHostname, inOrderOfHope, portOf, type ReachableUpstream, upstreamTls } from './upstreams.ts'
import type { WatchedExchange } from './watched-exchange.ts'
import { findHandshakeProblem } from './websocket-handshake.ts'

export interface TunnelParts {
  readonly compile: (route: Route) => CompiledForwarding
  readonly open: OpenExchanges
  readonly log: Logger
  readonly lookup: NameLookup
  readonly headerBytes: number
}

/** Returns the function that tunnels; see `Forwarding`. */
export function createTunnel(parts: TunnelParts): (exchange: Exchange, socket: Duplex, head: Buffer) => Promise<ExchangeOutcome> {
  return (exchange, socket, head) => new Tunnel(exchange, socket, parts).run(head)
}

/** Probing begins after this much silence towards an upstream, too. */
const keepAliveMs = 20_000

/** Why an attempt ended before the client was answered. */
interface Failure {
  readonly reason: UpstreamReason
  readonly error: unknown
  /** Nothing was sent: another upstream may be tried. */
  readonly isUnreached: boolean
}

class Tunnel implements OpenExchange {
  readonly exchangeId: string
  readonly standing: Standing | undefined
  openIndex = -1
  dueAt = 0
  watched: WatchedExchange | undefined = undefined
  readonly #exchange: Exchange
  readonly #client: Duplex
  readonly #parts: TunnelParts
  readonly #compiled: CompiledForwarding
  #side: TunnelSocket | undefined
  #upstream: Socket | undefined
  /** When it is idle; never before it was answered. */
  #dueTick = Number.POSITIVE_INFINITY
  #status = 0
  #ending: ExchangeOutcome['outcome'] | undefined
  #cause: CutCause | undefined

  constructor(exchange: Exchange, client: Duplex, parts: TunnelParts) {
    this.exchangeId = exchange.id
    this.standing = exchange.standing
    this.#exchange = exchange
    this.#client = client
    this.#parts = parts
    this.#compiled = parts.compile(exchange.route)
  }

  get bytesIn(): number {
    return this.#side?.bytesIn ?? 0
  }

  get bytesOut(): number {
    return this.#side?.bytesOut ?? 0
  }

  async run(head: Buffer): Promise<ExchangeOutcome> {
    const closed = new Promise<void>((resolve) => {
      // Without a listener a reset would end the process; 'close' follows and tells the same.
      this.#client.on('error', () => undefined)
      if (this.#client.destroyed) resolve()
      else this.#client.once('close', () => resolve())
    })
    this.#parts.open.add(this)
    const failure = this.#client.destroyed ? undefined : await this.#connect(head, closed)
    if (failure === undefined || this.#client.destroyed) {
      await closed
      return this.#finish(undefined)
    }
    const { reason, error } = failure
    this.#parts.log.warn({ request: this.#exchange.id, app: this.#exchange.route.app.id, reason, err: error }, 'the upstream failed')
    this.#ending = 'upstream_failed'
    // What the client goes on sending is nobody's; unread, it would hide that the client has gone.
    this.#client.resume()
    return this.#finish(reason)
  }

  #finish(refusal: UpstreamReason | undefined): ExchangeOutcome {
    this.#parts.open.remove(this)
    this.#upstream?.destroy()
    return {
      status: this.#status,
      bytesIn: this.bytesIn,
      bytesOut: this.bytesOut,
      // A handshake is the upstream's and the client's; what is ours of it is over before a clock could tell.
      ownMs: 0,
      outcome: this.#ending ?? 'client_gone',
      refusal,
      cause: this.#cause,
    }
  }

  /** Tries the upstreams in turn; `undefined` once one has answered or the client is gone. */
  async #connect(head: Buffer, closed: Promise<void>): Promise<Failure | undefined> {
    const candidates = inOrderOfHope(this.#compiled.upstreams)
    let unread = head
    let failure: Failure | undefined
    for (const candidate of candidates) {
      const side = new TunnelSocket(this.#client, { onActivity: () => this.#noteActivity() })
      this.#side = side
      failure = await Promise.race([this.#attempt(candidate, side, unread), closed.then(() => undefined)])
      if (failure === undefined) return undefined
      unread = side.detach()
      if (!failure.isUnreached) return failure
      candidate.connections.recordUnreachable()
    }
    return failure
  }

  /** One handshake. Resolves to `undefined` as soon as an answer goes to the client. */
  #attempt({ upstream }: ReachableUpstream, side: TunnelSocket, head: Buffer): Promise<Failure | undefined> {
    const { timeouts } = this.#exchange.route.app
    const hostname = bareHostname(upstream.origin)
    const port = portOf(upstream.origin)
    const problem = this.#parts.lookup.findProblem(hostname, port)
    if (problem !== undefined) return Promise.resolve({ reason: 'upstream_unreachable', error: problem, isUnreached: true })

    return new Promise((resolve) => {
      let isConnected = false
      const fail = (error: unknown, reason = reasonOfFailure(error, false)) => resolve({ reason, error, isUnreached: !isConnected })
      const answer = (isSwitch: boolean, message: IncomingMessage) => {
        this.#status = message.statusCode ?? 0
        side.expectHead(isSwitch)
        this.#noteActivity()
        resolve(undefined)
      }

      const engine = createProxyServer()
      engine.on('proxyReqWs', (outgoing) => {
        const connecting = setTimeout(() => outgoing.destroy(timeoutError()), timeouts.connectSeconds * 1000)
        outgoing.on('close', () => clearTimeout(connecting))
        outgoing.on('socket', (socket) => {
          socket.once(upstream.origin.startsWith('https:') ? 'secureConnect' : 'connect', () => {
            isConnected = true
            clearTimeout(connecting)
          })
        })
        // These run before the engine's own listeners, which copy what they find in `headers`.
        outgoing.on('upgrade', (message: IncomingMessage, socket: Socket) => {
          const wrong = findHandshakeProblem(this.#exchange.request.headers, message.headers)
          if (wrong === undefined) {
            this.#upstream = socket
            message.headers = this.#cleanHeaders(message, { connection: 'Upgrade', upgrade: 'websocket' })
            answer(true, message)
          } else {
            fail(new Error(`the upstream switched to ${wrong}`), 'upstream_protocol_error')
            socket.destroy()
          }
        })
        outgoing.on('response', (message: IncomingMessage) => {
          const { statusCode = 0 } = message
          if (statusCode < 200) fail(new Error(`status ${statusCode} where an answer was due`), 'upstream_protocol_error')
          else {
            const encoding = message.headers['transfer-encoding']
            message.headers = this.#cleanHeaders(message, encoding === undefined ? {} : { 'transfer-encoding': encoding })
            this.#ending = 'completed'
            answer(false, message)
          }
        })
      })
      engine.on('open', (socket) => this.#watchUpstream(socket, side))
      engine
        .ws(
          this.#engineRequest(upstream),
          side as unknown as Socket,
          {
            target: { protocol: new URL(upstream.origin).protocol, hostname, port },
            agent: false,
            secure: true,
            upgradeTimeout: (timeouts.connectSeconds + timeouts.responseSeconds) * 1000,
            ssl: { ...upstreamTls(upstream), lookup: this.#parts.lookup.lookupFor(port), maxHeaderSize: this.#parts.headerBytes },
          },
          head,
        )
        .catch((error: unknown) => {
          if (side.hasAnswered) this.#ending ??= 'upstream_failed'
          else fail(error)
        })
    })
  }

  /** What the engine reads of a request: nothing of the client's own. */
  #engineRequest(upstream: ReachableUpstream['upstream']): IncomingMessage {
    const { app } = this.#exchange.route
    const headers: Record<string, string | string[]> = {}
    addLines(headers, this.#compiled.hygiene.writeRequestHeaders(this.#exchange))
    headers['host'] ??= new URL(upstream.origin).host
    headers['connection'] = 'Upgrade'
    headers['upgrade'] = 'websocket'
    const request = { method: 'GET', url: upstreamTarget(app, upstream, this.#exchange.target), headers, httpVersionMajor: 1 }
    return request as unknown as IncomingMessage
  }

  #cleanHeaders(message: IncomingMessage, framing: Record<string, string>): IncomingMessage['headers'] {
    const headers: Record<string, string | string[]> = {}
    addLines(headers, this.#compiled.hygiene.writeResponseHeaders(this.#exchange, message.statusCode ?? 0, message.headers))
    return { ...headers, ...framing }
  }

  #watchUpstream(upstream: Socket, side: TunnelSocket): void {
    upstream.setKeepAlive(true, keepAliveMs)
    upstream.on('error', () => {
      this.#ending ??= 'upstream_failed'
    })
    upstream.on('end', () => {
      this.#ending ??= 'completed'
    })
    // Piping ends the other side with an end, but not with a close that came without one.
    upstream.on('close', () => side.end())
    side.on('close', () => upstream.destroy())
    side.on('end', () => {
      this.#ending ??= 'completed'
    })
  }

  #noteActivity(): void {
    if (this.#status !== 0) this.#dueTick = this.#parts.open.tick + ticksOf(this.#exchange.route.app.timeouts.idleSeconds)
  }

  checkTime(tick: number): void {
    if (tick < this.#dueTick) return
    this.#dueTick = Number.POSITIVE_INFINITY
    // 1001: the endpoint goes away; browsers reconnect on it, as they should.
    this.cut(1001)
  }

  cut(closeCode: number, cause?: CutCause): void {
    if (this.#ending === undefined) {
      this.#ending = 'cut'
      this.#cause = cause
    }
    if (this.#side === undefined) breakOff(this.#client)
    else this.#side.cut(closeCode, cause === undefined ? 'at_boundary' : 'now')
    // Nothing that was still under way either way arrives any more.
    if (cause !== undefined) this.#upstream?.destroy()
  }
}

function addLines(headers: Record<string, string | string[]>, lines: readonly string[]): void {
  for (let i = 0; i + 1 < lines.length; i += 2) {
    const name = (lines[i] as string).toLowerCase()
    const value = lines[i + 1] as string
    const before = headers[name]
    headers[name] = before === undefined ? value : [before, value].flat()
  }
}

function timeoutError(): Error {
  return Object.assign(new Error('no connection in time'), { code: 'ETIMEDOUT' })
}
