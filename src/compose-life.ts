/**
 * The part of the composition root that lets commands look at what the store holds (people and devices seen, the policy), and do nothing else.
 *
 * Unlike `compose-administration.ts` it makes nothing that is not there: no key file, no store, no trail. What is read comes out of `check`
 * as numbers and as names that many share, so nothing of it is recorded as an access to anybody.
 */

import { existsSync } from 'node:fs'
import { createDevices, type DeviceRecord } from './administration/devices.ts'
import { createDurableRecords } from './administration/durable-records.ts'
import type { PolicyRevisions } from './administration/policy-history.ts'
import { createPolicyRevisions } from './administration/policy-revisions.ts'
import { createLiveProbes, type OpenedLife } from './commands/live-probes.ts'
import { now as clock } from './compose-machine.ts'
import { createUpstreamLookup } from './compose-reach.ts'
import { hasStore, loadStoreReport, openAdministeredStore } from './compose-store.ts'
import type { InstanceConfiguration } from './config/instance.ts'
import { loadKeys } from './keys-file.ts'
import type { Logger } from './log.ts'
import { createPeople } from './session/people.ts'
import { createSealedRecords } from './session/sealed-records.ts'

/** Probes for `postern check --live`. */
export function liveProbes(log: Logger) {
  return createLiveProbes({
    now: clock,
    log,
    lookupOf: createUpstreamLookup,
    storeReport: (configuration) => loadStoreReport(configuration, log),
    openLife: (configuration) => openLife(configuration, { now: clock, log }),
  })
}

/** Opens the store of a configuration. `undefined` where none was ever made; rejects with `PosternError` if it does not open. */
export async function openLife(
  configuration: Pick<InstanceConfiguration, 'session' | 'dataDir' | 'keysFile'>,
  { now, log }: { readonly now: () => number; readonly log: Logger },
): Promise<OpenedLife | undefined> {
  if (!hasStore(configuration) || !existsSync(configuration.keysFile)) return undefined
  const ring = loadKeys(configuration.keysFile, now())
  const keys = () => ring
  const { store } = await openAdministeredStore(configuration, { now, log })
  const records = createDurableRecords<DeviceRecord>('device', { store, keys, log })
  return {
    people: createPeople(store, createSealedRecords(store, keys, log)),
    devices: createDevices({
      records,
      now,
      onEvent: () => undefined,
      tell: async () => undefined,
      endSessions: async () => undefined,
      lock: async () => undefined,
      unlock: async () => undefined,
    }),
    close: () => store.close(),
  }
}

/** The revisions of a managed policy, for reading. */
export interface OpenedHistory {
  readonly revisions: Pick<PolicyRevisions, 'head' | 'load' | 'list'>
  close(): Promise<void>
}

/** Opens them. `undefined` where no store was ever made; rejects with `PosternError` if it does not open. */
export async function openPolicyHistory(
  configuration: Pick<InstanceConfiguration, 'session' | 'dataDir' | 'keysFile'>,
  log: Logger,
): Promise<OpenedHistory | undefined> {
  if (!hasStore(configuration) || !existsSync(configuration.keysFile)) return undefined
  const ring = loadKeys(configuration.keysFile, clock())
  const { store } = await openAdministeredStore(configuration, { now: clock, log })
  const nothing = () => Promise.reject(new TypeError('nothing is published here'))
  return {
    revisions: createPolicyRevisions({ store, keys: () => ring, log, recordFirst: nothing, tell: nothing }),
    close: () => store.close(),
  }
}
