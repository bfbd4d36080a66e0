/**
 * Runs a replay over the segments of a trail: in this thread, or in several, each of which takes the next segment when it is done with one.
 *
 * A thread compiles the policy for itself and is given nothing else: no store, no key, no secret. Whatever goes wrong in one ends the
 * replay, because part of an answer would look like the whole.
 */

import { Worker } from 'node:worker_threads'
import { createDecisionReader } from '../administration/recorded-decision.ts'
import { readSegment, type SegmentTask } from '../administration/recorded-requests.ts'
import { isPolicyReason, replayInto } from '../administration/replay.ts'
import { countIn, createTally, mergeTally, type ReplayTally } from '../administration/replay-tally.ts'
import { createEnvironmentReader } from '../attributes/environment-facts.ts'
import type { Period } from '../audit/merged-lines.ts'
import type { PolicyDocument } from '../policy/document.ts'
import { programBeside } from '../thread-lane.ts'
import { compileReplayPolicy } from './replay-policy.ts'

/** Plain data: it goes to threads as it is. */
export interface ReplayQuestion {
  /** The policy that is tried. */
  readonly document: PolicyDocument
  /** Of the policy in force. */
  readonly live: Pick<PolicyDocument, 'services' | 'version'>
  /** Of the public URL. */
  readonly scheme: 'https' | 'http'
  readonly period: Period
}

/** How far a replay is, since the last report. */
export interface ReplayStep {
  /** On the disk, about. */
  readonly bytes: number
  readonly lines: number
  readonly decided: number
}

/** What a thread is told, and what it tells. */
export type ToWorker = { readonly task: SegmentTask } | { readonly finish: true }
export type FromWorker =
  | { readonly kind: 'step'; readonly step: ReplayStep }
  | { readonly kind: 'ready' }
  | { readonly kind: 'tally'; readonly tally: ReplayTally }

/** Replays every task. `threads`: at most so many; one is this thread itself. */
export async function runReplay(
  tasks: readonly SegmentTask[],
  question: ReplayQuestion,
  { onStep, threads }: { readonly threads: number; readonly onStep: (step: ReplayStep) => void },
): Promise<ReplayTally> {
  const count = Math.min(threads, tasks.length)
  if (count > 1) return await runInThreads(tasks, question, { count, onStep })
  const replayer = createReplayer(question, onStep)
  for (const task of tasks) await replayer.take(task)
  return replayer.tally
}

/** Replays segments one after the other into one tally. */
export function createReplayer(question: ReplayQuestion, onStep: (step: ReplayStep) => void) {
  const policy = compileReplayPolicy(question.document, question.live)
  const readDecision = createDecisionReader(question.scheme, createEnvironmentReader({}))
  const tally = createTally()
  return {
    tally,
    async take(task: SegmentTask): Promise<void> {
      let told = 0
      let decidedBefore = tally.decided
      await readSegment(task, {
        readDecision,
        period: question.period,
        decided: (recorded) => replayInto(tally, recorded, policy),
        counted: (reason, count) => {
          if (isPolicyReason(reason)) tally.strangers += count
          else countIn(tally.notPolicy, reason, count)
        },
        progress(bytes, lines) {
          const onDisk = Math.min(task.bytes - told, task.segment.isCompressed ? bytes / usualCompression : bytes)
          told += onDisk
          onStep({ bytes: onDisk, lines, decided: tally.decided - decidedBefore })
          decidedBefore = tally.decided
        },
      })
      onStep({ bytes: task.bytes - told, lines: 0, decided: tally.decided - decidedBefore })
    },
  }
}

/** Only the bar that shows how far it is rests on it. */
const usualCompression = 8

async function runInThreads(
  tasks: readonly SegmentTask[],
  question: ReplayQuestion,
  { count, onStep }: { readonly count: number; readonly onStep: (step: ReplayStep) => void },
): Promise<ReplayTally> {
  const waiting = [...tasks]
  const workers = Array.from(
    { length: count },
    () => new Worker(programBeside(import.meta.url, 'replay-worker'), { workerData: question, env: {} }),
  )
  try {
    const tallies = await Promise.all(workers.map((worker) => drive(worker, waiting, onStep)))
    const whole = createTally()
    for (const tally of tallies) mergeTally(whole, tally)
    return whole
  } finally {
    await Promise.all(workers.map((worker) => worker.terminate()))
  }
}

/** Hands one thread a segment whenever it is ready; resolves with what it found. */
function drive(worker: Worker, waiting: SegmentTask[], onStep: (step: ReplayStep) => void): Promise<ReplayTally> {
  return new Promise((resolve, reject) => {
    worker.on('message', (message: FromWorker) => {
      if (message.kind === 'step') return onStep(message.step)
      if (message.kind === 'tally') return resolve(message.tally)
      const task = waiting.shift()
      worker.postMessage((task === undefined ? { finish: true } : { task }) satisfies ToWorker)
    })
    worker.on('error', reject)
    worker.on('exit', (code) => reject(new Error(`a thread of the replay ended with ${code}`)))
  })
}
