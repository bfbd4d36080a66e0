/**
 * The operator's authorities for device certificates and their revocation lists, read again when the files change.
 *
 * What cannot be used never replaces what can: a broken, foreign or older list, or a bundle with something in it that is no authority, is
 * complained about once and waited out. A list that ran out is complained about as well, and meanwhile refuses the certificates that it
 * was to speak about: an authority that fell silent is not one that revoked nobody.
 */

import { readFileSync, statSync } from 'node:fs'
import { PosternError } from '../errors.ts'
import type { Logger } from '../log.ts'
import { MalformedDer } from './client-certificate-der.ts'
import { makeNameTwins } from './client-certificate-names.ts'
import { type CertificateFacts, parseCertificate } from './client-certificate-parsing.ts'
import type { TrustAnchors } from './client-certificate-path.ts'
import { isInForce, parseRevocationList, type RevocationList } from './client-certificate-revocation.ts'

export interface TrustFiles {
  /** PEM bundle of authorities, each of which is believed. */
  readonly caFile: string
  /** PEM bundle of revocation lists. */
  readonly crlFile: string | undefined
}

export interface ClientTrust {
  /** What is in force. The same object until something changed, so that verdicts can be tied to it. */
  current(): TrustAnchors
  /** The names of the authorities as TLS takes them, for those who ask for certificates. The same text until they change. */
  namesPem(): string
  /** Looks at the files; `true` if anything new is in force. Never throws. */
  reload(): boolean
}

interface Loaded {
  readonly anchors: TrustAnchors
  readonly names: string
  readonly fingerprint: string
}

const maxAuthorities = 256
const maxFileBytes = 64 * 1024 * 1024

/** Loads both files; throws `configuration_invalid` if they cannot be used. A list that ran out can: it refuses. */
export function loadClientTrust(files: TrustFiles, { now, log }: { readonly now: () => number; readonly log: Logger }): ClientTrust {
  let loaded = load(files, undefined)
  let complaint: string | undefined
  let outdated = new Set<RevocationList>()
  warnOfOutdated()

  function warnOfOutdated(): void {
    const lists = loaded.anchors.lists?.filter((list) => !isInForce(list, now())) ?? []
    for (const list of lists) {
      if (outdated.has(list)) continue
      const facts = { crlFile: files.crlFile, thisUpdate: dateOf(list.thisUpdate), nextUpdate: dateOf(list.nextUpdate) }
      log.error(facts, 'a revocation list is out of date; device certificates of its authority are refused until a newer one is there')
    }
    outdated = new Set(lists)
  }

  return {
    current: () => loaded.anchors,
    namesPem: () => loaded.names,
    reload() {
      const before = loaded
      const state = stateOf(files)
      if (state !== before.fingerprint && state !== complaint) {
        try {
          loaded = load(files, before)
          complaint = undefined
          log.info(
            { authorities: loaded.anchors.authorities.length, lists: loaded.anchors.lists?.length },
            'client certificate trust was read again',
          )
        } catch (error) {
          complaint = state
          log.error({ err: error, ...files }, 'changed files for client certificates cannot be used; those before stay in use')
        }
      } else if (state === before.fingerprint) complaint = undefined
      warnOfOutdated()
      return loaded !== before
    },
  }
}

function load(files: TrustFiles, before: Loaded | undefined): Loaded {
  try {
    const fingerprint = fingerprintOf(files)
    const authorities = loadAuthorities(files.caFile)
    const lists = files.crlFile === undefined ? undefined : loadLists(files.crlFile, authorities)
    refuseOlder(lists ?? [], before?.anchors.lists ?? [])
    const isSame = before !== undefined && isSameList(authorities, before.anchors.authorities)
    const names = isSame ? before.names : makeNameTwins(authorities.map(({ subject }) => subject))
    return { anchors: { authorities, lists }, names, fingerprint }
  } catch (error) {
    throw new PosternError('configuration_invalid', `client_certificate: ${reasonOf(error)}`, { cause: error })
  }
}

function isSameList(left: readonly CertificateFacts[], right: readonly CertificateFacts[]): boolean {
  return left.length === right.length && left.every(({ fingerprint }, index) => fingerprint === right[index]?.fingerprint)
}

