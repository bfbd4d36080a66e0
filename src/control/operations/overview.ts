/**
 * The overview: what needs attention now, and what happened of late, for the first page of the console and for programs.
 *
 * People who are stuck are named in it, so looking at it is on record first. What it counts comes from the recent window, and it says since when.
 */

import { setTimeout as delay } from 'node:timers/promises'
import { z } from 'zod'
import type { ActivityDigest } from '../../administration/activity.ts'
import { findAttention } from '../../administration/attention.ts'
import type { InstancesHealth, OwnHealth } from '../../administration/instance-health.ts'
import type { AuditEvent } from '../../audit/event.ts'
import type { Reason } from '../../policy/decision.ts'
import { defineOperation, done } from './operation.ts'
import { instantText, toInstant, toInstantOrNull } from './paging.ts'

export interface OverviewOperationsPorts {
  readonly activity: ActivityDigest
  readonly instances: InstancesHealth
  /** Of this instance; asks no other. */
  readonly ownHealth: () => Promise<OwnHealth>
  /** Drafts that wait for somebody's approval. */
  readonly proposedDrafts: () => Promise<readonly { readonly id: string; readonly comment: string; readonly by: string }[]>
  /** Devices whose last report no rule accepts any more. */
  readonly countSilentDevices: () => number
  /** Of the policy in force. */
  readonly countApps: () => number
  readonly now: () => number
  /** Resolves once it is written; rejects with `audit_unavailable`. */
  readonly recordFirst: (event: Extract<AuditEvent, { readonly event: 'data.read' }>) => Promise<void>
}

export type OverviewOperations = ReturnType<typeof createOverviewOperations>

/** What a chart covers: bars of this length, so many. */
export const overviewPeriods = {
  hour: { count: 60, lengthMs: 60_000 },
  day: { count: 48, lengthMs: 1_800_000 },
  week: { count: 84, lengthMs: 7_200_000 },
} as const

const mostRefusals = 20
const mostStuck = 20
const mostReported = 50
const mostReasons = 4

const urgency = z.enum(['now', 'waiting', 'soon'])
const count = z.number().int()

const output = z.strictObject({
  counted: z
    .strictObject({ since: instantText.nullable(), until: instantText.nullable(), loading: z.boolean(), events: count })
    .meta({ description: 'From when to when the numbers below count; null while nothing is read yet.' }),
  apps: count.meta({ description: 'Apps of the policy in force.' }),
  attention: z
    .array(z.strictObject({ urgency, kind: z.string(), title: z.string(), detail: z.string(), page: z.string().nullable() }))
    .meta({ description: 'What needs somebody now, the most urgent first, with the page of the console where it is mended.' }),
  period: z.enum(['hour', 'day', 'week']),
  app: z.string().nullable(),
  bar_seconds: count,
  decisions: z
    .array(z.strictObject({ from: instantText, allowed: count, challenged: count, refused: count }))
    .meta({ description: 'Decisions over time, in bars of `bar_seconds`.' }),
  refused_for: z
    .strictObject({ reasons: z.array(z.string()), bars: z.array(z.strictObject({ from: instantText, counts: z.array(count) })) })
    .meta({ description: 'Refusals over time for the most frequent reasons, in their order.' }),
  refusals: z.array(z.strictObject({ app: z.string(), reason: z.string(), count, people: count, last: instantText })),
  stuck: z
    .array(
      z.strictObject({
        issuer: z.string(),
        sub: z.string(),
        email: z.string().nullable(),
        app: z.string(),
        reason: z.string(),
        count,
        first: instantText,
        last: instantText,
        request: z.string(),
      }),
    )
    .meta({ description: 'People who were refused three times or more on one app and not let in since.' }),
  reported: z
    .array(z.strictObject({ app: z.string(), rule: z.string(), would_refuse: count, people: count, last: instantText }))
    .meta({ description: 'What report mode let in and would have refused; an empty `rule`: no rule would have let it in.' }),
  sign_ins: z.strictObject({ succeeded: count, failed: count, last_failed: instantText.nullable() }),
  instances: z.array(
    z.strictObject({
      name: z.string(),
      started: instantText,
      version: z.string(),
      policy: z.string(),
      answered: z.boolean(),
      ready: z.boolean().nullable().meta({ description: 'Null: it did not answer.' }),
    }),
  ),
})

