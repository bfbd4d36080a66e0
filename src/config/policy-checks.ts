/**
 * What can be wrong with policy documents although each value is well formed: apps that claim one address, names that nothing
 * defines, openings that nobody wants. All files of a policy are judged together, each problem at its own place.
 *
 * Works on what could be read: one bad rule in one app hides nothing in another. Errors are what has no safe meaning; warnings are
 * what is safe, or meant by nobody.
 */

import type { AppAddress, Who } from '../policy/document.ts'
import { checkIdentityHeaders } from './identity-checks.ts'
import type { InstanceConfiguration } from './instance.ts'
import type { Partially } from './parse-value.ts'
import type { WrittenApp, WrittenPolicy, WrittenRule } from './policy-schema.ts'
import { type Path, printPath, quote, type Report, suggestNearest } from './problems.ts'
import { checkUpstreams } from './upstream-checks.ts'
import { partsOf } from './who-schema.ts'

/** One file of the policy, as far as it could be read. */
export interface ReadPolicy {
  readonly parts: Partially<WrittenPolicy>
  readonly report: Report
}

/** An app with its place. */
export interface FoundApp {
  readonly app: Partially<WrittenApp>
  readonly path: Path
  readonly report: Report
}

/** Reports on everything that needs more than one value. `instance` is what is known of the configuration. */
export function checkPolicy(files: readonly ReadPolicy[], instance: Partial<InstanceConfiguration>): void {
  const apps = files.flatMap(findApps)
  const ids = new Set(apps.map(({ app }) => app.id).filter((id) => id !== undefined))
  checkIds(apps)
  checkAddresses(apps, instance.url)
  checkRuleNames(
    files.flatMap(({ parts, report }) => (parts.rules ?? []).map((rule, index) => ({ rule, index, path: ['rules', index], report }))),
  )
  for (const file of files) checkCompanyRules(file, ids)
  for (const found of apps) {
    checkAppRules(found)
    checkReferences(found, ids, instance)
    checkUpstreams(found, instance, apps)
  }
  warnAboutSharedOrigins(apps)
  checkZones(files)
}

function findApps({ parts, report }: ReadPolicy): FoundApp[] {
  return (parts.apps ?? []).flatMap((app, index) => (app === undefined ? [] : [{ app, path: ['apps', index], report }]))
}

