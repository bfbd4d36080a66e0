/**
 * Lines of the trail on standard output, between the lines of the operational log.
 *
 * Both go through the one writer of the log: two writers on one pipe tear each other's lines as soon as one is longer than a pipe takes at
 * once. A batch counts as sent when that writer has handed it to the system. Whoever reads tells the two apart by the first field: `"seq"`.
 */

import { DeliveryError, type LineConsumer } from '../follow-batch.ts'

/** Writes whole lines and resolves once the system has them. */
export type WriteLines = (text: string) => Promise<void>

/** A reader that does not read holds up this sink and nothing else. */
const usualPatienceMs = 10_000

/** The sink. */
export function createStdoutSink(write: WriteLines, patienceMs = usualPatienceMs): LineConsumer {
  /** What the writer has and the system has not: handed over once more it would be there twice, and each attempt would take memory. */
  let outstanding: { readonly block: Buffer; readonly written: Promise<void> } | undefined

  const handOver = (block: Buffer): Promise<void> => {
    const written = write(block.toString('utf8'))
    const mine = { block, written }
    outstanding = mine
    // Of a batch that failed nothing is known: it is written anew.
    written.catch(() => {
      if (outstanding === mine) outstanding = undefined
    })
    return written
  }

  return {
    // What is handed over at once stands before the log's own next line.
    batchBytes: 64 * 1024,
    send: async ({ block }) => {
      let timer: NodeJS.Timeout | undefined
      const late = new Promise<never>((_, reject) => {
        timer = setTimeout(() => reject(new DeliveryError('standard output does not take lines')), patienceMs)
      })
      try {
        const earlier = outstanding
        if (earlier?.block === block) return await Promise.race([earlier.written, late])
        // Another chain's.
        if (earlier !== undefined) await Promise.race([earlier.written.catch(() => undefined), late])
        await Promise.race([handOver(block), late])
      } finally {
        clearTimeout(timer)
      }
    },
  }
}
