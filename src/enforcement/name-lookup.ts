/**
 * How the name of an upstream becomes an address that may be connected to.
 *
 * What a name resolves to is checked at the moment of connecting, not when the policy was written: a name can be pointed at the
 * cloud's metadata service or at our own operations port later.
 */

import type { LookupAddress } from 'node:dns'
import { BlockList, isIP, type LookupFunction } from 'node:net'
import { isLoopbackAddress, isNeverUpstream, isOwnAddress } from '../machine-addresses.ts'
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

/** Whether a connection towards this host and port may go to `address`: what it resolved to, or what it is. */
export type MayConnect = (host: string, port: number, address: string) => boolean

/** The same answer for whoever looks names up in another way: what `forbidden` names, and what is never an upstream, is refused before `mayConnect` is asked. */
export function createConnectionJudge(forbidden: readonly ForbiddenAddress[], mayConnect: MayConnect = () => true): MayConnect {
  const own = forbidden.map(({ host, port }) => ({ isAt: compareWith(host), port }))
  return (host, port, address) => {
    if (isIP(address) === 0 || isNeverUpstream(address) || isNamed(forbidden, withoutBrackets(host), port)) return false
    if (own.some((one) => (one.port === undefined || one.port === port) && one.isAt(address))) return false
    return mayConnect(host, port, address)
  }
}

/**
 * Creates the lookup; `forbidden` are our own operations address, the store and the like. `mayConnect` says where else a policy must not lead,
 * asked for every connection. `ask` is the resolver.
 */
export function createNameLookup(
  forbidden: readonly ForbiddenAddress[],
  mayConnect: MayConnect = () => true,
  ask: typeof resolveName = resolveName,
): NameLookup {
  const permits = createConnectionJudge(forbidden, mayConnect)
  const pending = new Map<string, Promise<readonly LookupAddress[]>>()

  function findProblem(host: string, port: number): Error | undefined {
    const name = withoutBrackets(host)
    const isRefused = isNamed(forbidden, name, port) || (isIP(name) !== 0 && !permits(name, port, name))
    return isRefused ? refusal(host, port) : undefined
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
          const permitted = wanted.filter(({ address }) => permits(hostname, port, address))
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

/** Whether `forbidden` has this very name. */
function isNamed(forbidden: readonly ForbiddenAddress[], host: string, port: number): boolean {
  return forbidden.some((own) => (own.port === undefined || own.port === port) && own.host.toLowerCase() === host.toLowerCase())
}

/** A block list compares addresses, not spellings: compressed and IPv4-mapped forms are the same machine. */
function compareWith(host: string): (address: string) => boolean {
  // An interface may come at any time.
  if (host === '0.0.0.0' || host === '::') return (address) => isLoopbackAddress(address) || isOwnAddress(address)
  const list = new BlockList()
  const family = isIP(host)
  if (family !== 0) list.addAddress(host, family === 6 ? 'ipv6' : 'ipv4')
  return (address) => list.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4')
}

function withoutBrackets(host: string): string {
  return host.startsWith('[') && host.endsWith(']') ? host.slice(1, -1) : host
}

function refusal(host: string, port: number): Error {
  return Object.assign(new Error(`${host}:${port} is an address that no upstream may have`), { code: addressForbidden })
}
