/**
 * What can be wrong with policy documents although each value is well formed: apps that claim one address, names that nothing
 * defines, openings that nobody wants. All files of a policy are judged together, each problem at its own place.
 *
 * Works on what could be read: one bad rule in one app hides nothing in another. Errors are what has no safe meaning; warnings are
 * what is safe, or meant by nobody.
 */

import type { AppAddress } from '../policy/document.ts'
import { checkRecording } from './audit-checks.ts'
import { checkBearerTokens } from './bearer-checks.ts'
import { checkContradictions } from './contradiction-checks.ts'
import { checkCoverage } from './coverage-checks.ts'
import { checkExpressions } from './expression-checks.ts'
import { checkFacts } from './fact-checks.ts'
import { checkIdentityHeaders } from './identity-checks.ts'
import type { KnownInstance } from './known-instance.ts'
import { type FoundApp, gatherParts, nameOf, namePlace, type PolicyParts, type ReadPolicy } from './policy-parts.ts'
import { quote, suggestNearest } from './problems.ts'
import { checkReferences } from './reference-checks.ts'
import { checkRules } from './rule-checks.ts'
import { checkIssuerAddresses, checkUpstreams } from './upstream-checks.ts'

/**
 * Reports on everything that needs more than one value. `instance` is what is known of the configuration, `today` (`YYYY-MM-DD`) a day
 * that has begun everywhere; what depends on either is left out where it is not known. Returns the parts that were judged.
 */
export function checkPolicy(files: readonly ReadPolicy[], instance: KnownInstance, today: string | undefined): PolicyParts {
  const policy = gatherParts(files)
  const { apps } = policy
  const ids = new Set(apps.map(({ app }) => app.id).filter((id) => id !== undefined))
  checkIds(apps)
  const accessUrl = instance.url === undefined ? undefined : new URL(instance.url)
  checkAddresses(apps, accessUrl)
  const canFollowLevels = checkReferences(policy, instance, accessUrl)
  checkExpressions(policy)
  checkRules(policy)
  for (const found of apps) checkApp(found, ids, instance)
  checkUpstreams(apps, instance, accessUrl)
  checkIssuerAddresses(policy, instance)
  warnAboutSharedOrigins(apps)
  checkZones(files)
  if (!canFollowLevels) return policy
  const { sources } = instance
  if (sources !== undefined) checkFacts(policy, sources)
  checkContradictions(policy, today)
  checkBearerTokens(policy)
  checkRecording(policy, instance)
  checkCoverage(policy, sources)
  return policy
}

function checkIds(apps: readonly FoundApp[]): void {
  const first = new Map<string, FoundApp>()
  for (const found of apps) {
    const id = found.app.id
    if (id === undefined) continue
    const earlier = first.get(id)
    if (earlier === undefined) first.set(id, found)
    else found.report.problem([...found.path, 'id'], `the app ${quote(id)} is already defined ${namePlace(earlier, found.report)}`)
  }
}

function checkAddresses(apps: readonly FoundApp[], accessUrl: URL | undefined): void {
  const byAddress = new Map<string, FoundApp>()
  const byHostname = new Map<string, { readonly port: number; readonly found: FoundApp }>()
  for (const found of apps) {
    const address = found.app.url as AppAddress | undefined
    if (address === undefined) continue
    const path = [...found.path, 'url']
    const { report } = found

    const key = `${address.hostname}:${address.port}${address.prefix}`
    const sameAddress = byAddress.get(key)
    const sameHost = byHostname.get(address.hostname)
    if (sameAddress !== undefined) {
      report.problem(path, `this address is already claimed by the app ${nameOf(sameAddress)} ${namePlace(sameAddress, report)}`)
    } else if (sameHost !== undefined && sameHost.port !== address.port) {
      report.problem(path, `the host is used with port ${sameHost.port} ${namePlace(sameHost.found, report)}; one hostname has one port`, {
        suggestion: 'browsers share cookies between ports: give the app a hostname of its own',
      })
    }
    if (sameAddress === undefined) byAddress.set(key, found)
    if (sameHost === undefined) byHostname.set(address.hostname, { port: address.port, found })
    if (accessUrl === undefined) continue

    if (address.hostname === accessUrl.hostname) {
      report.problem(path, 'this is the hostname of the access host, which carries no app on any port or path', {
        suggestion: 'give the app a hostname of its own',
      })
    }
    const isHttp = address.origin.startsWith('http:')
    if (isHttp && accessUrl.protocol === 'https:') {
      report.problem(path, 'the access host is https://, so this app must be too: its cookie would travel in the clear', {
        suggestion: `write \`https://${address.origin.slice('http://'.length)}${address.prefix === '/' ? '' : address.prefix}\``,
      })
    } else if (!isHttp && accessUrl.protocol === 'http:') {
      report.warning(path, 'the access host is http://, this app https://: signing in happens in the clear')
    }
  }
}

