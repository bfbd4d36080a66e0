/**
 * Trying a draft: everything that can be said of it before anybody is subject to it, found together.
 *
 * It is judged as an instance would before putting it in force, held against the policy in force, against the people and devices that there really
 * are, and against what was used in the last day. A draft with problems is held against nothing. Nothing is changed.
 */

import type { PolicyDocument } from '../policy/document.ts'
import type { Asker } from './asker.ts'
import type { Gates } from './gates.ts'
import type { Draft, PolicyDrafts } from './policy-history.ts'
import { findConflictMarks } from './policy-merge.ts'
import type { Gate } from './policy-publishing-answers.ts'
import type { JudgeBundle, JudgedBundle, TrialProblem } from './policy-trial.ts'

/** A name of the draft that nobody, or no device, ever carried. */
export interface LifeWarning {
  /** Such as `groups`, or `level managed`. */
  readonly about: string
  /** False: not everything was read, or it is about somebody who may only not have come yet. */
  readonly isCertain: boolean
  readonly message: string
  readonly hint: string | undefined
}

export interface DraftTrial {
  readonly draft: Pick<Draft, 'id' | 'hash'>
  readonly judged: JudgedBundle
  /** Against what is in force, as `policy/difference.ts` says it. */
  readonly difference: readonly string[]
  readonly lifeWarnings: readonly LifeWarning[]
  readonly gates: readonly Gate[]
  /** What the gates could not tell. */
  readonly gateNotes: readonly string[]
}

/** `undefined`: there is no such draft. Rejects with `session_store_unavailable` or `record_unreadable`. */
export type TryDraft = (id: string, asker: Asker) => Promise<DraftTrial | undefined>

export interface TrialParts {
  readonly drafts: Pick<PolicyDrafts, 'load'>
  readonly judge: JudgeBundle
  readonly inForce: () => PolicyDocument
  /** Lines of the difference, found while requests get their turn. */
  readonly compare: (before: PolicyDocument, after: PolicyDocument) => Promise<readonly string[]>
  readonly findLifeWarnings: (document: PolicyDocument) => Promise<readonly LifeWarning[]>
  readonly gates: Gates
}

/** Tries drafts. Holds nothing. */
export function createTryDraft({ compare, drafts, findLifeWarnings, gates, inForce, judge }: TrialParts): TryDraft {
  return async (id, asker) => {
    const draft = await drafts.load(id)
    if (draft === undefined) return undefined
    const marks = findConflictMarks(draft.bundle)
    const judged = withMarks(await judge(draft.bundle), marks)
    const { document } = judged
    const head = { draft: { id: draft.id, hash: draft.hash }, judged }
    if (document === undefined) return { ...head, difference: [], lifeWarnings: [], gates: [], gateNotes: [] }
    const [difference, lifeWarnings, examined] = await Promise.all([
      compare(inForce(), document),
      findLifeWarnings(document),
      gates.examine(document, asker),
    ])
    return { ...head, difference, lifeWarnings, gates: examined.gates, gateNotes: examined.notes }
  }
}

/** Half of a merge is no policy, whatever YAML makes of it: publishing would refuse it. */
function withMarks(judged: JudgedBundle, marks: ReturnType<typeof findConflictMarks>): JudgedBundle {
  if (marks.length === 0) return judged
  const problems = marks.map(
    ({ line, path }): TrialProblem => ({
      ...{ file: path, line, column: undefined, key: undefined, expected: undefined },
      message: 'a mark of a merge is left here',
      suggestion: 'decide which lines stay, and take the marks out',
    }),
  )
  return { ...judged, document: undefined, problems: [...problems, ...judged.problems] }
}
