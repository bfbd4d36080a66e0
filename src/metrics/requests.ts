/**
 * Numbers of the data plane: requests and how long they took, what is open, what was cut and how soon.
 *
 * `observeRequest` runs once for every request of everybody, so it adds to sums that it finds by words and makes nothing.
 */

import type { Reason } from '../policy/decision.ts'
import type { MetricsRegistry } from './registry.ts'

/** A request that is over, by its decision and its status. */
export interface ObservedRequest {
  /** An id from the policy; `undefined` where the request was nobody's. */
  readonly app: string | undefined
  readonly effect: string
  readonly reason: Reason
  readonly status: number
  readonly seconds: number
  /** Of these, what was spent in Postern itself; `undefined` where that is not known. */
  readonly overheadSeconds?: number | undefined
}

/** What made an exchange be cut. `time`: nothing that was written anywhere. */
export type CutTrigger = 'end' | 'lock' | 'policy' | 'session' | 'device'

export interface RequestSources {
  readonly openConnections: () => number
  /** Requests, streams and WebSockets that are being forwarded now. */
  readonly openExchanges: () => number
}

export interface RequestMetrics {
  observeRequest(request: ObservedRequest): void
  /** Something open was cut. Without a reason it was for time: idleness, or a limit. */
  countCut(reason: Reason | undefined): void
  /** Something open was cut so long after what it was cut for had been written. */
  observeCutDelay(cut: { readonly trigger: CutTrigger; readonly seconds: number }): void
  /** A rule with `alert: true` decided a request for this app. */
  countAlert(app: string): void
}

/** Below a millisecond is a refusal from memory; beyond a minute is a stream or a WebSocket. */
const durationBounds = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60]
/** From a decision out of memory to one that waited for the store, for keys, or for the disk. */
const overheadBounds = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5]
/** A second is what is promised while the store is reachable; five is the longest without it. */
const cutBounds = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 10, 30]

const effects = ['allow', 'deny', 'challenge'] as const
const triggers: readonly CutTrigger[] = ['end', 'lock', 'policy', 'session', 'device']
const statusClasses = ['1xx', '2xx', '3xx', '4xx', '5xx']

/** Puts them into `registry`. */
export function addRequests(registry: MetricsRegistry, { openConnections, openExchanges }: RequestSources): RequestMetrics {
  /** Since the last scrape. */
  const tallies: Tally[] = []
  const byApp = new Map<string, Map<string, Map<string, Map<string, Tally>>>>()
  registry.tallied(
    {
      name: 'postern_requests_total',
      help: 'Requests answered, by app, effect and reason of the decision, and class of the status.',
      labels: ['app', 'effect', 'reason', 'status_class'],
    },
    (add) => {
      for (const tally of tallies) {
        add(tally.labels, tally.count)
        tally.count = 0
      }
    },
  )
  const durations = registry.histogram(
    {
      name: 'postern_request_duration_seconds',
      help: 'Time from the arrival of a request to the end of its answer.',
      labels: ['effect'],
    },
    durationBounds,
  )
  const overheads = registry.histogram(
    {
      name: 'postern_request_overhead_seconds',
      help: 'Of that, time spent in Postern itself: without waiting for the upstream and for bodies.',
      labels: ['effect'],
    },
    overheadBounds,
  )
  const cuts = registry.counter({
    name: 'postern_cuts_total',
    help: 'Open exchanges that were cut, by the reason why they no longer stood.',
    labels: ['reason'],
  })
  const cutDelays = registry.histogram(
    {
      name: 'postern_revoke_to_cut_seconds',
      help: 'Time from the instant at which an end, a lock or another change was written to the cut of what was open, by what was written.',
      labels: ['trigger'],
    },
    cutBounds,
  )
  const alerts = registry.counter({
    name: 'postern_alerts_total',
    help: 'Decisions by a rule that asks for an alert.',
    labels: ['app'],
  })
  registry.source({ name: 'postern_open_connections', help: 'Connections of clients that are open now.' }, openConnections)
  registry.source({ name: 'postern_open_exchanges', help: 'Requests, streams and WebSockets that are being forwarded now.' }, openExchanges)
  const ofEffects = new Map<string, Effect>(
    [...effects, 'other'].map((effect) => [effect, { effect, duration: durations.of({ effect }), overhead: overheads.of({ effect }) }]),
  )
  const other = ofEffects.get('other') as Effect
  const ofTriggers = new Map(triggers.map((trigger) => [trigger, cutDelays.of({ trigger })]))
  for (const reason of ['session_ended', 'locked', 'time']) cuts.add({ reason }, 0)

  const findTally = (app: string, effect: string, reason: Reason, statusClass: string): Tally => {
    const ofApp = findOrAdd(byApp, app, () => new Map<string, Map<string, Map<string, Tally>>>())
    const ofEffect = findOrAdd(ofApp, effect, () => new Map<string, Map<string, Tally>>())
    const ofReason = findOrAdd(ofEffect, reason, () => new Map<string, Tally>())
    return findOrAdd(ofReason, statusClass, () => {
      const tally = { labels: { app, effect, reason, status_class: statusClass }, count: 0 }
      tallies.push(tally)
      return tally
    })
  }

  return {
    observeRequest({ app, effect, reason, status, seconds, overheadSeconds }) {
      const known = ofEffects.get(effect) ?? other
      findTally(app ?? '', known.effect, reason, statusClassOf(status)).count += 1
      known.duration.observe(seconds)
      if (overheadSeconds !== undefined) known.overhead.observe(overheadSeconds)
    },
    countCut: (reason) => cuts.add({ reason: reason ?? 'time' }),
    observeCutDelay: ({ seconds, trigger }) => ofTriggers.get(trigger)?.observe(Math.max(0, seconds)),
    countAlert: (app) => alerts.add({ app }),
  }
}

interface Effect {
  readonly effect: string
  readonly duration: { observe(value: number): void }
  readonly overhead: { observe(value: number): void }
}

interface Tally {
  readonly labels: Readonly<Record<'app' | 'effect' | 'reason' | 'status_class', string>>
  count: number
}

function findOrAdd<V>(map: Map<string, V>, key: string, create: () => V): V {
  let value = map.get(key)
  if (value === undefined) {
    value = create()
    map.set(key, value)
  }
  return value
}

/** `2xx` and so on; `none` where the client was gone before an answer. */
function statusClassOf(status: number): string {
  return statusClasses[Math.floor(status / 100) - 1] ?? 'none'
}
