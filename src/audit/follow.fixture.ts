/**
 * A chain on the disk for tests of what follows one: lines that hang together, segment by segment, at the moment the test wants.
 */

import { appendFile, mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { zstdCompressSync } from 'node:zlib'
import { genesis, hashLine, linePrefix } from './chain.ts'
import { type LineBatch, type LineConsumer, parseSeq } from './follow-batch.ts'

/** A chain that grows when it is told to. */
export interface TestChain {
  /** Appends lines to a segment; `longBytes` makes each of them longer. */
  grow(segment: number, count: number, longBytes?: number): Promise<void>
  /** A segment that is there in its compressed form alone, from its beginning. */
  growCompressed(segment: number, count: number): Promise<void>
  /** As the writer does with closed segments. */
  compress(segment: number): Promise<void>
  remove(segment: number): Promise<void>
  path(segment: number): string
  /** Every line so far, in order. */
  readonly lines: readonly string[]
}

/** An empty chain in `folder`. */
export async function createTestChain(folder: string, chain: string): Promise<TestChain> {
  await mkdir(join(folder, chain), { recursive: true })
  const path = (segment: number) => join(folder, chain, `${String(segment).padStart(8, '0')}.ndjson`)
  const lines: string[] = []
  const bySegment = new Map<number, string>()
  let prev = genesis
  const make = (longBytes: number) => {
    const seq = lines.length + 1
    const at = new Date(1_700_000_000_000 + seq).toISOString()
    const subject = `"subject":{"kind":"person","sub":"ä${'x'.repeat(longBytes)}"}`
    const effect = seq % 7 === 0 ? '"effect":"deny","reason":"no_rule_matched"' : '"effect":"allow","reason":"rule_matched"'
    const line = `${linePrefix(seq, prev)}"at":"${at}","event":"access.decided","instance":"t","request":"r${seq}",${subject},"app":"wiki",${effect}}`
    prev = hashLine(line)
    lines.push(line)
    return `${line}\n`
  }
  return {
    lines,
    path,
    grow: async (segment, count, longBytes = 0) => {
      const text = Array.from({ length: count }, () => make(longBytes)).join('')
      bySegment.set(segment, (bySegment.get(segment) ?? '') + text)
      await appendFile(path(segment), text)
    },
    growCompressed: async (segment, count) => {
      const text = Array.from({ length: count }, () => make(0)).join('')
      bySegment.set(segment, text)
      await writeFile(`${path(segment)}.zst`, zstdCompressSync(text))
    },
    compress: async (segment) => {
      await writeFile(`${path(segment)}.zst`, zstdCompressSync(bySegment.get(segment) ?? ''))
      await rm(path(segment))
    },
    remove: async (segment) => {
      await rm(path(segment), { force: true })
      await rm(`${path(segment)}.zst`, { force: true })
    },
  }
}

/** A consumer that keeps what it is given and fails when told to. */
export interface TestConsumer extends LineConsumer {
  readonly received: string[]
  readonly batches: LineBatch[]
  /** Throws, or waits, before a batch is taken. */
  beforeSend: (batch: LineBatch) => void | Promise<void>
}

/** One that takes everything at first. */
export function createTestConsumer(): TestConsumer {
  const consumer: TestConsumer = {
    received: [],
    batches: [],
    beforeSend: () => undefined,
    send: async (batch) => {
      await consumer.beforeSend(batch)
      consumer.batches.push(batch)
      for (const { bytes } of batch.lines) consumer.received.push(bytes.toString('utf8'))
    },
  }
  return consumer
}

/** Numbers of lines, for comparing at a glance. */
export function numbersOf(lines: readonly string[]): readonly (number | undefined)[] {
  return lines.map((line) => parseSeq(Buffer.from(line)))
}

/** Waits until the condition holds. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  what: () => string = () => 'the condition',
  limitMs = 10_000,
): Promise<void> {
  const end = performance.now() + limitMs
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`never came: ${what()}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}
