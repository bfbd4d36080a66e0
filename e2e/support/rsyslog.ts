/**
 * A real rsyslog of this machine as a receiver over TLS: takes messages by their length and writes the text of each to a file.
 *
 * It shows a certificate of the given authority and asks for one of the same. Where the program is not installed there is none, and the
 * story that needs it says so.
 */

import { type ChildProcess, spawn } from 'node:child_process'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { findRsyslog } from '../provision.ts'
import { waitFor } from './rig.ts'
import type { TestAuthority, TestCertificate } from './test-authority.ts'

/** Path of the program, if it is here with TLS. */
export const rsyslogProgram = findRsyslog()

/** A receiver that can go away and come back. */
export interface Rsyslog {
  readonly port: number
  /** The text of each message, in the order of arrival. */
  received(): Promise<readonly string[]>
  start(): Promise<void>
  stop(signal?: NodeJS.Signals): Promise<void>
}

/** One in `folder`, not yet started. */
export async function createRsyslog(
  folder: string,
  port: number,
  tls: { authority: TestAuthority; own: TestCertificate },
): Promise<Rsyslog> {
  await mkdir(folder, { recursive: true })
  const [output, file] = [join(folder, 'received'), join(folder, 'rsyslog.conf')]
  const driver = 'StreamDriver.Name="gtls" StreamDriver.Mode="1" StreamDriver.AuthMode="x509/certvalid"'
  const files = `defaultNetstreamDriverCAFile="${tls.authority.file}" defaultNetstreamDriverCertFile="${tls.own.certFile}" defaultNetstreamDriverKeyFile="${tls.own.keyFile}"`
  await writeFile(
    file,
    [
      `global(workDirectory="${folder}" maxMessageSize="256k" ${files})`,
      `module(load="imtcp" ${driver})`,
      'template(name="text" type="string" string="%msg%\\n")',
      `input(type="imtcp" address="127.0.0.1" port="${port}")`,
      `action(type="omfile" file="${output}" template="text")`,
      '',
    ].join('\n'),
  )
  let child: ChildProcess | undefined
  return {
    port,
    received: async () =>
      (await readFile(output, 'utf8').catch(() => ''))
        .split('\n')
        .slice(0, -1)
        .map((line) => line.trimStart()),
    start: async () => {
      const started = spawn(rsyslogProgram ?? 'rsyslogd', ['-n', '-f', file, '-i', join(folder, 'pid')], {
        stdio: ['ignore', 'ignore', 'pipe'],
      })
      child = started
      let said = ''
      started.stderr.on('data', (chunk: Buffer) => {
        said += chunk.toString('utf8')
      })
      await waitFor(
        () => isListening(port),
        10_000,
        () => `rsyslog does not listen: ${said}`,
      )
    },
    stop: (signal = 'SIGTERM') =>
      new Promise((resolve) => {
        const ending = child
        child = undefined
        if (ending === undefined || ending.exitCode !== null) return resolve()
        ending.once('exit', () => resolve())
        ending.kill(signal)
      }),
  }
}

/** From the kernel's table: a connection of ours would show up at the receiver. */
async function isListening(port: number): Promise<boolean> {
  const table = await readFile('/proc/net/tcp', 'utf8')
  return table.includes(`0100007F:${port.toString(16).toUpperCase().padStart(4, '0')} 00000000:0000 0A`)
}
