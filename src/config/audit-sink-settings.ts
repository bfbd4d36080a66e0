/**
 * `audit.sinks` from what is written to what the sinks are made with: each key where it belongs, names that differ, files that can be read,
 * tokens from wherever they are kept.
 *
 * A sink with a mistake is left out of the result; the report then withholds the whole configuration.
 */

import { createPrivateKey, X509Certificate } from 'node:crypto'
import { join, sep } from 'node:path'
import { syslogFacilities, type WrittenSink } from './audit-sink-schema.ts'
import type { AuditSinkConfiguration } from './instance.ts'
import type { Partially } from './parse-value.ts'
import type { Path, Report } from './problems.ts'
import { type Environment, resolveSecret, warnIfOpen } from './secret-values.ts'
import { isLoopbackName } from './web-address.ts'
import { loadFile } from './yaml-source.ts'

type Written = Partially<WrittenSink>

interface Reading {
  readonly environment: Environment
  readonly report: Report
  readonly absolute: (path: string) => string
  /** Absolute. */
  readonly dataDir: string | undefined
}

const ownKeys: Readonly<Record<WrittenSink['type'], readonly (keyof WrittenSink)[]>> = {
  stdout: [],
  file: ['path'],
  syslog: ['address', 'facility', 'ca_file', 'cert_file', 'key_file'],
  http: ['url', 'format', 'index', 'token', 'token_file', 'ca_file'],
}

/** The sinks, in order. */
export async function resolveSinks(
  written: readonly (Written | undefined)[] | undefined,
  reading: Reading,
): Promise<readonly AuditSinkConfiguration[]> {
  const sinks: AuditSinkConfiguration[] = []
  const names = new Set<string>()
  for (const [index, sink] of (written ?? []).entries()) {
    if (sink?.type === undefined) continue
    const path = ['audit', 'sinks', index]
    const name = sink.name ?? sink.type
    if (names.has(name))
      reading.report.problem(sink.name === undefined ? path : [...path, 'name'], `there is another sink called \`${name}\``, {
        suggestion: 'give each a `name` of its own: it tells their positions apart',
      })
    names.add(name)
    const isFitting = checkKeys(sink, sink.type, path, reading.report)
    const settings = isFitting ? await resolveOne(sink, sink.type, path, reading) : undefined
    if (settings !== undefined) sinks.push({ name, ...settings })
  }
  return sinks
}

function checkKeys(sink: Written, type: WrittenSink['type'], path: Path, report: Report): boolean {
  const foreign = (Object.keys(sink) as (keyof WrittenSink)[]).filter((key) => {
    return key !== 'name' && key !== 'type' && sink[key] !== undefined && !ownKeys[type].includes(key)
  })
  for (const key of foreign) {
    const own = ownKeys[type].map((each) => `\`${each}\``)
    report.problem([...path, key], `\`${key}\` means nothing to a sink of type \`${type}\``, {
      expected: own.length === 0 ? 'no further key' : own.join(', '),
      suggestion: 'remove it',
      at: 'key',
    })
  }
  return foreign.length === 0
}

type Settings = AuditSinkConfiguration extends infer S ? (S extends { readonly type: string } ? Omit<S, 'name'> : never) : never

async function resolveOne(sink: Written, type: WrittenSink['type'], path: Path, reading: Reading): Promise<Settings | undefined> {
  switch (type) {
    case 'stdout':
      return { type }
    case 'file':
      return resolveFile(sink, path, reading)
    case 'syslog':
      return await resolveSyslog(sink, path, reading)
    case 'http':
      return await resolveHttp(sink, path, reading)
  }
}

function resolveFile(sink: Written, path: Path, { report, absolute, dataDir }: Reading): Settings | undefined {
  if (sink.path === undefined) return undefined
  const file = absolute(sink.path)
  if (dataDir !== undefined && file.startsWith(join(dataDir, 'audit') + sep)) {
    report.problem([...path, 'path'], 'this is inside the trail itself', { suggestion: 'choose a file outside `data_dir`' })
    return undefined
  }
  return { type: 'file', path: file }
}

