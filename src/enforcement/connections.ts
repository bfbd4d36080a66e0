/**
 * From a connection to arrivals: each request of a connection becomes one arrival, with the policy as it is at that instant.
 *
 * What is no request (broken syntax, headers too large, CONNECT, too slow) is answered here on the bare socket and closes it. An answer
 * is written only where the client cannot take it for that of another request: with pipelining, several may be under way at once.
 */

import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { Server as TlsServer } from 'node:https'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { compileCidrs, readClientAddress } from '../attributes/client-address.ts'
import type { Reason } from '../policy/decision.ts'
import { turnAway } from './act.ts'
import type { Arrival, EnforcementPoint } from './arrival.ts'
import { receiveBody } from './body-reception.ts'
import { enforce } from './enforce.ts'
import type { Target } from './exchange.ts'
import type { Forwarding } from './forwarding.ts'
import type { Snapshot } from './ports.ts'
import { observeEnd, recordRefusal } from './record.ts'
import { sendAnswer, sendRawAnswer } from './reply.ts'
import { createRequestId } from './request-id.ts'
import { statusOf } from './respond.ts'
import { keepShortLivedYoung } from './short-lived.ts'
import { createArrivalTraces } from './trace-context.ts'

export interface ConnectionParts {
  readonly point: EnforcementPoint
  readonly snapshot: () => Snapshot
  readonly forwarding: Pick<Forwarding, 'forward' | 'tunnel' | 'cut'>
  /** The host name under which the client of a connection was asked for its certificate. Left out where this listener never asks. */
  readonly askedAs: ((socket: Socket) => string | undefined) | undefined
}

export interface Connections {
  /** From now on every answer is the last one of its connection; connections without a request are closed. */
  beginDrain(): void
}

/** RFC 6455 §7.4.1: the endpoint goes away. */
const goingAway = 1001

