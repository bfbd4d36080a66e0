/**
 * The thread that a changed policy is loaded and judged on: one question, one answer, then it ends.
 *
 * It holds no secret and reaches nothing but the files of the policy. Started by `policy-loader.ts`, from the sources and from the build alike.
 */

import { parentPort, workerData } from 'node:worker_threads'
import { judgePolicy, type PolicyQuestion, packPolicy } from './policy-loading.ts'

const answer = packPolicy(await judgePolicy(workerData as PolicyQuestion))
parentPort?.postMessage(
  answer,
  (answer.pieces ?? []).map(({ buffer }) => buffer),
)
