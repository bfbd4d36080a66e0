/**
 * `postern replay --policy NEW.yaml`: what a policy would have changed for the requests that are on record; `--against live`: what the policy
 * in force would decide otherwise than it was decided then.
 *
 * Nothing is changed and nobody is asked. Exit status: 0, or 1 if anything changes and `--expect-none` was given; 2 if it could not run, and
 * with `--expect-none` also if no request could be decided, because an answer that rests on nothing is none.
 */

import { availableParallelism } from 'node:os'
import { resolve } from 'node:path'
import { type Command, InvalidArgumentError, Option } from 'commander'
import { hasChanges, type ReplaySummary, summariseReplay } from '../administration/impact-summary.ts'
import { listSegmentTasks, type SegmentTask } from '../administration/recorded-requests.ts'
import type { InstanceConfiguration } from '../config/instance.ts'
import { loadConfiguration } from '../config/load-configuration.ts'
import { loadPolicy } from '../config/load-policy.ts'
import { printProblems } from '../config/problems.ts'
import type { PolicyDocument } from '../policy/document.ts'
import type { OpenAdministration } from './administer.ts'
import { createInstantParser } from './past-instant.ts'
import { loadPolicyInForce } from './policy-in-force.ts'
import { printJson } from './print-line.ts'
import { createProgress } from './replay-progress.ts'
import { runReplay } from './replay-run.ts'
import { printReplay } from './replay-text.ts'
import { openTrail } from './trail-reading.ts'

interface ReplayOptions {
  readonly config: string
  readonly policy?: string
  readonly against?: 'live'
  readonly since: number
  readonly until?: number
  readonly dir?: readonly string[]
  readonly threads?: number
  readonly expectNone?: true
  readonly json?: true
}

/** What the command is given. */
export interface ReplayParts {
  readonly now: () => number
  readonly openAdministration: OpenAdministration
}

/** Adds `replay`. */
export function registerReplay(program: Command, parts: ReplayParts): void {
  const parseInstant = createInstantParser(parts.now)
  program
    .command('replay')
    .description('decide recorded requests again under another policy: who would lose what, who would gain what')
    .option('--config <file>', 'instance configuration', 'config/postern.yaml')
    .option('--policy <file>', 'policy to try, a file or a folder')
    .addOption(new Option('--against <what>', 'the policy in force instead: what has drifted since the requests').choices(['live']))
    .option('--since <time>', 'not before: an instant, or an age such as 7d', parseInstant, parseInstant('7d'))
    .option('--until <time>', 'before: an instant, or an age', parseInstant)
    .option('--dir <folder...>', 'audit folders to read in place of the instance’s own, one an instance')
    .option('--threads <count>', 'threads to decide in; as many as processors, if left out', parseThreads)
    .option('--expect-none', 'exit with 1 if anything changes')
    .option('--json', 'print one JSON object')
    .action(async (options: ReplayOptions) => {
      process.exitCode = await replay(options, parts)
    })
}

async function replay(options: ReplayOptions, parts: ReplayParts): Promise<0 | 1 | 2> {
  if ((options.policy === undefined) === (options.against === undefined))
    return complain('postern: replay wants --policy FILE, or --against live')
  const configuration = await loadConfiguration(options.config)
  if (configuration.value === undefined) return complain(printProblems(configuration.problems, 'error'))
  const policies = await loadPolicies(options.policy, configuration.value, parts.now())
  if (typeof policies === 'string') return complain(policies)
  const period = { since: options.since, until: options.until }
  const reading = { dir: options.dir, what: 'replay', target: options.policy } as const
  const folders = await openTrail(configuration.value, reading, parts.openAdministration)
  const tasks = await listSegmentTasks(folders, period)
  const summary = await run(tasks, { ...policies, ...options, period, scheme: schemeOf(configuration.value) })
  console.log(
    options.json === true
      ? printJson(summary)
      : printReplay(summary, options.policy === undefined ? 'the policy in force' : 'a new policy'),
  )
  if (options.expectNone !== true) return 0
  if (summary.decided === 0) return complain('postern: no recorded request could be decided again, so nothing is known of changes')
  return hasChanges(summary) ? 1 : 0
}

interface RunOptions extends Pick<ReplayOptions, 'threads'> {
  readonly document: PolicyDocument
  readonly live: Pick<PolicyDocument, 'services' | 'version'>
  readonly scheme: 'https' | 'http'
  readonly period: { readonly since: number; readonly until: number | undefined }
}

/** Less is read sooner than a thread has started. */
const worthThreadsBytes = 32 * 1024 * 1024

async function run(tasks: readonly SegmentTask[], options: RunOptions): Promise<ReplaySummary> {
  const { document, live, period, scheme } = options
  const bytes = tasks.reduce((sum, task) => sum + task.bytes, 0)
  const threads = options.threads ?? (bytes < worthThreadsBytes ? 1 : availableParallelism())
  const progress = createProgress(process.stderr, bytes, () => performance.now())
  try {
    const tally = await runReplay(tasks, { document, live, period, scheme }, { threads, onStep: progress.step })
    return summariseReplay(tally, document.version)
  } finally {
    progress.end()
  }
}

/** The policy to try, and of that in force what services it knows. A policy in force that does not load knows none, and then none is taken for unchanged. */
async function loadPolicies(
  path: string | undefined,
  configuration: InstanceConfiguration,
  now: number,
): Promise<{ readonly document: PolicyDocument; readonly live: Pick<PolicyDocument, 'services' | 'version'> } | string> {
  const inForce = await loadPolicyInForce(configuration, { now })
  const tried = path === undefined ? inForce : await loadPolicy(resolve(path), { configuration, now })
  if (tried.value === undefined) return printProblems(tried.problems, 'error')
  return { document: tried.value, live: { services: inForce.value?.services ?? [], version: inForce.value?.version ?? '' } }
}

function schemeOf({ url }: InstanceConfiguration): 'https' | 'http' {
  return url.protocol === 'https:' ? 'https' : 'http'
}

function parseThreads(text: string): number {
  if (!/^[1-9]\d?$/.test(text)) throw new InvalidArgumentError('write a whole number from 1 to 99')
  return Number(text)
}

function complain(message: string): 2 {
  console.error(message)
  return 2
}
