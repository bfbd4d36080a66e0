/**
 * The listener: the sockets of one process, and every limit on what a client may send before anybody has looked at it.
 *
 * One server speaks HTTP/1.1, plain or over TLS; Host decides later whether a request is the access host's or an app's. A second, if
 * configured, redirects plain HTTP. Where devices show certificates there is a third, which asks for them: an entrance in front chooses. Nothing lenient is ever switched on: what Node's strict parser refuses stays refused.
 */

import { createServer, type Server, type ServerOptions } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { Server as NetServer, Socket } from 'node:net'
import type { AskedConnections, Validity } from '../attributes/presented-certificates.ts'
import { createFactsLedger } from '../audit/recorded-facts.ts'
import { createRedaction } from '../audit/redaction.ts'
import { PosternError } from '../errors.ts'
import type { LiveEvent } from '../live/live.ts'
import { type CertificateFiles, type ClientAuthorities, loadCertificates } from './certificates.ts'
import { attachConnections, type ConnectionParts, type Connections } from './connections.ts'
import type { Forwarding } from './forwarding.ts'
import { attachHttpRedirect } from './http-redirect.ts'
import { createIdentityIssuer, type IdentityIssuer } from './identity.ts'
import { createAssertionSigner } from './identity-assertion.ts'
import { createListedConnections, type ListedConnections } from './listed-connections.ts'
import { createEntrance } from './listener-entrance.ts'
import { changesNoAnswer, watchOpenConnections } from './open-connections.ts'
import type { EnforcementPorts, EnforcementSettings, Snapshot } from './ports.ts'
import { createResponder } from './respond.ts'

export interface ListenerOptions {
  readonly settings: EnforcementSettings
  readonly listen: { readonly host: string; readonly port: number }
  /** Empty: plain HTTP, behind a balancer that ends TLS or on `*.localhost`. */
  readonly tls: readonly CertificateFiles[]
  readonly httpRedirect: { readonly host: string; readonly port: number } | undefined
  /**
   * Set where this listener itself asks for client certificates: on the access host, and on hosts of which a rule has a device
   * condition. `asked` is where it notes whom it asked.
   */
  readonly clientCertificates?: { readonly authorities: ClientAuthorities; readonly asked: AskedConnections } | undefined
  /** The policy in force now. */
  readonly snapshot: () => Snapshot
  readonly ports: EnforcementPorts
  readonly forwarding: Pick<Forwarding, 'forward' | 'tunnel' | 'cut' | 'open'>
  /** How long a TLS handshake may take, and the ClientHello before it. */
  readonly handshakeTimeoutMs?: number
}

export interface ListenerAddress {
  readonly address: string
  readonly port: number
}

export interface Listener {
  /** Binds every address; rejects if one cannot be bound, and then holds none. */
  listen(): Promise<ListenerAddress>
  /** Where it listens; `undefined` unless it does. */
  address(): ListenerAddress | undefined
  redirectAddress(): ListenerAddress | undefined
  /** Sockets of clients that are open now, on whatever port: WebSockets and unfinished handshakes among them. */
  openConnections(): number
  /** What is being forwarded now, for administrators. */
  readonly listed: ListedConnections
  /** When each certificate in use begins and ceases to count; none without TLS. */
  certificateValidity(): readonly Validity[]
  /** Reads changed certificates at once; it also looks by itself. */
  reloadCertificates(): void
  /** Takes no new connection, lets what is open end within `drainMs`, then cuts the rest. */
  close(drainMs: number): Promise<void>
}

/** How often certificate files are looked at. They are renewed days before they must be. */
const certificateCheckMs = 10_000

/** No honest handshake needs as long; an unfinished one holds a socket that nobody has asked anything on. */
const longestHandshakeMs = 10_000

/** Silence after which TCP itself asks whether the peer is still there: it may have vanished without a word. */
const keepAliveProbeMs = 30_000

/** How often, while draining, connections that have become idle are closed. */
const drainSweepMs = 100

