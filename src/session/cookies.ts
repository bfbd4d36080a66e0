/**
 * Writes, reads and guards the cookies of ours; the interface and its promises are in `sealed-cookies.ts`.
 *
 * A Cookie header is split as RFC 6265 §5.4 joins it, at semicolons, and nothing else is special: no `$Version`, no quoting, no
 * commas (A155). A name counts in exactly our spelling; the same name twice with different values counts as absent, because nobody
 * can tell which of the two was tossed in. What is ours is recognised far more generously where it must not get through to or
 * from an app.
 */

import type { CurrentKeys } from '../keys.ts'
import { open, type Place, seal } from './seal.ts'
import type { AccessAttempt, AppAttempt, CookieName, SealedCookies } from './sealed-cookies.ts'
import { packStepUp, unpackStepUp } from './sealed-step-up.ts'
import { isSecret } from './secret.ts'

const baseNames: Readonly<Record<CookieName, string>> = { session: 'postern', app: 'postern-app', ui: 'postern-ui' }
const attemptBaseName = 'postern-login-'
const attemptIdForm = /^[A-Za-z0-9_-]{1,64}$/

/** Long enough for a password manager and a second factor, short enough that a stolen state is useless. */
const attemptLifetimeMs = 300_000
const maxAttempts = 16
/** The whole `Set-Cookie` value; RFC 6265 §6.1 lets a browser drop what is longer. */
const maxAttemptBytes = 4095
/** All pending attempts of a host as the browser sends them back, far from any header limit. */
const maxAttemptsBytes = 8192
/** Cookies named like an attempt that are worth opening; a browser of ours never holds more than `maxAttempts`. */
const maxOpened = 64

/** Any spelling of a name of ours: with or without any prefix that browsers know, in any case. */
const ourName = /^(?:__(?:host|secure|http|host-http)-)?postern(?:-app|-ui|-login-.*)?$/i

/** The sealed content of an attempt cookie. */
interface SealedAttempt {
  readonly at: number
  readonly attempt: AppAttempt | WrittenAccessAttempt
}

/** An attempt of the access host as it is written: a step-up takes the room of its short form. */
type WrittenAccessAttempt = Omit<AccessAttempt, 'stepUp'> & { readonly stepUp: string | undefined }

interface Pair {
  readonly name: string
  readonly value: string
}

