/**
 * Lines of the trail as rows of a table (RFC 4180), for spreadsheets.
 *
 * The columns are a fixed list; what an event has besides stands as JSON in the last one, so that no row says less than its line. Text that a
 * spreadsheet would run as a formula (it begins with `=`, `+`, `-`, `@`, a tab or a line break, whoever wrote it) gets an apostrophe in front:
 * a path or a user agent is chosen by strangers, and an auditor opens the file.
 */

import type { TrailLine } from './trail-files.ts'

/** Where a column's text comes from: a field of the line, or of the map that a field holds. */
const columns: readonly (readonly [name: string, field: string, inner?: string])[] = [
  ['time', 'at'],
  ['event', 'event'],
  ['instance', 'instance'],
  ['seq', 'seq'],
  ['request', 'request'],
  ['actor', 'actor'],
  ['subject_kind', 'subject', 'kind'],
  ['subject_email', 'subject', 'email'],
  ['subject_sub', 'subject', 'sub'],
  ['subject_issuer', 'subject', 'issuer'],
  ['session', 'session'],
  ['app', 'app'],
  ['host', 'host'],
  ['method', 'method'],
  ['path', 'path'],
  ['effect', 'effect'],
  ['reason', 'reason'],
  ['rule', 'rule'],
  ['policy', 'policy'],
  ['address', 'address'],
  ['user_agent', 'user_agent'],
  ['status', 'status'],
  ['bytes_in', 'bytes_in'],
  ['bytes_out', 'bytes_out'],
  ['duration_ms', 'duration_ms'],
  ['outcome', 'outcome'],
  ['cause', 'cause'],
  ['on', 'on'],
  ['target', 'target'],
  ['device', 'device'],
  ['token', 'token'],
  ['what', 'what'],
  ['until', 'until'],
]

const inColumns: ReadonlySet<string> = new Set(columns.map(([, field]) => field))

/** Names of the columns, in order; the last is `other`. */
export const csvColumns: readonly string[] = [...columns.map(([name]) => name), 'other']

/** The row of column names, without a line break. */
export const csvHeader = csvColumns.join(',')

/** The row of a line, without the line break that ends it (CRLF). */
export function formatCsvRow(line: TrailLine): string {
  const cells = columns.map(([, field, inner]) => {
    const value = line[field]
    if (inner === undefined) return formatCsvCell(value)
    return formatCsvCell(typeof value === 'object' && value !== null ? (value as TrailLine)[inner] : undefined)
  })
  const other = Object.entries(line).filter(([name]) => !inColumns.has(name) && name !== 'prev')
  return [...cells, formatCsvCell(other.length === 0 ? undefined : JSON.stringify(Object.fromEntries(other)))].join(',')
}

/** One cell (RFC 4180), of which no spreadsheet makes a formula. What is absent is empty; what is no text, number or truth is JSON. */
export function formatCsvCell(value: unknown): string {
  if (value === undefined || value === null) return ''
  if (typeof value === 'number' || typeof value === 'boolean') return String(value)
  const text = typeof value === 'string' ? value : JSON.stringify(value)
  const tamed = /^[=+\-@\t\r\n]/.test(text) ? `'${text}` : text
  return /[",\r\n]/.test(tamed) || tamed !== text ? `"${tamed.replaceAll('"', '""')}"` : tamed
}
