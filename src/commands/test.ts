/**
 * `postern test`: runs the tests beside the policy and prints each failure with what was expected, what was decided and why.
 *
 * Needs neither store nor provider nor network: a policy is tested where it is written; a managed one where the store says what it is. Exit status: 0 all passed, 1 some failed,
 * 2 the files could not be read.
 */

import type { Command } from 'commander'
import { readBareEnvironment } from '../attributes/environment-facts.ts'
import { loadConfiguration } from '../config/load-configuration.ts'
import { loadPolicyTests } from '../config/load-policy-tests.ts'
import { printProblems } from '../config/problems.ts'
import { compileRoutes } from '../enforcement/route-table.ts'
import { compilePolicy } from '../policy/compile.ts'
import type { Strength } from '../policy/document.ts'
import { openPolicyInForce, type PolicyInForceForCommand } from './policy-in-force.ts'
import { printPolicyTests, runPolicyTests } from './policy-tests.ts'
import { printJson } from './print-line.ts'

interface TestOptions {
  readonly config: string
  readonly tests?: string
  readonly json?: boolean
}

/** Adds `test`. */
export function registerTest(program: Command, { now }: { readonly now: () => number }): void {
  program
    .command('test')
    .description('run the tests beside the policy')
    .option('--config <file>', 'instance configuration', 'config/postern.yaml')
    .option('--tests <file>', 'tests to run; policy.test.yaml beside the policy if left out')
    .option('--json', 'print one JSON object')
    .action(async (options: TestOptions) => {
      process.exitCode = await runTests(options, now)
    })
}

async function runTests(options: TestOptions, now: () => number): Promise<0 | 1 | 2> {
  // What a test does not need may be missing: secrets and certificates lie on the machine that serves.
  const { parts, problems } = await loadConfiguration(options.config)
  if (parts.policyPath === undefined || parts.provider === undefined) {
    console.error(printProblems(problems, 'error'))
    return 2
  }
  const policy = await openPolicyInForce({ ...parts, policyPath: parts.policyPath })
  try {
    return await runTestsOf(policy, { ...options, strengths: parts.provider.strengths, at: now() })
  } finally {
    await policy.close()
  }
}

interface RunOptions extends TestOptions {
  readonly strengths: ReadonlyMap<string, Strength>
  readonly at: number
}

async function runTestsOf(policy: PolicyInForceForCommand, options: RunOptions): Promise<0 | 1 | 2> {
  if (policy.value === undefined) {
    console.error(printProblems(policy.problems, 'error'))
    return 2
  }
  const files = options.tests === undefined ? policy.testFiles : [options.tests]
  if (files.length === 0) {
    console.error(
      `postern: there are no tests ${policy.revision === undefined ? `beside ${policy.path}` : `in revision ${policy.revision}`}; docs/policy.md says how to write policy.test.yaml`,
    )
    return 2
  }
  const { services } = policy.value
  const loaded = await loadPolicyTests(files, { strengths: options.strengths, services, at: options.at })
  if (loaded.value === undefined) {
    console.error(printProblems(loaded.problems, 'error'))
    return 2
  }
  const compiled = compilePolicy(policy.value)
  const results = runPolicyTests({ routes: compileRoutes(policy.value, compiled) }, loaded.value, readBareEnvironment)
  const failed = results.filter(({ isPassed }) => !isPassed)
  if (options.json === true) {
    const tests = results.map(({ got, isPassed, test, why }) => ({
      name: test.name,
      file: test.file,
      line: test.line,
      passed: isPassed,
      got,
      why,
    }))
    console.log(printJson({ policy: policy.value.version, passed: results.length - failed.length, failed: failed.length, tests }))
  } else console.log(printPolicyTests(results))
  return failed.length === 0 ? 0 : 1
}
