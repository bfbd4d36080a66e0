/**
 * What a replay found, as one object for programs: the JSON of `postern replay --json`, and the impact of a draft in the console and the API. Its keys
 * are public.
 */

import type { RecordedSubject } from './recorded-decision.ts'
import type { Gap } from './recorded-gaps.ts'
import type { ChangeEntry, Direction, ReplayTally } from './replay-tally.ts'

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

/** At most `limit` entries of each list, and how many are behind them. */
export function cutSummary(
  summary: ReplaySummary,
  limit: number,
): { readonly summary: ReplaySummary; readonly more: Readonly<Record<'loses' | 'gains' | 'shifts', number>> } {
  const { gains, loses, shifts } = summary
  const beyond = (list: readonly ReplayChange[]) => Math.max(0, list.length - limit)
  return {
    summary: { ...summary, loses: loses.slice(0, limit), gains: gains.slice(0, limit), shifts: shifts.slice(0, limit) },
    more: { loses: beyond(loses), gains: beyond(gains), shifts: beyond(shifts) },
  }
}
