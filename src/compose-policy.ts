/**
 * The part of the composition root that keeps the policy in force: from the files, or the revisions in the store, through their problems and
 * the policy's own tests, to the snapshot that requests are judged by.
 *
 * With `policy_tests: required` a policy that fails its tests, or has none, is never in force: at start that is an error, later the
 * one before stays. Warnings are logged and stop nothing. A load has a process of its own, so that requests go on meanwhile, but for
 * the first of a policy of usual size, when nobody waits yet, and those of a small one: judging it is over before a process would have
 * started, and what it forbids is cut that much sooner.
 */

import { readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { createAcceptedLosses } from './administration/policy-adoption.ts'
import type { Bundle } from './administration/policy-bundle.ts'
import type { PolicyRevisions, RevisionFacts, TestOutcome } from './administration/policy-history.ts'
import { createPolicyRevisions, type PublishedEvent } from './administration/policy-revisions.ts'
import type { JudgeBundle } from './administration/policy-trial.ts'
import type { AuditTrail } from './audit/event.ts'
import { collectBundle, isDocument } from './config/bundle-files.ts'
import type { InstanceConfiguration } from './config/instance.ts'
import { describeInstance } from './config/known-instance.ts'
import { describeProblem, printProblems } from './config/problems.ts'
import { PosternError } from './errors.ts'
import type { CurrentKeys } from './keys.ts'
import type { Live } from './live/live.ts'
import type { Logger } from './log.ts'
import type { ReadinessCheck } from './operations.ts'
import { describeDifferenceInSteps } from './policy/difference.ts'
import type { PolicyDocument } from './policy/document.ts'
import { findPolicyAuthor } from './policy-author.ts'
import { createPolicyJudge, type PolicyJudge } from './policy-judge.ts'
import { type JudgedPolicy, judgePolicy, type PolicyQuestion } from './policy-loading.ts'
import { openManagedPolicySource } from './policy-managed-source.ts'
import { mirrorFolder, openPolicyMirror } from './policy-mirror.ts'
import { takeStepsInTurn } from './policy-snapshot.ts'
import { type FirstPolicy, logWarnings, openPolicySource, type PolicySource, type PolicySourceOptions } from './policy-source.ts'
import type { SessionStore } from './session/store.ts'

export interface ComposePolicyParts {
  readonly configuration: InstanceConfiguration
  readonly log: Logger
  /** Epoch milliseconds. */
  readonly now: () => number
  /** Milliseconds between two looks at the files. */
  readonly lookEveryMs: number
  readonly onReload: PolicySourceOptions['onReload']
  /** What revisions of a managed policy need. */
  readonly revisions: {
    readonly store: SessionStore
    readonly keys: CurrentKeys
    readonly live: Pick<Live, 'listen'>
    readonly audit: Pick<AuditTrail, 'settle'>
    readonly record: (event: PublishedEvent) => void
    readonly monotonicNow: () => number
  }
}

/** The policy of an instance. */
export interface ComposedPolicy extends PolicySource {
  /** Judges any bundle as this instance would before putting it in force. */
  readonly judge: JudgeBundle
  /** `undefined` where the policy is files. */
  readonly revisions: PolicyRevisions | undefined
  /** The policy's line of `/readyz`: not ready where the store has lost what was published. */
  checkReady(): ReadinessCheck
}

/** Some two hundred apps. What parsing more leaves behind would stay with this process as memory that it never needs again. */
const usualBytes = 400_000

/** The stream tells of a revision at once; this is for news that were lost. */
const headLookMs = 10_000

/** Loads the policy and watches it. Rejects with `configuration_invalid` and the whole report if it cannot be in force. */
export async function composePolicy(parts: ComposePolicyParts): Promise<ComposedPolicy> {
  const { configuration, now } = parts
  const instance = describeInstance(configuration)
  const question = () => ({ instance, areTestsRequired: configuration.policyTests === 'required', now: now() })
  const trials = join(mirrorFolder(configuration.dataDir), 'trials')
  // What a crash left behind.
  await rm(trials, { recursive: true, force: true })
  const judge = createPolicyJudge({ folder: trials, question, monotonicNow: parts.revisions.monotonicNow })
  const opened =
    configuration.policyMode === 'managed' ? await openManaged(parts, judge, question) : await openFiles(parts, judge, question)
  return {
    ...opened,
    judge: judge.judgeBundle,
    async close() {
      const closed = opened.close()
      // A judgement under way ends with it, and so does whoever waits for one.
      judge.close()
      await closed
    },
  }
}

type Question = () => Omit<PolicyQuestion, 'path' | 'form'>
type Opened = Omit<ComposedPolicy, 'judge'>

async function openFiles(
  { configuration, log, lookEveryMs, onReload }: ComposePolicyParts,
  judge: PolicyJudge,
  question: Question,
): Promise<Opened> {
  const path = configuration.policyPath
  const first = await judgeFirst(path, judge, question)
  logWarnings(first.warnings, { log, describe: describeProblem })
  const source = await openPolicySource(first, {
    path,
    load: async () => judge.judge({ ...question(), path }, await measureBytes(path)),
    describe: describeProblem,
    log,
    lookEveryMs,
    recording: configuration.audit,
    onReload,
  })
  return { ...source, revisions: undefined, checkReady: () => ({ name: 'policy', isReady: true, detail: undefined }) }
}

async function openManaged(parts: ComposePolicyParts, judge: PolicyJudge, question: Question): Promise<Opened> {
  const { configuration, log, onReload } = parts
  const { audit, keys, live, record, store } = parts.revisions
  const recordFirst = async (event: PublishedEvent) => {
    record(event)
    if (!(await audit.settle())) throw new PosternError('audit_unavailable', 'a revision of the policy could not be written down')
  }
  const tell = (revision: RevisionFacts) => store.publish({ kind: 'policy', detail: revision.hash })
  const revisions = createPolicyRevisions({ store, keys, log, recordFirst, tell })
  const source = await openManagedPolicySource({
    revisions,
    losses: createAcceptedLosses({ store, keys, log }),
    mirror: openPolicyMirror(mirrorFolder(configuration.dataDir)),
    judge: (folder, bundle) => judge.judge({ ...question(), path: folder, form: 'bundle' }, bytesOf(bundle)),
    seed: () => publishSeed(configuration.policyPath, revisions, { judge, question, log }),
    describe: describeProblem,
    log,
    live,
    lookEveryMs: headLookMs,
    recording: configuration.audit,
    onReload,
  })
  return {
    ...source,
    revisions,
    checkReady() {
      const loss = source.findLoss()
      return { name: 'policy', isReady: loss === undefined, detail: loss }
    },
  }
}

/** What was in force before there was a policy. */
const nothing: PolicyDocument = { version: '', zone: 'UTC', levels: [], services: [], rules: [], apps: [] }

/**
 * Makes the first revision of the seed, judged as what it becomes: tests that lie in a folder count in a bundle, and are not looked at in
 * files. Whoever comes second finds that there is one, which is as good.
 */
async function publishSeed(
  path: string,
  revisions: PolicyRevisions,
  { judge, log, question }: { readonly judge: PolicyJudge; readonly question: Question; readonly log: Logger },
): Promise<void> {
  const judged = await judgeFirst(path, judge, () => ({ ...question(), areTestsRequired: false }))
  const { bundle, problems } = await collectBundle(path, judged.named)
  if (problems.length > 0)
    throw new PosternError('configuration_invalid', `the policy cannot be managed as it is\n${printProblems(problems, 'error')}`)
  const tests = await judgeSeed(bundle, judge)
  const author = (await findPolicyAuthor(path, judged.files)) ?? 'file:unknown'
  const published = await revisions.publish({
    bundle,
    policyVersion: judged.value.version,
    difference: await takeStepsInTurn(describeDifferenceInSteps(nothing, judged.value)),
    tests,
    comment: 'made of the files that the instance configuration names as policy_seed',
    by: { by: author, label: author.slice('file:'.length) },
    predecessor: 0,
    approvals: [],
  })
  if (published.outcome === 'published')
    log.info(
      { policy: judged.value.version, author },
      'the policy is managed from now on; its files made revision 1 and are not read again',
    )
}

/** What its tests say. Rejects where no instance would put it in force. */
async function judgeSeed(bundle: Bundle, judge: PolicyJudge): Promise<TestOutcome | undefined> {
  const { document, objections, outcome, problems } = await judge.judgeBundle(bundle)
  if (document === undefined) {
    const lines = problems.map(({ file, line, message }) =>
      [file, line, ` ${message}`]
        .filter((part) => part !== undefined)
        .join(':')
        .trim(),
    )
    throw new PosternError('configuration_invalid', `the policy cannot be managed as it is\n${lines.join('\n')}`)
  }
  if (objections.length > 0) throw failsItsTests(objections)
  return outcome
}

function failsItsTests(objections: readonly string[]): PosternError {
  return new PosternError('configuration_invalid', `the policy fails its own tests\n${objections.join('\n')}`)
}

/** Rejects with the report of a policy that cannot be in force. */
async function judgeFirst(path: string, judge: PolicyJudge, question: Question): Promise<JudgedPolicy & FirstPolicy> {
  const bytes = await measureBytes(path)
  const asked = { ...question(), path }
  const judged = await (bytes > usualBytes ? judge.judge(asked, bytes) : judgePolicy(asked))
  const { objections, problems, value } = judged
  if (value === undefined) throw new PosternError('configuration_invalid', `the policy has problems\n${printProblems(problems, 'error')}`)
  if (objections.length > 0) throw failsItsTests(objections)
  return { ...judged, value }
}

function bytesOf(bundle: Bundle): number {
  return bundle.reduce((sum, { content, path }) => sum + (isDocument(path) ? content.length : 0), 0)
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
