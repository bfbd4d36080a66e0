/**
 * What trying a policy does in threads of its own, so that requests are answered meanwhile as they always are: replaying a trail, reading what was
 * used of late, and judging a change by it.
 *
 * A thread is given documents and the name of a folder, and nothing else: no store, no environment, no secret. Replays come one after the other and
 * with lower priority; whoever waits for a page is not held up by one. Whoever gives up ends the thread.
 */

import type { PackedUses, UsesQuestion } from './administration/gates-uses.ts'
import type { AppStanding, GateQuestion } from './administration/gates-verdict.ts'
import type { ReplayQuestion } from './commands/replay-run.ts'
import { createLane, programBeside, runInThread } from './thread-lane.ts'

/** Each is plain data. */
export type TrialTask =
  | { readonly kind: 'replay'; readonly folder: string; readonly question: ReplayQuestion }
  | { readonly kind: 'uses'; readonly question: UsesQuestion }
  | { readonly kind: 'judge'; readonly question: GateQuestion }

export interface TrialFindings {
  /** As `packTally` writes it. */
  readonly replay: { readonly tally: string }
  readonly uses: PackedUses
  readonly judge: readonly AppStanding[]
}

/** How far a replay is. */
export interface TrialProgress {
  readonly fraction: number
  readonly note: string
}

/** What a thread tells. */
export type FromTrialThread = { readonly progress: TrialProgress } | { readonly found: TrialFindings[keyof TrialFindings] }

export interface TrialThreads {
  /** Rejects with what went wrong in the thread, or when the signal is aborted. */
  run<T extends TrialTask>(
    task: T,
    context: { readonly signal: AbortSignal; readonly progress?: (progress: TrialProgress) => void },
  ): Promise<TrialFindings[T['kind']]>
}

const mostShort = 2

/** The threads of this process. */
export function createTrialThreads(): TrialThreads {
  const long = createLane(1)
  const short = createLane(mostShort)
  return {
    async run(task, { progress, signal }) {
      const leave = await (task.kind === 'replay' ? long : short)(signal)
      try {
        // What a thread finds is of the kind of its task; the compiler does not follow the kind through a message.
        return (await runInThread(
          programBeside(import.meta.url, 'trial-worker'),
          task,
          { progress, signal },
          'tries a policy',
        )) as TrialFindings[(typeof task)['kind']]
      } finally {
        leave()
      }
    },
  }
}
