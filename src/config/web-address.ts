/**
 * Addresses in configuration: public URLs, upstreams, the issuer, listeners, networks. Text to value, or a refusal in words.
 *
 * `new URL` is forgiving: it removes tabs, reads `\` as `/`, `0x7f.1` as 127.0.0.1 and `https:x` as a host. What an admin reads in
 * the file must be what happens, so the text is judged first and the parsed form after. Names are compared in the form `new URL`
 * gives them (lower case, IDNA, IPv4 in dots, IPv6 shortened), which is also the form that requests are matched in.
 */

import { isIP, isIPv4, isIPv6 } from 'node:net'
import { isLoopbackAddress, isNeverUpstream } from '../machine-addresses.ts'
import type { AppAddress } from '../policy/document.ts'
import type { HostPort } from './instance.ts'

export interface Refusal {
  readonly refusal: string
  readonly expected?: string
  readonly suggestion?: string
}

export function isRefusal(value: object): value is Refusal {
  return 'refusal' in value
}

const urlShape = /^(https?):\/\/([^/?#\\\s]+)(\/[^?#\\\s]*)?$/i

/** An `http(s)` URL with a host and perhaps a path, and nothing that could hide: no user, query, fragment, blank or backslash. */
function parseHttpUrl(text: string): URL | Refusal {
  if (/[\p{C}\s\\]/u.test(text)) return { refusal: 'a URL contains no blanks, control characters or backslashes' }
  if (text.includes('#')) return { refusal: 'the URL has a fragment (#…)', suggestion: 'remove it' }
  if (text.includes('?')) return { refusal: 'the URL has a query (?…)', suggestion: 'remove it' }
  const match = urlShape.exec(text)
  if (match === null) return { refusal: 'this is not an http:// or https:// URL', expected: 'a URL such as `https://wiki.corp.example`' }
  const authority = match[2] ?? ''
  if (authority.includes('@')) return { refusal: 'the URL holds a user name or password', suggestion: 'remove everything up to the `@`' }
  if (authority.endsWith(':')) return { refusal: 'the port is missing after the colon' }
  let url: URL
  try {
    url = new URL(text)
  } catch {
    return { refusal: 'the host or port of this URL is not valid', expected: 'a URL such as `https://wiki.corp.example`' }
  }
  if (url.hostname.includes('*')) return { refusal: 'a host may not hold a wildcard', suggestion: 'write one app for each host' }
  if (url.hostname.endsWith('.')) return { refusal: 'the host ends in a dot', suggestion: 'remove the dot' }
  if (!isHostName(url.hostname)) return { refusal: 'the host of this URL is not valid' }
  // `010.0.0.1` would be 8.0.0.1, and `127.1` or `2130706433` the machine itself.
  if (isIPv4(url.hostname) && authority.replace(/:\d*$/, '') !== url.hostname) {
    return {
      refusal: 'this is an IPv4 address in another spelling than four decimal numbers',
      suggestion: `write \`${url.origin}\` if that is meant`,
    }
  }
  return url
}

/** A DNS name in lower case (IDNA form), an IPv4 address, or an IPv6 address with or without brackets. */
export function isHostName(host: string): boolean {
  if (isIP(host.replace(/^\[(.*)\]$/, '$1')) !== 0) return true
  return host.length <= 253 && /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*$/.test(host)
}

/** Why a path prefix is not canonical, or `undefined`. The data plane compares canonical bytes only, so any other would match nothing. */
function findPrefixProblem(path: string): string | undefined {
  if (path.includes('//')) return 'the path holds an empty segment (`//`)'
  if (/(?:^|\/)(?:\.|%2e){1,2}(?:\/|$)/i.test(path)) return 'the path holds a `.` or `..` segment'
  if (/%(?![0-9A-F]{2})/.test(path)) return 'an escape in the path is not `%` and two upper-case hexadecimal digits'
  if (/%(?:2[DEF]|3[0-9B]|4[1-9A-F]|5[0-9AF]|5C|6[1-9A-F]|7[0-9AE]|[01][0-9A-F]|7F)/.test(path)) {
    return 'the path escapes a character that is written plainly, or one that is never allowed (`/`, `;`, `\\`, controls)'
  }
  if (/[^A-Za-z0-9\-._~!$&'()*+,=:@%/]/.test(path)) return 'the path holds a character that must be percent-encoded'
  if (path.includes('*')) return 'a path prefix holds no wildcard: it always means itself and everything below'
  return undefined
}

/** The written path of a URL: `new URL` would already have resolved `..` in it. */
function pathOf(text: string): string {
  return urlShape.exec(text)?.[3] ?? '/'
}

/** An origin alone, such as the access host's `url:`. */
export function parseOrigin(text: string): URL | Refusal {
  const url = parseHttpUrl(text)
  if (isRefusal(url)) return url
  if (pathOf(text) !== '/')
    return { refusal: 'this URL has a path; here only scheme, host and port belong', suggestion: `write \`${url.origin}\`` }
  return mustBeSecure(url) ?? url
}

/** An app's public URL: an origin, or an origin and a canonical path prefix. */
export function parseAppAddress(text: string): AppAddress | Refusal {
  const url = parseHttpUrl(text)
  if (isRefusal(url)) return url
  const insecure = mustBeSecure(url)
  if (insecure !== undefined) return insecure
  const path = pathOf(text)
  const problem = findPrefixProblem(path)
  if (problem !== undefined) return { refusal: problem, expected: 'a path prefix such as `/tools/wiki`' }
  const prefix = path === '/' ? '/' : path.replace(/\/$/, '')
  if (prefix === '/.postern' || prefix.startsWith('/.postern/')) return { refusal: "paths under `/.postern/` are Postern's own" }
  return { origin: url.origin, hostname: url.hostname, port: portOf(url), prefix }
}

/** Plain http is for development: browsers treat these hosts as trustworthy, and no network lies between. */
function mustBeSecure(url: URL): Refusal | undefined {
  // By name alone: on http://127.0.0.1 cookies keep `__Host-` and Secure, and browsers that do not store those sign in for ever.
  if (url.protocol === 'https:' || url.hostname === 'localhost' || url.hostname.endsWith('.localhost')) return undefined
  const secure = new URL(url)
  secure.protocol = 'https:'
  return {
    refusal: 'plain http:// would send session cookies readable over the network',
    expected: 'https://; http:// only on localhost and *.localhost',
    suggestion: `write \`${secure.origin}\``,
  }
}

/** Where requests are forwarded to. `basePath` has no trailing slash. */
export function parseUpstreamUrl(text: string): { readonly url: URL; readonly basePath: string } | Refusal {
  const url = parseHttpUrl(text)
  if (isRefusal(url)) return url.refusal.startsWith('this is not') ? { ...url, expected: 'a URL such as `http://wiki.internal:3000`' } : url
  const path = pathOf(text)
  const problem = findPrefixProblem(path)
  if (problem !== undefined) return { refusal: problem }
  if (url.port === '0') return { refusal: 'port 0 is no address' }
  const host = unbracket(url.hostname)
  if (isForbiddenUpstream(host)) {
    return { refusal: 'an upstream may not be a link-local, metadata, unspecified or multicast address (in any spelling)' }
  }
  return { url, basePath: path.replace(/\/$/, '') }
}

/** Addresses at which cloud metadata, or nothing at all, answers. The forwarder asks again after DNS. `host` has no brackets. */
export function isForbiddenUpstream(host: string): boolean {
  return isNeverUpstream(host) || host === 'metadata' || host === 'metadata.google.internal'
}

/** This machine by name or address: `localhost`, `*.localhost`, 127.0.0.0/8, ::1. */
export function isLoopbackName(hostname: string): boolean {
  const host = unbracket(hostname)
  return isLoopbackAddress(host) || host === 'localhost' || host.endsWith('.localhost')
}

export function unbracket(hostname: string): string {
  return hostname.startsWith('[') ? hostname.slice(1, -1) : hostname
}

/** The port of a URL with the scheme's own filled in. */
export function portOf(url: URL): number {
  return url.port === '' ? (url.protocol === 'https:' ? 443 : 80) : Number(url.port)
}

/** Whether a connection to `target` could reach a listener bound to `listener` on this machine. */
export function canReach(target: HostPort, listener: HostPort): boolean {
  if (target.port !== listener.port || listener.port === 0) return false
  if (target.host === listener.host) return true
  const isWildcard = listener.host === '0.0.0.0' || listener.host === '::'
  return isLoopbackName(target.host) && (isWildcard || isLoopbackName(listener.host))
}

/** `0.0.0.0:8443`, `[::]:8443`, `localhost:8443`. Port 0 lets the system choose. */
export function parseHostPort(text: string): HostPort | Refusal {
  const match = /^(?:\[([0-9A-Fa-f:.]+)\]|([^\s:/[\]]+)):(\d{1,5})$/.exec(text)
  const host = (match?.[1] ?? match?.[2] ?? '').toLowerCase()
  const port = Number(match?.[3])
  const expected = 'an address and a port, such as `0.0.0.0:8443` or `[::]:8443`'
  if (match === null) {
    const isPortAlone = /^:?\d{1,5}$/.test(text)
    return {
      refusal: isPortAlone ? 'the address in front of the port is missing' : 'this is not an address and a port',
      expected,
      ...(isPortAlone ? { suggestion: `write \`0.0.0.0:${text.replace(':', '')}\`` } : {}),
    }
  }
  if (match[1] !== undefined && !isIPv6(host)) return { refusal: 'this is not an IPv6 address', expected }
  if (!isHostName(host) || (/^[\d.]+$/.test(host) && !isIPv4(host))) return { refusal: 'the address is not valid', expected }
  if (port > 65535) return { refusal: 'a port is at most 65535', expected }
  return { host, port }
}

/** A network in strict form: no host bits, no leading zeros, never everything. A single address is written without a prefix length. */
export function parseCidr(text: string): string | Refusal {
  const expected = 'a network such as `10.0.0.0/8` or `fd00::/8`, or one address'
  const match = /^([0-9A-Fa-f:.]+)(?:\/(0|[1-9]\d{0,2}))?$/.exec(text)
  const address = match?.[1] ?? ''
  const family = isIP(address)
  if (match === null || family === 0) return { refusal: 'this is not a network', expected }
  // Addresses are unmapped before they are compared, so this would be a network that nobody is in.
  if (family === 6 && isMapped(expandIPv6(address)))
    return { refusal: 'this is an IPv4 network in the spelling of IPv6', expected, suggestion: 'write it as IPv4, such as `10.0.0.0/8`' }
  const bits = family === 4 ? 32 : 128
  const length = match[2] === undefined ? bits : Number(match[2])
  if (length > bits) return { refusal: `the prefix length is at most ${bits}`, expected }
  if (length === 0) return { refusal: 'this network is every address there is', expected, suggestion: 'name the networks that are meant' }
  const groups = family === 4 ? address.split('.').map(Number) : expandIPv6(address)
  const width = family === 4 ? 8 : 16
  const network = groups.map((group, index) => {
    const kept = Math.max(0, Math.min(width, length - index * width))
    return kept === 0 ? 0 : group & (-1 << (width - kept)) & (2 ** width - 1)
  })
  if (network.some((group, index) => group !== groups[index])) {
    const written =
      family === 4 ? network.join('.') : unbracket(new URL(`http://[${network.map((group) => group.toString(16)).join(':')}]`).hostname)
    return { refusal: 'there are host bits after the prefix', expected, suggestion: `write \`${written}/${length}\`` }
  }
  return `${address.toLowerCase()}/${length}`
}

function isMapped(groups: readonly number[]): boolean {
  return groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff
}

function expandIPv6(address: string): number[] {
  const plain = unbracket(new URL(`http://[${address}]`).hostname)
  const [head = '', tail] = plain.split('::')
  const left = head === '' ? [] : head.split(':')
  const right = tail === undefined || tail === '' ? [] : tail.split(':')
  const middle = tail === undefined ? [] : Array.from({ length: 8 - left.length - right.length }, () => '0')
  return [...left, ...middle, ...right].map((group) => Number.parseInt(group, 16))
}
