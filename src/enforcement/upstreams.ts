/**
 * Connections to upstreams: one pool for each upstream and way of reaching it, shared by the apps that name it alike.
 *
 * A connection is made with the settings of the policy alone. The server name asked for and verified in TLS never comes from a
 * client's Host, certificates are always verified, and the address is checked when connecting. HTTP/1.1 only. A pool that no app
 * uses any more finishes its work and closes; an upstream that could not be reached is avoided for a while.
 */

import { isIP, type Socket } from 'node:net'
import { buildConnector, type Dispatcher, Pool } from 'undici'
import type { App, Upstream } from '../policy/document.ts'
import type { NameLookup } from './name-lookup.ts'

export interface UpstreamConnections {
  /** Never throws: what goes wrong is told to the handler. */
  dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): void
  /** Remembers that it could not be reached just now. */
  recordUnreachable(): void
  isAvoided(): boolean
  /** Whether `error` broke a connection that had answered something before: an idle one that the upstream closed meanwhile. */
  brokeReusedConnection(error: Error): boolean
}

/** One upstream of an app, with the connections to it. */
export interface ReachableUpstream {
  readonly upstream: Upstream
  /** What TLS asks for; see `upstreamTls`. */
  readonly serverName: string
  readonly connections: UpstreamConnections
}

export interface Upstreams {
  /** The upstreams of an app, in its order. Those that are reached in the same way share their connections. */
  listFor(app: App): readonly ReachableUpstream[]
  /** Closes the pools of upstreams that none of these apps has, once they are idle. */
  retain(apps: readonly App[]): void
  /** Cuts every connection. */
  close(): Promise<void>
}

export interface UpstreamSettings {
  readonly lookup: NameLookup
  /** Larger response heads are a protocol error. */
  readonly headerBytes: number
  readonly monotonicNow: () => number
}

interface OwnedConnections extends UpstreamConnections {
  retire(): Promise<void>
  destroy(): Promise<void>
}

/** Long enough that a dead upstream costs few requests its connect timeout, short enough to notice that it is back. */
const avoidUnreachableMs = 5000

/** Event streams hold one connection each; beyond this, requests to this upstream wait and time out, and other apps do not. */
const connectionsPerUpstream = 4096

/** Creates the pools, empty; each begins with its first request. */
export function createUpstreams(settings: UpstreamSettings): Upstreams {
  const all = new Map<string, OwnedConnections>()
  const retiring = new Set<OwnedConnections>()

  function find(upstream: Upstream, connectSeconds: number): UpstreamConnections {
    const key = keyOf(upstream, connectSeconds)
    const known = all.get(key)
    if (known !== undefined) return known
    const created = createConnections(upstream, connectSeconds * 1000, settings)
    all.set(key, created)
    return created
  }

  return {
    listFor: (app) =>
      app.upstreams.map((upstream) => ({
        upstream,
        serverName: upstream.serverName ?? bareHostname(upstream.origin),
        connections: find(upstream, app.timeouts.connectSeconds),
      })),
    retain(apps) {
      const used = new Set(apps.flatMap((app) => app.upstreams.map((upstream) => keyOf(upstream, app.timeouts.connectSeconds))))
      for (const [key, connections] of all) {
        if (used.has(key)) continue
        all.delete(key)
        retiring.add(connections)
        void connections.retire().then(() => retiring.delete(connections))
      }
    },
    async close() {
      const open = [...all.values(), ...retiring]
      all.clear()
      await Promise.all(open.map((connections) => connections.destroy()))
    },
  }
}

/** The upstreams of an app in its order, those that could not be reached lately last. */
export function inOrderOfHope(upstreams: readonly ReachableUpstream[]): readonly ReachableUpstream[] {
  if (upstreams.length === 1) return upstreams
  const isAvoided = ({ connections }: ReachableUpstream) => connections.isAvoided()
  return [...upstreams.filter((one) => !isAvoided(one)), ...upstreams.filter(isAvoided)]
}

function keyOf({ origin, ca, serverName }: Upstream, connectSeconds: number): string {
  return JSON.stringify([origin, ca, serverName, connectSeconds])
}

function createConnections(upstream: Upstream, connectMs: number, settings: UpstreamSettings): OwnedConnections {
  // Errors are told apart by the object, since neither code nor message says whether the connection was a used one.
  const onReusedConnection = new WeakSet<Error>()
  const connect = createConnector(upstream, connectMs, settings.lookup, (socket) => {
    socket.on('error', (error) => {
      if (socket.bytesRead > 0) onReusedConnection.add(error)
    })
  })
  let pool: Pool | undefined
  let avoidUntil = Number.NEGATIVE_INFINITY

  /** Anew after `retire`: a request that began under the policy before may still come. */
  function openPool(): Pool {
    pool ??= new Pool(upstream.origin, {
      connect,
      allowH2: false,
      pipelining: 1,
      connections: connectionsPerUpstream,
      maxHeaderSize: settings.headerBytes,
      // The exchange keeps the time until the head itself, so that waiting for a connection counts too.
      headersTimeout: 0,
    })
    return pool
  }

  async function release(how: 'close' | 'destroy'): Promise<void> {
    const released = pool
    pool = undefined
    await released?.[how]().catch(() => undefined) // Already destroyed: that is what was asked.
  }

  return {
    dispatch: (options, handler) => {
      openPool().dispatch(options, handler)
    },
    recordUnreachable: () => {
      avoidUntil = settings.monotonicNow() + avoidUnreachableMs
    },
    isAvoided: () => settings.monotonicNow() < avoidUntil,
    brokeReusedConnection: (error) => onReusedConnection.has(error),
    retire: () => release('close'),
    destroy: () => release('destroy'),
  }
}

/** TLS settings of an upstream, the same for requests and WebSockets. */
export function upstreamTls({ origin, ca, serverName }: Upstream) {
  const hostname = bareHostname(origin)
  return {
    rejectUnauthorized: true,
    // An address cannot be a server name (RFC 6066 §3); the certificate is then verified against the address. Empty, not missing:
    // where none is given, HTTP clients take the name from Host, and the client would choose who has to be proved.
    servername: serverName ?? (isIP(hostname) === 0 ? hostname : ''),
    ...(ca === undefined ? {} : { ca }),
  }
}

/** Hostname of an origin, an IPv6 address without its brackets. */
export function bareHostname(origin: string): string {
  const { hostname } = new URL(origin)
  return hostname.startsWith('[') ? hostname.slice(1, -1) : hostname
}

/** Port of an origin, its scheme's own where it names none. */
export function portOf(origin: string): number {
  const { port, protocol } = new URL(origin)
  return port === '' ? (protocol === 'https:' ? 443 : 80) : Number(port)
}

function createConnector(upstream: Upstream, connectMs: number, lookup: NameLookup, onSocket: (socket: Socket) => void) {
  const port = portOf(upstream.origin)
  const hostname = bareHostname(upstream.origin)
  const { servername, ...tls } = upstreamTls(upstream)
  const connect = buildConnector({ ...tls, lookup: lookup.lookupFor(port), timeout: connectMs, allowH2: false })

  return (options: buildConnector.Options, callback: buildConnector.Callback): void => {
    const problem = lookup.findProblem(hostname, port)
    if (problem !== undefined) {
      callback(problem, null)
      return
    }
    connect({ ...options, servername }, (...result) => {
      if (result[0] === null) onSocket(result[1])
      callback(...result)
    })
  }
}
