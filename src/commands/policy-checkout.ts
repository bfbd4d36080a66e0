/**
 * A policy's files on this machine, as `policy pull` leaves them and `policy push` takes them, with a note of what they were made from.
 *
 * The note (`.postern-policy.json`) lies beside the document and names the revision, the hash and the files that came with it. It is a convenience
 * and no proof: what was published meanwhile is compared by whoever publishes. Files are replaced whole, never followed through a link, and
 * what was changed here is not overwritten unless that is asked for.
 */

import { randomBytes } from 'node:crypto'
import { lstat, mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { type Bundle, hashBundle, isBundlePath, toBundle } from '../administration/policy-bundle.ts'
import { explainUnfit, readBundle } from '../config/bundle-files.ts'
import { printProblems } from '../config/problems.ts'
import { PosternError } from '../errors.ts'

/** What the files were made from. */
export interface CheckoutNote {
  /** 0 where the policy is files. */
  readonly revision: number
  readonly hash: string
  readonly files: readonly string[]
}

/** Files of a policy, and their note; without one they were not pulled. */
export interface Checkout {
  readonly bundle: Bundle
  readonly note: CheckoutNote | undefined
}

/** The name of the note. */
export const noteName = '.postern-policy.json'

/** Reads a file or a folder. Rejects with `configuration_invalid` and all that stands in the way. */
export async function readCheckout(path: string): Promise<Checkout> {
  const { bundle, problems } = await readBundle(path)
  if (problems.length > 0) throw new PosternError('configuration_invalid', printProblems(problems, 'error'))
  const folder = (await isFolder(path)) ? path : dirname(path)
  const note = await readNote(folder)
  // What came along and is named by nothing is still part of it, as long as it is there.
  const known = new Set(bundle.map((file) => file.path))
  const others = (await isFolder(path)) ? (note?.files ?? []).filter((name) => !known.has(name)) : []
  const more = await Promise.all(others.map((name) => readPlain(folder, name)))
  const whole = toBundle([...bundle, ...more.filter((file) => file !== undefined)])
  const unfit = explainUnfit(whole)
  if (unfit !== undefined) throw new PosternError('configuration_invalid', `${path}: ${unfit}`)
  return { bundle: whole, note }
}

/** Why the files were not written: those here were changed since they were pulled, or never were. */
export type Written = 'written' | 'changed_here'

/** Makes the folder hold the bundle and its note. */
export async function writeCheckout(folder: string, bundle: Bundle, revision: number, isForced: boolean): Promise<Written> {
  const unfit = explainUnfit(bundle)
  if (unfit !== undefined) throw new PosternError('api_unavailable', `what was handed out is no policy: ${unfit}`)
  const note = await readNote(folder)
  if (!isForced && (await isChangedHere(folder, note, bundle))) return 'changed_here'
  await mkdir(folder, { recursive: true })
  for (const { content, path } of bundle) await replaceFile(folder, path, content)
  const names = new Set(bundle.map(({ path }) => path))
  for (const name of note?.files ?? []) if (!names.has(name)) await rm(await placeWithin(folder, name), { force: true })
  const written: CheckoutNote = { revision, hash: hashBundle(bundle), files: [...names] }
  await replaceFile(folder, noteName, Buffer.from(`${JSON.stringify(written, undefined, 2)}\n`))
  return 'written'
}

/** Notes what the files have become; where they were not pulled, leaves them alone. */
export async function noteRevision(path: string, bundle: Bundle, revision: number): Promise<void> {
  const folder = (await isFolder(path)) ? path : dirname(path)
  if ((await readNote(folder)) === undefined) return
  const written: CheckoutNote = { revision, hash: hashBundle(bundle), files: bundle.map((file) => file.path) }
  await replaceFile(folder, noteName, Buffer.from(`${JSON.stringify(written, undefined, 2)}\n`))
}

/** Every file that is to be replaced or removed is as it was pulled, or as it is to be. */
async function isChangedHere(folder: string, note: CheckoutNote | undefined, bundle: Bundle): Promise<boolean> {
  const fresh = new Map(bundle.map(({ content, path }) => [path, content]))
  const here = (await Promise.all([...new Set([...(note?.files ?? []), ...fresh.keys()])].map((name) => readPlain(folder, name)))).filter(
    (file) => file !== undefined,
  )
  if (here.every(({ content, path }) => fresh.get(path)?.equals(content) === true)) return false
  const pulled = here.filter(({ path }) => note?.files.includes(path) === true)
  return note === undefined || pulled.length < here.length || hashBundle(toBundle(pulled)) !== note.hash
}

async function readNote(folder: string): Promise<CheckoutNote | undefined> {
  const content = await readFile(join(folder, noteName), 'utf8').catch(() => undefined)
  if (content === undefined) return undefined
  const note = parseNote(content)
  if (note === undefined)
    throw new PosternError('configuration_invalid', `${join(folder, noteName)} is not a note of \`policy pull\`: remove it`)
  return note
}

/** Somebody may have written it: names in it lead nowhere but into the folder. */
function parseNote(content: string): CheckoutNote | undefined {
  try {
    const { files, hash, revision } = JSON.parse(content) as Readonly<Record<string, unknown>>
    const isNote =
      Number.isSafeInteger(revision) &&
      Number(revision) >= 0 &&
      typeof hash === 'string' &&
      Array.isArray(files) &&
      files.every((name) => typeof name === 'string' && isBundlePath(name))
    return isNote ? { revision: Number(revision), hash, files: files as readonly string[] } : undefined
  } catch {
    // Not JSON, so not a note.
    return undefined
  }
}

async function readPlain(folder: string, path: string) {
  const file = await placeWithin(folder, path)
  const found = await lstat(file).catch(() => undefined)
  return found?.isFile() === true ? { path, content: await readFile(file) } : undefined
}

/** Where a file of the bundle lies; rejects where a link would lead out of the folder. */
async function placeWithin(folder: string, path: string): Promise<string> {
  const steps = path.split('/')
  for (let depth = 1; depth < steps.length; depth++) {
    const above = await lstat(join(folder, ...steps.slice(0, depth))).catch(() => undefined)
    if (above !== undefined && !above.isDirectory())
      throw new PosternError('configuration_invalid', `${join(folder, ...steps.slice(0, depth))} is not a folder`)
  }
  return join(folder, ...steps)
}

async function replaceFile(folder: string, path: string, content: Buffer): Promise<void> {
  const file = await placeWithin(folder, path)
  await mkdir(dirname(file), { recursive: true })
  const draft = `${file}.${randomBytes(6).toString('hex')}.part`
  try {
    await writeFile(draft, content, { flag: 'wx' })
    await rename(draft, file)
  } catch (error) {
    await rm(draft, { force: true })
    throw new PosternError('configuration_invalid', `${file} cannot be written`, { cause: error })
  }
}

async function isFolder(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isDirectory() === true
}
