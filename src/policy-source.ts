/**
 * From policy files to the current snapshot, at start and on every change.
 *
 * A snapshot is built beside the current one and takes its place only when it is whole. What cannot be read or compiled never
 * becomes current: at start that is an error, later the old snapshot stays and the failure is said in log and metrics. A change
 * counts once the files have been the same for two looks in a row and did not change while they were read, so that a file caught
 * half-written is never a policy. Requests are served meanwhile: nothing here takes long in one piece.
 */

import { createHash } from 'node:crypto'
import { readdir, realpath, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Bundle } from './administration/policy-bundle.ts'
import type { PolicyInForce } from './administration/policy-history.ts'
import { openRegular } from './audit/trail-files.ts'
import { collectBundle } from './config/bundle-files.ts'
import type { Problem } from './config/problems.ts'
import type { Snapshot } from './enforcement/ports.ts'
import type { RecordingDefaults } from './enforcement/route-table.ts'
import type { Logger } from './log.ts'
import { describeDifferenceInSteps } from './policy/difference.ts'
import type { PolicyDocument } from './policy/document.ts'
import { takeSteps } from './policy/steps.ts'
import { findFilesChange, findPolicyAuthor } from './policy-author.ts'
import type { JudgedPolicy } from './policy-loading.ts'
import { compileSnapshot, takeStepsInTurn } from './policy-snapshot.ts'

export interface PolicySourceOptions {
  /** A file, or a folder of `*.yaml`. */
  readonly path: string
  /** Must not keep requests waiting. What it rejects with refuses the policy, as its problems and objections do. */
  readonly load: () => Promise<JudgedPolicy>
  readonly describe: (problem: Problem) => string
  readonly log: Logger
  /** Milliseconds between two looks at the files, at the least: files that take long to read are looked at less often. */
  readonly lookEveryMs: number
  /** What the instance says of recording, for apps that do not say it themselves. */
  readonly recording?: RecordingDefaults | undefined
  /** Hears of every attempt after the first; `snapshot` is the one that is current now. */
  readonly onReload: (outcome: 'loaded' | 'refused', snapshot: Snapshot, problems: number, change: PolicyChange) => void
}

/** What became of the policy, for the record. */
export interface PolicyChange {
  /** The version that was in force before. */
  readonly from: string
  /** Whose files it came in: `file:<owner>`; `undefined` where that cannot be found out. */
  readonly author: string | undefined
  /** A line each, at most a hundred; `undefined` for what could not be used. */
  readonly difference: readonly string[] | undefined
}

export interface PolicySource {
  current(): Snapshot
  document(): PolicyDocument
  /** Loads now, whatever the files' state. Resolves to whether the files are what is in force. */
  reload(): Promise<boolean>
  /** When the files, or the last revision, could not be used: how many problems there were. `undefined` while all is well. */
  failure(): number | undefined
  /** The same with the files that it is made of, for whoever shows or changes it. */
  inForce(): PolicyInForce
  /** Whose files the first policy came in; `undefined` where that cannot be found out. */
  readonly firstAuthor: string | undefined
  /** Resolves once nothing is read or written any more. */
  close(): void | Promise<void>
}

/** A document that may be in force, with the files besides its own that it rests on. */
export type FirstPolicy = Pick<JudgedPolicy, 'files' | 'named'> & { readonly value: PolicyDocument }

/** Loads that were overtaken by a change; after so many in a row it is said that the policy is not in force. */
const patienceLoads = 5

/** Looking at the files may take one part in so many of the time. */
const pauseAfterLook = 50
/** At the most: on a machine that is busy for a moment a look takes long, whatever the files are, and a change is due within a second. */
const longestPauseMs = 400

/** Warnings of one load that are logged. */
const mostWarnings = 100

