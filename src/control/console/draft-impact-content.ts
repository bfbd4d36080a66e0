/**
 * What a draft would have changed for requests on record, as its page shows it: who would lose, who would gain, and what could not be told.
 *
 * Pure. What could not be decided again is counted and explained, and an instance that did not answer is named: a short list must not pass for a
 * small impact.
 */

import { gapWords } from '../../administration/recorded-gaps.ts'
import type { ImpactOutput } from '../operations/policy-trial-schemas.ts'
import { reasonWords } from '../operations/trail-schemas.ts'
import { type InstantView, instantView } from './instants.ts'
import { counted } from './policy-page-parts.ts'
import { type Badge, decisionHref, effectBadge, type NamedLink } from './trail-content.ts'
import { describePart, type PartView } from './verify-content.ts'

export interface ChangeRow {
  readonly who: NamedLink
  readonly app: NamedLink
  readonly was: Badge
  readonly becomes: Badge
  /** The rule that decides then, or why none does. */
  readonly because: string
  readonly isRule: boolean
  readonly before: string
  readonly count: string
  readonly first: InstantView | undefined
  readonly last: InstantView | undefined
  readonly examples: readonly string[]
}

export interface ChangeList {
  readonly id: 'loses' | 'gains' | 'shifts'
  readonly title: string
  readonly none: string
  readonly rows: readonly ChangeRow[]
  readonly more: number
  /** Requests that found no room even in the whole list. */
  readonly unlisted: number
  readonly people: string
}

export interface ImpactView {
  readonly choices: readonly { readonly value: string; readonly label: string; readonly isChosen: boolean }[]
  readonly state: 'none' | 'running' | 'done' | 'forgotten'
  readonly problem: string | undefined
  readonly parts: readonly PartView[]
  readonly isStale: boolean
  readonly since: InstantView | undefined
  readonly silent: readonly { readonly instance: string; readonly why: string }[]
  readonly headline: { readonly tone: 'good' | 'bad' | 'info'; readonly text: string } | undefined
  readonly counts: string | undefined
  readonly lists: readonly ChangeList[]
  readonly insufficient:
    | { readonly count: string; readonly reasons: readonly { readonly words: string; readonly count: string }[] }
    | undefined
  readonly asides: readonly string[]
}

export const impactChoices = [
  { value: '1h', label: 'the last hour' },
  { value: '24h', label: 'the last 24 hours' },
  { value: '7d', label: 'the last 7 days' },
  { value: '30d', label: 'the last 30 days' },
  { value: '400d', label: 'everything on record' },
] as const

const usualChoice = '24h'
const mostExamples = 3

/** The view. `run`: the impact that was asked for, if any. */
export function describeImpactView(
  run: ImpactOutput | 'forgotten' | undefined,
  { now, problem, since }: { readonly now: number; readonly since: string | undefined; readonly problem: string | undefined },
): ImpactView {
  const chosen = since ?? usualChoice
  const choices = impactChoices.map((choice) => ({ ...choice, isChosen: choice.value === chosen }))
  if (run === undefined || run === 'forgotten') {
    return {
      ...{ choices, problem, parts: [], isStale: false, since: undefined, silent: [], headline: undefined, counts: undefined },
      ...{ lists: [], insufficient: undefined, asides: [] },
      state: run === undefined ? 'none' : 'forgotten',
    }
  }
  const { instances, is_stale, result, silent, state } = run
  return {
    choices,
    problem,
    state,
    parts: instances.map(describePart),
    isStale: is_stale,
    since: instantView(Date.parse(run.since), now),
    silent: state === 'done' ? silent : [],
    ...(result === null ? nothing : describeResult(result, run.more, now)),
    headline: result === null ? (state === 'done' ? noAnswer : undefined) : headlineOf(result, run.more, silent.length),
  }
}

type Result = NonNullable<ImpactOutput['result']>

const nothing = { counts: undefined, lists: [], insufficient: undefined, asides: [] } as const
const noAnswer = { tone: 'bad', text: 'No instance answered. What it would change is not known.' } as const

