/**
 * Judging a policy while requests are served: what is small here and at once, what is large in a process of its own, one at a time.
 *
 * Whoever puts a policy in force goes before those who try one. Whoever tries waits in a short queue, and is told where it is full: a row of
 * large drafts must not take the machine from requests, nor its memory.
 */

import { randomBytes } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { type Bundle, hashBundle } from './administration/policy-bundle.ts'
import type { JudgeBundle, JudgedBundle, TrialProblem } from './administration/policy-trial.ts'
import { explainUnfit, writeBundle } from './config/bundle-files.ts'
import type { Problem } from './config/problems.ts'
import { createPolicyLoader } from './policy-loader.ts'
import { type JudgedPolicy, judgePolicy, type PolicyQuestion } from './policy-loading.ts'

/** Some ten apps; judging them takes twenty or thirty milliseconds, in which requests wait. */
const smallBytes = 16_000

/** Who may wait for a trial; each holds a bundle. */
const mostWaiting = 16

/** Long enough for the pages that look at one draft one after the other; short enough for dates in it to be judged anew. */
const rememberForMs = 30_000
const mostRemembered = 4

/** Judges. */
export interface PolicyJudge {
  /** For what is to be in force: goes before every trial. `bytes` of the document; tests make even a small one large. */
  judge(question: PolicyQuestion, bytes: number): Promise<JudgedPolicy>
  readonly judgeBundle: JudgeBundle
  close(): void
}

/** What it works with. */
export interface PolicyJudgeParts {
  /** Trials lie here while they last: a folder of this instance alone. */
  readonly folder: string
  /** What is asked of a trial, but its files. */
  readonly question: () => Omit<PolicyQuestion, 'path' | 'form'>
  readonly monotonicNow: () => number
}

/** Creates a judge. Nothing runs before it is asked. */
export function createPolicyJudge({ folder, monotonicNow, question }: PolicyJudgeParts): PolicyJudge {
  const loader = createPolicyLoader()
  const queue = createQueue()
  let isClosed = false
  let trials = 0
  const remembered = new Map<string, { readonly until: number; readonly verdict: Promise<JudgedBundle> }>()

  function load(asked: PolicyQuestion, bytes: number, isUrgent: boolean): Promise<JudgedPolicy> {
    const isSmall = !asked.areTestsRequired && bytes <= smallBytes
    return isSmall ? judgePolicy(asked) : queue.run(() => loadUnlessClosed(asked), isUrgent)
  }

  /** Whoever waited until the end is not begun with after it. */
  async function loadUnlessClosed(asked: PolicyQuestion): Promise<JudgedPolicy> {
    if (isClosed) throw new Error('the policy could not be judged: this instance is closing')
    return await loader.load(asked)
  }

  async function tryBundle(bundle: Bundle): Promise<JudgedBundle> {
    const unfit = explainUnfit(bundle)
    if (unfit !== undefined) return refused(unfit)
    // Counted from here: while their files are written they do not stand in the queue yet.
    if (trials > mostWaiting) return noRoom
    trials += 1
    const trial = join(folder, `trial-${randomBytes(9).toString('base64url')}`)
    try {
      await writeBundle(trial, bundle)
      const bytes = bundle.reduce((sum, { content }) => sum + content.length, 0)
      return trialOf(await load({ ...question(), path: trial, form: 'bundle', areTestsShown: true }, bytes, false), trial)
    } finally {
      trials -= 1
      await rm(trial, { recursive: true, force: true })
    }
  }

  return {
    judge: (asked, bytes) => load(asked, bytes, true),
    judgeBundle(bundle) {
      const key = hashBundle(bundle)
      const now = monotonicNow()
      for (const [other, { until }] of remembered) if (until <= now) remembered.delete(other)
      const known = remembered.get(key)
      if (known !== undefined) return known.verdict
      const verdict = tryBundle(bundle)
      remembered.set(key, { until: now + rememberForMs, verdict })
      // A refusal for want of room, and what failed, may go well the next time.
      const forget = () => void remembered.delete(key)
      verdict.then((judged) => (judged === noRoom ? forget() : undefined), forget)
      const [oldest] = remembered.keys()
      if (remembered.size > mostRemembered && oldest !== undefined) remembered.delete(oldest)
      return verdict
    },
    close() {
      isClosed = true
      loader.close()
    },
  }
}

interface Queue {
  run<T>(work: () => Promise<T>, isUrgent: boolean): Promise<T>
}

/** One at a time; urgent work goes before what waits. */
function createQueue(): Queue {
  const urgent: (() => void)[] = []
  const others: (() => void)[] = []
  let isBusy = false
  const next = () => {
    const start = urgent.shift() ?? others.shift()
    isBusy = start !== undefined
    start?.()
  }
  return {
    async run(work, isUrgent) {
      if (isBusy) await new Promise<void>((resolve) => void (isUrgent ? urgent : others).push(resolve))
      isBusy = true
      try {
        return await work()
      } finally {
        next()
      }
    },
  }
}

function refused(message: string): JudgedBundle {
  const problem = {
    file: undefined,
    line: undefined,
    column: undefined,
    key: undefined,
    message,
    expected: undefined,
    suggestion: undefined,
  }
  return { document: undefined, problems: [problem], warnings: [], tests: [], outcome: undefined, objections: [] }
}

const noRoom = refused('many policies are being tried at the moment; try again in a minute')

function trialOf({ objections, problems, tests, value, warnings }: JudgedPolicy, folder: string): JudgedBundle {
  const places = (list: readonly Problem[]) => list.map((problem) => placeOf(problem, folder))
  return {
    document: problems.length > 0 ? undefined : value,
    problems: places(problems),
    warnings: places([...warnings, ...(tests?.problems ?? [])]),
    tests: tests?.results ?? [],
    outcome: tests?.outcome,
    objections: objections.map((objection) => withoutFolder(objection, folder)),
  }
}

/** As the bundle calls its files: where a trial lies is nobody's business. */
function placeOf({ column, expected, file, line, message, path, suggestion }: Problem, folder: string): TrialProblem {
  const within = withoutFolder(file, folder)
  return {
    file: within === '' ? undefined : within,
    line: line > 0 ? line : undefined,
    column: line > 0 ? column : undefined,
    key: path === '' ? undefined : path.replace(/\[(\d+)\]/g, '.$1').replace(/\[`([^`]*)`\]/g, '.$1'),
    message: withoutFolder(message, folder),
    expected: expected === undefined ? undefined : withoutFolder(expected, folder),
    suggestion: suggestion === undefined ? undefined : withoutFolder(suggestion, folder),
  }
}

function withoutFolder(text: string, folder: string): string {
  return text === folder ? '' : text.replaceAll(`${folder}/`, '').replaceAll(folder, 'the policy')
}
