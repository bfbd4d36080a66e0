/**
 * Certification path validation (RFC 5280 §6) for device certificates: from the certificate that was presented, over intermediates that
 * were presented with it, to an authority of the operator.
 *
 * Nobody but the operator's own bundle is believed; every certificate in it is an end of the path, whether it signed itself or not. Search
 * is bounded, since strangers choose what they present. Name constraints are not evaluated, so nothing below an authority that has some is
 * believed; the bundle refuses such authorities when it is loaded.
 */

import type { CertificateReading, CertificateRefusal } from './client-certificate.ts'
import { allowsUsage, type CertificateFacts, parseCertificate } from './client-certificate-parsing.ts'
import { clockSkewMs, isInForce, type RevocationList } from './client-certificate-revocation.ts'
import { maxPresented } from './presented-certificates.ts'

/** Whom to believe, and what they took back. */
export interface TrustAnchors {
  readonly authorities: readonly CertificateFacts[]
  /** `undefined`: the operator names no lists, and nothing is ever revoked. */
  readonly lists: readonly RevocationList[] | undefined
}

/** A verdict, and the first instant at which it could be another one without anything being reloaded. */
export interface Verdict {
  readonly reading: Exclude<CertificateReading, { readonly state: 'none' }>
  readonly validUntil: number
}

const maxPathLength = 6
/** Signature checks for one chain; cross-signed authorities need a few, somebody who tries to be expensive gets no more. */
const maxChecks = 24

const clientAuth = '1.3.6.1.5.5.7.3.2'
const anyUsage = '2.5.29.37.0'

/** Verifies a presented chain: DER, the device's certificate first, its intermediates in any order. Never throws. */
export function verifyPresented(chain: readonly Buffer[], anchors: TrustAnchors, at: number): Verdict {
  const [device, ...others] = chain.map(parseCertificate)
  const isWhole = others.length <= maxPresented && others.every((one) => one !== undefined)
  if (device === undefined || !isWhole) return { reading: { state: 'refused', why: 'malformed' }, validUntil: Number.POSITIVE_INFINITY }
  const presented = others.filter((one) => one !== undefined)
  const why = judgeDevice(device, presented, anchors, at)
  const { fingerprint, names, notAfter } = device
  return {
    reading: why === undefined ? { state: 'verified', certificate: { fingerprint, names, notAfter } } : { state: 'refused', why },
    validUntil: nextChange([device, ...presented, ...anchors.authorities], anchors.lists ?? [], at),
  }
}

/** Who signed it comes first: what is wrong with a stranger's certificate is nobody's business. */
function judgeDevice(
  device: CertificateFacts,
  presented: readonly CertificateFacts[],
  anchors: TrustAnchors,
  at: number,
): CertificateRefusal | undefined {
  if (!device.isSoundlySigned || !device.isStrongKey || device.hasUnknownCritical) return 'untrusted'
  const problem = new PathSearch(presented, anchors, at).findProblem(device)
  if (problem === 'untrusted') return problem
  if (at < device.notBefore) return 'not_yet_valid'
  if (at > device.notAfter) return 'expired'
  if (problem !== undefined) return problem
  // The key of an authority identifies no device, and a certificate for something else was not given to one for this.
  const isForClients = device.extendedKeyUsage?.has(clientAuth) ?? true
  return device.authority !== undefined || !isForClients || !allowsUsage(device, 'digitalSignature') ? 'wrong_usage' : undefined
}

type PathProblem = 'untrusted' | 'revoked' | 'revocation_unknown'

class PathSearch {
  readonly #presented: readonly CertificateFacts[]
  readonly #anchors: TrustAnchors
  readonly #at: number
  #checksLeft = maxChecks

  constructor(presented: readonly CertificateFacts[], anchors: TrustAnchors, at: number) {
    this.#presented = presented
    this.#anchors = anchors
    this.#at = at
  }

