/** Addresses: what is accepted is exactly what it looks like, and no spelling reaches where none may. */

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  canReach,
  isForbiddenUpstream,
  isRefusal,
  parseAppAddress,
  parseCidr,
  parseHostPort,
  parseOrigin,
  parseUpstreamUrl,
} from './web-address.ts'

describe('public URLs', () => {
  it.each([
    ['https://payroll.corp.example', 'https://payroll.corp.example', 'payroll.corp.example', 443, '/'],
    ['https://payroll.corp.example/', 'https://payroll.corp.example', 'payroll.corp.example', 443, '/'],
    ['HTTPS://Payroll.Corp.Example:443', 'https://payroll.corp.example', 'payroll.corp.example', 443, '/'],
    ['https://payroll.corp.example:8443/tools/wiki/', 'https://payroll.corp.example:8443', 'payroll.corp.example', 8443, '/tools/wiki'],
    ['https://bücher.corp.example', 'https://xn--bcher-kva.corp.example', 'xn--bcher-kva.corp.example', 443, '/'],
    ['http://wiki.corp.localhost:8080', 'http://wiki.corp.localhost:8080', 'wiki.corp.localhost', 8080, '/'],
  ])('%s is read', (...[text, origin, hostname, port, prefix]) => {
    expect(parseAppAddress(text)).toEqual({ origin, hostname, port, prefix })
  })

  it.each([
    'wiki.corp.example',
    'https:wiki.corp.example',
    'https:///wiki.corp.example',
    'https://',
    'https://wiki.corp.example:',
    'https://wiki.corp.example:99999',
    'https://wiki.corp.example.',
    'https://wiki..example',
    'https://a b.example',
    'https://a\tb.example',
    'https:\\\\wiki.corp.example',
    'https://wiki.corp.example\\@evil.example',
    'https://user@wiki.corp.example',
    'https://wiki.corp.example?x',
    'https://wiki.corp.example#x',
    'https://*.corp.example',
    'http://wiki.corp.example',
    'http://localhost.corp.example',
    'https://wiki.corp.example//a',
    'https://wiki.corp.example/a/./b',
    'https://wiki.corp.example/a/%2e%2e/b',
    'https://wiki.corp.example/a%2Fb',
    'https://wiki.corp.example/%61',
    'https://wiki.corp.example/%c3%a9',
    'https://wiki.corp.example/é',
    'https://wiki.corp.example/a;b',
    'https://wiki.corp.example/a*',
    'https://wiki.corp.example/.postern',
    'https://wiki.corp.example/.postern/x',
    'javascript:alert(1)',
    'ftp://wiki.corp.example',
  ])('%s is refused', (text) => {
    expect(isRefusal(parseAppAddress(text))).toBe(true)
  })

  it('accept an origin alone for the access host', () => {
    expect((parseOrigin('https://access.corp.example') as URL).origin).toBe('https://access.corp.example')
    expect(isRefusal(parseOrigin('https://access.corp.example/x'))).toBe(true)
  })

  it('are what they were read as, for any text that is accepted', () => {
    fc.assert(
      fc.property(fc.webUrl({ validSchemes: ['https'], withFragments: true, withQueryParameters: true }), (text) => {
        const address = parseAppAddress(text)
        if (isRefusal(address)) return
        const again = parseAppAddress(address.origin + (address.prefix === '/' ? '' : address.prefix))
        expect(again).toEqual(address)
        expect(new URL(text).origin).toBe(address.origin)
      }),
    )
  })
})