function loadAuthorities(file: string): readonly CertificateFacts[] {
  const blocks = readPem(file, ['CERTIFICATE', 'TRUSTED CERTIFICATE'])
  const authorities = blocks.map((der, index) => {
    const parsed = parseCertificate(der)
    const problem = parsed === undefined ? 'is not a certificate' : findProblem(parsed)
    if (parsed === undefined || problem !== undefined) throw new TypeError(`certificate ${index + 1} of ${file} ${problem}`)
    return parsed
  })
  if (authorities.length === 0) throw new TypeError(`${file} has no certificate in it`)
  if (authorities.length > maxAuthorities) throw new TypeError(`${file} has more than ${maxAuthorities} certificates in it`)
  return authorities
}

/** What keeps a certificate from being an authority for devices. Its dates do not: they are looked at with each verdict. */
function findProblem({ authority, hasNameConstraints, hasUnknownCritical, isStrongKey }: CertificateFacts): string | undefined {
  if (authority === undefined) return 'is not an authority (basic constraints)'
  if (!isStrongKey) return 'has a key that is too weak or not known'
  if (hasNameConstraints) return 'has name constraints, which are not evaluated here'
  return hasUnknownCritical ? 'has a critical extension that is not known' : undefined
}

function loadLists(file: string, authorities: readonly CertificateFacts[]): readonly RevocationList[] {
  const lists = readPem(file, ['X509 CRL', 'CRL']).map(parseRevocationList)
  if (lists.length === 0) throw new TypeError(`${file} has no revocation list in it`)
  for (const list of lists) {
    const named = authorities.filter(({ subject }) => subject.equals(list.issuer))
    // One of an intermediate is proven when that is presented.
    if (named.length > 0 && !named.some(({ x509 }) => list.isFrom(x509)))
      throw new TypeError(`${file} has a revocation list in it that its authority did not sign`)
  }
  return lists
}

/** A list that is older than the one in force would bring back what was revoked since. */
function refuseOlder(lists: readonly RevocationList[], before: readonly RevocationList[]): void {
  for (const list of lists) {
    const newest = lists.filter(({ issuer }) => issuer.equals(list.issuer)).map(({ thisUpdate }) => thisUpdate)
    if (before.some(({ issuer, thisUpdate }) => issuer.equals(list.issuer) && thisUpdate > Math.max(...newest)))
      throw new TypeError('the revocation list is older than the one in use')
  }
}

/** The contents of PEM blocks with one of these labels (RFC 7468). */
function readPem(file: string, labels: readonly string[]): Buffer[] {
  if (statSync(file).size > maxFileBytes) throw new TypeError(`${file} is larger than anything that belongs there`)
  const text = readFileSync(file, 'latin1')
  const blocks: Buffer[] = []
  for (let at = text.indexOf(beginMark); at !== -1; at = text.indexOf(beginMark, at + 1)) {
    const labelEnd = text.indexOf(markEnd, at + beginMark.length)
    const label = text.slice(at + beginMark.length, labelEnd)
    const end = labelEnd === -1 ? -1 : text.indexOf(`-----END ${label}-----`, labelEnd)
    if (end === -1) throw new TypeError(`${file} is cut off`)
    if (!labels.includes(label)) throw new TypeError(`${file} has a ${label.slice(0, 40)} in it, which does not belong there`)
    const body = text.slice(labelEnd + markEnd.length, end).replace(/\s/g, '')
    if (!/^[A-Za-z0-9+/]+={0,2}$/.test(body)) throw new TypeError(`${file} is not PEM`)
    blocks.push(Buffer.from(body, 'base64'))
  }
  return blocks
}

const beginMark = '-----BEGIN '
const markEnd = '-----'

function reasonOf(error: unknown): string {
  if (error instanceof MalformedDer) return 'a revocation list is malformed'
  return error instanceof Error ? error.message : 'the files cannot be read'
}

/** Follows symbolic links, so that a mounted secret that is swapped as a whole counts as a change. */
function fingerprintOf({ caFile, crlFile }: TrustFiles): string {
  return [caFile, ...(crlFile === undefined ? [] : [crlFile])]
    .map((file) => statSync(file))
    .map(({ ino, size, mtimeMs }) => `${ino}:${size}:${mtimeMs}`)
    .join(' ')
}

function stateOf(files: TrustFiles): string {
  try {
    return fingerprintOf(files)
  } catch {
    // One of the two cannot be looked at: the same complaint until that changes.
    return 'missing'
  }
}

function dateOf(instant: number): string {
  return new Date(instant).toISOString()
}
