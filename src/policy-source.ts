/**
 * From policy files to the current snapshot, at start and on every change.
 *
 * A snapshot is built beside the current one and takes its place only when it is whole. What cannot be read or compiled never
 * becomes current: at start that is an error, later the old snapshot stays and the failure is said in log and metrics. A change
 * counts once the files have been the same for two looks in a row, so that a file caught half-written is never a policy.
 */

import { createHash } from 'node:crypto'
import { readdir, readFile, realpath, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Loaded } from './config/load-configuration.ts'
import type { Snapshot } from './enforcement/ports.ts'
import { compileRoutes } from './enforcement/route-table.ts'
import type { Logger } from './log.ts'
import { compilePolicy } from './policy/compile.ts'
import type { Condition, PolicyDocument } from './policy/document.ts'

export interface PolicySourceOptions {
  /** A file, or a folder of `*.yaml`. */
  readonly path: string
  /** `files`: what else the document is made of, such as lists of networks; a change there is a change of the policy. */
  readonly load: () => Promise<Loaded<PolicyDocument> & { readonly files?: readonly string[] }>
  /** Says what speaks against a document that is whole: its own tests, say. Anything said, or thrown, refuses it. */
  readonly verify?: ((document: PolicyDocument) => Promise<readonly string[]>) | undefined
  /** Files that `verify` reads: a refused policy is looked at again when one of them changes. */
  readonly verifiedBy?: readonly string[] | undefined
  readonly describe: (problem: Loaded<PolicyDocument>['problems'][number]) => string
  readonly log: Logger
  /** Milliseconds between two looks at the files. */
  readonly lookEveryMs: number
  /** Hears of every attempt after the first; `snapshot` is the one that is current now. */
  readonly onReload: (outcome: 'loaded' | 'refused', snapshot: Snapshot, problems: number) => void
}

export interface PolicySource {
  current(): Snapshot
  document(): PolicyDocument
  /** Loads now, whatever the files' state. Resolves to whether the files are what is in force. */
  reload(): Promise<boolean>
  /** When the files last could not be used: how many problems there were. `undefined` while all is well. */
  failure(): number | undefined
  close(): void
}

/** Loads the policy for the first time; rejects with the report if it has a problem. Watches for changes until `close`. */
export async function openPolicySource(first: PolicyDocument, options: PolicySourceOptions): Promise<PolicySource> {
  let document = first
  let snapshot = compileSnapshot(first)
  let failure: number | undefined
  let loading: Promise<boolean> | undefined
  let files: readonly string[] = [...new Set([...filesOf(first), ...(options.verifiedBy ?? [])])].sort()
  let seen = await fingerprint(options.path, files)
  let candidate = seen

  async function loadOnce(): Promise<boolean> {
    try {
      // Before reading: what changes meanwhile differs from this and is looked at again.
      seen = await fingerprint(options.path, files)
      const loaded = await options.load()
      // A refused document counts too: its list of networks may be what has to be mended. A list that is new here is not in `seen`, so the
      // policy is read once more, and what was caught half-written is not in force for longer than two looks.
      const before = loaded.value === undefined ? files : []
      files = [...new Set([...before, ...(loaded.files ?? []), ...(options.verifiedBy ?? [])])].sort()
      if (loaded.value === undefined || loaded.problems.length > 0) {
        return refuse(loaded.problems.length, loaded.problems.map(options.describe))
      }
      const objections = (await options.verify?.(loaded.value)) ?? []
      if (objections.length > 0) return refuse(objections.length, objections)
      const next = compileSnapshot(loaded.value)
      for (const warning of loaded.warnings) options.log.warn({ warning: options.describe(warning) }, 'policy warning')
      failure = undefined
      if (next.version !== snapshot.version) {
        document = loaded.value
        snapshot = next
        options.log.info({ policy: next.version, apps: next.policy.apps.size }, 'policy loaded')
      }
      options.onReload('loaded', snapshot, 0)
      return true
    } catch (cause) {
      return refuse(1, [cause instanceof Error ? cause.message : String(cause)])
    }
  }

  function refuse(count: number, problems: readonly string[]): false {
    failure = count
    options.log.error(
      { policy: snapshot.version, problems: problems.slice(0, 50) },
      'the changed policy was refused; the previous one stays in force',
    )
    options.onReload('refused', snapshot, count)
    return false
  }

  function reload(): Promise<boolean> {
    loading ??= loadOnce().finally(() => {
      loading = undefined
    })
    return loading
  }

  async function look(): Promise<void> {
    const now = await fingerprint(options.path, files)
    const isSettled = now === candidate
    candidate = now
    if (now !== seen && isSettled) await reload()
  }

  const timer = setInterval(() => {
    look().catch((cause: unknown) => options.log.error({ err: cause }, 'the policy files could not be looked at'))
  }, options.lookEveryMs)
  timer.unref()

  return {
    current: () => snapshot,
    document: () => document,
    reload,
    failure: () => failure,
    close: () => clearInterval(timer),
  }
}

function compileSnapshot(document: PolicyDocument): Snapshot {
  const policy = compilePolicy(document)
  return { version: document.version, policy, routes: compileRoutes(document, policy) }
}

/** Lists of networks that a document was made of. */
function filesOf({ levels, rules, apps }: PolicyDocument): readonly string[] {
  const files = new Set<string>()
  const visit = (condition: Condition): void => {
    if (condition.kind === 'all_of' || condition.kind === 'any_of') condition.of.forEach(visit)
    else if (condition.kind === 'not') visit(condition.of)
    else if (condition.kind === 'network' && condition.cidrsFile !== undefined) files.add(condition.cidrsFile)
  }
  for (const { condition } of levels) visit(condition)
  for (const rule of [...rules, ...apps.flatMap((app) => app.rules)]) [...rule.require, ...rule.when, ...rule.unless].forEach(visit)
  return [...files].sort()
}

/** Contents, not times: a symlink swap, a touch and a restored backup all tell the truth this way. Unreadable is a state as well. */
async function fingerprint(path: string, files: readonly string[]): Promise<string> {
  const hash = createHash('sha256')
  try {
    const real = await realpath(path)
    const own = (await stat(real)).isDirectory() ? (await readdir(real)).filter((name) => name.endsWith('.yaml')).sort() : ['']
    for (const name of own) {
      hash.update(`${name}\n`)
      hash.update(await readFile(name === '' ? real : join(real, name)))
    }
  } catch (error) {
    return `unreadable: ${String((error as NodeJS.ErrnoException).code)}`
  }
  for (const file of files) {
    hash.update(`\n${file}\n`)
    try {
      hash.update(await readFile(file))
    } catch (error) {
      hash.update(`unreadable: ${String((error as NodeJS.ErrnoException).code)}`)
    }
  }
  return hash.digest('hex')
}
