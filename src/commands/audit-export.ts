/**
 * `postern audit export`: events of the trail for other programs: as they are stored, as OCSF events, or as a table.
 *
 * Streams from the files with constant memory, in order of time. A file that is written gets its name when it is whole and is for its owner
 * alone; one that is there already is never replaced. Exit status: 0 exported, be it nothing; 2 could not run.
 */

import { createWriteStream, existsSync } from 'node:fs'
import { rename, rm } from 'node:fs/promises'
import type { Writable } from 'node:stream'
import { type Command, Option } from 'commander'
import { mergeLines } from '../audit/merged-lines.ts'
import { mapToOcsf } from '../audit/ocsf.ts'
import { compileQuery } from '../audit/search.ts'
import { csvHeader, formatCsvRow } from '../audit/trail-csv.ts'
import { parseTrailLine } from '../audit/trail-files.ts'
import { PosternError } from '../errors.ts'
import { type AuditReadOptions, type AuditReadParts, openTrailFolders, queryOf, withReadOptions } from './audit-read.ts'
import { createLineOutput } from './line-output.ts'
import { printJson } from './print-line.ts'

type Format = 'ndjson' | 'ocsf' | 'csv'

interface ExportOptions extends AuditReadOptions {
  readonly format: Format
  readonly out?: string
}

/** How a line is written in each format; `undefined` for one that is no line of a trail. */
const writers: Readonly<Record<Format, (bytes: Buffer) => string | Buffer | undefined>> = {
  ndjson: (bytes) => bytes,
  ocsf(bytes) {
    const event = mapToOcsf(parseTrailLine(bytes) ?? {})
    return event === undefined ? undefined : printJson(event)
  },
  csv(bytes) {
    const line = parseTrailLine(bytes)
    return line === undefined ? undefined : `${formatCsvRow(line)}\r`
  },
}

/** Adds `export` to the group `audit`. */
export function registerAuditExport(audit: Command, { now, openAdministration }: AuditReadParts): void {
  withReadOptions(audit.command('export').description('events of the trail for other programs'), now)
    .addOption(new Option('--format <format>', 'how').choices(['ndjson', 'ocsf', 'csv']).makeOptionMandatory())
    .option('--out <file>', 'where to, in place of standard output')
    .action(async (options: ExportOptions) => {
      if (options.out !== undefined && existsSync(options.out)) {
        throw new PosternError('audit_unavailable', `${options.out} is there already: remove it, or name another file`)
      }
      const folders = await openTrailFolders(options, openAdministration)
      if (folders === undefined) return
      if (options.out === undefined) await exportTo(process.stdout, folders, options)
      else await exportToFile(options.out, folders, options)
    })
}

async function exportToFile(file: string, folders: readonly string[], options: ExportOptions): Promise<void> {
  const draft = `${file}.${process.pid}.tmp`
  const stream = createWriteStream(draft, { mode: 0o600, flags: 'wx', flush: true })
  try {
    const count = await exportTo(stream, folders, options)
    await new Promise<void>((resolve, reject) => stream.once('error', reject).end(resolve))
    await rename(draft, file)
    console.error(`postern: ${count} events in ${file}`)
  } catch (error) {
    stream.destroy()
    await rm(draft, { force: true })
    throw new PosternError('audit_unavailable', `${file} could not be written: ${(error as Error).message}`, { cause: error })
  }
}

async function exportTo(stream: Writable, folders: readonly string[], options: ExportOptions): Promise<number> {
  const output = createLineOutput(stream)
  const write = writers[options.format]
  const { since, until } = options
  let count = 0
  if (options.format === 'csv') await output.write(`${csvHeader}\r`)
  for await (const { bytes } of mergeLines(folders, { selection: compileQuery(queryOf(options)), since, until })) {
    const written = write(bytes)
    if (written === undefined) continue
    await output.write(written)
    count += 1
    if (output.isOver) break
  }
  await output.flush()
  return count
}
