/**
 * The part of the composition root that keeps the policy in force: from the files, through their problems and the policy's own tests, to the
 * snapshot that requests are judged by.
 *
 * With `policy_tests: required` a policy that fails its tests, or has none, is never in force: at start that is an error, later the
 * one before stays. Warnings are logged and stop nothing. A load has a process of its own, so that requests go on meanwhile, but for
 * the first of a policy of usual size, when nobody waits yet, and those of a small one: judging it is over before a process would have
 * started, and what it forbids is cut that much sooner.
 */

import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { InstanceConfiguration } from './config/instance.ts'
import { describeInstance } from './config/known-instance.ts'
import { describeProblem, printProblems } from './config/problems.ts'
import { PosternError } from './errors.ts'
import type { Logger } from './log.ts'
import { createPolicyLoader } from './policy-loader.ts'
import { judgePolicy, type PolicyQuestion } from './policy-loading.ts'
import { logWarnings, openPolicySource, type PolicySource, type PolicySourceOptions } from './policy-source.ts'

export interface ComposePolicyParts {
  readonly configuration: InstanceConfiguration
  readonly log: Logger
  /** Epoch milliseconds. */
  readonly now: () => number
  /** Milliseconds between two looks at the files. */
  readonly lookEveryMs: number
  readonly onReload: PolicySourceOptions['onReload']
}

/** Some ten apps; judging them takes twenty or thirty milliseconds, in which requests wait. */
const smallBytes = 16_000

/** Some two hundred apps. What parsing more leaves behind would stay with this process as memory that it never needs again. */
const usualBytes = 400_000

/** Loads the policy and watches it. Rejects with `configuration_invalid` and the whole report if it cannot be in force. */
export async function composePolicy({ configuration, log, lookEveryMs, now, onReload }: ComposePolicyParts): Promise<PolicySource> {
  const instance = describeInstance(configuration)
  const question = (): PolicyQuestion => ({
    path: configuration.policyPath,
    instance,
    areTestsRequired: configuration.policyTests === 'required',
    now: now(),
  })
  const loader = createPolicyLoader()
  const first = (await measureBytes(configuration.policyPath)) > usualBytes ? loader.load(question()) : judgePolicy(question())
  const { files, objections, problems, value, warnings } = await first
  if (value === undefined) throw new PosternError('configuration_invalid', `the policy has problems\n${printProblems(problems, 'error')}`)
  if (objections.length > 0) throw new PosternError('configuration_invalid', `the policy fails its own tests\n${objections.join('\n')}`)
  logWarnings(warnings, { log, describe: describeProblem })
  const source = await openPolicySource(
    { value, files },
    {
      path: configuration.policyPath,
      load: async () => {
        const isSmall = !question().areTestsRequired && (await measureBytes(configuration.policyPath)) <= smallBytes
        return isSmall ? judgePolicy(question()) : loader.load(question())
      },
      describe: describeProblem,
      log,
      lookEveryMs,
      recording: configuration.audit,
      onReload,
    },
  )
  return {
    ...source,
    close() {
      source.close()
      loader.close()
    },
  }
}

/** Of a file, or of all in a folder; nothing for what cannot be looked at, which loading will say. */
async function measureBytes(path: string): Promise<number> {
  try {
    const status = await stat(path)
    if (!status.isDirectory()) return status.size
    const sizes = await Promise.all((await readdir(path)).map(async (name) => (await stat(join(path, name))).size))
    return sizes.reduce((sum, size) => sum + size, 0)
  } catch {
    // It is not there, or may not be read.
    return 0
  }
}
