/**
 * The payroll runs of the demo: a little state machine in memory, and nothing about who may use it.
 */

/** A month's salaries on their way to the bank. */
export interface Run {
  readonly id: number
  /** `2026-11` */
  readonly month: string
  readonly people: number
  /** Whole currency units. */
  readonly total: number
  readonly state: 'draft' | 'approved' | 'paid'
  readonly by: string
}

export interface Runs {
  list(): readonly Run[]
  /** Adds a draft for a month; the refusals are values. */
  add(month: string, by: string): Run | 'bad_month' | 'month_exists' | 'full'
  /** Approves a draft. */
  approve(id: number, by: string): Run | 'unknown' | 'not_a_draft'
}

/** The runs of the last months, counted back from `now`. */
export function createRuns(now: number): Runs {
  const runs: Run[] = [4, 3, 2, 1].map((monthsAgo, index) => ({
    id: index + 1,
    month: monthOf(now, monthsAgo),
    people: 128 + index * 3,
    total: 611_400 + index * 14_250,
    state: monthsAgo === 1 ? 'approved' : 'paid',
    by: 'bob@corp.example',
  }))

  return {
    list: () => [...runs].sort((a, b) => b.month.localeCompare(a.month)),
    add(month, by) {
      if (!/^20\d\d-(0[1-9]|1[0-2])$/.test(month)) return 'bad_month'
      if (runs.some((run) => run.month === month)) return 'month_exists'
      if (runs.length >= 600) return 'full'
      const run: Run = { id: runs.length + 1, month, people: 140, total: 668_400, state: 'draft', by }
      runs.push(run)
      return run
    },
    approve(id, by) {
      const index = runs.findIndex((run) => run.id === id)
      const run = runs[index]
      if (run === undefined) return 'unknown'
      if (run.state !== 'draft') return 'not_a_draft'
      const approved: Run = { ...run, state: 'approved', by }
      runs[index] = approved
      return approved
    },
  }
}

/** `2026-11` for the month that lies `monthsAgo` before the instant `now`. */
export function monthOf(now: number, monthsAgo = 0): string {
  const date = new Date(now)
  return new Date(Date.UTC(date.getUTCFullYear(), date.getUTCMonth() - monthsAgo, 1)).toISOString().slice(0, 7)
}
