/**
 * What a service token looks like: `pst_<id>_<secret><checksum>`, 12, 43 and 6 characters of base62.
 *
 * The id is public: it stands in lists, logs and the audit trail. The secret is 256 random bits. The checksum is taken over all that
 * stands before it, so that a typing error is found, and a secret scanner can tell a token from something alike, without asking anybody:
 * the first 64 bits of SHA-256, modulo 62^6. Nothing but letters, digits and `_`: a double click selects all of it, no shell, header
 * or CSV changes it.
 */

import { hash, randomBytes } from 'node:crypto'

/** A token, taken apart. */
export interface TokenParts {
  readonly id: string
  /** Never stored, never logged. */
  readonly secret: string
}

const alphabet = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
const base = BigInt(alphabet.length)
const idLength = 12
const secretLength = 43
const checksumLength = 6
const form = /^pst_([0-9A-Za-z]{12})_([0-9A-Za-z]{43})([0-9A-Za-z]{6})$/

/** A new token, and the text that is shown once; with an `id`, another secret for the token of that id. */
export function createTokenText(id: string = createTokenId()): TokenParts & { readonly text: string } {
  const secret = encode(BigInt(`0x${randomBytes(32).toString('hex')}`), secretLength)
  const body = `pst_${id}_${secret}`
  return { id, secret, text: `${body}${checksumOf(body)}` }
}

/** 71 bits, reduced from twice as many: evenly spread, and never two of one name. */
function createTokenId(): string {
  return encode(BigInt(`0x${randomBytes(18).toString('hex')}`) % base ** BigInt(idLength), idLength)
}

/** The parts of a token; `undefined` for anything else, a token with a typing error included. Never throws, reads nothing long. */
export function parseTokenText(text: string): TokenParts | undefined {
  if (text.length > 80) return undefined
  const [, id, secret, checksum] = form.exec(text) ?? []
  if (id === undefined || secret === undefined || checksum !== checksumOf(`pst_${id}_${secret}`)) return undefined
  return { id, secret }
}

/** The id that somebody names: bare, with its `pst_`, or as the beginning of a whole token that was found somewhere. */
export function parseTokenId(text: string): string | undefined {
  return /^(?:pst_)?([0-9A-Za-z]{12})(?:_[0-9A-Za-z]{0,49})?$/.exec(text)?.[1]
}

function checksumOf(body: string): string {
  return encode(BigInt(`0x${hash('sha256', body, 'hex').slice(0, 16)}`) % base ** BigInt(checksumLength), checksumLength)
}

function encode(number: bigint, length: number): string {
  let text = ''
  for (let rest = number; text.length < length; rest /= base) text = alphabet.charAt(Number(rest % base)) + text
  return text
}
