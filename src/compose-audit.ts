/**
 * The part of the composition root around the audit trail: who writes it, who keeps it, and who follows it.
 *
 * Everything that follows reads the files; nothing stands between a request and its line but the writer. When an instance stops, the
 * writer closes first, so that the last lines still reach the receivers that take them.
 */

import { hostname } from 'node:os'
import { join } from 'node:path'
import { createAuditAnchors } from './administration/audit-anchors.ts'
import { createTrailFollowers } from './audit/follow-chains.ts'
import { createRetention, type TrailUsage } from './audit/retention.ts'
import { createSinks, type SinkStatus } from './audit/sinks.ts'
import { openAuditTrail, type WrittenTrail } from './audit/trail.ts'
import { createAuditWindow, windowFollowing } from './audit/window.ts'
import type { InstanceConfiguration } from './config/instance.ts'
import type { CurrentKeys } from './keys.ts'
import { type Logger, writeBetweenLogLines } from './log.ts'
import type { Metrics } from './metrics.ts'
import { open, seal } from './session/seal.ts'
import type { SessionStore } from './session/store.ts'

export interface ComposeAuditParts {
  readonly configuration: Pick<InstanceConfiguration, 'audit' | 'dataDir'>
  readonly store: SessionStore
  readonly keys: CurrentKeys
  readonly log: Logger
  readonly now: () => number
  readonly monotonicNow: () => number
  readonly metrics: Pick<Metrics, 'countLostAuditLine' | 'observeAuditFsync'>
}

/** The trail of this process, with everything that lives on it. */
export interface ComposedAudit {
  readonly trail: WrittenTrail
  usage(): TrailUsage
  sinks(): readonly SinkStatus[]
  close(): Promise<void>
}

/** A receiver that answers takes what is left in this time; the others get it at the next start. */
const drainMs = 2000

/** Opens the trail, mends what a crash left, and begins to keep it and to hand it on. */
export async function composeAudit(parts: ComposeAuditParts): Promise<ComposedAudit> {
  const { configuration, keys, log, metrics, monotonicNow, now, store } = parts
  const folder = join(configuration.dataDir, 'audit')
  const positionsFolder = join(configuration.dataDir, 'audit-positions')
  const anchors = createAuditAnchors({ store, keys, log })
  const trail = await openAuditTrail({
    folder,
    instance: hostname(),
    process: '0',
    key: () => keys().audit.current,
    anchors,
    now,
    log,
    onLost: metrics.countLostAuditLine,
    onFsync: metrics.observeAuditFsync,
  })
  const retention = createRetention({ folder, keep: configuration.audit.keep, trail, keys: () => keys().audit.all, anchors, now, log })
  const sinks = createSinks({
    configurations: configuration.audit.sinks,
    folder,
    positionsFolder,
    hostname: hostname(),
    writeLines: (text) => writeBetweenLogLines(log, text),
    now,
    monotonicNow,
    log,
  })
  const window = followForWindow({ ...parts, folder, positionsFolder })
  const stopNudging = trail.onWritten(sinks.nudge)

  return {
    trail,
    usage: retention.usage,
    sinks: sinks.status,
    async close() {
      await retention.close()
      await trail.close()
      stopNudging()
      await Promise.all([sinks.close(drainMs), window?.close(drainMs)])
    },
  }
}

/** The recent window is for the console: nobody needs it within milliseconds, so that it looks for itself and is not nudged. */
function followForWindow(parts: ComposeAuditParts & { readonly folder: string; readonly positionsFolder: string }) {
  const { configuration, folder, keys, log, now, positionsFolder, store } = parts
  const keepEvents = configuration.audit.windowEvents
  if (keepEvents === 0) return undefined
  const { consumer } = createAuditWindow({
    store,
    seal: (name, plaintext) => seal(keys(), { purpose: 'window', name }, plaintext),
    open: (name, sealed) => open(keys(), { purpose: 'window', name }, sealed),
    keepEvents,
    log,
  })
  const { batchLines, lookMs } = windowFollowing
  return createTrailFollowers({
    folder,
    positionsFolder,
    receivers: [{ name: 'window', consumer }],
    now,
    log,
    pace: { batchLines, lookMs },
  })
}