/** Cookies under the current key ring. */
export function createSealedCookies({ keys, now }: { readonly keys: CurrentKeys; readonly now: () => number }): SealedCookies {
  function sealAttempt(id: string, attempt: AppAttempt | AccessAttempt, url: URL): string {
    const content: SealedAttempt = { at: now(), attempt: 'secret' in attempt ? attempt : shortened(attempt) }
    const sealed = seal(keys(), placeOf(kindOf(attempt), id, url), Buffer.from(JSON.stringify(content)))
    return withAttributes(`${attemptName(id, url)}=${sealed.toString('base64url')}`, url)
  }

  function openAttempt(kind: AttemptKind, id: string, value: string, url: URL): SealedAttempt | undefined {
    const plaintext = open(keys(), placeOf(kind, id, url), Buffer.from(value, 'base64url'))
    if (plaintext === undefined) return undefined
    const content = JSON.parse(plaintext.toString()) as SealedAttempt
    const ageMs = now() - content.at
    // A clock that was set back must not make an attempt immortal.
    return ageMs >= -attemptLifetimeMs && ageMs < attemptLifetimeMs ? content : undefined
  }

  function readAttempt(kind: AttemptKind, id: string, header: string | undefined, url: URL): SealedAttempt['attempt'] | undefined {
    if (!attemptIdForm.test(id)) return undefined
    const value = readOnly(header, attemptName(id, url))
    return value === undefined ? undefined : openAttempt(kind, id, value, url)?.attempt
  }

  /** Attempts that the browser holds, newest first; those that do not open come last. */
  function readAttempts(kind: AttemptKind, header: string | undefined, url: URL): readonly { id: string; bytes: number; at: number }[] {
    const prefix = attemptName('', url)
    const found = new Map<string, { id: string; bytes: number; at: number }>()
    for (const { name, value } of parsePairs(header)) {
      const id = name.slice(prefix.length)
      if (!name.startsWith(prefix) || !attemptIdForm.test(id)) continue
      const at = found.size < maxOpened ? openAttempt(kind, id, value, url)?.at : undefined
      found.set(id, { id, bytes: name.length + value.length + 3, at: at ?? Number.NEGATIVE_INFINITY })
    }
    return [...found.values()].sort((a, b) => b.at - a.at)
  }

  return {
    nameOf: (cookie, url) => prefixed(baseNames[cookie], url),
    writeSession(cookie, secret, url) {
      if (!isSecret(secret)) throw new TypeError('a session cookie carries a secret and nothing else')
      return withAttributes(`${prefixed(baseNames[cookie], url)}=${secret}`, url)
    },
    clearSession: (cookie, url) => cleared(prefixed(baseNames[cookie], url), url),
    readSession(cookie, header, url) {
      const value = readOnly(header, sessionNames(url)[cookie])
      return value !== undefined && isSecret(value) ? value : undefined
    },

    writeAttempt(id, attempt, header, url) {
      if (!attemptIdForm.test(id)) throw new TypeError('an attempt id is 1 to 64 characters of base64url')
      let mine = sealAttempt(id, attempt, url)
      if (mine.length > maxAttemptBytes) mine = sealAttempt(id, withShortReturn(attempt), url)
      let bytes = mine.indexOf(';')
      let kept = 1
      const lines = [mine]
      for (const other of readAttempts(kindOf(attempt), header, url)) {
        if (other.id === id) continue
        const isKept = other.at !== Number.NEGATIVE_INFINITY && kept < maxAttempts && bytes + other.bytes <= maxAttemptsBytes
        if (isKept) {
          kept += 1
          bytes += other.bytes
        } else lines.push(cleared(attemptName(other.id, url), url))
      }
      return lines
    },
    readAppAttempt(id, header, url) {
      const attempt = readAttempt('app_attempt', id, header, url)
      return attempt !== undefined && 'secret' in attempt ? attempt : undefined
    },
    readAccessAttempt(id, header, url) {
      const attempt = readAttempt('access_attempt', id, header, url)
      if (attempt === undefined || 'secret' in attempt) return undefined
      // JSON has no `undefined`.
      return {
        ...attempt,
        attempt: attempt.attempt ?? undefined,
        returnTo: attempt.returnTo ?? undefined,
        prompt: attempt.prompt ?? undefined,
        stepUp: attempt.stepUp === undefined ? undefined : unpackStepUp(Buffer.from(attempt.stepUp, 'base64url')),
      }
    },
    clearAttempt: (id, url) => cleared(attemptName(id, url), url),

    withoutOurs(header) {
      const kept = header.split(';').filter((segment) => !ourName.test(loosestName(segment)))
      const rest = kept.map((segment) => segment.trim()).filter((segment) => segment !== '')
      return rest.length === 0 ? undefined : rest.join('; ')
    },
    isOurs: (setCookie) => ourName.test(loosestName(setCookie.split(';', 1)[0] ?? '')),
  }
}

type AttemptKind = 'app_attempt' | 'access_attempt'

function kindOf(attempt: AppAttempt | AccessAttempt): AttemptKind {
  return 'secret' in attempt ? 'app_attempt' : 'access_attempt'
}

function placeOf(kind: AttemptKind, id: string, url: URL): Place {
  return { purpose: kind, name: `${url.host}/${id}` }
}

function shortened({ stepUp, ...attempt }: AccessAttempt): WrittenAccessAttempt {
  return { ...attempt, stepUp: stepUp === undefined ? undefined : packStepUp(stepUp).toString('base64url') }
}

/** The address is kept only as far as its origin; a page deep inside is not worth a sign-in that fails. */
function withShortReturn<T extends AppAttempt | AccessAttempt>(attempt: T): T {
  return attempt.returnTo === undefined ? attempt : { ...attempt, returnTo: new URL('/', attempt.returnTo).href }
}

