/**
 * Carries tasks on the trail out in threads of their own, few at a time, so that requests are answered meanwhile as they always are.
 *
 * A thread is given its task and nothing else: no store, no environment, no secret. A long task waits for the long one before it, a short one is
 * not held up by it. Whoever gives up ends the thread.
 */

import { createLane, programBeside, runInThread } from '../thread-lane.ts'
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

/** The threads of this process. */
export function createTrailThreads(): TrailThreads {
  const long = createLane(1)
  const short = createLane(mostShort)
  return {
    async run(task, { progress, signal }) {
      const leave = await (longKinds.has(task.kind) ? long : short)(signal)
      try {
        // What a thread finds is of the kind of its task; the compiler does not follow the kind through a message.
        return (await runInThread(
          programBeside(import.meta.url, 'trail-worker'),
          task,
          { progress, signal },
          'reads the trail',
        )) as ThreadFindings[(typeof task)['kind']]
      } finally {
        leave()
      }
    },
  }
}
