/**
 * The part of the composition root that lets `check` look at people and devices seen, and do nothing else.
 *
 * Unlike `compose-administration.ts` it makes nothing that is not there: no key file, no store, no trail. What is read comes out of `check`
 * as numbers and as names that many share, so nothing of it is recorded as an access to anybody.
 */

import { existsSync } from 'node:fs'
import { createDevices, type DeviceRecord } from './administration/devices.ts'
import { createDurableRecords } from './administration/durable-records.ts'
import type { OpenedLife } from './commands/live-probes.ts'
import { hasStore, openAdministeredStore } from './compose-store.ts'
import type { InstanceConfiguration } from './config/instance.ts'
import { loadKeys } from './keys-file.ts'
import type { Logger } from './log.ts'
import { createPeople } from './session/people.ts'
import { createSealedRecords } from './session/sealed-records.ts'

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