  /** `undefined` if there is a path to an authority on which nothing is wrong; else what is wrong with the best one. */
  findProblem(device: CertificateFacts): PathProblem | undefined {
    return this.#follow(device, [device], 0)
  }

  /** `below`: authorities between this one and the device that did not issue themselves, as a path length counts them. */
  #follow(certificate: CertificateFacts, path: readonly CertificateFacts[], below: number): PathProblem | undefined {
    let best: PathProblem = 'untrusted'
    for (const issuer of [...this.#anchors.authorities, ...this.#presented]) {
      const isAnchor = this.#anchors.authorities.includes(issuer)
      if (path.length > maxPathLength || path.some(({ fingerprint }) => fingerprint === issuer.fingerprint)) continue
      if (!this.#mayIssue(issuer, below) || !this.#didIssue(issuer, certificate)) continue
      const revocation = this.#findRevocation(certificate, issuer, path.length === 1)
      const isSelfIssued = issuer.subject.equals(issuer.issuer)
      const above = isAnchor ? undefined : this.#follow(issuer, [...path, issuer], isSelfIssued ? below : below + 1)
      if (above === 'untrusted') continue
      const problem = revocation ?? above
      if (problem === undefined) return undefined
      // A certificate that one of its issuers took back is not good because another way leads to it.
      if (problem === 'revoked') return problem
      best = problem
    }
    return best
  }

  #mayIssue(issuer: CertificateFacts, below: number): boolean {
    const { authority, extendedKeyUsage, notAfter, notBefore } = issuer
    if (authority === undefined || (authority.pathLength ?? Number.POSITIVE_INFINITY) < below) return false
    if (this.#at < notBefore || this.#at > notAfter) return false
    if (issuer.hasUnknownCritical || issuer.hasNameConstraints || !issuer.isStrongKey) return false
    // What an authority signed itself with proves nothing either way: it is believed because the operator says so.
    if (!issuer.isSoundlySigned && !this.#anchors.authorities.includes(issuer)) return false
    if (extendedKeyUsage !== undefined && !extendedKeyUsage.has(clientAuth) && !extendedKeyUsage.has(anyUsage)) return false
    return allowsUsage(issuer, 'keyCertSign')
  }

  #didIssue(issuer: CertificateFacts, certificate: CertificateFacts): boolean {
    if (!certificate.issuer.equals(issuer.subject)) return false
    if (this.#checksLeft === 0) return false
    this.#checksLeft -= 1
    return certificate.x509.checkIssued(issuer.x509) && certificate.x509.verify(issuer.key)
  }

  /** The device's issuer has to have a list in force; further up one counts where there is one. */
  #findRevocation(certificate: CertificateFacts, issuer: CertificateFacts, isDevice: boolean): PathProblem | undefined {
    const { lists } = this.#anchors
    if (lists === undefined) return undefined
    const theirs = lists.filter((list) => list.issuer.equals(issuer.subject) && allowsUsage(issuer, 'cRLSign') && list.isFrom(issuer.x509))
    // What was ever taken back stays so, whatever became of the list since.
    if (theirs.some(({ revoked }) => revoked.has(certificate.serial))) return 'revoked'
    const isKnown = theirs.length === 0 ? !isDevice : theirs.some((list) => isInForce(list, this.#at))
    return isKnown ? undefined : 'revocation_unknown'
  }
}

function nextChange(certificates: readonly CertificateFacts[], lists: readonly RevocationList[], at: number): number {
  let next = Number.POSITIVE_INFINITY
  const consider = (instant: number) => {
    if (instant > at && instant < next) next = instant
  }
  for (const { notAfter, notBefore } of certificates) {
    consider(notBefore)
    consider(notAfter + 1)
  }
  for (const { nextUpdate, thisUpdate } of lists) {
    consider(thisUpdate - clockSkewMs)
    consider(nextUpdate)
  }
  return next
}
