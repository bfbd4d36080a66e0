/**
 * The name that a TLS client asks for, read from the first bytes of its connection (ClientHello, RFC 8446 §4.1.2; SNI, RFC 6066 §3),
 * before any TLS library has seen them.
 *
 * It only chooses which of our own TLS servers goes on, so a client that deceives it gains nothing: the handshake that follows reads the
 * same bytes again, and what it says is what counts. Strict and bounded all the same: what no honest client sends is refused here.
 * Extensions that are not understood (GREASE, RFC 8701; an outer ECH) are stepped over by their length.
 */

/** What is known so far. `complete` without a `name`: the client named none. A name is lower-case, without the root's dot, any bytes else. */
export type ClientHello =
  | { readonly state: 'incomplete' }
  | { readonly state: 'refused'; readonly why: 'not_tls' | 'malformed' | 'too_large' }
  | { readonly state: 'complete'; readonly name: string | undefined }

/** Today's largest hellos, with post-quantum key shares and ECH, have less than a quarter of it. */
export const maxHelloBytes = 16_384

/** Honest clients write one record, some two or three. A byte each would make every look at them long. */
const maxRecords = 16

const recordHeaderBytes = 5
const handshakeHeaderBytes = 4
const handshakeRecord = 22
const clientHelloMessage = 1
const serverNameExtension = 0
const hostNameType = 0

const incomplete: ClientHello = { state: 'incomplete' }

/** Collects what a client sends until its ClientHello is there. */
export class ClientHelloReader {
  #bytes: Buffer = Buffer.alloc(0)

  /** Everything that was received: for whoever carries on the connection. */
  get bytes(): Buffer {
    return this.#bytes
  }

  /** Adds what arrived and says what is known now. Nothing more may be added once it is not `incomplete`. */
  add(chunk: Buffer): ClientHello {
    this.#bytes = this.#bytes.length === 0 ? chunk : Buffer.concat([this.#bytes, chunk])
    return parseClientHello(this.#bytes)
  }
}

/** Reads a ClientHello at the beginning of `bytes`; what follows it does not matter. Never throws. */
export function parseClientHello(bytes: Buffer): ClientHello {
  const fragments: Buffer[] = []
  let gathered = 0
  let offset = 0
  for (let records = 0; ; records += 1) {
    // As far as bytes are there they have to be right: what is no TLS is known by its first byte.
    if (offset < bytes.length && bytes[offset] !== handshakeRecord) return refused(records === 0 ? 'not_tls' : 'malformed')
    if (offset + 1 < bytes.length && bytes[offset + 1] !== 3) return refused(records === 0 ? 'not_tls' : 'malformed')
    if (offset + recordHeaderBytes > bytes.length) return incomplete
    const length = bytes.readUInt16BE(offset + 3)
    // A handshake record without content is forbidden (RFC 8446 §5.1).
    if (length === 0) return refused('malformed')
    if (length > maxHelloBytes || records === maxRecords) return refused('too_large')
    const fragment = bytes.subarray(offset + recordHeaderBytes, offset + recordHeaderBytes + length)
    fragments.push(fragment)
    gathered += fragment.length

    const message = gatherMessage(fragments, gathered)
    if (message !== undefined) return 'state' in message ? message : parseMessage(message)
    if (fragment.length < length) return incomplete
    offset += recordHeaderBytes + length
  }
}

/** The body of the first handshake message; `undefined` while it is not all there. */
function gatherMessage(fragments: readonly Buffer[], gathered: number): Buffer | ClientHello | undefined {
  const content = fragments.length === 1 ? fragments[0] : Buffer.concat(fragments, gathered)
  if (content === undefined || content.length === 0) return undefined
  if (content[0] !== clientHelloMessage) return refused('malformed')
  if (content.length < handshakeHeaderBytes) return undefined
  const length = content.readUIntBE(1, 3)
  if (length > maxHelloBytes) return refused('too_large')
  return content.length < handshakeHeaderBytes + length ? undefined : content.subarray(handshakeHeaderBytes, handshakeHeaderBytes + length)
}

function parseMessage(message: Buffer): ClientHello {
  try {
    return { state: 'complete', name: findServerName(message) }
  } catch (error) {
    if (error instanceof Malformed) return refused('malformed')
    throw error
  }
}

class Malformed extends Error {}

/** Takes fields off the front; whatever is not there in full is malformed. */
class Fields {
  readonly #bytes: Buffer
  #offset = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  get isAtEnd(): boolean {
    return this.#offset === this.#bytes.length
  }

  take(length: number): Buffer {
    if (this.#offset + length > this.#bytes.length) throw new Malformed()
    this.#offset += length
    return this.#bytes.subarray(this.#offset - length, this.#offset)
  }

  uint(bytes: 1 | 2): number {
    return this.take(bytes).readUIntBE(0, bytes)
  }

  /** A vector with its length before it. */
  vector(lengthBytes: 1 | 2): Fields {
    return new Fields(this.take(this.uint(lengthBytes)))
  }

  rest(): Buffer {
    return this.take(this.#bytes.length - this.#offset)
  }
}

function findServerName(message: Buffer): string | undefined {
  const hello = new Fields(message)
  if (hello.uint(2) >> 8 !== 3) throw new Malformed()
  hello.take(32)
  if (hello.vector(1).rest().length > 32) throw new Malformed()
  const suites = hello.vector(2).rest().length
  if (suites < 2 || suites % 2 !== 0) throw new Malformed()
  if (hello.vector(1).isAtEnd) throw new Malformed()
  // TLS 1.2 lets a hello end here.
  if (hello.isAtEnd) return undefined
  const extensions = hello.vector(2)
  if (!hello.isAtEnd) throw new Malformed()
  let name: string | undefined
  while (!extensions.isAtEnd) {
    const type = extensions.uint(2)
    const content = extensions.vector(2)
    if (type !== serverNameExtension) continue
    // Twice is forbidden (RFC 8446 §4.2), and two readers could each believe another one.
    if (name !== undefined) throw new Malformed()
    name = readServerName(content)
  }
  return name
}

/** A list with exactly one host name: no other type was ever defined, and two of one type are forbidden. */
function readServerName(content: Fields): string {
  const list = content.vector(2)
  if (!content.isAtEnd) throw new Malformed()
  if (list.uint(1) !== hostNameType) throw new Malformed()
  const name = list.vector(2).rest()
  if (!list.isAtEnd || name.length === 0) throw new Malformed()
  return canonicalName(name.toString('latin1'))
}

/** The one spelling of a host name in SNI: it is compared without regard to case, and the root's dot says nothing. */
export function canonicalName(name: string): string {
  const lower = name.toLowerCase()
  return lower.endsWith('.') ? lower.slice(0, -1) : lower
}

function refused(why: 'not_tls' | 'malformed' | 'too_large'): ClientHello {
  return { state: 'refused', why }
}