/** The overview as JSON. */
export type OverviewJson = z.output<typeof output>

/** How long a page waits for events that are still being read. */
const patienceMs = 60

/** The operation of this theme. */
export function createOverviewOperations(ports: OverviewOperationsPorts) {
  const { activity, countApps, countSilentDevices, instances, now, ownHealth, proposedDrafts, recordFirst } = ports

  /** Of a window that is soon read the first look shows all; of a large one it says that it is still being read. */
  async function upToDate(): Promise<void> {
    if (activity.state().isLoading) await activity.refresh()
  }

  const get = defineOperation({
    id: 'overview.get',
    summary: 'Says what needs attention, and what happened of late',
    description:
      'Everything that somebody should look after, the most urgent first, and numbers of the recent window: decisions over time, refusals by app and reason, people who cannot get in, what rules in report mode would have done, and the instances. Recorded as `data.read`.',
    method: 'GET',
    path: '/overview',
    permission: 'overview:read',
    input: z.strictObject({
      period: z.enum(['hour', 'day', 'week']).default('day').meta({ description: 'What the bars cover.' }),
      app: z.string().min(1).max(128).optional().meta({ description: 'Bars of this app alone.' }),
    }),
    output,
    problems: [],
    async carryOut({ app, period }, { actor }) {
      const patience = delay(patienceMs)
      const [own, all, drafts] = await Promise.all([ownHealth(), instances.load(), proposedDrafts(), Promise.race([upToDate(), patience])])
      await recordFirst({ event: 'data.read', actor, what: 'overview', target: app, entries: undefined })
      // From here on without a pause: all numbers are of one moment.
      const stuck = activity.stuck(mostStuck)
      const refusals = activity.refusals(mostRefusals)
      const reported = activity.reported().slice(0, mostReported)
      const counted = activity.state()
      const attention = findAttention({
        now: now(),
        own,
        instances: all,
        drafts,
        apps: activity.apps(),
        stuck,
        reported,
        silentDevices: countSilentDevices(),
      })
      const { count: bars, lengthMs } = overviewPeriods[period]
      const reasons = frequentReasons(app === undefined ? refusals : activity.refusals(1_000).filter((one) => one.app === app))
      const signIns = activity.signIns()
      return done({
        counted: {
          since: toInstantOrNull(counted.since),
          until: toInstantOrNull(counted.until),
          loading: counted.isLoading,
          events: counted.events,
        },
        apps: countApps(),
        attention: attention.map(({ href, ...item }) => ({ ...item, page: href ?? null })),
        period,
        app: app ?? null,
        bar_seconds: lengthMs / 1000,
        decisions: activity.buckets(app, bars, lengthMs).map(({ from, ...bar }) => ({ from: toInstant(from), ...bar })),
        refused_for: {
          reasons,
          bars: activity
            .refusalBuckets(app, reasons, bars, lengthMs)
            .map(({ counts, from }) => ({ from: toInstant(from), counts: [...counts] })),
        },
        refusals: refusals.map(({ lastAt, ...refusal }) => ({ ...refusal, last: toInstant(lastAt) })),
        stuck: stuck.map(({ email, firstAt, lastAt, ...person }) => ({
          ...person,
          email: email ?? null,
          first: toInstant(firstAt),
          last: toInstant(lastAt),
        })),
        reported: reported.map(({ lastAt, wouldRefuse, ...rule }) => ({ ...rule, would_refuse: wouldRefuse, last: toInstant(lastAt) })),
        sign_ins: { succeeded: signIns.succeeded, failed: signIns.failed, last_failed: toInstantOrNull(signIns.lastFailedAt) },
        instances: all.map(({ health, name, policyVersion, startedAt, version }) => ({
          name,
          started: toInstant(startedAt),
          version,
          policy: policyVersion,
          answered: health !== undefined,
          ready: health === undefined ? null : health.checks.every(({ isReady }) => isReady),
        })),
      })
    },
  })

  return { get }
}

function frequentReasons(refusals: readonly { readonly reason: Reason; readonly count: number }[]): Reason[] {
  const counts = new Map<Reason, number>()
  for (const { count: times, reason } of refusals) counts.set(reason, (counts.get(reason) ?? 0) + times)
  return [...counts]
    .sort((a, b) => b[1] - a[1])
    .slice(0, mostReasons)
    .map(([reason]) => reason)
}
