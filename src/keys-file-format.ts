/**
 * What stands in the key file, and how it becomes a ring: the checks, and nothing that touches a disk.
 *
 * A file that does not hold together is refused as a whole. No message repeats any of its text, since all of it is secret.
 */

import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  hkdfSync,
  type JsonWebKey,
  type KeyObject,
  randomBytes,
} from 'node:crypto'
import { PosternError } from './errors.ts'
import type { AssertionKey, KeyRing, SealingKey } from './keys.ts'

/** As in the file. Instants are RFC 3339. */
export interface KeysFile {
  readonly version: 1
  readonly sealing: {
    readonly current: FileSealingKey
    readonly next: FileSealingKey
    readonly retired: readonly (FileSealingKey & { readonly retire_at: string })[]
  }
  readonly assertion: { readonly current: FileAssertionKey; readonly next: FileAssertionKey; readonly previous: FileAssertionKey | null }
  readonly audit: { readonly current: FileAuditKey; readonly retired: readonly FileRetiredAuditKey[] }
}

/** A key to sign checkpoints of the audit trail with. */
export interface FileAuditKey {
  readonly kid: string
  readonly created_at: string
  /** Ed25519, private. */
  readonly jwk: JsonWebKey
}

/** One that signs no more: its public half stays for ever, since what it signed does. */
export interface FileRetiredAuditKey {
  readonly kid: string
  readonly created_at: string
  /** Raw, base64url. */
  readonly public_key: string
}

/** A root to seal with. */
export interface FileSealingKey {
  readonly id: string
  readonly created_at: string
  /** 32 bytes, base64url. */
  readonly key: string
}

/** A key to sign assertions with. */
export interface FileAssertionKey {
  readonly kid: string
  readonly created_at: string
  /** P-256, private. */
  readonly jwk: JsonWebKey
}

const sealingKeyBytes = 32

/** Checks everything and repeats nothing: a message must not show a piece of a key. */
export function parseKeysFile(file: string, text: string): KeysFile {
  const refuse = (what: string) => new PosternError('configuration_invalid', `the key file ${file} is malformed: ${what}`)
  let content: unknown
  try {
    content = JSON.parse(text)
  } catch {
    // The parser's message quotes the text.
    throw refuse('not JSON')
  }
  if (!isRecord(content) || content['version'] !== 1) throw refuse('not version 1')
  const { sealing, assertion } = content
  if (!isRecord(sealing) || !Array.isArray(sealing['retired'])) throw refuse('sealing')
  if (!isRecord(assertion)) throw refuse('assertion')
  const sealingKeys = [sealing['current'], sealing['next'], ...(sealing['retired'] as unknown[])]
  if (!sealingKeys.every(isSealingKey)) throw refuse(`a sealing key needs an id, created_at and ${sealingKeyBytes} bytes of key`)
  if (new Set(sealingKeys.map(({ id }) => id)).size !== sealingKeys.length) throw refuse('two sealing keys have one id')
  if (new Set(sealingKeys.map(({ key }) => key)).size !== sealingKeys.length) throw refuse('a sealing key is there twice')
  if (!(sealing['retired'] as unknown[]).every((key) => isRecord(key) && isInstant(key['retire_at'])))
    throw refuse('a retired key needs retire_at')
  const assertionKeys = [assertion['current'], assertion['next'], ...(assertion['previous'] === null ? [] : [assertion['previous']])]
  if (!assertionKeys.every(isAssertionKey)) throw refuse('an assertion key needs a kid, created_at and a private P-256 jwk')
  if (new Set(assertionKeys.map(({ kid }) => kid)).size !== assertionKeys.length) throw refuse('two assertion keys have one kid')
  // Files that were made before there was an audit key have none until they are next written.
  const audit = content['audit'] ?? { current: deriveAuditKey(sealing['current'] as FileSealingKey), retired: [] }
  if (!isRecord(audit) || !isAuditKey(audit['current'])) throw refuse('audit: a kid, created_at and a private Ed25519 jwk')
  if (!Array.isArray(audit['retired']) || !audit['retired'].every(isRetiredAuditKey))
    throw refuse('a retired audit key needs its public key')
  const auditKids = [audit['current'].kid, ...audit['retired'].map(({ kid }) => kid)]
  if (new Set(auditKids).size !== auditKids.length) throw refuse('two audit keys have one kid')
  return { ...content, audit } as unknown as KeysFile
}

/** The ring of a file at `now`: retired keys whose time is over are left out. */
export function ringOf({ audit, sealing, assertion }: KeysFile, now: number, file: string): KeyRing {
  const usable = usableSealingKeys({ sealing }, now).map((key): SealingKey => ({ id: key.id, key: Buffer.from(key.key, 'base64url') }))
  const [current] = usable
  if (current === undefined) throw new PosternError('configuration_invalid', `the key file ${file} has no sealing key`)
  return {
    sealing: { current, all: new Map(usable.map((key) => [key.id, key])) },
    assertion: {
      current: assertionKeyOf(assertion.current, file),
      next: assertionKeyOf(assertion.next, file),
      previous: assertion.previous === null ? undefined : assertionKeyOf(assertion.previous, file),
    },
    audit: auditKeysOf(audit, file),
  }
}

