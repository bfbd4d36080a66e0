/**
 * `postern access review`: who has access to what, through which rule, last used when; for whoever has to confirm it, as CSV.
 *
 * Nothing is changed. With `--dir` only copies of trails are read, and then nobody's access today is known, only what was used. Exit status: 0,
 * 2 if it could not run.
 */

import { type Command, Option } from 'commander'
import {
  type AccessEntry,
  type AccessReview,
  createAccessReview,
  markWords,
  todayWords,
  unusedDays,
} from '../administration/access-review.ts'
import { nameOf } from '../administration/impact-summary.ts'
import { createDecisionReader } from '../administration/recorded-decision.ts'
import { listSegmentTasks, readSegment } from '../administration/recorded-requests.ts'
import { compileSubjectReader } from '../attributes/subject-facts.ts'
import { formatCsvCell } from '../audit/trail-csv.ts'
import type { InstanceConfiguration } from '../config/instance.ts'
import { loadConfiguration } from '../config/load-configuration.ts'
import { printProblems } from '../config/problems.ts'
import { createLogger } from '../log.ts'
import { compilePolicy } from '../policy/compile.ts'
import type { PolicyDocument } from '../policy/document.ts'
import type { OpenAdministration } from './administer.ts'
import { createInstantParser } from './past-instant.ts'
import { loadPolicyInForce } from './policy-in-force.ts'
import { printCount, printJson, printLine } from './print-line.ts'
import { openTrail } from './trail-reading.ts'

interface ReviewOptions {
  readonly config: string
  readonly app?: string
  readonly since?: number
  readonly dir?: readonly string[]
  readonly format: 'text' | 'csv' | 'json'
}

/** What the command is given. */
export interface AccessParts {
  readonly now: () => number
  readonly openAdministration: OpenAdministration
}

/** Adds `access`. */
export function registerAccess(program: Command, parts: AccessParts): void {
  program
    .command('access')
    .description('who has access to what')
    .command('review')
    .description('who may open what, through which rule, and when it was last used')
    .option('--config <file>', 'instance configuration', 'config/postern.yaml')
    .option('--app <id>', 'one app')
    .option('--since <time>', 'use not before: an instant, or an age such as 180d; all, if left out', createInstantParser(parts.now))
    .option('--dir <folder...>', 'audit folders to read in place of the instance’s own, one an instance')
    .addOption(new Option('--format <format>', 'how to print it').choices(['text', 'csv', 'json']).default('text'))
    .action(async (options: ReviewOptions) => {
      process.exitCode = await review(options, parts)
    })
}

async function review(options: ReviewOptions, { now, openAdministration }: AccessParts): Promise<0 | 2> {
  const { value: configuration, problems } = await loadConfiguration(options.config)
  if (configuration === undefined) return complain(printProblems(problems, 'error'))
  const policy = await loadPolicyInForce(configuration, { now: now() })
  if (policy.value === undefined) return complain(printProblems(policy.problems, 'error'))
  if (options.app !== undefined && !policy.value.apps.some(({ id }) => id === options.app))
    return complain(`postern: the policy has no app ${options.app}`)
  const reviewed = createAccessReview(compilePolicy(policy.value), {
    at: now(),
    ...(options.app === undefined ? {} : { app: options.app }),
  })
  const folders = await openTrail(configuration, { dir: options.dir, what: 'access_review', target: options.app }, openAdministration)
  await readTrail(folders, reviewed, options.since)
  if (options.dir === undefined) await addSubjects(reviewed, { configuration, document: policy.value, openAdministration })
  console.log(print(reviewed, options.format, now()))
  const unlisted = reviewed.unlisted()
  if (unlisted > 0) console.error(`postern: ${unlisted} more found no room: review one app at a time with --app`)
  return 0
}

async function readTrail(folders: readonly string[], { see }: AccessReview, since: number | undefined): Promise<void> {
  for (const task of await listSegmentTasks(folders, { since })) {
    // Its scheme is no matter here: nothing is decided.
    const readDecision = createDecisionReader('https')
    await readSegment(task, { period: { since }, readDecision, decided: see, counted: () => undefined, progress: () => undefined })
  }
}

