/**
 * The listener's certificates: several, chosen by the name that a client asks for (SNI, RFC 6066 §3), and read again when their files
 * change. What cannot be used never replaces what can: a half-written file or a key of another certificate is logged and waited out.
 *
 * The name in SNI chooses a certificate and nothing else. Host alone says which app is meant.
 */

import { X509Certificate } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import { createSecureContext, type SecureContext } from 'node:tls'
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
  readonly fingerprint: string
}

export interface Certificates {
  /** For clients that name no host, or one that no certificate is for. */
  defaultOptions(): { readonly cert: Buffer; readonly key: Buffer; readonly minVersion: 'TLSv1.2' }
  /** `SNICallback` of the server. */
  choose(name: string, callback: (error: Error | null, context?: SecureContext) => void): void
  /** Reads files that changed; `true` if anything new is in use. */
  reload(): boolean
}

/** TLS 1.0 and 1.1 are broken (RFC 8996). */
const minVersion = 'TLSv1.2'

/** Loads the certificates; throws `configuration_invalid` for the first that cannot be used. `files` has at least one. */
export function loadCertificates(files: readonly CertificateFiles[], log: Logger): Certificates {
  let loaded = files.map((pair) => load(pair))
  /** What each broken pair looked like when it was complained about: it is looked at far more often than anybody mends it. */
  const complaints = new Map<CertificateFiles, string>()

  function complain(pair: CertificateFiles, error: unknown): void {
    const state = stateOf(pair)
    if (complaints.get(pair) === state) return
    complaints.set(pair, state)
    log.error({ err: error, certFile: pair.certFile }, 'a changed certificate cannot be used; the one before stays in use')
  }

  return {
    defaultOptions() {
      const [first] = loaded
      if (first === undefined) throw new TypeError('there is no certificate')
      return { cert: first.cert, key: first.key, minVersion }
    },
    choose(name, callback) {
      callback(null, loaded.find(({ names }) => isFor(names, name))?.context ?? loaded[0]?.context)
    },
    reload() {
      const before = loaded
      loaded = files
        .map((pair, index) => {
          const known = before[index]
          try {
            const now = known !== undefined && fingerprintOf(pair) === known.fingerprint ? known : load(pair)
            complaints.delete(pair)
            return now
          } catch (error) {
            complain(pair, error)
            return known
          }
        })
        .filter((one) => one !== undefined)
      const hasChanged = loaded.some((one, index) => one !== before[index])
      if (hasChanged) log.info({ certificates: files.length }, 'certificates were read again')
      return hasChanged
    },
  }
}

function load(pair: CertificateFiles): Loaded {
  try {
    const fingerprint = fingerprintOf(pair)
    const cert = readFileSync(pair.certFile)
    const key = readFileSync(pair.keyFile)
    // Throws for a key that is not this certificate's.
    const context = createSecureContext({ cert, key, minVersion })
    return { cert, key, names: new X509Certificate(cert), context, fingerprint }
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