function headlineOf(
  { decided, gains, insufficient, loses, shifts }: Result,
  more: ImpactOutput['more'],
  silent: number,
): NonNullable<ImpactView['headline']> {
  const caution = silent > 0 ? ' Not every instance answered, so there may be more.' : ''
  if (decided === 0 && insufficient === 0) return { tone: 'info', text: `No request of that time is on record.${caution}` }
  if (loses.length > 0) {
    const atLeast = (more?.loses ?? 0) > 0 ? 'At least ' : ''
    return { tone: 'bad', text: `${atLeast}${peopleOf(loses)} would lose access.${caution}` }
  }
  if (insufficient > 0 || silent > 0)
    return { tone: 'info', text: `Of the requests that can be decided again, nobody would lose access.${caution}` }
  if (gains.length + shifts.length > 0) return { tone: 'good', text: 'Nobody would lose access.' }
  return { tone: 'good', text: 'Nothing would have come out otherwise.' }
}

function describeResult(
  result: Result,
  more: ImpactOutput['more'],
  now: number,
): Pick<ImpactView, 'counts' | 'lists' | 'insufficient' | 'asides'> {
  const { decided, gains, insufficient, insufficientBy, loses, notPolicy, shifts, strangers, unchanged, unlisted } = result
  const list = (id: ChangeList['id'], title: string, none: string, entries: Result['loses']): ChangeList => ({
    ...{ id, title, none },
    rows: entries.map((entry) => describeChange(entry, now)),
    more: more?.[id] ?? 0,
    unlisted: unlisted[id],
    people: peopleOf(entries),
  })
  const outside = Object.values(notPolicy).reduce((sum, count) => sum + count, 0)
  return {
    counts: `${counted(decided, 'request')} decided again, ${unchanged.toLocaleString('en-GB')} of them as before.`,
    lists: [
      list('loses', 'Who would lose access', 'Nobody.', loses),
      list('gains', 'Who would gain access', 'Nobody.', gains),
      ...(shifts.length === 0 ? [] : [list('shifts', 'Refused before and after, in another way', '', shifts)]),
    ],
    insufficient:
      insufficient === 0
        ? undefined
        : {
            count: counted(insufficient, 'request'),
            reasons: Object.entries(insufficientBy)
              .sort(([, a], [, b]) => b - a)
              .map(([gap, count]) => ({
                words: Object.hasOwn(gapWords, gap) ? gapWords[gap as keyof typeof gapWords] : gap,
                count: count.toLocaleString('en-GB'),
              })),
          },
    asides: [
      ...(strangers > 0
        ? [`${counted(strangers, 'request')} of strangers: they are counted in the trail, and there are no facts of them.`]
        : []),
      ...(outside > 0 ? [`${counted(outside, 'request')} settled outside of the rules, which no draft changes.`] : []),
    ],
  }
}

function describeChange(entry: Result['loses'][number], now: number): ChangeRow {
  const { app, becomes, count, examples, first, kind, last, reason, rule, rulesBefore, subject, was } = entry
  const isPerson = kind === 'person'
  return {
    who: {
      text: kind === 'nobody' ? 'nobody signed in' : subject,
      href: isPerson ? `/console/trail?${new URLSearchParams({ subject })}` : undefined,
    },
    app: { text: app, href: `/console/apps/${encodeURIComponent(app)}` },
    was: effectBadge(was),
    becomes: effectBadge(becomes),
    because: rule ?? (reasonWords(reason) || reason),
    isRule: rule !== undefined,
    before: rulesBefore.join(', '),
    count: count.toLocaleString('en-GB'),
    first: instantView(Date.parse(first), now),
    last: instantView(Date.parse(last), now),
    examples: examples.slice(0, mostExamples).map(decisionHref),
  }
}

function peopleOf(entries: Result['loses']): string {
  const people = new Set(entries.filter(({ kind }) => kind === 'person').map(({ sub, subject }) => sub ?? subject)).size
  const services = new Set(entries.filter(({ kind }) => kind === 'service').map(({ subject }) => subject)).size
  const nobody = entries.some(({ kind }) => kind !== 'person' && kind !== 'service')
  const parts = [
    ...(people > 0 ? [counted(people, 'person', 'people')] : []),
    ...(services > 0 ? [counted(services, 'service')] : []),
    ...(nobody ? ['whoever is not signed in'] : []),
  ]
  const text = parts.join(' and ')
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}`
}
