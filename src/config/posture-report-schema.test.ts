/** The form of posture reports: strict, bounded, described, and published as it is judged. */

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { parseManagementReport, parsePosture, parseSignedReport, printPostureReportSchema } from './posture-report-schema.ts'

const posture = { disk_encrypted: true }
const signed = { aud: 'https://access.corp.example', sub: 'laptop-7', iat: 1_795_000_000, jti: 'a', posture }

describe('the published schema', () => {
  it('is the current one', async () => {
    const written = await readFile(join(import.meta.dirname, '..', '..', 'config', 'schema', 'posture-report.json'), 'utf8')
    expect(written, 'renew it: postern schema posture-report > config/schema/posture-report.json').toBe(printPostureReportSchema())
  })

  it('judges as the parser does', () => {
    const published = z.fromJSONSchema(JSON.parse(printPostureReportSchema()) as Parameters<typeof z.fromJSONSchema>[0])
    const judged = (data: unknown) => published.safeParse(data).success
    for (const good of [signed, { observed_at: '2026-11-22T08:00:00+01:00', posture }, { ...signed, iat: 1.5, exp: 2 }])
      expect(judged(good)).toBe(true)
    for (const bad of [{}, { ...signed, jti: undefined }, { ...signed, posture: { disk: true } }, { observed_at: 'noon', posture }])
      expect(judged(bad)).toBe(false)
  })

  it('describes every key', () => {
    const { anyOf } = JSON.parse(printPostureReportSchema()) as {
      anyOf: { properties: Record<string, { description?: string; properties?: object }> }[]
    }
    for (const form of anyOf) {
      const members = { ...form.properties, ...(form.properties['posture']?.properties as typeof form.properties) }
      for (const [key, { description }] of Object.entries(members)) expect(description, key).toBeTypeOf('string')
    }
  })
})

it('takes both forms, and instants in any zone', () => {
  expect(parseSignedReport(signed)).toEqual({ value: signed })
  expect(parseManagementReport({ observed_at: '2026-11-22T08:00:00.5+01:00', posture })).toEqual({
    value: { observed_at: Date.UTC(2026, 10, 22, 7, 0, 0, 500), posture },
  })
})

it.each([
  ['a local time', { observed_at: '2026-11-22T08:00:00', posture }],
  ['a day', { observed_at: '2026-11-22', posture }],
  ['a day that is none', { observed_at: '2026-02-30T08:00:00Z', posture }],
  ['seconds', { observed_at: 1_795_000_000, posture }],
  ['no instant', { posture }],
])('takes no report of a management system with %s', (_what, body) => {
  expect(parseManagementReport(body)).toHaveProperty('problems')
})

it('says where each problem is and what belongs there, and repeats no value', () => {
  const parsed = parsePosture({
    managed: 'sesame',
    firewall: 1,
    os: 'an os',
    attributes: { 'a b': 'sesame', c: { sesame: 1 } },
    zzz: 'sesame',
  })
  expect('problems' in parsed && parsed.problems).toEqual([
    '`managed`: expected `true` or `false`',
    '`firewall`: expected `true` or `false`',
    '`os`: expected the name of the operating system, such as `macos`',
    '`attributes.a b` is not a usable name',
    expect.stringContaining('`attributes.c`: expected text'),
    'the report has unknown keys',
  ])
})

it.each([undefined, null, 0, '', [], 'x'])('takes no %j for a report', (data) => {
  for (const parse of [parseSignedReport, parseManagementReport, parsePosture]) expect(parse(data)).toHaveProperty('problems')
})
