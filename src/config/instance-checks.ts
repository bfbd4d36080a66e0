/**
 * What can be wrong with an instance configuration although each of its values is well formed: keys that contradict each other,
 * files that are not there, openings that nobody wants.
 *
 * Works on what could be read; a value that is missing because it was refused is not blamed a second time.
 */

import { createPrivateKey, X509Certificate } from 'node:crypto'
import { stat } from 'node:fs/promises'
import { maxPictureBytes, pictureWords, recognisePicture } from '../pictures.ts'
import { checkRecordedClaims } from './audit-checks.ts'
import { checkClientCertificates, checkDatabases } from './fact-source-checks.ts'
import type { WrittenInstance } from './instance-schema.ts'
import type { Partially } from './parse-value.ts'
import type { Path, Report } from './problems.ts'
import { warnIfOpen } from './secret-values.ts'
import { canReach, isLoopbackName, isRefusal, parseUpstreamUrl } from './web-address.ts'
import { partsOf } from './who-schema.ts'
import { explainFileError, loadFile } from './yaml-source.ts'

type Written = Partially<WrittenInstance>
type Absolute = (path: string) => string

/** Reports on everything that needs more than one key, or a file. */
export async function checkInstance(written: Written, report: Report, absolute: Absolute): Promise<void> {
  checkAddresses(written, report)
  checkProvider(written.provider, report)
  checkTimes(written, report)
  checkRoles(written, report)
  checkManagedKeys(written, report)
  checkRecordedClaims(written, report)
  await checkCertificates(written, report, absolute)
  await checkClientCertificates(written, report, absolute)
  await checkDatabases(written, report, absolute)
  if (written.provider?.client_key_file !== undefined) {
    await checkKey(['provider', 'client_key_file'], absolute(written.provider.client_key_file), report)
  }
  if (written.keys_file !== undefined && (await exists(absolute(written.keys_file)))) {
    await warnIfOpen(absolute(written.keys_file), report, ['keys_file'])
  }
  if (written.brand?.logo_file !== undefined) await checkLogo(absolute(written.brand.logo_file), report)
}

function checkAddresses({ url, listen, operations, http_redirect: redirect, tls, hsts }: Written, report: Report): void {
  if (url?.protocol === 'http:') {
    if (tls !== undefined && tls.length > 0)
      report.problem(['tls'], 'there are certificates, but `url` is http://', { suggestion: 'write `url` with https://', at: 'key' })
    if (redirect !== undefined) report.problem(['http_redirect'], 'there is nothing to redirect to while `url` is http://', { at: 'key' })
    if (hsts !== undefined) report.problem(['hsts'], 'browsers ignore HSTS while `url` is http://', { at: 'key' })
  }
  const listeners = [
    ['listen', listen],
    ['http_redirect', redirect],
    ['operations', operations],
  ] as const
  for (const [index, [key, address]] of listeners.entries()) {
    const other = listeners.slice(0, index).find(([, earlier]) => address && earlier && isSame(address as Address, earlier as Address))
    if (other !== undefined) report.problem([key], `this is the address of \`${other[0]}\``)
  }
  const host = operations?.host
  if (host !== undefined && !isLoopbackName(host)) {
    report.warning(['operations'], 'the operations address is reachable from other machines and asks nobody who they are', {
      suggestion: 'keep it on 127.0.0.1 or on a network that only monitoring reaches',
    })
  }
}

type Address = { readonly host: string; readonly port: number }

function isSame(a: Address, b: Address): boolean {
  return (
    canReach(a, b) ||
    canReach(b, a) ||
    (a.port === b.port && a.port !== 0 && [a, b].some(({ host }) => host === '0.0.0.0' || host === '::'))
  )
}

function checkProvider(provider: Written['provider'], report: Report): void {
  if (provider === undefined) return
  const at = (...keys: string[]): Path => ['provider', ...keys]
  if (provider.issuer !== undefined) checkIssuer(provider.issuer, provider.dangerously_allow_http === true, report)
  const hasSecret = provider.client_secret !== undefined || provider.client_secret_file !== undefined
  if (provider.client_key_file !== undefined && hasSecret) {
    report.problem(at('client_key_file'), 'there are both a client secret and a client key', { suggestion: 'keep one of them', at: 'key' })
  }
  if (provider.client_key_file === undefined && !hasSecret && provider.client_id !== undefined) {
    report.problem(at('client_secret'), 'the client has neither a secret nor a key', {
      expected: 'client_secret_file, client_secret or client_key_file',
    })
  }
  if (provider.scopes !== undefined && !provider.scopes.includes('openid') && provider.scopes.every((scope) => scope !== undefined)) {
    report.problem(at('scopes'), 'without the scope `openid` there is no sign-in', { suggestion: 'add `openid`' })
  }
  if (provider.dangerously_allow_http === true) {
    report.warning(at('dangerously_allow_http'), 'whoever is on the way to the issuer can sign in as anybody', {
      suggestion: 'use https:// and remove this key',
    })
  }
}

