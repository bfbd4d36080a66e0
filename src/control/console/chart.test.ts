/** Charts: valid markup whatever is given, no number that is none, and a table that says the same. */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Eta } from 'eta/core'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { drawStackedBars } from './chart.ts'

const template = readFileSync(join(import.meta.dirname, '../../../views/console/chart.eta'), 'utf8')
const eta = new Eta()
const hour = 3_600_000
const day = Date.UTC(2026, 10, 22)
const series = [
  { name: 'allowed', label: 'Let in' },
  { name: 'refused', label: 'Refused' },
]
const wish = { id: 'test', title: 'Decisions', description: 'What happened.', series, lengthMs: hour }

const render = (chart: ReturnType<typeof drawStackedBars>) => eta.renderString(template, { chart })

/** Every tag closes, in order; attributes are quoted. */
function checkNesting(markup: string): void {
  const open: string[] = []
  for (const [tag, slash, name = '', rest = ''] of markup.matchAll(/<(\/?)([a-z]+)((?:[^<>"]|"[^"<]*")*)>/g)) {
    if (slash === '/') expect(open.pop(), tag).toBe(name)
    else if (!rest.endsWith('/')) open.push(name)
  }
  expect(open).toEqual([])
  expect(markup.replace(/<\/?[a-z]+(?:[^<>"]|"[^"<]*")*>/g, '')).not.toMatch(/[<>]/)
}

const anyNumber = fc.oneof(fc.nat(1_000_000), fc.constantFrom(0, Number.NaN, Number.POSITIVE_INFINITY, -5, 0.5))

describe('a chart', () => {
  it('is well-formed, stays within its frame and holds no NaN, whatever the numbers and words are', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(anyNumber, anyNumber), { maxLength: 90 }),
        fc.string({ unit: 'binary', maxLength: 20 }),
        fc.constantFrom(60_000, hour, 24 * hour),
        (numbers, words, lengthMs) => {
          const bars = numbers.map((values, index) => ({ from: day + index * lengthMs, values }))
          const chart = drawStackedBars({ ...wish, title: `${words}"><script>`, description: words, bars, lengthMs })
          const markup = render(chart)
          checkNesting(markup)
          expect(markup).not.toMatch(/NaN|Infinity|undefined|<script|style=/)
          const { across, bars: drawn, height, width } = chart.shapes
          for (const part of drawn.flatMap(({ parts }) => parts)) {
            expect(part.x).toBeGreaterThanOrEqual(across.from)
            expect(part.x + part.width).toBeLessThanOrEqual(across.to + 0.1)
            expect(part.y).toBeGreaterThanOrEqual(0)
            expect(part.y + part.height).toBeLessThanOrEqual(height)
            expect(part.x + part.width).toBeLessThanOrEqual(width)
          }
        },
      ),
      { numRuns: 300 },
    )
  })

  it('has words for a screen reader, labels on both axes, and the same numbers as a table', () => {
    const bars = Array.from({ length: 24 }, (_, index) => ({ from: day + index * hour, values: [index * 100, index === 3 ? 7 : 0] }))
    const chart = drawStackedBars({ ...wish, bars })
    const markup = render(chart)
    expect(markup).toContain('<title id="test-title">Decisions</title>')
    expect(markup).toContain('<desc id="test-text">What happened.</desc>')
    expect(markup).toContain('role="img" aria-labelledby="test-title test-text"')
    expect(chart.shapes.lines.map(({ label }) => label)).toEqual(['0', '1,000', '2,000', '3,000'])
    expect(chart.shapes.times.map(({ text }) => text)).toEqual(['00:00', '05:00', '10:00', '15:00', '20:00'])
    expect(markup).toContain('22 Nov, 03:00: 300 let in, 7 refused')
    expect(chart.table.rows).toHaveLength(23)
    expect(chart.table.rows[2]).toEqual({ iso: '2026-11-22T03:00:00.000Z', from: '22 Nov, 03:00', values: ['300', '7'] })
    expect(chart.legend).toEqual([
      { className: 'chart-allowed', label: 'Let in', total: '27,600' },
      { className: 'chart-refused', label: 'Refused', total: '7' },
    ])
  })

  it('stacks its parts without gaps, as high as their numbers', () => {
    const { shapes } = drawStackedBars({ ...wish, bars: [{ from: day, values: [30, 10] }] })
    const [lower, upper] = shapes.bars[0]?.parts ?? []
    expect((upper?.y ?? 0) + (upper?.height ?? 0)).toBeCloseTo(lower?.y ?? -1, 1)
    expect((lower?.height ?? 0) / (upper?.height ?? 1)).toBeCloseTo(3, 1)
  })

  it('of nothing says so and draws axes alone', () => {
    const chart = drawStackedBars({ ...wish, bars: [{ from: day, values: [0, 0] }] })
    expect(chart.isEmpty).toBe(true)
    expect(chart.shapes.bars).toEqual([])
    expect(chart.table.rows).toEqual([])
    expect(chart.shapes.lines.length).toBeGreaterThan(1)
    expect(drawStackedBars({ ...wish, bars: [] }).isEmpty).toBe(true)
  })
})
