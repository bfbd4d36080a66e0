/**
 * Which header lines cross the proxy, in both directions, and which are ours alone.
 *
 * Strip first, then set: whatever a client sends under a name that Postern, the app's identity setting or a proxy before us speaks
 * by is removed, in any case, with any punctuation that CGI-like servers fold into one variable, duplicated or nominated in
 * `Connection`; only then our own lines are added, so that none of ours can go missing. An app's answer loses what concerns one
 * connection only (RFC 9110 §7.6.1) and what would touch our cookies, our names or the browser's idea of this origin.
 *
 * Values are what the wire carries, one character a byte, on both sides. Verdicts on names are compiled once an app.
 */

import type { SealedCookies } from '../session/sealed-cookies.ts'
import type { Exchange, Route } from './exchange.ts'
import { createLocationRewriter } from './upstream-locations.ts'

/** Lower-case names to values as HTTP parsers give them: several lines of one name are a list. */
export type ParsedHeaders = Readonly<Record<string, string | string[] | undefined>>

export interface HeaderHygiene {
  /**
   * The lines for the upstream as flat name, value pairs. Without framing and `Connection`, which belong to whoever writes the
   * message; only of a body that was received already, the length is known here. `host` is left out where the upstream's own name is wanted.
   */
  writeRequestHeaders(exchange: Exchange): string[]
  /** The lines for the client, flat; `Content-Length` is kept where `status` allows one. */
  writeResponseHeaders(exchange: Exchange, status: number, headers: ParsedHeaders): string[]
  /** The trailer fields that may follow an answer, as name, value pairs. */
  writeTrailers(trailers: ParsedHeaders): [name: string, value: string][]
}

/** Compiles what one app's headers need. */
export function compileHeaderHygiene({ app, policy }: Route, cookies: SealedCookies): HeaderHygiene {
  const setRequest = app.setRequestHeaders.map(({ name, value }) => ({ name, key: foldName(name), value: compileValue(value) }))
  const setResponse = app.setResponseHeaders.map(({ name, value }) => ({ name, key: name.toLowerCase(), value: compileValue(value) }))
  const identityNames = new Set(identityHeadersOf(app).map(foldName))
  const removed = new Set(app.removeRequestHeaders.map(foldName))
  const owned = new Set([...identityNames, ...removed, ...setRequest.map(({ key }) => key)])

  const publicUrl = new URL(app.address.origin)
  // The identity has the last word: a setting under its name would be a second line of it.
  const requestSettings = setRequest.filter(({ key }) => !identityNames.has(key) && !isReservedForFraming(key))
  const hostOverride = requestSettings.find(({ key }) => key === 'host')
  const constantLines = [
    ...(app.preserveHost && hostOverride === undefined ? ['Host', publicUrl.host] : []),
    ...[
      ['X-Forwarded-Proto', publicUrl.protocol.slice(0, -1)],
      ['X-Forwarded-Host', publicUrl.host],
      ['X-Forwarded-Port', String(app.address.port)],
    ].flatMap(([name = '', value = '']) => (owned.has(foldName(name)) ? [] : [name, value])),
  ]
  const sendsForwardedFor = !owned.has('x-forwarded-for')

  const verdicts = createVerdictCache((name) => judgeRequestName(name, owned))
  const responseRules = compileResponseRules(setResponse.map(({ key }) => key))
  const rewriteLocation = createLocationRewriter(app)
  const hasPublicRule = policy.allows.some((rule) => rule.who.isPublic)

  function writeRequestHeaders(exchange: Exchange): string[] {
    const { rawHeaders, headers } = exchange.request
    const nominated = nominatedBy(headers.connection)
    const lines = constantLines.slice()
    for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
      const name = rawHeaders[i] as string
      const value = rawHeaders[i + 1] as string
      const verdict = verdicts(name)
      if (verdict === 'drop' || nominated?.has(name.toLowerCase())) continue
      // A form that was kept goes on in place of the one that asks for it, under its own type.
      if (exchange.body !== undefined && foldName(name) === 'content-type') continue
      if (verdict === 'keep') lines.push(name, value)
      else if (verdict === 'authorization') {
        if (exchange.isAuthorizationOurs !== true || app.passAuthorization) lines.push(name, value)
      } else {
        const left = cookies.withoutOurs(value)
        if (left !== undefined) lines.push(name, left)
      }
    }
    const { traceparent, tracestate } = exchange.trace
    if (!owned.has('traceparent')) {
      lines.push('traceparent', traceparent)
      if (tracestate !== undefined && !owned.has('tracestate')) lines.push('tracestate', tracestate)
    }
    if (exchange.body !== undefined) {
      if (!owned.has('content-type')) lines.push('Content-Type', exchange.body.contentType)
      lines.push('Content-Length', String(exchange.body.bytes.length))
    }
    if (sendsForwardedFor) lines.push('X-Forwarded-For', exchange.address)
    lines.push('X-Request-Id', exchange.id)
    for (const [name, value] of exchange.identity) lines.push(name, value)
    for (const { name, value } of requestSettings) {
      const text = value(exchange)
      if (text !== undefined) lines.push(name, text)
    }
    return lines
  }

  function writeResponseHeaders(exchange: Exchange, status: number, headers: ParsedHeaders): string[] {
    const nominated = nominatedBy(headers['connection'])
    const isForEverybody = hasPublicRule && exchange.identity.length === 0
    const lines: string[] = []
    for (const name in headers) {
      const value = headers[name]
      if (value === undefined || nominated?.has(name)) continue
      const rule = responseRules.get(name) ?? (name.startsWith('x-postern') ? 'drop' : 'keep')
      if (rule === 'drop' || (rule === 'length' && status === 204)) continue
      if (rule === 'keep' && typeof value === 'string') {
        lines.push(name, value)
        continue
      }
      for (const one of typeof value === 'string' ? [value] : value) {
        const kept = rewriteResponseValue(rule, one, isForEverybody)
        if (kept !== undefined) lines.push(name, kept)
      }
    }
    for (const { name, value } of setResponse) {
      const text = value(exchange)
      if (text !== undefined) lines.push(name, text)
    }
    lines.push('X-Postern-Request', exchange.id)
    return lines
  }

  function rewriteResponseValue(rule: ResponseRule, value: string, isForEverybody: boolean): string | undefined {
    switch (rule) {
      case 'set_cookie':
        return cookies.isOurs(value) ? undefined : value
      case 'location':
        return rewriteLocation(value)
      case 'refresh':
        return rewriteRefresh(value, rewriteLocation)
      case 'cache_control':
        return isForEverybody ? value : withoutPublic(value)
      case 'clear_site_data':
        return withoutCookieClearing(value)
      case 'keep':
      case 'length':
        return value
      case 'drop':
        return undefined
    }
  }

  return { writeRequestHeaders, writeResponseHeaders, writeTrailers: keepHarmlessTrailers }
}

