/**
 * Certificates for tests, made with `openssl`: one authority, and from it as many server certificates as asked for.
 */

import { execFile } from 'node:child_process'
import { readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

export interface Authority {
  /** PEM of the authority, for clients. */
  readonly ca: string
  /** Issues a certificate for `names` into `NAME.pem` and `NAME.key`, each put in place whole. */
  issue(name: string, names: readonly string[]): Promise<{ readonly certFile: string; readonly keyFile: string; readonly serial: string }>
}

/** Makes an authority whose files lie in `folder`. */
export async function createAuthority(folder: string): Promise<Authority> {
  const file = (name: string) => join(folder, name)
  const days = ['-days', '2']
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-noenc']
  await run('openssl', ['req', '-x509', ...newKey, ...days, '-subj', '/CN=Test authority', '-keyout', file('ca.key'), '-out', file('ca.pem')])
  let serial = 4096
  return {
    ca: await readFile(file('ca.pem'), 'utf8'),
    issue: async (name, names) => {
      serial += 1
      const draft = file(`${name}.draft`)
      const request = ['req', ...newKey, '-subj', `/CN=${names[0]}`, '-keyout', `${draft}.key`, '-out', `${draft}.csr`]
      await run('openssl', request)
      await writeFile(`${draft}.ext`, `subjectAltName=${names.map((each) => `DNS:${each}`).join(',')}\n`)
      const from = ['-in', `${draft}.csr`, '-CA', file('ca.pem'), '-CAkey', file('ca.key'), '-set_serial', String(serial)]
      await run('openssl', ['x509', '-req', ...from, ...days, '-extfile', `${draft}.ext`, '-out', `${draft}.pem`])
      await rename(`${draft}.key`, file(`${name}.key`))
      await rename(`${draft}.pem`, file(`${name}.pem`))
      return { certFile: file(`${name}.pem`), keyFile: file(`${name}.key`), serial: serial.toString(16).toUpperCase() }
    },
  }
}
