/**
 * What the overview is told: a pure view model of what the operation found, with its charts.
 *
 * Before there is an app, and before anybody has opened one, it says what to do next instead of showing empty charts.
 */

import { refOf } from '../../administration/person-ref.ts'
import type { OverviewJson } from '../operations/overview.ts'
import { type ChartView, drawStackedBars } from './chart.ts'
import { durationWords, type InstantView, instantView } from './instants.ts'

export interface OverviewContent {
  readonly attention: readonly {
    readonly tone: 'bad' | 'warn' | 'info'
    readonly word: string
    readonly title: string
    readonly detail: string
    readonly href: string | undefined
  }[]
  /** `undefined` once there is something to show. */
  readonly next: { readonly title: string; readonly text: string; readonly href: string | undefined; readonly label: string } | undefined
  readonly isLoading: boolean
  readonly counted: string
  readonly app: string | undefined
  readonly periods: readonly { readonly label: string; readonly href: string; readonly isCurrent: boolean }[]
  /** Without the filter by app. */
  readonly allHref: string
  readonly decisions: ChartView
  readonly refusedFor: ChartView | undefined
  readonly refusals: readonly {
    readonly app: string
    readonly href: string
    readonly reason: string
    readonly trailHref: string
    readonly count: string
    readonly people: string
    readonly last: InstantView | undefined
  }[]
  readonly stuck: readonly {
    readonly who: string
    readonly href: string
    readonly app: string
    readonly reason: string
    readonly decisionHref: string
    readonly count: string
    readonly last: InstantView | undefined
  }[]
  readonly reported: readonly {
    readonly app: string
    readonly appHref: string
    readonly rule: string
    readonly count: string
    readonly people: string
    readonly last: InstantView | undefined
  }[]
  readonly instances: readonly {
    readonly name: string
    readonly badge: 'good' | 'bad' | 'warn'
    readonly state: string
    readonly version: string
    readonly policy: string
    readonly started: InstantView | undefined
  }[]
  readonly signIns: string
}

const tones = { now: 'bad', waiting: 'warn', soon: 'info' } as const
const urgencyWords = { now: 'Now', waiting: 'Waiting', soon: 'Soon' } as const
const periodWords = { hour: 'Last hour', day: 'Last 24 hours', week: 'Last 7 days' } as const
const seriesNames = ['one', 'two', 'three', 'four'] as const
const numberForm = new Intl.NumberFormat('en-GB')

/** The page. */
export function describeOverview(found: OverviewJson, now: number): OverviewContent {
  const app = found.app ?? undefined
  const at = (text: string | null) => (text === null ? undefined : instantView(Date.parse(text), now))
  return {
    attention: found.attention.map(({ detail, page, title, urgency }) => ({
      tone: tones[urgency],
      word: urgencyWords[urgency],
      title,
      detail,
      href: page ?? undefined,
    })),
    next: nextStep(found),
    isLoading: found.counted.loading,
    counted: countedWords(found, now),
    app,
    periods: (['hour', 'day', 'week'] as const).map((period) => ({
      label: periodWords[period],
      href: overviewHref(period, app),
      isCurrent: found.period === period,
    })),
    allHref: overviewHref(found.period, undefined),
    decisions: drawDecisions(found),
    refusedFor: found.refused_for.reasons.length === 0 ? undefined : drawRefusals(found),
    refusals: found.refusals.map((one) => ({
      app: one.app,
      href: overviewHref(found.period, one.app),
      reason: one.reason,
      trailHref: `/console/trail?${new URLSearchParams({ app: one.app, reason: one.reason })}`,
      count: numberForm.format(one.count),
      people: numberForm.format(one.people),
      last: at(one.last),
    })),
    stuck: found.stuck.map(({ app: where, count, email, issuer, last, reason, request, sub }) => ({
      who: email ?? sub,
      href: `/console/people/${refOf({ issuer, sub })}`,
      app: where,
      reason,
      decisionHref: `/console/trail/decisions/${encodeURIComponent(request)}`,
      count: numberForm.format(count),
      last: at(last),
    })),
    reported: found.reported.map((one) => ({
      app: one.app,
      appHref: `/console/apps/${encodeURIComponent(one.app)}`,
      rule: one.rule,
      count: numberForm.format(one.would_refuse),
      people: numberForm.format(one.people),
      last: at(one.last),
    })),
    instances: describeInstances(found, now),
    signIns: signInWords(found),
  }
}

