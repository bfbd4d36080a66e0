/** `devices.md` keeps its word: its examples are taken by what judges the real ones, and its table of refusals is the whole truth. */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { parseDeviceCsv } from '../src/administration/device-csv.ts'
import { parseDeviceDefinition } from '../src/administration/device-definition.ts'
import { parseManagementReport, parseSignedReport } from '../src/config/posture-report-schema.ts'
import { statusByRefusal } from '../src/control/api/device-reports.ts'

const page = readFileSync(join(import.meta.dirname, 'devices.md'), 'utf8')

function example(name: string): string {
  const [, text] = new RegExp(`<!-- tested: ${name} -->\\n+\`\`\`\\w+\\n([\\s\\S]*?)\`\`\``).exec(page) ?? []
  if (text === undefined) throw new Error(`devices.md has no example ${name}`)
  return text
}

describe('devices.md', () => {
  test('has a list that is imported as it stands', () => {
    const { rows, problems } = parseDeviceCsv(example('csv'))
    expect(problems).toEqual([])
    expect(rows.map(({ input }) => parseDeviceDefinition(input))).toMatchObject([
      { id: 'laptop-7', tags: ['finance', 'mac'], attributes: { ring: 'pilot' } },
      { id: 'laptop-8', names: ['laptop-8.corp.example', 'laptop-8'] },
    ])
  })

  test('has reports of the documented form', () => {
    expect(parseSignedReport(JSON.parse(example('signed')))).toHaveProperty('value')
    expect(parseManagementReport(JSON.parse(example('management')))).toHaveProperty('value')
  })

  test('lists every refusal with its status, and no other', () => {
    const rows = [...page.matchAll(/^\| `([a-z_]+)` +\| (\d{3}) +\|/gm)].map(([, word = '', status]) => [word, Number(status)])
    expect(Object.fromEntries(rows)).toEqual(statusByRefusal)
  })
})
