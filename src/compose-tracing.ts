/**
 * The part of the composition root that puts spans around what is composed: the flow, the access host, and calls of the store and the provider.
 *
 * Without `tracing:` everything is handed back as it came and nothing of OpenTelemetry is loaded: 65 ms at start and some 20 MB that
 * nobody else needs.
 */

import { hostname } from 'node:os'
import type { TracingConfiguration } from './config/instance.ts'
import type { EnforcementPorts } from './enforcement/ports.ts'
import type { RelyingParty } from './oidc/relying-party.ts'
import type { SessionStore } from './session/store.ts'
import type { Tracing, TracingOptions } from './tracing.ts'

export interface ComposedTracing {
  readonly startTrace: EnforcementPorts['startTrace']
  store<T extends SessionStore>(store: T): T
  provider(relyingParty: RelyingParty): RelyingParty
  accessHost: Tracing['traceAccessHost']
  close(): Promise<void>
}

/** What a request may wait for. Its heartbeat, the stream of events and the end are nobody's request. */
const storeCalls = [
  ...(['loadNow', 'createRecord', 'loadRecord', 'replaceRecord', 'takeRecord', 'removeRecord'] as const),
  ...(['addToIndex', 'removeFromIndex', 'loadIndex', 'recordEnds', 'loadEnds'] as const),
  ...(['acquireLock', 'renewLock', 'releaseLock', 'publish'] as const),
  ...(['createDurable', 'loadDurable', 'replaceDurable', 'removeDurable', 'listDurable', 'confirmDurable'] as const),
] satisfies readonly (keyof SessionStore)[]

const providerCalls = ['beginSignIn', 'completeSignIn', 'refresh', 'verifyLogoutToken'] as const satisfies readonly (keyof RelyingParty)[]

/** Loads and creates what is configured. */
export async function composeTracing(
  settings: TracingConfiguration | undefined,
  parts: Pick<TracingOptions, 'version' | 'log' | 'now' | 'monotonicNow'>,
): Promise<ComposedTracing> {
  if (settings === undefined) {
    return {
      startTrace: undefined,
      store: (store) => store,
      provider: (relyingParty) => relyingParty,
      accessHost: (handle) => handle,
      close: () => Promise.resolve(),
    }
  }
  const { createTracing } = await import('./tracing.ts')
  const tracing = createTracing({ settings, instance: hostname(), ...parts })
  return {
    startTrace: tracing.startTrace,
    store: (store) => tracing.traceCalls(store, 'store', storeCalls),
    provider: (relyingParty) => tracing.traceCalls(relyingParty, 'provider', providerCalls),
    accessHost: tracing.traceAccessHost,
    close: tracing.close,
  }
}
