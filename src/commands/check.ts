/**
 * `postern check`: every problem of configuration and policy in one report; with `--live` also what only a try can tell.
 *
 * Nothing is started and nothing is written. The policy's own tests are run where there are any. Live probes run only on a configuration without problems, all at once, each bounded in
 * time. Exit status: 0 good, 1 problems (with `--strict` also warnings), 2 the configuration file could not be read at all.
 */

import { stat } from 'node:fs/promises'
import { dirname, isAbsolute, relative, resolve } from 'node:path'
import type { Command } from 'commander'
import type { InstanceConfiguration } from '../config/instance.ts'
import { loadConfiguration } from '../config/load-configuration.ts'
import { type Problem, printProblems } from '../config/problems.ts'
import type { PolicyDocument } from '../policy/document.ts'
import { checkPolicyTests } from './check-policy-tests.ts'
import type { LiveProbes } from './live-probes.ts'
import { openPolicyInForce } from './policy-in-force.ts'
import type { ProbeResult } from './probe-result.ts'

export interface CheckOptions {
  readonly config: string
  readonly live?: boolean
  readonly strict?: boolean
  readonly json?: boolean
}

export interface CheckOutcome {
  readonly status: 0 | 1 | 2
  /** Live checks were asked for, and the files are not good enough to try anything. */
  readonly isUntried: boolean
  /** For stdout with `--json`. */
  readonly summary: {
    readonly ok: boolean
    readonly config: string
    readonly policy: { readonly path: string; readonly version: string | undefined; readonly apps: number } | undefined
    readonly problems: readonly Problem[]
    readonly warnings: readonly Problem[]
    /** Of the policy's own tests; `undefined` where there are none, or they could not be run. */
    readonly tests: { readonly file: string; readonly passed: number; readonly failed: number } | undefined
    readonly live: readonly ProbeResult[] | undefined
    /** The policy compared with people and devices that were seen; with `--live`, or where the store is a file of this machine. */
    readonly seen: readonly ProbeResult[] | undefined
  }
}

export interface CheckParts {
  readonly probes: LiveProbes
  /** Epoch milliseconds. */
  readonly now: () => number
}

/** Adds `check`. */
export function registerCheck(program: Command, parts: CheckParts): void {
  program
    .command('check')
    .description(
      'report every problem of the configuration and the policy; --live also tries provider, names, upstreams and store, and looks who and what was seen',
    )
    .option('--config <file>', 'instance configuration', 'config/postern.yaml')
    .option('--live', 'also connect to what is configured')
    .option('--strict', 'treat warnings as problems')
    .option('--json', 'print one JSON object')
    .action(async (options: CheckOptions) => {
      const outcome = await runCheck(options, parts)
      console.log(options.json === true ? JSON.stringify(outcome.summary) : describeOutcome(outcome))
      process.exitCode = outcome.status
    })
}

/** The check itself, without printing. */
export async function runCheck(options: CheckOptions, { probes, now }: CheckParts): Promise<CheckOutcome> {
  const configuration = await loadConfiguration(options.config)
  const policyPath = configuration.parts.policyPath ?? (await findUsualPolicy(options.config))
  const { parts } = configuration
  const policy =
    policyPath === undefined ? undefined : await openPolicyInForce({ ...parts, policyPath }, { isStoreAsked: isStoreAsked(options, parts) })
  const tests = policy?.value === undefined ? undefined : await checkPolicyTests(policy, policy.value, { configuration: parts, at: now() })
  await policy?.close()
  const problems = [...configuration.problems, ...(policy?.problems ?? []), ...(tests?.problems ?? [])]
  const warnings = [...configuration.warnings, ...(policy?.warnings ?? []), ...(tests?.warnings ?? [])]
  const isComplete = problems.length === 0 && configuration.value !== undefined && policy?.value !== undefined
  const isUntried = options.live === true && !isComplete
  const live = options.live === true && isComplete ? await runProbes(probes, configuration.value, policy.value) : undefined
  const isSeen = isComplete && isStoreAsked(options, configuration.value)
  const seen = isSeen ? await probes.life(configuration.value, policy.value) : undefined

  const tried = [...(live ?? []), ...(seen ?? [])]
  const isBad = !isComplete || tried.some(({ outcome }) => outcome === 'problem')
  const isDoubtful = warnings.length > 0 || tried.some(({ outcome }) => outcome === 'warning')
  const isUnreadable = configuration.problems.some(({ file, line }) => line === 0 && file === options.config)
  const status = isUnreadable ? 2 : isBad || (options.strict === true && isDoubtful) ? 1 : 0
  return {
    status,
    isUntried,
    summary: {
      ok: status === 0,
      config: options.config,
      policy:
        policy === undefined
          ? undefined
          : {
              path: policy.form === 'files' ? policy.path : `revision ${policy.revision}`,
              version: policy.value?.version,
              apps: policy.value?.apps.length ?? 0,
            },
      problems,
      warnings,
      tests: tests?.summary,
      live,
      seen,
    },
  }
}

