/**
 * Sealing: AES-256-GCM under a key of its own for every place, so that a sealed value is worth nothing anywhere else.
 *
 * The key is HKDF-SHA256 (RFC 5869) of a ring key with the place (purpose and name) as info, and the place is additional data as
 * well: a value that was moved to another record, cookie or host does not open. Wire form, version 1:
 * `0x01 | length of key id | key id | iv (12) | tag (16) | ciphertext`. Any key of the ring opens; the current one seals.
 */

import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto'
import type { KeyRing } from '../keys.ts'

/** Where a sealed value belongs. */
export interface Place {
  /** A constant word of the code that seals. */
  readonly purpose: string
  /** The record's name, or host and id of a cookie. */
  readonly name: string
}

const wireVersion = 1
const ivBytes = 12
const tagBytes = 16

/** Seals `plaintext` for one place with the current key. */
export function seal(ring: KeyRing, place: Place, plaintext: Buffer): Buffer {
  const { id, key } = ring.sealing.current
  const where = describePlace(place)
  const keyId = Buffer.from(id)
  const iv = randomBytes(ivBytes)
  const cipher = createCipheriv('aes-256-gcm', deriveKey(key, where), iv)
  cipher.setAAD(where)
  const ciphertext = [cipher.update(plaintext), cipher.final()]
  return Buffer.concat([Buffer.from([wireVersion, keyId.length]), keyId, iv, cipher.getAuthTag(), ...ciphertext])
}

/** Whether the current key sealed this. What an older one sealed must be sealed again before that key leaves the ring. */
export function isSealedWithCurrentKey(ring: KeyRing, sealed: Buffer): boolean {
  const keyIdLength = sealed[1]
  return keyIdLength !== undefined && sealed.toString('utf8', 2, 2 + keyIdLength) === ring.sealing.current.id
}

/** The plaintext; `undefined` for a value of another place, of an unknown key, or that was changed. */
export function open(ring: KeyRing, place: Place, sealed: Buffer): Buffer | undefined {
  const keyIdLength = sealed[1]
  if (sealed[0] !== wireVersion || keyIdLength === undefined) return undefined
  const ivAt = 2 + keyIdLength
  const tagAt = ivAt + ivBytes
  const ciphertextAt = tagAt + tagBytes
  if (sealed.length < ciphertextAt) return undefined
  const root = ring.sealing.all.get(sealed.toString('utf8', 2, ivAt))
  if (root === undefined) return undefined
  const where = describePlace(place)
  const decipher = createDecipheriv('aes-256-gcm', deriveKey(root.key, where), sealed.subarray(ivAt, tagAt), { authTagLength: tagBytes })
  decipher.setAAD(where)
  decipher.setAuthTag(sealed.subarray(tagAt, ciphertextAt))
  try {
    return Buffer.concat([decipher.update(sealed.subarray(ciphertextAt)), decipher.final()])
  } catch {
    // The only thing that can fail here is the tag, and that is the answer.
    return undefined
  }
}

/** Length-prefixed, so that no byte can move from the purpose to the name (the class of CVE-2023-35941). */
function describePlace({ purpose, name }: Place): Buffer {
  return Buffer.from(`postern/v1/${Buffer.byteLength(purpose)}:${purpose}${name}`)
}

function deriveKey(root: Buffer, where: Buffer): Buffer {
  // HKDF's info is limited to 1024 bytes in Node; names are shorter, and a longer one would throw rather than be cut.
  return Buffer.from(hkdfSync('sha256', root, '', where, 32))
}