/** Connects a server's events to the flow. */
export function attachConnections(server: Server, { point, snapshot, forwarding, askedAs }: ConnectionParts): Connections {
  keepShortLivedYoung()
  const { settings, ports } = point
  const trustedProxies = compileCidrs(settings.trustedProxies)
  const traces = createArrivalTraces(ports.startTrace)
  const isHttps = settings.accessUrl.protocol === 'https:'
  const hsts = isHttps && settings.hstsSeconds !== undefined ? `max-age=${settings.hstsSeconds}` : undefined
  const underWay = new WeakMap<Duplex, Set<ServerResponse>>()
  /** Connections on which nothing was asked yet. */
  const unused = new Set<Duplex>()
  /** Connections whose last answer is given: what follows on them was framed by somebody else's idea of a message. */
  const spent = new WeakSet<Duplex>()
  /** WebSockets, by the request that each began with. */
  const tunnels = new Set<string>()
  let isDraining = false

  function describeArrival(request: IncomingMessage, isUpgrade: boolean) {
    const forwardedFor = request.headers['x-forwarded-for']
    return {
      id: createRequestId(),
      request,
      snapshot: snapshot(),
      isUpgrade,
      address: readClientAddress(
        request.socket.remoteAddress ?? '',
        forwardedFor === undefined ? [] : [forwardedFor].flat(),
        trustedProxies,
      ),
      trace: traces.traceOf(request.headers, isFromProxy(request)),
      isMisdirectedFor: (hostname: string) => askedAs !== undefined && askedAs(request.socket) !== hostname,
      arrivedAt: ports.monotonicNow(),
      receivingMs: 0,
    }
  }

  /** Whether a proxy of ours says so itself. Nobody asks where no spans are made. */
  function isFromProxy({ socket: { remoteAddress = '' } }: IncomingMessage): boolean {
    return ports.startTrace !== undefined && trustedProxies.contains(readClientAddress(remoteAddress, [], trustedProxies))
  }

  /** Never rejects. */
  async function begin(arrival: Arrival): Promise<void> {
    try {
      if (arrival.request.rawHeaders.length / 2 > settings.limits.headers) turnAway(point, arrival, 'headers_too_large')
      else await enforce(point, arrival)
    } catch (error) {
      // The judgement never fails, so only a mistake of ours gets here. What is told is what any denial tells.
      ports.log.error({ err: error, request: arrival.id }, 'a request could not be answered')
      try {
        arrival.answer(point.responder.refuse({ reason: 'evaluation_failed', requestId: arrival.id, audience: 'program' }))
      } catch {
        // Not even that: a closed connection is a denial too.
        arrival.request.socket.destroy()
      }
    }
  }

  function onConnection(socket: Duplex): void {
    unused.add(socket)
    socket.once('close', () => unused.delete(socket))
  }

  function onRequest(request: IncomingMessage, response: ServerResponse): void {
    const { socket } = request
    // Node goes on parsing what arrived together with a request that is answered with `Connection: close`.
    if (spent.has(socket)) return
    unused.delete(socket)
    track(socket, response)
    if (isDraining) {
      response.shouldKeepAlive = false
      spent.add(socket)
    }
    if (hsts !== undefined) response.setHeader('Strict-Transport-Security', hsts)
    const described = describeArrival(request, false)
    const arrival: Arrival = {
      ...described,
      answer: (answer) => {
        if (answer.closes) spent.add(socket)
        sendAnswer(request, response, answer)
      },
      receive: async (limits) => {
        const begunAt = ports.monotonicNow()
        const received = await receiveBody(request, response, limits)
        arrival.receivingMs += ports.monotonicNow() - begunAt
        return received
      },
      carry: (exchange) => forwarding.forward(exchange, response),
      enterAccessHost: (target) => {
        response.setHeader('X-Postern-Request', described.id)
        stateToControlPlane(request, target, settings.accessUrl)
        // Its bodies are small forms, and it is ours: nothing is decided about them before they are read.
        // HTTP/1.0 knows no 1xx: its client would take one for the answer (RFC 9110 §15.2).
        if (request.headers.expect !== undefined && request.httpVersionMinor > 0) response.writeContinue()
        ports.handleAccessHost(request, response, { requestId: described.id, address: described.address })
      },
    }
    void begin(arrival)
  }

  function onUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    socket.on('error', () => socket.destroy())
    unused.delete(socket)
    // An answer is still due to an earlier request of this connection: what we wrote now would be taken for it.
    if (spent.has(socket) || (underWay.get(socket)?.size ?? 0) > 0) {
      socket.destroy()
      return
    }
    void begin({
      ...describeArrival(request, true),
      answer: (answer) => sendRawAnswer(socket, answer),
      // A handshake has no body.
      receive: () => Promise.resolve({ outcome: 'gone' }),
      carry: async (exchange, noteUse) => {
        tunnels.add(exchange.id)
        try {
          const ended = forwarding.tunnel(exchange, socket, head)
          // After the tunnel has its own listener: the first one makes a socket flow.
          socket.on('data', noteUse)
          if (isDraining) forwarding.cut(exchange.id, goingAway)
          return await ended
        } finally {
          tunnels.delete(exchange.id)
        }
      },
      // The flow has no Upgrades for the access host; an arrival that got here all the same goes nowhere.
      enterAccessHost: () => socket.destroy(),
    })
  }

  function onConnect(request: IncomingMessage, socket: Duplex): void {
    socket.on('error', () => socket.destroy())
    answerNoRequest(socket, 'method_not_allowed', request.socket.remoteAddress)
  }

  function onClientError(error: NodeJS.ErrnoException, socket: Duplex): void {
    if (error.code === 'ECONNRESET' || !socket.writable) {
      socket.destroy()
      return
    }
    // The last answer is on its way and closes the connection; destroying it now could overtake that.
    if (spent.has(socket)) return
    const address = 'remoteAddress' in socket && typeof socket.remoteAddress === 'string' ? socket.remoteAddress : undefined
    answerNoRequest(socket, reasonOfParseError(error.code), address)
  }

  /** Answers what is broken, unless the client would take that for the answer to something else. */
  function answerNoRequest(socket: Duplex, reason: Reason, remoteAddress: string | undefined): void {
    const responses = [...(underWay.get(socket) ?? [])]
    // With nothing under way it is the next answer that is due. With one request whose body is what broke, it is that one's.
    const isItsTurn = responses.every((response) => responses.length === 1 && !response.headersSent && !response.req.complete)
    const heard = { id: createRequestId(), address: readClientAddress(remoteAddress ?? '', [], trustedProxies), snapshot: snapshot() }
    if (responses.length === 0) {
      recordRefusal(point, heard, reason, undefined)
      observeEnd(
        point,
        { arrivedAt: ports.monotonicNow(), receivingMs: 0 },
        { app: undefined, effect: 'deny', reason, status: statusOf(reason) },
      )
    }
    if (isItsTurn) sendRawAnswer(socket, point.responder.refuse({ reason, requestId: heard.id, audience: 'program' }))
    else socket.destroy()
  }

  function track(socket: Duplex, response: ServerResponse): void {
    const responses = underWay.get(socket) ?? new Set()
    underWay.set(socket, responses.add(response))
    response.on('close', () => responses.delete(response))
  }

  server.on(server instanceof TlsServer ? 'secureConnection' : 'connection', onConnection)
  server.on('request', onRequest)
  // The expectation is met after the decision, by forwarding; Node would meet it before.
  server.on('checkContinue', onRequest)
  server.on('checkExpectation', onRequest)
  server.on('upgrade', onUpgrade)
  server.on('connect', onConnect)
  server.on('clientError', onClientError)

  return {
    beginDrain() {
      isDraining = true
      for (const socket of unused) socket.destroy()
      for (const id of tunnels) forwarding.cut(id, goingAway)
    },
  }
}

/** Gives Express what was already worked out, in the places where it looks, and nothing that a client said about itself. */
function stateToControlPlane(request: IncomingMessage, target: Target, accessUrl: URL): void {
  request.url = target.path + target.query
  for (const name of Object.keys(request.headers)) {
    if (name.startsWith('x-forwarded-') || name.startsWith('x-postern') || name === 'forwarded') delete request.headers[name]
  }
  request.headers.host = accessUrl.host
  request.headers['x-forwarded-proto'] = accessUrl.protocol.slice(0, -1)
}

function reasonOfParseError(code: string | undefined): Reason {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return 'headers_too_large'
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return 'request_timeout'
    default:
      return 'bad_request'
  }
}
