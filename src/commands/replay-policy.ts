/**
 * A policy document as a replay asks it: the routes that requests would take, and what the rules of each app can look at.
 *
 * It goes through the very functions that requests go through (host, prefix, spelling of paths, where tokens count), so that a recorded
 * request reaches the app that it would reach.
 */

import { isDeepStrictEqual } from 'node:util'
import type { ReplayPolicy, ReplayRoute } from '../administration/replay.ts'
import { fingerprintServices } from '../attributes/service-callers.ts'
import { compileRoutes, matchRoute, type Route } from '../enforcement/route-table.ts'
import { parsePath } from '../enforcement/target.ts'
import { type AskedFacts, collectAskedFacts } from '../policy/asked-facts.ts'
import { compilePolicy } from '../policy/compile.ts'
import type { PolicyDocument, Service } from '../policy/document.ts'

/** Compiles a checked document. `live` is the one in force. */
export function compileReplayPolicy(document: PolicyDocument, live: Pick<PolicyDocument, 'services' | 'version'>): ReplayPolicy {
  const routes = compileRoutes(document, compilePolicy(document))
  const asked = collectAskedFacts(document)
  const replayed = new Map(routes.routes.map((route) => [route, describeRoute(route, asked.get(route.app.id))]))
  return {
    version: document.version,
    find(hostname, path, isPathWhole) {
      const host = routes.findHostname(hostname)
      if (host === undefined) return undefined
      const [only, ...more] = host.routes
      if (!isPathWhole) return more.length === 0 && only.app.address.prefix === '/' ? replayed.get(only) : 'unclear'
      const route = matchRoute(host, path)
      return route === undefined ? undefined : replayed.get(route)
    },
    services: {
      liveVersion: live.version,
      issuers: new Set(document.services.map(({ issuer }) => issuer)),
      fingerprint: (issuer) => fingerprintServices(document.services, issuer),
      ...compareServices(document.services, live.services),
    },
  }
}

function describeRoute(route: Route, asked: AskedFacts | undefined): ReplayRoute {
  if (asked === undefined) throw new TypeError(`nothing is known of the rules of ${route.app.id}`)
  return { app: route.policy, asked, takesBearer: route.takesBearer, accepts: (path) => isAccepted(path, route) }
}

/** A recorded path is canonical; what only some apps may receive can still be seen in it. */
function isAccepted(path: string, { keeps }: Route): boolean {
  if (!path.includes('%2F') && !path.includes('//') && !path.includes(';') && !path.includes('%3B')) return true
  return parsePath(path)?.uses.every((unusual) => keeps.has(unusual)) === true
}

function compareServices(services: readonly Service[], live: readonly Service[]): Pick<ReplayPolicy['services'], 'kept' | 'changed'> {
  const before = new Map(live.map((service) => [service.name, service]))
  const isKept = (service: Service) => isDeepStrictEqual(service, before.get(service.name))
  return {
    kept: new Set(services.filter(isKept).map(({ name }) => name)),
    changed: services.filter((service) => !isKept(service)).map(({ issuer, name }) => ({ issuer, name })),
  }
}
