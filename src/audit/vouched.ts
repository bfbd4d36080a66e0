/**
 * What can be said of a segment by itself, for who prunes: since when it is, and when the chain that it ends was last alive.
 *
 * It trusts no instant that a file states, only one that a checkpoint covers: pruning is stated and signed on the strength of it. A checkpoint
 * is due every thousand lines, so that little of a segment is read for its beginning.
 */

import type { ChainHead } from './chain.ts'
import { parseTrailLine, readLines, type SegmentFile } from './trail-files.ts'
import { type PlacedLine, readOrder } from './verify-order.ts'
import { type AuditPublicKeys, createStatementCheck } from './verify-statements.ts'
import { createFindings } from './verify-verdict.ts'

export interface VouchedStart {
  /** Of the first line. */
  readonly seq: number
  readonly prev: string
  /** Epoch milliseconds. */
  readonly at: number
}

/** The first line of a segment; `undefined` unless a checkpoint whose signature holds follows on it without a break. */
export async function readVouchedStart(file: SegmentFile, keys: AuditPublicKeys): Promise<VouchedStart | undefined> {
  const isSigned = createSignatureCheck(file, keys)
  let first: VouchedStart | undefined
  let last: ChainHead | undefined
  try {
    for await (const { bytes, isWhole } of readLines(file)) {
      const line = isWhole ? place(bytes, file) : undefined
      if (line === undefined || (last !== undefined && (line.seq !== last.seq + 1 || line.prev !== last.hash))) return undefined
      first ??= { seq: line.seq, prev: line.prev, at: instantOf(line.text) }
      last = line
      if (isCheckpoint(line)) return isSigned(line) && !Number.isNaN(first.at) ? first : undefined
    }
  } catch {
    // Who reads the whole of it says why it cannot be read.
  }
  return undefined
}

/**
 * The last line of a chain's last segment, and until when it lived: no signed line of it is later, whatever is written behind them.
 * `undefined` where that cannot be read.
 */
export async function readChainEnd(file: SegmentFile, keys: AuditPublicKeys): Promise<(ChainHead & { readonly at: number }) | undefined> {
  const isSigned = createSignatureCheck(file, keys)
  let last: Buffer | undefined
  let signedAt = Number.NEGATIVE_INFINITY
  try {
    for await (const { bytes, isWhole } of readLines(file)) {
      if (!isWhole) continue
      const line = place(bytes, file)
      if (line !== undefined && isCheckpoint(line) && isSigned(line)) signedAt = Math.max(signedAt, instantOf(line.text))
      last = Buffer.from(bytes)
    }
  } catch {
    // Not even its end can be read: it stays, for whoever wants to know why.
    return undefined
  }
  const line = last === undefined ? undefined : place(last, file)
  const at = instantOf(last)
  return line === undefined || Number.isNaN(at) ? undefined : { seq: line.seq, hash: line.hash, at: Math.max(at, signedAt) }
}

function createSignatureCheck({ chain }: SegmentFile, keys: AuditPublicKeys): (line: PlacedLine) => boolean {
  return createStatementCheck({ chain, keys, findings: createFindings() }).isSigned
}

function place(bytes: Buffer, { number, path }: SegmentFile): PlacedLine | undefined {
  const { hash, prev, seq, text } = readOrder(bytes, undefined)
  return seq === undefined || prev === undefined ? undefined : { seq, prev, hash, text, file: path, segment: number, line: 0 }
}

function isCheckpoint({ text }: PlacedLine): boolean {
  return text !== undefined && parseTrailLine(text)?.['event'] === 'audit.checkpoint'
}

function instantOf(line: Buffer | string | undefined): number {
  return line === undefined ? Number.NaN : Date.parse(String(parseTrailLine(line)?.['at']))
}
