/**
 * The policy's own tests as part of `check`: run where there are any, and counted where some fail.
 *
 * `postern test` is the place for what failed and why. With `policy_tests: required` an instance refuses such a policy, and so it is a
 * problem here; otherwise it is a warning.
 */

import { readBareEnvironment } from '../attributes/environment-facts.ts'
import type { InstanceConfiguration } from '../config/instance.ts'
import { loadPolicyTests } from '../config/load-policy-tests.ts'
import type { Problem } from '../config/problems.ts'
import { compileRoutes } from '../enforcement/route-table.ts'
import { compilePolicy } from '../policy/compile.ts'
import type { PolicyDocument } from '../policy/document.ts'
import type { PolicyInForceForCommand } from './policy-in-force.ts'
import { runPolicyTests } from './policy-tests.ts'

/** What came of the tests. */
export interface CheckedPolicyTests {
  /** `undefined` where there is no file with tests, or it could not be read. */
  readonly summary: { readonly file: string; readonly passed: number; readonly failed: number } | undefined
  readonly problems: readonly Problem[]
  readonly warnings: readonly Problem[]
}

/** Runs the tests beside a policy that has no problems. `at`: the instant of tests that name none. */
export async function checkPolicyTests(
  { path, testFiles: files }: Pick<PolicyInForceForCommand, 'path' | 'testFiles'>,
  document: PolicyDocument,
  { configuration, at }: { readonly configuration: Partial<InstanceConfiguration>; readonly at: number },
): Promise<CheckedPolicyTests> {
  const isRequired = configuration.policyTests === 'required'
  const nothing = { summary: undefined, problems: [], warnings: [] }
  const [file] = files
  if (file === undefined) {
    if (!isRequired) return nothing
    return { ...nothing, problems: [problemOf(path, '`policy_tests: required`, and there is no test beside the policy', writeTests)] }
  }
  // Without strengths a test that names one would be blamed for what is missing elsewhere.
  const strengths = configuration.provider?.strengths
  if (strengths === undefined) return nothing
  const { problems, value: tests, warnings } = await loadPolicyTests(files, { strengths, services: document.services, at })
  if (tests === undefined) return sorted(isRequired, problems, warnings, undefined)
  if (tests.length === 0 && isRequired)
    return sorted(true, [problemOf(file, '`policy_tests: required`, and there is no test in this file', writeTests)], [], undefined)

  const routes = compileRoutes(document, compilePolicy(document))
  const failed = runPolicyTests({ routes }, tests, readBareEnvironment).filter(({ isPassed }) => !isPassed)
  const [first] = failed
  const summary = { file, passed: tests.length - failed.length, failed: failed.length }
  if (first === undefined) return sorted(isRequired, [], warnings, summary)
  const message = `${failed.length} of ${tests.length} ${tests.length === 1 ? 'test' : 'tests'} of the policy ${failed.length === 1 ? 'fails' : 'fail'}`
  const problem = { ...problemOf(file, message, '`postern test` says which, and why'), line: first.test.line }
  return sorted(isRequired, [problem], warnings, summary)
}

const writeTests = 'write policy.test.yaml, or `policy_tests: optional`'

function problemOf(file: string, message: string, suggestion: string): Problem {
  return { file, line: 1, column: 1, path: '', message, suggestion }
}

function sorted(
  isRequired: boolean,
  problems: readonly Problem[],
  warnings: readonly Problem[],
  summary: CheckedPolicyTests['summary'],
): CheckedPolicyTests {
  return isRequired ? { summary, problems, warnings } : { summary, problems: [], warnings: [...problems, ...warnings] }
}
