/**
 * An X.509 certificate as path validation sees it (RFC 5280 §4): parsed once, with every property that a verdict depends on.
 *
 * Strict where it costs honest certificates nothing: one certificate and nothing after it, bounded in size, no extension that is critical
 * and not understood. The parser believes nothing: who signed this, and whether they may, is `client-certificate-path.ts`.
 */

import 'reflect-metadata'
import { type KeyObject, X509Certificate } from 'node:crypto'
import {
  BasicConstraintsExtension,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  X509Certificate as ParsedX509,
  SubjectAlternativeNameExtension,
} from '@peculiar/x509'
import { DerReader, derTags, readDer, readDerSerial } from './client-certificate-der.ts'
import { findSignatureScheme, isStrongKey } from './client-certificate-signature.ts'

/** A certificate with what matters about it. */
export interface CertificateFacts {
  readonly x509: X509Certificate
  readonly key: KeyObject
  /** SHA-256 of the DER, lower-case hex. */
  readonly fingerprint: string
  readonly serial: string
  /** DER of the names. */
  readonly subject: Buffer
  readonly issuer: Buffer
  /** Epoch milliseconds; `notAfter` is the last that counts. */
  readonly notBefore: number
  readonly notAfter: number
  /** `undefined`: no authority. A path length of `undefined` is unlimited. */
  readonly authority: { readonly pathLength: number | undefined } | undefined
  /** `undefined`: no such extension, so no restriction. */
  readonly keyUsage: number | undefined
  readonly extendedKeyUsage: ReadonlySet<string> | undefined
  readonly hasNameConstraints: boolean
  readonly hasUnknownCritical: boolean
  /** Signed with an algorithm that still proves something. */
  readonly isSoundlySigned: boolean
  readonly isStrongKey: boolean
  readonly names: readonly string[]
}

/** A device certificate has one or two KiB; with post-quantum keys some more. */
export const maxCertificateBytes = 16_384
const maxNames = 64
const maxNameLength = 512

const oids = {
  keyUsage: '2.5.29.15',
  subjectAlternativeName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  nameConstraints: '2.5.29.30',
  certificatePolicies: '2.5.29.32',
  extendedKeyUsage: '2.5.29.37',
} as const
/** What is understood. `certificatePolicies` restrict nothing for a verifier that asks for none. */
const understood: ReadonlySet<string> = new Set([...Object.values(oids)])

/** Parses DER; `undefined` for anything that is not exactly one certificate. Never throws. */
export function parseCertificate(der: Buffer): CertificateFacts | undefined {
  if (der.length > maxCertificateBytes) return undefined
  try {
    const outer = new DerReader(readDer(der, derTags.sequence).content)
    const fields = new DerReader(outer.take(derTags.sequence).content)
    const algorithm = outer.take(derTags.sequence)
    fields.takeIf(derTags.context0)
    const serial = readDerSerial(fields.take(derTags.integer))
    fields.take(derTags.sequence)
    const issuer = fields.take(derTags.sequence).whole
    fields.take(derTags.sequence)
    const subject = fields.take(derTags.sequence).whole

    const x509 = new X509Certificate(der)
    if (!x509.raw.equals(der)) return undefined
    const parsed = new ParsedX509(new Uint8Array(der))
    const { extensions } = parsed
    // Two of one kind are forbidden (RFC 5280 §4.2); whoever looks only at one of them would be told the other.
    if (new Set(extensions.map(({ type }) => type)).size !== extensions.length) return undefined
    const constraints = parsed.getExtension(BasicConstraintsExtension)
    const usages = parsed.getExtension(ExtendedKeyUsageExtension)?.usages
    const key = x509.publicKey
    return {
      x509,
      key,
      fingerprint: x509.fingerprint256.replaceAll(':', '').toLowerCase(),
      serial,
      subject,
      issuer,
      notBefore: x509.validFromDate.getTime(),
      // To the second, and that second counts.
      notAfter: x509.validToDate.getTime() + 999,
      authority: constraints?.ca === true ? { pathLength: constraints.pathLength } : undefined,
      keyUsage: parsed.getExtension(KeyUsagesExtension)?.usages,
      extendedKeyUsage: usages === undefined ? undefined : new Set(usages.map(String)),
      hasNameConstraints: extensions.some(({ type }) => type === oids.nameConstraints),
      hasUnknownCritical: extensions.some(({ critical, type }) => critical && !understood.has(type)),
      isSoundlySigned: findSignatureScheme(algorithm) !== undefined,
      isStrongKey: isStrongKey(key),
      names: namesOf(parsed),
    }
  } catch {
    // Three parsers, each with errors of its own, and all of them say the same: this is no certificate.
    return undefined
  }
}

/** Whether the key usage allows this, where there is one (RFC 5280 §4.2.1.3). */
export function allowsUsage(
  { keyUsage }: Pick<CertificateFacts, 'keyUsage'>,
  usage: 'digitalSignature' | 'keyCertSign' | 'cRLSign',
): boolean {
  return keyUsage === undefined || (keyUsage & KeyUsageFlags[usage]) !== 0
}

function namesOf(certificate: ParsedX509): readonly string[] {
  const alternative = certificate.getExtension(SubjectAlternativeNameExtension)?.names.items ?? []
  const names = [
    ...alternative.filter(({ type }) => type === 'dns' || type === 'url' || type === 'email').map(({ value }) => value),
    ...certificate.subjectName.getField('CN'),
  ]
  // What a look-up or a log could read in two ways is no name.
  const plain = names.filter((name) => name.length > 0 && name.length <= maxNameLength && !/\p{Cc}/u.test(name))
  return [...new Set(plain)].slice(0, maxNames)
}
