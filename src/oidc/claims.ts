/**
 * Claims of a person, from ID Token and userinfo to the plain data that the rest of Postern works with.
 *
 * The ID Token is signed and goes first; userinfo adds what it lacks and never overrides it, nor may it state any claim
 * that belongs to the protocol. Objects lose their prototype and the three names through which one could be reached, so
 * that no claim, however it is called, changes how a look-up behaves. `sub` is compared byte by byte everywhere, and so
 * has to be a value that survives every place it is stated in (OpenID Connect Core §2, §5.3).
 */

import { PosternError } from '../errors.ts'
import type { SignIn } from '../session/session.ts'

export type JsonObject = Readonly<Record<string, unknown>>

/** Claims that speak of the token or of the sign-in: only a signed token may state them. */
const protocolClaims = new Set([
  ...['iss', 'sub', 'aud', 'exp', 'iat', 'nbf', 'jti', 'azp', 'nonce', 'auth_time', 'acr', 'amr', 'sid'],
  ...['at_hash', 'c_hash', 's_hash', 'typ', 'events', 'cnf', 'client_id'],
])
/** Claims that only tie a token to its message. They were checked, say nothing of a person, and the nonce was a secret of the attempt. */
const messageClaims = new Set(['nonce', 'at_hash', 'c_hash', 's_hash'])
const prototypeNames = new Set(['__proto__', 'constructor', 'prototype'])
/** Deeper than any real claim; shallow enough that copying and sealing cannot exhaust the stack. */
const maxDepth = 16
const maxSubBytes = 255

/** ID Token and userinfo together. Either may be missing; the identity in it is always the expected one. */
export function mergeClaims(idToken: JsonObject | undefined, userinfo: JsonObject | undefined, identity: Identity): JsonObject {
  const merged: Record<string, unknown> = Object.create(null)
  for (const [name, value] of Object.entries(userinfo ?? {})) {
    if (!protocolClaims.has(name) && !prototypeNames.has(name)) merged[name] = plain(value, 1)
  }
  for (const [name, value] of Object.entries(idToken ?? {})) {
    if (!prototypeNames.has(name) && !messageClaims.has(name)) merged[name] = plain(value, 1)
  }
  merged['iss'] = identity.issuer
  merged['sub'] = identity.sub
  return merged
}

export interface Identity {
  readonly issuer: string
  readonly sub: string
}

function plain(value: unknown, depth: number): unknown {
  if (value === null || typeof value !== 'object') return value
  if (depth > maxDepth) throw new PosternError('sign_in_invalid', 'a claim is nested deeper than any real one')
  if (Array.isArray(value)) return value.map((entry) => plain(entry, depth + 1))
  const copy: Record<string, unknown> = Object.create(null)
  for (const [name, entry] of Object.entries(value)) if (!prototypeNames.has(name)) copy[name] = plain(entry, depth + 1)
  return copy
}

/**
 * A subject identifier as it may be used: 1–255 bytes, no control character and no space at either end. Headers cannot
 * carry those, and an upstream that reads `alice ` as `alice` would take one person for another. `service:` is how upstreams are told of callers
 * that are no people: nobody may be called so.
 */
export function parseSub(sub: unknown): string {
  if (typeof sub !== 'string' || sub === '') throw new PosternError('sign_in_invalid', 'sub is not a non-empty string')
  if (Buffer.byteLength(sub) > maxSubBytes) throw new PosternError('sign_in_invalid', 'sub is longer than 255 bytes')
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
  if (/[\u0000-\u001f\u007f]/.test(sub) || sub.trim() !== sub || !sub.isWellFormed()) {
    throw new PosternError('sign_in_invalid', 'sub holds a control character, an outer space or half a character')
  }
  if (/^service:/i.test(sub)) throw new PosternError('sign_in_invalid', 'sub begins with `service:`, as no person may')
  return sub
}

/** Strength and time of the sign-in, as the ID Token states them. `at` is `auth_time`, else `otherwiseAt`; never in the future. */
export function readSignIn(idToken: JsonObject, otherwiseAt: number): SignIn {
  const { auth_time: authTime, acr, amr } = idToken
  const isTold = typeof authTime === 'number' && Number.isFinite(authTime)
  return {
    authTime: isTold ? Math.min(authTime * 1000, otherwiseAt) : undefined,
    at: isTold ? Math.min(authTime * 1000, otherwiseAt) : otherwiseAt,
    acr: typeof acr === 'string' ? acr : undefined,
    amr: Array.isArray(amr) ? amr.filter((method) => typeof method === 'string') : [],
  }
}

/** The provider's session id; `undefined` where it is absent or unusable as one. */
export function readProviderSid(idToken: JsonObject | undefined): string | undefined {
  const sid = idToken?.['sid']
  return typeof sid === 'string' && sid !== '' && sid.length <= 512 ? sid : undefined
}
