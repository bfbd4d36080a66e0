/**
 * The thread in which large policies are edited: answers `policy-editing.ts`, one question after the other, and knows nothing else.
 */

import { parentPort } from 'node:worker_threads'
import { createPolicyEditor } from './config/policy-editor.ts'
import type { EditingAnswer, EditingQuestion } from './policy-editing.ts'

const editor = createPolicyEditor()

parentPort?.on('message', (question: EditingQuestion) => {
  const answer = question.what === 'outline' ? editor.outline(...question.args) : editor.edit(...question.args)
  // What fails ends the thread: whoever asked is told by that.
  void answer.then((given) => parentPort?.postMessage({ id: question.id, answer: given } satisfies EditingAnswer))
})
