/**
 * A task in a thread of its own, how many of them run at once, and where their programs lie: what reads and compresses trails and tries policies
 * beside the requests shares this.
 *
 * A thread is given its task and nothing else: no store, no environment, no secret. Whoever gives up ends it, also while it waits for its turn; a
 * thread that ends without an answer is an error.
 */

import { extname } from 'node:path'
import { Worker } from 'node:worker_threads'

/** What a thread tells: how far it is, and at last what it found. */
export type FromThread<P> = { readonly progress: P } | { readonly found: unknown }

export interface ThreadContext<P> {
  readonly signal: AbortSignal
  readonly progress?: ((progress: P) => void) | undefined
}

/** Of one thread: what it reads is read in pieces, and what it gathers is bounded. */
const mostHeapMb = 1_024

/** Lets so many through at once; resolves with what lets the next one through. */
export function createLane(most: number): (signal: AbortSignal) => Promise<() => void> {
  let inside = 0
  const waiting: (() => void)[] = []
  function leave(): void {
    inside -= 1
    waiting.shift()?.()
  }
  return async (signal) => {
    while (inside >= most) {
      signal.throwIfAborted()
      await new Promise<void>((resolve) => {
        const wake = () => {
          signal.removeEventListener('abort', wake)
          const place = waiting.indexOf(wake)
          if (place !== -1) waiting.splice(place, 1)
          resolve()
        }
        waiting.push(wake)
        signal.addEventListener('abort', wake)
      })
      // Woken, and given up in the same moment: the place is the next one's.
      if (signal.aborted && inside < most) waiting.shift()?.()
    }
    signal.throwIfAborted()
    inside += 1
    return leave
  }
}

/** Runs the program at `entry` with the task. `what` it does is named where it ends without an answer. */
export async function runInThread<P>(entry: URL, task: object, { progress, signal }: ThreadContext<P>, what: string): Promise<unknown> {
  // It may have been given up while it waited for its turn; whoever listens only now would never hear of it.
  signal.throwIfAborted()
  const worker = new Worker(entry, { workerData: task, env: {}, resourceLimits: { maxOldGenerationSizeMb: mostHeapMb } })
  let stop: (() => void) | undefined
  try {
    return await new Promise<unknown>((resolve, reject) => {
      stop = () => reject(signal.reason as Error)
      signal.addEventListener('abort', stop)
      worker.on('message', (message: FromThread<P>) => {
        if ('found' in message) resolve(message.found)
        else progress?.(message.progress)
      })
      worker.on('error', reject)
      worker.on('exit', (code) => reject(new Error(`a thread that ${what} ended with ${code}`)))
    })
  } finally {
    if (stop !== undefined) signal.removeEventListener('abort', stop)
    await worker.terminate()
  }
}

/** The file of a program beside the module that starts it: a source beside a source, built beside built. `of` is that module's `import.meta.url`. */
export function programBeside(of: string, name: string): URL {
  return new URL(`./${name}${extname(new URL(of).pathname)}`, of)
}
