/**
 * The answer of a replay for people: a page that is bounded and says what it leaves out. Programs are given `administration/impact-summary.ts`.
 *
 * Names of people, apps and rules are others' words: nothing in them acts on a terminal.
 */

import { hasChanges, type ReplayChange, type ReplaySummary } from '../administration/impact-summary.ts'
import { type Gap, gapWords } from '../administration/recorded-gaps.ts'
import { printCount, printLine } from './print-line.ts'

/** Enough to see what it is about; `--json` has all. */
const maxShown = 20

/** The answer for people. */
export function printReplay(summary: ReplaySummary, what: 'a new policy' | 'the policy in force'): string {
  const { decided, first, gains, insufficient, insufficientBy, last, loses, notPolicy, policy, shifts, strangers, unchanged, unlisted } =
    summary
  const span = first === undefined || last === undefined ? '' : ` of ${minuteOf(first)} to ${minuteOf(last)}`
  const outside = Object.values(notPolicy).reduce((sum, count) => sum + count, 0)
  const lines = [
    `${count(decided)} recorded requests${span}, decided again under ${what}, ${policy.to}`,
    `  recorded under  ${listed(policy.from)}`,
    `  unchanged       ${count(unchanged)}`,
    `  insufficient    ${count(insufficient)}  (the record does not hold what the rules ask for)`,
    ...Object.entries(insufficientBy).map(([gap, some]) => `    ${count(some)}: ${gapWords[gap as Gap]}`),
    `  outside rules   ${count(outside)}  (settled before there was anything to decide)`,
    `  strangers       ${count(strangers)}  (counted, not listed: what a public rule would change for them is not known)`,
    ...printSection('WOULD LOSE', loses, unlisted.loses),
    ...printSection('WOULD GAIN', gains, unlisted.gains),
    ...printSection('WOULD BE REFUSED IN ANOTHER WAY', shifts, unlisted.shifts),
  ]
  if (!hasChanges(summary)) lines.push('', decided === 0 ? 'No request could be decided again.' : 'Nothing changes.')
  return lines.map(printLine).join('\n')
}

function printSection(title: string, changes: readonly ReplayChange[], unlisted: number): readonly string[] {
  if (changes.length === 0) return []
  const requests = changes.reduce((sum, change) => sum + change.count, unlisted)
  const shown = changes.slice(0, maxShown)
  const more = changes.slice(maxShown)
  const widths = [widthOf(shown.map(({ subject }) => subject)), widthOf(shown.map(({ app }) => app))] as const
  return [
    '',
    `${title}: ${printCount(requests, 'request')} of ${printCount(new Set(changes.map(({ kind, sub }) => `${kind} ${sub}`)).size, 'subject')}`,
    ...shown.flatMap((change) => printChange(change, widths)),
    ...(more.length === 0
      ? []
      : [`  and ${count(more.length)} more, with ${count(more.reduce((sum, one) => sum + one.count, 0))} requests; --json lists them`]),
    ...(unlisted === 0 ? [] : [`  and ${count(unlisted)} requests that found no room in this list`]),
  ]
}

function printChange(change: ReplayChange, [subjectWidth, appWidth]: readonly [number, number]): readonly string[] {
  const { app, becomes, examples, first, last, reason, rule, rulesBefore, subject, was } = change
  const by = rule === undefined || rule === '' ? reason : `${reason}, rule ${JSON.stringify(rule)}`
  const before = rulesBefore.length === 0 ? '' : `  until now by ${rulesBefore.map((name) => JSON.stringify(name)).join(', ')};`
  return [
    `  ${count(change.count).padStart(7)} ×  ${subject.padEnd(subjectWidth)}  ${app.padEnd(appWidth)}  ${was} → ${becomes}  (${by})`,
    `             ${before} ${minuteOf(first)} to ${minuteOf(last)}, such as ${examples[0] ?? ''}`,
  ]
}

function widthOf(texts: readonly string[]): number {
  return Math.min(40, Math.max(0, ...texts.map((text) => text.length)))
}

function listed(versions: readonly string[]): string {
  const shown = versions.slice(0, 3).join(', ')
  return versions.length <= 3 ? shown || 'nothing' : `${shown} and ${versions.length - 3} more`
}

/** `2026-11-22 14:05Z`. */
function minuteOf(instant: string): string {
  return `${instant.slice(0, 16).replace('T', ' ')}Z`
}

function count(value: number): string {
  return value.toLocaleString('en')
}
