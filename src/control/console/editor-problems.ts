/**
 * What is wrong with a draft, at the line of the text and at the field of the form that somebody looks at.
 *
 * Judging says where in a file something stands; a page shows one file, one app or one rule of it. What concerns another part is counted and not
 * shown, so that nobody searches here for what stands elsewhere.
 */

import type { TrialProblem } from '../../administration/policy-trial.ts'

/** One problem as pages show it. */
export interface ShownProblem {
  /** From 1, of what is shown; `undefined` where it has none. */
  readonly line: number | undefined
  readonly message: string
  readonly isWarning: boolean
}

const mostShown = 100

/** `this is not …; expected …; write …` as a sentence. */
export function sentenceOf({ expected, message, suggestion }: Pick<TrialProblem, 'expected' | 'message' | 'suggestion'>): string {
  const parts = [message, ...(expected === undefined ? [] : [`expected ${expected}`]), ...(suggestion === undefined ? [] : [suggestion])]
  const text = parts.join('; ')
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`.replace(/([.!?])\.$/, '$1')
}

/** Those of a file, by line. */
export function problemsOfFile(problems: readonly TrialProblem[], file: string, isWarning: boolean): readonly ShownProblem[] {
  return problems
    .filter((problem) => problem.file === file)
    .map((problem) => ({ line: problem.line === 0 ? undefined : problem.line, message: sentenceOf(problem), isWarning }))
    .sort((a, b) => (a.line ?? 0) - (b.line ?? 0))
    .slice(0, mostShown)
}

/** Those within a piece of a file, counted from its first line. `path` is where it stands: `apps[2].rules[0]`. */
export function problemsOfPiece(
  problems: readonly TrialProblem[],
  { file, lines, path, start }: { readonly file: string; readonly path: string; readonly start: number; readonly lines: number },
): readonly (TrialProblem & { readonly below: string })[] {
  const wanted = dotted(path)
  return problems.flatMap((problem) => {
    if (problem.file !== file) return []
    const key = dotted(problem.key ?? '')
    const line = problem.line === undefined ? undefined : problem.line - start + 1
    const isInLines = line !== undefined && line >= 1 && line <= lines
    if (key === wanted || key.startsWith(`${wanted}.`)) {
      return [{ ...problem, line: isInLines ? line : undefined, below: key.slice(wanted.length + 1) }]
    }
    return key === '' && isInLines ? [{ ...problem, line, below: '' }] : []
  })
}

/** `apps[2].rules[0]` and `apps.2.rules.0` are the same path. */
export function dotted(path: string): string {
  return path
    .replace(/\[`([^`]*)`\]/g, '.$1')
    .replace(/\[(\d+)\]/g, '.$1')
    .replace(/^\./, '')
}

/** The field of the rule form that a path below the rule belongs to. */
export function fieldOf(below: string): string {
  const [key = '', second, third] = below.split('.')
  if (key === 'allow' || key === 'deny' || key === 'for') {
    const index = second === 'all_of' ? third : second
    return `who.${index !== undefined && /^\d+$/.test(index) ? index : 0}`
  }
  if (key === 'require' || key === 'when' || key === 'unless') return `${key}.${second !== undefined && /^\d+$/.test(second) ? second : 0}`
  return ['name', 'methods', 'paths', 'apps', 'sensitivity', 'from', 'until', 'mode', 'alert'].includes(key)
    ? key
    : key === ''
      ? ''
      : 'rest'
}
