/** Whose address counts: only what a trusted proxy appended, in one spelling (A26, A28). */

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { canonicalAddress, compileCidrs, readClientAddress } from './client-address.ts'

const proxies = compileCidrs(['10.0.0.0/8', '2001:db8:1::/48'])
const nobody = compileCidrs([])

describe('the client address', () => {
  it.each([
    ['of an untrusted peer is its own, whatever it sends (A26)', '192.0.2.1', ['10.0.0.5'], '192.0.2.1'],
    ['of a trusted peer without the header is its own', '10.0.0.1', [], '10.0.0.1'],
    ['is the right-most hop that is no proxy (A28)', '10.0.0.1', ['10.0.0.5, 203.0.113.9'], '203.0.113.9'],
    ['is found behind several proxies', '10.0.0.1', ['198.51.100.7, 203.0.113.9, 10.0.0.3 ,10.0.0.2'], '203.0.113.9'],
    ['is the left-most hop where all are proxies', '10.0.0.1', ['10.0.0.3, 10.0.0.2'], '10.0.0.3'],
    ['joins several lines in the order of the message', '10.0.0.1', ['198.51.100.7', '203.0.113.9'], '203.0.113.9'],
    ['of a mapped peer is IPv4, and trusted as such (A28)', '::ffff:10.0.0.1', ['203.0.113.9'], '203.0.113.9'],
    ['of a mapped hop is IPv4 (A28)', '10.0.0.1', ['::ffff:203.0.113.9'], '203.0.113.9'],
    ['of a mapped hop in hexadecimal is IPv4', '10.0.0.1', ['::ffff:cb00:7109'], '203.0.113.9'],
    ['of IPv6 has one spelling', '2001:db8:1::1', ['2001:0DB8:0000::0007'], '2001:db8::7'],
    ['leaves out a port', '10.0.0.1', ['203.0.113.9:50000'], '203.0.113.9'],
    ['leaves out brackets and port', '10.0.0.1', ['[2001:db8::7]:50000'], '2001:db8::7'],
    ['stops at a word', '10.0.0.1', ['203.0.113.9, unknown'], '10.0.0.1'],
    ['stops at an empty entry', '10.0.0.1', ['203.0.113.9,'], '10.0.0.1'],
    ['stops at the last proxy before garbage', '10.0.0.1', ['203.0.113.9, x, 10.0.0.2'], '10.0.0.2'],
    ['does not read octal', '10.0.0.1', ['010.1.2.3'], '10.0.0.1'],
    ['does not read short forms', '10.0.0.1', ['127.1'], '10.0.0.1'],
    ['does not read a zone', '10.0.0.1', ['fe80::1%eth0'], '10.0.0.1'],
    ['does not read IPv4 in brackets', '10.0.0.1', ['[203.0.113.9]'], '10.0.0.1'],
    ['of a link-local peer has no zone', 'fe80::1%eth0', [], 'fe80::1'],
    ['of a connection that is gone is empty', '', ['203.0.113.9'], ''],
  ])('%s', (_name, peer, header, expected) => {
    expect(readClientAddress(peer, header, proxies)).toBe(expected)
  })

  it('never comes from the header when no proxy is trusted', () => {
    expect(readClientAddress('10.0.0.1', ['203.0.113.9'], nobody)).toBe('10.0.0.1')
  })

  it('is never one that only strangers wrote, for any header', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(fc.ipV4(), fc.ipV6(), fc.string())), fc.ipV4(), (forged, client) => {
        fc.pre(!proxies.contains(client))
        const header = [...forged.map((entry) => entry.replaceAll(',', '')), client].join(', ')
        expect(readClientAddress('10.0.0.1', [header], proxies)).toBe(client)
      }),
    )
  })

  it('never throws, and is an address or empty, for any text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.array(fc.string({ unit: 'binary' })), (peer, header) => {
        const address = readClientAddress(peer, header, proxies)
        expect(address === '' || canonicalAddress(address) === address).toBe(true)
      }),
    )
  })
})

describe('networks', () => {
  it.each([
    ['10.0.0.0/8', '10.255.0.1', true],
    ['10.0.0.0/8', '11.0.0.1', false],
    ['10.0.0.0/8', '::ffff:10.0.0.1', true],
    ['192.0.2.7', '192.0.2.7', true],
    ['192.0.2.7', '192.0.2.8', false],
    ['2001:db8::/32', '2001:db8:1::1', true],
    ['2001:db8::/32', '2001:db9::1', false],
    ['::ffff:10.0.0.0/104', '10.1.2.3', true],
    ['::1', '::1', true],
    ['0.0.0.0/0', '2001:db8::1', false],
    ['::/0', '192.0.2.1', false],
  ])('%s holds %s: %s', (cidr, address, expected) => {
    expect(compileCidrs([cidr]).contains(canonicalAddress(address) ?? '')).toBe(expected)
  })

  it.each([
    '',
    'x',
    '10.0.0.0/33',
    '10.0.0/8',
    '10.0.0.0/',
    '10.0.0.0/8/8',
    '010.0.0.0/8',
    '2001:db8::/129',
    '::ffff:10.0.0.0/8',
    '10.0.0.0/-1',
    'fe80::1%eth0',
  ])('refuse %j', (cidr) => {
    expect(() => compileCidrs([cidr])).toThrow(TypeError)
  })

  it('hold nothing that is no address', () => {
    expect(compileCidrs(['0.0.0.0/0']).contains('x')).toBe(false)
  })
})
