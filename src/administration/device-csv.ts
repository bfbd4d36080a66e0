/**
 * A list of devices as inventories export it: CSV (RFC 4180) with a header row, one device a row.
 *
 * The first row names the columns, in any order; a column that is not known is a problem with its name, since what is silently left out
 * of an inventory is missed on the day it is needed. Every problem comes with its line, all of them at once.
 */

import type { DeviceInput } from './device-definition.ts'

/** One row, with the line it begins on. Files that it names are read by the caller. */
export interface DeviceRow {
  readonly line: number
  readonly input: Omit<DeviceInput, 'publicKey'>
  /** Paths as written, relative to the list. */
  readonly certificateFile: string | undefined
  readonly publicKeyFile: string | undefined
}

export interface LineProblem {
  readonly line: number
  readonly problem: string
}

/** Cells that hold several values separate them with blanks or semicolons. */
const columns = ['id', 'serial', 'name', 'owner', 'tags', 'fingerprints', 'sans', 'certificate_file', 'public_key_file'] as const

/** As many as no company has; a file beyond it is another file. */
const maxRows = 200_000

/** The rows, and what is wrong with the text. Rows with a problem are left out. */
export function parseDeviceCsv(text: string): { readonly rows: readonly DeviceRow[]; readonly problems: readonly LineProblem[] } {
  const problems: LineProblem[] = []
  const records = readRecords(text.replace(/^\uFEFF/, ''), problems)
  const [header, ...body] = records
  if (header === undefined)
    return { rows: [], problems: [...problems, { line: 1, problem: 'the list is empty: its first row names the columns' }] }
  // Names of attributes keep their case: rules compare it.
  const names = header.cells.map((cell) => cell.trim().replace(/^(?:attribute\.|[^.]+$)/i, (name) => name.toLowerCase()))
  for (const problem of findHeaderProblems(names)) problems.push({ line: header.line, problem })
  if (problems.length > 0) return { rows: [], problems }
  if (body.length > maxRows) return { rows: [], problems: [{ line: maxRows + 2, problem: `the list has more than ${maxRows} rows` }] }

  const rows: DeviceRow[] = []
  for (const { cells, line } of body) {
    if (cells.length === names.length) rows.push(rowOf(names, cells, line))
    else problems.push({ line, problem: `this row has ${cells.length} cells, the header has ${names.length}` })
  }
  return { rows, problems }
}

function findHeaderProblems(names: readonly string[]): readonly string[] {
  const isAttribute = (name: string) => name.startsWith('attribute.') && name.length > 'attribute.'.length
  const unknown = names.filter((name) => !isAttribute(name) && !(columns as readonly string[]).includes(name))
  return [
    ...(names.includes('id') ? [] : ['the column `id` is missing']),
    ...(new Set(names).size === names.length ? [] : ['a column is there twice']),
    ...unknown.map((name) => `unknown column ${JSON.stringify(name.slice(0, 60))}: there are ${columns.join(', ')} and attribute.NAME`),
  ]
}

function rowOf(names: readonly string[], cells: readonly string[], line: number): DeviceRow {
  const cell = (name: (typeof columns)[number]) => {
    const text = cells[names.indexOf(name)]?.trim()
    return text === '' ? undefined : text
  }
  const list = (name: (typeof columns)[number]) => (cell(name) ?? '').split(/[\s;]+/).filter((word) => word !== '')
  const attributes = names.flatMap((name, index): [string, string][] => {
    const value = cells[index]?.trim() ?? ''
    return name.startsWith('attribute.') && value !== '' ? [[name.slice('attribute.'.length), value]] : []
  })
  return {
    line,
    input: {
      id: cell('id') ?? '',
      serial: cell('serial'),
      name: cell('name'),
      owner: cell('owner'),
      tags: list('tags'),
      fingerprints: list('fingerprints'),
      names: list('sans'),
      attributes: Object.fromEntries(attributes),
    },
    certificateFile: cell('certificate_file'),
    publicKeyFile: cell('public_key_file'),
  }
}

interface Row {
  readonly cells: readonly string[]
  readonly line: number
}

/** Splits along RFC 4180: quotes protect commas, line breaks and doubled quotes. Empty lines are no rows. */
function readRecords(text: string, problems: LineProblem[]): readonly Row[] {
  const records: Row[] = []
  let line = 1
  let at = 0
  while (at < text.length) {
    const begin = line
    const cells: string[] = []
    for (;;) {
      const cell = text[at] === '"' ? readQuoted(text, at) : readPlain(text, at)
      line += cell.lineBreaks
      cells.push(cell.value)
      at = cell.end
      if (cell.problem !== undefined) {
        problems.push({ line, problem: cell.problem })
        // Where a quote does not close, nobody can say where the next row begins.
        return records
      }
      if (text[at] !== ',') break
      at += 1
    }
    if (text[at] === '\r') at += 1
    if (text[at] === '\n') at += 1
    line += 1
    if (cells.length > 1 || cells[0]?.trim() !== '') records.push({ cells, line: begin })
  }
  return records
}

interface Cell {
  readonly value: string
  /** Where the cell ended: a comma, the end of the row or of the text. */
  readonly end: number
  readonly lineBreaks: number
  readonly problem?: string
}

function readPlain(text: string, from: number): Cell {
  let end = from
  while (end < text.length && !/[,\r\n]/.test(text.charAt(end))) end += 1
  const value = text.slice(from, end)
  return {
    value,
    end,
    lineBreaks: 0,
    ...(value.includes('"') ? { problem: 'a quote stands within a cell: quote the whole cell and double it' } : {}),
  }
}

function readQuoted(text: string, from: number): Cell {
  let at = from + 1
  for (;;) {
    const quote = text.indexOf('"', at)
    if (quote === -1) return { value: '', end: text.length, lineBreaks: 0, problem: 'a quoted cell is never closed' }
    if (text[quote + 1] === '"') {
      at = quote + 2
      continue
    }
    const end = quote + 1
    const value = text.slice(from + 1, quote).replaceAll('""', '"')
    const isAtEnd = end === text.length || /[,\r\n]/.test(text.charAt(end))
    const lineBreaks = value.split('\n').length - 1
    return { value, end, lineBreaks, ...(isAtEnd ? {} : { problem: 'something follows a quoted cell' }) }
  }
}
