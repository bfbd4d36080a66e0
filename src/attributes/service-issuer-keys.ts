/**
 * Where the keys of an issuer of access tokens come from, and how long they are believed.
 *
 * A set older than half a minute is read again while it goes on serving, one older than a minute before it serves, so that a key that was
 * taken out stops within that minute. A token with an unknown `kid` causes at most one read in half a minute, and all who wait share it:
 * nobody can make us hammer an issuer with invented ones. An issuer that does not answer keeps its last good set for ten minutes; longer,
 * and a key that was withdrawn for cause would live on in the outage. After that nothing can be told, which is a refusal.
 */

import { isPosternError, PosternError } from '../errors.ts'
import type { Logger } from '../log.ts'
import { isLocalhostName } from '../name-resolution.ts'
import { type KeySet, parseKeySet } from './service-key-set.ts'

/** One GET, bounded in time and size by whoever provides it, which follows no redirect. */
export type DocumentFetch = (
  url: string,
  request: { readonly method: 'GET'; readonly headers: Readonly<Record<string, string>> },
) => Promise<Response>

export interface IssuerKeysOptions {
  /** Exactly as in its tokens. */
  readonly issuer: string
  /** `undefined`: as the issuer's metadata says. */
  readonly jwksUri: string | undefined
  readonly fetch: DocumentFetch
  readonly now: () => number
  readonly log: Pick<Logger, 'info' | 'warn'>
}

export interface IssuerKeys {
  /** The set in force, at once, or `undefined` where it has to be asked for first. */
  recall(): KeySet | undefined
  /** The set in force, read again if `keyId` is not in it. Rejects with `provider_unavailable` if there is none. */
  load(keyId: string | undefined): Promise<KeySet>
}

const refreshAfterMs = 30_000
const freshMs = 60_000
const unknownKeyMs = 30_000
const lastGoodMs = 10 * 60_000
/** How soon a failed read is tried again, whatever asks for it. */
const retryMs = 5000
/** An address that the metadata named is looked up again after this, so that an issuer may move its keys. */
const metadataMs = 10 * 60_000

/** The keys of one issuer, read when the first token asks for them. */
export function createIssuerKeys({ issuer, jwksUri, fetch, now, log }: IssuerKeysOptions): IssuerKeys {
  let known: { readonly set: KeySet; readonly readAt: number } | undefined
  let found: { readonly uri: string; readonly at: number } | undefined
  let failedAt = Number.NEGATIVE_INFINITY
  let unknownKeyAt = Number.NEGATIVE_INFINITY
  let flight: Promise<KeySet> | undefined
  let isDown = false

  function read(): Promise<KeySet> {
    flight ??= readSet()
      .then(
        (set) => {
          known = { set, readAt: now() }
          if (isDown) log.info({ issuer }, 'the keys of an issuer of access tokens can be read again')
          isDown = false
          return set
        },
        (error: unknown) => {
          failedAt = now()
          found = undefined
          if (!isDown) log.warn({ err: error, issuer }, 'the keys of an issuer of access tokens cannot be read')
          isDown = true
          throw error
        },
      )
      .finally(() => {
        flight = undefined
      })
    return flight
  }

  async function readSet(): Promise<KeySet> {
    const uri = jwksUri ?? (await findKeysAddress())
    if (!isPermitted(uri, jwksUri ?? issuer)) throw unusable(`${uri} is not an address to read keys from`)
    const set = parseKeySet(await readJson(uri))
    if (set === undefined) throw unusable(`${uri} answered with something that is not a key set`)
    return set
  }

  /** OpenID Connect Discovery §4, then RFC 8414 §3. Both say whose metadata it is, which has to be this very issuer's. */
  async function findKeysAddress(): Promise<string> {
    if (found !== undefined && now() - found.at < metadataMs) return found.uri
    if (!isPermitted(issuer, issuer)) throw unusable(`${issuer} is not an address to read metadata from`)
    let failure: unknown
    for (const address of metadataAddresses(issuer)) {
      try {
        const metadata = await readJson(address)
        const stated = typeof metadata === 'object' && metadata !== null ? (metadata as Readonly<Record<string, unknown>>) : {}
        if (stated['issuer'] !== issuer) throw unusable(`${address} is the metadata of another issuer`)
        if (typeof stated['jwks_uri'] !== 'string') throw unusable(`${address} names no jwks_uri`)
        found = { uri: stated['jwks_uri'], at: now() }
        return found.uri
      } catch (error) {
        failure ??= error
      }
    }
    throw failure
  }

  async function readJson(url: string): Promise<unknown> {
    try {
      const response = await fetch(url, { method: 'GET', headers: { accept: 'application/json' } })
      if (response.status !== 200) throw unusable(`${url} answered ${response.status}`)
      return await response.json()
    } catch (cause) {
      throw isPosternError(cause) ? cause : new PosternError('provider_unavailable', `${url} gave no usable answer`, { cause })
    }
  }

  /** The last good set, while it may still serve. */
  function lastGood(at: number): KeySet | undefined {
    return known !== undefined && at - known.readAt <= lastGoodMs ? known.set : undefined
  }

  /** A set that is too old to serve unread, although the issuer may be down: `undefined` while there is reason to ask. */
  function recall(): KeySet | undefined {
    const at = now()
    const set = lastGood(at)
    if (set === undefined || known === undefined) return undefined
    const age = at - known.readAt
    const mayTry = at - failedAt >= retryMs
    if (age < 0 || (age >= freshMs && mayTry && !isDown)) return undefined
    // Failures are told by `read`; the set that serves is the answer here.
    if (age >= refreshAfterMs && mayTry) read().catch(() => undefined)
    return set
  }

  return {
    recall,
    async load(keyId) {
      const at = now()
      const current = recall()
      if (current === undefined) {
        const earlier = lastGood(at)
        if (earlier === undefined && flight === undefined && at - failedAt < retryMs)
          throw new PosternError('provider_unavailable', `the keys of ${issuer} could not be read a moment ago`)
        return await read().catch((error: unknown) => {
          if (earlier === undefined) throw error
          return earlier
        })
      }
      if (keyId === undefined || current.has(keyId)) return current
      if (flight === undefined) {
        if (at - unknownKeyAt < unknownKeyMs || at - failedAt < retryMs) return current
        unknownKeyAt = at
      }
      return await read().catch(() => current)
    },
  }
}

/**
 * `https:`, or `http:` on this machine. What a remote issuer's metadata names is never on this machine by `http:`: that would make us ask
 * our own neighbours in somebody else's name.
 */
function isPermitted(address: string, namedBy: string): boolean {
  const url = URL.parse(address)
  if (url === null || url.username !== '' || url.password !== '') return false
  if (url.protocol === 'https:') return true
  const origin = URL.parse(namedBy)
  return url.protocol === 'http:' && isThisMachine(url.hostname) && origin !== null && isThisMachine(origin.hostname)
}

function isThisMachine(hostname: string): boolean {
  return isLocalhostName(hostname) || hostname === '[::1]' || /^127\.\d+\.\d+\.\d+$/.test(hostname)
}

function metadataAddresses(issuer: string): readonly string[] {
  const { origin, pathname } = new URL(issuer)
  const path = pathname.replace(/\/$/, '')
  return [`${origin}${path}/.well-known/openid-configuration`, `${origin}/.well-known/oauth-authorization-server${path}`]
}

function unusable(message: string): PosternError {
  return new PosternError('provider_unavailable', message)
}
