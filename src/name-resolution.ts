/**
 * From a host name to addresses, as everything of ours that connects somewhere asks: provider, upstreams, probes.
 *
 * The system goes first, so that hosts files and container aliases work. Node does not know that `*.localhost` is this machine (RFC 6761
 * §6.3): where the system has no such name, or makes us wait for what cannot be anywhere else, it is loopback.
 */

import { type LookupAddress, lookup as systemLookup } from 'node:dns'
import type { LookupFunction } from 'node:net'

/** A resolver that asks the network for `*.localhost` may take seconds to fail; a hosts file or a container's resolver takes none. */
const localhostPatienceMs = 500

const loopback: readonly LookupAddress[] = [
  { address: '127.0.0.1', family: 4 },
  { address: '::1', family: 6 },
]

/** Every address of `hostname`, in the system's order. Rejects with the system's error (`ENOTFOUND` and so on). */
export function resolveName(hostname: string): Promise<readonly LookupAddress[]> {
  const isLocal = isLocalhostName(hostname)
  return new Promise((resolve, reject) => {
    const patience = isLocal ? setTimeout(() => resolve(loopback), localhostPatienceMs) : undefined
    systemLookup(hostname, { all: true, order: 'verbatim' }, (error, addresses) => {
      clearTimeout(patience)
      if (error === null) resolve(addresses)
      else if (isLocal) resolve(loopback)
      else reject(error)
    })
  })
}

/** `resolveName` in the form that sockets and agents take as `lookup`. */
export const lookupName: LookupFunction = (hostname, options, callback) => {
  resolveName(hostname).then(
    (found) => {
      const { family } = options
      const wanted = found.filter((one) => !(family === 4 || family === 6) || one.family === family)
      const [first] = wanted
      if (options.all) callback(null, wanted)
      else callback(null, first?.address ?? '', first?.family)
    },
    (error: NodeJS.ErrnoException) => callback(error, '', 4),
  )
}

/** Whether a hostname means this machine by its name alone. */
export function isLocalhostName(hostname: string): boolean {
  return /(^|\.)localhost\.?$/i.test(hostname)
}
