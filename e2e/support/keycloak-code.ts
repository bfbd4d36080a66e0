/**
 * One-time codes of the realm's people (RFC 6238), from the secrets in the realm file: what an authenticator app would show now.
 */

import { createHmac } from 'node:crypto'

const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'
const stepMs = 30_000

/** A source of codes for one secret in base32. */
export function createCodeSource(secret: string): () => string {
  const key = decodeBase32(secret)
  return () => codeAt(key, Math.floor(Date.now() / stepMs))
}

/** HOTP (RFC 4226 §5.3) of the counter, six digits. */
function codeAt(key: Buffer, counter: number): string {
  const message = Buffer.alloc(8)
  message.writeBigUInt64BE(BigInt(counter))
  const digest = createHmac('sha1', key).update(message).digest()
  const offset = digest.readUInt8(digest.length - 1) & 0x0f
  return String((digest.readUInt32BE(offset) & 0x7fffffff) % 1_000_000).padStart(6, '0')
}

function decodeBase32(text: string): Buffer {
  const bits = [...text].map((character) => alphabet.indexOf(character).toString(2).padStart(5, '0')).join('')
  return Buffer.from((bits.match(/.{8}/g) ?? []).map((byte) => Number.parseInt(byte, 2)))
}
