/**
 * What `check --live` says about files that are read while Postern runs: databases of places, authorities of device certificates and their
 * revocation lists.
 *
 * Each is loaded by the very code that an instance loads it with. That a file is configured at all, and is there, the check of the
 * configuration has said already.
 */

import { describePlaces, type PlaceReport } from '../attributes/place-database.ts'
import type { ClientCertificateConfiguration, InstanceConfiguration } from '../config/instance.ts'
import { quote } from '../config/problems.ts'
import { isPosternError } from '../errors.ts'
import type { Logger } from '../log.ts'
import { compilePolicy } from '../policy/compile.ts'
import type { PolicyDocument } from '../policy/document.ts'
import { type ProbeResult, result } from './probe-result.ts'

const dayMs = 86_400_000

/** Addresses move between countries and networks all the time; vendors publish weekly or monthly. */
const oldDatabaseMs = 60 * dayMs

/** A new authority has to reach every laptop before the old one runs out. */
const authoritySoonMs = 60 * dayMs

/** Databases of places: whether they can be read, are of the right kind, and are young enough. */
export async function checkPlaces({ facts }: Pick<InstanceConfiguration, 'facts'>, at: number): Promise<readonly ProbeResult[]> {
  const { country, asn } = await describePlaces(facts)
  return [...judgePlaces('country_file', country, at), ...judgePlaces('asn_file', asn, at)]
}

function judgePlaces(key: 'country_file' | 'asn_file', report: PlaceReport | undefined, at: number): readonly ProbeResult[] {
  if (report === undefined) return []
  const probe = `facts.${key}`
  const { database, problem } = report
  if (database === undefined) {
    // That it is not there at all stands among the warnings of the configuration.
    if (problem?.startsWith('ENOENT') === true) return []
    return [result(probe, 'warning', 'the file is no database that can be read: what it would say is unknown', 'use a .mmdb file')]
  }
  const { builtAt, type } = database
  const built = new Date(builtAt).toISOString().slice(0, 10)
  const kind = key === 'country_file' ? 'countries' : 'autonomous systems'
  if (isOfOtherKind(key, type)) {
    return [result(probe, 'warning', `${quote(type)} does not tell ${kind}: they are unknown for everybody`, 'exchange the file')]
  }
  const days = Math.floor((at - builtAt) / dayMs)
  if (at - builtAt > oldDatabaseMs)
    return [result(probe, 'warning', `${quote(type)} was made on ${built}, ${days} days ago`, 'addresses have moved since: update it')]
  return [result(probe, 'good', `${quote(type)} of ${built}`)]
}

/** By the names that vendors give; one that says neither may be either. */
function isOfOtherKind(key: 'country_file' | 'asn_file', type: string): boolean {
  const hasCountries = /country|city|enterprise|location/i.test(type)
  const hasNetworks = /asn|isp/i.test(type)
  const hasOthers = /connection|domain|anonymous/i.test(type)
  return key === 'country_file' ? !hasCountries && (hasNetworks || hasOthers) : !hasNetworks && (hasCountries || hasOthers)
}

/** Authorities and revocation lists of device certificates, and where devices will be asked for one. */
export async function checkDeviceCertificates(
  { clientCertificate: settings, url }: Pick<InstanceConfiguration, 'clientCertificate' | 'url'>,
  policy: PolicyDocument,
  { at, log }: { readonly at: number; readonly log: Logger },
): Promise<readonly ProbeResult[]> {
  if (settings === undefined) return []
  const asked = settings.from === 'listener' ? [describeAsked(url, policy)] : []
  return [...(await judgeTrust(settings, at, log)), ...asked]
}

async function judgeTrust(settings: ClientCertificateConfiguration, at: number, log: Logger): Promise<readonly ProbeResult[]> {
  // Loaded where it is needed: its library is twenty megabytes.
  const { loadClientTrust } = await import('../attributes/client-certificate-trust.ts')
  let trust: ReturnType<typeof loadClientTrust>
  try {
    // That a list ran out is said below, and not in the log as well.
    trust = loadClientTrust(settings, { now: () => at, log: { ...log, error: () => undefined } })
  } catch (error) {
    const message = isPosternError(error) ? error.message.replace(/^client_certificate: /, '') : 'the files cannot be read'
    return [result('client_certificate', 'problem', message, 'without it Postern does not start')]
  }
  const { authorities, lists } = trust.current()
  const inForce = authorities.filter(({ notAfter, notBefore }) => at >= notBefore && at <= notAfter)
  // One that is left over from a change of authorities does no harm.
  const refused = inForce.length > 0 ? 'warning' : 'problem'
  const results = authorities.map(({ notAfter, notBefore, x509 }) => {
    const probe = `device authority ${quote(lineOf(x509.subject))}`
    const day = dayOf(notAfter)
    if (at < notBefore) return result(probe, refused, 'it is not valid yet: every certificate of it is refused')
    if (at > notAfter) return result(probe, refused, `it expired on ${day}: every certificate of it is refused`)
    return notAfter - at < authoritySoonMs ? result(probe, 'warning', `it expires on ${day}`) : result(probe, 'good', `valid until ${day}`)
  })
  if (lists === undefined) {
    const message = 'there is no revocation list: a certificate counts until it runs out, unless its device is blocked'
    return [...results, result('client_certificate.crl_file', 'unknown', message)]
  }
  const listed = inForce.flatMap(({ subject, x509 }) => {
    const probe = `revocation list of ${quote(lineOf(x509.subject))}`
    const own = lists.filter((list) => list.issuer.equals(subject) && list.isFrom(x509))
    const newest = own.toSorted((a, b) => b.nextUpdate - a.nextUpdate)[0]
    if (newest === undefined)
      return [result(probe, 'warning', 'there is none in crl_file: every certificate of it is refused', 'add its list to the file')]
    const { nextUpdate, thisUpdate } = newest
    const until = new Date(nextUpdate).toISOString().slice(0, 16).replace('T', ' ')
    if (at >= nextUpdate)
      return [result(probe, 'problem', `it ran out on ${until} UTC: every certificate of it is refused`, 'fetch the next one')]
    // Some are renewed hourly, some monthly: what counts is that its successor is late.
    const isLate = nextUpdate - at < Math.min(dayMs, (nextUpdate - thisUpdate) / 10)
    return [result(probe, isLate ? 'warning' : 'good', `${isLate ? 'it runs out on' : 'good until'} ${until} UTC`)]
  })
  return [...results, ...listed]
}

/** The same hosts as the listener: where a rule looks at the device, and the access host. */
function describeAsked(url: URL, policy: PolicyDocument): ProbeResult {
  const compiled = compilePolicy(policy)
  const hosts = new Set<string>()
  for (const { address, id } of policy.apps) if (compiled.apps.get(id)?.needs.has('device') === true) hosts.add(address.hostname)
  const [...names] = [...hosts].sort()
  const shown = [url.hostname, ...names.slice(0, 9)].join(', ')
  const rest = names.length > 9 ? ` and ${names.length - 9} more` : ''
  return result('client_certificate', 'good', `browsers are asked for a certificate on ${shown}${rest}`)
}

/** A certificate's subject as Node prints it has one line for each part, the name last. */
function lineOf(subject: string): string {
  return subject.split('\n').at(-1) ?? subject
}

function dayOf(instant: number): string {
  return new Date(instant).toISOString().slice(0, 10)
}
