/**
 * Rate limits per client address, in the memory of this process. The only door to `rate-limiter-flexible`.
 *
 * They keep one source from exhausting the provider, the keys' cache or the log; they decide nothing about identity, so an
 * instance counts for itself and asks no store. Offices share one IPv4 address, so the limits leave room for many people;
 * one IPv6 customer has a /64 of addresses at least, so that is what is counted there.
 */

import { isIPv6 } from 'node:net'
import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible'

export interface RateLimit {
  /** Counts one. Resolves to the seconds to wait if that was too many, else to `undefined`. */
  consume(address: string): Promise<number | undefined>
}

/** A limit of `points` in each window of `seconds`, for each address (IPv4) or /64 (IPv6). */
export function createRateLimit({ points, seconds }: { readonly points: number; readonly seconds: number }): RateLimit {
  const limiter = new RateLimiterMemory({ points, duration: seconds })
  const waitOf = (result: RateLimiterRes) => Math.max(1, Math.ceil(result.msBeforeNext / 1000))
  return {
    async consume(address) {
      try {
        await limiter.consume(networkOf(address))
        return undefined
      } catch (result) {
        if (result instanceof RateLimiterRes) return waitOf(result)
        throw result
      }
    },
  }
}

/** What is counted as one client: an IPv4 address, or the first 64 bits of an IPv6 one. Anything else counts as itself. */
export function networkOf(address: string): string {
  const bare = address.split('%', 1)[0] ?? ''
  if (!isIPv6(bare)) return address
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(bare)?.[1]
  if (mapped !== undefined) return mapped
  const [before = '', after] = bare.split('::')
  const head = before === '' ? [] : before.split(':')
  const tail = after === undefined || after === '' ? [] : after.split(':')
  const tailGroups = tail.length + (tail.at(-1)?.includes('.') === true ? 1 : 0)
  const zeros = after === undefined ? 0 : Math.max(0, 8 - head.length - tailGroups)
  const groups = [...head, ...Array.from({ length: zeros }, () => '0'), ...tail]
  return `${groups
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(':')}::/64`
}
