/**
 * `postern policy pull|diff|push|history|restore`: the policy that the store holds, from a pipeline or by hand.
 *
 * Over the store or the control socket of the configuration, or over the API of a running instance (`--url`, and `--token` or `POSTERN_TOKEN`).
 * Where the policy is files they are the truth: they can be pulled and compared, and nothing is published. Exit status: 0 done, or no
 * difference; 1 not done for a reason that is printed, or there is a difference; 2 could not run.
 */

import { type Command, InvalidArgumentError } from 'commander'
import type { Bundle } from '../administration/policy-bundle.ts'
import { describeBundleDifference, type FileDifference } from '../administration/policy-merge-difference.ts'
import { type PolicyStatement, type PublishedStatement, parseFiles, type RevisionStatement } from '../administration/policy-statements.ts'
import { PosternError } from '../errors.ts'
import { type DeskOptions, withDeskOptions } from './access-desk.ts'
import { noteRevision, readCheckout, writeCheckout } from './policy-checkout.ts'
import { type Answered, isSameBundle, openPolicyDesk, type PolicyDesk, type PolicyDeskParts } from './policy-desk.ts'
import { printCount, printJson, printLine } from './print-line.ts'

interface PolicyOptions extends DeskOptions {
  readonly json?: true
}

interface PullOptions extends PolicyOptions {
  readonly force?: true
}

interface OrderOptions extends PolicyOptions {
  readonly comment: string
  readonly confirm?: readonly string[]
}

interface PushOptions extends OrderOptions {
  readonly draft?: true
  readonly onto?: number
}

interface HistoryOptions extends PolicyOptions {
  readonly limit: number
}

const defaultFolder = 'policy'
const mostRevisions = 10_000

/** Adds `policy`. */
export function registerPolicy(program: Command, parts: PolicyDeskParts): void {
  const policy = program.command('policy').description('the policy that the store holds: its files, its history')
  const onDesk = (options: DeskOptions, work: (desk: PolicyDesk) => Promise<void>) => openPolicyDesk(options, parts, work)

  withDeskOptions(
    policy.command('pull').description('write what is published into a folder').argument('[dir]', 'the folder', defaultFolder),
  )
    .option('--force', 'also over files that were changed here')
    .option('--json', 'print one JSON object')
    .action((folder: string, options: PullOptions) => onDesk(options, (desk) => pull(desk, folder, options)))

  withDeskOptions(
    policy
      .command('diff')
      .description('how files here differ from what is published; status 1 if they do')
      .argument('[path]', 'a file or folder', defaultFolder),
  )
    .option('--json', 'print one JSON object')
    .action((path: string, options: PolicyOptions) => onDesk(options, (desk) => diff(desk, path, options)))

  withDeskOptions(
    policy.command('push').description('publish files, if nobody else did since they were pulled').argument('<path>', 'a file or folder'),
  )
    .requiredOption('--comment <text>', 'what it is about, for the history', parseComment)
    .option('--draft', 'publish nothing: make a draft for somebody to look at')
    .option('--onto <number>', 'the revision that the files were made from, where they were not pulled', parseNumber)
    .option('--confirm <word...>', 'the words that were asked for')
    .option('--json', 'print one JSON object')
    .action((path: string, options: PushOptions) => onDesk(options, (desk) => push(desk, path, options)))

  withDeskOptions(policy.command('history').description('what was published, the newest first'))
    .option('--limit <number>', 'how many', parseNumber, 20)
    .option('--json', 'one JSON object a line')
    .action((options: HistoryOptions) => onDesk(options, (desk) => history(desk, options)))

  withDeskOptions(
    policy.command('restore').description('publish again what a revision says').argument('<number>', 'the revision', parseNumber),
  )
    .requiredOption('--comment <text>', 'why, for the history', parseComment)
    .option('--confirm <word...>', 'the words that were asked for')
    .option('--json', 'print one JSON object')
    .action((number: number, options: OrderOptions) =>
      onDesk(options, async (desk) =>
        tell(await desk.restore(number, { comment: options.comment, confirmations: options.confirm ?? [] }), options),
      ),
    )
}

