/**
 * Bundles on the disk: from the files of a policy, wherever they lie, to a bundle, and from a bundle to a folder that is loaded like one.
 *
 * A bundle holds all that its document names and means the same everywhere, so a file outside of the policy's folder is a problem with its
 * place, and never left out silently. Writing trusts nobody's paths: each is judged again, files are made anew and never followed, and a
 * folder appears whole or not at all.
 */

import { randomBytes } from 'node:crypto'
import { mkdir, open, readdir, realpath, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, join, relative, resolve, sep } from 'node:path'
import { type Bundle, type BundleFile, isBundlePath, mostBundleBytes, mostBundleFiles, toBundle } from '../administration/policy-bundle.ts'
import { loadPolicyBeside } from './load-policy.ts'
import { findPolicyTests } from './load-policy-tests.ts'
import { isBelow } from './named-files.ts'
import { createReport, type Problem } from './problems.ts'
import { explainFileError, loadFile } from './yaml-source.ts'

/** What could be read, and why the rest could not. Without problems it is whole. */
export interface ReadBundle {
  readonly bundle: Bundle
  readonly problems: readonly Problem[]
}

/**
 * The policy at `path` as a bundle: its document, a file or the `*.yaml` of a folder; its tests, beside it or in the folder; and every file
 * that it names. Whether the document means anything is not asked. Never rejects.
 */
export async function readBundle(path: string): Promise<ReadBundle> {
  // What else is wrong with the document is said by whoever loads it.
  const { named } = await loadPolicyBeside(path, {}, undefined)
  return collectBundle(path, named)
}

/** The same where it is known which files the document names, by absolute path. */
export async function collectBundle(path: string, named: readonly string[]): Promise<ReadBundle> {
  const problems: Problem[] = []
  const collected = new Map<string, BundleFile>()
  let bytes = 0

  const complain = (file: string, message: string, suggestion?: string) =>
    createReport(file, () => ({ file, line: 0, column: 0 }), { problems, warnings: [] }).problem([], message, { suggestion })

  async function take(file: string, as: string): Promise<void> {
    if (collected.has(as)) return complain(file, `the bundle would hold \`${as}\` twice`, 'keep the tests beside the folder, or in it')
    if (collected.size >= mostBundleFiles) return complain(file, `a policy with its files is at most ${mostBundleFiles} files`)
    const content = await loadFile(file, mostBundleBytes)
    if (typeof content === 'string') return complain(file, content)
    bytes += content.length
    if (bytes > mostBundleBytes) return complain(file, `a policy with its files is at most ${mostBundleBytes} bytes`)
    collected.set(as, { path: as, content })
  }

  async function takeNamed(folder: string, file: string): Promise<void> {
    const as = relative(folder, file).split(sep).join('/')
    const isInside = isBelow(folder, file) && isBundlePath(as) && (await isReallyBelow(folder, file))
    if (!isInside)
      complain(file, 'the policy names a file that lies outside of its folder', 'copy it to beside the document, and name that')
    else if (as.endsWith('.yaml') && !as.includes('/')) complain(file, 'a file that the document names may not be called *.yaml beside it')
    else if (!collected.has(as)) await take(file, as)
  }

  try {
    const isFolder = (await stat(path)).isDirectory()
    const folder = isFolder ? resolve(path) : dirname(resolve(path))
    const own = isFolder ? (await readdir(path)).filter((name) => name.endsWith('.yaml') && !name.startsWith('.')).sort() : [basename(path)]
    for (const name of own) {
      const as = isFolder ? name : documentName(name)
      if (isBundlePath(as)) await take(join(folder, name), as)
      else complain(join(folder, name), 'this name is none that a file of a managed policy may have')
    }
    if (isFolder && own.every((name) => name.endsWith('.test.yaml'))) complain(path, 'the folder holds no *.yaml file')
    const [tests] = await findPolicyTests(path)
    if (tests !== undefined)
      await take(tests, isFolder ? testsName(basename(tests)) : documentName(basename(path)).replace(/\.yaml$/, '.test.yaml'))
    for (const file of named) await takeNamed(folder, file)
  } catch (error) {
    complain(path, explainFileError(error))
  }
  return { bundle: toBundle(collected.values()), problems }
}

