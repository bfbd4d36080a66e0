/**
 * Loads a changed policy while requests are served: on a thread of its own, with an end to how long and how much it may take.
 *
 * Reading and judging a document of a thousand apps takes seconds, in which nobody would be answered. The thread knows what
 * `KnownInstance` holds and no secret. One that crashes, runs out of memory or out of time is a load that failed, which refuses the
 * policy and nothing else. What it found comes back in pieces, so that taking it in never takes long either.
 */

import { extname } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { type JudgedPolicy, type PackedPolicy, type PolicyQuestion, unpackDocument } from './policy-loading.ts'

export interface PolicyLoader {
  /** Rejects if the thread comes to no answer. */
  load(question: PolicyQuestion): Promise<JudgedPolicy>
  /** Ends what is under way; its `load` rejects. */
  close(): Promise<void>
}

/** For tests: another thread, and less patience. */
export interface PolicyLoaderOptions {
  readonly thread?: URL
  readonly timeLimitMs?: number
  readonly heapMb?: number
}

/** A thousand apps take seconds on a slow machine; what takes minutes would never end, or is no policy. */
const patienceMs = 120_000

/** Ten times what the largest file that is read needs. */
const mostHeapMb = 4096

/** Parsing makes much that is forgotten at once: with room for it, a large document loads in two thirds of the time. */
const youngHeapMb = 64

/** Creates a loader. Nothing runs before `load`, and nothing after it. */
export function createPolicyLoader({
  thread = entry(),
  timeLimitMs = patienceMs,
  heapMb = mostHeapMb,
}: PolicyLoaderOptions = {}): PolicyLoader {
  const running = new Set<Worker>()

  function ask(question: PolicyQuestion): Promise<PackedPolicy> {
    return new Promise((resolve, reject) => {
      // No arguments and no environment of this process: what the instance is configured with is no business of the thread's.
      const worker = new Worker(thread, {
        workerData: question,
        env: {},
        execArgv: [],
        name: 'policy',
        resourceLimits: { maxOldGenerationSizeMb: heapMb, maxYoungGenerationSizeMb: youngHeapMb },
      })
      running.add(worker)
      const timer = setTimeout(() => end(`it was not loaded within ${timeLimitMs / 1000} s`), timeLimitMs)
      const end = (why: string) => {
        reject(new Error(`the policy could not be judged: ${why}`))
        void worker.terminate()
      }
      worker.on('message', (answer: PackedPolicy) => {
        resolve(answer)
        void worker.terminate()
      })
      worker.on('messageerror', () => end('its answer was not readable'))
      worker.on('error', (cause) => end(cause instanceof Error ? cause.message : String(cause)))
      worker.on('exit', () => {
        clearTimeout(timer)
        running.delete(worker)
        reject(new Error('the policy could not be judged: loading was ended'))
      })
    })
  }

  return {
    async load(question) {
      const { pieces, ...answer } = await ask(question)
      return { ...answer, value: pieces === undefined ? undefined : await unpackDocument(pieces, nextTurn) }
    },
    async close() {
      await Promise.all([...running].map((worker) => worker.terminate()))
    },
  }
}

/** The thread's file beside this one: a source beside a source, built beside built. */
function entry(): URL {
  return new URL(`./policy-loader-thread${extname(new URL(import.meta.url).pathname)}`, import.meta.url)
}