/** Creates the listener of one process. Throws `configuration_invalid` for certificates that cannot be used. */
export function createListener(options: ListenerOptions): Listener {
  const { settings, ports } = options
  const responder = createResponder(settings, ports)
  const signer = createAssertionSigner({ keys: ports.keys, now: ports.now, settings })
  const issueIdentity = createIdentityIssuer({ signer, now: ports.now })
  const point = {
    settings,
    ports,
    responder,
    issueIdentity,
    factsLedger: createFactsLedger(ports.audit.record, ports.audit.isWritable, ports.audit.segment),
    redaction: createRedaction({ fields: settings.recording.redact, groupClaims: settings.recording.groupClaims }),
    news: { heard: 0 },
  }

  const { clientCertificates } = options
  if (clientCertificates !== undefined && options.tls.length === 0)
    throw new PosternError('configuration_invalid', 'client_certificate: only a listener with tls can ask for certificates')
  const certificates = options.tls.length === 0 ? undefined : loadCertificates(options.tls, ports.log, clientCertificates?.authorities)
  const limits = serverOptionsFor(settings.limits)
  const tls = { ...limits, handshakeTimeout: options.handshakeTimeoutMs ?? longestHandshakeMs, ALPNProtocols: ['http/1.1'] }
  const quiet =
    certificates === undefined ? undefined : createTlsServer({ ...tls, ...certificates.defaultOptions(), SNICallback: certificates.choose })
  const asking =
    certificates === undefined || clientCertificates === undefined
      ? undefined
      : createTlsServer({
          ...tls,
          ...certificates.defaultAskingOptions(),
          SNICallback: certificates.chooseAsking,
          requestCert: true,
          // Everybody gets on: who shows what is no certificate of ours is told so by a page and not by a broken connection.
          rejectUnauthorized: false,
        })
  const server: Server = quiet ?? createServer(limits)
  const redirect = options.httpRedirect === undefined ? undefined : createServer(limits)
  const entrance: NetServer =
    quiet === undefined || asking === undefined || clientCertificates === undefined
      ? server
      : createEntrance({
          quiet,
          asking,
          asks: (name) => name === settings.accessUrl.hostname || asksForDevice(options.snapshot(), name),
          asked: clientCertificates.asked,
          helloTimeoutMs: tls.handshakeTimeout,
          keepAliveProbeMs,
        })

  const asked = clientCertificates?.asked
  const parts: ConnectionParts = {
    point,
    snapshot: options.snapshot,
    forwarding: options.forwarding,
    askedAs: asked === undefined ? undefined : (socket) => asked.get(socket)?.name,
  }
  const tlsServers = [quiet, asking].filter((one) => one !== undefined)
  const connections = [server, ...(asking === undefined ? [] : [asking])].map((one) => attachConnections(one, parts))
  for (const one of tlsServers) one.on('tlsClientError', (_error, socket) => socket.destroy())
  if (redirect !== undefined) {
    // A browser must ignore HSTS that came over plain HTTP, and a server must not send it there (RFC 6797 §7.2).
    const plainResponder = createResponder({ accessUrl: settings.accessUrl, hstsSeconds: undefined }, ports)
    attachHttpRedirect(redirect, { settings, responder: plainResponder, routes: () => options.snapshot().routes })
  }

  const bound = redirect === undefined ? [entrance] : [entrance, redirect]
  const httpServers = [server, asking, redirect].filter((one) => one !== undefined)
  const sockets = new Set<Socket>()
  for (const one of bound) {
    // Every socket from its first byte on: Node's own list knows neither those that were upgraded nor those still shaking hands.
    one.on('connection', (socket: Socket) => {
      sockets.add(socket)
      socket.once('close', () => sockets.delete(socket))
    })
    one.maxConnections = settings.limits.connections
  }
  // One more than allowed: Node forgets silently what is beyond, and a forgotten header is one that nobody judged.
  for (const one of httpServers) one.maxHeadersCount = settings.limits.headers + 1

  const reloadCertificates = () => {
    if (certificates?.reload() !== true) return
    quiet?.setSecureContext(certificates.defaultOptions())
    asking?.setSecureContext(certificates.defaultAskingOptions())
  }
  let certificateTimer: NodeJS.Timeout | undefined
  const stops: (() => void)[] = []

  return {
    async listen() {
      try {
        const address = await bind(entrance, options.listen)
        if (redirect !== undefined && options.httpRedirect !== undefined) await bind(redirect, options.httpRedirect)
        for (const one of bound) one.on('error', (error) => ports.log.error({ err: error }, 'the listener failed'))
        const watch = watchOpenConnections({ point, snapshot: options.snapshot, open: options.forwarding.open })
        stops.push(
          watch.close,
          ports.live.listen((event) => {
            if (changesNoAnswer(event)) return
            point.news.heard += 1
            forgetIdentities(issueIdentity, event)
          }),
        )
        if (certificates !== undefined) certificateTimer = setInterval(reloadCertificates, certificateCheckMs).unref()
        return address
      } catch (error) {
        for (const one of [...bound, ...httpServers]) one.close()
        throw error
      }
    },
    address: () => addressOf(entrance),
    redirectAddress: () => (redirect === undefined ? undefined : addressOf(redirect)),
    openConnections: () => sockets.size,
    listed: createListedConnections({ point, snapshot: options.snapshot, open: options.forwarding.open }),
    certificateValidity: () => certificates?.validity() ?? [],
    reloadCertificates,
    async close(drainMs) {
      clearInterval(certificateTimer)
      // What drains is still watched over: an end is an end until the last of them is closed.
      await drain({ bound, httpServers, connections, sockets }, drainMs)
      for (const stop of stops.splice(0)) stop()
    },
  }
}

