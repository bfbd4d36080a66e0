/**
 * The chain: how lines of the trail hang together, for who writes them and for who verifies them.
 *
 * Every line begins with its place and the hash of the line before it:
 *
 *     {"seq":4711,"prev":"<SHA-256 of line 4710, base64url>","at":…,"event":…,…}
 *
 * The hash is taken over the bytes of the line without its newline. The first line of a chain has `seq` 1 and the hash of nothing before it
 * (`genesis`). A segment continues where the one before ended, so a chain runs through all files of its folder. Who changes, removes,
 * inserts or reorders a line breaks every hash from there on; who rewrites everything after it cannot sign the checkpoints again; who
 * cuts the end off is found by the anchor, the head that the store and the receivers of the trail remember.
 *
 * A checkpoint is signed with raw Ed25519 (RFC 8032) over the text that `checkpointText` makes, not as a JWS: there is no header to choose.
 */

import { hash, type KeyObject, sign, verify } from 'node:crypto'

/** `prev` of the very first line: thirty-two zero bytes. */
export const genesis = 'A'.repeat(43)

/** Version of the form of lines; stands in each segment's first line. */
export const lineForm = 1

/** How far a chain is: the last line's place and hash. */
export interface ChainHead {
  readonly seq: number
  readonly hash: string
}

/** The head that the store remembers of a chain. */
export interface Anchor extends ChainHead {
  readonly chain: string
  readonly segment: number
  /** Epoch milliseconds. */
  readonly at: number
}

/** Where anchors are kept. Both reject when the store does not answer; the trail goes on without. */
export interface Anchors {
  load(chain: string): Promise<Anchor | undefined>
  save(anchor: Anchor): Promise<void>
  /** Of a chain that was pruned away as a whole. */
  remove(chain: string): Promise<void>
  list(): AsyncIterable<Anchor>
}

/** The beginning of a line, up to where `"at"` follows. */
export function linePrefix(seq: number, prev: string): string {
  return `{"seq":${seq},"prev":"${prev}",`
}

/** Hash of a line: its bytes without the newline. */
export function hashLine(line: Buffer | string): string {
  return hash('sha256', line, 'base64url')
}

/** What a checkpoint says of the line before it. */
export interface CheckpointClaim {
  readonly chain: string
  readonly instance: string
  /** Of the checkpoint's own line; it vouches for all before it. */
  readonly seq: number
  readonly prev: string
  /** As in the line: RFC 3339. */
  readonly at: string
}

/** What is signed: one value a line, none of which can hold a line break. */
export function checkpointText({ at, chain, instance, prev, seq }: CheckpointClaim): string {
  return `postern audit checkpoint 1\n${chain}\n${instance}\n${seq}\n${prev}\n${at}\n`
}

/** Base64url. */
export function signCheckpoint(claim: CheckpointClaim, privateKey: KeyObject): string {
  return sign(null, Buffer.from(checkpointText(claim)), privateKey).toString('base64url')
}

/** Whether the signature is of this key over this claim. */
export function isCheckpointSigned(claim: CheckpointClaim, signature: string, publicKey: KeyObject): boolean {
  return verify(null, Buffer.from(checkpointText(claim)), publicKey, Buffer.from(signature, 'base64url'))
}