async function pull(desk: PolicyDesk, folder: string, options: PullOptions): Promise<void> {
  const answer = await desk.load()
  if (answer.outcome === 'refused') return refuse(answer, options)
  const { failure, policy_version, revision } = answer.value
  const bundle = bundleOf(answer.value)
  if ((await writeCheckout(folder, bundle, revision?.number ?? 0, options.force === true)) === 'changed_here') {
    const message = `${folder} holds files that were changed since they were pulled, or never were: \`postern policy diff\` shows them, --force writes over them`
    return refuse({ outcome: 'refused', problem: 'conflict', message, detail: {} }, options)
  }
  if (options.json === true)
    return console.log(printJson({ folder, revision: revision?.number ?? null, policy_version, files: bundle.map(({ path }) => path) }))
  const what = revision === null ? 'the files in force' : `revision ${revision.number}`
  console.log(printLine(`Wrote ${what} into ${folder}: ${printCount(bundle.length, 'file')}, ${policy_version}.`))
  if (failure !== null) console.error(printLine(`postern: the newest is not in force: ${failure}`))
}

async function diff(desk: PolicyDesk, path: string, options: PolicyOptions): Promise<void> {
  const { bundle, note } = await readCheckout(path)
  const answer = await desk.load()
  if (answer.outcome === 'refused') return refuse(answer, options)
  const { mode, revision } = answer.value
  const published = bundleOf(answer.value)
  const differences = describeBundleDifference(published, bundle)
  const isDrifted = !isSameBundle(published, bundle)
  process.exitCode = isDrifted ? 1 : 0
  if (options.json === true) {
    const files = differences.map(({ isBinary, leftOut, ...rest }) => ({ ...rest, binary: isBinary, left_out: leftOut }))
    return console.log(
      printJson({ differs: isDrifted, mode, revision: revision?.number ?? null, made_from: note?.revision ?? null, files }),
    )
  }
  const what = revision === null ? 'the files in force' : `revision ${revision.number}`
  if (!isDrifted) return console.log(printLine(`${path} is ${what}.`))
  for (const difference of differences) console.log(printDifference(difference))
  const from =
    note === undefined || revision === null || note.revision === revision.number ? '' : `; it was made from revision ${note.revision}`
  console.error(printLine(`postern: ${path} is not ${what}${from}`))
}

async function push(desk: PolicyDesk, path: string, options: PushOptions): Promise<void> {
  const { bundle, note } = await readCheckout(path)
  const predecessor = options.onto ?? note?.revision
  if (predecessor === undefined) {
    const message = `${path} was not pulled, so nobody knows what it was made from: pull first, or say --onto NUMBER`
    return refuse({ outcome: 'refused', problem: 'conflict', message, detail: {} }, options)
  }
  const order = { bundle, predecessor, comment: options.comment, asDraft: options.draft === true, confirmations: options.confirm ?? [] }
  const answer = await desk.push(order)
  if (answer.outcome === 'done' && answer.value.revision !== null) await noteRevision(path, bundle, answer.value.revision.number)
  tell(answer, options)
}

async function history(desk: PolicyDesk, options: HistoryOptions): Promise<void> {
  const answer = await desk.list(Math.min(options.limit, mostRevisions))
  if (answer.outcome === 'refused') return refuse(answer, options)
  for (const revision of answer.value) console.log(options.json === true ? printJson(revision) : printLine(describe(revision)))
}

function tell(answer: Answered<PublishedStatement>, options: PolicyOptions): void {
  if (answer.outcome === 'refused') refuse(answer, options)
  else if (options.json === true) console.log(printJson(answer.value))
  else console.log(describePublished(answer.value).map(printLine).join('\n'))
}

