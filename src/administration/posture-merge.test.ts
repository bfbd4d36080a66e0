/** Whatever comes late, twice or crosswise: an older report never wins, and the order of arrival never matters. */

import fc from 'fast-check'
import { expect, it } from 'vitest'
import { mergeReport, type Observations, type ReportedValues } from './posture-merge.ts'

const names = ['disk_encrypted', 'screen_lock', 'os_version', 'ring']

const reports = fc
  .uniqueArray(fc.record({ observedAt: fc.integer({ min: 1, max: 40 }), said: fc.dictionary(fc.constantFrom(...names), fc.boolean()) }), {
    selector: ({ observedAt }) => observedAt,
    maxLength: 12,
  })
  .map((list) => list.map(({ observedAt, said }): ReportedValues => ({ observedAt, receivedAt: 100, values: said })))

function mergeAll(list: readonly ReportedValues[]): Observations {
  return list.reduce<Observations>((known, report) => mergeReport(known, report).observations, {})
}

/** What must stand: for each name the value of the newest report that has it. */
function newest(list: readonly ReportedValues[]): Record<string, { value: unknown; at: number }> {
  const expected: Record<string, { value: unknown; at: number }> = {}
  for (const { observedAt, values } of list.toSorted((one, other) => one.observedAt - other.observedAt))
    for (const [name, value] of Object.entries(values)) expected[name] = { value, at: observedAt }
  return expected
}

it('keeps the newest observation of each name, whatever order reports arrive in and however often', () => {
  const shuffled = reports.chain((list) =>
    fc.tuple(fc.constant(list), fc.shuffledSubarray([...list, ...list], { minLength: list.length * 2, maxLength: list.length * 2 })),
  )
  fc.assert(
    fc.property(shuffled, ([list, arrivals]) => {
      const stands = Object.entries(mergeAll(arrivals)).map(([name, { value, at }]) => [name, { value, at }])
      expect(Object.fromEntries(stands)).toEqual(newest(list))
    }),
    { numRuns: 10_000 },
  )
})

it('never goes back in time, and says of every name what became of it', () => {
  fc.assert(
    fc.property(reports, reports, (before, after) => {
      let known = mergeAll(before)
      for (const report of after) {
        const merged = mergeReport(known, report)
        for (const name of Object.keys(known)) expect(merged.observations[name]?.at).toBeGreaterThanOrEqual(known[name]?.at ?? Number.NaN)
        expect(new Set([...merged.accepted, ...merged.outdated])).toEqual(new Set(Object.keys(report.values)))
        known = merged.observations
      }
    }),
    { numRuns: 2_000 },
  )
})

it('lets nothing be talked away at the same instant', () => {
  const known = mergeReport({}, { observedAt: 5, receivedAt: 6, values: { disk_encrypted: false } }).observations
  const again = mergeReport(known, { observedAt: 5, receivedAt: 7, values: { disk_encrypted: true } })
  expect(again).toEqual({ observations: known, accepted: [], outdated: ['disk_encrypted'], changed: [] })
})

it('confirms what is sent again', () => {
  const report = { observedAt: 5, receivedAt: 6, values: { disk_encrypted: false, tags: ['a', 'b'] } }
  const known = mergeReport({}, report).observations
  expect(mergeReport(known, { ...report, receivedAt: 9 })).toEqual({
    observations: known,
    accepted: ['disk_encrypted', 'tags'],
    outdated: [],
    changed: [],
  })
})

it('holds a bounded number of names and never forgets one for another', () => {
  let known: Observations = {}
  for (let i = 0; i < 300; i++)
    known = mergeReport(known, { observedAt: i, receivedAt: i, values: { [`name${i}`]: i, managed: true } }).observations
  expect(Object.keys(known)).toHaveLength(128)
  expect(known['managed']?.at).toBe(299)
  expect(known['name0']).toEqual({ value: 0, at: 0, receivedAt: 0 })
})
