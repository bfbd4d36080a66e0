/**
 * The part of the composition root that keeps the policy in force: from the files, through their problems and the policy's own tests, to the
 * snapshot that requests are judged by.
 *
 * With `policy_tests: required` a policy that fails its tests, or has none, is never in force: at start that is an error, later the
 * one before stays. Warnings are logged and stop nothing.
 */

import { readBareEnvironment } from './attributes/environment-facts.ts'
import { printPolicyTests, runPolicyTests } from './commands/policy-tests.ts'
import type { InstanceConfiguration } from './config/instance.ts'
import { loadPolicy } from './config/load-policy.ts'
import { findPolicyTests, loadPolicyTests } from './config/load-policy-tests.ts'
import { describeProblem, printProblems } from './config/problems.ts'
import { compileRoutes } from './enforcement/route-table.ts'
import { PosternError } from './errors.ts'
import type { Logger } from './log.ts'
import { compilePolicy } from './policy/compile.ts'
import type { PolicyDocument } from './policy/document.ts'
import { openPolicySource, type PolicySource, type PolicySourceOptions } from './policy-source.ts'

export interface ComposePolicyParts {
  readonly configuration: InstanceConfiguration
  readonly log: Logger
  /** Epoch milliseconds. */
  readonly now: () => number
  /** Milliseconds between two looks at the files. */
  readonly lookEveryMs: number
  readonly onReload: PolicySourceOptions['onReload']
}

/** Loads the policy and watches it. Rejects with `configuration_invalid` and the whole report if it cannot be in force. */
export async function composePolicy({ configuration, log, lookEveryMs, now, onReload }: ComposePolicyParts): Promise<PolicySource> {
  const load = () => loadPolicy(configuration.policyPath, { configuration, now: now() })
  const first = await load()
  if (first.value === undefined)
    throw new PosternError('configuration_invalid', `the policy has problems\n${printProblems(first.problems, 'error')}`)
  for (const warning of first.warnings) log.warn({ warning: describeProblem(warning) }, 'policy warning')
  const areTestsRequired = configuration.policyTests === 'required'
  const verify = areTestsRequired ? (document: PolicyDocument) => findFailures(document, configuration, now()) : undefined
  const failures = verify === undefined ? [] : await verify(first.value)
  if (failures.length > 0) throw new PosternError('configuration_invalid', `the policy fails its own tests\n${failures.join('\n')}`)
  const testsFile = areTestsRequired ? await findPolicyTests(configuration.policyPath) : undefined
  return openPolicySource(first.value, {
    path: configuration.policyPath,
    load,
    verify,
    verifiedBy: testsFile === undefined ? [] : [testsFile],
    describe: describeProblem,
    log,
    lookEveryMs,
    onReload,
  })
}

/** What speaks against a policy by its own tests; empty if all pass. */
async function findFailures(document: PolicyDocument, configuration: InstanceConfiguration, at: number): Promise<readonly string[]> {
  const file = await findPolicyTests(configuration.policyPath)
  if (file === undefined) return ['`policy_tests: required`, and there is no policy.test.yaml beside the policy']
  const { strengths } = configuration.provider
  const { problems, value: tests } = await loadPolicyTests(file, { strengths, services: document.services, at })
  if (tests === undefined) return problems.map(describeProblem)
  if (tests.length === 0) return [`${file} holds no test`]
  const policy = compilePolicy(document)
  const results = runPolicyTests({ routes: compileRoutes(document, policy) }, tests, readBareEnvironment)
  return results.every(({ isPassed }) => isPassed) ? [] : [printPolicyTests(results)]
}
