import type { Duplex } from 'node:stream'
import type { Logger } from '../log.ts'
import type { Exchange, ExchangeOutcome, Route } from './exchange.ts'
import type { CompiledForwarding, OpenExchanges } from './forwarding.ts'
import type { NameLookup } from './name-lookup.ts'

export interface TunnelParts {
  readonly compile: (route: Route) => CompiledForwarding
  readonly open: OpenExchanges
  readonly log: Logger
  readonly lookup: NameLookup
  readonly monotonicNow: () => number
}
export function createTunnel(_parts: TunnelParts): (exchange: Exchange, socket: Duplex, head: Buffer) => Promise<ExchangeOutcome> {
  return () => Promise.reject(new Error('x'))
}
