/**
 * Rate limits: what counts as one client, and what somebody over the limit is told.
 */

import { describe, expect, it } from 'vitest'
import { createRateLimit, networkOf } from './rate-limits.ts'

describe('a rate limit', () => {
  it('lets the allowance through, then names the seconds to wait', async () => {
    const limit = createRateLimit({ points: 2, seconds: 60 })
    expect(await limit.consume('192.0.2.1')).toBeUndefined()
    expect(await limit.consume('192.0.2.1')).toBeUndefined()
    expect(await limit.consume('192.0.2.1')).toBeLessThanOrEqual(60)
    expect(await limit.consume('192.0.2.2')).toBeUndefined()
  })

  it('counts a whole /64 as one client', async () => {
    const limit = createRateLimit({ points: 1, seconds: 60 })
    expect(await limit.consume('2001:db8:1:2::1')).toBeUndefined()
    expect(await limit.consume('2001:db8:1:2:ffff:ffff:ffff:ffff')).toBeGreaterThan(0)
    expect(await limit.consume('2001:db8:1:3::1')).toBeUndefined()
  })
})

describe('the network of an address', () => {
  it.each([
    ['192.0.2.1', '192.0.2.1'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:0DB8::1', '2001:db8:0:0::/64'],
    ['::1', '0:0:0:0::/64'],
    ['1::', '1:0:0:0::/64'],
    ['64:ff9b::192.0.2.1', '64:ff9b:0:0::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
    ['not an address', 'not an address'],
  ])('of %s is %s', (address, network) => {
    expect(networkOf(address)).toBe(network)
  })
})
