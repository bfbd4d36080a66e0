/**
 * Loads a changed policy while requests are served: in a process of its own, with an end to how long and how much it may take.
 *
 * Reading and judging a document of a thousand apps takes seconds, in which nobody would be answered. It is a process and not a thread,
 * because a thread that runs out of memory takes all others with it (tried: the whole process aborts, or hangs). What it knows is
 * `KnownInstance`, and no secret. A crash, a hang or an end without an answer is a load that failed, which refuses the policy and
 * nothing else. The document comes back in pieces, so that taking it in never takes long either.
 */

import { type ChildProcess, fork } from 'node:child_process'
import { constants, setPriority } from 'node:os'
import { fileURLToPath } from 'node:url'
import { createUnpacking, type JudgedPolicy, type PackedPolicy, type PolicyQuestion } from './policy-loading.ts'
import { programBeside } from './thread-lane.ts'

export interface PolicyLoader {
  /** Rejects if there comes no answer. */
  load(question: PolicyQuestion): Promise<JudgedPolicy>
  /** Ends what is under way; its `load` rejects. */
  close(): void
}

/** For tests: another program, and less patience. */
export interface PolicyLoaderOptions {
  readonly program?: URL
  readonly timeLimitMs?: number
  readonly heapMb?: number
}

/** A thousand apps take seconds on a slow machine; what takes minutes would never end, or is no policy. */
const patienceMs = 120_000

/** Five times what a thousand apps need. */
const mostHeapMb = 2048

/** Parsing makes much that is forgotten at once: with room for it, a large document loads in two thirds of the time. */
const semiSpaceMb = 32

/** Creates a loader. Nothing runs before `load`, and nothing after it. */
export function createPolicyLoader(options: PolicyLoaderOptions = {}): PolicyLoader {
  const { program = programBeside(import.meta.url, 'policy-loader-process'), timeLimitMs = patienceMs, heapMb = mostHeapMb } = options
  const running = new Set<ChildProcess>()
  // Whatever ends this process without `close`; a process that is killed leaves a loader that ends with its answer.
  const endAll = () => {
    for (const child of running) child.kill('SIGKILL')
  }

  function start(): ChildProcess {
    // Neither arguments nor environment of this process: what the instance is configured with is no business of the loader's.
    const child = fork(fileURLToPath(program), [], {
      env: {},
      execArgv: [`--max-old-space-size=${heapMb}`, `--max-semi-space-size=${semiSpaceMb}`],
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    })
    if (running.size === 0) process.once('exit', endAll)
    running.add(child)
    return child
  }

  function forget(child: ChildProcess): void {
    running.delete(child)
    if (running.size === 0) process.off('exit', endAll)
  }

  return {
    load: (question) =>
      new Promise((resolve, reject) => {
        const child = start()
        const unpack = createUnpacking()
        const fail = (why: string) => {
          reject(new Error(`the policy could not be judged: ${why}`))
          child.kill('SIGKILL')
        }
        const timer = setTimeout(() => fail(`it was not loaded within ${timeLimitMs / 1000} s`), timeLimitMs)
        child.on('message', (message) => {
          const answer = unpack(message as PackedPolicy)
          if (answer !== undefined) resolve(answer)
        })
        child.on('error', (cause) => {
          clearTimeout(timer)
          forget(child)
          fail(cause.message)
        })
        child.on('close', (code, signal) => {
          clearTimeout(timer)
          forget(child)
          reject(new Error(`the policy could not be judged: its loader ended without an answer (${signal ?? code})`))
        })
        if (child.pid === undefined) return
        yieldTo(child.pid)
        // A loader that is gone already is heard of as such.
        child.send(question, () => undefined)
      }),
    close: endAll,
  }
}

/** Requests come first where processors are few. */
function yieldTo(pid: number): void {
  try {
    setPriority(pid, constants.priority.PRIORITY_BELOW_NORMAL)
  } catch {
    // It has ended, or the system does not let us: then it has its share like any other.
  }
}
