/**
 * The client's address behind trusted proxies: the right-most hop that is not one of them.
 *
 * Anybody can write `X-Forwarded-For`. Only what a trusted proxy appended is believed, which is read from the right end, hop by hop,
 * for as long as the hop itself is trusted. `Forwarded`, `X-Real-IP` and their kin are never read. Addresses are strict (no octal, no short
 * forms) and canonical: IPv4-mapped ones are IPv4, so that no network rule is passed by spelling an address in another way.
 */

import { BlockList, isIP } from 'node:net'
import ipaddr from 'ipaddr.js'

export interface CompiledCidrs {
  /** Whether a canonical address lies in one of the networks; false for anything else. */
  contains(address: string): boolean
}

/** Compiles networks such as `10.0.0.0/8`; an address alone is itself. Throws `TypeError` on one that is malformed. */
export function compileCidrs(cidrs: readonly string[]): CompiledCidrs {
  // A list for each family: one alone would find every IPv4 address in `::/0`.
  const networks = { ipv4: new BlockList(), ipv6: new BlockList() }
  for (const cidr of cidrs) {
    const { address, bits } = parseCidr(cidr)
    const family = isIP(address) === 6 ? 'ipv6' : 'ipv4'
    networks[family].addSubnet(address, bits, family)
  }
  const isEmpty = cidrs.length === 0
  return {
    contains: (address) => {
      const version = isEmpty ? 0 : isIP(address)
      if (version === 0) return false
      const family = version === 6 ? 'ipv6' : 'ipv4'
      return networks[family].check(address, family)
    },
  }
}

/**
 * The address to judge, count and log. `xForwardedFor` are the header's lines in the order of the message. Something there that is not an
 * address ends the walk at the last hop that was. Empty if `peer` itself is none, as when the connection is already gone.
 */
export function readClientAddress(peer: string, xForwardedFor: readonly string[], trusted: CompiledCidrs): string {
  let client = canonicalAddress(withoutZone(peer)) ?? ''
  if (xForwardedFor.length === 0 || !trusted.contains(client)) return client
  const hops = xForwardedFor.join(',').split(',')
  for (let index = hops.length - 1; index >= 0 && trusted.contains(client); index -= 1) {
    const hop = parseHop(hops[index] ?? '')
    if (hop === undefined) break
    client = hop
  }
  return client
}

/** The one spelling of an address, IPv4-mapped ones unmapped; `undefined` for anything that is no address. */
export function canonicalAddress(text: string): string | undefined {
  switch (isIP(text)) {
    case 4:
      return text
    case 6:
      // A zone means something on the machine that wrote it alone.
      return text.includes('%') ? undefined : ipaddr.process(text).toString()
    default:
      return undefined
  }
}

/** Some balancers append the port: `192.0.2.7:50000`, `[2001:db8::7]:50000`. */
function parseHop(text: string): string | undefined {
  const hop = text.replace(/^[ \t]+|[ \t]+$/g, '')
  const [, bracketed, dotted] = /^(?:\[([0-9A-Fa-f:.]+)\](?::\d{1,5})?|([0-9.]+):\d{1,5})$/.exec(hop) ?? []
  if (bracketed !== undefined && isIP(bracketed) !== 6) return undefined
  return canonicalAddress(bracketed ?? dotted ?? hop)
}

function parseCidr(cidr: string): { readonly address: string; readonly bits: number } {
  const [text = '', bitsText, ...rest] = cidr.split('/')
  const address = canonicalAddress(text)
  const isMapped = isIP(text) === 6 && address !== undefined && isIP(address) === 4
  const widest = isIP(text) === 6 ? 128 : 32
  const bits = bitsText === undefined ? widest : /^\d{1,3}$/.test(bitsText) ? Number(bitsText) : Number.NaN
  if (address === undefined || rest.length > 0 || !(bits <= widest) || (isMapped && bits < 96)) {
    throw new TypeError(`${JSON.stringify(cidr)} is not a network`)
  }
  return { address, bits: isMapped ? bits - 96 : bits }
}

function withoutZone(peer: string): string {
  const percent = peer.indexOf('%')
  return percent === -1 ? peer : peer.slice(0, percent)
}
