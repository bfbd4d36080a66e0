/**
 * The answer of a replay: one object for programs, whose keys are public, and a page for people that is bounded and says what it leaves out.
 *
 * Names of people, apps and rules are others' words: nothing in them acts on a terminal.
 */

import type { RecordedSubject } from '../administration/recorded-decision.ts'
import { type Gap, gapWords } from '../administration/recorded-gaps.ts'
import type { ChangeEntry, Direction, ReplayTally } from '../administration/replay-tally.ts'
import { printCount, printLine } from './print-line.ts'

/** Changes of one subject in one app by one rule. Instants are RFC 3339. */
export interface ReplayChange {
  readonly subject: string
  readonly sub: string | undefined
  readonly kind: string
  readonly app: string
  /** Of the new decision; left out where it names none. */
  readonly rule: string | undefined
  readonly count: number
  readonly first: string
  readonly last: string
  readonly examples: readonly string[]
  readonly was: string
  readonly becomes: string
  readonly reason: string
  readonly rulesBefore: readonly string[]
}

export interface ReplaySummary {
  readonly policy: { readonly from: readonly string[]; readonly to: string }
  /** Of the requests that were looked at; left out where there were none. */
  readonly first: string | undefined
  readonly last: string | undefined
  readonly decided: number
  readonly unchanged: number
  readonly insufficient: number
  readonly insufficientBy: Readonly<Partial<Record<Gap, number>>>
  /** Settled outside of the rules, by reason. */
  readonly notPolicy: Readonly<Record<string, number>>
  readonly strangers: number
  readonly loses: readonly ReplayChange[]
  readonly gains: readonly ReplayChange[]
  readonly shifts: readonly ReplayChange[]
  /** Requests whose change found no room in the lists. */
  readonly unlisted: { readonly loses: number; readonly gains: number; readonly shifts: number }
}

/** The answer as a value. */
export function summariseReplay(tally: ReplayTally, to: string): ReplaySummary {
  const { changes, decided, firstAt, insufficient, lastAt, notPolicy, policies, strangers, unchanged, unlisted } = tally
  return {
    policy: { from: [...policies.keys()].sort(), to },
    first: textOf(firstAt),
    last: textOf(lastAt),
    decided,
    unchanged,
    insufficient: [...insufficient.values()].reduce((sum, count) => sum + count, 0),
    insufficientBy: Object.fromEntries(insufficient),
    notPolicy: Object.fromEntries(notPolicy),
    strangers,
    loses: listChanges(changes.values(), 'lost'),
    gains: listChanges(changes.values(), 'gained'),
    shifts: listChanges(changes.values(), 'shifted'),
    unlisted: { loses: unlisted.lost, gains: unlisted.gained, shifts: unlisted.shifted },
  }
}

/** Whether anything came out otherwise. */
export function hasChanges({ decided, unchanged }: ReplaySummary): boolean {
  return decided !== unchanged
}

/** How a subject is called: the e-mail address, or the `sub`; a service by its name. */
export function nameOf({ email, kind, sub }: RecordedSubject): string {
  if (kind === 'service') return `service:${sub ?? ''}`
  return kind === 'person' ? (email ?? sub ?? '') : 'nobody'
}

function listChanges(entries: Iterable<ChangeEntry>, wanted: Direction): readonly ReplayChange[] {
  return [...entries]
    .filter(({ direction }) => direction === wanted)
    .map((entry): ReplayChange => {
      const { app, becomes, count, examples, firstAt, lastAt, reason, rule, rulesBefore, subject, was } = entry
      return {
        subject: nameOf(subject),
        sub: subject.sub,
        kind: subject.kind,
        app,
        rule,
        count,
        first: textOf(firstAt) ?? '',
        last: textOf(lastAt) ?? '',
        examples: examples.map(({ request }) => request),
        was,
        becomes,
        reason,
        rulesBefore,
      }
    })
    .sort((a, b) => b.count - a.count || compare(a.subject, b.subject) || compare(a.app, b.app) || compare(a.rule ?? '', b.rule ?? ''))
}

function compare(a: string, b: string): number {
  return a === b ? 0 : a < b ? -1 : 1
}

function textOf(at: number): string | undefined {
  return Number.isFinite(at) ? new Date(at).toISOString() : undefined
}

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
