/**
 * The part of the composition root about the overview and open connections: what instances ask each other, what is counted of recent events, the
 * operations and pages of both themes.
 *
 * Errands and the digest serve other themes as well (trail, apps, people, the portal): they are made here and handed on.
 */

import { hostname } from 'node:os'
import type { ActivityDigest } from './administration/activity.ts'
import { createActivityDigest } from './administration/activity-digest.ts'
import type { ProtectedPeople } from './administration/asker.ts'
import { type AdministeredConnections, createConnections, type LocalConnections } from './administration/connections.ts'
import { createErrands, type RunningErrands } from './administration/errands-over-store.ts'
import { createInstancesHealth, type HealthCheck } from './administration/instance-health.ts'
import type { AuditEvent } from './audit/event.ts'
import { createWindowBatches } from './audit/window-batches.ts'
import type { ConsoleTheme } from './compose-console.ts'
import type { InstanceConfiguration } from './config/instance.ts'
import { mountConnectionsPages } from './control/console/connections-pages.ts'
import { mountOverviewPages } from './control/console/overview-pages.ts'
import { createConnectionsOperations } from './control/operations/connections.ts'
import type { CarryOut } from './control/operations/operation.ts'
import { createOverviewOperations, type OverviewOperationsPorts } from './control/operations/overview.ts'
import type { CurrentKeys } from './keys.ts'
import type { Live } from './live/live.ts'
import type { Logger } from './log.ts'
import { open } from './session/seal.ts'
import type { SessionStore } from './session/store.ts'

export interface ComposeErrandsParts {
  readonly store: SessionStore
  readonly keys: CurrentKeys
  readonly log: Logger
  /** Epoch milliseconds. */
  readonly now: () => number
  readonly monotonicNow: () => number
  readonly live: Live
  readonly version: string
  readonly policyVersion: () => string
}

/** What this instance asks of all of them, and does for them. Close it before the store. */
export function composeErrands(parts: ComposeErrandsParts): RunningErrands {
  return createErrands({ ...parts, instance: hostname() })
}

/** What is counted of the recent window. Close it before the store. */
export function composeActivity({
  configuration,
  keys,
  ...parts
}: Pick<ComposeErrandsParts, 'keys' | 'log' | 'monotonicNow' | 'now' | 'store'> & {
  readonly configuration: Pick<InstanceConfiguration, 'audit'>
}): ActivityDigest {
  const { store, log } = parts
  const keepEvents = configuration.audit.windowEvents
  const batches = createWindowBatches({ store, log, open: (name, sealed) => open(keys(), { purpose: 'window', name }, sealed) })
  return createActivityDigest({ ...parts, keepEvents, batches: keepEvents === 0 ? undefined : batches })
}

export interface ComposeConnectionsParts {
  readonly errands: RunningErrands
  /** Of the listener: asked for each time, since it is made after the console. */
  readonly local: () => LocalConnections
  readonly people: ProtectedPeople
  readonly recordFirst: (event: AuditEvent) => Promise<void>
  readonly now: () => number
  readonly monotonicNow: () => number
  readonly carryOut: CarryOut
}

/** Open connections of all instances, their operations and pages. */
export function composeConnections(parts: ComposeConnectionsParts): ConsoleTheme & { readonly connections: AdministeredConnections } {
  const { carryOut, errands, local, monotonicNow, now, people, recordFirst } = parts
  const connections = createConnections({
    errands,
    local: { list: (wanted) => local().list(wanted), count: (about) => local().count(about), cut: (id) => local().cut(id) },
    people,
    recordFirst,
    monotonicNow,
  })
  const operations = createConnectionsOperations({ connections, recordFirst })
  return {
    connections,
    operations: Object.values(operations),
    mount: (routes) => mountConnectionsPages(routes, { operations, connections, carryOut, now }),
  }
}

export interface ComposeOverviewParts
  extends Pick<OverviewOperationsPorts, 'activity' | 'proposedDrafts' | 'countSilentDevices' | 'countApps' | 'now'> {
  readonly errands: RunningErrands
  /** As `/readyz` says it. */
  readonly checkReadiness: () => Promise<readonly HealthCheck[]>
  readonly findWarnings: () => Readonly<Record<string, string>>
  readonly recordFirst: (event: AuditEvent) => Promise<void>
  readonly monotonicNow: () => number
  readonly carryOut: CarryOut
}

/** The first page, and its operation. */
export function composeOverview(parts: ComposeOverviewParts): ConsoleTheme {
  const { carryOut, checkReadiness, errands, findWarnings, monotonicNow } = parts
  const ownHealth = async () => ({ checks: await checkReadiness(), warnings: findWarnings() })
  const instances = createInstancesHealth({ errands, own: ownHealth, monotonicNow })
  const operations = createOverviewOperations({ ...parts, instances, ownHealth })
  return { operations: Object.values(operations), mount: (routes) => mountOverviewPages(routes, { operations, carryOut }) }
}
