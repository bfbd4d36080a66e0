/**
 * Writes databases of places for tests, in the format of MaxMind DB 2.0: a binary tree of address bits, and the records at its leaves.
 */

import ipaddr from 'ipaddr.js'

export interface WrittenDatabase {
  /** Network to record; of two that overlap the longer one counts, wherever it stands. */
  readonly networks: Readonly<Record<string, unknown>>
  /** A tree for 4 has no place for IPv6; one for 6 holds IPv4 at `::/96`. */
  readonly ipVersion?: 4 | 6
  readonly type?: string
  readonly recordSize?: 24 | 28 | 32
  /** Epoch seconds. */
  readonly builtAt?: number
}

/** As GeoLite2-Country and DB-IP write it. */
export function countryRecord(code: string): object {
  return {
    continent: { code: 'EU' },
    country: { iso_code: code, geoname_id: 1, names: { en: code } },
    registered_country: { iso_code: 'US' },
  }
}

/** As GeoLite2-ASN and DB-IP write it. */
export function asnRecord(asn: number): object {
  return { autonomous_system_number: asn, autonomous_system_organization: 'Example' }
}

/** The bytes of a database. */
export function writePlaceDatabase({
  networks,
  ipVersion = 6,
  type = 'Test',
  recordSize = 24,
  builtAt = 1_790_000_000,
}: WrittenDatabase): Buffer {
  const root: Node = [undefined, undefined]
  const records: unknown[] = []
  const byLength = Object.entries(networks).map(([network, record]) => ({ bits: bitsOf(network, ipVersion), record }))
  for (const { bits, record } of byLength.sort((a, b) => a.bits.length - b.bits.length)) {
    insert(root, bits, records.push(record) - 1)
  }
  const nodes = listNodes(root)
  const indexes = new Map(nodes.map((node, index) => [node, index]))
  const data: Buffer[] = []
  const offsets = records.map((record) => data.push(encode(record)) && Buffer.concat(data.slice(0, -1)).length)
  const pointerTo = (child: Child) => {
    if (child === undefined) return nodes.length
    return typeof child === 'number' ? nodes.length + 16 + (offsets[child] ?? 0) : (indexes.get(child) ?? 0)
  }
  const tree = nodes.map(([left, right]) => writeNode(pointerTo(left), pointerTo(right), recordSize))
  const metadata = {
    binary_format_major_version: 2,
    binary_format_minor_version: 0,
    build_epoch: builtAt,
    database_type: type,
    description: { en: 'made by a test' },
    ip_version: ipVersion,
    languages: ['en'],
    node_count: nodes.length,
    record_size: recordSize,
  }
  return Buffer.concat([...tree, Buffer.alloc(16), ...data, Buffer.from('\xab\xcd\xefMaxMind.com', 'latin1'), encode(metadata)])
}

type Node = [left: Child, right: Child]
/** A number is the index of a record. */
type Child = Node | number | undefined

function insert(root: Node, bits: readonly number[], record: number): void {
  let node = root
  bits.forEach((bit, depth) => {
    if (depth === bits.length - 1) {
      node[bit] = record
      return
    }
    const child = node[bit]
    // What stood for the wider network goes on standing for the rest of it.
    const next: Node = Array.isArray(child) ? child : [child, child]
    node[bit] = next
    node = next
  })
}

function listNodes(root: Node): Node[] {
  const nodes = [root]
  for (const node of nodes) for (const child of node) if (Array.isArray(child)) nodes.push(child)
  return nodes
}

function bitsOf(network: string, ipVersion: 4 | 6): readonly number[] {
  const [address, length] = ipaddr.parseCIDR(network)
  const bits = address.toByteArray().flatMap((byte) => Array.from({ length: 8 }, (_, at) => (byte >> (7 - at)) & 1))
  const isMapped = address.kind() === 'ipv4' && ipVersion === 6
  return [...(isMapped ? Array<number>(96).fill(0) : []), ...bits.slice(0, length)]
}

function writeNode(left: number, right: number, recordSize: 24 | 28 | 32): Buffer {
  const bytes = Buffer.alloc(recordSize / 4)
  if (recordSize === 32) {
    bytes.writeUInt32BE(left, 0)
    bytes.writeUInt32BE(right, 4)
    return bytes
  }
  bytes.writeUIntBE(left & 0xff_ff_ff, 0, 3)
  bytes.writeUIntBE(right & 0xff_ff_ff, recordSize / 8 === 3 ? 3 : 4, 3)
  if (recordSize === 28) bytes[3] = ((left >> 24) << 4) | (right >> 24)
  return bytes
}

/** Text, whole numbers, booleans, lists and maps, which is all that such records hold. */
function encode(value: unknown): Buffer {
  if (typeof value === 'string') return Buffer.concat([control(2, Buffer.byteLength(value)), Buffer.from(value)])
  if (typeof value === 'boolean') return control(14, Number(value))
  if (typeof value === 'number') {
    const bytes = Buffer.alloc(4)
    bytes.writeUInt32BE(value)
    return Buffer.concat([control(6, 4), bytes])
  }
  if (Array.isArray(value)) return Buffer.concat([control(11, value.length), ...value.map(encode)])
  const entries = Object.entries(value as object)
  return Buffer.concat([control(7, entries.length), ...entries.flatMap(([name, entry]) => [encode(name), encode(entry)])])
}

function control(type: number, size: number): Buffer {
  const first = size < 29 ? size : 29
  const head = type < 8 ? [(type << 5) | first] : [first, type - 7]
  return Buffer.from([...head, ...(size < 29 ? [] : [size - 29])])
}