/** As a bundle calls the only file of a document: it must end in `.yaml`, and not look like tests. */
function documentName(name: string): string {
  return isBundlePath(name) && name.endsWith('.yaml') && !name.endsWith('.test.yaml') ? name : 'policy.yaml'
}

function testsName(name: string): string {
  return isBundlePath(name) ? name : 'policy.test.yaml'
}

async function isReallyBelow(folder: string, file: string): Promise<boolean> {
  try {
    return isBelow(await realpath(folder), await realpath(file))
  } catch {
    // It is not there; reading it says so.
    return true
  }
}

/** What a folder that `writeBundle` made holds. Rejects for what it never makes: links, other names, more than a bundle. */
export async function readBundleFolder(folder: string): Promise<Bundle> {
  const files: BundleFile[] = []
  let bytes = 0
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (entry.isDirectory()) continue
    const file = join(entry.parentPath, entry.name)
    const path = relative(folder, file).split(sep).join('/')
    if (!entry.isFile() || !isBundlePath(path) || files.length >= mostBundleFiles) throw new Error(`${folder} is no bundle`)
    const content = await loadFile(file, mostBundleBytes - bytes)
    if (typeof content === 'string') throw new Error(`${path}: ${content}`)
    bytes += content.length
    files.push({ path, content })
  }
  return toBundle(files)
}

/**
 * Makes `folder`, which must not exist, out of the bundle: readable by this user alone, on the disk before it has its name. Rejects for a
 * bundle that is none, with the sentence that says why.
 */
export async function writeBundle(folder: string, bundle: Bundle): Promise<void> {
  const problem = explainUnfit(bundle)
  if (problem !== undefined) throw new Error(problem)
  const unfinished = `${folder}.${randomBytes(6).toString('hex')}.part`
  try {
    await mkdir(unfinished, { recursive: true, mode: 0o700 })
    const folders = new Set([unfinished])
    for (const { content, path } of bundle) {
      const file = join(unfinished, path)
      await mkdir(dirname(file), { recursive: true, mode: 0o700 })
      for (let above = dirname(file); above !== unfinished; above = dirname(above)) folders.add(above)
      await writeSynced(file, content)
    }
    for (const one of folders) await syncFolder(one)
    // Onto an empty folder the system would rename as well.
    if ((await stat(folder).catch(() => undefined)) !== undefined) throw new Error(`${folder} exists already`)
    await rename(unfinished, folder)
    await syncFolder(dirname(folder))
  } catch (error) {
    await rm(unfinished, { recursive: true, force: true })
    throw error
  }
}

/** Why this is no bundle that may be written, shown or published; `undefined` if it is one. What its document means is not asked. */
export function explainUnfit(bundle: Bundle): string | undefined {
  if (bundle.length > mostBundleFiles) return `a policy with its files is at most ${mostBundleFiles} files`
  if (bundle.reduce((sum, { content }) => sum + content.length, 0) > mostBundleBytes)
    return `a policy with its files is at most ${mostBundleBytes} bytes`
  // Some file systems tell `A` from `a`, and some do not.
  const names = new Set<string>()
  for (const { path } of bundle) {
    if (!isBundlePath(path)) return 'a file of the bundle has a name that none may have'
    if (names.has(path.toLowerCase())) return `the bundle holds \`${path}\` twice`
    names.add(path.toLowerCase())
  }
  for (const name of names) {
    for (let above = dirname(name); above !== '.'; above = dirname(above)) {
      if (names.has(above)) return `\`${above}\` is a file of the bundle and a folder of it`
    }
  }
  return bundle.some(({ path }) => isDocument(path)) ? undefined : 'the bundle holds no *.yaml file at its top'
}

/** Whether a file of a bundle is part of the document. */
export function isDocument(path: string): boolean {
  return !path.includes('/') && path.endsWith('.yaml') && !path.endsWith('.test.yaml')
}

/** Whether a file of a bundle holds tests. */
export function isTests(path: string): boolean {
  return !path.includes('/') && path.endsWith('.test.yaml')
}

async function writeSynced(file: string, content: Buffer): Promise<void> {
  const handle = await open(file, 'wx', 0o600)
  try {
    await handle.writeFile(content)
    await handle.sync()
  } finally {
    await handle.close()
  }
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
