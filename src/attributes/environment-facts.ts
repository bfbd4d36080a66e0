/**
 * Facts about the circumstances of a request: place, transport, and what the user agent says of itself.
 *
 * Trusts the listener for address and transport, and the operator's databases for places. The user agent is a hint and never
 * proof. What no rule of the app asks for is not looked up and is `not_gathered`, so that it can never be mistaken for a fact.
 */

import type { ClientFacts, EnvironmentFacts, FactGroup, Known } from '../policy/facts.ts'

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

/** Looks up what `needs` names, and nothing else. Never throws, never waits. */
export type EnvironmentReader = (seen: Circumstances, needs: ReadonlySet<FactGroup>) => EnvironmentFacts

const notGathered: Known<never> = { known: false, why: 'not_gathered' }
const noDatabase: Known<never> = { known: false, why: 'no_database' }
const unknownClient: ClientFacts = { browser: notGathered, browserVersion: notGathered, os: notGathered }

/** A reader without databases. */
export const readBareEnvironment: EnvironmentReader = ({ address, at, scheme, tlsVersion }, needs) => ({
  address,
  at,
  country: needs.has('country') ? noDatabase : notGathered,
  asn: needs.has('asn') ? noDatabase : notGathered,
  scheme,
  tlsVersion: tlsVersion === undefined ? { known: false, why: 'not_gathered' } : { known: true, value: tlsVersion },
  client: unknownClient,
})
