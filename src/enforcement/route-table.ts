/**
 * The route table: from host and canonical path to one app. Compiled with the policy, read by every request, never changed.
 *
 * Hosts are an exact map; there is no default app and no wildcard, so an unknown Host can only be "not found". One hostname has one
 * port: another port in Host is another address, and nobody has that. Among the apps of one origin the longest prefix wins, cut at
 * a segment boundary, so that `/wiki` is never a way into `/wiki-admin`.
 */

import type { CompiledPolicy } from '../policy/compile.ts'
import type { App, PathRule, PolicyDocument, Service } from '../policy/document.ts'
import type { SubjectFacts } from '../policy/facts.ts'
import { compilePathPattern, type PathMatcher } from '../policy/path-pattern.ts'
import { compileServicePaths } from '../policy/service-paths.ts'
import { type Steps, takeSteps } from '../policy/steps.ts'
import type { Route as ForwardedRoute, Target } from './exchange.ts'

/** An app as the request path sees it, with everything that would otherwise be worked out again for each request. */
export interface Route extends ForwardedRoute {
  /** The app's origin, for cookies of ours and for comparing. */
  readonly origin: URL
  /** The app's public URL without trailing slash: `aud` of its assertions. */
  readonly audience: string
  /** Origins of the apps whose pages may send writes and open WebSockets here with the person's cookie. */
  readonly calledBy: ReadonlySet<string>
  /** `cross_site_posts`. */
  readonly opensToOtherSites: PathMatcher
  readonly keeps: ReadonlySet<PathRule>
  /** Where a bearer token is ours to judge. */
  readonly takesBearer: PathMatcher
  /** Every service of the document; the same list for as long as the policy is. */
  readonly services: readonly Service[]
  readonly recording: RouteRecording
}

/** How requests for one app are recorded. */
export interface RouteRecording {
  readonly paths: App['audit']['paths']
  /** A request that is allowed waits until its decision is on the disk (`durability: group`). */
  readonly isAwaited: boolean
  /** What cannot be recorded is refused (`when_full: deny`). */
  readonly isDemanded: boolean
}

/** What the instance says for apps that do not say it themselves; `undefined`: their sensitivity decides. */
export type RecordingDefaults = Pick<App['audit'], 'durability' | 'whenFull'>

/** Every app of one origin. */
export interface AppHost {
  readonly origin: URL
  /** Longest prefix first. */
  readonly routes: readonly [Route, ...Route[]]
}

export interface RouteTable {
  /** The origin behind a Host; `port` is what Host named, `undefined` standing for the scheme's own. */
  findHost(hostname: string, port: number | undefined): AppHost | undefined
  /** The origin that owns this hostname on whatever port, for redirects from `http_redirect`. */
  findHostname(hostname: string): AppHost | undefined
  /** Of every app, in no particular order. */
  readonly routes: readonly Route[]
}

/** What of a document routes depend on. */
type RoutedDocument = Pick<PolicyDocument, 'apps' | 'rules' | 'levels' | 'services'>

/** Compiles the apps of a checked document. Throws `TypeError` where two apps claim one address or an app has no policy. */
export function compileRoutes(document: RoutedDocument, policy: CompiledPolicy, defaults?: RecordingDefaults): RouteTable {
  return takeSteps(compileRoutesInSteps(document, policy, defaults))
}

/** The same an app at a time, for whoever has requests to serve in between. */
export function* compileRoutesInSteps(
  document: RoutedDocument,
  policy: CompiledPolicy,
  defaults: RecordingDefaults = bySensitivity,
): Steps<RouteTable> {
  const { apps } = document
  const origins = new Map(apps.map((app) => [app.id, app.address.origin]))
  const routes: Route[] = []
  const hosts = new Map<string, AppHost>()
  for (const app of apps) {
    yield
    const route = { ...compileRoute(app, document, policy, origins), recording: compileRecording(app, defaults) }
    routes.push(route)
    const { hostname, origin, prefix } = route.app.address
    const host = hosts.get(hostname)
    if (host !== undefined && host.origin.origin !== origin) throw new TypeError(`${hostname} is claimed by two origins`)
    if (host?.routes.some(({ app }) => app.address.prefix === prefix)) throw new TypeError(`${origin}${prefix} is claimed by two apps`)
    const [first, ...rest] = [...(host?.routes ?? []), route].sort((a, b) => b.app.address.prefix.length - a.app.address.prefix.length)
    hosts.set(hostname, { origin: route.origin, routes: [first ?? route, ...rest] })
  }

  return {
    routes,
    findHost(hostname, port) {
      const host = hosts.get(hostname)
      return host !== undefined && isHostOf(host.origin, { hostname, port }) ? host : undefined
    },
    findHostname: (hostname) => hosts.get(hostname),
  }
}

