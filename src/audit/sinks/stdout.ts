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
const patienceMs = 10_000

/** The sink. */
export function createStdoutSink(write: WriteLines): LineConsumer {
  return {
    // What is handed over at once stands before the log's own next line.
    batchBytes: 64 * 1024,
    send: async ({ lines }) => {
      const text = lines.map(({ bytes }) => `${bytes.toString('utf8')}\n`).join('')
      let timer: NodeJS.Timeout | undefined
      const late = new Promise<never>((_, reject) => {
        timer = setTimeout(() => reject(new DeliveryError('standard output does not take lines')), patienceMs)
      })
      try {
        await Promise.race([write(text), late])
      } finally {
        clearTimeout(timer)
      }
    },
  }
}
