/**
 * Metrics for Prometheus: what is counted while Postern works, and its text at `/metrics` on the operations address.
 *
 * The only door to the metrics library. Names, units and suffixes follow Prometheus' conventions; every label has a closed or
 * configured set of values (effects, reasons, app ids), never anything that a client chose, so that nobody outside can grow the
 * number of series. What exists elsewhere as a number is read when it is asked for, not copied as it changes.
 */

import { monitorEventLoopDelay } from 'node:perf_hooks'
import { Counter, Gauge, Histogram, Registry } from '@prometheus-io/client'
import type { Reason } from './policy/decision.ts'

/** Numbers that live elsewhere, read at each scrape. One that throws is left out of that scrape. */
export interface MetricSources {
  readonly openConnections: () => number
  /** Requests, streams and WebSockets that are being forwarded now. */
  readonly openExchanges: () => number
  /** Since ends and locks were last known to be complete. */
  readonly newsAgeMs: () => number
  readonly isAuditWritable: () => boolean
  readonly isProviderReady: () => boolean
}

export interface Metrics {
  /** One request that is over, by its decision and its status; `app` is an id from the policy. */
  observeRequest(request: {
    readonly app: string | undefined
    readonly effect: string
    readonly reason: Reason
    readonly status: number
    readonly seconds: number
  }): void
  countSignIn(outcome: 'started' | 'continued' | 'refused' | 'failed'): void
  countSessionRefresh(outcome: 'refreshed' | 'refused' | 'unreachable'): void
  countSessionEnd(cause: string): void
  /** Something open was cut. Without a reason it was for time: idleness, or a limit. */
  countCut(reason: Reason | undefined): void
  /** A policy became current. `at` in epoch milliseconds. */
  setPolicy(version: string, at: number): void
  countPolicyLoadFailure(): void
  countStoreError(): void
  countLostAuditLine(): void
  /** A rule with `alert: true` decided a request for this app. */
  countAlert(app: string): void
  /** Text in the exposition format named by `contentType`. */
  text(): Promise<string>
  readonly contentType: string
  close(): void
}

/** Below a millisecond is a refusal from memory; beyond a minute is a stream or a WebSocket. */
const durationBuckets = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60]
const endCauses: ReadonlySet<string> = new Set([
  'signed_out',
  'replaced',
  'revoked',
  'refused',
  'back_channel',
  'device_changed',
  'subject_changed',
])
const effects: ReadonlySet<string> = new Set(['allow', 'deny', 'challenge'])

