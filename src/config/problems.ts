/**
 * What is wrong with a configuration, as data: collected without stopping at the first, each with its place in a file.
 *
 * Every reader and check in this folder speaks to a `Report`. A report never carries a value from a file, only keys, positions and
 * what was expected there: a mistyped line may hold a secret, and reports end in terminals, logs and tickets. Names that are
 * echoed go through `quote`, so that a file cannot send control sequences to a terminal.
 */

/** Steps from the document's root: keys of maps, positions in lists. */
export type Path = readonly (string | number)[]

export interface Problem {
  /** The file as it was named, or `$POSTERN_…` for an environment variable. */
  readonly file: string
  /** From 1; 0 where there is no line (a missing file, an environment variable). */
  readonly line: number
  readonly column: number
  /** Such as `apps[0].rules[1].allow`; empty for the document itself. */
  readonly path: string
  /** What is wrong, one sentence without a full stop. */
  readonly message: string
  /** What would have been right. */
  readonly expected?: string
  /** What to write instead. */
  readonly suggestion?: string
}

/** The result of loading: `value` is there exactly when there are no problems. Warnings never withhold it. */
export interface Loaded<T> {
  readonly value: T | undefined
  readonly problems: readonly Problem[]
  readonly warnings: readonly Problem[]
}

export interface Place {
  readonly file: string
  readonly line: number
  readonly column: number
}

/**
 * Finds the place of a path; for one that does not exist, the nearest enclosing place that does. `within` counts characters into a text
 * and is followed where the text stands in the file as it is read.
 */
export type Locate = (path: Path, part: 'key' | 'value', within?: number) => Place

export interface Detail {
  readonly expected?: string | undefined
  readonly suggestion?: string | undefined
  /** Point at the key instead of its value. */
  readonly at?: 'key' | 'value' | undefined
  /** Point at this character of the text, from 0. */
  readonly within?: number | undefined
}

/** Collects for one file. `problems` and `warnings` grow; nothing is ever taken back. */
export interface Report {
  readonly file: string
  readonly problems: Problem[]
  readonly warnings: Problem[]
  problem(path: Path, message: string, detail?: Detail): void
  warning(path: Path, message: string, detail?: Detail): void
  place(path: Path, part?: 'key' | 'value'): Place
}

/** A report that writes into `lists`, so that several files end in one. */
export function createReport(file: string, locate: Locate, lists: { problems: Problem[]; warnings: Problem[] }): Report {
  const make = (path: Path, message: string, detail: Detail): Problem => ({
    ...locate(path, detail.at ?? 'value', detail.within),
    path: printPath(path),
    message,
    ...(detail.expected === undefined ? {} : { expected: detail.expected }),
    ...(detail.suggestion === undefined ? {} : { suggestion: detail.suggestion }),
  })
  return {
    file,
    problems: lists.problems,
    warnings: lists.warnings,
    problem: (path, message, detail = {}) => void lists.problems.push(make(path, message, detail)),
    warning: (path, message, detail = {}) => void lists.warnings.push(make(path, message, detail)),
    place: (path, part = 'value') => locate(path, part),
  }
}

/** The one-line form: `file:line:column: message; expected …; did you mean …?` */
export function describeProblem(problem: Problem): string {
  const where = problem.line > 0 ? `${problem.file}:${problem.line}:${problem.column}` : problem.file
  const path = problem.path === '' ? '' : ` [${problem.path}]`
  const expected = problem.expected === undefined ? '' : `; expected ${problem.expected}`
  const suggestion = problem.suggestion === undefined ? '' : `; ${problem.suggestion}`
  return `${where}: ${problem.message}${path}${expected}${suggestion}`
}

/** The report for people: in the order of the files, each problem with what to write instead. Empty if there is none; no line break at its end. */
export function printProblems(problems: readonly Problem[], label: 'error' | 'warning'): string {
  const lines: string[] = []
  const files = [...new Set(problems.map(({ file }) => file))]
  for (const problem of [...problems].sort((a, b) => files.indexOf(a.file) - files.indexOf(b.file) || byPlace(a, b))) {
    const where = problem.line > 0 ? `${problem.file}:${problem.line}:${problem.column}` : problem.file
    lines.push(`${where}: ${label}: ${problem.message}`)
    if (problem.path !== '') lines.push(`    at ${problem.path}`)
    if (problem.expected !== undefined) lines.push(`    expected ${problem.expected}`)
    if (problem.suggestion !== undefined) lines.push(`    ${problem.suggestion}`)
  }
  return lines.join('\n')
}

function byPlace(a: Problem, b: Problem): number {
  return a.line - b.line || a.column - b.column
}

/** `apps[0].rules[1].allow`; keys that are not plain words are quoted. */
export function printPath(path: Path): string {
  let text = ''
  for (const step of path) {
    if (typeof step === 'number') text += `[${step}]`
    else if (/^[A-Za-z_][\w-]{0,80}$/.test(step)) text += text === '' ? step : `.${step}`
    else text += `[${quote(step)}]`
  }
  return text
}

/** A name as it may be printed: bounded, and without anything that a terminal would obey. */
export function quote(name: string): string {
  const clean = name.replace(/[^\x20-\x7e\u00a1-\u024f]/g, '?')
  return `\`${clean.length > 80 ? `${clean.slice(0, 77)}...` : clean}\``
}

/** The sentence that offers the nearest of `candidates`; `undefined` if none is near enough to be what was meant. */
export function suggestNearest(name: string, candidates: Iterable<string>): string | undefined {
  const nearest = findNearest(name, candidates)
  return nearest === undefined ? undefined : `did you mean ${quote(nearest)}?`
}

/** The candidate with the fewest typing mistakes between, ignoring case, `-` and `_`. */
export function findNearest(name: string, candidates: Iterable<string>): string | undefined {
  const wanted = fold(name)
  if (wanted === '' || name.length > 60) return undefined
  let best: { candidate: string; distance: number } | undefined
  for (const candidate of candidates) {
    const folded = fold(candidate)
    const limit = Math.max(1, Math.floor(Math.max(wanted.length, folded.length) / 3))
    let distance = countEdits(wanted, folded)
    if (distance > limit && wanted.length >= 4 && (folded.startsWith(wanted) || wanted.startsWith(folded))) distance = limit
    if (distance <= limit && (best === undefined || distance < best.distance)) best = { candidate, distance }
  }
  return best?.candidate
}

function fold(name: string): string {
  return name.toLowerCase().replace(/[-_ ]/g, '')
}

/** Optimal string alignment: insertions, deletions, changes, and neighbours swapped. */
function countEdits(a: string, b: string): number {
  let beforePrevious: number[] = []
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i += 1) {
    const current = [i]
    for (let j = 1; j <= b.length; j += 1) {
      const isSame = a[i - 1] === b[j - 1]
      let edits = Math.min((previous[j] ?? 0) + 1, (current[j - 1] ?? 0) + 1, (previous[j - 1] ?? 0) + (isSame ? 0 : 1))
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) edits = Math.min(edits, (beforePrevious[j - 2] ?? 0) + 1)
      current.push(edits)
    }
    beforePrevious = previous
    previous = current
  }
  return previous[b.length] ?? 0
}
