/**
 * A policy from its files to a verdict: what is wrong with it, what its own tests say, and the document if nothing speaks against it.
 *
 * At start this runs where it is called; while requests are served it runs in a process of its own (`policy-loader.ts`), because a large
 * document takes seconds. So the question is plain data without a secret, and the answer can be taken in piece by piece.
 */

import type { TestOutcome } from './administration/policy-history.ts'
import type { TrialTest } from './administration/policy-trial.ts'
import { readBareEnvironment } from './attributes/environment-facts.ts'
import { printPolicyTests, runPolicyTests } from './commands/policy-tests.ts'
import type { KnownInstance } from './config/known-instance.ts'
import { loadPolicyBeside, type PolicyForm } from './config/load-policy.ts'
import { findPolicyTests, loadPolicyTests } from './config/load-policy-tests.ts'
import { describeProblem, type Loaded, type Problem } from './config/problems.ts'
import { compileRoutes } from './enforcement/route-table.ts'
import { compilePolicy } from './policy/compile.ts'
import type { PolicyDocument } from './policy/document.ts'

export interface PolicyQuestion {
  /** A file, a folder of `*.yaml`, or the folder of a bundle. */
  readonly path: string
  /** `files`, if left out. */
  readonly form?: PolicyForm | undefined
  readonly instance: KnownInstance
  /** Whether a policy that has no tests, or fails one, is refused. */
  readonly areTestsRequired: boolean
  /** Whether its tests are run although nothing depends on them, for somebody who wants to see what they say. */
  readonly areTestsShown?: boolean | undefined
  /** Epoch milliseconds. */
  readonly now: number
}

/** What the tests of a policy said. */
export interface JudgedTests {
  /** Each, or where there are very many, those that failed first. */
  readonly results: readonly TrialTest[]
  readonly outcome: TestOutcome | undefined
  /** Why they could not be run, or what is odd about them. */
  readonly problems: readonly Problem[]
}

/** A document that may be in force: exactly if there are neither problems nor objections. */
export interface JudgedPolicy extends Loaded<PolicyDocument> {
  /** What its own tests say against a document that is whole. */
  readonly objections: readonly string[]
  /** Files besides the document's own that the verdict rests on: a change of one is a reason to ask again. */
  readonly files: readonly string[]
  /** Every file that the document names, its pictures and authorities too, by absolute path. */
  readonly named: readonly string[]
  /** `undefined` where they were not run. */
  readonly tests?: JudgedTests | undefined
}

/** Loads and judges. What is wrong is in the answer; rejects only where that cannot be said. */
export async function judgePolicy(question: PolicyQuestion): Promise<JudgedPolicy> {
  const { form, instance, now, path } = question
  const { files, ...loaded } = await loadPolicyBeside(path, instance, now, form)
  if (!question.areTestsRequired && question.areTestsShown !== true) return { ...loaded, objections: [], files }
  const testFiles = await findPolicyTests(path, form)
  const { objections, tests } = loaded.value === undefined ? nothingSaid : await askTests(loaded.value, testFiles, question)
  return { ...loaded, objections: question.areTestsRequired ? objections : [], files: [...files, ...testFiles], tests }
}

interface Said {
  readonly objections: readonly string[]
  readonly tests: JudgedTests | undefined
}

const nothingSaid: Said = { objections: [], tests: undefined }

async function askTests(document: PolicyDocument, files: readonly string[], { form, instance, now }: PolicyQuestion): Promise<Said> {
  const [file] = files
  if (file === undefined) {
    const where = form === 'bundle' ? 'with' : 'beside'
    return { ...nothingSaid, objections: [`\`policy_tests: required\`, and there is no policy.test.yaml ${where} the policy`] }
  }
  const context = { strengths: instance.strengths ?? new Map(), services: document.services, at: now }
  const { problems, value: tests, warnings } = await loadPolicyTests(files, context)
  const unrun = { results: [], outcome: undefined }
  if (tests === undefined) return { objections: problems.map(describeProblem), tests: { ...unrun, problems: [...problems, ...warnings] } }
  if (tests.length === 0) return { objections: [`${file} holds no test`], tests: { ...unrun, problems: warnings } }
  const results = runPolicyTests({ routes: compileRoutes(document, compilePolicy(document)) }, tests, readBareEnvironment)
  const failed = results.filter(({ isPassed }) => !isPassed)
  const shown = results.length > mostSaid ? [...failed, ...results.filter(({ isPassed }) => isPassed)].slice(0, mostSaid) : results
  return {
    objections: failed.length === 0 ? [] : [printPolicyTests(results)],
    tests: {
      results: shown.map((result) => ({
        name: result.test.name,
        isPassed: result.isPassed,
        detail: result.isPassed ? undefined : [`got ${result.got}`, ...result.why].join('\n'),
      })),
      outcome: { passed: results.length - failed.length, failed: failed.length },
      problems: warnings,
    },
  }
}

/** A judged policy on its way between processes: pieces of the document, at last everything else. */
export type PackedPolicy =
  | { readonly kind: 'piece'; readonly piece: Partial<PolicyDocument> }
  | { readonly kind: 'end'; readonly answer: Omit<JudgedPolicy, 'value'>; readonly isWhole: boolean }

/** Nobody reads more, and a document of mistakes shall not take longer to refuse than a good one to load. */
const mostSaid = 1000

/** Apps, rules or levels in one piece: taking one in is about a millisecond. */
const itemsInPiece = 10

/** Packs an answer. What is said is cut at a thousand; the last line then says how much more there is. */
export function* packPolicy({ value, ...answer }: JudgedPolicy): Generator<PackedPolicy> {
  if (value !== undefined) {
    const { version, zone, levels, services, rules, apps } = value
    yield { kind: 'piece', piece: { version, zone } }
    for (const some of split(levels)) yield { kind: 'piece', piece: { levels: some } }
    for (const some of split(services)) yield { kind: 'piece', piece: { services: some } }
    for (const some of split(rules)) yield { kind: 'piece', piece: { rules: some } }
    for (const some of split(apps)) yield { kind: 'piece', piece: { apps: some } }
  }
  const said = { problems: cut(answer.problems), warnings: cut(answer.warnings), objections: answer.objections.slice(0, mostSaid) }
  yield { kind: 'end', answer: { ...answer, ...said }, isWhole: value !== undefined }
}

/** Takes messages in, in their order; the last one returns the answer. */
export function createUnpacking(): (message: PackedPolicy) => JudgedPolicy | undefined {
  const whole = { version: '', zone: '', levels: [], services: [], rules: [], apps: [] } as Mutable<PolicyDocument>
  return (message) => {
    if (message.kind === 'end') return { ...message.answer, value: message.isWhole ? whole : undefined }
    const { apps = [], levels = [], rules = [], services = [], ...rest } = message.piece
    Object.assign(whole, rest)
    whole.levels.push(...levels)
    whole.services.push(...services)
    whole.rules.push(...rules)
    whole.apps.push(...apps)
    return undefined
  }
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] extends readonly (infer E)[] ? E[] : T[K] }

function split<T>(items: readonly T[]): readonly (readonly T[])[] {
  return Array.from({ length: Math.ceil(items.length / itemsInPiece) }, (_, index) =>
    items.slice(index * itemsInPiece, (index + 1) * itemsInPiece),
  )
}

function cut(said: JudgedPolicy['problems']): JudgedPolicy['problems'] {
  const last = said[mostSaid]
  if (last === undefined) return said
  return [...said.slice(0, mostSaid), { ...last, message: `${last.message} (and ${said.length - mostSaid - 1} more, which are not shown)` }]
}