/** Without `--live` nothing is connected to; a file that lies here costs nothing to ask. */
function isStoreAsked(options: CheckOptions, { session }: Partial<InstanceConfiguration>): boolean {
  return options.live === true || session?.store.kind === 'embedded'
}

/** Where the policy usually is. One mistake in the configuration must not hide those of the policy until the next run. */
async function findUsualPolicy(config: string): Promise<string | undefined> {
  const usual = resolve(dirname(config), 'policy.yaml')
  try {
    await stat(usual)
    return usual
  } catch {
    // Not there, so it is not meant either.
    return undefined
  }
}

async function runProbes(
  probes: LiveProbes,
  configuration: InstanceConfiguration,
  policy: PolicyDocument,
): Promise<readonly ProbeResult[]> {
  const results = await Promise.all([
    probes.discovery(configuration),
    probes.clock(configuration),
    probes.clientSecret(configuration),
    probes.refreshToken(configuration),
    probes.store(configuration),
    probes.certificates(configuration),
    probes.places(configuration),
    probes.deviceCertificates(configuration, policy),
    ...publicOrigins(configuration, policy).map((origin) => probes.publicName(configuration, origin)),
    ...policy.apps.flatMap((app) => app.upstreams.map((upstream) => probes.upstream(configuration, app, upstream))),
  ])
  return results.flat()
}

function publicOrigins(configuration: InstanceConfiguration, policy: PolicyDocument): readonly URL[] {
  const origins = new Set([configuration.url.origin, ...policy.apps.map(({ address }) => address.origin)])
  return [...origins].map((origin) => new URL(origin))
}

/** A file below the working folder by its relative path, as the person would name it. */
function shortened(problem: Problem): Problem {
  const path = isAbsolute(problem.file) ? relative(process.cwd(), problem.file) : problem.file
  return path === '' || path.startsWith('..') || isAbsolute(path) ? problem : { ...problem, file: path }
}

const marks = { good: 'ok      ', warning: 'warning ', problem: 'PROBLEM ', unknown: 'unknown ' } as const

/** The outcome for people. */
export function describeOutcome({ isUntried, summary }: CheckOutcome): string {
  const { problems, warnings, live, policy, seen = [], tests } = summary
  const lines = [printProblems(problems.map(shortened), 'error'), printProblems(warnings.map(shortened), 'warning')].filter(
    (text) => text !== '',
  )
  const shown = live === undefined ? seen.filter(({ outcome }) => outcome === 'warning') : [...live, ...seen]
  for (const result of shown) {
    lines.push(`${marks[result.outcome]}${result.probe}: ${result.message}`)
    if (result.hint !== undefined) lines.push(`        ${result.hint}`)
  }
  const failed = live?.filter(({ outcome }) => outcome === 'problem').length ?? 0
  const count = (number: number, word: string) => `${number} ${word}${number === 1 ? '' : 's'}`
  const doubts = count(warnings.length, 'warning')
  if (problems.length > 0)
    lines.push(`${count(problems.length, 'problem')}, ${doubts}${isUntried ? '; nothing was tried live until the files are good' : ''}`)
  else if (failed > 0) lines.push(`the files are good (${doubts}), but ${count(failed, 'live check')} failed`)
  else {
    const tested = tests === undefined ? '' : `, ${tests.passed} of ${count(tests.passed + tests.failed, 'test')} passed`
    lines.push(`good: ${count(policy?.apps ?? 0, 'app')}, policy ${policy?.version ?? 'unknown'}${tested}, ${doubts}`)
  }
  return lines.join('\n')
}
