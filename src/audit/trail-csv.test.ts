/** Rows of the export: RFC 4180, columns that do not move, and nothing that a spreadsheet runs. */

import { expect, it } from 'vitest'
import { allEvents } from './every-event.fixture.ts'
import { formatAuditLine } from './line.ts'
import { csvColumns, csvHeader, formatCsvRow } from './trail-csv.ts'
import { parseTrailLine } from './trail-files.ts'
import { decided } from './written-trail.fixture.ts'

const rowOf = (event: (typeof allEvents)[number]) => formatCsvRow(parseTrailLine(formatAuditLine(event, 0, 'host-0')) ?? {})

/** As RFC 4180 reads a row. */
function cellsOf(row: string): Record<string, string> {
  const cells = [...`${row},`.matchAll(/(?:"((?:[^"]|"")*)"|([^",]*)),/g)].map(
    ([, quoted, plain]) => quoted?.replaceAll('""', '"') ?? plain,
  )
  expect(cells.length).toBe(csvColumns.length)
  return Object.fromEntries(csvColumns.map((column, index) => [column, cells[index] ?? '']))
}

it.each(allEvents.map((event) => [event.event, event] as const))('of %s has every column', (_kind, event) => {
  expect(cellsOf(rowOf(event))['event']).toBe(event.event)
})

it('holds names, outcomes and whatever has no column', () => {
  const cells = cellsOf(rowOf(decided('r1', { path: '/a,"b"', tlsVersion: 'TLSv1.3' })))
  expect(cells).toMatchObject({ time: '1970-01-01T00:00:00.000Z', subject_email: 'Ada@corp.example', effect: 'allow', path: '/a,"b"' })
  expect(JSON.parse(cells['other'] ?? '')).toMatchObject({ tls_version: 'TLSv1.3' })
  expect(csvHeader.startsWith('time,event,instance,seq,request,')).toBe(true)
})

it.each(['=1+1', '+1', '-1', '@SUM(A1)', '\t=1', '\r=1', '\n=1'])('takes the formula out of %j', (text) => {
  const row = rowOf(decided('r1', { userAgent: text }))
  expect(cellsOf(row)['user_agent']).toBe(`'${text}`)
  expect(row).toContain(`"'`)
})
