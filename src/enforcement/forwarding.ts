/**
 * Forwarding: the last step of an allowed request. It adds no judgement; it moves bytes and reports how that ended.
 *
 * What an app needs for it (verdicts on header names, connections to its upstreams) is compiled once, at its first request under a
 * policy, and kept as long as that policy's app. Nothing here throws or rejects. As long as nothing was sent, the caller gets a
 * refusal to answer; after that a failure cuts the connection, and is never an end that looks like success.
 */

import type { ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Logger } from '../log.ts'
import type { App } from '../policy/document.ts'
import type { SealedCookies } from '../session/sealed-cookies.ts'
import { createBodyMemory } from './body-memory.ts'
import type { Exchange, ExchangeOutcome, Route } from './exchange.ts'
import { createForward } from './forward.ts'
import { compileHeaderHygiene, type HeaderHygiene } from './header-hygiene.ts'
import { createNameLookup, type ForbiddenAddress, type MayConnect } from './name-lookup.ts'
import { OpenExchanges } from './open-exchanges.ts'
import { createTunnel } from './tunnel.ts'
import { bareHostname, createUpstreams, portOf, type ReachableUpstream } from './upstreams.ts'

export interface Forwarding {
  /** Forwards an HTTP request and streams the answer. */
  forward(exchange: Exchange, response: ServerResponse): Promise<ExchangeOutcome>
  /** Forwards a WebSocket handshake and then its bytes. The caller answers a refusal on the raw socket. */
  tunnel(exchange: Exchange, socket: Duplex, head: Buffer): Promise<ExchangeOutcome>
  /** Cuts what is open under this request id: a WebSocket with a close frame of this code, anything else at once. `false` if nothing is. */
  cut(exchangeId: string, closeCode: number): boolean
  /** What is under way. */
  readonly open: OpenExchanges
  /** Lets go of the connections to upstreams that none of these apps has. */
  retain(apps: readonly App[]): void
  /** Cuts everything that is still open. */
  close(): Promise<void>
}

export interface ForwardingOptions {
  readonly log: Logger
  /** Monotonic milliseconds. */
  readonly monotonicNow: () => number
  readonly cookies: SealedCookies
  /** The access host can be nobody's upstream: that would be a loop. */
  readonly accessUrl: URL
  readonly limits: { readonly headerBytes: number }
  /** Our operations address, the store and other addresses that no upstream may have. */
  readonly forbiddenAddresses?: readonly ForbiddenAddress[]
  /** Where a managed policy may lead. Without it nothing else is forbidden. */
  readonly mayConnect?: MayConnect | undefined
}

/** What forwarding for one app needs, compiled. */
export interface CompiledForwarding {
  readonly hygiene: HeaderHygiene
  readonly upstreams: readonly ReachableUpstream[]
}

/** Creates the forwarding of this process. */
export function createForwarding(options: ForwardingOptions): Forwarding {
  const access = { host: bareHostname(options.accessUrl.origin), port: portOf(options.accessUrl.origin) }
  const lookup = createNameLookup([...(options.forbiddenAddresses ?? []), access], options.mayConnect)
  const upstreams = createUpstreams({ lookup, headerBytes: options.limits.headerBytes, monotonicNow: options.monotonicNow })
  const compiled = new WeakMap<App, CompiledForwarding>()
  const open = new OpenExchanges(options.monotonicNow)

  function compile(route: Route): CompiledForwarding {
    const known = compiled.get(route.app)
    if (known !== undefined) return known
    const made = {
      hygiene: compileHeaderHygiene(route, options.cookies),
      upstreams: upstreams.listFor(route.app),
    }
    compiled.set(route.app, made)
    return made
  }

  return {
    open,
    forward: createForward({ compile, open, log: options.log, noteBodyBytes: createBodyMemory(), monotonicNow: options.monotonicNow }),
    tunnel: createTunnel({
      compile,
      open,
      log: options.log,
      lookup,
      headerBytes: options.limits.headerBytes,
    }),
    cut: (exchangeId, closeCode) => open.cut(exchangeId, closeCode),
    retain: (apps) => upstreams.retain(apps),
    async close() {
      // 1001: an endpoint that goes away (RFC 6455 §7.4.1).
      open.close(1001)
      await upstreams.close()
    },
  }
}
