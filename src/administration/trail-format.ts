/**
 * A line of the trail in the formats of an export: as it is stored, as an OCSF event, or as a row of a table.
 *
 * One making of it for `postern audit export` and the console, so that an auditor compares like with like. What a terminal or a viewer would act
 * upon stays escaped, as it is in the line.
 */

import { mapToOcsf } from '../audit/ocsf.ts'
import { csvHeader, formatCsvRow } from '../audit/trail-csv.ts'
import { parseTrailLine } from '../audit/trail-files.ts'

export const trailFormats = ['ndjson', 'ocsf', 'csv'] as const

export type TrailFormat = (typeof trailFormats)[number]

/** Media types and file name endings. */
export const trailFormatFiles: Readonly<Record<TrailFormat, { readonly type: string; readonly ending: string }>> = {
  ndjson: { type: 'application/x-ndjson', ending: 'ndjson' },
  ocsf: { type: 'application/x-ndjson', ending: 'ocsf.ndjson' },
  csv: { type: 'text/csv; charset=utf-8', ending: 'csv' },
}

/** What stands before the first line, with its line break; mostly nothing. */
export function trailFormatHead(format: TrailFormat): string {
  return format === 'csv' ? `${csvHeader}\r\n` : ''
}

/** The line with its line break; `undefined` for one that has no form in the format. */
export function formatTrailLine(format: TrailFormat, bytes: Buffer): string | undefined {
  switch (format) {
    case 'ndjson':
      return `${bytes.toString('utf8')}\n`
    case 'ocsf': {
      const event = mapToOcsf(parseTrailLine(bytes) ?? {})
      return event === undefined ? undefined : `${escapeActive(JSON.stringify(event))}\n`
    }
    case 'csv': {
      const line = parseTrailLine(bytes)
      return line === undefined ? undefined : `${formatCsvRow(line)}\r\n`
    }
  }
}

/** Above U+FFFF JSON writes two halves (RFC 8259 §7). */
function escapeActive(json: string): string {
  return json.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (found) =>
    Array.from({ length: found.length }, (_, index) => `\\u${found.charCodeAt(index).toString(16).padStart(4, '0')}`).join(''),
  )
}