/** What a request header name means to us; see `judgeRequestName`. */
type RequestVerdict = 'keep' | 'drop' | 'cookie' | 'authorization'
type ResponseRule = 'keep' | 'drop' | 'length' | 'set_cookie' | 'location' | 'refresh' | 'cache_control' | 'clear_site_data'

/** Exact names, folded. One connection's business, other people's claims about the client, and second opinions on what is asked. */
const neverFromClients = new Set([
  ...['connection', 'keep-alive', 'te', 'trailer', 'transfer-encoding', 'upgrade', 'http2-settings', 'expect', 'host', 'content-length'],
  ...['forwarded', 'via', 'x-real-ip', 'true-client-ip', 'cf-connecting-ip', 'x-client-ip', 'x-cluster-client-ip', 'fastly-client-ip'],
  ...['x-original-url', 'x-rewrite-url', 'x-original-uri', 'x-original-host', 'x-original-method', 'x-host'],
  ...['x-http-method-override', 'x-http-method', 'x-method-override', 'postern-authorization', 'x-request-id'],
  ...['traceparent', 'tracestate', 'ssl-client-cert', 'ssl-client-verify'],
])

const neverFromClientsPrefixes = [
  ...['x-forwarded-', 'proxy-', 'x-postern', 'client-cert', 'x-ssl-client-', 'x-client-cert', 'x-device-', 'ssl-client-', 'x-envoy-'],
]

function judgeRequestName(name: string, owned: ReadonlySet<string>): RequestVerdict {
  const folded = foldName(name)
  if (neverFromClients.has(folded) || owned.has(folded)) return 'drop'
  if (neverFromClientsPrefixes.some((prefix) => folded.startsWith(prefix))) return 'drop'
  // `-` alone separates words here; another spelling of Cookie is no cookie to us, so what is in it could not be cleaned.
  return folded === 'cookie' || folded === 'authorization' ? folded : 'keep'
}

/**
 * A name as a CGI-like server would know it: `X_Forwarded.User` and `x-forwarded-user` end as one variable there, so they are one
 * name to us. Some such servers fold every character that is neither letter nor digit.
 */
function foldName(name: string): string {
  return name.toLowerCase().replace(/[^a-z0-9]/g, '-')
}

/** Enough for every spelling honest clients use, too few for a hostile one to fill memory with. */
const maxCachedVerdicts = 512

function createVerdictCache(judge: (name: string) => RequestVerdict): (name: string) => RequestVerdict {
  const known = new Map<string, RequestVerdict>()
  return (name) => {
    const verdict = known.get(name)
    if (verdict !== undefined) return verdict
    const judged = judge(name)
    if (known.size < maxCachedVerdicts && name.length <= 64) known.set(name, judged)
    return judged
  }
}

/** Fields of the message itself: a setting of these would contradict the body that follows. */
function isReservedForFraming(folded: string): boolean {
  return ['connection', 'content-length', 'transfer-encoding', 'upgrade', 'expect', 'te', 'trailer', 'keep-alive'].includes(folded)
}

