/**
 * The part of the composition root that knows which store there is: Redis, the embedded file, or the embedded file of a running instance.
 *
 * Everyone else gets the port. An instance opens its store with `openStore`; with the embedded one it also listens for commands. A
 * command uses Redis directly, or asks the instance over `data_dir/control.sock`, or opens the file where nobody listens.
 */

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { AdministrativeEvent } from './audit/event.ts'
import type { InstanceConfiguration } from './config/instance.ts'
import { storeAddresses as namedStoreAddresses } from './config/store-address.ts'
import { isPosternError, PosternError } from './errors.ts'
import type { Logger } from './log.ts'
import type { ReadinessCheck } from './operations.ts'
import type { SessionStore } from './session/store.ts'
import { connectToInstance } from './stores/control-client.ts'
import { type ControlServerParts, controlSocketPath, listenForCommands } from './stores/control-server.ts'
import type { StoreReport } from './stores/redis-report.ts'

type StoreConfiguration = Pick<InstanceConfiguration, 'session' | 'dataDir'>

/** What a store is opened with besides its configuration. */
export interface OpenStoreParts {
  /** Epoch milliseconds. */
  readonly now: () => number
  readonly log: Logger
  /** Hears of each operation that it refuses or does not answer. */
  readonly onUnavailable?: () => void
}

/** Each adapter brings a library of its own, some twenty megabytes with Redis; an instance loads the one that it uses. */
const loadRedisAdapter = async () => (await import('./stores/redis.ts')).createRedisStore
const loadEmbeddedAdapter = async () => (await import('./stores/embedded.ts')).createEmbeddedStore

/** One command of the store may take so long; a request waits for two at the most. */
const storeTimeoutMs = 1000

/** A command has nothing to do without its store, so it waits longer than a request would. */
const connectMs = 3000

/** The store that the configuration names, for a serving instance. */
export async function openStore(
  { session: { store }, dataDir }: StoreConfiguration,
  { now, log, onUnavailable }: OpenStoreParts,
): Promise<SessionStore> {
  return store.kind === 'redis'
    ? (await loadRedisAdapter())({ url: store.url.reveal(), log, commandTimeoutMs: storeTimeoutMs, onUnavailable })
    : (await loadEmbeddedAdapter())({ file: embeddedFile(dataDir), now, log, onUnavailable })
}

function embeddedFile(dataDir: string): string {
  return join(dataDir, 'store.sqlite')
}

/** Whether opening the store would find one. `false` where it is embedded and opening would make an empty file of whoever asks. */
export function hasStore({ session: { store }, dataDir }: StoreConfiguration): boolean {
  return store.kind === 'redis' || existsSync(embeddedFile(dataDir))
}

/** Lets commands use an embedded store while this instance has it open; with Redis they need nobody's help. */
export async function listenForAdministration(
  { session, dataDir }: StoreConfiguration,
  { store, record, log }: { readonly store: SessionStore; readonly record: ControlServerParts['record']; readonly log: Logger },
): Promise<{ close(): Promise<void> }> {
  if (session.store.kind === 'redis') return { close: async () => undefined }
  return listenForCommands({ folder: dataDir, store, record, log })
}

/** The store as a command reaches it. */
export interface AdministeredStore {
  readonly store: SessionStore
  /** Hands an event to the trail of the instance that runs; `undefined` where the command keeps a trail of its own. */
  readonly recordEvent: ((event: AdministrativeEvent) => Promise<void>) | undefined
}

/** Opens the store for a command. Rejects with `session_store_unavailable` and a sentence that says what stands in the way. */
export async function openAdministeredStore(configuration: StoreConfiguration, { now, log }: OpenStoreParts): Promise<AdministeredStore> {
  const { session, dataDir } = configuration
  if (session.store.kind === 'redis') {
    const store = (await loadRedisAdapter())({ url: session.store.url.reveal(), log, commandTimeoutMs: storeTimeoutMs })
    try {
      await store.waitUntilReady(connectMs)
    } catch (error) {
      await store.close()
      throw error
    }
    return { store, recordEvent: undefined }
  }
  const path = findSocketPath(dataDir)
  const until = performance.now() + connectMs
  for (;;) {
    const client = path === undefined ? undefined : await connectToInstance(path)
    if (client !== undefined) return { store: client, recordEvent: client.recordEvent }
    try {
      return { store: await openStore(configuration, { now, log }), recordEvent: undefined }
    } catch (error) {
      if (!isPosternError(error)) throw error
      // An instance that starts or stops, or another command, has the file open and listens not yet, or no longer.
      if (performance.now() < until) await delay(50)
      // Where the path is too long, this says what to do.
      else
        throw new PosternError('session_store_unavailable', `${error.message}; nobody listens on ${controlSocketPath(dataDir)}`, {
          cause: error,
        })
    }
  }
}

/** A path that is too long is one where nobody can be listening. */
function findSocketPath(dataDir: string): string | undefined {
  try {
    return controlSocketPath(dataDir)
  } catch {
    // Its sentence is for when the file turns out to be in use.
    return undefined
  }
}

/** Where the store listens: no app's upstream may be there. */
export function storeAddresses({
  session: { store },
}: Pick<InstanceConfiguration, 'session'>): readonly { readonly host: string; readonly port: number }[] {
  if (store.kind === 'embedded') return []
  return namedStoreAddresses(store.url)
}

/** What `postern check --live` says about a server; `undefined` where there is none. */
export async function loadStoreReport({ session }: Pick<InstanceConfiguration, 'session'>, log: Logger): Promise<StoreReport | undefined> {
  if (session.store.kind === 'embedded') return undefined
  const redis = (await loadRedisAdapter())({ url: session.store.url.reveal(), log, commandTimeoutMs: storeTimeoutMs })
  try {
    await redis.waitUntilReady(connectMs)
    return await redis.loadReport()
  } finally {
    await redis.close()
  }
}

/** What `/readyz` says, a line each. */
export async function findReadiness({
  audit,
  isStopping,
  policy,
  relyingParty,
  store,
}: {
  readonly store: SessionStore
  readonly relyingParty: { isReady(): boolean }
  readonly policy: { checkReady(): ReadinessCheck }
  readonly audit: { isWritable(): boolean }
  readonly isStopping: boolean
}): Promise<readonly ReadinessCheck[]> {
  return [
    { name: 'serving', isReady: !isStopping, detail: 'stopping' },
    await checkStore(store),
    { name: 'provider', isReady: relyingParty.isReady(), detail: 'discovery has not succeeded yet' },
    policy.checkReady(),
    { name: 'audit', isReady: audit.isWritable(), detail: 'lines are being lost' },
  ]
}

async function checkStore(store: SessionStore): Promise<ReadinessCheck> {
  try {
    await store.checkReady()
    return { name: 'store', isReady: true, detail: undefined }
  } catch {
    // Why it does not answer is in the log; an address or a password has no place on a page.
    return { name: 'store', isReady: false, detail: 'the session store does not answer' }
  }
}
