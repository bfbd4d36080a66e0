/**
 * Certificate revocation lists (RFC 5280 §5): read once, asked for every chain that is verified.
 *
 * Only complete lists of one issuer: a delta, a list for part of the certificates or an indirect one does not say of each certificate
 * whether it is good, so a file with one of these is refused as a whole. A list counts from its `thisUpdate` to its `nextUpdate` and not a
 * moment longer; outside of that nothing is known, which is never taken for "good".
 */

import type { X509Certificate } from 'node:crypto'
import { type DerElement, DerReader, derTags, MalformedDer, readDer, readDerSerial, readDerTime } from './client-certificate-der.ts'
import { findSignatureScheme, isSignedBy, type SignatureScheme } from './client-certificate-signature.ts'

/** One list, parsed but not yet proven to be its issuer's. */
export interface RevocationList {
  /** DER of the issuer's name. */
  readonly issuer: Buffer
  /** Epoch milliseconds. */
  readonly thisUpdate: number
  readonly nextUpdate: number
  /** Serial numbers, as `readDerSerial` writes them. */
  readonly revoked: ReadonlySet<string>
  /** Whether the holder of this certificate signed it. */
  isFrom(issuer: X509Certificate): boolean
}

/** Clocks of authorities run ahead a little. */
export const clockSkewMs = 300_000

const v2 = 1
/** `crl_number`, `authority_key_identifier`: all that a complete list of one issuer has to say; others only where they are not critical. */
const knownExtensions = new Set(['551d14', '551d23'])
/** `delta_crl_indicator`, `issuing_distribution_point`: lists that are not about everything, critical or not. */
const partialExtensions = new Set(['551d1b', '551d1c'])

/** Parses a list. Throws `MalformedDer` for what is none, `TypeError` with the reason for one that must not be relied on. */
export function parseRevocationList(der: Buffer): RevocationList {
  const list = new DerReader(readDer(der, derTags.sequence).content)
  const signed = list.take(derTags.sequence)
  const algorithm = list.take(derTags.sequence)
  const signature = list.take(derTags.bitString).content
  list.end()
  const scheme = findSignatureScheme(algorithm)
  if (scheme === undefined) throw new TypeError('the revocation list has a signature that is too weak or not known')

  const fields = new DerReader(signed.content)
  const version = fields.takeIf(derTags.integer)
  if (version !== undefined && (version.content.length !== 1 || version.content[0] !== v2)) throw new MalformedDer('another version')
  if (!fields.take(derTags.sequence).whole.equals(algorithm.whole)) throw new MalformedDer('two signature algorithms')
  const issuer = fields.take(derTags.sequence).whole
  const thisUpdate = readDerTime(fields.takeAny())
  if (fields.nextTag !== derTags.utcTime && fields.nextTag !== derTags.generalizedTime)
    throw new TypeError('the revocation list does not say when the next one comes (nextUpdate)')
  const nextUpdate = readDerTime(fields.takeAny())
  const revoked = new Set<string>()
  const entries = fields.takeIf(derTags.sequence)
  if (entries !== undefined) readEntries(entries, revoked)
  const extensions = fields.takeIf(derTags.context0)
  fields.end()
  if (extensions !== undefined) {
    for (const { id, isCritical } of readExtensions(readDer(extensions.content, derTags.sequence))) {
      if (partialExtensions.has(id)) throw new TypeError('the revocation list is a delta or about some certificates only')
      if (isCritical && !knownExtensions.has(id)) throw new TypeError('the revocation list has a critical extension that is not known')
    }
  }
  return { issuer, thisUpdate, nextUpdate, revoked, isFrom: createProof(signed.whole, signature, scheme) }
}

/** What a list in force says of a serial number. */
export function isInForce({ thisUpdate, nextUpdate }: RevocationList, at: number): boolean {
  return thisUpdate <= at + clockSkewMs && at < nextUpdate
}

function readEntries({ content }: DerElement, revoked: Set<string>): void {
  const entries = new DerReader(content)
  while (!entries.isAtEnd) {
    const entry = entries.enter()
    revoked.add(readDerSerial(entry.take(derTags.integer)))
    entry.takeAny()
    const extensions = entry.takeIf(derTags.sequence)
    entry.end()
    // `certificate_issuer` is critical: the entry is then about somebody else's certificate.
    if (extensions !== undefined && readExtensions(extensions).some(({ isCritical }) => isCritical))
      throw new TypeError('the revocation list is about certificates of several issuers')
  }
}

function readExtensions({ content }: DerElement): { readonly id: string; readonly isCritical: boolean }[] {
  const found: { readonly id: string; readonly isCritical: boolean }[] = []
  const extensions = new DerReader(content)
  while (!extensions.isAtEnd) {
    const extension = extensions.enter()
    const id = extension.take(derTags.objectIdentifier).content.toString('hex')
    const isCritical = extension.takeIf(derTags.boolean)?.content[0] === 0xff
    extension.take(derTags.octetString)
    extension.end()
    found.push({ id, isCritical })
  }
  return found
}

/** Each issuer's verdict is worked out once: lists can be large, and every chain asks. */
function createProof(signed: Buffer, signature: Buffer, scheme: SignatureScheme): RevocationList['isFrom'] {
  const proven = new Map<string, boolean>()
  return (issuer) => {
    const key = issuer.fingerprint256
    const known = proven.get(key)
    if (known !== undefined) return known
    const isFrom = isSignedBy(issuer.publicKey, signed, signature, scheme)
    // Issuers are authorities that were verified before; still, strangers choose which intermediates they present.
    if (proven.size < maxProofs) proven.set(key, isFrom)
    return isFrom
  }
}

const maxProofs = 256
