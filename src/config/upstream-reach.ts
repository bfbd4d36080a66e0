/**
 * Where a managed policy may lead. It is written in the console by people who may hold no account on any machine of the inner network, so
 * the instance configuration says what they reach through Postern: `upstreams.allow`, and without it everything but this machine itself.
 *
 * A name is judged twice: as it stands in the document, and by the address that it resolves to when a connection is made, since whoever
 * answers for a name may point it at this machine later (DNS rebinding). This machine is also what its interfaces have for addresses at that
 * moment; a document is not judged by those, since it is one document for all instances. A name that is listed may resolve to any address but a
 * loopback one; that must be listed itself, as a network, an address or a name that never means anything else. Link-local, metadata and our own
 * addresses are refused elsewhere, whatever is listed here.
 */

import { BlockList, isIP } from 'node:net'
import { isLoopbackAddress, isOwnAddress } from '../machine-addresses.ts'
import { isForbiddenUpstream, isLoopbackName, unbracket } from './web-address.ts'

/** What a name or a literal address comes to before anything is resolved. */
export type ReachVerdict =
  | 'allowed'
  /** The name is not listed, but networks are: it is reached while its address lies in one. */
  | 'by_address'
  | 'refused'

/** Where a managed policy may lead. */
export interface UpstreamReach {
  /** Judges a host as a URL has it, an IPv6 address with or without its brackets. */
  judgeHost(host: string, port: number): ReachVerdict
  /** Whether a connection towards `host` may go to `address`, which it resolved to, or which it is. */
  mayConnect(host: string, port: number, address: string): boolean
}

interface ListedName {
  readonly host: string
  readonly isSuffix: boolean
  readonly port: number | undefined
}

interface ListedNetwork {
  readonly addresses: BlockList
  readonly port: number | undefined
}

/** Compiles `upstreams.allow`; `undefined` where the instance configuration has none. */
export function createUpstreamReach(allow: readonly string[] | undefined): UpstreamReach {
  const names: ListedName[] = []
  const networks: ListedNetwork[] = []
  for (const entry of allow ?? []) {
    const { host, isSuffix, length, port } = parseEntry(entry)
    const family = isIP(host)
    if (family === 0) names.push({ host, isSuffix, port })
    else {
      const addresses = new BlockList()
      const type = family === 6 ? 'ipv6' : 'ipv4'
      if (length === undefined) addresses.addAddress(host, type)
      else addresses.addSubnet(host, length, type)
      networks.push({ addresses, port })
    }
  }

  const isAddressListed = (address: string, port: number) =>
    networks.some((one) => (one.port === undefined || one.port === port) && contains(one.addresses, address))
  const isNameListed = (host: string, port: number) =>
    names.some((one) => {
      if (one.port !== undefined && one.port !== port) return false
      return one.isSuffix ? host.endsWith(`.${one.host}`) : host === one.host
    })

  return {
    judgeHost(written, port) {
      const host = normalise(written)
      if (isIP(host) !== 0) {
        if (isAddressListed(host, port)) return 'allowed'
        return allow === undefined && !isLoopbackAddress(host) ? 'allowed' : 'refused'
      }
      if (isNameListed(host, port)) return 'allowed'
      // It never means another machine, whatever a resolver says.
      if (isLoopbackName(host)) return isAddressListed('127.0.0.1', port) || isAddressListed('::1', port) ? 'by_address' : 'refused'
      if (allow === undefined) return 'allowed'
      return networks.length > 0 ? 'by_address' : 'refused'
    },
    mayConnect(written, port, address) {
      if (isIP(address) === 0) return false
      if (isAddressListed(address, port)) return true
      const host = normalise(written)
      // A literal address would have been found as such.
      if (isIP(host) !== 0) return allow === undefined && !isThisMachine(address) && !isThisMachine(host)
      const isListed = isNameListed(host, port)
      if (isLoopbackAddress(address)) return isListed && isLoopbackName(host)
      return allow === undefined ? !isLoopbackName(host) && !isOwnAddress(address) : isListed
    },
  }
}

/**
 * Whether a managed policy may lead to `host` and `port`, and, where it was resolved, to `address`. For everything that connects on its
 * behalf besides the forwarder, such as the check that an upstream answers.
 */
export function isReachAllowed(
  allow: readonly string[] | undefined,
  { address, host, port }: { readonly host: string; readonly port: number; readonly address?: string | undefined },
): boolean {
  const reach = createUpstreamReach(allow)
  return reach.judgeHost(host, port) !== 'refused' && (address === undefined || reach.mayConnect(host, port, address))
}

const inner = new BlockList()
for (const [network, length] of [
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['172.16.0.0', 12],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
] as const)
  inner.addSubnet(network, length, 'ipv4')
inner.addSubnet('fc00::', 7, 'ipv6')
// Translations of IPv4 into IPv6: what is behind them is not looked at.
inner.addSubnet('64:ff9b::', 96, 'ipv6')
inner.addSubnet('64:ff9b:1::', 48, 'ipv6')
inner.addSubnet('2002::', 16, 'ipv6')

/**
 * Where a managed policy may fetch the keys of `services` from: as upstreams, and besides from any public address, since issuers are on the
 * internet and are listed by nobody.
 */
export function createIssuerReach(allow: readonly string[] | undefined): UpstreamReach {
  const reach = createUpstreamReach(allow)
  const isPublic = (address: string) =>
    isIP(address) !== 0 && !isForbiddenUpstream(address) && !isThisMachine(address) && !contains(inner, address)
  return {
    judgeHost(host, port) {
      const verdict = reach.judgeHost(host, port)
      if (verdict !== 'refused' || isLoopbackName(host)) return verdict
      const address = normalise(host)
      return isIP(address) === 0 ? 'by_address' : isPublic(address) ? 'allowed' : 'refused'
    },
    mayConnect: (host, port, address) =>
      !isForbiddenUpstream(address) && (reach.mayConnect(host, port, address) || (isPublic(address) && !isLoopbackName(host))),
  }
}

function isThisMachine(address: string): boolean {
  return isLoopbackAddress(address) || isOwnAddress(address)
}

interface Entry {
  readonly host: string
  readonly isSuffix: boolean
  /** Of a network. */
  readonly length: number | undefined
  readonly port: number | undefined
}

/** An entry has been judged where the configuration was read. */
function parseEntry(entry: string): Entry {
  const network = /^([0-9a-f:.]+)\/(\d{1,3})$/i.exec(entry)
  if (network !== null) return { host: network[1] ?? '', isSuffix: false, length: Number(network[2]), port: undefined }
  const [, suffix, host = '', port] = /^(\*\.)?(\[[0-9a-f:.]+\]|[^:[\]]+|[0-9a-f:.]+)(?::(\d{1,5}))?$/i.exec(entry) ?? []
  return { host: normalise(host), isSuffix: suffix !== undefined, length: undefined, port: port === undefined ? undefined : Number(port) }
}

/** In the one form of a URL's host, without brackets: lower case, IPv4 in four decimal numbers, IPv6 shortened. */
function normalise(written: string): string {
  const host = unbracket(written)
  try {
    return unbracket(new URL(`http://${isIP(host) === 6 ? `[${host}]` : host}`).hostname).replace(/\.$/, '')
  } catch {
    // It is nobody's name then, and matches nothing.
    return host.toLowerCase()
  }
}

function contains(list: BlockList, address: string): boolean {
  return list.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4')
}
