/**
 * Postern as it is shipped: compiled, outside the checkout. For measurements of memory, where running the sources would count the
 * compiler that Node brings along for them.
 */

import { execFile } from 'node:child_process'
import { mkdtemp, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

const root = join(import.meta.dirname, '..', '..')

export interface BuiltProgram {
  /** The command line interface, for `node`. */
  readonly file: string
  remove(): Promise<void>
}

/** Builds into a folder of its own, so that nobody who builds or runs `dist/` meanwhile is disturbed. */
export async function buildProgram(): Promise<BuiltProgram> {
  const folder = await mkdtemp(join(tmpdir(), 'postern-built-'))
  for (const name of ['node_modules', 'views', 'package.json']) await symlink(join(root, name), join(folder, name))
  const compiler = join(root, 'node_modules', 'typescript', 'bin', 'tsc')
  // Types are judged elsewhere; here only the output counts.
  const built = promisify(execFile)(process.execPath, [compiler, '-p', join(root, 'tsconfig.build.json'), '--outDir', join(folder, 'dist')])
  await built.catch(() => undefined)
  return { file: join(folder, 'dist', 'cli.js'), remove: () => rm(folder, { recursive: true, force: true }) }
}
