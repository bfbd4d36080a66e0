/**
 * `postern audit search`: who opened what, when, and why; from the files, with constant memory.
 *
 * Oldest first, as it was written, so that a story reads downwards; `--newest` turns that round, `--follow` goes on with what is written. With
 * `--json` the lines are what stands in the file, byte for byte; else a line each for people, safe for a terminal, since most of what
 * stands in it was chosen by strangers. Exit status: 0 something was found, 1 nothing, 2 could not run.
 */

import { type Command, InvalidArgumentError } from 'commander'
import { mergeLines } from '../audit/merged-lines.ts'
import { loadNewestLines } from '../audit/newest-lines.ts'
import { compileQuery } from '../audit/search.ts'
import { tailLines } from '../audit/tail-lines.ts'
import { type AuditReadOptions, type AuditReadParts, openTrailFolders, queryOf, withReadOptions } from './audit-read.ts'
import { describeAuditLine } from './audit-text.ts'
import { createLineOutput } from './line-output.ts'

interface SearchOptions extends AuditReadOptions {
  readonly limit?: number
  readonly newest?: true
  readonly follow?: true
  readonly json?: true
}

/** A screen or two, where no limit is given and the end comes first. */
const newestByDefault = 100
/** The newest are turned round in memory. */
const mostNewest = 100_000

/** Adds `search` to the group `audit`. */
export function registerAuditSearch(audit: Command, { now, openAdministration }: AuditReadParts): void {
  withReadOptions(audit.command('search').description('events of the trail: who, what, when, and why'), now)
    .option('--limit <count>', 'at most so many', parseCount)
    .option('--newest', `the newest, newest first (${newestByDefault} without --limit)`)
    .option('--follow', 'go on with what is written')
    .option('--json', 'the lines as they are stored, one JSON object each')
    .action(async (options: SearchOptions) => {
      const problem = problemOf(options)
      if (problem !== undefined) {
        console.error(`postern: ${problem}`)
        process.exitCode = 2
        return
      }
      const folders = await openTrailFolders(options, openAdministration)
      if (folders !== undefined) process.exitCode = await search(folders, options)
    })
}

function problemOf({ follow, limit, newest, until }: SearchOptions): string | undefined {
  if (follow === true && (newest === true || until !== undefined)) return '--follow goes on for ever: it takes neither --newest nor --until'
  if (newest === true && (limit ?? 0) > mostNewest) return `--newest shows at most ${mostNewest}`
  return undefined
}

async function search(folders: readonly string[], options: SearchOptions): Promise<0 | 1> {
  const output = createLineOutput(process.stdout)
  const limit = options.limit ?? (options.newest === true ? newestByDefault : Number.POSITIVE_INFINITY)
  let found = 0
  for await (const bytes of readWanted(folders, options, limit)) {
    await output.write(options.json === true ? bytes : describeAuditLine(bytes))
    found += 1
    if (output.isOver || found >= limit) break
  }
  await output.flush()
  return found === 0 ? 1 : 0
}

async function* readWanted(folders: readonly string[], options: SearchOptions, limit: number): AsyncGenerator<Buffer> {
  const { follow, newest, since, until } = options
  const selection = compileQuery(queryOf(options))
  if (newest === true) {
    for (const { bytes } of await loadNewestLines(folders, { selection, since, until, limit })) yield bytes
    return
  }
  const lines =
    follow === true
      ? tailLines(folders, { selection, since, signal: new AbortController().signal })
      : mergeLines(folders, { selection, since, until })
  for await (const { bytes } of lines) yield bytes
}

function parseCount(written: string): number {
  const count = Number(written)
  if (/^\d{1,9}$/.test(written) && count > 0) return count
  throw new InvalidArgumentError('a whole number from 1 on.')
}
