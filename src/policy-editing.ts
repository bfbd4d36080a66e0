/**
 * The editor of policies while requests are served: what is small here and at once, what is large in a thread of its own.
 *
 * A thousand apps in one file take a second to read, change and read again; in that time this thread decides about requests. The thread is begun
 * when it is first needed and ends when nobody needed it for a while. One that does not answer in time is ended, and whoever waited is told.
 */

import { Worker } from 'node:worker_threads'
import { createPolicyEditor, type PolicyEditor } from './config/policy-editor.ts'
import { programBeside } from './thread-lane.ts'

/** What a thread is asked: one of the two that read a whole document. */
export type EditingQuestion =
  | { readonly id: number; readonly what: 'outline'; readonly args: Parameters<PolicyEditor['outline']> }
  | { readonly id: number; readonly what: 'edit'; readonly args: Parameters<PolicyEditor['edit']> }

export interface EditingAnswer {
  readonly id: number
  readonly answer: unknown
}

export interface PolicyEditing extends PolicyEditor {
  /** Ends the thread; whoever waits is told. */
  close(): void
}

/** Some forty apps; working on them takes about thirty milliseconds. */
const smallCharacters = 24_000
const patienceMs = 30_000
const idleMs = 60_000
const mostHeapMb = 1024

/** Creates it. Nothing runs before it is asked. */
export function createPolicyEditing({ largeFrom = smallCharacters }: { readonly largeFrom?: number } = {}): PolicyEditing {
  const here = createPolicyEditor()
  const waiting = new Map<
    number,
    { readonly resolve: (answer: unknown) => void; readonly reject: (error: Error) => void; readonly timer: NodeJS.Timeout }
  >()
  let thread: Worker | undefined
  let idle: NodeJS.Timeout | undefined
  let asked = 0

  function end(why: string): void {
    clearTimeout(idle)
    const ended = thread
    thread = undefined
    for (const [id, { reject, timer }] of waiting) {
      clearTimeout(timer)
      waiting.delete(id)
      reject(new Error(`a policy could not be worked on: ${why}`))
    }
    void ended?.terminate()
  }

  function start(): Worker {
    const started = new Worker(programBeside(import.meta.url, 'policy-editing-thread'), {
      env: {},
      resourceLimits: { maxOldGenerationSizeMb: mostHeapMb },
    })
    started.on('message', ({ answer, id }: EditingAnswer) => {
      const one = waiting.get(id)
      if (one === undefined) return
      clearTimeout(one.timer)
      waiting.delete(id)
      one.resolve(answer)
      if (waiting.size === 0) idle = setTimeout(() => end('nobody needed it'), idleMs).unref()
    })
    started.on('error', (error) => started === thread && end(error.message))
    started.on('exit', () => started === thread && end('its thread ended'))
    started.unref()
    return started
  }

  function ask(question: Omit<EditingQuestion, 'id'>): Promise<unknown> {
    clearTimeout(idle)
    thread ??= start()
    const running = thread
    asked += 1
    const id = asked
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => end('it took too long'), patienceMs)
      waiting.set(id, { resolve, reject, timer })
      running.postMessage({ ...question, id })
    })
  }

  return {
    ...here,
    outline: async (text) =>
      text.length < largeFrom
        ? await here.outline(text)
        : ((await ask({ what: 'outline', args: [text] })) as Awaited<ReturnType<PolicyEditor['outline']>>),
    edit: async (text, edits) =>
      text.length < largeFrom
        ? await here.edit(text, edits)
        : ((await ask({ what: 'edit', args: [text, edits] })) as Awaited<ReturnType<PolicyEditor['edit']>>),
    close: () => end('this instance stops'),
  }
}
