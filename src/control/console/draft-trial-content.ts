/**
 * What trying a draft said, as its page shows it: problems with links to their lines, tests, warnings of the document and of real life.
 *
 * Pure. While it is not known yet it says so; nothing is shown as good that was not judged.
 */

import type { TrialOutput } from '../operations/policy-trial-schemas.ts'
import { sentenceOf } from './editor-problems.ts'
import { testsBadge } from './policy-content.ts'
import { showHidden } from './policy-difference-content.ts'
import { counted } from './policy-page-parts.ts'
import type { Badge } from './trail-content.ts'

/** One problem or warning. */
export interface PlacedSentence {
  readonly text: string
  readonly place: string | undefined
  /** Into the editor. */
  readonly href: string | undefined
}

export interface TrialView {
  /** `pending`: it is being tried. `none`: there is nothing to try. */
  readonly state: 'pending' | 'done' | 'none'
  readonly changes: readonly string[]
  readonly isSame: boolean
  readonly problems: {
    readonly badge: Badge
    readonly lines: readonly PlacedSentence[]
    readonly objections: readonly string[]
    readonly more: number
  }
  readonly tests: {
    readonly badge: Badge
    readonly failed: readonly { readonly name: string; readonly detail: string | undefined }[]
    readonly passed: readonly string[]
    readonly more: number
  }
  readonly warnings: {
    readonly badge: Badge
    readonly lines: readonly PlacedSentence[]
    readonly life: readonly { readonly about: string; readonly message: string; readonly hint: string | undefined; readonly badge: Badge }[]
    readonly more: number
  }
  readonly gates: readonly { readonly word: string; readonly message: string }[]
  readonly gateNotes: readonly string[]
}

/** Of each list on the page; the rest is counted. */
const mostShown = 50

const waiting: Badge = { tone: 'quiet', word: 'being checked' }
const untried: Badge = { tone: 'quiet', word: 'not checked' }

/** The view of a trial. `draft`: its address. */
export function describeTrialView(trial: TrialOutput | 'pending' | undefined, draft: string): TrialView {
  if (trial === undefined || trial === 'pending') {
    const badge = trial === 'pending' ? waiting : untried
    return {
      state: trial === 'pending' ? 'pending' : 'none',
      changes: [],
      isSame: false,
      problems: { badge, lines: [], objections: [], more: 0 },
      tests: { badge, failed: [], passed: [], more: 0 },
      warnings: { badge, lines: [], life: [], more: 0 },
      gates: [],
      gateNotes: [],
    }
  }
  const { difference, gates, gates_notes, life_warnings, more, objections, policy_version, problems, tests, warnings } = trial
  const passed = (tests?.results ?? []).filter(({ is_passed }) => is_passed)
  const wrong = problems.length + objections.length + more.problems + more.objections
  const warned = warnings.length + life_warnings.length + more.warnings + more.life_warnings
  return {
    state: 'done',
    changes: difference.map(showHidden),
    isSame: policy_version !== null && difference.length === 0,
    problems: {
      badge: wrong === 0 ? { tone: 'good', word: 'none' } : { tone: 'bad', word: counted(wrong, 'problem') },
      lines: problems.slice(0, mostShown).map((problem) => placed(problem, draft)),
      objections: objections.slice(0, mostShown).map(showHidden),
      more: more.problems + more.objections + beyond(problems) + beyond(objections),
    },
    tests: {
      badge: policy_version === null && tests === null ? { tone: 'quiet', word: 'not run' } : testsBadge(tests),
      failed: (tests?.results ?? [])
        .filter(({ is_passed }) => !is_passed)
        .slice(0, mostShown)
        .map(({ detail, name }) => ({ name: showHidden(name), detail: detail === null ? undefined : showHidden(detail) })),
      passed: passed.slice(0, mostShown).map(({ name }) => showHidden(name)),
      more: more.tests + beyond(passed),
    },
    warnings: {
      badge: warned === 0 ? { tone: 'good', word: 'none' } : { tone: 'warn', word: counted(warned, 'warning') },
      lines: warnings.slice(0, mostShown).map((warning) => placed(warning, draft)),
      life: life_warnings.slice(0, mostShown).map(({ about, hint, is_certain, message }) => ({
        about: showHidden(about),
        message: showHidden(sentenceOf({ message, expected: undefined, suggestion: undefined })),
        hint: hint === null ? undefined : showHidden(hint),
        badge: is_certain ? { tone: 'warn', word: 'certain' } : { tone: 'quiet', word: 'perhaps' },
      })),
      more: more.warnings + more.life_warnings + beyond(warnings) + beyond(life_warnings),
    },
    gates,
    gateNotes: gates_notes,
  }
}

function beyond(list: readonly unknown[]): number {
  return Math.max(0, list.length - mostShown)
}

function placed({ expected, file, line, message, suggestion }: TrialOutput['problems'][number], draft: string): PlacedSentence {
  const text = showHidden(sentenceOf({ message, expected: expected ?? undefined, suggestion: suggestion ?? undefined }))
  if (file === null) return { text, place: undefined, href: undefined }
  return { text, place: line === null ? file : `${file}:${line}`, href: editorHref(draft, file, line ?? undefined) }
}

/** A line of a file in the editor. `line` is for the editor's script; without it the page lists the line among its problems. */
export function editorHref(draft: string, file: string, line?: number): string {
  return `${draft}/edit?file=${encodeURIComponent(file)}${line === undefined ? '' : `#line-${line}`}`
}
