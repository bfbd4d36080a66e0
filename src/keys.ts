/**
 * The key ring as the rest of Postern sees it. `src/keys-file.ts` loads, creates, rotates and watches the file behind it.
 *
 * Three families. *Sealing keys* (32 bytes) are roots: every use derives its own key with HKDF and a label, so that a sealed
 * value can never be moved to another purpose or record. *Assertion keys* (ES256) sign the identity towards upstreams;
 * `next` is published before it signs, `previous` after it has stopped, so that no verifier ever meets an unknown `kid`.
 * The *audit key* (Ed25519) signs the checkpoints of the audit trail.
 */

import type { KeyObject } from 'node:crypto'

export interface SealingKey {
  /** Short, unique, not secret; stored in front of what it sealed. */
  readonly id: string
  readonly key: Buffer
}

export interface AssertionKey {
  readonly kid: string
  readonly privateKey: KeyObject
  /** Public JWK with `kid`, `alg: ES256`, `use: sig`. */
  readonly publicJwk: Readonly<Record<string, unknown>>
}

/** What signs checkpoints of the audit trail. */
export interface AuditKey {
  /** Thumbprint (RFC 7638) of the public key. */
  readonly kid: string
  readonly privateKey: KeyObject
  /** Raw, 32 bytes, base64url. */
  readonly publicKey: string
}

export interface KeyRing {
  readonly sealing: { readonly current: SealingKey; readonly all: ReadonlyMap<string, SealingKey> }
  readonly assertion: {
    readonly current: AssertionKey
    readonly next: AssertionKey | undefined
    readonly previous: AssertionKey | undefined
  }
  /** What signs the checkpoints of the audit trail, and every public key that ever did: a trail is verified years later. */
  readonly audit: { readonly current: AuditKey; readonly all: ReadonlyMap<string, string> }
}

/** Always returns the newest ring that loaded; a file that cannot be read never replaces one that could. */
export type CurrentKeys = () => KeyRing
