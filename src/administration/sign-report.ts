/**
 * Signs a posture report as a device does: the reference for everybody who writes a client of their own.
 *
 * A compact JWS (RFC 7515) with the claims that `posture-report.ts` demands, by an Ed25519 or P-256 key in PEM (PKCS #8) or JWK form. The id
 * is random and the time is now, so that a report is never the copy of another.
 */

import { createPrivateKey, type JsonWebKey, type KeyObject, randomUUID } from 'node:crypto'
import { CompactSign } from 'jose'

/** What is signed. */
export interface ReportToSign {
  /** The URL of the access host. */
  readonly audience: URL
  readonly deviceId: string
  /** Checked by the caller. */
  readonly posture: object
  /** Epoch milliseconds. */
  readonly at: number
}

/** Reads a private key from PEM or JWK text; `undefined` for anything that cannot sign a report. */
export function readReportKey(text: string): KeyObject | undefined {
  let key: KeyObject
  try {
    key = text.trimStart().startsWith('{')
      ? createPrivateKey({ key: JSON.parse(text) as JsonWebKey, format: 'jwk' })
      : createPrivateKey(text)
  } catch {
    // What OpenSSL says of it could hold a part of it.
    return undefined
  }
  return algorithmOf(key) === undefined ? undefined : key
}

/** The report as it is posted, `application/jose`. `key` came from `readReportKey`. */
export async function signReport(key: KeyObject, { audience, deviceId, posture, at }: ReportToSign): Promise<string> {
  const alg = algorithmOf(key)
  if (alg === undefined) throw new TypeError('reports are signed with Ed25519 or P-256')
  // To the millisecond (RFC 7519 allows it): two reports in one second are in order.
  const claims = { aud: audience.origin, sub: deviceId, iat: at / 1000, jti: randomUUID(), posture }
  return await new CompactSign(Buffer.from(JSON.stringify(claims))).setProtectedHeader({ alg }).sign(key)
}

function algorithmOf({ asymmetricKeyType, asymmetricKeyDetails }: KeyObject): 'EdDSA' | 'ES256' | undefined {
  if (asymmetricKeyType === 'ed25519') return 'EdDSA'
  return asymmetricKeyType === 'ec' && asymmetricKeyDetails?.namedCurve === 'prime256v1' ? 'ES256' : undefined
}
