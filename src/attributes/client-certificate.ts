/**
 * The client certificate behind a request: who presented it, and whether it may be believed.
 *
 * A certificate comes from our own listener's TLS connection, or from a header of a trusted proxy where the configuration says that
 * one ends TLS in front of us. Neither is believed: chain, dates, usage and revocation are verified here, by ourselves, and again
 * after every reload of the authority or its revocation list. What cannot be verified is refused, never "none".
 */

import { hash } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { Logger } from '../log.ts'
import { type ForwardedLines, findForwardedLines, parseClientCert, parseForwardedClientCert } from './client-certificate-headers.ts'
import { type TrustAnchors, type Verdict, verifyPresented } from './client-certificate-path.ts'
import { loadClientTrust, type TrustFiles } from './client-certificate-trust.ts'
import type { AskedConnections, Validity } from './presented-certificates.ts'

/** A device certificate that was verified. */
export interface DeviceCertificate {
  /** SHA-256 of the DER, lower-case hex. */
  readonly fingerprint: string
  /** Subject alternative names (DNS, URI, e-mail), then the common names. */
  readonly names: readonly string[]
  /** Epoch milliseconds. */
  readonly notAfter: number
}

/**
 * Why a presented certificate is not believed. `revocation_unknown`: the list that would say whether it is revoked is missing or out of
 * date, which is a matter for the operator and not for the person.
 */
export type CertificateRefusal = 'untrusted' | 'expired' | 'not_yet_valid' | 'revoked' | 'revocation_unknown' | 'wrong_usage' | 'malformed'

/** What a request shows: no certificate, one that is refused, or a verified one. */
export type CertificateReading =
  | { readonly state: 'none' }
  | { readonly state: 'refused'; readonly why: CertificateRefusal }
  | { readonly state: 'verified'; readonly certificate: DeviceCertificate }

/** Reads the client certificate of a request. `recall` answers at once from memory; else `read` has to be asked, which never rejects. */
export interface CertificateReader {
  /**
   * Whether a client that has a certificate would show it on this request: by header always, by our own listener only where it asked, and
   * only under the name that it was asked for. Where this is false, `none` says nothing about the client.
   */
  isVisible(request: IncomingMessage): boolean
  recall(request: IncomingMessage): CertificateReading | undefined
  read(request: IncomingMessage): Promise<CertificateReading>
}

/** `client_certificate:` of the instance configuration. */
export interface CertificateSettings extends TrustFiles {
  readonly from: 'listener' | 'client_cert' | 'xfcc'
}

export interface CertificateReaderOptions {
  readonly settings: CertificateSettings
  /** Whether the other end of a connection may hand on what it saw of a client: it is one of `trusted_proxies`. */
  readonly isTrustedPeer: (address: string) => boolean
  /** Filled by the listener; empty where it never asks. */
  readonly asked: AskedConnections
  /** Epoch milliseconds. */
  readonly now: () => number
  readonly log: Logger
}

/** A reader with its files, until `close`. */
export interface ClientCertificates extends CertificateReader {
  /** The names of the authorities to ask for, as TLS takes them: certificates that it must not believe. */
  authorities(): string
  /** Looks at the files at once; it also looks by itself. `true` if anything new is in force: every earlier verdict is void then. */
  reload(): boolean
  /** When what is in force runs out: the authorities, and the revocation lists where there are any. */
  validity(): { readonly authorities: Validity; readonly lists: Validity | undefined }
  close(): void
}

/** A verdict and what it was made from; it counts while those are in force and until `validUntil`. */
interface Remembered extends Verdict {
  readonly anchors: TrustAnchors
}

const none: CertificateReading = { state: 'none' }
const malformed: Pick<Verdict, 'reading' | 'validUntil'> = {
  reading: { state: 'refused', why: 'malformed' },
  validUntil: Number.POSITIVE_INFINITY,
}

/** A revocation is to count soon; two looks at the state of two files cost nothing. */
const lookEveryMs = 2_000

/** Verdicts kept: one for each device that is about. A stranger who fills this with nonsense costs others one verification more. */
const maxRemembered = 4_096

