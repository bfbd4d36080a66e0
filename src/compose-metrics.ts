/**
 * The part of the composition root that turns what happens into numbers: events of the trail, the operations of the store, and what others
 * know of themselves when they are asked. What is none of these is counted where it happens.
 */

import type { ClientCertificates } from './attributes/client-certificate.ts'
import type { AuditEvent } from './audit/event.ts'
import type { TrailUsage } from './audit/retention.ts'
import type { SinkStatus } from './audit/sinks.ts'
import type { WrittenTrail } from './audit/trail.ts'
import type { Forwarding } from './enforcement/forwarding.ts'
import type { Listener } from './enforcement/listener.ts'
import type { WatchedKeys } from './keys-file.ts'
import type { Live } from './live/live.ts'
import type { AuditSinkNumbers, AuditUsageNumbers } from './metrics/audit.ts'
import type { Expiries } from './metrics/upkeep.ts'
import { createMetrics, type Metrics } from './metrics.ts'
import type { RelyingParty } from './oidc/relying-party.ts'
import { findWarnings, type Warnings } from './operations-warnings.ts'
import type { PolicySource } from './policy-source.ts'
import type { SessionService } from './session/session-service.ts'
import type { SessionStore } from './session/store.ts'

/** Counts an event, if it is one of those that are also numbers. */
export function countEvent(metrics: Metrics, event: AuditEvent): void {
  switch (event.event) {
    case 'session.started':
      metrics.countSignIn('started')
      metrics.countSessionStart()
      break
    case 'session.continued':
      metrics.countSignIn('continued')
      break
    case 'sign_in.failed':
      metrics.countSignIn(event.reason === 'provider_refused' ? 'refused' : 'failed')
      metrics.countSignInFailure(event.reason)
      break
    case 'session.refreshed':
      metrics.countSessionRefresh('refreshed')
      break
    case 'session.ended':
      metrics.countSessionEnd(event.cause)
      break
    case 'access.ended':
      if (event.outcome === 'cut') metrics.countCut(event.reason)
      break
    default:
  }
}

/** Whatever is asked for numbers of its own. */
export interface MeasuredParts {
  readonly audit: {
    readonly trail: Pick<WrittenTrail, 'isWritable' | 'status'>
    usage(): TrailUsage
    sinks(): readonly SinkStatus[]
  }
  readonly certificates: Pick<ClientCertificates, 'validity'> | undefined
  readonly forwarding: Pick<Forwarding, 'open'>
  readonly keys: Pick<WatchedKeys, 'createdAt'>
  readonly listener: Pick<Listener, 'certificateValidity' | 'openConnections'>
  readonly live: Pick<Live, 'age'>
  readonly policy: Pick<PolicySource, 'failure'>
  readonly relyingParty: Pick<RelyingParty, 'isReady'>
  readonly sessions: Pick<SessionService, 'countInUse'>
}

/**
 * Creates the metrics, and what finds the warnings of `/readyz`. Before everything else, so that what starts after it counts its troubles
 * from its first moment on: the parts are asked for when somebody wants to know, and may throw until all of them are there.
 */
export function composeMetrics(
  { now, version }: { readonly now: () => number; readonly version: string },
  parts: () => MeasuredParts,
): { readonly metrics: Metrics; findWarnings(): Warnings } {
  const expiries = (): Expiries => {
    const { certificates, listener } = parts()
    const { authorities, lists } = certificates?.validity() ?? {}
    return {
      listener: listener.certificateValidity(),
      clientAuthorities: authorities === undefined ? [] : [authorities],
      revocationLists: lists === undefined ? [] : [lists],
    }
  }
  const auditUsage = () => usageNumbers(parts().audit.usage())
  const auditSinks = () => sinkNumbers(parts().audit.sinks(), now())
  const metrics = createMetrics({
    version,
    openConnections: () => parts().listener.openConnections(),
    openExchanges: () => parts().forwarding.open.size,
    sessionsInUse: () => parts().sessions.countInUse(),
    newsAgeMs: () => parts().live.age(),
    isProviderReady: () => parts().relyingParty.isReady(),
    isAuditWritable: () => parts().audit.trail.isWritable(),
    auditTrail: () => parts().audit.trail.status(),
    auditUsage,
    auditSinks,
    arePolicyFilesInForce: () => parts().policy.failure() === undefined,
    expiries,
    keyDates: () => parts().keys.createdAt(),
  })
  return {
    metrics,
    findWarnings: () =>
      findWarnings({
        now: now(),
        audit: auditUsage(),
        sinks: auditSinks(),
        expiries: expiries(),
        keyDates: parts().keys.createdAt(),
        policyProblems: parts().policy.failure(),
      }),
  }
}

/** The same store, of which every operation is timed. Its event stream is a heartbeat, and is measured as the age of its news. */
export function measureStore(store: SessionStore, metrics: Pick<Metrics, 'observeStore'>, monotonicNow: () => number): SessionStore {
  const timed =
    (operation: string, run: (...asked: unknown[]) => unknown) =>
    (...asked: unknown[]): unknown => {
      const begunAt = monotonicNow()
      const answer = run(...asked)
      if (!(answer instanceof Promise)) return answer
      return answer.then(
        (value: unknown) => {
          metrics.observeStore(operation, (monotonicNow() - begunAt) / 1000, true)
          return value
        },
        (error: unknown) => {
          metrics.observeStore(operation, (monotonicNow() - begunAt) / 1000, false)
          throw error
        },
      )
    }
  // A port is an object of functions; their names become labels as Prometheus spells them.
  const measured = Object.entries(store).map(([name, method]: [string, unknown]) => {
    if (typeof method !== 'function' || name === 'openEvents' || name === 'close') return [name, method] as const
    const operation = name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
    return [name, timed(operation, method as (...asked: unknown[]) => unknown)] as const
  })
  return Object.fromEntries(measured) as unknown as SessionStore
}

/** What the trail takes of the room that there is for it: `audit.keep.size`, or the disk where that has less. */
export function usageNumbers({ bytes, diskFreeBytes, limitBytes }: TrailUsage): AuditUsageNumbers {
  const room = Math.min(limitBytes, diskFreeBytes === undefined ? limitBytes : bytes + diskFreeBytes)
  return { bytes, limitBytes, diskFreeBytes, share: room === 0 ? 0 : bytes / room }
}

/** What sinks say of themselves, as numbers. `now` in epoch milliseconds. */
export function sinkNumbers(sinks: readonly SinkStatus[], now: number): readonly AuditSinkNumbers[] {
  return sinks.map(({ oldestUnsentAt, ...status }) => ({
    ...status,
    lagSeconds: oldestUnsentAt === undefined ? 0 : Math.max(0, (now - oldestUnsentAt) / 1000),
  }))
}
