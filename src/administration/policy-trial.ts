/**
 * What trying a policy says, before anybody is subject to it. Made by `compose-console.ts` from the loading, the tests and the comparison with
 * life that commands use; shown by the pages of drafts and answered by the API.
 */

import type { PolicyDocument } from '../policy/document.ts'
import type { Bundle } from './policy-bundle.ts'
import type { TestOutcome } from './policy-history.ts'

/** One thing that is wrong, at its place. */
export interface TrialProblem {
  /** `undefined` for what concerns the whole. */
  readonly file: string | undefined
  readonly line: number | undefined
  readonly column: number | undefined
  /** Dotted path of the key, such as `apps.2.rules.0.when`. */
  readonly key: string | undefined
  readonly message: string
  readonly expected: string | undefined
  readonly suggestion: string | undefined
}

export interface TrialTest {
  readonly name: string
  readonly isPassed: boolean
  /** What was expected and what came, where it failed. */
  readonly detail: string | undefined
}

/** A bundle, judged as an instance would judge it before putting it in force. */
export interface JudgedBundle {
  /** `undefined` where there are problems. */
  readonly document: PolicyDocument | undefined
  readonly problems: readonly TrialProblem[]
  readonly warnings: readonly TrialProblem[]
  readonly tests: readonly TrialTest[]
  readonly outcome: TestOutcome | undefined
  /** Why an instance would refuse it besides its problems: required tests that are missing or fail. */
  readonly objections: readonly string[]
}

/** Judges. Never in the process that serves requests for long: a large document goes to a process of its own. */
export type JudgeBundle = (bundle: Bundle) => Promise<JudgedBundle>
