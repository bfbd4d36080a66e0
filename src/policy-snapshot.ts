/**
 * From a document to the snapshot that requests are judged by, in steps that keep nobody waiting.
 */

import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Snapshot } from './enforcement/ports.ts'
import { compileRoutesInSteps, type RecordingDefaults } from './enforcement/route-table.ts'
import { compilePolicyInSteps } from './policy/compile.ts'
import type { PolicyDocument } from './policy/document.ts'
import type { Steps } from './policy/steps.ts'

/** Compiles policy and routes. `recording`: what the instance says of recording, for apps that do not say it themselves. */
export function* compileSnapshot(document: PolicyDocument, recording: RecordingDefaults | undefined): Steps<Snapshot> {
  const policy = yield* compilePolicyInSteps(document)
  return { version: document.version, policy, routes: yield* compileRoutesInSteps(document, policy, recording) }
}

/** Takes the steps while requests get their turn after each. */
export async function takeStepsInTurn<T>(steps: Steps<T>): Promise<T> {
  for (;;) {
    const step = steps.next()
    if (step.done === true) return step.value
    await nextTurn()
  }
}
