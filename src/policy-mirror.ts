/**
 * What this instance keeps on its own disk of a managed policy: which revisions it has seen, and the last of them with their files.
 *
 * It is what an instance goes on with while the store cannot be asked, and what knows that a store has lost its history: a store that is
 * empty, or older than this, was replaced or put back, and whoever could do that must not be able to put another policy in force with it.
 * A file here that does not hold together is a reason not to start, and never "nothing is known".
 */

import { randomBytes } from 'node:crypto'
import { mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { type Bundle, hashBundle } from './administration/policy-bundle.ts'
import type { Revision, RevisionFacts } from './administration/policy-history.ts'
import { readBundleFolder, writeBundle } from './config/bundle-files.ts'
import { PosternError } from './errors.ts'

/** What is known of the store's history. */
export interface MirroredHistory {
  /** Seen and not lost since, the newest first; at most `mostMirrored`. Never empty. */
  readonly revisions: readonly RevisionFacts[]
  /** The number of the last revision that was in force here: an instance may refuse the head. */
  readonly inForce: number
  /** How often an administrator had accepted a loss by then. */
  readonly acceptance: number
  /** What is in force here although its history was accepted as lost, until one of the other was taken; then `inForce` is 0. */
  readonly standing?: RevisionFacts
}

/** The mirror in one folder, `data_dir/policy`. */
export interface PolicyMirror {
  /** `undefined` where nothing was ever mirrored. Rejects with `record_unreadable` for what does not hold together. */
  load(): Promise<MirroredHistory | undefined>
  /** Writes the files of a bundle, unless they are there, and returns their folder. */
  materialise(bundle: Bundle): Promise<string>
  /** The files behind a revision; `undefined` where they are not here, or not what they were. */
  loadBundle(revision: Pick<RevisionFacts, 'hash'>): Promise<Bundle | undefined>
  /** Remembers this, cut to the newest and the one in force, and returns what was kept. Files that it does not name leave. */
  keep(history: MirroredHistory): Promise<MirroredHistory>
  /** Every revision that is known with its files, the oldest first: those that a store can be given back, without a gap up to the newest. */
  loadRevisions(): Promise<readonly Revision[]>
  /** Forgets all that is known of revisions. Their files stay until the next `keep`. */
  forget(): Promise<void>
}

/** Revisions whose files are kept. */
export const mostMirrored = 20

/** The folder of an instance's mirror. */
export function mirrorFolder(dataDir: string): string {
  return join(dataDir, 'policy')
}

/** Opens the mirror; nothing is written before there is something to keep. */
export function openPolicyMirror(folder: string): PolicyMirror {
  const headFile = join(folder, 'head.json')
  const folderOf = (hash: string) => join(folder, 'revisions', hash)

  async function load(): Promise<MirroredHistory | undefined> {
    let text: string
    try {
      text = await readFile(headFile, 'utf8')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
      throw unreadable(headFile, error)
    }
    const history = parseHistory(text)
    if (history === undefined) throw unreadable(headFile, undefined)
    return history
  }

  async function loadBundle({ hash }: Pick<RevisionFacts, 'hash'>): Promise<Bundle | undefined> {
    try {
      const bundle = await readBundleFolder(folderOf(hash))
      return hashBundle(bundle) === hash ? bundle : undefined
    } catch {
      // Not there, or not readable, or more than a bundle: whoever needs it has another source, or goes without.
      return undefined
    }
  }

  return {
    load,
    loadBundle,
    async materialise(bundle) {
      const hash = hashBundle(bundle)
      const target = folderOf(hash)
      if ((await loadBundle({ hash })) !== undefined) return target
      await mkdir(join(folder, 'revisions'), { recursive: true, mode: 0o700 })
      // Somebody changed it: what is judged and served is what was published, not what lies about.
      await rm(target, { recursive: true, force: true })
      await writeBundle(target, bundle)
      return target
    },
    async keep(history) {
      const newest = history.revisions.slice(0, mostMirrored)
      const standing = history.revisions.slice(mostMirrored).filter(({ number }) => number === history.inForce)
      const revisions = [...newest, ...standing]
      await mkdir(folder, { recursive: true, mode: 0o700 })
      await writeWhole(folder, headFile, `${JSON.stringify({ version: 1, ...history, revisions }, null, 2)}\n`)
      const kept = new Set([...revisions, ...(history.standing === undefined ? [] : [history.standing])].map(({ hash }) => hash))
      for (const name of await readdir(join(folder, 'revisions')).catch(() => [])) {
        const isOurs = name.endsWith('.part') || isHash(name)
        if (isOurs && !kept.has(name)) await rm(join(folder, 'revisions', name), { recursive: true, force: true })
      }
      return { ...history, revisions }
    },
    async loadRevisions() {
      const found: Revision[] = []
      for (const facts of (await load())?.revisions ?? []) {
        const above = found.at(-1)
        const bundle = above !== undefined && above.number !== facts.number + 1 ? undefined : await loadBundle(facts)
        if (bundle === undefined) break
        found.push({ ...facts, bundle })
      }
      return found.reverse()
    },
    forget: () => rm(headFile, { force: true }),
  }
}

async function writeWhole(folder: string, file: string, text: string): Promise<void> {
  const unfinished = `${file}.${randomBytes(6).toString('hex')}.part`
  try {
    const handle = await open(unfinished, 'wx', 0o600)
    try {
      await handle.writeFile(text)
      await handle.sync()
    } finally {
      await handle.close()
    }
    await rename(unfinished, file)
  } catch (error) {
    await rm(unfinished, { force: true })
    throw error
  }
  const handle = await open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** JSON has no `undefined`, so what it lacks is put back. */
function parseHistory(text: string): MirroredHistory | undefined {
  let value: Partial<MirroredHistory & { version: number }> | null
  try {
    value = JSON.parse(text) as typeof value
  } catch {
    // The parser's message would repeat what is written there.
    return undefined
  }
  if (value === null || typeof value !== 'object' || value.version !== 1 || !Array.isArray(value.revisions)) return undefined
  const { acceptance, inForce, standing } = value
  const revisions = value.revisions as readonly RevisionFacts[]
  const isWhole = revisions.length > 0 && isCount(acceptance) && isCount(inForce) && revisions.every(areFacts)
  if (!isWhole || (standing !== undefined && !areFacts(standing))) return undefined
  return { revisions: revisions.map(complete), inForce, acceptance, ...(standing === undefined ? {} : { standing: complete(standing) }) }
}

function areFacts(one: RevisionFacts | null): boolean {
  return isCount(one?.number) && typeof one?.hash === 'string' && isHash(one.hash) && typeof one.published?.by === 'string'
}

function complete(one: RevisionFacts): RevisionFacts {
  return { ...one, predecessor: one.predecessor, tests: one.tests, restores: one.restores }
}

/** What was in force here last, as far as it is known. */
export function lastInForce({ inForce, revisions, standing }: MirroredHistory): RevisionFacts | undefined {
  return standing ?? revisions.find(({ number }) => number === inForce)
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0
}

/** SHA-256 in base64url: also what makes it a name in a folder. */
function isHash(text: string): boolean {
  return /^[\w-]{43}$/.test(text)
}

function unreadable(file: string, cause: unknown): PosternError {
  const what = `what is known of the policy's revisions, ${file}, does not hold together; put it back from a backup, or`
  return new PosternError('record_unreadable', `${what} run \`postern store adopt --accept-loss\` if the store is right`, { cause })
}