function overviewHref(period: OverviewJson['period'], app: string | undefined): string {
  const query = new URLSearchParams({ ...(period === 'day' ? {} : { period }), ...(app === undefined ? {} : { app }) }).toString()
  return `/console${query === '' ? '' : `?${query}`}`
}

function drawDecisions({ app, bar_seconds, decisions, period }: OverviewJson): ChartView {
  const sum = (name: 'allowed' | 'challenged' | 'refused') => numberForm.format(decisions.reduce((total, bar) => total + bar[name], 0))
  const title = app === null ? 'Decisions' : `Decisions for ${app}`
  return drawStackedBars({
    id: 'decisions',
    title,
    description: `${periodWords[period]}, in bars of ${durationWords(bar_seconds * 1000)}: ${sum('allowed')} requests were let in, ${sum('challenged')} were sent to sign in, ${sum('refused')} were refused.`,
    series: [
      { name: 'allowed', label: 'Let in' },
      { name: 'challenged', label: 'Sent to sign in' },
      { name: 'refused', label: 'Refused' },
    ],
    bars: decisions.map(({ allowed, challenged, from, refused }) => ({ from: Date.parse(from), values: [allowed, challenged, refused] })),
    lengthMs: bar_seconds * 1000,
  })
}

function drawRefusals({ app, bar_seconds, period, refused_for }: OverviewJson): ChartView {
  const { bars, reasons } = refused_for
  return drawStackedBars({
    id: 'refused-for',
    title: app === null ? 'Refusals by reason' : `Refusals by reason for ${app}`,
    description: `${periodWords[period]}, in bars of ${durationWords(bar_seconds * 1000)}: refusals for the most frequent reasons.`,
    series: reasons.map((reason, index) => ({ name: seriesNames[index] ?? 'other', label: reason })),
    bars: bars.map(({ counts, from }) => ({ from: Date.parse(from), values: counts })),
    lengthMs: bar_seconds * 1000,
  })
}

function nextStep({ apps, counted }: OverviewJson): OverviewContent['next'] {
  if (apps === 0) {
    return {
      title: 'No app yet',
      text: 'Postern stands before web apps and decides who gets through. Name the first one: its address, where it really runs, and who may open it.',
      href: '/console/apps/new',
      label: 'Add the first app',
    }
  }
  if (!counted.loading && counted.events === 0) {
    return {
      title: 'Nobody has opened an app yet',
      text: 'As soon as somebody does, this page shows who was let in, who was not, and why. Try it yourself: open one of your apps from the portal.',
      href: '/',
      label: 'To the portal',
    }
  }
  return undefined
}

function countedWords({ counted }: OverviewJson, now: number): string {
  if (counted.loading) return `Recent events are being read: ${numberForm.format(counted.events)} so far. Reload in a moment.`
  const since = counted.since === null ? undefined : instantView(Date.parse(counted.since), now)
  if (counted.events === 0 || since === undefined) return 'No recent events.'
  const until = counted.until === null ? now : Date.parse(counted.until)
  const age = now - until > 60_000 ? ` Last read ${durationWords(now - until)} ago.` : ''
  return `Counted from ${numberForm.format(counted.events)} recent events of all instances, the earliest ${since.text}.${age}`
}

function describeInstances({ instances }: OverviewJson, now: number): OverviewContent['instances'] {
  const versions = new Set(instances.map(({ policy }) => policy))
  return instances.map(({ answered, name, policy, ready, started, version }) => {
    const [badge, state] = !answered
      ? (['bad', 'no answer'] as const)
      : ready !== true
        ? (['bad', 'not ready'] as const)
        : versions.size > 1
          ? (['warn', 'policies differ'] as const)
          : (['good', 'ready'] as const)
    return { name, badge, state, version, policy, started: instantView(Date.parse(started), now) }
  })
}

function signInWords({ sign_ins: { failed, succeeded } }: OverviewJson): string {
  const signIns = succeeded === 1 ? '1 sign-in' : `${numberForm.format(succeeded)} sign-ins`
  return `${signIns}, ${failed === 0 ? 'none failed' : `${numberForm.format(failed)} failed`}.`
}