type SessionNames = Readonly<Record<CookieName, string>>

/** By address: those of the apps are made once, with the policy, and the parts of a URL are cut out of it anew at each asking. */
const namesByAddress = new WeakMap<URL, SessionNames>()

function sessionNames(url: URL): SessionNames {
  let names = namesByAddress.get(url)
  if (names === undefined) {
    names = { session: prefixed(baseNames.session, url), app: prefixed(baseNames.app, url), ui: prefixed(baseNames.ui, url) }
    namesByAddress.set(url, names)
  }
  return names
}

/** `http://*.localhost` is where browsers accept no `Secure`, and nothing but development. */
function isDevelopment(url: URL): boolean {
  return url.protocol === 'http:' && (url.hostname === 'localhost' || url.hostname.endsWith('.localhost'))
}

function prefixed(baseName: string, url: URL): string {
  return isDevelopment(url) ? baseName : `__Host-${baseName}`
}

function attemptName(id: string, url: URL): string {
  return prefixed(`${attemptBaseName}${id}`, url)
}

function withAttributes(pair: string, url: URL): string {
  return `${pair}; Path=/; HttpOnly; SameSite=Lax${isDevelopment(url) ? '' : '; Secure'}`
}

function cleared(name: string, url: URL): string {
  return `${withAttributes(`${name}=`, url)}; Max-Age=0`
}

function parsePairs(header: string | undefined): readonly Pair[] {
  if (header === undefined) return []
  const pairs: Pair[] = []
  for (const segment of header.split(';')) {
    const equals = segment.indexOf('=')
    if (equals < 0) continue
    pairs.push({ name: trimmed(segment.slice(0, equals)), value: trimmed(segment.slice(equals + 1)) })
  }
  return pairs
}

/**
 * The one value of `name`; `undefined` if there is none, or several that differ. Finds what `parsePairs` would, without cutting up the
 * cookies of others: it runs for every request (0.2 µs instead of 0.4).
 */
function readOnly(header: string | undefined, name: string): string | undefined {
  if (header === undefined) return undefined
  let found: string | undefined
  for (let at = header.indexOf(name); at !== -1; at = header.indexOf(name, at + name.length)) {
    let before = at - 1
    while (isBlank(header.charCodeAt(before))) before -= 1
    let equals = at + name.length
    while (isBlank(header.charCodeAt(equals))) equals += 1
    const isWholeName = (before < 0 || header[before] === ';') && header[equals] === '='
    if (!isWholeName) continue
    const semicolon = header.indexOf(';', equals)
    const value = trimmed(header.slice(equals + 1, semicolon === -1 ? header.length : semicolon))
    if (found !== undefined && found !== value) return undefined
    found = value
  }
  return found
}

/** SP and HTAB only: that is the white space of RFC 6265. */
function trimmed(text: string): string {
  let start = 0
  let end = text.length
  while (start < end && isBlank(text.charCodeAt(start))) start += 1
  while (end > start && isBlank(text.charCodeAt(end - 1))) end -= 1
  return text.slice(start, end)
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09
}

/**
 * The name that some parser somewhere could see in a name-value pair. Browsers store `=a=b` and `a` as cookies without a name and send
 * `a=b` and `a`; other parsers skip control characters or stop at white space.
 */
function loosestName(pair: string): string {
  let start = 0
  while (start < pair.length && isBetweenNames(pair.charCodeAt(start))) start += 1
  let end = start
  while (end < pair.length && !isBetweenNames(pair.charCodeAt(end))) end += 1
  return pair.slice(start, end)
}

/** Controls and white space (C1 and the no-break space included), `=`, `"`, `,`, and characters that show nothing. */
function isBetweenNames(code: number): boolean {
  return (
    code <= 0x20 || (code >= 0x7f && code <= 0xa0) || code === 0x3d || code === 0x22 || code === 0x2c || code === 0xad || code === 0xfeff
  )
}