/** How another place is named in a message: by line within the same file, with the file otherwise. */
function namePlace(found: { readonly report: Report; readonly path: Path }, from: Report): string {
  const { file, line } = found.report.place(found.path)
  return from.file === file ? `in line ${line}` : `in ${file}:${line}`
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

function nameOf({ app, path }: FoundApp): string {
  return quote(app.id ?? printPath(path))
}

function checkCompanyRules({ parts, report }: ReadPolicy, ids: ReadonlySet<string>): void {
  const rules = parts.rules ?? []
  for (const [index, rule] of rules.entries()) {
    if (rule === undefined) continue
    const path = ['rules', index]
    checkWho(rule, path, report)
    for (const [position, id] of (rule.apps ?? []).entries()) {
      if (id !== undefined && !ids.has(id))
        report.problem([...path, 'apps', position], `there is no app ${quote(id)}`, { suggestion: suggestNearest(id, ids) })
    }
    const isOpen = rule.allow !== undefined && findWide(rule.allow as Who) !== undefined && rule.apps === undefined
    const reachesRestricted = rule.sensitivity === undefined || rule.sensitivity.includes('restricted')
    if (isOpen && reachesRestricted)
      report.warning([...path, 'allow'], 'this lets a very wide circle into every app, restricted ones included')
  }
}

function checkAppRules({ app, path, report }: FoundApp): void {
  const rules = app.rules ?? []
  if (rules.length === 0) {
    report.warning(path, `the app ${nameOf({ app, path, report })} has no rules: it is reachable by nobody unless a company rule allows it`)
  }
  checkRuleNames(rules.map((rule, index) => ({ rule, index, path: [...path, 'rules', index], report })))
  for (const [index, rule] of rules.entries()) {
    if (rule === undefined) continue
    const at = [...path, 'rules', index]
    checkWho(rule, at, report)
    const wide = rule.allow === undefined ? undefined : findWide(rule.allow as Who)
    if (wide !== undefined && app.sensitivity === 'restricted') report.warning([...at, 'allow'], `\`${wide}\` on a restricted app`)
    // A rule that could not be read may well be the one that allows.
    const isReadable = rules.every((other) => other?.allow !== undefined || other?.deny !== undefined)
    if (isReadable && !rules.some((other) => other?.allow !== undefined) && index === 0) {
      report.warning(
        [...path, 'rules'],
        `no rule of the app ${nameOf({ app, path, report })} allows anybody: it is reachable by nobody unless a company rule allows it`,
      )
    }
  }
}

/** The selector in an allow that nearly everybody meets. */
function findWide(who: Who): string | undefined {
  if (who.kind === 'public' || who.kind === 'everyone' || who.kind === 'signed_in') return who.kind
  return who.kind === 'any_of' ? who.of.map(findWide).find((kind) => kind !== undefined) : undefined
}

interface FoundRule {
  readonly rule: Partially<WrittenRule> | undefined
  /** Within its list. */
  readonly index: number
  readonly path: Path
  readonly report: Report
}

/** Company rules of all files are one list: two of a name could not be told apart in an explanation. */
function checkRuleNames(rules: readonly FoundRule[]): void {
  const seen = new Map<string, FoundRule>()
  for (const found of rules) {
    const { rule, index, path, report } = found
    if (rule === undefined) continue
    const name = rule.name ?? defaultRuleName(rule, index)
    const earlier = seen.get(name)
    if (earlier === undefined) seen.set(name, found)
    else {
      report.problem(
        [...path, ...(rule.name === undefined ? [] : ['name'])],
        `the rule ${quote(name)} is already there ${namePlace(earlier, report)}`,
        {
          suggestion: 'give each rule a name of its own: explanations and audit speak of rules by name',
        },
      )
    }
  }
}

/** Name of a rule that has none: verb and position, counted from 1. */
export function defaultRuleName(rule: { readonly allow?: unknown }, index: number): string {
  return `${rule.allow === undefined ? 'deny' : 'allow'} ${index + 1}`
}

function checkWho(rule: Partially<WrittenRule>, path: Path, report: Report): void {
  for (const verb of ['allow', 'deny'] as const) {
    const who = rule[verb] as Who | undefined
    if (who === undefined) continue
    const at = [...path, verb]
    for (const part of partsOf(who)) {
      if (part.kind === 'services') {
        for (const name of part.names)
          report.problem(at, `no service ${quote(name)} is defined`, { expected: 'a service that the document defines' })
      } else if (part.kind === 'public' && verb === 'deny') {
        report.problem(at, '`public` stands in `allow` only', { suggestion: 'write `everyone: true` to keep everybody out' })
      } else if (part.kind === 'all_of' && part.of.some((inner) => [...partsOf(inner)].some(({ kind }) => kind === 'public'))) {
        report.problem(at, '`public` cannot be narrowed by `all_of`: nobody need sign in, so nothing is known of them')
      }
    }
  }
}

function checkReferences({ app, path, report }: FoundApp, ids: ReadonlySet<string>, instance: Partial<InstanceConfiguration>): void {
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
      } else if (value?.secret !== undefined && instance.secrets !== undefined && !instance.secrets.has(value.secret)) {
        report.problem([...at, 'secret'], `the instance configuration has no secret ${quote(value.secret)}`, {
          suggestion: suggestNearest(value.secret, instance.secrets.keys()),
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
    const general = limit === 'lifetime' ? instance.session?.lifetimeSeconds : instance.session?.idleTimeoutSeconds
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
