/**
 * Addresses that no app may be forwarded to, because what answers there trusts whoever reaches it: our own listeners, the
 * operations address, the session store, and the public names that lead back to us.
 *
 * Under a managed policy also what `upstreams.allow` does not list (`upstream-reach.ts`). Names are compared, not resolved: DNS may answer
 * differently later, so the forwarder checks the address it connects to as well.
 */

import type { AppAddress } from '../policy/document.ts'
import type { HostPort } from './instance.ts'
import type { KnownInstance } from './known-instance.ts'
import type { FoundApp, PolicyParts } from './policy-parts.ts'
import { type Path, quote } from './problems.ts'
import { createIssuerReach, createUpstreamReach, type UpstreamReach } from './upstream-reach.ts'
import { canReach, portOf, unbracket } from './web-address.ts'

interface Target extends HostPort {
  readonly path: Path
  readonly url: URL
  readonly hasCa: boolean
  readonly hasServerName: boolean
}

/** Reports upstreams that lead to Postern itself or to its store, and TLS settings that have no effect. */
export function checkUpstreams(apps: readonly FoundApp[], instance: KnownInstance, accessUrl: URL | undefined): void {
  const ours: OurAddresses = {
    instance,
    accessOrigin: accessUrl?.origin,
    appOrigins: new Set(apps.map(({ app }) => (app.url as AppAddress | undefined)?.origin)),
    reach: instance.managed === undefined ? undefined : createUpstreamReach(instance.managed.allow),
  }
  for (const found of apps) checkApp(found, ours)
}

/** Reports issuers of a managed policy whose keys would be fetched from where it may not lead. */
export function checkIssuerAddresses({ services }: PolicyParts, { managed }: KnownInstance): void {
  if (managed === undefined) return
  const reach = createIssuerReach(managed.allow)
  for (const { path, report, service } of services.values()) {
    for (const [key, address] of [
      ['issuer', service.issuer],
      ['jwks_uri', service.jwksUri],
    ] as const) {
      if (address === undefined) continue
      const url = new URL(address)
      if (reach.judgeHost(url.hostname, portOf(url)) !== 'refused') continue
      report.problem([...path, 'jwt', key], 'a managed policy fetches keys from no inner address that `upstreams.allow` does not list')
    }
  }
}

interface OurAddresses {
  readonly instance: KnownInstance
  readonly accessOrigin: string | undefined
  readonly appOrigins: ReadonlySet<string | undefined>
  /** Of a managed policy. */
  readonly reach: UpstreamReach | undefined
}

function checkApp(found: FoundApp, ours: OurAddresses): void {
  const seen = new Set<string>()
  for (const target of findTargets(found)) {
    const problem = explainForbidden(target, ours)
    if (problem !== undefined) found.report.problem(target.path, problem)
    else if (ours.reach?.judgeHost(target.host, target.port) === 'refused') reportOutOfReach(found, target, ours.instance)
    if (seen.has(target.url.href)) found.report.problem(target.path, 'this upstream is already in the list')
    seen.add(target.url.href)
    if (target.url.protocol === 'http:' && (target.hasCa || target.hasServerName)) {
      found.report.problem(target.path, 'ca_file and server_name have no effect on an http:// upstream', {
        suggestion: 'write `https://`, or remove them',
      })
    }
  }
}

function reportOutOfReach({ report }: FoundApp, { path }: Target, { managed }: KnownInstance): void {
  if (managed?.allow === undefined) {
    report.problem(path, 'a managed policy leads to no service of this machine itself', {
      suggestion: 'list it in `upstreams.allow` of the instance configuration, if that is meant',
    })
  } else {
    report.problem(path, 'a managed policy leads only to where `upstreams.allow` of the instance configuration allows it', {
      expected: `one of ${managed.allow.slice(0, 5).map(quote).join(', ')}${managed.allow.length > 5 ? ' …' : ''}`,
    })
  }
}

function findTargets({ app, path }: FoundApp): Target[] {
  const written = app.upstream
  const list = Array.isArray(written) ? written : [written]
  return list.flatMap((entry, index): Target[] => {
    const at = [...path, 'upstream', ...(Array.isArray(written) ? [index] : [])]
    const isMap = entry !== undefined && !('basePath' in entry)
    const parsed = isMap ? entry.url : entry
    if (parsed === undefined) return []
    const { url } = parsed
    return [
      {
        path: isMap ? [...at, 'url'] : at,
        url,
        host: unbracket(url.hostname),
        port: portOf(url),
        hasCa: isMap && entry.ca_file !== undefined,
        hasServerName: isMap && entry.server_name !== undefined,
      },
    ]
  })
}

function explainForbidden(target: Target, { instance, accessOrigin, appOrigins }: OurAddresses): string | undefined {
  if (instance.operations !== undefined && canReach(target, instance.operations)) return "this is Postern's own operations address"
  if (instance.listen !== undefined && canReach(target, instance.listen))
    return "this is Postern's own listener: requests would go round in circles"
  if (instance.httpRedirect !== undefined && canReach(target, instance.httpRedirect)) return "this is Postern's own redirecting listener"
  if (instance.stores?.some((store) => canReach(target, store)) === true) return 'this is the session store'
  if (accessOrigin === target.url.origin) return 'this is the access host: requests would go round in circles'
  return appOrigins.has(target.url.origin) ? 'this is the public address of an app: requests would go round in circles' : undefined
}
