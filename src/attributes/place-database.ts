/**
 * One database of places (MaxMind DB 2.0), as the operator supplies it: which country, or which autonomous system, an address is in.
 *
 * The only door to the reader. Records of several vendors are understood: MaxMind's and DB-IP's nested ones, and the flat ones of ipinfo and
 * others. The operator's file is trusted to be honest, not to be whole: whatever cannot be read of it is unknown, and never an exception.
 */

import { readFile } from 'node:fs/promises'
import { isIP } from 'node:net'
import { Reader, type Response } from 'mmdb-lib'
import type { Known } from '../policy/facts.ts'

/** What of a place is asked for. */
export interface PlaceDatabase {
  /** ISO 3166-1 alpha-2, upper-case. */
  findCountry(address: string): Known<string>
  findAsn(address: string): Known<number>
  /** As the vendor calls it, such as `GeoLite2-Country`. */
  readonly type: string
  /** When the vendor made it. */
  readonly builtAt: number
}

/** What `check` says of one configured database. */
export interface PlaceReport {
  readonly file: string
  /** `undefined` where it cannot be used. */
  readonly database: { readonly type: string; readonly builtAt: number } | undefined
  /** Why not, for the operator. */
  readonly problem: string | undefined
}

/** The whole world with cities is 60 MB; this stays in memory. */
const maxFileBytes = 512 * 1024 * 1024
/** Addresses that every database of the world knows; a file that cannot be walked is found out before it is used. */
const probes = ['1.1.1.1', '8.8.8.8', '192.0.2.1', '2001:4860:4860::8888', '2001:db8::1']

const notFound = { known: false, why: 'no_database' } as const
/** What vendors write for "no country in particular": user-assigned codes, and regions that are no country. */
const noCountries: ReadonlySet<string> = new Set(['ZZ', 'XX', 'AA', 'EU', 'AP'])

/** Reads the bytes of a database. Throws for what is none, or is cut short. */
export function openPlaceDatabase(bytes: Buffer): PlaceDatabase {
  const reader = new Reader<Response>(bytes)
  const { ipVersion, searchTreeSize, databaseType, buildEpoch } = reader.metadata
  if (ipVersion !== 4 && ipVersion !== 6) throw new RangeError('the database is for neither IPv4 nor IPv6')
  if (!(searchTreeSize > 0 && searchTreeSize < bytes.length)) throw new RangeError('the database is cut short')

  /** `undefined` for an address that it does not cover. A tree for IPv4 would take the first bytes of an IPv6 address for one. */
  const find = (address: string): unknown => {
    const family = isIP(address)
    if (family === 0 || (family === 6 && ipVersion === 4)) return undefined
    return reader.get(address) ?? undefined
  }
  for (const address of probes) find(address)

  const read = <T>(address: string, parse: (record: PlaceRecord) => T | undefined): Known<T> => {
    try {
      const record = find(address)
      const value = isRecord(record) ? parse(record) : undefined
      return value === undefined ? notFound : { known: true, value }
    } catch {
      // A damaged record. Others may be whole.
      return notFound
    }
  }
  return {
    findCountry: (address) => read(address, parseCountry),
    findAsn: (address) => read(address, parseAsn),
    type: String(databaseType),
    builtAt: buildEpoch.getTime(),
  }
}

/** Reads the file of a database. Rejects with a reason that an operator can act on. */
export async function loadPlaceDatabase(file: string): Promise<PlaceDatabase> {
  const bytes = await readFile(file)
  if (bytes.length > maxFileBytes) throw new RangeError('the file is larger than any database of places')
  return openPlaceDatabase(bytes)
}

/** What there is to say of the configured databases; `undefined` where none is configured. Never rejects. */
export async function describePlaces({ countryFile, asnFile }: PlaceFiles): Promise<{
  readonly country: PlaceReport | undefined
  readonly asn: PlaceReport | undefined
}> {
  return { country: await describeFile(countryFile), asn: await describeFile(asnFile) }
}

export interface PlaceFiles {
  /** Absolute path of a database with countries; `undefined` where there is none. */
  readonly countryFile: string | undefined
  readonly asnFile: string | undefined
}

async function describeFile(file: string | undefined): Promise<PlaceReport | undefined> {
  if (file === undefined) return undefined
  try {
    const { type, builtAt } = await loadPlaceDatabase(file)
    return { file, database: { type, builtAt }, problem: undefined }
  } catch (error) {
    return { file, database: undefined, problem: error instanceof Error ? error.message : String(error) }
  }
}

type PlaceRecord = Readonly<Record<string, unknown>>

function isRecord(value: unknown): value is PlaceRecord {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Where the address is, not where its owner registered it. */
function parseCountry({ country, country_code: flat }: PlaceRecord): string | undefined {
  const code = isRecord(country) ? country['iso_code'] : (flat ?? country)
  if (typeof code !== 'string') return undefined
  const upper = code.toUpperCase()
  return /^[A-Z]{2}$/.test(upper) && !noCountries.has(upper) ? upper : undefined
}

/** A number, or text such as `AS15169`. Zero is nobody's (RFC 7607). */
function parseAsn({ autonomous_system_number: nested, asn: flat }: PlaceRecord): number | undefined {
  const stated = nested ?? flat
  const [, digits] = typeof stated === 'string' ? (/^(?:AS)?(\d{1,10})$/i.exec(stated) ?? []) : []
  const asn = digits === undefined ? stated : Number(digits)
  return typeof asn === 'number' && Number.isInteger(asn) && asn > 0 && asn <= 0xffff_ffff ? asn : undefined
}
