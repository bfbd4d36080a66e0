/**
 * The instance's sources of facts: device certificates and databases of addresses. What is configured has to be able to say something.
 *
 * A header with a certificate is worth what its sender is worth: without `trusted_proxies` nobody's counts, and a device could never be
 * identified. A database may appear later; until then what it would say is unknown.
 */

import { X509Certificate } from 'node:crypto'
import { stat } from 'node:fs/promises'
import type { WrittenInstance } from './instance-schema.ts'
import type { Partially } from './parse-value.ts'
import type { Path, Report } from './problems.ts'
import { explainFileError, loadFile } from './yaml-source.ts'

type Written = Partially<WrittenInstance>
type Absolute = (path: string) => string

/** Reports certificates that nobody could show, and files that hold none. */
export async function checkClientCertificates(written: Written, report: Report, absolute: Absolute): Promise<void> {
  const { client_certificate: settings, tls, trusted_proxies: proxies } = written
  if (settings === undefined) return
  const path = ['client_certificate']
  if (settings.from === 'listener' && tls !== undefined && tls.length === 0) {
    report.problem([...path, 'from'], 'the listener has no `tls`, so no device can show it a certificate', {
      expected: '`tls`, or `from: client_cert` or `from: xfcc` where a trusted proxy passes certificates on',
    })
  }
  if (settings.from !== undefined && settings.from !== 'listener' && proxies !== undefined && proxies.length === 0) {
    report.problem([...path, 'from'], 'certificates in a header count from trusted proxies only, and there are none', {
      expected: '`trusted_proxies` with the networks of the proxies that set the header',
    })
  }
  if (settings.ca_file !== undefined) {
    await checkPem([...path, 'ca_file'], absolute(settings.ca_file), report, authorities)
  }
  if (settings.crl_file !== undefined) {
    await checkPem([...path, 'crl_file'], absolute(settings.crl_file), report, revocations)
  }
}

interface Kind {
  readonly label: string
  readonly words: string
  readonly isUsable: (block: string) => boolean
}

const authorities: Kind = { label: 'CERTIFICATE', words: 'PEM certificate', isUsable: isCertificate }
const revocations: Kind = { label: 'X509 CRL', words: 'PEM revocation list', isUsable: isSequence }

/** Several blocks may stand in one file; each has to be what it says. */
async function checkPem(path: Path, file: string, report: Report, { label, words, isUsable }: Kind): Promise<void> {
  const bytes = await loadFile(file, 50_000_000)
  if (typeof bytes === 'string') {
    report.problem(path, bytes)
    return
  }
  const blocks = bytes.toString('latin1').match(new RegExp(`-----BEGIN ${label}-----[^-]+-----END ${label}-----`, 'g')) ?? []
  if (blocks.length === 0) report.problem(path, `the file holds no ${words}`, { expected: `\`-----BEGIN ${label}-----\`` })
  else if (!blocks.every(isUsable)) report.problem(path, `the file holds a ${words} that cannot be read`)
}

function isCertificate(block: string): boolean {
  try {
    return new X509Certificate(block).subject !== null
  } catch {
    // OpenSSL's own words name neither the file nor a remedy.
    return false
  }
}

/** DER: a list is a SEQUENCE. Its signature is verified where it is used, against the authority. */
function isSequence(block: string): boolean {
  return Buffer.from(block.replace(/-----[^-]+-----/g, ''), 'base64')[0] === 0x30
}

/** Warns of a database that is not there: a rule that needs it finds nothing out. */
export async function checkDatabases({ facts }: Written, report: Report, absolute: Absolute): Promise<void> {
  for (const key of ['country_file', 'asn_file'] as const) {
    const file = facts?.[key]
    if (file === undefined) continue
    const problem = await findFileProblem(absolute(file))
    if (problem !== undefined) {
      report.warning(['facts', key], problem, { suggestion: 'until it is there, what it would say is unknown' })
    }
  }
}

async function findFileProblem(file: string): Promise<string | undefined> {
  try {
    return (await stat(file)).isFile() ? undefined : 'this is not a regular file'
  } catch (error) {
    return explainFileError(error)
  }
}