function describePublished({ draft, outcome, revision }: PublishedStatement): readonly string[] {
  if (draft !== null) return [`Draft ${draft.id} waits to be looked at; nothing is published.`]
  if (revision === null) return []
  if (outcome === 'unchanged') return [`Revision ${revision.number} says this already; nothing is published.`]
  return [`Published as revision ${revision.number}, ${revision.policy_version}.`, ...revision.difference.map((line) => `  ${line}`)]
}

function refuse({ detail, message, problem }: Extract<Answered<never>, { readonly outcome: 'refused' }>, { json }: PolicyOptions): void {
  process.exitCode = 1
  if (json === true) {
    console.log(printJson({ outcome: 'refused', problem, message, ...detail }))
    return
  }
  console.error(printLine(`postern: ${message}`))
  const { gates, objections, problems } = detail
  const words = listOf(gates).flatMap((gate) => {
    const { word } = gate as Readonly<Record<string, unknown>>
    return typeof word === 'string' ? [`--confirm '${word.replaceAll("'", "'\\''")}'`] : []
  })
  if (words.length > 0) console.error(printLine(`  if that is meant: ${words.join(' ')}`))
  for (const one of [...listOf(problems), ...listOf(objections)]) console.error(printLine(`  ${describeProblem(one)}`))
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value.slice(0, 20) : []
}

/** What a judge said, or an instance elsewhere. */
function describeProblem(problem: unknown): string {
  if (typeof problem !== 'object' || problem === null) return String(problem)
  const { expected, file, line, message, suggestion } = problem as Readonly<Record<string, unknown>>
  const place = file === undefined ? '' : `${String(file)}${line === undefined ? '' : `:${String(line)}`}: `
  const more = [expected === undefined ? '' : ` (expected ${String(expected)})`, suggestion === undefined ? '' : `; ${String(suggestion)}`]
  return `${place}${String(message)}${more.join('')}`
}

function bundleOf({ files }: PolicyStatement): Bundle {
  const bundle = parseFiles(files)
  if (bundle !== undefined) return bundle
  throw new PosternError('api_unavailable', 'what was handed out is no policy')
}

function describe({ approvals, comment, number, policy_version, published, restores, tests }: RevisionStatement): string {
  const parts = [
    `${number}`.padStart(4),
    published.at,
    published.label,
    policy_version,
    tests === null ? 'no tests' : `${tests.passed} of ${printCount(tests.passed + tests.failed, 'test')} passed`,
    ...(restores === null ? [] : [`restores ${restores}`]),
    ...(approvals.length === 0 ? [] : [`approved by ${approvals.map(({ label }) => label).join(', ')}`]),
    comment,
  ]
  return parts.join('  ')
}

/** The unified form, as every tool reads it. */
function printDifference({ hunks, isBinary, kind, leftOut, path }: FileDifference): string {
  const lines = [`--- ${kind === 'added' ? '/dev/null' : `a/${path}`}`, `+++ ${kind === 'removed' ? '/dev/null' : `b/${path}`}`]
  if (isBinary) lines.push(`${path} differs, and is no text`)
  for (const hunk of hunks) {
    const old = hunk.lines.filter((line) => line.kind !== 'add').length
    const fresh = hunk.lines.filter((line) => line.kind !== 'del').length
    lines.push(`@@ -${old === 0 ? hunk.from - 1 : hunk.from},${old} +${fresh === 0 ? hunk.to - 1 : hunk.to},${fresh} @@`)
    lines.push(...hunk.lines.map((line) => `${{ same: ' ', add: '+', del: '-' }[line.kind]}${line.text}`))
  }
  if (leftOut > 0) lines.push(`… and ${printCount(leftOut, 'line')} more`)
  return lines.map(printLine).join('\n')
}

function parseNumber(written: string): number {
  if (/^\d{1,9}$/.test(written)) return Number(written)
  throw new InvalidArgumentError('write a number.')
}

function parseComment(written: string): string {
  const comment = written.trim()
  if (comment.length >= 1 && comment.length <= 500) return comment
  throw new InvalidArgumentError('write 1 to 500 characters.')
}
