/**
 * The public keys of an issuer of access tokens, from a JWK Set (RFC 7517) to keys that can be used, and only for what they are for.
 *
 * A key is for one kind of algorithm, decided by what the key is and never by what a token says (RFC 8725 §3.1). Keys that are secret,
 * too weak, malformed, or for something other than signatures are left out: a set with one odd key still serves with the others.
 */

import { createHash, createPublicKey, type JsonWebKey, type KeyObject } from 'node:crypto'
import type { Algorithm } from './service-access-token.ts'

export interface KeySet {
  /** Keys that may have signed a token with this algorithm and `kid`; a token without `kid` may be any key's. At most three. */
  find(algorithm: Algorithm, keyId: string | undefined): readonly KeyObject[]
  /** Whether some key, for whatever it may be, has this id. */
  has(keyId: string): boolean
  /** Same for the same content: what was proven with one set stands with the next if it is this. */
  readonly fingerprint: string
}

interface IssuerKey {
  readonly keyId: string | undefined
  /** The one algorithm that the issuer named for it; `undefined` for every one that fits. */
  readonly algorithm: string | undefined
  readonly fits: readonly Algorithm[]
  readonly key: KeyObject
}

/** A provider publishes two or three; a list without an end would be checked key by key. */
const maxKeys = 100
/** Keys with one id and one kind are a mistake of the issuer's; each costs a signature check. */
const maxCandidates = 3
/** RFC 8725 §3.2, NIST SP 800-131A: shorter moduli are no longer safe. Longer ones than this only cost time. */
const rsaBits = { least: 2048, most: 8192 }

const curves: Readonly<Record<string, { readonly algorithm: Algorithm; readonly bytes: number }>> = {
  'P-256': { algorithm: 'ES256', bytes: 32 },
  'P-384': { algorithm: 'ES384', bytes: 48 },
  'P-521': { algorithm: 'ES512', bytes: 66 },
}

/** Reads a set; `undefined` for something that is none. A set whose every key was left out is a set all the same: nothing verifies with it. */
export function parseKeySet(value: unknown): KeySet | undefined {
  const listed = typeof value === 'object' && value !== null ? (value as { readonly keys?: unknown }).keys : undefined
  if (!Array.isArray(listed) || listed.length > maxKeys) return undefined
  const keys = listed.flatMap((jwk: unknown) => parseKey(jwk) ?? [])
  const byId = new Map<string, IssuerKey[]>()
  for (const key of keys) if (key.keyId !== undefined) byId.set(key.keyId, [...(byId.get(key.keyId) ?? []), key])
  return {
    find: (algorithm, keyId) =>
      (keyId === undefined ? keys : (byId.get(keyId) ?? []))
        .filter((key) => key.fits.includes(algorithm) && (key.algorithm === undefined || key.algorithm === algorithm))
        .slice(0, maxCandidates)
        .map(({ key }) => key),
    has: (keyId) => byId.has(keyId),
    fingerprint: createHash('sha256').update(JSON.stringify(listed)).digest('base64url'),
  }
}

function parseKey(value: unknown): IssuerKey | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
  const jwk = value as Readonly<Record<string, unknown>>
  const { kid, alg, use, key_ops: operations } = jwk
  if (use !== undefined && use !== 'sig') return undefined
  if (operations !== undefined && !(Array.isArray(operations) && operations.includes('verify'))) return undefined
  if (!isTextOrAbsent(kid) || !isTextOrAbsent(alg)) return undefined
  const fits = algorithmsOf(jwk)
  if (fits === undefined) return undefined
  try {
    // Only the public members: what an issuer published by mistake has no business in this process.
    const { kty, crv, n, e, x, y } = jwk as JsonWebKey
    const members = Object.fromEntries(Object.entries({ kty, crv, n, e, x, y }).filter(([, member]) => member !== undefined))
    const key = createPublicKey({ key: members, format: 'jwk' })
    const bits = key.asymmetricKeyDetails?.modulusLength
    if (key.asymmetricKeyType === 'rsa' && (bits === undefined || bits < rsaBits.least || bits > rsaBits.most)) return undefined
    return { keyId: kid, algorithm: alg, fits, key }
  } catch {
    // No point of the curve, no number: this is no key.
    return undefined
  }
}

/** What a key of this kind can have signed; `undefined` for kinds that we do not use, symmetric ones first of all. */
function algorithmsOf({ kty, crv, x, y }: Readonly<Record<string, unknown>>): readonly Algorithm[] | undefined {
  if (kty === 'RSA') return ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512']
  if (kty === 'OKP') return crv === 'Ed25519' ? ['EdDSA', 'Ed25519'] : undefined
  if (kty !== 'EC' || typeof crv !== 'string' || !Object.hasOwn(curves, crv)) return undefined
  const curve = curves[crv]
  // Coordinates have the full length of the field (RFC 7518 §6.2.1.2); a shorter one is another key's, or a mistake.
  const isWhole = (coordinate: unknown) => typeof coordinate === 'string' && Buffer.from(coordinate, 'base64url').length === curve?.bytes
  return curve !== undefined && isWhole(x) && isWhole(y) ? [curve.algorithm] : undefined
}

function isTextOrAbsent(value: unknown): value is string | undefined {
  return value === undefined || typeof value === 'string'
}
