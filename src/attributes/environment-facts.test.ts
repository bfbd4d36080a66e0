/** Places from databases of every shape, user agents, and what stays unknown. */

import { mkdtemp, rename, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { FactGroup } from '../policy/facts.ts'
import { createEnvironmentReader, readBareEnvironment } from './environment-facts.ts'
import { asnRecord, countryRecord, type WrittenDatabase, writePlaceDatabase } from './place-database.fixture.ts'
import { describePlaces, openPlaceDatabase, type PlaceDatabase } from './place-database.ts'
import { type WatchedPlaces, watchPlaces } from './place-files.ts'

const soon = { timeout: 10_000, interval: 10 }

const everything = new Set<FactGroup>(['country', 'asn', 'client', 'device'])
const seen = { at: 1, scheme: 'https', tlsVersion: 'TLSv1.3', userAgent: undefined } as const

const networks = { '198.51.100.0/24': countryRecord('DE'), '198.51.100.128/25': countryRecord('FR'), '2001:db8::/32': countryRecord('NO') }

function readerOf(country: WrittenDatabase, asn: WrittenDatabase = { networks: { '198.51.100.0/24': asnRecord(64_500) } }) {
  const databases = { country: openPlaceDatabase(writePlaceDatabase(country)), asn: openPlaceDatabase(writePlaceDatabase(asn)) }
  return createEnvironmentReader({ country: () => databases.country, asn: () => databases.asn })
}

const placeOf = (read: ReturnType<typeof readerOf>, address: string) => {
  const { country, asn } = read({ ...seen, address }, everything)
  return { country: country.known ? country.value : country.why, asn: asn.known ? asn.value : asn.why }
}

describe('a place', () => {
  test.each([24, 28, 32] as const)('is found in a database with records of %i bits, the longest network first', (recordSize) => {
    const read = readerOf({ networks, recordSize })
    expect(placeOf(read, '198.51.100.1')).toEqual({ country: 'DE', asn: 64_500 })
    expect(placeOf(read, '198.51.100.200')).toEqual({ country: 'FR', asn: 64_500 })
    expect(placeOf(read, '2001:db8::1')).toEqual({ country: 'NO', asn: 'no_database' })
  })

  test('of an address that the database does not cover is unknown, never nowhere', () => {
    expect(placeOf(readerOf({ networks }), '203.0.113.1')).toEqual({ country: 'no_database', asn: 'no_database' })
    expect(placeOf(readerOf({ networks }), '')).toEqual({ country: 'no_database', asn: 'no_database' })
  })

  test('of an IPv6 address is unknown to a database for IPv4, whose tree would take its first bytes for an IPv4 address', () => {
    const read = readerOf({ networks: { '32.1.0.0/16': countryRecord('DE') }, ipVersion: 4 })
    expect(placeOf(read, '32.1.13.184').country).toBe('DE')
    expect(placeOf(read, '2001:db8::1').country).toBe('no_database')
  })

  test.each(['10.0.0.1', '172.31.255.255', '192.168.1.1', '100.64.0.1', '127.0.0.1', '169.254.1.1', '::1', 'fd00::1', 'fe80::1'])(
    'of %s is known to be no country and no network, with and without a database',
    (address) => {
      const read = readerOf({
        networks: { '0.0.0.0/1': countryRecord('DE'), '128.0.0.0/1': countryRecord('DE'), 'f000::/4': countryRecord('DE') },
      })
      for (const reader of [read, readBareEnvironment]) expect(placeOf(reader, address)).toEqual({ country: undefined, asn: undefined })
    },
  )

  test('is unknown without a database', () => {
    expect(placeOf(readBareEnvironment, '198.51.100.1')).toEqual({ country: 'no_database', asn: 'no_database' })
  })

  test('is looked up for the record where no rule asks, as far as there is a database, and a browser is not', () => {
    const asked = { ...seen, address: '198.51.100.1', userAgent: 'x' }
    const notGathered = { known: false, why: 'not_gathered' }
    const { asn, client, country } = readerOf({ networks })(asked, new Set())
    expect(country).toEqual({ known: true, value: 'DE' })
    expect(asn.known).toBe(true)
    expect(client.browser).toEqual(notGathered)
    const bare = readBareEnvironment(asked, new Set())
    expect([bare.country, bare.asn]).toEqual([notGathered, notGathered])
  })

  test.each<[unknown, unknown]>([
    [{ country: 'DE' }, 'DE'],
    [{ country_code: 'de', country: 'Germany' }, 'DE'],
    [{ country: 'Germany' }, 'no_database'],
    [{ registered_country: { iso_code: 'US' } }, 'no_database'],
    [{ country: { iso_code: 'EU' } }, 'no_database'],
    [{ country_code: 'ZZ' }, 'no_database'],
    [{ country: { iso_code: 7 } }, 'no_database'],
    [['DE'], 'no_database'],
    ['DE', 'no_database'],
  ])('of the record %j is %s', (record, country) => {
    expect(placeOf(readerOf({ networks: { '198.51.100.0/24': record } }), '198.51.100.1').country).toBe(country)
  })

  test.each<[unknown, unknown]>([
    [{ asn: 'AS64500' }, 64_500],
    [{ asn: '64500' }, 64_500],
    [{ asn: 4_294_967_295 }, 4_294_967_295],
    [{ asn: 'AS0' }, 'no_database'],
    [{ asn: 'AS99999999999' }, 'no_database'],
    [{ autonomous_system_number: true }, 'no_database'],
    [{}, 'no_database'],
  ])('of the record %j is network %s', (record, asn) => {
    expect(placeOf(readerOf({ networks }, { networks: { '198.51.100.0/24': record } }), '198.51.100.1').asn).toBe(asn)
  })

  test('in a damaged file is refused when it is opened, or unknown: never an exception, never a wait', () => {
    const bytes = writePlaceDatabase({ networks: { ...networks, '203.0.113.0/24': countryRecord('SE') } })
    let opened = 0
    for (let at = bytes.indexOf('continent') - 20; at < bytes.length; at += 1) {
      for (const value of [0, 0x20, 0x3f, 0x7f, 0xff]) {
        const damaged = Buffer.from(bytes)
        damaged[at] = value
        const database = openOrRefuse(damaged)
        if (database === undefined) continue
        opened += 1
        for (const address of ['198.51.100.1', '203.0.113.1']) {
          const country = database.findCountry(address)
          expect(country.known ? country.value : 'unknown').toMatch(/^(?:[A-Z]{2}|unknown)$/)
        }
      }
    }
    expect(opened).toBeGreaterThan(100)
  })
})

function openOrRefuse(bytes: Buffer): PlaceDatabase | undefined {
  try {
    return openPlaceDatabase(bytes)
  } catch {
    // What `watchPlaces` does with it is tested below.
    return undefined
  }
}

describe('a user agent', () => {
  const chrome = 'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36'
  const clientOf = (userAgent: string | undefined) => {
    const { client } = readBareEnvironment({ ...seen, address: '10.0.0.1', userAgent }, everything)
    return [client.browser, client.browserVersion, client.os].map((fact) => (fact.known ? fact.value : fact.why))
  }

  test.each([
    [chrome, ['chrome', '140.0.0.0', 'windows']],
    [`${chrome} Edg/140.0.3485.54`, ['edge', '140.0.3485.54', 'windows']],
    ['Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:142.0) Gecko/20100101 Firefox/142.0', ['firefox', '142.0', 'macos']],
    [
      'Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1',
      ['safari', '18.5', 'ios'],
    ],
    [chrome.replace('Windows NT 10.0; Win64; x64', 'X11; CrOS x86_64 14541.0.0'), ['chrome', '140.0.0.0', 'chromeos']],
    [chrome.replace('Windows NT 10.0; Win64; x64', 'X11; Linux x86_64'), ['chrome', '140.0.0.0', 'linux']],
    [
      'Mozilla/5.0 (Linux; Android 14; SAMSUNG SM-S911B) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/25.0 Chrome/121.0.0.0 Mobile Safari/537.36',
      ['samsung_internet', '25.0', 'android'],
    ],
  ])('%s is read', (userAgent, expected) => {
    expect(clientOf(userAgent)).toEqual(expected)
  })

  test.each([undefined, '', 'curl/8.4.0', '\u0000', '((((', 'Mozilla/5.0', `${chrome} ${'x'.repeat(512)}`])(
    '%j says nothing that is known',
    (userAgent) => {
      expect(clientOf(userAgent)).toEqual(['not_stated', 'not_stated', 'not_stated'])
    },
  )

  test('with no number for a version has none', () => {
    expect(clientOf('Firefox/abc')[1]).toBe('not_stated')
  })

  test('of any text costs no time worth naming', () => {
    for (const part of ['Chrome/ ', 'Version/1 Safari ', '(((', 'Android ', '1.', 'iPhone;', 'Opera ', ' ']) {
      const text = `Mozilla/5.0 ${part.repeat(512)}`.slice(0, 511)
      clientOf(`${text}x`)
      // The best of three that were not read before: what else this machine does meanwhile is not what is measured.
      const times = ['a', 'b', 'c'].map((last) => {
        const begun = performance.now()
        clientOf(`${text}${last}`)
        return performance.now() - begun
      })
      expect(Math.min(...times), part).toBeLessThan(50)
    }
  })
})

test('the version of TLS is what the listener saw, or unknown', () => {
  expect(readBareEnvironment({ ...seen, address: '10.0.0.1' }, everything).tlsVersion).toEqual({ known: true, value: 'TLSv1.3' })
  const { tlsVersion } = readBareEnvironment({ ...seen, address: '10.0.0.1', tlsVersion: undefined }, everything)
  expect(tlsVersion.known).toBe(false)
})

describe('the files of places', () => {
  let folder: string
  let file: string
  let places: WatchedPlaces | undefined
  let said: { readonly level: string; readonly message: unknown }[]
  const say = (level: string) => (_: unknown, message?: unknown) => void said.push({ level, message })

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'postern-places-'))
    file = join(folder, 'country.mmdb')
    said = []
  })
  afterEach(async () => {
    places?.close()
    places = undefined
    await rm(folder, { recursive: true })
  })

  const watch = async () => {
    const log = { info: say('info'), warn: say('warn'), error: say('error') }
    places = await watchPlaces({ countryFile: file, asnFile: undefined }, { log, lookEveryMs: 10 })
    const reader = createEnvironmentReader(places)
    return (address = '198.51.100.1') => placeOf(reader, address).country
  }
  const replace = async (content: Buffer | string) => {
    await writeFile(`${file}.new`, content)
    await rename(`${file}.new`, file)
  }
  const complaints = () => said.filter(({ level }) => level !== 'info').length

  test('are read again when they change', async () => {
    await replace(writePlaceDatabase({ networks }))
    const country = await watch()
    expect(country()).toBe('DE')
    await replace(writePlaceDatabase({ networks: { '198.51.100.0/24': countryRecord('SE') } }))
    await expect.poll(() => country()).toBe('SE')
  })

  test('are not there: places are unknown, until the file appears', async () => {
    const country = await watch()
    expect(country()).toBe('no_database')
    expect(complaints()).toBe(1)
    await replace(writePlaceDatabase({ networks }))
    await expect.poll(() => country()).toBe('DE')
  })

  test('stay in use when a new one is broken, which is said once', async () => {
    const whole = writePlaceDatabase({ networks })
    await replace(whole)
    const country = await watch()
    for (const broken of ['not a database', whole.subarray(0, 200), whole.subarray(-150)]) {
      const before = complaints()
      await replace(broken as Buffer)
      await expect.poll(complaints).toBe(before + 1)
      expect(country()).toBe('DE')
    }
    await rm(file)
    await replace(writePlaceDatabase({ networks: { '198.51.100.0/24': countryRecord('SE') } }))
    await expect.poll(() => country()).toBe('SE')
    expect(complaints()).toBe(3)
  })

  test('are not even tried while they still change', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
    try {
      const whole = writePlaceDatabase({ networks })
      await replace(whole)
      const country = await watch()
      const look = async () => {
        vi.advanceTimersByTime(10)
        for (let turn = 0; turn < 10; turn += 1) await stat(folder)
      }
      for (const part of [100, 200, 300]) {
        await writeFile(file, whole.subarray(0, part))
        await look()
      }
      expect(complaints()).toBe(0)
      await writeFile(file, whole.subarray(0, -1))
      await look()
      await look()
      await vi.waitFor(() => expect(complaints() + said.length).toBeGreaterThan(1), soon)
      expect(country()).toBe('DE')
      // Gone for good or between two renames: what was read is still true, and nothing is wrong with it.
      const before = complaints()
      await rm(file)
      for (let turn = 0; turn < 3; turn += 1) await look()
      expect(complaints()).toBe(before)
    } finally {
      vi.useRealTimers()
    }
  })

  test('are described for check', async () => {
    await replace(writePlaceDatabase({ networks, type: 'GeoLite2-Country', builtAt: 1_790_000_000 }))
    await writeFile(join(folder, 'asn.mmdb'), 'x')
    expect(await describePlaces({ countryFile: file, asnFile: join(folder, 'asn.mmdb') })).toEqual({
      country: { file, database: { type: 'GeoLite2-Country', builtAt: 1_790_000_000_000 }, problem: undefined },
      asn: { file: join(folder, 'asn.mmdb'), database: undefined, problem: expect.any(String) },
    })
    expect(await describePlaces({ countryFile: undefined, asnFile: undefined })).toEqual({ country: undefined, asn: undefined })
  })
})