/** The app that a canonical path of this host belongs to. */
export function matchRoute(host: AppHost, path: string): Route | undefined {
  return host.routes.find(({ app }) => isWithin(path, app.address.prefix))
}

/** Whether an authority is that of `url`: one hostname has one port, named or not. */
export function isHostOf(url: URL, { hostname, port }: Pick<Target, 'hostname' | 'port'>): boolean {
  const own = authorityOf(url)
  return hostname === own.hostname && (port ?? own.defaultPort) === own.port
}

/** Of a public URL. */
export function schemeOf(url: URL): 'https' | 'http' {
  return authorityOf(url).scheme
}

interface Authority {
  readonly scheme: 'https' | 'http'
  readonly hostname: string
  readonly port: number
  readonly defaultPort: number
}

const authorities = new WeakMap<URL, Authority>()

/** Read once: each part of a URL is cut out of its text anew whenever it is asked for, and this is asked twice a request. */
function authorityOf(url: URL): Authority {
  let known = authorities.get(url)
  if (known === undefined) {
    const scheme = url.protocol === 'https:' ? 'https' : 'http'
    const defaultPort = scheme === 'https' ? 443 : 80
    known = { scheme, hostname: url.hostname, port: url.port === '' ? defaultPort : Number(url.port), defaultPort }
    authorities.set(url, known)
  }
  return known
}

/** Whether the app is hidden and holds nothing at all for this subject, so that even its existence is none of their business. */
export function isHiddenFrom({ app, policy }: Route, subject: SubjectFacts): boolean {
  return app.portal === 'hidden' && !policy.allows.some((rule) => rule.who.judge(subject) === 'true')
}

const bySensitivity: RecordingDefaults = { durability: undefined, whenFull: undefined }

/** The app's own word goes before the instance's, and that before what its sensitivity asks for. */
function compileRecording({ audit, sensitivity }: App, defaults: RecordingDefaults): RouteRecording {
  const isRestricted = sensitivity === 'restricted'
  return {
    paths: audit.paths,
    isAwaited: (audit.durability ?? defaults.durability ?? (isRestricted ? 'group' : 'relaxed')) === 'group',
    isDemanded: (audit.whenFull ?? defaults.whenFull ?? (isRestricted ? 'deny' : 'drop')) === 'deny',
  }
}

function compileRoute(
  app: App,
  document: RoutedDocument,
  policy: CompiledPolicy,
  origins: ReadonlyMap<string, string>,
): Omit<Route, 'recording'> {
  const compiled = policy.apps.get(app.id)
  if (compiled === undefined) throw new TypeError(`app ${app.id} has no compiled policy`)
  const posts = app.crossSitePosts.map((pattern) => compilePathPattern(pattern, 'exact'))
  return {
    app,
    policy: compiled,
    origin: new URL(app.address.origin),
    audience: app.address.prefix === '/' ? app.address.origin : app.address.origin + app.address.prefix,
    calledBy: new Set(app.calledBy.flatMap((id) => origins.get(id) ?? [])),
    opensToOtherSites: (path) => posts.some((matches) => matches(path)),
    keeps: new Set(app.pathRules),
    takesBearer: compileServicePaths(app, document),
    services: document.services,
  }
}

function isWithin(path: string, prefix: string): boolean {
  return prefix === '/' || path === prefix || path.startsWith(`${prefix}/`)
}
