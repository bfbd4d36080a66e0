/**
 * The progress bar of a command that reads a long trail: on standard error, and only where that is a terminal, so that no file gets it.
 */

import type { ReplayStep } from './replay-run.ts'

/** Where it is drawn, as far as that is needed: `process.stderr`. */
export interface ProgressTerminal {
  readonly isTTY?: boolean
  readonly columns?: number
  write(text: string): unknown
}

export interface Progress {
  step(step: ReplayStep): void
  /** Takes the bar away. */
  end(): void
}

const drawEveryMs = 100
const barLength = 24

/** A bar over so many bytes. `monotonicNow` is in milliseconds. */
export function createProgress(terminal: ProgressTerminal, totalBytes: number, monotonicNow: () => number): Progress {
  if (terminal.isTTY !== true) return { step: () => undefined, end: () => undefined }
  const startedAt = monotonicNow()
  let drawnAt = startedAt
  let bytes = 0
  let lines = 0
  let decided = 0
  let isDrawn = false
  return {
    step(step) {
      bytes += step.bytes
      lines += step.lines
      decided += step.decided
      const at = monotonicNow()
      if (at - drawnAt < drawEveryMs) return
      drawnAt = at
      isDrawn = true
      const text = describeProgress({ bytes, decided, lines, totalBytes, seconds: (at - startedAt) / 1000 })
      terminal.write(`\r\u001b[2K${text.slice(0, (terminal.columns ?? 100) - 1)}`)
    },
    end() {
      if (isDrawn) terminal.write('\r\u001b[2K')
    },
  }
}

/** One line: how far, how much, how fast, how long still. */
export function describeProgress(at: ReplayStep & { readonly totalBytes: number; readonly seconds: number }): string {
  const part = at.totalBytes === 0 ? 1 : Math.min(1, at.bytes / at.totalBytes)
  const filled = Math.round(part * barLength)
  const rate = at.seconds > 0 ? Math.round(at.decided / at.seconds) : 0
  const left = part > 0 ? Math.ceil((at.seconds * (1 - part)) / part) : undefined
  const bar = `${'#'.repeat(filled)}${'-'.repeat(barLength - filled)}`
  const eta = left === undefined ? '' : `, ${left < 90 ? `${left} s` : `${Math.ceil(left / 60)} min`} left`
  return `[${bar}] ${Math.floor(part * 100)} %  ${count(at.lines)} lines, ${count(at.decided)} decided, ${count(rate)}/s${eta}`
}

function count(value: number): string {
  return value.toLocaleString('en')
}
