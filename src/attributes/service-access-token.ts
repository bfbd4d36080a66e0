/**
 * The form of an access token of a service: what can be told from its text alone, before any key is looked at (RFC 7515, RFC 8725).
 *
 * Nothing here is proof. A token that is not a signed JWT of exactly three parts, names an algorithm outside the list, brings its own key
 * or asks for an extension of the format is refused before it costs a signature check or could make anybody fetch anything.
 */

import type { ClaimSet } from '../policy/facts.ts'

export interface AccessToken {
  readonly algorithm: Algorithm
  readonly keyId: string | undefined
  /** Not believed until the signature has been checked. Null-prototype objects all the way down. */
  readonly claims: ClaimSet
}

/**
 * Asymmetric ones only: a key that verifies must never be one that signs, which is why no `HS…` is here, nor `none`. Each of them fits
 * one kind of key and no other; see `fits` in `service-key-set.ts`.
 */
export const algorithms = [
  ...['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519'],
] as const satisfies readonly string[]

export type Algorithm = (typeof algorithms)[number]

/** Entra's with all its claims is some 3 KiB; our own listener takes 32 KiB of headers in all. */
export const maxTokenBytes = 8 * 1024

/** RFC 9068 §4 names the first two; the third is what issuers wrote before it. Logout tokens, our own assertions and DPoP proofs are neither. */
const types: ReadonlySet<string> = new Set(['at+jwt', 'application/at+jwt', 'jwt'])

/**
 * Header parameters that no access token of ours has a use for. The first four would let the token choose the key that it is checked with
 * (RFC 8725 §3.5), the others belong to encryption, compression, nesting and extensions.
 */
const refusedParameters = [...['jwk', 'jku', 'x5u', 'x5c'], ...['crit', 'b64', 'enc', 'zip', 'epk', 'p2c', 'p2s', 'apu', 'apv', 'cty']]

const maxKeyIdLength = 512
/** Deeper than any real claim; shallow enough that copying cannot exhaust the stack. */
const maxDepth = 16

/** Reads a token; `undefined` for anything that cannot be an access token of a service. Never throws. */
export function parseAccessToken(token: string): AccessToken | undefined {
  if (token.length > maxTokenBytes) return undefined
  const [header, payload, signature, ...rest] = token.split('.')
  if (header === undefined || payload === undefined || signature === undefined || rest.length > 0) return undefined
  if (!base64url.test(signature)) return undefined
  try {
    const parameters = parseObject(header)
    const claims = parseObject(payload)
    if (parameters === undefined || claims === undefined) return undefined
    const { alg, typ, kid } = parameters
    if (refusedParameters.some((name) => name in parameters)) return undefined
    if (!isAlgorithm(alg) || !isType(typ) || !isKeyId(kid)) return undefined
    return { algorithm: alg, keyId: kid, claims }
  } catch {
    // Not UTF-8, not JSON, or nested too deeply: no token.
    return undefined
  }
}

const base64url = /^[A-Za-z0-9_-]+$/
const utf8 = new TextDecoder('utf-8', { fatal: true })

/** Throws for anything that is no JSON text; `undefined` for JSON that is no object. */
function parseObject(part: string): ClaimSet | undefined {
  if (!base64url.test(part)) return undefined
  const value: unknown = JSON.parse(utf8.decode(Buffer.from(part, 'base64url')))
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (copyPlain(value, 0) as ClaimSet) : undefined
}

/** Without a prototype, and without the name that would give one back: no claim changes how a look-up behaves. */
function copyPlain(value: unknown, depth: number): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (depth > maxDepth) throw new RangeError('nested deeper than any real token')
  if (Array.isArray(value)) return value.map((entry) => copyPlain(entry, depth + 1))
  const copy: Record<string, unknown> = Object.create(null)
  for (const [name, entry] of Object.entries(value)) if (name !== '__proto__') copy[name] = copyPlain(entry, depth + 1)
  return copy
}

function isAlgorithm(alg: unknown): alg is Algorithm {
  return typeof alg === 'string' && (algorithms as readonly string[]).includes(alg)
}

function isType(typ: unknown): boolean {
  return typ === undefined || (typeof typ === 'string' && types.has(typ.toLowerCase()))
}

function isKeyId(kid: unknown): kid is string | undefined {
  return kid === undefined || (typeof kid === 'string' && kid !== '' && kid.length <= maxKeyIdLength)
}
