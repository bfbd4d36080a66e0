/**
 * Addresses between the two worlds: the path an upstream is asked for, and the public address behind a URL it answers with.
 *
 * A prefix is cut at a segment boundary only: `/wikileaks` is not below `/wiki`. An app that redirects to its own internal origin
 * is answered with its public one, so that the internal name neither leaks nor breaks the redirect; every other `Location` is the
 * app's business and passes untouched. Redirects are never followed.
 */

import type { App, Upstream } from '../policy/document.ts'
import type { Target } from './exchange.ts'

/** The request target for `upstream`, from the canonical one that was decided on. */
export function upstreamTarget(app: App, upstream: Upstream, { path, query }: Target): string {
  return upstream.basePath + (app.stripPrefix ? stripPrefix(path, app.address.prefix) : path) + query
}

function stripPrefix(path: string, prefix: string): string {
  if (prefix === '/' || !path.startsWith(prefix)) return path
  if (path.length === prefix.length) return '/'
  return path[prefix.length] === '/' ? path.slice(prefix.length) : path
}

/** Returns a function from a `Location` of this app to the one the client gets. */
export function createLocationRewriter(app: App): (location: string) => string {
  const upstreams = app.upstreams.map(({ origin, basePath }) => ({ origin: new URL(origin).origin, basePath }))
  const bases = upstreams.map(({ origin }) => origin)

  return (location) => {
    // Nearly all are paths; only something with an authority can name the upstream.
    const colon = location.indexOf(':')
    if (!/^[/\\]{2}/.test(location) && (colon === -1 || colon > 8)) return location
    for (const base of bases) {
      const url = URL.parse(location, base)
      const upstream = url === null ? undefined : upstreams.find(({ origin }) => origin === url.origin)
      if (url === null || upstream === undefined) continue
      return app.address.origin + publicPath(app, upstream.basePath, url.pathname) + url.search + url.hash
    }
    return location
  }
}

function publicPath(app: App, basePath: string, path: string): string {
  const below = basePath !== '' && (path === basePath || path.startsWith(`${basePath}/`)) ? path.slice(basePath.length) || '/' : path
  if (!app.stripPrefix || app.address.prefix === '/') return below
  return below === '/' ? `${app.address.prefix}/` : app.address.prefix + below
}