/** Puts the first policy in force and watches for changes until `close`. */
export async function openPolicySource(first: FirstPolicy, options: PolicySourceOptions): Promise<PolicySource> {
  let document = first.value
  const { recording } = options
  let snapshot = takeSteps(compileSnapshot(document, recording))
  let failure: { readonly count: number; readonly why: string } | undefined
  let bundle = await bundleOf(first)
  let loading: Promise<boolean> | undefined
  let isClosed = false
  let overtaken = 0
  let files: readonly string[] = [...new Set(first.files)].sort()
  let seen = await fingerprint(options.path, files)
  let candidate = seen
  let changed = await findFilesChange(options.path, files)
  const firstAuthor = changed?.by

  async function loadOnce(): Promise<boolean> {
    try {
      // Before reading: what changes meanwhile differs from this and is looked at again.
      seen = await fingerprint(options.path, files)
      const loaded = await options.load()
      const loadedBundle = loaded.value === undefined ? bundle : await bundleOf(loaded)
      if (isClosed) return false
      if ((await fingerprint(options.path, files)) !== seen) return await waitUntilSettled()
      overtaken = 0
      // A refused document counts too: its list of networks may be what has to be mended. A list that is new here is not in `seen`, so the
      // policy is read once more, and what was caught half-written is not in force for longer than two looks.
      const before = loaded.value === undefined ? files : []
      files = [...new Set([...before, ...loaded.files])].sort()
      if (loaded.value === undefined || loaded.problems.length > 0) {
        return await refuse(loaded.problems.length, loaded.problems.map(options.describe))
      }
      if (loaded.objections.length > 0) return await refuse(loaded.objections.length, loaded.objections)
      const next = await takeStepsInTurn(compileSnapshot(loaded.value, recording))
      const difference = await takeStepsInTurn(describeDifferenceInSteps(document, loaded.value))
      const nowChanged = await findFilesChange(options.path, files)
      const change = { from: snapshot.version, author: nowChanged?.by, difference }
      if (isClosed) return false
      logWarnings(loaded.warnings, options)
      failure = undefined
      // Also where it means the same: comments and order are somebody's.
      bundle = loadedBundle
      changed = nowChanged
      if (next.version !== snapshot.version) {
        document = loaded.value
        snapshot = next
        options.log.info({ policy: next.version, apps: next.policy.apps.size }, 'policy loaded')
      }
      options.onReload('loaded', snapshot, 0, change)
      return true
    } catch (cause) {
      if (isClosed) return false
      return await refuse(1, [cause instanceof Error ? cause.message : String(cause)])
    }
  }

  /** What was read may be half of one policy and half of another. The files differ from `seen` now, so they are read again once they rest. */
  async function waitUntilSettled(): Promise<false> {
    overtaken += 1
    if (overtaken >= patienceLoads) return await refuse(1, [`the files changed each of the last ${overtaken} times while they were read`])
    options.log.info({ policy: snapshot.version }, 'the policy changed while it was read, and is read again once it has settled')
    return false
  }

  async function refuse(count: number, problems: readonly string[]): Promise<false> {
    const author = await findPolicyAuthor(options.path, files)
    if (isClosed) return false
    failure = { count, why: summarise(problems) }
    options.log.error(
      { policy: snapshot.version, problems: problems.slice(0, 50) },
      'the changed policy was refused; the previous one stays in force',
    )
    options.onReload('refused', snapshot, count, { from: snapshot.version, author, difference: undefined })
    return false
  }

  /** What lies outside of the policy's folder is not in it: then it is shown without, and tried without. */
  async function bundleOf({ named }: Pick<JudgedPolicy, 'named'>): Promise<Bundle> {
    return (await collectBundle(options.path, named)).bundle
  }

  function reload(): Promise<boolean> {
    loading ??= loadOnce().finally(() => {
      loading = undefined
    })
    return loading
  }

  async function look(): Promise<void> {
    const begunAt = performance.now()
    const now = await fingerprint(options.path, files)
    lookLater(Math.max(options.lookEveryMs, Math.min((performance.now() - begunAt) * pauseAfterLook, longestPauseMs)))
    const isSettled = now === candidate
    candidate = now
    if (now !== seen && isSettled) await reload()
  }

  let timer: NodeJS.Timeout | undefined
  function lookLater(afterMs: number): void {
    if (isClosed) return
    timer = setTimeout(() => {
      look().catch((cause: unknown) => options.log.error({ err: cause }, 'the policy could not be reloaded'))
    }, afterMs).unref()
  }
  lookLater(options.lookEveryMs)

  return {
    current: () => snapshot,
    document: () => document,
    reload,
    failure: () => failure?.count,
    inForce: () => ({ mode: 'files', policyVersion: snapshot.version, revision: undefined, changed, bundle, failure: failure?.why }),
    firstAuthor,
    close() {
      isClosed = true
      clearTimeout(timer)
    },
  }
}

/** What speaks against a policy, as a sentence for a page. */
export function summarise(problems: readonly string[]): string {
  const [first = 'it could not be judged'] = problems
  return problems.length > 1 ? `${first} (and ${problems.length - 1} more)` : first
}

/** Says what the warnings of a load are, as far as anybody reads a log. */
export function logWarnings(warnings: readonly Problem[], { log, describe }: Pick<PolicySourceOptions, 'log' | 'describe'>): void {
  for (const warning of warnings.slice(0, mostWarnings)) log.warn({ warning: describe(warning) }, 'policy warning')
  const more = warnings.length - mostWarnings
  if (more > 0) log.warn({ more }, 'more policy warnings than are logged; `postern check` shows them')
}

/** Rejects for a pipe, which would be waited for by one of the few threads that read files for everybody. */
async function readRegular(file: string): Promise<Buffer> {
  const handle = await openRegular(file)
  try {
    return await handle.readFile()
  } finally {
    await handle.close()
  }
}

/** Contents, not times: a symlink swap, a touch and a restored backup all tell the truth this way. Unreadable is a state as well. */
async function fingerprint(path: string, files: readonly string[]): Promise<string> {
  const hash = createHash('sha256')
  try {
    const real = await realpath(path)
    const own = (await stat(real)).isDirectory() ? (await readdir(real)).filter((name) => name.endsWith('.yaml')).sort() : ['']
    for (const name of own) {
      hash.update(`${name}\n`)
      hash.update(await readRegular(name === '' ? real : join(real, name)))
    }
  } catch (error) {
    return `unreadable: ${String((error as NodeJS.ErrnoException).code)}`
  }
  for (const file of files) {
    hash.update(`\n${file}\n`)
    try {
      hash.update(await readRegular(file))
    } catch (error) {
      hash.update(`unreadable: ${String((error as NodeJS.ErrnoException).code)}`)
    }
  }
  return hash.digest('hex')
}
