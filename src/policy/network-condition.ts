/**
 * `network`: where a request comes from, by address, country or autonomous system.
 *
 * Trusts the listener for the address and the operator's databases for places. Networks are kept one list a family: `::/0` says
 * nothing about IPv4, and an IPv4-mapped address is the IPv4 address that it carries. A network that is not exactly one (host bits set,
 * leading zeros, a prefix out of range) is refused when the policy is compiled: what is read in two ways must not widen a rule.
 */

import { BlockList, isIP, isIPv4, isIPv6 } from 'node:net'
import type { LeafCondition } from './condition.ts'
import { type ConditionKey, joinKeys } from './condition-keys.ts'
import type { NetworkCondition } from './document.ts'
import type { FactGroup, Known } from './facts.ts'
import { type Outcome, outcomeOf } from './outcome.ts'
import { type Steps, takeSteps } from './steps.ts'

/** Compiles a condition on the network. Throws `TypeError` for a network that is not canonical. */
export function compileNetworkCondition(condition: NetworkCondition): LeafCondition {
  const keys: ConditionKey[] = []
  const needs: FactGroup[] = []
  if (condition.cidrs !== undefined) keys.push(compileCidrs(condition.cidrs, condition.cidrsFile))
  if (condition.countries !== undefined) {
    keys.push(compilePlaces('country', condition.countries, 'other_country'))
    needs.push('country')
  }
  if (condition.asns !== undefined) {
    keys.push(compilePlaces('asn', condition.asns, 'other_network'))
    needs.push('asn')
  }
  return joinKeys('network', keys, needs)
}

/** Looking up an address costs the same in five networks and in five thousand. */
interface Networks {
  readonly ipv4: BlockList
  readonly ipv6: BlockList
}

/** By the list in the document, which never changes: several conditions may name one file. */
const gathered = new WeakMap<readonly string[], Networks>()

/** About a millisecond. */
const networksInStep = 250

/**
 * Gathers the networks of a condition beforehand: sixty thousand of them, as a file may hold, take a quarter of a second. Compiling a
 * condition of the same list then finds them. Throws `TypeError` as compiling does.
 */
export function* gatherNetworks(cidrs: readonly string[]): Steps<Networks> {
  const known = gathered.get(cidrs)
  if (known !== undefined) return known
  const networks = { ipv4: new BlockList(), ipv6: new BlockList() }
  for (const [index, cidr] of cidrs.entries()) {
    const { address, prefix, family } = parseNetwork(cidr)
    networks[family].addSubnet(address, prefix, family)
    if ((index + 1) % networksInStep === 0) yield
  }
  gathered.set(cidrs, networks)
  return networks
}

function compileCidrs(cidrs: readonly string[], file: string | undefined): ConditionKey {
  const lists = takeSteps(gatherNetworks(cidrs))
  const judge = (address: string): Outcome => {
    const plain = unmapAddress(address)
    switch (isIP(plain)) {
      case 4:
        return outcomeOf(lists.ipv4.check(plain, 'ipv4'))
      case 6:
        return outcomeOf(lists.ipv6.check(plain, 'ipv6'))
      default:
        return 'unknown'
    }
  }
  return {
    judge: ({ environment }) => judge(environment.address),
    findRemedy: ({ environment }) => ({ remedy: judge(environment.address) === 'unknown' ? 'place_unknown' : 'other_network' }),
    trace: ({ environment }) => ({
      fact: 'network.address',
      wanted: file === undefined ? cidrs.join(', ') : `one of ${cidrs.length} networks in ${file}`,
      value: { known: true, value: environment.address },
      source: 'listener',
      at: undefined,
    }),
  }
}

function compilePlaces(
  key: 'country' | 'asn',
  wanted: readonly (string | number)[],
  remedy: 'other_country' | 'other_network',
): ConditionKey {
  const places = new Set<unknown>(wanted)
  return {
    judge: ({ environment }) => {
      const fact: Known<unknown> = environment[key]
      // Known and `undefined` is an address that is certainly in no country, as private ones are.
      return fact.known ? outcomeOf(places.has(fact.value)) : 'unknown'
    },
    findRemedy: ({ environment }) => ({ remedy: environment[key].known ? remedy : 'place_unknown' }),
    trace: ({ environment }) => ({
      fact: `network.${key}`,
      wanted: wanted.join(', '),
      value: environment[key],
      source: `${key === 'country' ? 'country' : 'network'} database`,
      at: undefined,
    }),
  }
}

const mappedPrefix = '::ffff:'

/** An IPv4-mapped address as the IPv4 address that it is (RFC 4291 §2.5.5.2); any other as it stands. */
function unmapAddress(address: string): string {
  if (!address.startsWith(mappedPrefix)) return address
  const rest = address.slice(mappedPrefix.length)
  return isIPv4(rest) ? rest : address
}

function parseNetwork(cidr: string): { address: string; prefix: number; family: 'ipv4' | 'ipv6' } {
  const [base = '', length, ...more] = cidr.split('/')
  const address = unmapAddress(base)
  const family = isIPv4(address) ? 'ipv4' : isIPv6(address) && !address.includes('%') ? 'ipv6' : undefined
  const isLengthPlain = length !== undefined && /^(?:0|[1-9]\d{0,2})$/.test(length)
  if (family === undefined || !isLengthPlain || more.length > 0) throw new TypeError(`not a network: ${cidr}`)
  const bits = bitsOf(address, family)
  const prefix = Number(length) - (address === base ? 0 : 96)
  if (prefix < 0 || prefix > bits.length) throw new TypeError(`no such prefix: ${cidr}`)
  if (bits.includes('1', prefix)) throw new TypeError(`the network has bits set beyond its prefix: ${cidr}`)
  return { address, prefix, family }
}

/** The address as ones and zeros. The URL parser writes an IPv6 address out in groups of sixteen bits, embedded IPv4 included. */
function bitsOf(address: string, family: 'ipv4' | 'ipv6'): string {
  if (family === 'ipv4')
    return address
      .split('.')
      .map((part) => Number(part).toString(2).padStart(8, '0'))
      .join('')
  const [head = '', tail] = new URL(`http://[${address}]`).hostname.slice(1, -1).split('::')
  const groups = (text: string) => (text === '' ? [] : text.split(':'))
  const missing = tail === undefined ? 0 : 8 - groups(head).length - groups(tail).length
  return [...groups(head), ...Array<string>(missing).fill('0'), ...groups(tail ?? '')]
    .map((group) => Number.parseInt(group, 16).toString(2).padStart(16, '0'))
    .join('')
}
