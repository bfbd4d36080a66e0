/**
 * The request target: read once at the door, in one canonical form. That form is matched, judged, logged and forwarded, so that
 * nobody behind us can read another resource out of the same bytes than the one that was decided on.
 *
 * Trusts nothing. Whatever is ambiguous is refused, never mended: duplicate or missing Host, userinfo, an absolute form that names
 * another authority, dot segments and empty segments however they are spelled, backslashes, controls, bytes that are not UTF-8.
 * The path is canonicalised without knowing the app; what only some apps may receive (`path_rules`) is reported in `uses`, and the
 * flow holds it against the app that the canonical path leads to. RFC 9112 §3.2, RFC 3986 §6.2.2, RFC 9110 §4.2.4.
 */

import type { IncomingMessage } from 'node:http'
import type { PathRule } from '../policy/document.ts'
import type { Target } from './exchange.ts'

/** A target whose path is canonical, with what an app's `path_rules` must permit before it may be forwarded. */
export interface ParsedTarget extends Target {
  readonly uses: readonly PathRule[]
}

/** Why a request has no target. A closed word for the log; the client learns `bad_request` or `method_not_allowed`. */
export interface TargetProblem {
  readonly problem:
    | 'host_missing'
    | 'host_duplicate'
    | 'authority_malformed'
    | 'authority_contradicted'
    | 'target_malformed'
    | 'method_refused'
}

/** What is read of a request. */
export type RequestHead = Pick<IncomingMessage, 'method' | 'url' | 'rawHeaders'>

/** The canonical target of a request, or the reason it has none. Never throws. */
export function readTarget({ method, url = '', rawHeaders }: RequestHead): ParsedTarget | TargetProblem {
  // TRACE would echo cookies and identity headers back to script (RFC 9110 §9.3.8); a proxy for apps is no tunnel.
  if (method === 'TRACE' || method === 'CONNECT') return { problem: 'method_refused' }

  const hosts = findHosts(rawHeaders)
  const [host] = hosts
  if (host === undefined) return { problem: 'host_missing' }
  if (hosts.length > 1) return { problem: 'host_duplicate' }
  const authority = parseAuthority(host)
  if (authority === undefined) return { problem: 'authority_malformed' }

  if (url === '*') return { problem: method === 'OPTIONS' ? 'method_refused' : 'target_malformed' }
  let originForm: string = url
  if (!url.startsWith('/')) {
    const absolute = parseAbsoluteForm(url)
    if (absolute === undefined) return { problem: 'target_malformed' }
    if (absolute.hostname !== authority.hostname || absolute.port !== (authority.port ?? absolute.defaultPort)) {
      return { problem: 'authority_contradicted' }
    }
    originForm = absolute.originForm
  }

  const mark = originForm.indexOf('?')
  const path = parsePath(mark === -1 ? originForm : originForm.slice(0, mark))
  const query = mark === -1 ? '' : originForm.slice(mark)
  if (path === undefined || !isVisibleAscii(query) || query.includes('#')) return { problem: 'target_malformed' }
  return { hostname: authority.hostname, port: authority.port, path: path.path, query, uses: path.uses }
}

/** Every Host line: Node keeps the first of several in `headers` and would hide the contradiction. */
function findHosts(rawHeaders: readonly string[]): readonly string[] {
  const hosts: string[] = []
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]
    if (name?.length === 4 && name.toLowerCase() === 'host') hosts.push(rawHeaders[i + 1] ?? '')
  }
  return hosts
}

/** Host and port as `Host` and the absolute form carry them (RFC 9110 §7.2). */
export interface Authority {
  readonly hostname: string
  readonly port: number | undefined
}

const dnsName = /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*$/
const ipv6Literal = /^\[[0-9a-f:.]{2,45}\]$/
const portDigits = /^[1-9][0-9]{0,4}$/

/** Hosts of the apps, in the spellings that clients use; strangers' names can make it begin anew and no more. */
const maxRememberedAuthorities = 256
const authorities = new Map<string, Authority>()

/** `HOST` or `HOST:PORT`, lower-cased, one trailing dot dropped; `undefined` for anything else, an empty port included. */
export function parseAuthority(text: string): Authority | undefined {
  if (text.length > 261) return undefined
  const known = authorities.get(text)
  if (known !== undefined) return known
  const authority = parseNewAuthority(text)
  if (authority === undefined) return undefined
  if (authorities.size >= maxRememberedAuthorities) authorities.clear()
  authorities.set(text, authority)
  return authority
}