function checkApp({ app, path, report }: FoundApp, ids: ReadonlySet<string>, instance: KnownInstance): void {
  for (const [position, id] of (app.called_by ?? []).entries()) {
    const at = [...path, 'called_by', position]
    if (id === undefined) continue
    if (id === app.id) report.problem(at, "an app's own pages need not be named", { suggestion: 'remove it' })
    else if (!ids.has(id)) report.problem(at, `there is no app ${quote(id)}`, { suggestion: suggestNearest(id, ids) })
  }
  for (const key of ['set_request_headers', 'set_response_headers'] as const) {
    const names = new Map<string, string>()
    for (const [name, value] of Object.entries(app[key] ?? {})) {
      const at = [...path, key, name]
      if (names.has(name.toLowerCase())) report.problem(at, 'this header is set twice', { at: 'key' })
      names.set(name.toLowerCase(), name)
      if (typeof value === 'string') {
        if (/^(?:(?:proxy-)?authorization|x-api-key|.*-(?:token|secret|api-key))$/i.test(name)) {
          report.warning(at, 'this looks like a secret in a document that is shown and recorded', {
            suggestion: 'write `{ secret: NAME }` and define NAME in the instance configuration',
          })
        }
      } else if (value?.secret !== undefined && instance.secretNames !== undefined && !instance.secretNames.has(value.secret)) {
        report.problem([...at, 'secret'], `the instance configuration has no secret ${quote(value.secret)}`, {
          suggestion: suggestNearest(value.secret, instance.secretNames),
        })
      }
    }
  }
  for (const [position, pattern] of (app.cross_site_posts ?? []).entries()) {
    if (pattern === '/**' || pattern === `${(app.url as AppAddress | undefined)?.prefix}/**`)
      report.warning(
        [...path, 'cross_site_posts', position],
        'any site may post to every page of this app in the name of whoever is signed in',
        {
          suggestion: 'name the single endpoints that need it',
        },
      )
  }
  checkIdentityHeaders(app, path, report)
  for (const limit of ['idle_timeout', 'lifetime'] as const) {
    const own = app.session?.[limit]
    const general = limit === 'lifetime' ? instance.lifetimeSeconds : instance.idleTimeoutSeconds
    if (own !== undefined && general !== undefined && own > general) {
      report.warning([...path, 'session', limit], `this is longer than the instance's ${limit}, which holds as well`)
    }
  }
  const address = app.url as AppAddress | undefined
  if (app.strip_prefix === true && address?.prefix === '/') report.warning([...path, 'strip_prefix'], 'the URL has no path prefix to cut')
}

function warnAboutSharedOrigins(apps: readonly FoundApp[]): void {
  const firstAt = new Map<string, FoundApp>()
  for (const found of apps) {
    const origin = (found.app.url as AppAddress | undefined)?.origin
    if (origin === undefined) continue
    const first = firstAt.get(origin)
    if (first === undefined) firstAt.set(origin, found)
    else if (found.app.sensitivity !== first.app.sensitivity || rulesOf(found) !== rulesOf(first)) {
      found.report.warning(
        [...found.path, 'url'],
        `the apps ${nameOf(first)} and ${nameOf(found)} share an origin but not their rules or sensitivity: script of one can act as the other`,
        { suggestion: 'give the more sensitive one a hostname of its own' },
      )
    }
  }
}

function rulesOf({ app }: FoundApp): string {
  return JSON.stringify((app.rules ?? []).map((rule) => ({ ...rule, name: undefined })))
}

function checkZones(files: readonly ReadPolicy[]): void {
  const [first, ...others] = files.filter(({ parts }) => parts.zone !== undefined)
  for (const other of others) {
    if (first !== undefined && other.parts.zone !== first.parts.zone) {
      other.report.problem(
        ['zone'],
        `the policy already has another time zone ${namePlace({ report: first.report, path: ['zone'] }, other.report)}`,
      )
    }
  }
}
