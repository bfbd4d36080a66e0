/**
 * One thread for one task on the trail: told what to do when it starts, says how far it is, and ends with what it found.
 *
 * Started by `trail-threads.ts`, from the sources and from the build alike. What fails in here ends the thread, and with it the task.
 */

import { parentPort, workerData } from 'node:worker_threads'
import { reviewAccess } from './trail-review.ts'
import { carryOutTrailTask, type TaskProgress } from './trail-tasks.ts'
import type { FromTrailThread, ThreadTask } from './trail-threads.ts'

/** Telling of each piece would cost more than reading it. */
const tellEveryMs = 200

let toldAt = Number.NEGATIVE_INFINITY

function progress(step: TaskProgress): void {
  const at = performance.now()
  if (at - toldAt < tellEveryMs) return
  toldAt = at
  tell({ progress: step })
}

function tell(message: FromTrailThread): void {
  parentPort?.postMessage(message)
}

const task = workerData as ThreadTask
tell({ found: task.kind === 'review' ? reviewAccess(task) : await carryOutTrailTask(task, progress) })
