/**
 * What is checked of an ID Token beyond what `openid-client` checks (OpenID Connect Core §3.1.3.7, §3.1.3.8, §12.2).
 *
 * The library has verified signature, `iss`, `aud`, `exp`, `nbf` and `nonce`. It looks at `azp` only beside several
 * audiences, at `at_hash` not at all, and at `iat` only for its type. All three are checked here. A token for several
 * audiences is accepted only if `azp` says that it was issued to us.
 */

import { createHash } from 'node:crypto'
import { PosternError } from '../errors.ts'
import type { JsonObject } from './claims.ts'

export interface IdTokenExpectations {
  readonly clientId: string
  readonly accessToken: string
  /** The token answers a request of this instant, so it cannot be older; `undefined` for a refresh. */
  readonly requestedAt: number | undefined
  readonly clockToleranceSeconds: number
  readonly at: number
}

/** Throws `sign_in_invalid` if a check fails. `idToken` is the compact form of `claims`, already verified. */
export function checkIdToken(idToken: string, claims: JsonObject, expected: IdTokenExpectations): void {
  const { azp, at_hash: atHash, iat } = claims
  if (azp !== undefined && azp !== expected.clientId) throw invalid('azp names another client')
  if (atHash !== undefined && atHash !== hashOf(expected.accessToken, readAlgorithm(idToken))) throw invalid('at_hash does not fit')

  const issuedAt = typeof iat === 'number' ? iat * 1000 : Number.NaN
  const tolerance = expected.clockToleranceSeconds * 1000
  // The library allows any `iat`; one far off means that a clock is wrong, and then no time in the token can be believed.
  if (!(issuedAt <= expected.at + tolerance)) throw skewed(issuedAt - expected.at)
  if (expected.requestedAt !== undefined && issuedAt < expected.requestedAt - tolerance) throw skewed(issuedAt - expected.requestedAt)
}

/** Core §3.1.3.6: the left half of the hash that belongs to the signature algorithm. */
function hashOf(accessToken: string, algorithm: string): string {
  const name = algorithm.startsWith('Ed') || algorithm.endsWith('512') ? 'sha512' : algorithm.endsWith('384') ? 'sha384' : 'sha256'
  const digest = createHash(name).update(accessToken, 'ascii').digest()
  return digest.subarray(0, digest.length / 2).toString('base64url')
}

function readAlgorithm(idToken: string): string {
  return readJwsHeader(idToken)?.alg ?? ''
}

/** `alg` and `kid` of a compact JWS, unverified; `undefined` if it is none. Good for choosing a key, for nothing else. */
export function readJwsHeader(token: string): { readonly alg: string | undefined; readonly kid: string | undefined } | undefined {
  try {
    const header: unknown = JSON.parse(Buffer.from(token.split('.', 1)[0] ?? '', 'base64url').toString('utf8'))
    if (typeof header !== 'object' || header === null) return undefined
    const { alg, kid } = header as { alg?: unknown; kid?: unknown }
    return { alg: typeof alg === 'string' ? alg : undefined, kid: typeof kid === 'string' ? kid : undefined }
  } catch {
    return undefined // Not a JWS: whoever verifies it says so.
  }
}

function invalid(why: string): PosternError {
  return new PosternError('sign_in_invalid', `the ID Token is refused: ${why}`)
}

function skewed(byMs: number): PosternError {
  const by = Number.isFinite(byMs) ? `by ${Math.round(byMs / 1000)} s` : 'without bound'
  return new PosternError('sign_in_invalid', `the ID Token is refused: the clock of the provider and the clock here differ ${by}`)
}
