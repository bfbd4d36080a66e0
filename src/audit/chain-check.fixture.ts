/**
 * A chain checked by other means than those that wrote it: from the bytes of its files, with nothing of `chain.ts`. Throws a sentence that
 * names the first line that does not belong.
 */

import { createHash, createPublicKey, verify } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { zstdDecompressSync } from 'node:zlib'

export type CheckedLine = Readonly<Record<string, unknown>> & { readonly seq: number; readonly event: string }

export interface CheckedChain {
  readonly lines: readonly CheckedLine[]
  /** The trail's own lines left out. */
  readonly events: readonly CheckedLine[]
  /** Numbers that are missing, and that an `audit.repaired` line speaks of. */
  readonly gaps: readonly { readonly from: number; readonly through: number }[]
  /** Bytes behind the last newline of the last file. */
  readonly tornBytes: number
  readonly segments: readonly number[]
  /** Number of lines that a checkpoint vouches for. */
  readonly signedThrough: number
}

const ownEvents = ['audit.segment_started', 'audit.checkpoint', 'audit.repaired', 'audit.resumed']

/** `publicKeys`: raw, base64url, by `kid`. */
export function checkChain(folder: string, chain: string, publicKeys: Readonly<Record<string, string>>): CheckedChain {
  const names = readdirSync(join(folder, chain)).filter((name) => /^\d{8}\.ndjson(\.zst)?$/.test(name))
  const files = names.filter((name) => !(name.endsWith('.zst') && names.includes(name.slice(0, -4)))).sort()
  const lines: CheckedLine[] = []
  const gaps: { from: number; through: number }[] = []
  let seq = 0
  let previous = Buffer.alloc(32)
  let tornBytes = 0
  let signedThrough = 0

  for (const [index, name] of files.entries()) {
    const read = readFileSync(join(folder, chain, name))
    const text = name.endsWith('.zst') ? zstdDecompressSync(read) : read
    const whole = text.lastIndexOf(10) + 1
    tornBytes = text.length - whole
    if (tornBytes > 0 && index < files.length - 1) throw new Error(`${name} ends in half a line`)
    if (whole === 0 && index < files.length - 1) throw new Error(`${name} is empty`)
    let isFirst = true
    const facts = new Set<unknown>()
    for (let from = 0; from < whole; isFirst = false) {
      const end = text.indexOf(10, from)
      const bytes = text.subarray(from, end)
      from = end + 1
      const where = `${name}: ${bytes.toString().slice(0, 200)}`
      const line = JSON.parse(bytes.toString()) as CheckedLine & Record<string, string>
      if (!bytes.toString().startsWith(`{"seq":${line.seq},"prev":"${line['prev']}","at":"`))
        throw new Error(`another beginning in ${where}`)
      if (isFirst !== (line.event === 'audit.segment_started'))
        throw new Error(`a segment begins in its middle, or not at all, in ${where}`)
      if (isFirst && (line['chain'] !== chain || Number(line['segment']) !== Number(name.slice(0, 8))))
        throw new Error(`another's place: ${where}`)
      if (line.seq !== seq + 1) {
        if (!isFirst || line.seq <= seq) throw new Error(`after ${seq} comes ${where}`)
        gaps.push({ from: seq + 1, through: line.seq - 1 })
      } else if (line['prev'] !== previous.toString('base64url')) throw new Error(`does not follow ${seq}: ${where}`)
      if (line.event === 'facts.recorded') facts.add(line['hash'])
      const named = Object.values((line['facts'] as unknown as Record<string, string> | undefined) ?? {})
      if (line.event === 'access.decided' && !named.every((hash) => facts.has(hash)))
        throw new Error(`facts are not in the segment of ${where}`)
      if (line.event === 'audit.checkpoint') {
        const said = `postern audit checkpoint 1\n${chain}\n${line['instance']}\n${line.seq}\n${line['prev']}\n${line['at']}\n`
        const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x: publicKeys[String(line['key'])] ?? '' }, format: 'jwk' })
        if (!verify(null, Buffer.from(said), key, Buffer.from(String(line['signature']), 'base64url')))
          throw new Error(`not signed: ${where}`)
        signedThrough = line.seq
      }
      seq = line.seq
      previous = createHash('sha256').update(bytes).digest()
      lines.push(line)
    }
  }
  const repaired = lines.filter((line) => line.event === 'audit.repaired')
  for (const gap of gaps) {
    const isSaid = repaired.some((line) => line['found_seq'] === gap.from - 1 && line['anchored_seq'] === gap.through)
    if (!isSaid) throw new Error(`nothing says why ${gap.from} to ${gap.through} are missing`)
  }
  const segments = files.map((name) => Number(name.slice(0, 8)))
  return { lines, events: lines.filter(({ event }) => !ownEvents.includes(event)), gaps, tornBytes, segments, signedThrough }
}

/** `undefined` where there is no such folder. */
export function checkChainIfThere(...asked: Parameters<typeof checkChain>): CheckedChain | undefined {
  return existsSync(join(asked[0], asked[1])) ? checkChain(...asked) : undefined
}