function parseNewAuthority(text: string): Authority | undefined {
  const colon = text.startsWith('[') ? text.indexOf(':', text.indexOf(']')) : text.indexOf(':')
  const portText = colon === -1 ? undefined : text.slice(colon + 1)
  if (portText !== undefined && (!portDigits.test(portText) || Number(portText) > 65_535)) return undefined

  // Not `toLowerCase`, which maps a few non-ASCII letters into ASCII; the tests below see the bytes as sent.
  let hostname = (colon === -1 ? text : text.slice(0, colon)).replace(/[A-Z]/g, (letter) => letter.toLowerCase())
  if (!ipv6Literal.test(hostname)) {
    // `app.example.` is the same name, written absolutely; without this it would be an unknown host with a known certificate.
    if (hostname.endsWith('.')) hostname = hostname.slice(0, -1)
    if (hostname.length > 253 || !dnsName.test(hostname)) return undefined
  }
  return { hostname, port: portText === undefined ? undefined : Number(portText) }
}

const absoluteForm = /^(https?):\/\/([^/?#]*)(.*)$/i

function parseAbsoluteForm(url: string) {
  const [, scheme, authorityText, rest] = absoluteForm.exec(url) ?? []
  if (scheme === undefined || authorityText === undefined || rest === undefined) return undefined
  const authority = parseAuthority(authorityText)
  if (authority === undefined) return undefined
  const defaultPort = scheme.toLowerCase() === 'https' ? 443 : 80
  return {
    hostname: authority.hostname,
    port: authority.port ?? defaultPort,
    defaultPort,
    originForm: rest.startsWith('/') ? rest : `/${rest}`,
  }
}

/** Segments of unreserved characters and sub-delims that do not begin with a dot: canonical as they are. Nearly every path. */
const plainPath = /^(?:\/[A-Za-z0-9_~!$&'()*+,=:@-][A-Za-z0-9._~!$&'()*+,=:@-]*)*\/?$/

const nothing: readonly PathRule[] = []

/** The canonical form of a raw path, or `undefined` if it has none that everybody would agree on. */
export function parsePath(raw: string): { readonly path: string; readonly uses: readonly PathRule[] } | undefined {
  if (raw.startsWith('/') && plainPath.test(raw)) return { path: raw, uses: nothing }
  if (!raw.startsWith('/') || !isVisibleAscii(raw) || /[#?\\]/.test(raw)) return undefined

  const decoded = decodeUtf8(raw)
  // Encoded controls split lines and names further in; an encoded backslash is a slash to some servers.
  if (decoded === undefined || controlOrBackslash.test(decoded)) return undefined

  const path = raw.replace(/%[0-9A-Fa-f]{2}|["<>^`{}]/g, canonicalCharacter)
  if (hasDotSegment(path)) return undefined

  const uses: PathRule[] = []
  if (path.includes('%2F')) uses.push('encoded_slash')
  if (path.includes(';') || path.includes('%3B')) uses.push('semicolon')
  if (path.includes('//')) uses.push('double_slash')
  return { path, uses }
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: controls are what it refuses
const controlOrBackslash = /[\u0000-\u001f\u007f-\u009f\\]/

function isVisibleAscii(text: string): boolean {
  return /^[\x21-\x7e]*$/.test(text)
}

/** `undefined` for a broken escape and for bytes that are not UTF-8: overlong forms, surrogates, stray continuation bytes. */
function decodeUtf8(path: string): string | undefined {
  try {
    return decodeURIComponent(path)
  } catch {
    // URIError is how the platform says "not UTF-8, or not an escape".
    return undefined
  }
}

/** Unreserved characters stand for themselves (RFC 3986 §6.2.2.2); what no URI may contain raw is escaped, as browsers do. */
function canonicalCharacter(match: string): string {
  if (match.length === 1) return `%${match.charCodeAt(0).toString(16).toUpperCase()}`
  const character = String.fromCharCode(Number.parseInt(match.slice(1), 16))
  return /[A-Za-z0-9._~-]/.test(character) ? character : match.toUpperCase()
}

/** `.` and `..`, also behind an encoded slash and in front of parameters (`/..;x/`): whatever an app keeps, nobody gets to climb. */
function hasDotSegment(path: string): boolean {
  return path.split(/\/|%2F/).some((segment) => {
    const name = segment.split(/;|%3B/, 1)[0]
    return name === '.' || name === '..'
  })
}
