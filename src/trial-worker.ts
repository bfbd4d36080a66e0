/**
 * One thread for one task of trying a policy: told what to do when it starts, says how far it is, and ends with what it found.
 *
 * Started by `trial-threads.ts`, from the sources and from the build alike. What fails in here ends the thread, and with it the task.
 */

import { constants, setPriority } from 'node:os'
import { parentPort, workerData } from 'node:worker_threads'
import { listUseTasks, packUses, readRecentUses } from './administration/gates-uses.ts'
import { judgeUses } from './administration/gates-verdict.ts'
import { packTally } from './administration/impact-tally.ts'
import { listSegmentTasks } from './administration/recorded-requests.ts'
import { compileReplayPolicy } from './commands/replay-policy.ts'
import { createReplayer } from './commands/replay-run.ts'
import type { FromTrialThread, TrialFindings, TrialTask } from './trial-threads.ts'

/** Telling of each piece would cost more than reading it. */
const tellEveryMs = 200

function tell(message: FromTrialThread): void {
  parentPort?.postMessage(message)
}

async function replay({ folder, question }: Extract<TrialTask, { kind: 'replay' }>): Promise<TrialFindings['replay']> {
  // Of this thread alone: elsewhere it would be the whole process, which serves requests.
  if (process.platform === 'linux') setPriority(constants.priority.PRIORITY_BELOW_NORMAL)
  const tasks = await listSegmentTasks([folder], question.period)
  const total = tasks.reduce((sum, { bytes }) => sum + bytes, 0)
  let bytes = 0
  let decided = 0
  let toldAt = Number.NEGATIVE_INFINITY
  const replayer = createReplayer(question, (step) => {
    bytes += step.bytes
    decided += step.decided
    const at = performance.now()
    if (at - toldAt < tellEveryMs) return
    toldAt = at
    tell({ progress: { fraction: total === 0 ? 1 : Math.min(1, bytes / total), note: `${decided.toLocaleString('en')} requests decided` } })
  })
  for (const task of tasks) await replayer.take(task)
  return { tally: packTally(replayer.tally) }
}

async function carryOut(task: TrialTask): Promise<TrialFindings[keyof TrialFindings]> {
  switch (task.kind) {
    case 'replay':
      return await replay(task)
    case 'uses':
      return packUses(await readRecentUses(await listUseTasks(task.question), task.question, () => performance.now()))
    case 'judge':
      return await judgeUses(task.question, compileReplayPolicy)
  }
}

tell({ found: await carryOut(workerData as TrialTask) })
