/**
 * Charts as SVG, made by the server: stacked bars over time, with axes, words for a screen reader and a table of the same numbers.
 *
 * Pure. No style and no colour stands in here: each part has a class, and the stylesheet gives it its colour in either scheme and its pattern where
 * colours are not enough. Every text goes through `escapeXml`, every number through `place`, so that nothing chosen by somebody becomes markup
 * and nothing that is no number becomes a shape. What the bars say, the table says too.
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

/** What a template prints: `svg` raw, since it was made here; the rest escaped. */
export interface ChartView {
  readonly id: string
  readonly title: string
  readonly description: string
  readonly svg: string
  readonly legend: readonly { readonly className: string; readonly label: string; readonly total: string }[]
  /** Bars in which something happened, and no others. */
  readonly table: {
    readonly columns: readonly string[]
    readonly rows: readonly { readonly iso: string; readonly from: string; readonly values: readonly string[] }[]
  }
  readonly isEmpty: boolean
}

const width = 720
const height = 220
const left = 48
const right = 8
const top = 12
const bottom = 28
const plotWidth = width - left - right
const plotHeight = height - top - bottom
/** More labels than this run into each other on a phone. */
const mostLabels = 6
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
    svg: drawSvg({ ...wish, bars }, scale),
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
          from: `${dayForm.format(from)}, ${timeForm.format(from)}`,
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

function drawSvg({ bars, description, id, lengthMs, series, title }: ChartWish, scale: Scale): string {
  const slot = plotWidth / Math.max(1, bars.length)
  const gap = Math.min(2, slot * 0.2)
  const parts: string[] = []
  for (let value = 0; value <= scale.most; value += scale.step) {
    const y = place(top + plotHeight * (1 - value / scale.most))
    parts.push(
      `<line class="${value === 0 ? 'chart-axis' : 'chart-grid'}" x1="${left}" x2="${width - right}" y1="${y}" y2="${y}"/>`,
      `<text class="chart-label" x="${left - 6}" y="${y}" text-anchor="end" dominant-baseline="middle">${numberForm.format(value)}</text>`,
    )
  }
  bars.forEach(({ from, values }, index) => {
    let below = 0
    const shapes = values.map((value, part) => {
      if (value === 0) return ''
      const heightOf = (value / scale.most) * plotHeight
      const y = top + plotHeight - below - heightOf
      below += heightOf
      return `<rect class="chart-${nameOf(series[part])}" x="${place(left + index * slot + gap / 2)}" y="${place(y)}" width="${place(slot - gap)}" height="${place(heightOf)}"/>`
    })
    if (below === 0) return
    const words = values.map((value, part) => `${numberForm.format(value)} ${(series[part]?.label ?? '').toLowerCase()}`)
    parts.push(`<g><title>${escapeXml(`${dayForm.format(from)}, ${timeForm.format(from)}: ${words.join(', ')}`)}</title>${shapes.join('')}</g>`)
  })
  parts.push(...drawTimes(bars, slot, lengthMs))
  return (
    `<svg class="chart-svg" viewBox="0 0 ${width} ${height}" role="img" aria-labelledby="${id}-title ${id}-text" focusable="false">` +
    `<title id="${id}-title">${escapeXml(title)}</title><desc id="${id}-text">${escapeXml(description)}</desc>${parts.join('')}</svg>`
  )
}

/** Under the first bar, the last, and some between: hours, or days where the bars are of more than two. */
function drawTimes(bars: readonly ChartBar[], slot: number, lengthMs: number): readonly string[] {
  const every = Math.max(1, Math.ceil(bars.length / mostLabels))
  const isLong = bars.length * lengthMs > 2 * dayMs
  return bars.flatMap(({ from }, index) => {
    if (index % every !== 0) return []
    const anchor = index === 0 ? 'start' : 'middle'
    const x = place(left + index * slot + (index === 0 ? 0 : slot / 2))
    return [
      `<text class="chart-label" x="${x}" y="${height - 8}" text-anchor="${anchor}">${escapeXml((isLong ? dayForm : timeForm).format(from))}</text>`,
    ]
  })
}

/** A class of ours; a name that is none has no colour. */
function nameOf(series: ChartSeries | undefined): string {
  return series !== undefined && /^[a-z]+$/.test(series.name) ? series.name : 'other'
}

function countOf(value: number | undefined): number {
  return value !== undefined && Number.isFinite(value) && value > 0 ? value : 0
}

/** A coordinate. */
function place(value: number): string {
  return Number.isFinite(value) ? String(Math.round(value * 100) / 100) : '0'
}

function isoOf(at: number): string {
  return new Date(at).toISOString()
}

function sumOf(numbers: readonly number[]): number {
  return numbers.reduce((sum, one) => sum + one, 0)
}

/** For text and attributes; what XML 1.0 has no place for is left out. */
function escapeXml(text: string): string {
  return text
    .toWellFormed()
    .replace(/[^\t\n\r\u{20}-\u{D7FF}\u{E000}-\u{FFFD}\u{10000}-\u{10FFFF}]/gu, '')
    .replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
}
