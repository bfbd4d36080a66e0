/**
 * A strict reader of DER (X.690 §10): what certificates and revocation lists are read with where their exact bytes matter, or where there
 * are too many of them for a general ASN.1 library, which rightly limits what it builds in memory.
 *
 * Definite and shortest lengths only, one-byte tags only, nothing after the end. Whatever else comes throws `MalformedDer`, which every
 * caller turns into "malformed".
 */

/** These bytes are not the DER that was expected. */
export class MalformedDer extends Error {}

/** One element: its content, and itself whole with tag and length. */
export interface DerElement {
  readonly tag: number
  readonly content: Buffer
  readonly whole: Buffer
}

/** Tags of the universal class, and the constructed context tags, that are met here. */
export const derTags = {
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  objectIdentifier: 0x06,
  boolean: 0x01,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  context0: 0xa0,
} as const

/** Reads elements off the front of some content. */
export class DerReader {
  readonly #bytes: Buffer
  #offset = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  get isAtEnd(): boolean {
    return this.#offset === this.#bytes.length
  }

  /** Tag of the next element; `undefined` at the end. */
  get nextTag(): number | undefined {
    return this.#bytes[this.#offset]
  }

  /** The next element, which has to have this tag. */
  take(tag: number): DerElement {
    const element = this.takeAny()
    if (element.tag !== tag) throw new MalformedDer(`tag ${element.tag} where ${tag} belongs`)
    return element
  }

  /** The next element if it has this tag. */
  takeIf(tag: number): DerElement | undefined {
    return this.nextTag === tag ? this.take(tag) : undefined
  }

  /** The content of the next element, a sequence. */
  enter(): DerReader {
    return new DerReader(this.take(derTags.sequence).content)
  }

  takeAny(): DerElement {
    const start = this.#offset
    const tag = this.#byte()
    if ((tag & 0x1f) === 0x1f) throw new MalformedDer('a tag of several bytes')
    const length = this.#length()
    const contentStart = this.#offset
    if (contentStart + length > this.#bytes.length) throw new MalformedDer('cut off')
    this.#offset = contentStart + length
    return { tag, content: this.#bytes.subarray(contentStart, this.#offset), whole: this.#bytes.subarray(start, this.#offset) }
  }

  /** Throws if anything is left. */
  end(): void {
    if (!this.isAtEnd) throw new MalformedDer('something follows')
  }

  #byte(): number {
    const byte = this.#bytes[this.#offset]
    if (byte === undefined) throw new MalformedDer('cut off')
    this.#offset += 1
    return byte
  }

  #length(): number {
    const first = this.#byte()
    if (first < 0x80) return first
    const count = first & 0x7f
    if (count === 0 || count > 4) throw new MalformedDer('an indefinite or enormous length')
    let length = 0
    for (let index = 0; index < count; index += 1) length = length * 256 + this.#byte()
    if (length < 0x80 || length < 256 ** (count - 1)) throw new MalformedDer('a length that is longer than it need be')
    return length
  }
}

/** The one element that `bytes` are. */
export function readDer(bytes: Buffer, tag: number): DerElement {
  const reader = new DerReader(bytes)
  const element = reader.take(tag)
  reader.end()
  return element
}

/** Epoch milliseconds of a `Time` (RFC 5280 §4.1.2.5): UTC, with seconds. */
export function readDerTime({ tag, content }: DerElement): number {
  const text = content.toString('latin1')
  const [, year = '', month, day, hour, minute, second] =
    (tag === derTags.utcTime
      ? /^(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})Z$/
      : tag === derTags.generalizedTime
        ? /^(\d{4})(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})Z$/
        : /$^/
    ).exec(text) ?? []
  const fullYear = year.length === 2 ? (Number(year) >= 50 ? `19${year}` : `20${year}`) : year
  const instant = Date.parse(`${fullYear}-${month}-${day}T${hour}:${minute}:${second}Z`)
  if (Number.isNaN(instant)) throw new MalformedDer('not a time')
  return instant
}

/** A serial number as lower-case hex without leading zero bytes; two's complement is kept as it is, so that equal numbers have equal names. */
export function readDerSerial({ content }: DerElement): string {
  if (content.length === 0 || content.length > 32) throw new MalformedDer('not a serial number')
  return content.toString('hex').replace(/^(?:00)+(?=.)/, '')
}
