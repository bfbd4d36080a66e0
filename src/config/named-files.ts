/**
 * The files that a policy names besides its own: authorities, pictures and lists of networks, each with its place.
 *
 * A policy that is published by people who hold no account on the machine must not make Postern read the machine's files: its lines
 * would be quoted in problems, and its contents be counted as networks. So whatever a managed policy names lies in its own folder, as
 * written and as the file system resolves it.
 */

import { realpath } from 'node:fs/promises'
import { dirname, isAbsolute, relative, resolve, sep } from 'node:path'
import { isBundlePath } from '../administration/policy-bundle.ts'
import type { FoundApp, PolicyParts } from './policy-parts.ts'
import type { Path, Report } from './problems.ts'
import { findConditions } from './reference-checks.ts'

/** A file that a document names. */
export interface NamedFile {
  readonly kind: 'authority' | 'picture' | 'networks'
  /** As the document says it. */
  readonly written: string
  /** Its absolute path. */
  readonly file: string
  readonly path: Path
  readonly report: Report
}

/** Every file that the policy names, in its order; one that several places name comes as often. */
export function* findNamedFiles(policy: PolicyParts): Generator<NamedFile> {
  for (const found of policy.apps) {
    yield* findAuthorities(found)
    const { app, path, report } = found
    if (app.logo !== undefined) yield nameFile('picture', app.logo, [...path, 'logo'], report)
  }
  for (const { condition, path, report } of findConditions(policy)) {
    if (condition.kind !== 'network' || condition.cidrsFile === undefined) continue
    yield nameFile('networks', condition.cidrsFile, [...path, 'network', 'cidrs_file'], report)
  }
}

function* findAuthorities({ app, path, report }: FoundApp): Generator<NamedFile> {
  const written = app.upstream
  const list = Array.isArray(written) ? written : [written]
  for (const [position, entry] of list.entries()) {
    if (entry === undefined || 'basePath' in entry || entry.ca_file === undefined) continue
    yield nameFile('authority', entry.ca_file, [...path, 'upstream', ...(Array.isArray(written) ? [position] : []), 'ca_file'], report)
  }
}

function nameFile(kind: NamedFile['kind'], written: string, path: Path, report: Report): NamedFile {
  return { kind, written, file: resolve(dirname(report.file), written), path, report }
}

/**
 * Reports what does not lie in `folder`, by its name or behind a symbolic link, and returns those that do. What does not exist is let
 * through: reading it says so.
 */
export async function keepInside(named: readonly NamedFile[], folder: string): Promise<readonly NamedFile[]> {
  const inside: NamedFile[] = []
  for (const one of named) {
    const problem = await explainOutside(folder, one)
    if (problem === undefined) inside.push(one)
    else {
      one.report.problem(one.path, problem, {
        expected: 'a path below the folder of the policy, such as `networks/office.txt`',
        suggestion: 'a managed policy holds every file that it names: copy the file to beside the document',
      })
    }
  }
  return inside
}

async function explainOutside(folder: string, { file, written }: NamedFile): Promise<string | undefined> {
  if (isAbsolute(written) || !isBelow(folder, file)) return 'this file lies outside of the folder of the policy'
  const path = relative(folder, file).split(sep).join('/')
  if (!isBundlePath(path)) return 'this name is none that a file of a managed policy may have'
  // At the top level it would be taken for a part of the document.
  if (!path.includes('/') && path.endsWith('.yaml')) return 'a file that the document names may not be called *.yaml beside it'
  try {
    return isBelow(await realpath(folder), await realpath(file))
      ? undefined
      : 'this file is a link that leads out of the folder of the policy'
  } catch {
    // Reading it says why it cannot be read.
    return undefined
  }
}

/** Whether `file` lies somewhere in `folder`. Both are absolute; nothing is looked at. */
export function isBelow(folder: string, file: string): boolean {
  const path = relative(folder, file)
  return path !== '' && path !== '..' && !path.startsWith(`..${sep}`) && !isAbsolute(path)
}
