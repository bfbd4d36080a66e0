/**
 * Where a sign-in may end: an absolute URL on the exact origin of one of our apps, and nowhere else.
 *
 * The text is parsed once, by the parser that browsers use, and only what that parser prints is ever sent on: what was
 * compared is then what a browser follows. Control characters, white space and backslashes are refused before parsing,
 * since parsers and browsers disagree on them; so is every address under our own prefix, which would let one sign-in lead
 * to another. Refusal is `undefined`, and the person lands on the portal. Nothing here echoes what was refused.
 */

import type { App } from '../policy/document.ts'

/** Generous for a page of an app, small enough for a sealed cookie and every header limit on the way. */
const maxLength = 2048

/** The address in canonical form, without user information and fragment; `undefined` if it may not be a target. */
export function parseReturnUrl(text: string | undefined, apps: Iterable<{ readonly app: Pick<App, 'address'> }>): string | undefined {
  const url = parsePlainUrl(text)
  if (url === undefined || isOwnPath(url.pathname)) return undefined
  for (const { app } of apps) {
    if (app.address.origin !== url.origin) continue
    url.hash = ''
    return url.href.length <= maxLength ? url.href : undefined
  }
  return undefined
}

/**
 * The same for the one part of the access host that a sign-in may lead to: the pages of the console, which decide about whoever comes. Every other
 * page of that host is either open to everybody or leads on by itself.
 */
export function parseConsolePage(text: string | undefined, accessUrl: URL): string | undefined {
  const url = parsePlainUrl(text)
  if (url === undefined || url.origin !== accessUrl.origin) return undefined
  if (url.pathname !== '/console' && !url.pathname.startsWith('/console/')) return undefined
  url.hash = ''
  return url.href.length <= maxLength ? url.href : undefined
}

/** As browsers read it, if there is only one way to. */
function parsePlainUrl(text: string | undefined): URL | undefined {
  if (text === undefined || text.length > maxLength || !text.isWellFormed()) return undefined
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
  if (/[\u0000-\u0020\u007f-\u00a0\\]|\s|\p{Cf}/u.test(text)) return undefined
  if (!/^https?:\/\/[^/]/i.test(text)) return undefined
  const url = URL.parse(text)
  return url === null || url.username !== '' || url.password !== '' ? undefined : url
}

/** The data plane decodes unreserved characters before it looks for our prefix, so this does as well, and ignores case on top. */
function isOwnPath(path: string): boolean {
  const decoded = path.replace(/%([2-7][0-9a-f])/gi, (escaped, hex: string) => {
    const character = String.fromCharCode(Number.parseInt(hex, 16))
    return /[A-Za-z0-9\-._~]/.test(character) ? character : escaped
  })
  return /^\/+\.postern(\/|$)/i.test(decoded)
}

/** The app that a URL of ours leads to: the longest prefix of its origin, cut at a segment boundary. */
export function findAppOf<T extends { readonly app: Pick<App, 'address'> }>(url: string, apps: Iterable<T>): T | undefined {
  const { origin, pathname } = new URL(url)
  let found: T | undefined
  for (const candidate of apps) {
    const { address } = candidate.app
    const isWithin = address.prefix === '/' || pathname === address.prefix || pathname.startsWith(`${address.prefix}/`)
    if (address.origin === origin && isWithin && (found === undefined || address.prefix.length > found.app.address.prefix.length)) {
      found = candidate
    }
  }
  return found
}