function checkIssuer(issuer: string, isHttpAllowed: boolean, report: Report): void {
  const path = ['provider', 'issuer']
  const parsed = parseUpstreamUrl(issuer)
  if (isRefusal(parsed)) {
    report.problem(path, parsed.refusal, {
      expected: 'the issuer URL, such as `https://keycloak.corp.example/realms/corp`',
      suggestion: parsed.suggestion,
    })
    return
  }
  if (issuer.endsWith('/.well-known/openid-configuration')) {
    report.problem(path, 'this is the discovery document, not the issuer', { suggestion: 'remove `/.well-known/openid-configuration`' })
  } else if (parsed.url.protocol === 'http:' && !isHttpAllowed && !isLoopbackName(parsed.url.hostname)) {
    report.problem(path, 'an http:// issuer lets anybody on the way sign in as anybody', {
      expected: 'https://; http:// only on loopback and *.localhost',
      suggestion: `write \`https://${parsed.url.host}…\``,
    })
  }
}

function checkTimes({ session, limits }: Written, report: Report): void {
  const compare = (path: Path, shorter: number | undefined, longer: number | undefined, sentence: string) => {
    if (shorter !== undefined && longer !== undefined && shorter > longer) report.problem(path, sentence)
  }
  compare(['session', 'idle_timeout'], session?.idle_timeout, session?.lifetime, 'idle_timeout is longer than lifetime')
  compare(['session', 'refresh_after'], session?.refresh_after, session?.claims_max_age, 'refresh_after is longer than claims_max_age')
  compare(['limits', 'header_time'], limits?.header_time, limits?.request_time, 'header_time is longer than request_time')
}

function checkRoles(written: Written, report: Report): void {
  for (const [role, who] of Object.entries(written.console?.roles ?? {})) {
    const circles = who === undefined ? [] : who.kind === 'any_of' ? who.of : [who]
    if (circles.some(({ kind }) => kind === 'signed_in'))
      report.warning(['console', 'roles', role], `everybody who is signed in holds the role ${role}`, {
        suggestion: 'name groups or people',
      })
    for (const part of who === undefined ? [] : partsOf(who)) {
      const path = ['console', 'roles', role]
      if (part.kind === 'public' || part.kind === 'everyone')
        report.problem(path, 'a console role is for named people, never for everybody')
      else if (part.kind === 'services') report.problem(path, 'a console role is for people')
    }
  }
}

/** What a managed policy has and files have not. */
function checkManagedKeys({ policy, policy_seed, policy_two_person, upstreams }: Written, report: Report): void {
  if (policy === 'managed') return
  const without = { suggestion: 'write `policy: managed`, or leave this out', at: 'key' } as const
  if (policy_seed !== undefined) report.problem(['policy_seed'], 'only a managed policy is made of a seed', without)
  if (policy_two_person === true)
    report.problem(['policy_two_person'], 'what is published in files is approved where the files are', without)
  if (upstreams?.allow !== undefined) {
    report.problem(['upstreams', 'allow'], 'this holds for a managed policy only: who writes the files may lead apps anywhere', without)
  }
}

async function checkCertificates({ tls }: Written, report: Report, absolute: Absolute): Promise<void> {
  for (const [index, pair] of (tls ?? []).entries()) {
    const certificate =
      pair?.cert_file === undefined ? undefined : await loadPem(['tls', index, 'cert_file'], absolute(pair.cert_file), report)
    const key = pair?.key_file === undefined ? undefined : await checkKey(['tls', index, 'key_file'], absolute(pair.key_file), report)
    if (certificate === undefined) continue
    try {
      const parsed = new X509Certificate(certificate)
      if (key !== undefined && !parsed.checkPrivateKey(key))
        report.problem(['tls', index, 'key_file'], 'this key does not belong to the certificate')
    } catch {
      // OpenSSL's own words name neither the file nor a remedy.
      report.problem(['tls', index, 'cert_file'], 'the file holds no PEM certificate')
    }
  }
}

async function checkKey(path: Path, file: string, report: Report): Promise<ReturnType<typeof createPrivateKey> | undefined> {
  const pem = await loadPem(path, file, report)
  if (pem === undefined) return undefined
  await warnIfOpen(file, report, path)
  try {
    return createPrivateKey(pem)
  } catch {
    // The error could describe key material; the remedy is the same for all causes.
    report.problem(path, 'the file holds no usable PEM private key', { expected: 'an unencrypted key in PKCS #8' })
    return undefined
  }
}

async function loadPem(path: Path, file: string, report: Report): Promise<Buffer | undefined> {
  const bytes = await loadFile(file, 1_000_000)
  if (typeof bytes !== 'string') return bytes
  report.problem(path, bytes)
  return undefined
}

async function checkLogo(file: string, report: Report): Promise<void> {
  const path = ['brand', 'logo_file']
  const bytes = await loadFile(file, maxPictureBytes)
  if (typeof bytes === 'string') report.problem(path, bytes, { expected: pictureWords })
  else if (recognisePicture(bytes) === undefined)
    report.problem(path, 'the file is no picture that pages can show', { expected: pictureWords })
}

async function exists(file: string): Promise<boolean> {
  try {
    await stat(file)
    return true
  } catch (error) {
    return explainFileError(error) !== 'the file does not exist'
  }
}
