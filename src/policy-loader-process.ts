/**
 * The process that a changed policy is loaded and judged in: one question, one answer in pieces, then it ends.
 *
 * It is given no secret and reaches nothing but the files of the policy. Started by `policy-loader.ts`, from the sources and from the
 * build alike. Whoever asked may be gone by then: what can no longer be said is no failure, and nothing here outlives the answer.
 */

import { judgePolicy, type PackedPolicy, type PolicyQuestion, packPolicy } from './policy-loading.ts'

process.once('message', (question) => void answer(question as PolicyQuestion))

async function answer(question: PolicyQuestion): Promise<void> {
  for (const message of packPolicy(await judgePolicy(question))) await send(message)
  // Not before the last of it is on its way: what waits in the channel is lost with it.
  if (process.connected) process.disconnect()
}

/** Resolves once it was written, or cannot be. */
function send(message: PackedPolicy): Promise<void> {
  return new Promise((resolve) => {
    if (process.send === undefined || !process.connected) return resolve()
    process.send(message, undefined, undefined, () => resolve())
  })
}