/** Creates the metrics of this process, in a registry of their own. */
export function createMetrics(sources: MetricSources): Metrics {
  const registry = new Registry()
  const registers = [registry]
  /** Since the last scrape. The library checks and hashes labels at each increment (0.4 µs a request); here it is a sum. */
  const tallies: Tally[] = []
  const talliesByLabels = new Map<string, Map<string, Map<string, Map<string, Tally>>>>()
  new Counter({
    name: 'postern_requests_total',
    help: 'Requests answered, by app, effect and reason of the decision, and class of the status.',
    labelNames: ['app', 'effect', 'reason', 'status_class'],
    registers,
    collect() {
      for (const tally of tallies) {
        this.inc(tally.labels, tally.count)
        tally.count = 0
      }
    },
  })
  const durations = new Histogram({
    name: 'postern_request_duration_seconds',
    help: 'Time from the arrival of a request to the end of its answer.',
    labelNames: ['effect'],
    buckets: durationBuckets,
    registers,
  })
  const signIns = new Counter({
    name: 'postern_sign_ins_total',
    help: 'Sign-ins at the provider, by outcome.',
    labelNames: ['outcome'],
    registers,
  })
  const refreshes = new Counter({
    name: 'postern_session_refreshes_total',
    help: 'Refreshes of claims at the provider, by outcome.',
    labelNames: ['outcome'],
    registers,
  })
  const ends = new Counter({ name: 'postern_session_ends_total', help: 'Sessions ended, by cause.', labelNames: ['cause'], registers })
  const cuts = new Counter({
    name: 'postern_cuts_total',
    help: 'Open exchanges that were cut, by the reason why they no longer stood.',
    labelNames: ['reason'],
    registers,
  })
  const policy = new Gauge({ name: 'postern_policy_info', help: 'Version of the policy in force.', labelNames: ['version'], registers })
  const policyLoadedAt = new Gauge({
    name: 'postern_policy_last_success_timestamp_seconds',
    help: 'When the policy in force was loaded.',
    registers,
  })
  const policyFailures = new Counter({
    name: 'postern_policy_load_failures_total',
    help: 'Changed policies that were refused; the earlier one stayed in force.',
    registers,
  })
  const storeErrors = new Counter({
    name: 'postern_store_errors_total',
    help: 'Operations that the session store did not answer.',
    registers,
  })
  const lostAuditLines = new Counter({
    name: 'postern_audit_lost_lines_total',
    help: 'Lines of the audit trail that found no room while it could not be written.',
    registers,
  })
  const alerts = new Counter({
    name: 'postern_alerts_total',
    help: 'Decisions by a rule that asks for an alert.',
    labelNames: ['app'],
    registers,
  })
  // Zero is a statement, and a rate needs one to begin with.
  for (const outcome of ['started', 'continued', 'refused', 'failed']) signIns.inc({ outcome }, 0)
  for (const outcome of ['refreshed', 'refused', 'unreachable']) refreshes.inc({ outcome }, 0)

  addSource(registry, 'postern_open_connections', 'Connections of clients that are open now.', sources.openConnections)
  addSource(registry, 'postern_open_exchanges', 'Requests, streams and WebSockets that are being forwarded now.', sources.openExchanges)
  addSource(
    registry,
    'postern_news_age_seconds',
    'Time since ends and locks were last known to be complete; beyond five the store itself is asked.',
    () => sources.newsAgeMs() / 1000,
  )
  addSource(registry, 'postern_audit_writable', '1 while the audit trail can be written.', () => Number(sources.isAuditWritable()))
  addSource(registry, 'postern_provider_ready', '1 once the provider was discovered.', () => Number(sources.isProviderReady()))
  addProcess(registry)
  const stopLoopDelay = addEventLoopDelay(registry)

  const findTally = (app: string, effect: string, reason: Reason, statusClass: string): Tally => {
    const ofApp = findOrAdd(talliesByLabels, app, () => new Map<string, Map<string, Map<string, Tally>>>())
    const ofEffect = findOrAdd(ofApp, effect, () => new Map<string, Map<string, Tally>>())
    const ofReason = findOrAdd(ofEffect, reason, () => new Map<string, Tally>())
    return findOrAdd(ofReason, statusClass, () => {
      const tally = { labels: { app, effect, reason, status_class: statusClass }, count: 0 }
      tallies.push(tally)
      return tally
    })
  }
  const boundDurations = new Map([...effects, 'other'].map((effect) => [effect, durations.labels({ effect })]))

  return {
    observeRequest: ({ app, effect, reason, status, seconds }) => {
      const knownEffect = effects.has(effect) ? effect : 'other'
      findTally(app ?? '', knownEffect, reason, statusClassOf(status)).count += 1
      boundDurations.get(knownEffect)?.observe(seconds)
    },
    countSignIn: (outcome) => signIns.inc({ outcome }),
    countSessionRefresh: (outcome) => refreshes.inc({ outcome }),
    countSessionEnd: (cause) => ends.inc({ cause: endCauses.has(cause) ? cause : 'other' }),
    countCut: (reason) => cuts.inc({ reason: reason ?? 'time' }),
    setPolicy: (version, at) => {
      policy.reset()
      policy.set({ version }, 1)
      policyLoadedAt.set(at / 1000)
    },
    countPolicyLoadFailure: () => policyFailures.inc(),
    countStoreError: () => storeErrors.inc(),
    countLostAuditLine: () => lostAuditLines.inc(),
    countAlert: (app) => alerts.inc({ app }),
    text: () => registry.metrics(),
    contentType: registry.contentType,
    close: stopLoopDelay,
  }
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

const statusClasses = ['1xx', '2xx', '3xx', '4xx', '5xx']

/** `2xx` and so on; `none` where the client was gone before an answer. */
function statusClassOf(status: number): string {
  return statusClasses[Math.floor(status / 100) - 1] ?? 'none'
}

function addSource(registry: Registry, name: string, help: string, read: () => number): void {
  new Gauge({
    name,
    help,
    registers: [registry],
    collect() {
      try {
        this.set(read())
      } catch {
        // During start a part may not be there yet; one number less must not cost the others.
        this.remove()
      }
    },
  })
}

/** The names that every Prometheus dashboard knows. */
function addProcess(registry: Registry): void {
  const startedAt = Math.round(performance.timeOrigin / 1000)
  addSource(registry, 'process_start_time_seconds', 'Start of the process, in seconds since the epoch.', () => startedAt)
  addSource(registry, 'process_resident_memory_bytes', 'Resident memory.', () => process.memoryUsage.rss())
  addSource(registry, 'nodejs_heap_size_used_bytes', 'Heap in use.', () => process.memoryUsage().heapUsed)
  let counted = 0
  new Counter({
    name: 'process_cpu_seconds_total',
    help: 'CPU time used.',
    registers: [registry],
    collect() {
      const { user, system } = process.cpuUsage()
      this.inc((user + system - counted) / 1e6)
      counted = user + system
    },
  })
}

/** Delay of the event loop since the last scrape. Returns the way to stop measuring. */
function addEventLoopDelay(registry: Registry): () => void {
  const resolutionMs = 20
  const delays = monitorEventLoopDelay({ resolution: resolutionMs })
  delays.enable()
  new Gauge({
    name: 'postern_event_loop_delay_seconds',
    help: 'How late the event loop was since the last scrape, by quantile.',
    labelNames: ['quantile'],
    registers: [registry],
    collect() {
      // The histogram holds intervals: what exceeds the resolution is the delay.
      const delayAt = (nanoseconds: number) => (Number.isFinite(nanoseconds) ? Math.max(0, nanoseconds / 1e9 - resolutionMs / 1000) : 0)
      const isEmpty = delays.count === 0
      this.set({ quantile: '0.5' }, isEmpty ? 0 : delayAt(delays.percentile(50)))
      this.set({ quantile: '0.99' }, isEmpty ? 0 : delayAt(delays.percentile(99)))
      this.set({ quantile: '1' }, isEmpty ? 0 : delayAt(delays.max))
      delays.reset()
    },
  })
  return () => void delays.disable()
}
