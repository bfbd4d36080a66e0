/**
 * Whom to ask: `owner`, `help` and `brand.support` as an admin wrote them, made into something that is safe to click.
 *
 * Only `https:`, `http:` and e-mail become links; anything else (`javascript:` among it) stays text.
 */

/** Someone to ask, or somewhere. */
export interface Contact {
  /** What is shown. */
  readonly text: string
  /** `undefined`: nothing to click. */
  readonly href: string | undefined
  readonly kind: 'mail' | 'web' | 'text'
}

/** A letter that is begun for the person. */
export interface Letter {
  readonly subject: string
  readonly lines: readonly string[]
}

/** Narrower than RFC 5322, on purpose: nothing in here can end the address part of a `mailto:` (RFC 6068). */
const mailAddress = /^[\p{L}\p{N}.!#$'*+/=^_`{|}~-]{1,64}@[\p{L}\p{N}.-]{1,253}$/u

/** The contact that `text` names; `undefined` for nothing. */
export function parseContact(text: string | undefined, letter: Letter): Contact | undefined {
  const trimmed = text?.trim().replace(/^mailto:/i, '')
  if (trimmed === undefined || trimmed === '') return undefined
  if (mailAddress.test(trimmed)) return { kind: 'mail', text: trimmed, href: mailLink(trimmed, letter) }
  const href = parseWebAddress(trimmed)
  if (href !== undefined) return { kind: 'web', text: shortAddress(href), href }
  return { kind: 'text', text: trimmed, href: undefined }
}

/** An absolute `http(s)` address as the URL parser prints it, else `undefined`. No credentials: they could pose as the host. */
export function parseWebAddress(text: string | undefined): string | undefined {
  const url = text === undefined ? null : URL.parse(text)
  if (url === null || (url.protocol !== 'https:' && url.protocol !== 'http:')) return undefined
  return url.username === '' && url.password === '' ? url.href : undefined
}

/** A path of the same host: `/x` but not `//host`, nor anything that a browser folds into it (`/\host`, tabs, line ends). */
export function parseOwnPath(text: string | undefined): string | undefined {
  if (text === undefined || !text.startsWith('/')) return undefined
  const base = 'http://own.invalid'
  const url = URL.parse(text, base)
  return url !== null && url.origin === base && !url.pathname.startsWith('//') ? `${url.pathname}${url.search}` : undefined
}

function mailLink(address: string, letter: Letter): string {
  const to = encode(address).replaceAll('%40', '@')
  const body = letter.lines.map(encode).join('%0D%0A')
  return `mailto:${to}?subject=${encode(letter.subject)}&body=${body}`
}

/** Host and path without the noise. */
function shortAddress(href: string): string {
  const url = new URL(href)
  return url.pathname === '/' ? url.host : `${url.host}${url.pathname}`
}

/** A lone surrogate, which a name may carry, would make `encodeURIComponent` throw. */
function encode(text: string): string {
  return encodeURIComponent(text.toWellFormed())
}
