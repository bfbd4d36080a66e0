/**
 * Charts as SVG, made by the server: stacked bars over time, with axes, words for a screen reader and a table of the same numbers.
 *
 * Pure: out come places and words, and the template `@console/chart` prints them as SVG. No style and no colour stands in here: each part has a
 * class, and the stylesheet gives it its colour in either scheme. Every number goes through `place`, so that nothing that is no number becomes a
 * shape. What the bars say, the table says too.
 */

/** One part of every bar, from the bottom up. */
export interface ChartSeries {
  /** For the class `chart-<name>`: lower-case letters. */
  readonly name: string
  readonly label: string
}

export interface ChartBar {
  /** Epoch milliseconds. */
  readonly from: number
  /** One number a series. */
  readonly values: readonly number[]
}

export interface ChartWish {
  /** Unique on its page; letters, digits and hyphens. */
  readonly id: string
  readonly title: string
  /** What the chart says, in a sentence or two. */
  readonly description: string
  readonly series: readonly ChartSeries[]
  readonly bars: readonly ChartBar[]
  /** Of one bar. */
  readonly lengthMs: number
}

/** What the template prints. */
export interface ChartView {
  readonly id: string
  readonly title: string
  readonly description: string
  readonly shapes: ChartShapes
  readonly legend: readonly { readonly className: string; readonly label: string; readonly total: string }[]
  /** Bars in which something happened, and no others. */
  readonly table: {
    readonly columns: readonly string[]
    readonly rows: readonly { readonly iso: string; readonly from: string; readonly values: readonly string[] }[]
  }
  readonly isEmpty: boolean
}

/** Places within `width` and `height`. */
export interface ChartShapes {
  readonly width: number
  readonly height: number
  /** From where to where lines across go. */
  readonly across: { readonly from: number; readonly to: number }
  readonly lines: readonly { readonly className: string; readonly y: number; readonly label: string; readonly labelX: number }[]
  readonly bars: readonly { readonly words: string; readonly parts: readonly ChartPart[] }[]
  readonly times: readonly { readonly x: number; readonly y: number; readonly anchor: 'start' | 'middle'; readonly text: string }[]
}

/** A piece of a bar. */
export interface ChartPart {
  readonly className: string
  readonly x: number
  readonly y: number
  readonly width: number
  readonly height: number
}

/** About as wide as a panel is: so its labels are about as large as other small text. */
const width = 520
const height = 210
const left = 44
const right = 8
const top = 12
const bottom = 28
const plotWidth = width - left - right
const plotHeight = height - top - bottom
/** More labels than this run into each other on a phone. */
const mostLabels = 5
const dayMs = 86_400_000

const numberForm = new Intl.NumberFormat('en-GB')
const timeForm = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', hourCycle: 'h23', timeZone: 'UTC' })
const dayForm = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', timeZone: 'UTC' })

/** Draws one. */
export function drawStackedBars(wish: ChartWish): ChartView {
  const bars = wish.bars.map(({ from, values }) => ({ from, values: wish.series.map((_, index) => countOf(values[index])) }))
  const sums = bars.map(({ values }) => sumOf(values))
  const scale = niceScale(Math.max(0, ...sums))
  return {
    id: wish.id,
    title: wish.title,
    description: wish.description,
    shapes: drawShapes({ ...wish, bars }, scale),
    legend: wish.series.map(({ label, name }, index) => ({
      className: `chart-${name}`,
      label,
      total: numberForm.format(sumOf(bars.map(({ values }) => values[index] ?? 0))),
    })),
    table: {
      columns: wish.series.map(({ label }) => label),
      rows: bars
        .filter((_, index) => (sums[index] ?? 0) > 0)
        .map(({ from, values }) => ({
          iso: isoOf(from),
          from: timeOf(from),
          values: values.map((value) => numberForm.format(value)),
        })),
    },
    isEmpty: sumOf(sums) === 0,
  }
}

interface Scale {
  readonly most: number
  readonly step: number
}

/** Steps of one, two or five of a power of ten: at most five of them, and whole numbers. */
function niceScale(most: number): Scale {
  if (most <= 0) return { most: 1, step: 1 }
  const rough = most / 4
  const power = 10 ** Math.max(0, Math.floor(Math.log10(rough)))
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= rough) ?? 10 * power
  return { most: Math.ceil(most / step) * step, step }
}

function drawShapes({ bars, lengthMs, series }: ChartWish, scale: Scale): ChartShapes {
  const slot = plotWidth / Math.max(1, bars.length)
  const gap = Math.min(2, slot * 0.2)
  const steps = Math.round(scale.most / scale.step)
  return {
    width,
    height,
    across: { from: left, to: width - right },
    lines: Array.from({ length: steps + 1 }, (_, index) => ({
      className: index === 0 ? 'chart-axis' : 'chart-grid',
      y: place(top + plotHeight * (1 - index / steps)),
      label: numberForm.format(index * scale.step),
      labelX: left - 6,
    })),
    bars: bars.flatMap(({ from, values }, index) => {
      let below = 0
      const parts = values.flatMap((value, part): readonly ChartPart[] => {
        if (value === 0) return []
        const tall = (value / scale.most) * plotHeight
        below += tall
        const x = place(left + index * slot + gap / 2)
        return [
          {
            className: `chart-${nameOf(series[part])}`,
            x,
            y: place(top + plotHeight - below),
            width: place(slot - gap),
            height: place(tall),
          },
        ]
      })
      const words = values.map((value, part) => `${numberForm.format(value)} ${(series[part]?.label ?? '').toLowerCase()}`)
      return parts.length === 0 ? [] : [{ words: `${timeOf(from)}: ${words.join(', ')}`, parts }]
    }),
    times: placeTimes(bars, slot, lengthMs),
  }
}

/** Under the first bar and some after it: hours, or days where the bars are of more than two. */
function placeTimes(bars: readonly ChartBar[], slot: number, lengthMs: number): ChartShapes['times'] {
  const every = Math.max(1, Math.ceil(bars.length / mostLabels))
  const form = bars.length * lengthMs > 2 * dayMs ? dayForm : timeForm
  return bars.flatMap(({ from }, index) => {
    if (index % every !== 0) return []
    const isFirst = index === 0
    return [
      {
        x: place(left + index * slot + (isFirst ? 0 : slot / 2)),
        y: height - 8,
        anchor: isFirst ? 'start' : 'middle',
        text: form.format(from),
      },
    ] as const
  })
}

function timeOf(at: number): string {
  return `${dayForm.format(at)}, ${timeForm.format(at)}`
}

/** A class of ours; a name that is none has no colour. */
function nameOf(series: ChartSeries | undefined): string {
  return series !== undefined && /^[a-z]+$/.test(series.name) ? series.name : 'other'
}

function countOf(value: number | undefined): number {
  return value !== undefined && Number.isFinite(value) && value > 0 ? value : 0
}

/** A coordinate. */
function place(value: number): number {
  return Number.isFinite(value) ? Math.round(value * 100) / 100 : 0
}

function isoOf(at: number): string {
  return new Date(at).toISOString()
}

function sumOf(numbers: readonly number[]): number {
  return numbers.reduce((sum, one) => sum + one, 0)
}
