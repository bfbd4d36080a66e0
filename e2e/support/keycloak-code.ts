/**
 * One-time codes of the realm's people (RFC 6238), from the secrets in the realm file.
 *
 * Keycloak accepts no code twice, and the one of the next half minute as well. A second code within the same half minute is
 * therefore the next one's: a test never has to wait for a clock.
 */

import { createHmac } from 'node:crypto'

const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'
const stepMs = 30_000

/** A source of codes for one secret in base32, each of another half minute. */
export function createCodeSource(secret: string, now: () => number = Date.now): () => string {
  const key = decodeBase32(secret)
  let last = 0
  return () => {
    last = Math.max(Math.floor(now() / stepMs), last + 1)
    return codeAt(key, last)
  }
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
