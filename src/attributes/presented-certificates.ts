/**
 * What clients present in a handshake, and under which name they were asked: between the listener, which sees it, and whoever verifies it.
 *
 * A file of its own, because the verifier brings a library of twenty megabytes that an instance without client certificates never loads.
 */

import type { X509Certificate } from 'node:crypto'
import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'

/** Enough for any hierarchy that people run. */
export const maxPresented = 8

/**
 * Connections of our own listener whose client was asked for a certificate, each with the host name (SNI) that it was asked under. A
 * certificate counts for that name alone: whoever shows one for one host has not shown it for another.
 */
export type AskedConnections = WeakMap<Socket, AskedConnection>

/** What a connection was asked under, and what was shown then: DER, the client's own certificate first. Empty: it has none. */
export interface AskedConnection {
  readonly name: string
  readonly presented: readonly Buffer[]
}

/**
 * What a client presented in its handshake, in that order. To be asked once, as soon as the handshake is over: Node forgets the
 * intermediates with the first look. It may be more than is looked at: one too many makes it malformed.
 */
export function readPresented(socket: TLSSocket): readonly Buffer[] {
  const chain: Buffer[] = []
  let one: X509Certificate | undefined = socket.getPeerX509Certificate()
  while (one !== undefined && chain.length <= maxPresented + 1) {
    chain.push(one.raw)
    one = one.issuerCertificate
  }
  return chain
}

/** When what a file holds begins and ceases to count, epoch milliseconds; of several things in it, the one that ceases first. */
export interface Validity {
  readonly file: string
  readonly notBefore: number
  readonly notAfter: number
}