function auditKeysOf({ current, retired }: KeysFile['audit'], file: string): KeyRing['audit'] {
  let privateKey: KeyObject
  try {
    privateKey = createPrivateKey({ key: current.jwk, format: 'jwk' })
  } catch {
    // The cause could describe the key.
    throw new PosternError('configuration_invalid', `the key file ${file} is malformed: the audit key is not an Ed25519 key`)
  }
  const publicKey = String(createPublicKey(privateKey).export({ format: 'jwk' }).x)
  return {
    current: { kid: current.kid, privateKey, publicKey },
    all: new Map([[current.kid, publicKey], ...retired.map((key) => [key.kid, key.public_key] as const)]),
  }
}

/** Sealing keys in force at `now`, the current one first. */
export function usableSealingKeys({ sealing }: Pick<KeysFile, 'sealing'>, now: number): readonly FileSealingKey[] {
  return [sealing.current, sealing.next, ...sealing.retired.filter((key) => Date.parse(key.retire_at) > now)]
}

function assertionKeyOf({ kid, jwk }: FileAssertionKey, file: string): AssertionKey {
  let privateKey: KeyObject
  try {
    privateKey = createPrivateKey({ key: jwk, format: 'jwk' })
  } catch {
    // The cause could describe the key.
    throw new PosternError(
      'configuration_invalid',
      `the key file ${file} is malformed: the assertion key ${JSON.stringify(kid)} is not a P-256 key`,
    )
  }
  const { kty, crv, x, y } = createPublicKey(privateKey).export({ format: 'jwk' })
  return { kid, privateKey, publicJwk: { kty, crv, x, y, kid, alg: 'ES256', use: 'sig' } }
}

/** A new root to seal with. */
export function createSealingKey(createdAt: string): FileSealingKey {
  return { id: randomBytes(6).toString('base64url'), created_at: createdAt, key: randomBytes(sealingKeyBytes).toString('base64url') }
}

/** `kid` is the key's thumbprint (RFC 7638), so that no two keys ever share one. */
export function createAssertionKey(createdAt: string): FileAssertionKey {
  const jwk = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' })
  const { crv, kty, x, y } = jwk
  const kid = createHash('sha256').update(JSON.stringify({ crv, kty, x, y })).digest('base64url')
  return { kid, created_at: createdAt, jwk }
}

/** A new key to sign checkpoints with. */
export function createAuditKey(createdAt: string): FileAuditKey {
  return auditKeyOf(generateKeyPairSync('ed25519').privateKey, createdAt)
}

/** DER of a private Ed25519 key (RFC 8410 §7), up to where its 32 bytes follow. */
const ed25519Prefix = Buffer.from('302e020100300506032b657004220420', 'hex')

/**
 * The audit key of a file that has none. Every instance with the same file comes to the same one, without a word between them and although
 * the file may be mounted for reading only. The next rotation writes it into the file, before the key that it comes from is replaced.
 */
function deriveAuditKey({ created_at, key }: FileSealingKey): FileAuditKey {
  const seed = hkdfSync('sha256', Buffer.from(key, 'base64url'), Buffer.alloc(0), 'postern audit key', 32)
  const der = Buffer.concat([ed25519Prefix, Buffer.from(seed)])
  return auditKeyOf(createPrivateKey({ key: der, format: 'der', type: 'pkcs8' }), created_at)
}

/** `kid` is the key's thumbprint (RFC 7638, members as in RFC 8037). */
function auditKeyOf(privateKey: KeyObject, createdAt: string): FileAuditKey {
  const jwk = privateKey.export({ format: 'jwk' })
  const { crv, kty, x } = jwk
  return { kid: createHash('sha256').update(JSON.stringify({ crv, kty, x })).digest('base64url'), created_at: createdAt, jwk }
}

/** What stays of a key that signs no more. */
export function retireAuditKey({ created_at, jwk, kid }: FileAuditKey): FileRetiredAuditKey {
  return { kid, created_at, public_key: String(jwk.x) }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isInstant(value: unknown): boolean {
  return typeof value === 'string' && !Number.isNaN(Date.parse(value))
}

function isSealingKey(value: unknown): value is FileSealingKey {
  if (!isRecord(value) || typeof value['id'] !== 'string' || typeof value['key'] !== 'string') return false
  const hasGoodKey = /^[\w-]{43}$/.test(value['key']) && Buffer.from(value['key'], 'base64url').length === sealingKeyBytes
  return /^[\w-]{1,64}$/.test(value['id']) && hasGoodKey && isInstant(value['created_at'])
}

function isAssertionKey(value: unknown): value is FileAssertionKey {
  if (!isRecord(value) || typeof value['kid'] !== 'string' || !isRecord(value['jwk'])) return false
  const { kty, crv, d } = value['jwk']
  return /^[\w-]{1,128}$/.test(value['kid']) && kty === 'EC' && crv === 'P-256' && typeof d === 'string' && isInstant(value['created_at'])
}

function isAuditKey(value: unknown): value is FileAuditKey {
  if (!isRecord(value) || typeof value['kid'] !== 'string' || !isRecord(value['jwk'])) return false
  const { kty, crv, d } = value['jwk']
  return (
    /^[\w-]{1,128}$/.test(value['kid']) && kty === 'OKP' && crv === 'Ed25519' && typeof d === 'string' && isInstant(value['created_at'])
  )
}

function isRetiredAuditKey(value: unknown): value is FileRetiredAuditKey {
  if (!isRecord(value) || typeof value['kid'] !== 'string' || typeof value['public_key'] !== 'string') return false
  return /^[\w-]{1,128}$/.test(value['kid']) && /^[\w-]{43}$/.test(value['public_key']) && isInstant(value['created_at'])
}