/** Creates the reader. Throws `configuration_invalid` if the files cannot be used. */
export function createCertificateReader({ settings, isTrustedPeer, asked, now, log }: CertificateReaderOptions): ClientCertificates {
  const trust = loadClientTrust(settings, { now, log })
  const timer = setInterval(() => trust.reload(), lookEveryMs).unref()
  const ofConnections = new WeakMap<Socket, Remembered>()
  const ofChains = new Map<string, Remembered>()
  const { from } = settings

  function ifCurrent(remembered: Remembered | undefined): Remembered | undefined {
    if (remembered === undefined || remembered.anchors !== trust.current() || now() >= remembered.validUntil) return undefined
    return remembered
  }

  /** The verdict on what `chain` yields, known by `key`: everything that a verdict depends on besides trust and time. */
  function verify(key: string, findChain: () => readonly Buffer[] | undefined): Remembered {
    const known = ifCurrent(ofChains.get(key))
    if (known !== undefined) return known
    const anchors = trust.current()
    const chain = findChain()
    const verdict = chain === undefined ? malformed : verifyPresented(chain, anchors, now())
    const remembered = { ...verdict, anchors }
    ofChains.delete(key)
    ofChains.set(key, remembered)
    const [oldest] = ofChains.keys()
    if (ofChains.size > maxRemembered && oldest !== undefined) ofChains.delete(oldest)
    return remembered
  }

  function readConnection(socket: Socket): CertificateReading {
    const chain = asked.get(socket)?.presented ?? []
    if (chain.length === 0) return none
    const remembered = verify(chain.map((one) => hash('sha256', one, 'base64')).join(), () => chain)
    ofConnections.set(socket, remembered)
    return remembered.reading
  }

  /** Lines count from a proxy of ours alone; anybody else's are removed before they get anywhere, and say nothing here. */
  function findLines({ rawHeaders, socket }: IncomingMessage): ForwardedLines | undefined {
    if (from === 'listener') return undefined
    const lines = findForwardedLines(rawHeaders, from)
    if (lines.certificate.length + lines.chain.length === 0) return undefined
    return isTrustedPeer(socket.remoteAddress ?? '') ? lines : undefined
  }

  function readLines(lines: ForwardedLines): CertificateReading {
    return verify(keyOf(lines), () => {
      const chain = from === 'xfcc' ? parseForwardedClientCert(lines) : parseClientCert(lines)
      return typeof chain === 'string' ? undefined : chain
    }).reading
  }

  function isVisible(request: IncomingMessage): boolean {
    if (from !== 'listener') return true
    const name = asked.get(request.socket)?.name
    return name !== undefined && name === hostnameOf(request.headers.host)
  }

  return {
    isVisible,
    recall(request) {
      if (from === 'listener') return isVisible(request) ? ifCurrent(ofConnections.get(request.socket))?.reading : none
      const lines = findLines(request)
      return lines === undefined ? none : ifCurrent(ofChains.get(keyOf(lines)))?.reading
    },
    async read(request) {
      if (from === 'listener') return isVisible(request) ? readConnection(request.socket) : none
      const lines = findLines(request)
      return lines === undefined ? none : readLines(lines)
    },
    authorities: trust.namesPem,
    reload: trust.reload,
    validity() {
      const { authorities, lists } = trust.current()
      const ofLists = lists?.map(({ nextUpdate, thisUpdate }) => ({ notBefore: thisUpdate, notAfter: nextUpdate }))
      return {
        authorities: firstToEnd(settings.caFile, authorities),
        lists: ofLists === undefined ? undefined : firstToEnd(settings.crlFile ?? '', ofLists),
      }
    },
    close: () => clearInterval(timer),
  }
}

/** Neither file is ever empty: that would not have been loaded. */
function firstToEnd(file: string, periods: readonly { readonly notBefore: number; readonly notAfter: number }[]): Validity {
  const { notBefore, notAfter } = periods.reduce((first, one) => (one.notAfter < first.notAfter ? one : first))
  return { file, notBefore, notAfter }
}

/** Headers are kilobytes; what is remembered of them is not. */
function keyOf({ certificate, chain }: ForwardedLines): string {
  return hash('sha256', JSON.stringify([certificate, chain]), 'base64')
}

/** The name in a Host header that the flow has already found to be one, in the spelling of SNI. */
function hostnameOf(host: string | undefined): string | undefined {
  const name = host?.replace(/:\d*$/, '').toLowerCase()
  return name?.endsWith('.') === true ? name.slice(0, -1) : name
}
