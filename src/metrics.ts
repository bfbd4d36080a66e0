/**
 * Metrics for Prometheus: what is counted while Postern works, and its text at `/metrics` on the operations address.
 *
 * Names, units and suffixes follow Prometheus' conventions; every label has a closed or configured set of values (effects, reasons, app
 * ids, names of sinks), never anything that a client chose, so that nobody outside can grow the number of series. What exists elsewhere as
 * a number is read when it is asked for, not copied as it changes. Each theme has a file in `metrics/`; all of it is listed, with its
 * meaning, in `docs/metrics.md`.
 */

import { type AuditMetrics, type AuditSources, addAudit } from './metrics/audit.ts'
import { addDependencies, type DependencyMetrics, type DependencySources } from './metrics/dependencies.ts'
import { addProcess } from './metrics/process.ts'
import { createRegistry, type Family } from './metrics/registry.ts'
import { addRequests, type RequestMetrics, type RequestSources } from './metrics/requests.ts'
import { addSessions, type SessionMetrics, type SessionSources } from './metrics/sessions.ts'
import { addUpkeep, type UpkeepMetrics, type UpkeepSources } from './metrics/upkeep.ts'

/** Numbers that live elsewhere, read at each scrape. One that throws, or is left out, is left out of that scrape. */
export interface MetricSources extends RequestSources, SessionSources, DependencySources, AuditSources, UpkeepSources {
  readonly version?: string
}

export interface Metrics extends RequestMetrics, SessionMetrics, DependencyMetrics, AuditMetrics, UpkeepMetrics {
  /** Everything that there is, for whoever documents or checks it. */
  families(): readonly Family[]
  /** Text in the exposition format named by `contentType`. */
  text(): Promise<string>
  readonly contentType: string
  close(): void
}

/** Creates the metrics of this process, in a registry of their own. */
export function createMetrics(sources: MetricSources): Metrics {
  const registry = createRegistry()
  const requests = addRequests(registry, sources)
  const sessions = addSessions(registry, sources)
  const dependencies = addDependencies(registry, sources)
  const audit = addAudit(registry, sources)
  const upkeep = addUpkeep(registry, sources)
  const close = addProcess(registry, sources.version)
  return {
    ...requests,
    ...sessions,
    ...dependencies,
    ...audit,
    ...upkeep,
    families: registry.families,
    text: registry.text,
    contentType: registry.contentType,
    close,
  }
}
