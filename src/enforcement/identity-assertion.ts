/**
 * The identity assertion: a signed statement for one app, which proves to it that a request came through Postern and whose it is.
 *
 * A JWT (RFC 7519) of type `postern+jwt`, ES256, for five minutes and never past the session. `aud` is the app's own URL, so that an
 * app which receives one cannot use it anywhere else. Signed with `node:crypto`, which takes a seventh of the time that WebCrypto
 * needs. `jti` names the assertion, not the request: one serves every request of its minute.
 */

import { randomUUID, sign } from 'node:crypto'
import type { CurrentKeys } from '../keys.ts'
import type { Session } from '../session/session.ts'
import type { IdentityStatement } from './identity.ts'
import type { EnforcementSettings } from './ports.ts'
import type { Route } from './route-table.ts'
import { endOfSession } from './session-limits.ts'

export interface AssertionSigner {
  /** The key that signs now; what it signed before stays valid until it runs out. */
  currentKid(): string
  sign(route: Route, statement: IdentityStatement, session: Session): string
}

export interface AssertionSignerOptions {
  readonly keys: CurrentKeys
  readonly now: () => number
  readonly settings: Pick<EnforcementSettings, 'accessUrl' | 'session'>
}

const lifetimeSeconds = 300

/** The signer of one instance. It asks for the key each time, so a rotation counts from the next assertion on. */
export function createAssertionSigner({ keys, now, settings }: AssertionSignerOptions): AssertionSigner {
  return {
    currentKid: () => keys().assertion.current.kid,
    sign(route, statement, session) {
      const { kid, privateKey } = keys().assertion.current
      const issuedAt = Math.floor(now() / 1000)
      const sessionEnd = Math.floor(endOfSession(session, route, settings.session) / 1000)
      const claims = {
        iss: settings.accessUrl.origin,
        aud: route.audience,
        sub: statement.sub,
        email: statement.email,
        name: statement.name,
        preferred_username: statement.preferredUsername,
        groups: statement.groups,
        device: statement.device,
        sid: session.id,
        jti: randomUUID(),
        iat: issuedAt,
        exp: Math.min(issuedAt + lifetimeSeconds, sessionEnd),
        acr: session.signIn.acr,
        amr: session.signIn.amr.length === 0 ? undefined : session.signIn.amr,
        // Only what the provider stated: a silent round is no authentication.
        ...(session.signIn.authTime === undefined ? {} : { auth_time: Math.floor(session.signIn.authTime / 1000) }),
      }
      const signed = `${encode({ alg: 'ES256', typ: 'postern+jwt', kid })}.${encode(claims)}`
      // JWS wants the two numbers side by side (RFC 7518 §3.4), not in DER.
      const signature = sign('sha256', Buffer.from(signed), { key: privateKey, dsaEncoding: 'ieee-p1363' })
      return `${signed}.${signature.toString('base64url')}`
    },
  }
}

/** The public keys that verifiers need: one that has stopped signing, the one that signs, and one that will. */
export function publicKeys(keys: CurrentKeys): { readonly keys: readonly Readonly<Record<string, unknown>>[] } {
  const { previous, current, next } = keys().assertion
  return { keys: [previous, current, next].flatMap((key) => (key === undefined ? [] : [key.publicJwk])) }
}

function encode(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url')
}