interface SubjectSources {
  readonly configuration: InstanceConfiguration
  readonly document: PolicyDocument
  readonly openAdministration: OpenAdministration
}

/** Everybody who might come: strangers, the services of the policy, the people on record. */
async function addSubjects(reviewed: AccessReview, { configuration, document, openAdministration }: SubjectSources): Promise<void> {
  reviewed.addSubject({ kind: 'nobody' })
  for (const { issuer, name } of document.services) reviewed.addSubject({ kind: 'service', names: [name], issuer, claims: {} })
  const readSubject = compileSubjectReader(configuration.provider)
  const administration = await openAdministration(configuration, createLogger('warn', 'stderr'))
  try {
    const { people } = await administration.people.listPeople()
    for await (const { claims, issuer, seenAt, sub } of people) {
      reviewed.addSubject(readSubject({ issuer, sub, claims: { at: seenAt, version: 1, all: claims } }, 'fresh'))
    }
  } finally {
    await administration.close()
  }
}

function print(reviewed: AccessReview, format: ReviewOptions['format'], at: number): string {
  const entries = reviewed.entries()
  const knownFrom = textOf(reviewed.knownFrom())
  switch (format) {
    case 'json':
      return printJson({ known_from: knownFrom, unused_days: unusedDays, access: entries.map(describe) })
    case 'csv':
      return [columns.join(','), ...entries.map((entry) => Object.values(describe(entry)).map(formatCsvCell).join(','))].join('\r\n')
    case 'text':
      return printText(entries, knownFrom, at)
  }
}

const columns = ['app', 'subject', 'kind', 'sub', 'issuer', 'rule', 'today', 'uses', 'first_used', 'last_used', 'mark'] as const

/** In the order of the columns. */
function describe({
  app,
  firstAt,
  lastAt,
  mark,
  rule,
  subject,
  today,
  uses,
}: AccessEntry): Record<(typeof columns)[number], string | number | undefined> {
  return {
    app,
    subject: nameOf(subject),
    kind: subject.kind,
    sub: subject.sub,
    issuer: subject.issuer,
    rule: rule === '' ? '(report mode)' : rule,
    today,
    uses,
    first_used: textOf(firstAt),
    last_used: textOf(lastAt),
    mark,
  }
}

function printText(entries: readonly AccessEntry[], knownFrom: string | undefined, at: number): string {
  const isShort = knownFrom !== undefined && at - Date.parse(knownFrom) < unusedDays * 86_400_000
  const lines = [
    knownFrom === undefined
      ? 'The trail has no request.'
      : `Use is known from ${knownFrom.slice(0, 10)} on${isShort ? `: less than ${unusedDays} days, so that “unused” means since then` : ''}.`,
  ]
  let app: string | undefined
  for (const entry of entries) {
    if (entry.app !== app) lines.push('', entry.app)
    app = entry.app
    const used =
      entry.lastAt === undefined ? 'never used' : `last used ${textOf(entry.lastAt)?.slice(0, 10)}, ${printCount(entry.uses, 'time')}`
    const rule = entry.rule === '' ? 'report mode' : `rule ${JSON.stringify(entry.rule)}`
    const mark =
      entry.mark === 'used'
        ? ''
        : `  [${isShort && entry.mark === 'unused' ? 'may, and has not since the record begins' : markWords[entry.mark]}]`
    lines.push(`  ${nameOf(entry.subject)}  ${rule}: ${todayWords[entry.today]}; ${used}${mark}`)
  }
  if (entries.length === 0) lines.push('Nobody may open anything, and nobody has.')
  return lines.map(printLine).join('\n')
}

function textOf(at: number | undefined): string | undefined {
  return at === undefined ? undefined : new Date(at).toISOString()
}

function complain(message: string): 2 {
  console.error(message)
  return 2
}
