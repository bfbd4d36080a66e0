/**
 * Verifies logout tokens (OpenID Connect Back-Channel Logout 1.0 §2.4, §2.6). Ending sessions is the caller's job.
 *
 * Checked: an asymmetric signature by a key of the provider, `iss`, `aud`, `iat` (two minutes at most), `exp`, `jti`;
 * the logout member in `events`, which has to be an object; `sub` or `sid` present; and no `nonce`, so that an ID Token can
 * never be replayed here. A token that names no live session is valid: the person is signed out, which is what was asked.
 */

import { createLocalJWKSet, type JWTPayload, jwtVerify } from 'jose'
import { PosternError } from '../errors.ts'
import type { ProviderKeys } from './provider-keys.ts'
import type { LogoutToken } from './relying-party.ts'

const logoutEvent = 'http://schemas.openid.net/event/backchannel-logout'
const maxAgeSeconds = 120
/** Symmetric algorithms and `none` are absent: a client secret must never be able to sign for the provider. */
const algorithms = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519']
/** The specification asks for the first; many providers send the others (RFC 8725 §3.11 came later). */
const types = new Set(['logout+jwt', 'application/logout+jwt', 'jwt'])

export interface LogoutTokenExpectations {
  readonly issuer: string
  readonly clientId: string
  readonly clockToleranceSeconds: number
  readonly at: number
}

/** Rejects with an error of `jose` or `sign_in_invalid` if a check fails, with `provider_unavailable` if no keys can be had. */
export async function verifyLogoutToken(token: string, keys: ProviderKeys, expected: LogoutTokenExpectations): Promise<LogoutToken> {
  const tolerance = expected.clockToleranceSeconds
  const { payload, protectedHeader } = await jwtVerify(
    token,
    async (header, jws) => createLocalJWKSet({ keys: [...(await keys.load(header.kid)).keys] })(header, jws),
    {
      issuer: expected.issuer,
      audience: expected.clientId,
      algorithms,
      maxTokenAge: maxAgeSeconds,
      clockTolerance: tolerance,
      requiredClaims: ['iat', 'exp', 'jti', 'events'],
      currentDate: new Date(expected.at),
    },
  )
  const { typ } = protectedHeader
  if (typ !== undefined && !types.has(typ.toLowerCase())) throw invalid('typ is neither logout+jwt nor JWT')
  if (Object.hasOwn(payload, 'nonce')) throw invalid('it has a nonce')
  if (!namesLogout(payload['events'])) throw invalid('events does not hold the logout event as an object')
  const sub = parseName(payload, 'sub')
  const sid = parseName(payload, 'sid')
  if (sub === undefined && sid === undefined) throw invalid('it names neither sub nor sid')
  const { iat = 0, exp = 0, jti } = payload
  if (typeof jti !== 'string' || jti === '' || jti.length > 512) throw invalid('jti is not a usable identifier')
  const replayableUntil = Math.min(iat + maxAgeSeconds, exp) + tolerance
  return { issuer: expected.issuer, sub, sid, jti, remainingSeconds: Math.max(1, Math.ceil(replayableUntil - expected.at / 1000)) }
}

function namesLogout(events: unknown): boolean {
  if (typeof events !== 'object' || events === null || Array.isArray(events)) return false
  const member = Object.getOwnPropertyDescriptor(events, logoutEvent)?.value as unknown
  return typeof member === 'object' && member !== null && !Array.isArray(member)
}

function parseName(payload: JWTPayload, name: 'sub' | 'sid'): string | undefined {
  const value: unknown = payload[name]
  if (value === undefined) return undefined
  if (typeof value !== 'string' || value === '' || value.length > 512) throw invalid(`${name} is not a usable identifier`)
  return value
}

function invalid(why: string): PosternError {
  return new PosternError('sign_in_invalid', `the logout token is refused: ${why}`)
}
