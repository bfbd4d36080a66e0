/**
 * The rig for tests of forwarding: a raw TCP upstream that records every byte and answers as told, Postern's forwarding behind a
 * plain `node:http` server, and raw clients, so that nothing between a test and the wire is normalised.
 */

import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { type AddressInfo, connect, createServer as createTcpServer, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { Logger } from '../log.ts'
import type { App, Upstream } from '../policy/document.ts'
import type { SealedCookies } from '../session/sealed-cookies.ts'
import type { Exchange, ExchangeOutcome, HeaderLine, Route } from './exchange.ts'
import { createForwarding, type Forwarding, type ForwardingOptions } from './forwarding.ts'
import { createArrivalTraces } from './trace-context.ts'

export interface RawConnection {
  readonly socket: Socket
  /** Everything received so far, one character a byte. */
  readonly received: () => string
  readonly send: (bytes: string | Buffer) => void
  readonly until: (condition: (received: string) => boolean) => Promise<string>
  readonly closed: Promise<void>
}

export interface RawUpstream {
  readonly origin: string
  readonly port: number
  readonly connections: RawConnection[]
  /** All that was received, on all connections. */
  readonly received: () => string
  readonly close: () => Promise<void>
}

function wrap(socket: Socket, onData?: (connection: RawConnection) => void): RawConnection {
  const chunks: Buffer[] = []
  let text = ''
  const waiting = new Set<() => void>()
  socket.on('error', () => undefined)
  const closed = new Promise<void>((resolve) => socket.on('close', () => resolve()))
  const connection: RawConnection = {
    socket,
    received: () => {
      if (chunks.length > 0) text += Buffer.concat(chunks.splice(0)).toString('latin1')
      return text
    },
    send: (bytes) => socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes),
    until: (condition) =>
      new Promise((resolve, reject) => {
        const check = () => {
          if (!condition(connection.received())) return
          waiting.delete(check)
          resolve(connection.received())
        }
        waiting.add(check)
        void closed.then(() => {
          check()
          if (waiting.delete(check)) reject(new Error(`closed while waiting; received: ${JSON.stringify(connection.received())}`))
        })
        check()
      }),
    closed,
  }
  socket.on('data', (chunk: Buffer) => {
    chunks.push(chunk)
    for (const check of [...waiting]) check()
    onData?.(connection)
  })
  return connection
}

