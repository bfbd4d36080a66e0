/** What `check --live` says of databases of places, of the authorities of device certificates, and of their revocation lists. */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createDeviceAuthority } from '../../e2e/support/device-authority.ts'
import { asnRecord, countryRecord, writePlaceDatabase } from '../attributes/place-database.fixture.ts'
import { appWith, documentWith, rule } from '../policy/policy.fixture.ts'
import { silentLog } from '../session/session.fixture.ts'
import { checkDeviceCertificates, checkPlaces } from './check-files.ts'
import type { ProbeResult } from './probe-result.ts'

const day = 86_400_000
const at = Date.now()
let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'postern-files-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const said = (results: readonly ProbeResult[]) => results.map(({ message, outcome, probe }) => `${outcome} ${probe}: ${message}`)

function place(name: string, bytes: Buffer | string): string {
  const file = join(folder, name)
  writeFileSync(file, bytes)
  return file
}

describe('databases of places', () => {
  const countries = (type: string, age: number) =>
    writePlaceDatabase({ networks: { '192.0.2.0/24': countryRecord('DE') }, type, builtAt: Math.floor((at - age) / 1000) })
  const networks = (type: string) =>
    writePlaceDatabase({ networks: { '192.0.2.0/24': asnRecord(64500) }, type, builtAt: Math.floor(at / 1000) })
  const sayOf = async (countryFile: string | undefined, asnFile?: string) =>
    said(await checkPlaces({ facts: { countryFile, asnFile } }, at))

  it('are good while they are young and of their kind', async () => {
    const today = new Date(at).toISOString().slice(0, 10)
    const files = [place('c', countries('GeoLite2-Country', 0)), place('a', networks('DBIP-ASN-Lite (compat=GeoLite2-ASN)'))] as const
    expect(await sayOf(...files)).toEqual([
      `good facts.country_file: \`GeoLite2-Country\` of ${today}`,
      `good facts.asn_file: \`DBIP-ASN-Lite (compat=GeoLite2-ASN)\` of ${today}`,
    ])
    expect(await sayOf(undefined)).toEqual([])
  })

  it('are doubtful when they are old, of the other kind, or none', async () => {
    expect(await sayOf(place('c', countries('GeoLite2-Country', 61 * day)))).toEqual([
      expect.stringMatching(/^warning facts\.country_file: `GeoLite2-Country` was made on .*, 61 days ago$/),
    ])
    expect(await sayOf(place('c', countries('GeoLite2-Country', 59 * day)))).toEqual([expect.stringMatching(/^good/)])
    const [wrongCountry, wrongNetwork] = [place('c', networks('GeoLite2-ASN')), place('a', countries('GeoLite2-City', 0))]
    expect(await sayOf(wrongCountry, wrongNetwork)).toEqual([
      'warning facts.country_file: `GeoLite2-ASN` does not tell countries: they are unknown for everybody',
      'warning facts.asn_file: `GeoLite2-City` does not tell autonomous systems: they are unknown for everybody',
    ])
    expect(await sayOf(place('c', 'not a database'))).toEqual([expect.stringMatching(/^warning .*no database that can be read/)])
  })

  it('are not missed twice: that a file is not there, the check of the configuration says', async () => {
    expect(await sayOf(join(folder, 'none.mmdb'))).toEqual([])
  })
})

describe('device certificates', () => {
  const url = new URL('https://access.corp.example')
  const policy = documentWith([
    appWith([rule('allow', { kind: 'signed_in' })]),
    appWith([rule('require', { kind: 'signed_in' }, { require: [{ kind: 'level', name: 'ours' }] })], {
      id: 'payroll',
      address: { origin: 'https://payroll.corp.example', hostname: 'payroll.corp.example', port: 443, prefix: '/' },
    }),
  ])
  const withLevel = {
    ...policy,
    levels: [{ name: 'ours', condition: { kind: 'not' as const, of: { kind: 'expression' as const, source: 'device.managed' } } }],
  }
  const check = async (caFile: string, crlFile: string | undefined, when = at, from: 'listener' | 'xfcc' = 'listener') =>
    said(await checkDeviceCertificates({ clientCertificate: { caFile, crlFile, from }, url }, withLevel, { at: when, log: silentLog }))

  it('name the hosts on which a browser is asked for one', async () => {
    const authority = await createDeviceAuthority({ notAfter: at + 365 * day })
    const results = await check(place('ca', authority.pem), place('crl', await authority.list([], { nextUpdate: at + 3 * day })))
    expect(results).toHaveLength(3)
    expect(results[0]).toMatch(/^good device authority `CN=.*`: valid until /)
    expect(results[1]).toMatch(/^good revocation list of `CN=.*`: good until .* UTC$/)
    expect(results[2]).toBe('good client_certificate: browsers are asked for a certificate on access.corp.example, payroll.corp.example')
    expect(await check(place('ca', authority.pem), undefined, at, 'xfcc')).toEqual([
      results[0],
      expect.stringMatching(/^unknown client_certificate\.crl_file: there is no revocation list/),
    ])
    expect(await checkDeviceCertificates({ clientCertificate: undefined, url }, withLevel, { at, log: silentLog })).toEqual([])
  })

  it('are refused, and it is said, when an authority or its list has run out', async () => {
    const authority = await createDeviceAuthority({ notAfter: at + 40 * day })
    const [ca, crl] = [place('ca', authority.pem), place('crl', await authority.list([], { nextUpdate: at + day }))]
    const words = async (when: number) => (await check(ca, crl, when)).map((line) => line.replace(/`CN=.*?`/, '…'))
    expect((await words(at))[0]).toMatch(/^warning device authority …: it expires on /)
    expect((await words(at + day))[1]).toMatch(/^problem revocation list of …: it ran out on .*: every certificate of it is refused$/)
    expect((await words(at + day - 3_600_000))[1]).toMatch(/^warning revocation list of …: it runs out on /)
    expect((await words(at + day - 4 * 3_600_000))[1]).toMatch(/^good revocation list/)
    expect(await words(at + 41 * day)).toEqual([
      expect.stringMatching(/^problem device authority …: it expired on .*: every certificate of it is refused$/),
      expect.stringMatching(/^good client_certificate: /),
    ])
  })

  it('of an authority without a list are refused, and one that is left over is no problem', async () => {
    const listed = await createDeviceAuthority({ commonName: 'One', notAfter: at + 365 * day })
    // The same name under a new key: the list of the one says nothing of the other.
    const unlisted = await createDeviceAuthority({ commonName: 'One', notAfter: at + 366 * day })
    const former = await createDeviceAuthority({ commonName: 'Former', notAfter: at - 1000 })
    const list = place('crl', await listed.list([], { nextUpdate: at + day }))
    expect(await check(place('ca', listed.pem + unlisted.pem + former.pem), list)).toEqual([
      expect.stringMatching(/^good device authority `CN=One`/),
      expect.stringMatching(/^good device authority `CN=One`/),
      expect.stringMatching(/^warning device authority `CN=Former`: it expired/),
      expect.stringMatching(/^good revocation list of `CN=One`/),
      'warning revocation list of `CN=One`: there is none in crl_file: every certificate of it is refused',
      expect.stringMatching(/^good client_certificate/),
    ])
  })

  it('name what keeps an instance from starting', async () => {
    const [first] = await check(place('ca', 'nothing'), undefined)
    expect(first).toMatch(/^problem client_certificate: .*has no certificate in it/)
  })
})
