/**
 * Certificates that upstreams and listeners should or should not be believed: an authority of their own, any alternative name, and past
 * expiry, made by the `openssl` command in a folder that `remove` deletes.
 */

import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export interface TestCertificate {
  readonly cert: string
  readonly key: string
  readonly certFile: string
  readonly keyFile: string
}

export interface TestAuthority {
  /** PEM file with its own certificate. */
  readonly file: string
  /** Signs one for these subject alternative names, such as `DNS:a.example` or `IP:127.0.0.1`. Negative `days`: it ran out. */
  issue(alternativeNames: string, days?: number): TestCertificate
  remove(): void
}

const keyOptions = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']

/** Makes an authority that nobody trusts until told to. */
export function createTestAuthority(): TestAuthority {
  const folder = mkdtempSync(join(tmpdir(), 'postern-ca-'))
  const at = (name: string) => join(folder, name)
  const openssl = (...args: string[]) => execFileSync('openssl', args, { stdio: ['ignore', 'ignore', 'pipe'] })
  openssl('req', '-x509', ...keyOptions, '-subj', '/CN=Test authority', '-days', '2', '-keyout', at('ca.key'), '-out', at('ca.pem'))
  let issued = 0
  return {
    file: at('ca.pem'),
    issue: (alternativeNames, days = 2) => {
      issued += 1
      const [keyFile, request, certFile, extensions] = [at(`${issued}.key`), at(`${issued}.csr`), at(`${issued}.pem`), at(`${issued}.ext`)]
      openssl('req', '-new', ...keyOptions, '-subj', '/CN=Test upstream', '-keyout', keyFile, '-out', request)
      writeFileSync(extensions, `subjectAltName=${alternativeNames}\n`)
      const signing = ['-CA', at('ca.pem'), '-CAkey', at('ca.key'), '-CAcreateserial', '-extfile', extensions]
      openssl('x509', '-req', '-in', request, ...signing, '-days', String(days), '-out', certFile)
      return { cert: readFileSync(certFile, 'utf8'), key: readFileSync(keyFile, 'utf8'), certFile, keyFile }
    },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  }
}