/** An upstream that calls `answer` for each complete request head on a connection (bodies are the test's business). */
export async function startRawUpstream(answer: (connection: RawConnection, head: string) => void): Promise<RawUpstream> {
  const connections: RawConnection[] = []
  const heads = new WeakMap<RawConnection, number>()
  const server = createTcpServer({ allowHalfOpen: true }, (socket) => {
    socket.on('end', () => socket.end())
    connections.push(
      wrap(socket, (connection) => {
        for (;;) {
          const from = heads.get(connection) ?? 0
          const start = connection
            .received()
            .slice(from)
            .search(/[A-Z]+ \/[^\r\n]* HTTP\/1\.1\r\n/)
          if (start === -1) return
          const end = connection.received().indexOf('\r\n\r\n', from + start)
          if (end === -1) return
          heads.set(connection, end + 4)
          answer(connection, connection.received().slice(from + start, end + 4))
        }
      }),
    )
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    origin: `http://127.0.0.1:${port}`,
    port,
    connections,
    received: () => connections.map((connection) => connection.received()).join(''),
    close: () =>
      new Promise((resolve) => {
        for (const { socket } of connections) socket.destroy()
        server.close(() => resolve())
      }),
  }
}

/** An upstream that says `bytes` to every request. */
export function startUpstreamSaying(bytes: string | Buffer): Promise<RawUpstream> {
  return startRawUpstream((connection) => connection.send(bytes))
}

export async function connectRaw(port: number): Promise<RawConnection> {
  const socket = connect(port, '127.0.0.1')
  const connection = wrap(socket)
  await once(socket, 'connect')
  return connection
}

/** A value whose shape is that of the policy document, for tests that change little of it. */
export function appFor(upstreams: readonly (string | Partial<Upstream>)[], changes: Partial<App> = {}): App {
  return {
    id: 'wiki',
    name: 'Wiki',
    description: undefined,
    owner: undefined,
    help: undefined,
    logo: undefined,
    portal: 'if_relevant',
    address: { origin: 'https://wiki.corp.example', hostname: 'wiki.corp.example', port: 443, prefix: '/' },
    upstreams: upstreams.map((upstream) => ({
      origin: typeof upstream === 'string' ? upstream : 'http://127.0.0.1:1',
      basePath: '',
      ca: undefined,
      serverName: undefined,
      ...(typeof upstream === 'string' ? {} : upstream),
    })),
    sensitivity: 'internal',
    preserveHost: true,
    identity: {
      kind: 'headers',
      user: 'x-forwarded-user',
      email: 'x-forwarded-email',
      preferredUsername: 'x-forwarded-preferred-username',
      groups: 'x-forwarded-groups',
      extra: [],
      groupsSeparator: ',',
      onlyGroups: undefined,
    },
    session: { idleTimeoutSeconds: undefined, lifetimeSeconds: undefined },
    timeouts: { connectSeconds: 2, responseSeconds: 5, idleSeconds: 5 },
    calledBy: [],
    crossSitePosts: [],
    pathRules: [],
    maxBodyBytes: undefined,
    stripPrefix: false,
    passAuthorization: false,
    audit: { paths: 'full', durability: undefined, whenFull: undefined },
    setRequestHeaders: [],
    removeRequestHeaders: [],
    setResponseHeaders: [],
    report: undefined,
    rules: [],
    ...changes,
  }
}

export function routeFor(app: App, isPublic = false): Route {
  const rule = { name: 'everyone', parts: [], who: { isPublic, judge: () => 'true', findRemedy: () => 'ask_for_access' } }
  return {
    app,
    policy: { id: app.id, portal: app.portal, startPath: app.address.prefix, denies: [], allows: [rule] } as unknown as Route['policy'],
  }
}

/** Knows our cookies by prefix only; the sealing is tested where it is made. */
export const plainCookies = {
  withoutOurs: (header: string) => {
    const left = header.split('; ').filter((pair) => !/^(__Host-)?postern/i.test(pair))
    return left.length === 0 ? undefined : left.join('; ')
  },
  isOurs: (setCookie: string) => /^\s*(__Host-|__Secure-)?postern/i.test(setCookie),
} as unknown as SealedCookies

export interface LoggedLine {
  readonly level: string
  readonly facts: Record<string, unknown>
  readonly message: string
}

export interface Rig {
  readonly port: number
  readonly forwarding: Forwarding
  readonly outcomes: ExchangeOutcome[]
  readonly log: LoggedLine[]
  /** Resolves to the outcome with this position, once it is there. */
  outcome(index?: number): Promise<ExchangeOutcome>
  readonly close: () => Promise<void>
}

const statusOfRefusal: Record<NonNullable<ExchangeOutcome['refusal']>, number> = {
  upstream_unreachable: 502,
  upstream_protocol_error: 502,
  upstream_timeout: 504,
  body_too_large: 413,
  request_timeout: 408,
}

export interface RigOptions {
  readonly identity?: readonly HeaderLine[]
  readonly isPublic?: boolean
  readonly forwarding?: Partial<ForwardingOptions>
}

/** Forwarding for one app, behind a server of ours that answers refusals the way the data plane does. */
export async function startRig(app: App, { identity = [], isPublic = false, forwarding: overrides = {} }: RigOptions = {}): Promise<Rig> {
  const log: LoggedLine[] = []
  const logAt = (level: string) => (facts: Record<string, unknown>, message: string) => log.push({ level, facts, message })
  const forwarding = createForwarding({
    log: {
      debug: logAt('debug'),
      info: logAt('info'),
      warn: logAt('warn'),
      error: logAt('error'),
      fatal: logAt('fatal'),
    } as unknown as Logger,
    monotonicNow: () => performance.now(),
    cookies: plainCookies,
    accessUrl: new URL('https://access.corp.example'),
    limits: { headerBytes: 32 * 1024 },
    ...overrides,
  })
  const outcomes: ExchangeOutcome[] = []
  const waiting: (() => void)[] = []
  const route = routeFor(app, isPublic)
  const traces = createArrivalTraces(undefined)
  let count = 0

  const exchangeOf = (request: IncomingMessage): Exchange => {
    const [path = '/', ...query] = (request.url ?? '/').split('?')
    count++
    return {
      id: `request-${count}`,
      request,
      target: { hostname: app.address.hostname, port: undefined, path, query: query.length > 0 ? `?${query.join('?')}` : '' },
      route,
      address: '203.0.113.7',
      trace: traces.traceOf(request.headers, false).carried(),
      identity,
      findSecret: (id) => `secret of ${id}`,
    }
  }
  const note = (outcome: ExchangeOutcome) => {
    outcomes.push(outcome)
    for (const wake of waiting.splice(0)) wake()
    return outcome
  }
  const serve = async (request: IncomingMessage, response: ServerResponse) => {
    const { refusal } = note(await forwarding.forward(exchangeOf(request), response))
    if (refusal === undefined) return
    response.writeHead(statusOfRefusal[refusal], { 'Content-Type': 'application/json' })
    response.end(JSON.stringify({ error: refusal }))
  }

  const server = createServer({ keepAliveTimeout: 60_000 })
  server.on('request', (request, response) => void serve(request, response))
  server.on('checkContinue', (request, response) => void serve(request, response))
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on('error', () => socket.destroy())
    void forwarding.tunnel(exchangeOf(request), socket, head).then((ended) => {
      const { refusal } = note(ended)
      if (refusal !== undefined)
        socket.end(`HTTP/1.1 ${statusOfRefusal[refusal]} Refused\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')

  return {
    port: (server.address() as AddressInfo).port,
    forwarding,
    outcomes,
    log,
    outcome: async (index = 0) => {
      for (;;) {
        const outcome = outcomes[index]
        if (outcome !== undefined) return outcome
        await new Promise<void>((resolve) => {
          waiting.push(resolve)
        })
      }
    },
    close: async () => {
      await forwarding.close()
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** Waits for something that no event tells of. */
export async function eventually(condition: () => boolean, what: string, withinMs = 10_000): Promise<void> {
  const deadline = performance.now() + withinMs
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`never happened: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}