const defaultIdentityHeaders = ['X-Forwarded-User', 'X-Forwarded-Email', 'X-Forwarded-Preferred-Username', 'X-Forwarded-Groups']

/** Every name the app reads an identity from. The defaults belong to it always: an app may look at them although it was told others. */
function identityHeadersOf({ identity }: Route['app']): string[] {
  const names = [...defaultIdentityHeaders, 'X-Postern-Assertion', 'Remote-User', 'X-Remote-User']
  if (identity.kind === 'none') return names
  for (const name of [identity.user, identity.email, identity.preferredUsername, identity.groups]) if (name !== undefined) names.push(name)
  return [...names, ...identity.extra.map(({ header }) => header)]
}

const responseRules: readonly (readonly [string, ResponseRule])[] = [
  ...['connection', 'keep-alive', 'proxy-connection', 'proxy-authenticate', 'proxy-authentication-info', 'te', 'trailer'].map(dropped),
  ...['transfer-encoding', 'upgrade', 'alt-svc', 'x-postern', 'x-postern-request', 'x-postern-assertion'].map(dropped),
  ['content-length', 'length'],
  ['set-cookie', 'set_cookie'],
  ['set-cookie2', 'drop'],
  ['location', 'location'],
  ['content-location', 'location'],
  ['refresh', 'refresh'],
  ['cache-control', 'cache_control'],
  ['clear-site-data', 'clear_site_data'],
]

function dropped(name: string): readonly [string, ResponseRule] {
  return [name, 'drop']
}

function compileResponseRules(replaced: readonly string[]): ReadonlyMap<string, ResponseRule> {
  return new Map([...responseRules, ...replaced.map(dropped)])
}

/** Names that `Connection` makes hop-by-hop; `undefined` for the values that nearly every message has. */
function nominatedBy(connection: string | string[] | undefined): ReadonlySet<string> | undefined {
  if (connection === undefined || connection === 'keep-alive' || connection === 'close' || connection === 'Upgrade') return undefined
  return new Set(
    String(connection)
      .toLowerCase()
      .split(',')
      .map((name) => name.trim()),
  )
}

/** A shared cache between browser and Postern must not answer the next person with this one's page. */
function withoutPublic(cacheControl: string): string {
  if (!/\bpublic\b/i.test(cacheControl)) return cacheControl
  const directives = cacheControl.split(',').map((directive) => directive.trim())
  const others = directives.filter((directive) => !['public', 'private'].includes(directive.toLowerCase()))
  return ['private', ...others].join(', ')
}

/** Clearing cookies would sign the person out of every app on this origin; `"*"` means cookies among others. */
function withoutCookieClearing(clearSiteData: string): string | undefined {
  const types = clearSiteData.split(',').map((type) => type.trim())
  const kept = types.filter((type) => type !== '' && !['"cookies"', '"*"'].includes(type.toLowerCase()))
  return kept.length === 0 ? undefined : kept.join(', ')
}

function rewriteRefresh(refresh: string, rewriteLocation: (location: string) => string): string {
  const match = /^(\s*[\d.]+\s*[;,]\s*(?:url\s*=\s*)?["']?)([^"']*)(.*)$/i.exec(refresh)
  if (match === null) return refresh
  const [, before = '', url = '', after = ''] = match
  return before + rewriteLocation(url) + after
}

/** Fields that steer framing, routing, authentication or cookies mean nothing good after a body (RFC 9110 §6.5.1). */
const neverInTrailers = /^(?:content-.*|transfer-encoding|host|set-cookie2?|trailer|connection|te|upgrade|keep-alive|proxy-.*|x-postern.*)$/
const neverInTrailersEither = new Set([
  ...['location', 'cache-control', 'authorization', 'www-authenticate', 'alt-svc', 'clear-site-data', 'age', 'date', 'expires', 'vary'],
  ...['max-forwards', 'refresh', 'retry-after', 'strict-transport-security'],
])

function keepHarmlessTrailers(trailers: ParsedHeaders): [string, string][] {
  const lines: [string, string][] = []
  for (const name in trailers) {
    if (neverInTrailersEither.has(name) || neverInTrailers.test(name)) continue
    const value = trailers[name] ?? []
    for (const one of typeof value === 'string' ? [value] : value) lines.push([name, one])
  }
  return lines
}

type SettingValue = Route['app']['setRequestHeaders'][number]['value']

function compileValue(value: SettingValue): (exchange: Exchange) => string | undefined {
  if (value.kind === 'secret') {
    return ({ findSecret }) => {
      const secret = findSecret(value.id)
      return secret === undefined ? undefined : utf8OnTheWire(secret)
    }
  }
  const text = utf8OnTheWire(value.text)
  return () => text
}

/** UTF-8 bytes, one character each: the form in which header values are written. */
function utf8OnTheWire(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1')
}
