/**
 * One thread of a replay: it is told a segment, says how far it is, asks for the next, and at the end hands over what it found.
 *
 * Started by `replay-run.ts`, from the sources and from the build alike. What fails in here ends the thread, and with it the replay.
 */

import { parentPort, workerData } from 'node:worker_threads'
import { createReplayer, type FromWorker, type ReplayQuestion, type ReplayStep, type ToWorker } from './replay-run.ts'

/** Telling of each piece would cost more than reading it. */
const tellEveryMs = 100

let told = performance.now()
let untold: ReplayStep = { bytes: 0, lines: 0, decided: 0 }
const replayer = createReplayer(workerData as ReplayQuestion, (step) => {
  untold = { bytes: untold.bytes + step.bytes, lines: untold.lines + step.lines, decided: untold.decided + step.decided }
  if (performance.now() - told < tellEveryMs) return
  told = performance.now()
  tell({ kind: 'step', step: untold })
  untold = { bytes: 0, lines: 0, decided: 0 }
})

parentPort?.on('message', (message: ToWorker) => {
  if ('finish' in message) {
    tell({ kind: 'tally', tally: replayer.tally })
    return
  }
  replayer.take(message.task).then(
    () => tell({ kind: 'ready' }),
    (error: unknown) => {
      // Thrown outside of the promise, it ends the thread and reaches whoever waits for it.
      setImmediate(() => {
        throw error
      })
    },
  )
})
tell({ kind: 'ready' })

function tell(message: FromWorker): void {
  parentPort?.postMessage(message)
}
