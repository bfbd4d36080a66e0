/**
 * How the name of an upstream becomes an address that may be connected to.
 *
 * What a name resolves to is checked at the moment of connecting, not when the policy was written: a name can be pointed at the
 * cloud's metadata service or at our own operations port later.
 */

import type { LookupAddress } from 'node:dns'
import { BlockList, isIP, type LookupFunction } from 'node:net'
import { networkInterfaces } from 'node:os'
import { resolveName } from '../name-resolution.ts'

/** An address that no upstream may have. Without a port: none of its ports. */
export interface ForbiddenAddress {
  /** An IP address, or a name as an upstream would be written. An unspecified address stands for every address of this machine. */
  readonly host: string
  readonly port: number | undefined
}

/** The reason in `error.code` when an upstream resolves to an address that is refused. */
export const addressForbidden = 'POSTERN_ADDRESS_FORBIDDEN'

export interface NameLookup {
  /** For `net.connect` and `tls.connect` towards `port`: yields permitted addresses only, and fails if none is left. */
  lookupFor(port: number): LookupFunction
  /** Sockets never look up a host that is an address already: the error to fail with, or `undefined` if it may be connected to. */
  findProblem(host: string, port: number): Error | undefined
}

/** Link-local addresses (metadata services live there), and those that name no single machine. Never an upstream. */
const neverUpstream = new BlockList()
neverUpstream.addSubnet('169.254.0.0', 16, 'ipv4')
neverUpstream.addSubnet('0.0.0.0', 8, 'ipv4')
neverUpstream.addSubnet('224.0.0.0', 3, 'ipv4')
neverUpstream.addAddress('::', 'ipv6')
neverUpstream.addSubnet('fe80::', 10, 'ipv6')
neverUpstream.addSubnet('ff00::', 8, 'ipv6')
// Spellings of 169.254.0.0/16 inside IPv6: compatible, translated, NAT64 (RFC 6052), 6to4. Mapped ones are understood by BlockList itself.
neverUpstream.addSubnet('::a9fe:0', 112, 'ipv6')
neverUpstream.addSubnet('::ffff:0:a9fe:0', 112, 'ipv6')
neverUpstream.addSubnet('64:ff9b::a9fe:0', 112, 'ipv6')
neverUpstream.addSubnet('2002:a9fe::', 32, 'ipv6')
// Where EC2 serves instance metadata over IPv6; a unique local address, so not covered above.
neverUpstream.addAddress('fd00:ec2::254', 'ipv6')

/** Whether a connection towards this host and port may go to `address`: what it resolved to, or what it is. */
export type MayConnect = (host: string, port: number, address: string) => boolean

/**
 * Creates the lookup; `forbidden` are our own operations address, the store and the like. `mayConnect` says where else a policy must not lead,
 * asked for every connection. `ask` is the resolver.
 */
export function createNameLookup(
  forbidden: readonly ForbiddenAddress[],
  mayConnect: MayConnect = () => true,
  ask: typeof resolveName = resolveName,
): NameLookup {
  const ownPorts = forbidden.map((own) => ({ addresses: addressesOf(own.host), port: own.port }))
  const pending = new Map<string, Promise<readonly LookupAddress[]>>()

  function isForbidden(address: string, port: number): boolean {
    const family = isIP(address) === 6 ? 'ipv6' : 'ipv4'
    if (neverUpstream.check(address, family)) return true
    return ownPorts.some((own) => (own.port === undefined || own.port === port) && own.addresses.check(address, family))
  }

  function findProblem(host: string, port: number): Error | undefined {
    const name = withoutBrackets(host)
    const isNamed = forbidden.some((own) => (own.port === undefined || own.port === port) && own.host.toLowerCase() === name.toLowerCase())
    const isRefused = isIP(name) !== 0 && (isForbidden(name, port) || !mayConnect(name, port, name))
    return isNamed || isRefused ? refusal(host, port) : undefined
  }

  /** One question at a time for a name: the resolver's few threads are shared by all apps, and a slow name must not take them all. */
  function resolve(hostname: string): Promise<readonly LookupAddress[]> {
    const asked = pending.get(hostname)
    if (asked !== undefined) return asked
    const answer = ask(hostname).finally(() => pending.delete(hostname))
    pending.set(hostname, answer)
    return answer
  }

  function lookupFor(port: number): LookupFunction {
    return (hostname, options, callback) => {
      resolve(hostname).then(
        (found) => {
          const { family } = options
          const wanted = found.filter((one) => !(family === 4 || family === 6) || one.family === family)
          const permitted = wanted.filter(({ address }) => !isForbidden(address, port) && mayConnect(hostname, port, address))
          const [first] = permitted
          if (first === undefined) callback(refusal(hostname, port), '', 4)
          else if (options.all) callback(null, permitted)
          else callback(null, first.address, first.family)
        },
        (error: NodeJS.ErrnoException) => callback(error, '', 4),
      )
    }
  }

  return { lookupFor, findProblem }
}

/** A block list compares addresses, not spellings: compressed and IPv4-mapped forms are the same machine. */
function addressesOf(host: string): BlockList {
  const list = new BlockList()
  const family = isIP(host)
  if (host === '0.0.0.0' || host === '::') {
    list.addSubnet('127.0.0.0', 8, 'ipv4')
    list.addAddress('::1', 'ipv6')
    for (const { address } of Object.values(networkInterfaces()).flatMap((all) => all ?? [])) {
      list.addAddress(address, isIP(address) === 6 ? 'ipv6' : 'ipv4')
    }
  } else if (family !== 0) list.addAddress(host, family === 6 ? 'ipv6' : 'ipv4')
  return list
}

function withoutBrackets(host: string): string {
  return host.startsWith('[') && host.endsWith(']') ? host.slice(1, -1) : host
}

function refusal(host: string, port: number): Error {
  return Object.assign(new Error(`${host}:${port} is an address that no upstream may have`), { code: addressForbidden })
}