async function resolveSyslog(sink: Written, path: Path, { report, absolute }: Reading): Promise<Settings | undefined> {
  const { address, ca_file: caFile, cert_file: certFile, key_file: keyFile } = sink
  if (address === undefined) return undefined
  if (address.kind === 'tcp') {
    for (const key of ['ca_file', 'cert_file', 'key_file'] as const)
      if (sink[key] !== undefined)
        report.problem([...path, key], `\`${key}\` has no effect on a tcp:// address`, {
          suggestion: 'write `tls://`, or remove it',
          at: 'key',
        })
    if (!isLoopbackName(address.host))
      report.warning([...path, 'address'], 'over plain TCP anybody on the way can read and change the trail that this receiver gets', {
        suggestion: 'write `tls://`',
      })
  }
  if ((certFile === undefined) !== (keyFile === undefined)) {
    const there = certFile === undefined ? 'key_file' : 'cert_file'
    report.problem([...path, there], 'a certificate is shown with its key: there is only one of cert_file and key_file', { at: 'key' })
  }
  if (caFile !== undefined) await checkCertificates(absolute(caFile), [...path, 'ca_file'], report)
  if (certFile !== undefined) await checkCertificates(absolute(certFile), [...path, 'cert_file'], report)
  if (keyFile !== undefined) await checkKey(absolute(keyFile), [...path, 'key_file'], report)
  const file = (written: string | undefined) => (written === undefined ? undefined : absolute(written))
  return {
    type: 'syslog',
    host: address.host,
    port: address.port,
    tls: address.kind === 'tcp' ? undefined : { caFile: file(caFile), certFile: file(certFile), keyFile: file(keyFile) },
    facility: syslogFacilities.indexOf(sink.facility ?? 'authpriv'),
  }
}

async function resolveHttp(sink: Written, path: Path, { environment, report, absolute }: Reading): Promise<Settings | undefined> {
  const { url, format = 'json', index, ca_file: caFile } = sink
  if (url === undefined) return undefined
  if (format !== 'elastic' && index !== undefined)
    report.problem([...path, 'index'], `\`index\` means nothing to the format \`${format}\``, { suggestion: 'remove it', at: 'key' })
  if (caFile !== undefined && url.protocol === 'http:')
    report.problem([...path, 'ca_file'], '`ca_file` has no effect on an http:// receiver', { suggestion: 'remove it', at: 'key' })
  else if (caFile !== undefined) await checkCertificates(absolute(caFile), [...path, 'ca_file'], report)
  const token = await resolveSecret(
    {
      path: [...path, 'token'],
      written: sink.token,
      file: sink.token_file === undefined ? undefined : absolute(sink.token_file),
      leastLength: 8,
    },
    environment,
    report,
  )
  return { type: 'http', url, format, token, index, caFile: caFile === undefined ? undefined : absolute(caFile) }
}

async function checkCertificates(file: string, path: Path, report: Report): Promise<void> {
  const pem = await loadPem(file, path, report)
  if (pem === undefined) return
  try {
    if (new X509Certificate(pem).subject !== null) return
  } catch {
    // OpenSSL's own words name neither the file nor a remedy.
  }
  report.problem(path, 'the file holds no PEM certificate')
}

async function checkKey(file: string, path: Path, report: Report): Promise<void> {
  const pem = await loadPem(file, path, report)
  if (pem === undefined) return
  await warnIfOpen(file, report, path)
  try {
    createPrivateKey(pem)
  } catch {
    // The error could describe key material; the remedy is the same for all causes.
    report.problem(path, 'the file holds no usable PEM private key', { expected: 'an unencrypted key in PKCS #8' })
  }
}

async function loadPem(file: string, path: Path, report: Report): Promise<Buffer | undefined> {
  const bytes = await loadFile(file, 1_000_000)
  if (typeof bytes !== 'string') return bytes
  report.problem(path, bytes)
  return undefined
}
