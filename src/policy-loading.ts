/**
 * A policy from its files to a verdict: what is wrong with it, what its own tests say, and the document if nothing speaks against it.
 *
 * At start this runs where it is called; while requests are served it runs on a thread of its own (`policy-loader.ts`), because a large
 * document takes seconds. So the question is plain data without a secret, and the answer can be taken in piece by piece.
 */

import { deserialize, serialize } from 'node:v8'
import { readBareEnvironment } from './attributes/environment-facts.ts'
import { printPolicyTests, runPolicyTests } from './commands/policy-tests.ts'
import type { KnownInstance } from './config/known-instance.ts'
import { loadPolicyBeside } from './config/load-policy.ts'
import { findPolicyTests, loadPolicyTests } from './config/load-policy-tests.ts'
import { describeProblem, type Loaded } from './config/problems.ts'
import { compileRoutes } from './enforcement/route-table.ts'
import { compilePolicy } from './policy/compile.ts'
import type { PolicyDocument } from './policy/document.ts'

export interface PolicyQuestion {
  /** A file, or a folder of `*.yaml`. */
  readonly path: string
  readonly instance: KnownInstance
  /** Whether a policy that has no tests, or fails one, is refused. */
  readonly areTestsRequired: boolean
  /** Epoch milliseconds. */
  readonly now: number
}

/** A document that may be in force: exactly if there are neither problems nor objections. */
export interface JudgedPolicy extends Loaded<PolicyDocument> {
  /** What its own tests say against a document that is whole. */
  readonly objections: readonly string[]
  /** Files besides the document's own that the verdict rests on: a change of one is a reason to ask again. */
  readonly files: readonly string[]
}

/** Loads and judges. What is wrong is in the answer; rejects only where that cannot be said. */
export async function judgePolicy(question: PolicyQuestion): Promise<JudgedPolicy> {
  const { instance, now, path } = question
  const { files, ...loaded } = await loadPolicyBeside(path, instance, now)
  if (!question.areTestsRequired) return { ...loaded, objections: [], files }
  const testsFile = await findPolicyTests(path)
  const objections = loaded.value === undefined ? [] : await findObjections(loaded.value, testsFile, question)
  return { ...loaded, objections, files: testsFile === undefined ? files : [...files, testsFile] }
}

async function findObjections(
  document: PolicyDocument,
  file: string | undefined,
  { instance, now }: PolicyQuestion,
): Promise<readonly string[]> {
  if (file === undefined) return ['`policy_tests: required`, and there is no policy.test.yaml beside the policy']
  const context = { strengths: instance.strengths ?? new Map(), services: document.services, at: now }
  const { problems, value: tests } = await loadPolicyTests(file, context)
  if (tests === undefined) return problems.map(describeProblem)
  if (tests.length === 0) return [`${file} holds no test`]
  const results = runPolicyTests({ routes: compileRoutes(document, compilePolicy(document)) }, tests, readBareEnvironment)
  return results.every(({ isPassed }) => isPassed) ? [] : [printPolicyTests(results)]
}

/** A judged policy on its way between threads: what it holds besides the document, and the document in pieces. */
export interface PackedPolicy extends Omit<JudgedPolicy, 'value'> {
  readonly pieces: readonly Uint8Array<ArrayBuffer>[] | undefined
}

/** Nobody reads more, and a document of mistakes shall not take longer to refuse than a good one to load. */
const mostSaid = 1000

/** Apps, rules or levels in one piece: taking one in is about a millisecond. */
const itemsInPiece = 10

type Piece = Partial<PolicyDocument>

/** Packs an answer. What is said is cut at a thousand; the last line then says how much more there is. */
export function packPolicy({ value, ...answer }: JudgedPolicy): PackedPolicy {
  const said = { problems: cut(answer.problems), warnings: cut(answer.warnings), objections: answer.objections.slice(0, mostSaid) }
  return { ...answer, ...said, pieces: value === undefined ? undefined : piecesOf(value).map(pack) }
}

/** Takes a document in, with `pause` after each piece. */
export async function unpackDocument(pieces: readonly Uint8Array[], pause: () => Promise<void>): Promise<PolicyDocument> {
  const whole = { version: '', zone: '', levels: [], services: [], rules: [], apps: [] } as Mutable<PolicyDocument>
  for (const bytes of pieces) {
    const { apps = [], levels = [], rules = [], services = [], ...rest } = deserialize(bytes) as Piece
    Object.assign(whole, rest)
    whole.levels.push(...levels)
    whole.services.push(...services)
    whole.rules.push(...rules)
    whole.apps.push(...apps)
    await pause()
  }
  return whole
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] extends readonly (infer E)[] ? E[] : T[K] }

function piecesOf({ version, zone, levels, services, rules, apps }: PolicyDocument): readonly Piece[] {
  return [
    { version, zone },
    ...split(levels).map((some) => ({ levels: some })),
    ...split(services).map((some) => ({ services: some })),
    ...split(rules).map((some) => ({ rules: some })),
    ...split(apps).map((some) => ({ apps: some })),
  ]
}

function split<T>(items: readonly T[]): readonly (readonly T[])[] {
  return Array.from({ length: Math.ceil(items.length / itemsInPiece) }, (_, index) =>
    items.slice(index * itemsInPiece, (index + 1) * itemsInPiece),
  )
}

/** A copy that owns its memory, so that handing it over copies nothing. */
function pack(piece: Piece): Uint8Array<ArrayBuffer> {
  return new Uint8Array(serialize(piece))
}

function cut(said: JudgedPolicy['problems']): JudgedPolicy['problems'] {
  const last = said[mostSaid]
  if (last === undefined) return said
  return [...said.slice(0, mostSaid), { ...last, message: `${last.message} (and ${said.length - mostSaid - 1} more, which are not shown)` }]
}
