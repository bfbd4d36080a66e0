/**
 * Which signatures and keys are good enough under a device certificate or a revocation list, and whether a signature is right.
 *
 * SHA-1 and MD5 can be forged, and RSA below 2048 bits be broken (NIST SP 800-131A): they prove nothing. What is not on the lists is
 * refused, new algorithms included, until they are put there.
 */

import { constants, type KeyObject, verify } from 'node:crypto'
import { type DerElement, DerReader, derTags, MalformedDer, readDer } from './client-certificate-der.ts'

/** How a signature is checked; `hash` is `null` where the algorithm has its own. */
export interface SignatureScheme {
  readonly hash: 'sha256' | 'sha384' | 'sha512' | null
  readonly isPss: boolean
}

/** By the hexadecimal content of the object identifier. RSASSA-PSS names its hash in parameters. */
const schemes: Readonly<Record<string, SignatureScheme>> = {
  '2a864886f70d01010b': { hash: 'sha256', isPss: false },
  '2a864886f70d01010c': { hash: 'sha384', isPss: false },
  '2a864886f70d01010d': { hash: 'sha512', isPss: false },
  '2a8648ce3d040302': { hash: 'sha256', isPss: false },
  '2a8648ce3d040303': { hash: 'sha384', isPss: false },
  '2a8648ce3d040304': { hash: 'sha512', isPss: false },
  '2b6570': { hash: null, isPss: false },
  '2b6571': { hash: null, isPss: false },
}
const rsaPss = '2a864886f70d01010a'
const hashes: Readonly<Record<string, SignatureScheme['hash']>> = {
  '608648016503040201': 'sha256',
  '608648016503040202': 'sha384',
  '608648016503040203': 'sha512',
}

/** The largest key that anybody uses; a check with more costs an attacker nothing and us much. */
const largestRsaBits = 8192
const smallestRsaBits = 2048
const curves = new Set(['prime256v1', 'secp384r1', 'secp521r1'])

/** Reads an `AlgorithmIdentifier`; `undefined` for a signature that is too weak or not known. Throws `MalformedDer`. */
export function findSignatureScheme(identifier: DerElement): SignatureScheme | undefined {
  const fields = new DerReader(identifier.content)
  const name = fields.take(derTags.objectIdentifier).content.toString('hex')
  if (name !== rsaPss) return schemes[name]
  // Without parameters PSS means SHA-1 (RFC 4055 §3.1).
  if (fields.isAtEnd) return undefined
  const hashField = fields.enter().takeIf(derTags.context0)
  if (hashField === undefined) return undefined
  const algorithm = new DerReader(readDer(hashField.content, derTags.sequence).content).take(derTags.objectIdentifier)
  const hash = hashes[algorithm.content.toString('hex')]
  return hash === undefined ? undefined : { hash, isPss: true }
}

/** Whether a key may stand behind a certificate at all. */
export function isStrongKey(key: KeyObject): boolean {
  const details = key.asymmetricKeyDetails
  switch (key.asymmetricKeyType) {
    case 'rsa':
    case 'rsa-pss': {
      const bits = details?.modulusLength ?? 0
      return bits >= smallestRsaBits && bits <= largestRsaBits
    }
    case 'ec':
      return curves.has(details?.namedCurve ?? '')
    case 'ed25519':
    case 'ed448':
      return true
    default:
      return false
  }
}

/** Whether `signature` (the content of a BIT STRING) is `key`'s over `signed`. */
export function isSignedBy(key: KeyObject, signed: Buffer, signature: Buffer, { hash, isPss }: SignatureScheme): boolean {
  if (signature[0] !== 0) throw new MalformedDer('a signature of broken bytes')
  const padding = isPss ? { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_AUTO } : {}
  try {
    return verify(hash, signed, { key, ...padding }, signature.subarray(1))
  } catch {
    // A key of another kind than the algorithm: not its signature.
    return false
  }
}
