/**
 * The trail as commands read it that put it together anew (replay, rollout, access review): which folders, and the note that somebody read.
 *
 * The trail of the configured instance is read on the record: `data.read` is written first, and if it cannot be, nothing is shown. Folders that
 * are named with `--dir` are copies, on whatever machine: nothing is known there of a store, and whoever can read them needs no command.
 */

import { existsSync, realpathSync } from 'node:fs'
import { join } from 'node:path'
import type { InstanceConfiguration } from '../config/instance.ts'
import { PosternError } from '../errors.ts'
import { createLogger } from '../log.ts'
import type { OpenAdministration } from './administer.ts'

export interface TrailReading {
  /** `undefined`: the instance's own trail. */
  readonly dir: readonly string[] | undefined
  /** As `data.read` names it. */
  readonly what: 'audit' | 'explanation' | 'replay' | 'rollout' | 'access_review'
  /** Whom or what it is about, such as a person, an app, a rule; `undefined`: everything. */
  readonly target: string | undefined
}

/** The folders to read, after it was written down that they are read. Rejects with `audit_unavailable` if it cannot be. */
export async function openTrail(
  configuration: InstanceConfiguration,
  { dir, target, what }: TrailReading,
  openAdministration: OpenAdministration,
): Promise<readonly string[]> {
  if (dir !== undefined) {
    const missing = dir.find((folder) => !existsSync(folder))
    if (missing !== undefined) throw new PosternError('audit_unavailable', `there is no folder ${missing}`)
    // One folder by two names would count each request twice.
    return [...new Set(dir.map((folder) => realpathSync(folder)))]
  }
  const { actor, close, recordFirst } = await openAdministration(configuration, createLogger('warn', 'stderr'))
  try {
    await recordFirst({ event: 'data.read', actor, what, target, entries: undefined })
  } finally {
    // Closed before the reading begins: it may take a while, and an instance may want to start meanwhile.
    await close()
  }
  return [join(configuration.dataDir, 'audit')]
}
