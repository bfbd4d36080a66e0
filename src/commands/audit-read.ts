/**
 * Which lines of the trail a command reads: the options that search and export share, and the note that somebody read.
 *
 * The trail of the configured instance is read on the record: a `data.read` line is written before the first line is shown, and if it cannot be
 * written nothing is shown. Folders that are named with `--dir` are files like any other: they may come from another machine, whose trail is
 * out of reach, and whoever can read them could read them without this command.
 */

import { existsSync } from 'node:fs'
import { type Command, Option } from 'commander'
import type { AuditQuery } from '../audit/search.ts'
import { loadConfiguration, printProblems } from '../config/load-configuration.ts'
import { PosternError } from '../errors.ts'
import type { OpenAdministration } from './administer.ts'
import { createInstantParser } from './past-instant.ts'
import { openTrail } from './trail-reading.ts'

export interface AuditReadParts {
  readonly openAdministration: OpenAdministration
  /** Epoch milliseconds. */
  readonly now: () => number
}

export interface AuditReadOptions {
  readonly config: string
  readonly dir?: readonly string[]
  readonly subject?: string
  readonly app?: string
  readonly effect?: string
  readonly reason?: string
  readonly device?: string
  readonly request?: string
  readonly event?: readonly string[]
  readonly since?: number
  readonly until?: number
}

/** Adds the options that say where and which. */
export function withReadOptions(command: Command, now: () => number): Command {
  const parseInstant = createInstantParser(now)
  return command
    .option('--config <file>', 'instance configuration', 'config/postern.yaml')
    .option('--dir <folder...>', 'audit folders to read in place of the instance’s own, one an instance')
    .option('--subject <who>', 'about a person or service: an e-mail address, or a sub')
    .option('--app <id>', 'about an app')
    .addOption(new Option('--effect <effect>', 'decisions that came out so').choices(['allow', 'deny', 'challenge']))
    .option('--reason <reason>', 'with this reason, or cause of an end')
    .option('--device <id>', 'on, or about, a device of the inventory')
    .option('--request <id>', 'of one request, as its answer named it in X-Postern-Request')
    .option('--event <event...>', 'of this kind, such as session.started')
    .option('--since <time>', 'not before: an instant, or an age such as 7d', parseInstant)
    .option('--until <time>', 'before: an instant, or an age', parseInstant)
}

/** What was asked for, as the search takes it. */
export function queryOf({ app, device, effect, event, reason, request, subject }: AuditReadOptions): AuditQuery {
  return { app, device, effect, reason, request, subject, events: event }
}

/** The folders to read, after it was written down that they are read; `undefined`, and reported, where the configuration has problems. */
export async function openTrailFolders(
  options: AuditReadOptions,
  openAdministration: OpenAdministration,
): Promise<readonly string[] | undefined> {
  if (options.dir !== undefined) {
    const missing = options.dir.find((folder) => !existsSync(folder))
    if (missing !== undefined) throw new PosternError('audit_unavailable', `there is no folder ${missing}`)
    return options.dir
  }
  const { problems, value } = await loadConfiguration(options.config)
  if (value === undefined) {
    console.error(printProblems(problems, 'error'))
    process.exitCode = 2
    return undefined
  }
  const target = options.subject ?? options.device ?? options.request ?? options.app
  return await openTrail(value, { dir: undefined, what: 'audit', target }, openAdministration)
}