describe('upstreams', () => {
  it.each([
    'http://169.254.169.254/',
    'http://169.254.0.1',
    'http://2852039166/',
    'http://0xa9fea9fe/',
    'http://0251.0376.0251.0376/',
    'http://169.254.43518/',
    'http://[fe80::1]/',
    'http://[febf::1]/',
    'http://[::ffff:169.254.169.254]/',
    'http://[::ffff:a9fe:a9fe]/',
    'http://[::a9fe:a9fe]/',
    'http://[64:ff9b::a9fe:a9fe]/',
    'http://[fd00:ec2::254]/',
    'http://[2002:a9fe:a9fe::]/',
    'http://metadata.google.internal/',
    'http://0/',
    'http://0.0.0.0:8080',
    'http://[::]:8080',
    'http://255.255.255.255',
    'http://224.0.0.1',
    'http://[ff02::1]',
    'gopher://x',
    'file:///etc/passwd',
    'unix:/run/x.sock',
    'http://u:p@h/',
    'http://h:0',
    'http://2130706433:1',
    'http://010.0.0.1',
    'http://127.1:3000',
    'http://0x7f.0.0.1',
  ])('%s is refused', (text) => {
    expect(isRefusal(parseUpstreamUrl(text))).toBe(true)
  })

  it.each(['http://wiki.internal:3000', 'http://my_service:8080', 'https://10.1.2.3', 'http://[fd00::1]:80/base', 'http://127.0.0.1:3000'])(
    '%s is read',
    (text) => {
      expect(isRefusal(parseUpstreamUrl(text))).toBe(false)
    },
  )

  it('never lead to a link-local address, however it is written', () => {
    fc.assert(
      fc.property(fc.nat(255), fc.nat(255), fc.constantFrom('dotted', 'decimal', 'hex', 'octal', 'mapped'), (c, d, form) => {
        const number = ((169 << 24) | (254 << 16) | (c << 8) | d) >>> 0
        const host = {
          dotted: `169.254.${c}.${d}`,
          decimal: String(number),
          hex: `0x${number.toString(16)}`,
          octal: `0251.0376.0${c.toString(8)}.0${d.toString(8)}`,
          mapped: `[::ffff:169.254.${c}.${d}]`,
        }[form]
        expect(isRefusal(parseUpstreamUrl(`http://${host}/`))).toBe(true)
      }),
    )
    expect(isForbiddenUpstream('169.255.0.1')).toBe(false)
  })
})

describe('networks', () => {
  it.each(['10.0.0.0/8', '10.1.2.3/32', '192.168.0.0/16', 'fd00::/8', '2001:db8::/32', '0.0.0.0/1', '::1/128'])('%s is read', (text) => {
    expect(parseCidr(text)).toBe(text)
  })
  it('a single address is a network of one', () => {
    expect(parseCidr('10.0.0.1')).toBe('10.0.0.1/32')
    expect(parseCidr('FD00::1')).toBe('fd00::1/128')
  })
  it.each([
    ['10.0.0.0/33', undefined],
    ['10.0.0.1/8', 'write `10.0.0.0/8`'],
    ['10.128.0.0/8', 'write `10.0.0.0/8`'],
    ['fd00::1/8', 'write `fd00::/8`'],
    ['2001:db8:1::/33', 'write `2001:db8::/33`'],
    ['0.0.0.0/0', 'name the networks that are meant'],
    ['::/0', 'name the networks that are meant'],
    ['010.0.0.1', undefined],
    ['10.0.0.0/08', undefined],
    ['10.0.0', undefined],
    ['10.0.0.0/', undefined],
    ['10.0.0.0/-1', undefined],
    ['::ffff:10.0.0.0/200', undefined],
    ['corp.example', undefined],
    ['', undefined],
    ['*', undefined],
  ])('%s is refused', (text, suggestion) => {
    expect(parseCidr(text)).toMatchObject({ refusal: expect.any(String), ...(suggestion === undefined ? {} : { suggestion }) })
  })
})

describe('listeners', () => {
  it.each([
    ['0.0.0.0:8443', '0.0.0.0', 8443],
    ['[::]:8443', '::', 8443],
    ['localhost:0', 'localhost', 0],
  ])('%s is read', (text, host, port) => {
    expect(parseHostPort(text)).toEqual({ host, port })
  })
  it.each(['8443', ':8443', '::1:8443', '0.0.0.0', '0.0.0.0:99999', '10.0.0:1', '[10.0.0.1]:1', 'a b:1', 'http://x:1'])(
    '%s is refused',
    (text) => {
      expect(parseHostPort(text)).toMatchObject({ refusal: expect.any(String) })
    },
  )
  it('are reached by every name of this machine', () => {
    const listener = { host: '0.0.0.0', port: 9464 }
    for (const host of ['127.0.0.1', '127.8.8.8', 'localhost', '::1', 'x.localhost'])
      expect(canReach({ host, port: 9464 }, listener)).toBe(true)
    expect(canReach({ host: '127.0.0.1', port: 9465 }, listener)).toBe(false)
    expect(canReach({ host: 'wiki.internal', port: 9464 }, listener)).toBe(false)
  })
})
