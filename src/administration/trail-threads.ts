/**
 * Carries tasks on the trail out in threads of their own, few at a time, so that requests are answered meanwhile as they always are.
 *
 * A thread is given its task and nothing else: no store, no environment, no secret. A long task waits for the long one before it, a short one is
 * not held up by it. Whoever gives up ends the thread.
 */

import { extname } from 'node:path'
import { Worker } from 'node:worker_threads'
import type { ReviewedAccess, ReviewQuestion } from './trail-review.ts'
import type { TaskProgress, TrailFindings, TrailTask } from './trail-tasks.ts'

export type ThreadTask = TrailTask | ({ readonly kind: 'review' } & ReviewQuestion)

interface ThreadFindings extends TrailFindings {
  readonly review: ReviewedAccess
}

/** What a thread tells. */
export type FromTrailThread = { readonly progress: TaskProgress } | { readonly found: ThreadFindings[keyof ThreadFindings] }

export interface TaskContext {
  readonly signal: AbortSignal
  readonly progress?: ((progress: TaskProgress) => void) | undefined
}

export interface TrailThreads {
  /** Rejects with what went wrong in the thread, or when the signal is aborted. */
  run<T extends ThreadTask>(task: T, context: TaskContext): Promise<ThreadFindings[T['kind']]>
}

const longKinds: ReadonlySet<ThreadTask['kind']> = new Set(['verify', 'uses', 'review'])
const mostShort = 2
/** Of one thread; a trail is read in pieces, and what is gathered of it is bounded. */
const mostHeapMb = 1_024

/** The threads of this process. */
export function createTrailThreads(): TrailThreads {
  const long = createLane(1)
  const short = createLane(mostShort)
  return {
    async run(task, { progress, signal }) {
      const leave = await (longKinds.has(task.kind) ? long : short)(signal)
      try {
        // What a thread finds is of the kind of its task; the compiler does not follow the kind through a message.
        return (await runInThread(task, progress, signal)) as ThreadFindings[(typeof task)['kind']]
      } finally {
        leave()
      }
    },
  }
}

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

async function runInThread(task: ThreadTask, progress: TaskContext['progress'], signal: AbortSignal): Promise<unknown> {
  // It may have been given up while it waited for its turn; whoever listens only now would never hear of it.
  signal.throwIfAborted()
  const worker = new Worker(entry(), { workerData: task, env: {}, resourceLimits: { maxOldGenerationSizeMb: mostHeapMb } })
  let stop: (() => void) | undefined
  try {
    return await new Promise<unknown>((resolve, reject) => {
      stop = () => reject(signal.reason as Error)
      signal.addEventListener('abort', stop)
      worker.on('message', (message: FromTrailThread) => {
        if ('found' in message) resolve(message.found)
        else progress?.(message.progress)
      })
      worker.on('error', reject)
      worker.on('exit', (code) => reject(new Error(`a thread that reads the trail ended with ${code}`)))
    })
  } finally {
    if (stop !== undefined) signal.removeEventListener('abort', stop)
    await worker.terminate()
  }
}

/** The program's file beside this one: a source beside a source, built beside built. */
function entry(): URL {
  return new URL(`./trail-worker${extname(new URL(import.meta.url).pathname)}`, import.meta.url)
}
