/** Addresses and places against what a rule names; and what is no network at all. */

import { describe, expect, it } from 'vitest'
import { factsWith, known } from './condition.fixture.ts'
import type { EnvironmentFacts } from './facts.ts'
import { compileNetworkCondition } from './network-condition.ts'
import { networkCondition } from './policy.fixture.ts'

function judgeCidrs(cidrs: readonly string[], address: string): string {
  return compileNetworkCondition(networkCondition({ cidrs })).judge(factsWith({ environment: { address } }))
}

describe('network cidrs', () => {
  it.each([
    [['10.0.0.0/8'], '10.255.255.255', 'true'],
    [['10.0.0.0/8'], '11.0.0.0', 'false'],
    [['10.0.0.0/8', '192.0.2.0/24'], '192.0.2.255', 'true'],
    [['192.0.2.7/32'], '192.0.2.7', 'true'],
    [['192.0.2.7/32'], '192.0.2.8', 'false'],
    [['0.0.0.0/0'], '203.0.113.9', 'true'],
    [['0.0.0.0/0'], '2001:db8::1', 'false'],
    [['::/0'], '2001:db8::1', 'true'],
    [['::/0'], '203.0.113.9', 'false'],
    [['2001:db8::/32'], '2001:db8:ffff::1', 'true'],
    [['2001:db8::/32'], '2001:db9::1', 'false'],
    [['2001:db8:0:8000::/49'], '2001:db8:0:8000::1', 'true'],
    [['2001:db8::1/128'], '2001:0DB8:0::0001', 'true'],
    // An IPv4-mapped address is the IPv4 address that it carries, on both sides.
    [['10.0.0.0/8'], '::ffff:10.1.2.3', 'true'],
    [['::ffff:10.0.0.0/104'], '10.1.2.3', 'true'],
    [['::ffff:10.0.0.0/104'], '11.1.2.3', 'false'],
    [['10.0.0.0/8'], '', 'unknown'],
    [['10.0.0.0/8'], 'unix:/run/socket', 'unknown'],
    [['10.0.0.0/8'], '010.0.0.1', 'unknown'],
    [['10.0.0.0/8'], '10.1', 'unknown'],
    [[], '10.0.0.1', 'false'],
  ])('%j has %s: %s', (cidrs, address, outcome) => {
    expect(judgeCidrs(cidrs, address)).toBe(outcome)
  })

  it.each([
    '10.0.0.0/33',
    '10.0.0.0',
    '10.0.0.0/',
    '10.0.0.0/-1',
    '0.0.0.0/00',
    '10.0.0.0/08',
    '::/0 ',
    ' ::/0',
    '::/129',
    '10.0.0.5/24',
    '2001:db8::1/64',
    '010.0.0.1/32',
    '0x0a.0.0.0/8',
    '10/8',
    '10.0.0.0/8/8',
    '10.0.0.0/255.0.0.0',
    '::ffff:10.0.0.0/95',
    'fe80::1%eth0/128',
    '*',
    '**',
    '*.*',
    '',
    '/0',
    'localhost/8',
  ])('A238: %j is no network, and never all of them', (cidr) => {
    expect(() => compileNetworkCondition(networkCondition({ cidrs: [cidr] }))).toThrow(TypeError)
  })

  it('costs with five thousand networks about what it costs with one', () => {
    const many = Array.from({ length: 5000 }, (_, index) => `${20 + (index >> 8)}.${index & 255}.0.0/16`)
    const few = compileNetworkCondition(networkCondition({ cidrs: ['20.0.0.0/16'] }))
    const large = compileNetworkCondition(networkCondition({ cidrs: many }))
    const given = factsWith({ environment: { address: '192.0.2.1' } })
    const time = (judge: typeof few.judge) => {
      const start = process.hrtime.bigint()
      for (let round = 0; round < 5000; round++) judge(given)
      return Number(process.hrtime.bigint() - start)
    }
    for (const { judge } of [few, large]) time(judge)
    const best = (judge: typeof few.judge) => Math.min(...Array.from({ length: 7 }, () => time(judge)))
    expect(large.judge(factsWith({ environment: { address: '39.135.1.1' } }))).toBe('true')
    // A list that is walked would be thousands of times slower; the bound leaves room for a busy machine.
    expect(best(large.judge)).toBeLessThan(best(few.judge) * 20)
  })
})

describe('network places', () => {
  const cases: readonly [string, object, Partial<EnvironmentFacts>, string, string | undefined][] = [
    ['the country named', { countries: ['DE', 'NO'] }, { country: known('NO') }, 'true', undefined],
    ['another country', { countries: ['DE'] }, { country: known('FR') }, 'false', 'other_country'],
    ['a private address is in no country', { countries: ['DE'] }, { country: known(undefined) }, 'false', 'other_country'],
    ['no database', { countries: ['DE'] }, { country: { known: false, why: 'no_database' } }, 'unknown', 'place_unknown'],
    ['the network named', { asns: [64512] }, { asn: known(64512) }, 'true', undefined],
    ['another network', { asns: [64512] }, { asn: known(64513) }, 'false', 'other_network'],
    ['an address in no network', { asns: [0] }, { asn: known(undefined) }, 'false', 'other_network'],
    ['no network database', { asns: [64512] }, { asn: { known: false, why: 'no_database' } }, 'unknown', 'place_unknown'],
    ['address and country', { cidrs: ['192.0.2.0/24'], countries: ['DE'] }, { country: known('DE') }, 'true', undefined],
    ['right country, wrong address', { cidrs: ['10.0.0.0/8'], countries: ['DE'] }, { country: known('DE') }, 'false', 'other_network'],
    ['no address', { cidrs: ['10.0.0.0/8'] }, { address: '' }, 'unknown', 'place_unknown'],
  ]
  it.each(cases)('%s', (...[, keys, environment, outcome, remedy]) => {
    const condition = compileNetworkCondition(networkCondition(keys))
    const given = factsWith({ environment })
    expect(condition.judge(given)).toBe(outcome)
    expect(condition.findUnmet(given)).toEqual(remedy === undefined ? [] : [{ condition: 'network', outcome, remedy }])
  })

  it('asks only for the databases that it needs', () => {
    expect(compileNetworkCondition(networkCondition({ cidrs: [] })).needs).toEqual([])
    expect(compileNetworkCondition(networkCondition({ countries: ['DE'], asns: [1] })).needs).toEqual(['country', 'asn'])
  })

  it('names neither networks nor files to the person, and the file to an admin', () => {
    const condition = compileNetworkCondition(networkCondition({ cidrs: ['10.0.0.0/8'], cidrsFile: '/etc/postern/hooks.txt' }))
    expect(condition.findUnmet(factsWith({}))).toEqual([{ condition: 'network', outcome: 'false', remedy: 'other_network' }])
    expect(condition.trace(factsWith({}))).toEqual([
      {
        fact: 'network.address',
        wanted: 'one of 1 networks in /etc/postern/hooks.txt',
        value: { known: true, value: '192.0.2.1' },
        source: 'listener',
        at: undefined,
        outcome: 'false',
      },
    ])
  })

  it('refuses to be compiled with nothing to ask', () => {
    expect(() => compileNetworkCondition(networkCondition({}))).toThrow(TypeError)
  })
})