/** What was minted for a session lives no longer than what it was minted from. */
function forgetIdentities(issuer: IdentityIssuer, event: LiveEvent): void {
  switch (event.kind) {
    case 'session_changed':
      issuer.forget(event.sessionHash)
      break
    case 'ended':
      // Ends of sessions name them; of any other kind nobody knows whose they are.
      if (event.ends.every(({ kind }) => kind === 'session' || kind === 'app_session'))
        for (const { idHash } of event.ends) issuer.forget(idHash)
      else issuer.forget(undefined)
      break
    case 'policy_changed':
    case 'regained':
      issuer.forget(undefined)
      break
    case 'device_changed':
    case 'locks_changed':
    case 'policy_revision':
    case 'errand_told':
    case 'invitations_changed':
      break
  }
}

/** Node's own defaults allow five minutes for a request and never look at more than sixty seconds for a head; these are explicit. */
function serverOptionsFor(limits: EnforcementSettings['limits']): ServerOptions {
  const headersTimeout = limits.headerSeconds * 1000
  return {
    maxHeaderSize: limits.headerBytes,
    headersTimeout,
    // 0 is Node's word for "no limit"; a limit below that of the head would be refused.
    requestTimeout: limits.requestSeconds === 0 ? 0 : Math.max(limits.requestSeconds * 1000, headersTimeout),
    keepAliveTimeout: limits.idleSeconds * 1000,
    connectionsCheckingInterval: Math.min(5000, headersTimeout / 2),
    keepAlive: true,
    keepAliveInitialDelay: keepAliveProbeMs,
    insecureHTTPParser: false,
    // The flow asks for a Host of every request, HTTP/1.0 included, and answers in one voice.
    requireHostHeader: false,
    // Any other Upgrade (h2c, say) is an ordinary request that loses the header: nothing behind us may change protocol unjudged.
    // HTTP/1.0 has no Upgrade (RFC 9110 §7.8, RFC 6455 §4.2.1).
    shouldUpgradeCallback: ({ method, headers, httpVersion }) =>
      method === 'GET' && httpVersion === '1.1' && headers.upgrade?.toLowerCase() === 'websocket',
  }
}

/** Whether any rule of any app on this host looks at the device: only then is a certificate of any use there. */
function asksForDevice({ routes }: Snapshot, name: string): boolean {
  return routes.findHostname(name)?.routes.some(({ policy }) => policy.needs.has('device')) ?? false
}

function bind(server: NetServer, { host, port }: ListenerOptions['listen']): Promise<ListenerAddress> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ host, port }, () => {
      server.off('error', reject)
      resolve(addressOf(server) ?? { address: host, port })
    })
  })
}

function addressOf(server: NetServer): ListenerAddress | undefined {
  const address = server.address()
  return address === null || typeof address === 'string' ? undefined : { address: address.address, port: address.port }
}

async function drain(
  {
    bound,
    httpServers,
    connections,
    sockets,
  }: {
    bound: readonly NetServer[]
    httpServers: readonly Server[]
    connections: readonly Connections[]
    sockets: ReadonlySet<Socket>
  },
  drainMs: number,
): Promise<void> {
  for (const one of connections) one.beginDrain()
  // Those that never listened themselves have nothing to wait for, but clocks to stop.
  const servers = new Set<NetServer>([...bound, ...httpServers])
  const closed = Promise.all([...servers].map((server) => new Promise<void>((resolve) => server.close(() => resolve()))))
  const sweep = setInterval(() => {
    for (const server of httpServers) server.closeIdleConnections()
  }, drainSweepMs)
  const deadline = setTimeout(() => {
    for (const socket of sockets) socket.destroy()
  }, drainMs)
  await closed
  clearInterval(sweep)
  clearTimeout(deadline)
}
