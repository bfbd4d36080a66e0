/**
 * Facts about the circumstances of a request: place, transport, and what the user agent says of itself.
 *
 * Trusts the listener for address and transport, and the operator's databases for places. The user agent is a hint and never
 * proof. What no rule of the app asks for and nothing could tell is `not_gathered`, so that it can never be mistaken for a fact; a place is
 * looked up wherever there is a database, because what is recorded may be asked for later, and an address that was seen costs a look-up.
 * Addresses of networks that belong to nobody in particular are known to be in no country; an address that a database does not cover is
 * unknown, because it is somewhere.
 */

import type { ClientFacts, EnvironmentFacts, FactGroup, Known } from '../policy/facts.ts'
import { compileCidrs } from './client-address.ts'
import { createClientHintReader } from './client-hint.ts'
import type { PlaceDatabase } from './place-database.ts'

/** What the listener, or a command on its behalf, saw. */
export interface Circumstances {
  /** Canonical, behind trusted proxies. */
  readonly address: string
  readonly at: number
  readonly scheme: 'https' | 'http'
  /** As Node names it (`TLSv1.3`); `undefined` where TLS ended before us. */
  readonly tlsVersion: string | undefined
  readonly userAgent: string | undefined
}

/** Looks up what `needs` names, and places wherever a database has them. Never throws, never waits. */
export type EnvironmentReader = (seen: Circumstances, needs: ReadonlySet<FactGroup>) => EnvironmentFacts

/** The databases that are in use now; each is `undefined` while there is none. */
export interface Places {
  readonly country: () => PlaceDatabase | undefined
  readonly asn: () => PlaceDatabase | undefined
}

const notGathered = { known: false, why: 'not_gathered' } as const
const noDatabase = { known: false, why: 'no_database' } as const
const nothing = () => undefined
const nowhere = { known: true, value: undefined } as const
const noClient: ClientFacts = { browser: notGathered, browserVersion: notGathered, os: notGathered }

/** Private, shared (CGNAT), loopback and link-local networks (RFC 6890): anybody's, and so in no country. */
const nobodysNetworks = compileCidrs([
  ...['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '100.64.0.0/10', '127.0.0.0/8', '169.254.0.0/16'],
  ...['::1', 'fc00::/7', 'fe80::/10'],
])

/** Clients of a company within an hour, several times over. */
const maxRemembered = 10_000

/** The reader of one instance. Without a database of a kind, that kind of place is unknown. */
export function createEnvironmentReader({ country = nothing, asn = nothing }: Partial<Places>): EnvironmentReader {
  const readClient = createClientHintReader()
  const findCountry = remember(country, (database, address) => database.findCountry(address))
  const findAsn = remember(asn, (database, address) => database.findAsn(address))
  return ({ address, at, scheme, tlsVersion, userAgent }, needs) => ({
    address,
    at,
    country: needs.has('country') || country() !== undefined ? findCountry(address) : notGathered,
    asn: needs.has('asn') || asn() !== undefined ? findAsn(address) : notGathered,
    scheme,
    tlsVersion: tlsVersion === undefined ? notGathered : tlsVersionOf(tlsVersion),
    client: needs.has('client') ? readClient(userAgent) : noClient,
  })
}

/** A reader without databases. */
export const readBareEnvironment: EnvironmentReader = createEnvironmentReader({})

/** Answers of one database, forgotten when another takes its place. */
function remember<T>(
  current: () => PlaceDatabase | undefined,
  find: (database: PlaceDatabase, address: string) => Known<T>,
): (address: string) => Known<T | undefined> {
  const remembered = new Map<string, Known<T | undefined>>()
  let of: PlaceDatabase | undefined
  return (address) => {
    const database = current()
    if (database !== of) {
      remembered.clear()
      of = database
    }
    const earlier = remembered.get(address)
    if (earlier !== undefined) return earlier
    const found = nobodysNetworks.contains(address) ? nowhere : database === undefined ? noDatabase : find(database, address)
    const [oldest] = remembered.size < maxRemembered ? [] : remembered.keys()
    if (oldest !== undefined) remembered.delete(oldest)
    remembered.set(address, found)
    return found
  }
}

/** The few there are, each one object. */
const tlsVersions = new Map<string, Known<string>>()

function tlsVersionOf(version: string): Known<string> {
  const earlier = tlsVersions.get(version)
  if (earlier !== undefined) return earlier
  const known: Known<string> = { known: true, value: version }
  if (tlsVersions.size < 8) tlsVersions.set(version, known)
  return known
}
