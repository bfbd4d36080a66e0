/**
 * Verifying `X-Postern-Assertion`: how an app knows, without trusting its network, that Postern let this request through.
 *
 * Checked are the signature against Postern's published keys, the algorithm (ES256 and no other), the type, the issuer (Postern's
 * access URL), the audience (this app and no other) and the time. The keys are fetched once, kept, and fetched again when a
 * key id is unknown, so a rotation needs nothing here. No valid assertion means nobody is there: there is no fallback to headers.
 */

import type { IncomingMessage } from 'node:http'
import { createRemoteJWKSet, customFetch, errors, jwtVerify } from 'jose'
import { fetchLoopbackNames } from '../loopback-names.ts'
import type { Identity } from './identity.ts'

export interface AssertionSettings {
  /** Postern's access URL, origin only. */
  readonly issuer: URL
  /** This app's public URL, without a trailing slash. */
  readonly audience: string
}

/** A verified identity, or why there is none. `keys_unavailable` is nobody's fault and worth another try. */
export type Verification =
  | { readonly outcome: 'verified'; readonly identity: Identity }
  | { readonly outcome: 'missing' | 'invalid' | 'keys_unavailable' }

/** Makes the check of one app; it keeps the fetched keys. */
export function createAssertionCheck(settings: AssertionSettings): (request: IncomingMessage) => Promise<Verification> {
  const keys = createRemoteJWKSet(new URL('/.postern/jwks.json', settings.issuer), {
    // Only names below `localhost` need this; elsewhere the default fetch will do.
    [customFetch]: (url, options) => fetchLoopbackNames(url, { headers: options.headers }),
  })
  return async (request) => {
    const assertion = request.headers['x-postern-assertion']
    if (typeof assertion !== 'string' || assertion === '') return { outcome: 'missing' }
    try {
      const { payload } = await jwtVerify(assertion, keys, {
        issuer: settings.issuer.origin,
        audience: settings.audience,
        algorithms: ['ES256'],
        typ: 'postern+jwt',
        requiredClaims: ['sub', 'iat', 'exp', 'jti'],
        clockTolerance: 5,
      })
      return {
        outcome: 'verified',
        identity: {
          user: String(payload.sub),
          email: textOf(payload['email']),
          preferredUsername: textOf(payload['preferred_username']),
          groups: Array.isArray(payload['groups']) ? payload['groups'].filter((group) => typeof group === 'string') : [],
        },
      }
    } catch (error) {
      // Everything the token itself can be at fault for is one of jose's own errors; what remains is a failed fetch of the keys.
      const isAboutKeys = !(error instanceof errors.JOSEError) || error instanceof errors.JWKSTimeout || error.code === 'ERR_JOSE_GENERIC'
      return { outcome: isAboutKeys ? 'keys_unavailable' : 'invalid' }
    }
  }
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined
}
