/**
 * The listener's certificates: several, chosen by the name that a client asks for (SNI, RFC 6066 §3), and read again when their files
 * change. What cannot be used never replaces what can: a half-written file or a key of another certificate is logged and waited out.
 *
 * The name in SNI chooses a certificate and nothing else. Host alone says which app is meant.
 *
 * Where clients are to be asked for a certificate, each has a second context that asks: it names the authorities whose certificates are
 * wanted, so that browsers offer the right one and none other. Whatever comes is verified elsewhere (`client-certificate.ts`).
 */

import { constants, X509Certificate } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import { createSecureContext, type SecureContext, type SecureContextOptions } from 'node:tls'
import type { Validity } from '../attributes/presented-certificates.ts'
import { PosternError } from '../errors.ts'
import type { Logger } from '../log.ts'

export interface CertificateFiles {
  readonly certFile: string
  readonly keyFile: string
}

/** What TLS servers need of a certificate, and the context made of it. */
interface Loaded {
  readonly cert: Buffer
  readonly key: Buffer
  readonly names: X509Certificate
  readonly context: SecureContext
  /** Asks for a client certificate; `undefined` where nobody is asked. */
  readonly askingContext: SecureContext | undefined
  readonly fingerprint: string
}

type ChooseContext = (name: string, callback: (error: Error | null, context?: SecureContext) => void) => void

export interface Certificates {
  /** For clients that name no host, or one that no certificate is for. */
  defaultOptions(): SecureContextOptions
  /** `SNICallback` of the server. */
  choose: ChooseContext
  /** The same two for the server that asks for client certificates. */
  defaultAskingOptions(): SecureContextOptions
  chooseAsking: ChooseContext
  /** Reads files that changed; `true` if anything new is in use. */
  reload(): boolean
  /** When each that is in use begins and ceases to count. */
  validity(): readonly Validity[]
}

/** The names of the authorities whose certificates clients are asked for, as PEM. The same text until they change. */
export type ClientAuthorities = () => string

/** TLS 1.0 and 1.1 are broken (RFC 8996). */
const minVersion = 'TLSv1.2'

/**
 * No ticket, so no resumption, on connections that were asked for a certificate. A resumed session knows the certificate without the
 * intermediates that came with it, and a client that had none would not be asked again for as long as its ticket lives. Node keeps no
 * sessions by itself, so without tickets there is nothing to resume in TLS 1.2 and 1.3.
 */
const withoutResumption = { secureOptions: constants.SSL_OP_NO_TICKET }

/**
 * Loads the certificates; throws `configuration_invalid` for the first that cannot be used. `files` has at least one. Without
 * `clientAuthorities` nobody can be asked for a certificate.
 */
export function loadCertificates(files: readonly CertificateFiles[], log: Logger, clientAuthorities?: ClientAuthorities): Certificates {
  let authorities = clientAuthorities?.()
  let loaded = files.map((pair) => load(pair, authorities))
  /** What each broken pair looked like when it was complained about: it is looked at far more often than anybody mends it. */
  const complaints = new Map<CertificateFiles, string>()

  function complain(pair: CertificateFiles, error: unknown): void {
    const state = stateOf(pair)
    if (complaints.get(pair) === state) return
    complaints.set(pair, state)
    log.error({ err: error, certFile: pair.certFile }, 'a changed certificate cannot be used; the one before stays in use')
  }

  function first(): Loaded {
    const [one] = loaded
    if (one === undefined) throw new TypeError('there is no certificate')
    return one
  }

  const findFor = (name: string) => loaded.find(({ names }) => isFor(names, name)) ?? first()

  return {
    defaultOptions: () => optionsOf(first()),
    choose: (name, callback) => callback(null, findFor(name).context),
    defaultAskingOptions: () => askingOptionsOf(first(), authorities),
    chooseAsking: (name, callback) => callback(null, findFor(name).askingContext),
    reload() {
      const before = loaded
      const authoritiesNow = clientAuthorities?.()
      const isAskingForOthers = authoritiesNow !== authorities
      authorities = authoritiesNow
      loaded = files
        .map((pair, index) => {
          const known = before[index]
          try {
            const isSame = known !== undefined && fingerprintOf(pair) === known.fingerprint && !isAskingForOthers
            const now = isSame ? known : load(pair, authorities)
            complaints.delete(pair)
            return now
          } catch (error) {
            complain(pair, error)
            return known === undefined || !isAskingForOthers ? known : contextsOf(known, authorities)
          }
        })
        .filter((one) => one !== undefined)
      const hasChanged = loaded.some((one, index) => one !== before[index])
      if (hasChanged) log.info({ certificates: files.length }, 'certificates were read again')
      return hasChanged
    },
    validity: () =>
      loaded.map(({ names }, index) => ({
        file: files[index]?.certFile ?? '',
        notBefore: names.validFromDate.getTime(),
        notAfter: names.validToDate.getTime(),
      })),
  }
}

type Pair = Pick<Loaded, 'cert' | 'key' | 'names' | 'fingerprint'>

function optionsOf({ cert, key }: Pair): SecureContextOptions {
  return { cert, key, minVersion }
}

function askingOptionsOf(pair: Pair, authorities: string | undefined): SecureContextOptions {
  return { ...optionsOf(pair), ...withoutResumption, ...(authorities === undefined ? {} : { ca: authorities }) }
}

/** Throws for a key that is not this certificate's. */
function contextsOf({ cert, key, names, fingerprint }: Pair, authorities: string | undefined): Loaded {
  const pair = { cert, key, names, fingerprint }
  const askingContext = authorities === undefined ? undefined : createSecureContext(askingOptionsOf(pair, authorities))
  return { ...pair, context: createSecureContext(optionsOf(pair)), askingContext }
}

function load(pair: CertificateFiles, authorities: string | undefined): Loaded {
  try {
    const fingerprint = fingerprintOf(pair)
    const cert = readFileSync(pair.certFile)
    const key = readFileSync(pair.keyFile)
    return contextsOf({ cert, key, names: new X509Certificate(cert), fingerprint }, authorities)
  } catch (error) {
    throw new PosternError('configuration_invalid', `tls: ${pair.certFile} and ${pair.keyFile} cannot be used together`, { cause: error })
  }
}

/** Follows symbolic links, so that a mounted secret that is swapped as a whole counts as a change. */
function fingerprintOf({ certFile, keyFile }: CertificateFiles): string {
  return [certFile, keyFile]
    .map((file) => statSync(file))
    .map(({ ino, size, mtimeMs }) => `${ino}:${size}:${mtimeMs}`)
    .join(' ')
}

function stateOf(pair: CertificateFiles): string {
  try {
    return fingerprintOf(pair)
  } catch {
    // One of the two cannot be looked at: the same complaint until that changes.
    return 'missing'
  }
}

/** A client may write anything into SNI; a name that the library refuses to compare is nobody's. */
function isFor(names: X509Certificate, name: string): boolean {
  try {
    return names.checkHost(name) !== undefined
  } catch {
    // ERR_INVALID_ARG_VALUE for a NUL in the name. An exception out of `SNICallback` would end the process.
    return false
  }
}
