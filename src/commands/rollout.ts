/**
 * `postern rollout`: what rules and apps in report mode would have done, and whether they can be put in force.
 *
 * From the trail alone; nothing is decided again. Exit status: 0, 2 if it could not run.
 */

import type { Command } from 'commander'
import { nameOf } from '../administration/impact-summary.ts'
import { createDecisionReader } from '../administration/recorded-decision.ts'
import { listSegmentTasks, readSegment } from '../administration/recorded-requests.ts'
import { createRollout, type Difference, enough, type RolloutEntry, verdictWords } from '../administration/rollout.ts'
import type { Period } from '../audit/merged-lines.ts'
import { loadConfiguration } from '../config/load-configuration.ts'
import { printProblems } from '../config/problems.ts'
import type { PolicyDocument } from '../policy/document.ts'
import type { OpenAdministration } from './administer.ts'
import { createInstantParser } from './past-instant.ts'
import { loadPolicyInForce } from './policy-in-force.ts'
import { printCount, printJson, printLine } from './print-line.ts'
import { openTrail } from './trail-reading.ts'

interface RolloutOptions {
  readonly config: string
  readonly rule?: string
  readonly app?: string
  readonly since: number
  readonly dir?: readonly string[]
  readonly json?: true
}

/** What the command is given. */
export interface RolloutParts {
  readonly now: () => number
  readonly openAdministration: OpenAdministration
}

/** Adds `rollout`. */
export function registerRollout(program: Command, parts: RolloutParts): void {
  const parseInstant = createInstantParser(parts.now)
  program
    .command('rollout')
    .description('rules and apps in report mode: who would have been refused, and whether they can be put in force')
    .option('--config <file>', 'instance configuration', 'config/postern.yaml')
    .option('--rule <name>', 'one rule')
    .option('--app <id>', 'one app')
    .option('--since <time>', 'not before: an instant, or an age such as 30d', parseInstant, parseInstant('30d'))
    .option('--dir <folder...>', 'audit folders to read in place of the instance’s own, one an instance')
    .option('--json', 'print one JSON object')
    .action(async (options: RolloutOptions) => {
      process.exitCode = await rollout(options, parts)
    })
}

async function rollout(options: RolloutOptions, { now, openAdministration }: RolloutParts): Promise<0 | 2> {
  const configuration = await loadConfiguration(options.config)
  if (configuration.value === undefined) return complain(printProblems(configuration.problems, 'error'))
  const policy = await loadPolicyInForce(configuration.value, { now: now() })
  if (policy.value === undefined) return complain(printProblems(policy.problems, 'error'))
  const target = options.rule ?? options.app
  const folders = await openTrail(configuration.value, { dir: options.dir, what: 'rollout', target }, openAdministration)
  const entries = await collect(folders, policy.value, options)
  if (options.json === true)
    console.log(printJson({ policy: policy.value.version, since: textOf(options.since), rollout: entries.map(describe) }))
  else console.log(printRollout(entries))
  return 0
}

async function collect(
  folders: readonly string[],
  document: PolicyDocument,
  { app, rule, since }: RolloutOptions,
): Promise<readonly RolloutEntry[]> {
  const period: Period = { since }
  const found = createRollout(document, { ...(app === undefined ? {} : { app }), ...(rule === undefined ? {} : { rule }) })
  for (const task of await listSegmentTasks(folders, period)) {
    await readSegment(task, {
      period,
      // Its scheme is no matter here: nothing is decided.
      readDecision: createDecisionReader('https'),
      decided: found.see,
      counted: () => undefined,
      progress: () => undefined,
    })
  }
  return found.entries()
}

/** For programs: instants as text, subjects by their names. */
function describe({ firstAt, isReported, lastAt, letIn, refused, ...entry }: RolloutEntry) {
  return {
    ...entry,
    in_report_mode: isReported,
    first: textOf(firstAt),
    last: textOf(lastAt),
    refused: describeDifference(refused),
    let_in: describeDifference(letIn),
    says: verdictWords[entry.verdict],
  }
}

function describeDifference({ firstAt, lastAt, requests, subjectCount, subjects }: Difference) {
  return {
    requests,
    subject_count: subjectCount,
    first: textOf(firstAt),
    last: textOf(lastAt),
    subjects: subjects.map((one) => ({
      subject: nameOf(one.subject),
      sub: one.subject.sub,
      count: one.count,
      first: textOf(one.firstAt),
      last: textOf(one.lastAt),
      example: one.example,
    })),
  }
}

const maxShown = 10

function printRollout(entries: readonly RolloutEntry[]): string {
  if (entries.length === 0) return 'Nothing is in report mode, and nothing was.'
  return entries
    .flatMap((entry) => ['', ...printEntry(entry)])
    .slice(1)
    .map(printLine)
    .join('\n')
}

function printEntry({
  app,
  days,
  firstAt,
  isReported,
  lastAt,
  letIn,
  refused,
  requests,
  rule,
  subjects,
  verb,
  verdict,
}: RolloutEntry): readonly string[] {
  const what = rule === undefined ? 'the app itself' : `rule ${JSON.stringify(rule)}${verb === undefined ? '' : ` (${verb})`}`
  const past = isReported ? '' : ', which is not in report mode now'
  const basis =
    requests === 0
      ? 'no request'
      : `${printCount(requests, 'request')} of ${printCount(subjects, 'subject')} on ${printCount(days, 'day')}, ${dayOf(firstAt)} to ${dayOf(lastAt)}`
  const little = verdict === 'too_little' ? ` It takes ${enough.requests} requests on ${enough.days} days.` : ''
  return [
    `${app}: ${what}${past}`,
    `  held against      ${basis}`,
    ...printDifference('would be refused', refused),
    ...printDifference('would be let in', letIn),
    `  ${verdictWords[verdict]}${little}`,
  ]
}

function printDifference(title: string, { firstAt, lastAt, requests, subjectCount, subjects }: Difference): readonly string[] {
  if (requests === 0) return [`  ${title.padEnd(18)}nobody`]
  const shown = subjects.slice(0, maxShown)
  return [
    `  ${title.padEnd(18)}${printCount(subjectCount, 'subject')} in ${printCount(requests, 'request')}, ${dayOf(firstAt)} to ${dayOf(lastAt)}`,
    ...shown.map(
      (one) => `    ${count(one.count).padStart(6)} ×  ${nameOf(one.subject)}, last ${dayOf(one.lastAt)}, such as ${one.example}`,
    ),
    ...(subjectCount > shown.length ? [`    and ${count(subjectCount - shown.length)} more`] : []),
  ]
}

function textOf(at: number | undefined): string | undefined {
  return at === undefined ? undefined : new Date(at).toISOString()
}

function dayOf(at: number | undefined): string {
  return textOf(at)?.slice(0, 10) ?? ''
}

function count(value: number): string {
  return value.toLocaleString('en')
}

function complain(message: string): 2 {
  console.error(message)
  return 2
}
