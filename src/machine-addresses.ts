/**
 * Addresses by what answers at them: those that nothing is ever forwarded to, and those of this machine, in every spelling.
 *
 * One list for whoever reads a policy and for whoever connects, so that the two never differ. What this machine's own addresses are is asked of the
 * system when it matters: an interface may come at any time, and what answers at it trusts whoever is on this machine. RFC 3927, 4291, 6052, 3056.
 */

import { BlockList, isIP, isIPv4 } from 'node:net'
import { networkInterfaces } from 'node:os'

const never = new BlockList()
never.addSubnet('169.254.0.0', 16, 'ipv4')
never.addSubnet('0.0.0.0', 8, 'ipv4')
never.addSubnet('224.0.0.0', 3, 'ipv4')
never.addAddress('::', 'ipv6')
never.addSubnet('fe80::', 10, 'ipv6')
never.addSubnet('ff00::', 8, 'ipv6')
// Spellings of 169.254.0.0/16 inside IPv6: compatible, translated, NAT64, 6to4. Mapped ones are understood by BlockList itself.
never.addSubnet('::a9fe:0', 112, 'ipv6')
never.addSubnet('::ffff:0:a9fe:0', 112, 'ipv6')
never.addSubnet('64:ff9b::a9fe:0', 112, 'ipv6')
never.addSubnet('2002:a9fe::', 32, 'ipv6')
// Where EC2 serves instance metadata over IPv6; a unique local address, so not covered above.
never.addAddress('fd00:ec2::254', 'ipv6')

/** Link-local addresses (metadata services live there), and those that name no single machine. No text that is no address is one. */
export function isNeverUpstream(address: string): boolean {
  return contains(never, address)
}

const loopback = new BlockList()
loopback.addSubnet('127.0.0.0', 8, 'ipv4')
loopback.addAddress('::1', 'ipv6')
loopback.addSubnet('::7f00:0', 104, 'ipv6')
loopback.addSubnet('::ffff:0:7f00:0', 104, 'ipv6')
loopback.addSubnet('64:ff9b::7f00:0', 104, 'ipv6')
loopback.addSubnet('2002:7f00::', 24, 'ipv6')

/** 127.0.0.0/8 and ::1, in every spelling. */
export function isLoopbackAddress(address: string): boolean {
  return contains(loopback, address)
}

/** Asked for every connection; an interface that came meanwhile is known that soon. */
const askAgainMs = 3_000
let own: { readonly addresses: BlockList; readonly until: number } | undefined

/** Whether one of this machine's interfaces has this address now. Loopback has one, too. */
export function isOwnAddress(address: string): boolean {
  const at = performance.now()
  if (own === undefined || own.until <= at) own = { addresses: listOwn(), until: at + askAgainMs }
  return contains(own.addresses, address)
}

function listOwn(): BlockList {
  const list = new BlockList()
  for (const { address } of Object.values(networkInterfaces()).flatMap((all) => all ?? [])) {
    list.addAddress(address, isIPv4(address) ? 'ipv4' : 'ipv6')
    if (!isIPv4(address)) continue
    for (const prefix of ['::', '::ffff:0:', '64:ff9b::']) list.addAddress(`${prefix}${address}`, 'ipv6')
    const [high, low] = [address.split('.').slice(0, 2), address.split('.').slice(2)].map(groupOf)
    list.addSubnet(`2002:${high}:${low}::`, 48, 'ipv6')
  }
  return list
}

function groupOf(bytes: readonly string[]): string {
  return bytes.map((byte) => Number(byte).toString(16).padStart(2, '0')).join('')
}

function contains(list: BlockList, address: string): boolean {
  const family = isIP(address)
  return family !== 0 && list.check(address, family === 6 ? 'ipv6' : 'ipv4')
}
