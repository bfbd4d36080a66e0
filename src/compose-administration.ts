/**
 * The composition root of commands on a running system: what `postern token`, `device` and the like are given.
 *
 * The same use cases as in the console, over the store as a command reaches it (`compose-store.ts`); none of it needs the provider, so it
 * works when that is down. Everything that is done is recorded as `os:<user>@<host>`: in the trail of the instance whose socket was
 * used, else in a folder of this command's own beside it.
 */

import { hostname, userInfo } from 'node:os'
import { join } from 'node:path'
import { createDevices, type DeviceRecord, type Devices } from './administration/devices.ts'
import { createDurableRecords } from './administration/durable-records.ts'
import { type ResealReport, resealDurable } from './administration/resealing.ts'
import { createTokens, type TokenRecord, type Tokens } from './administration/tokens.ts'
import type { AdministrativeEvent } from './audit/event.ts'
import { createAuditTrail } from './audit/trail.ts'
import { now } from './compose.ts'
import { type AdministeredStore, openAdministeredStore } from './compose-store.ts'
import type { InstanceConfiguration } from './config/instance.ts'
import { PosternError } from './errors.ts'
import type { CurrentKeys } from './keys.ts'
import { createKeysFile, loadKeys } from './keys-file.ts'
import { createLogger, type Logger } from './log.ts'
import { createPeople, type People } from './session/people.ts'
import { createSealedRecords } from './session/sealed-records.ts'
import type { SessionStore } from './session/store.ts'

/** What a command on a running system works with. */
export interface Administration {
  /** Who does it, as the trail says it. */
  readonly actor: string
  readonly store: SessionStore
  readonly keys: CurrentKeys
  readonly tokens: Tokens
  /** Who has signed in here, as last seen. */
  readonly people: People
  readonly devices: Devices
  /** Resolves once the running instance has it, or it waits for `close` to write it. */
  record(event: AdministrativeEvent): Promise<void>
  /** Call it however the command ends. Rejects with `audit_unavailable` if what was done could not be written down. */
  close(): Promise<void>
}

/** What of the configuration is needed: neither the provider nor the policy. */
export type AdministrationConfiguration = Pick<InstanceConfiguration, 'session' | 'dataDir' | 'keysFile'>

/** Opens the store for one command. Rejects with `PosternError`; then nothing is left open. */
export async function openAdministration(configuration: AdministrationConfiguration, log: Logger): Promise<Administration> {
  // As a serving instance does: with a shared store, keys of this machine's own would open nothing.
  if (configuration.session.store.kind === 'embedded') createKeysFile(configuration.keysFile, now())
  const ring = loadKeys(configuration.keysFile, now())
  const keys = () => ring
  const opened = await openAdministeredStore(configuration, { now, log })
  const { store } = opened
  const trail = openTrail(opened, configuration, log)
  const durable = { store, keys, log }

  return {
    actor: describeActor(),
    store,
    keys,
    tokens: createTokens({
      records: createDurableRecords<TokenRecord>('token', durable),
      now,
      monotonicNow: () => performance.now(),
      record: trail.record,
    }),
    devices: createDevices({ records: createDurableRecords<DeviceRecord>('device', durable), now, onEvent: trail.record }),
    people: createPeople(store, createSealedRecords(store, keys, log)),
    record: trail.record,
    async close() {
      try {
        await trail.close()
      } finally {
        await store.close()
      }
    },
  }
}

/** Seals every durable record with the current key: what `keys rotate` does for the time when no instance runs. */
export async function resealRecords(configuration: AdministrationConfiguration): Promise<ResealReport> {
  const log = createLogger('error', 'stderr')
  const { store, keys, close } = await openAdministration(configuration, log)
  try {
    return await resealDurable({ store, keys, log })
  } finally {
    await close()
  }
}

/** The running instance's trail, or one of this command's own: no two processes write into one file. */
function openTrail({ recordEvent }: AdministeredStore, { dataDir }: AdministrationConfiguration, log: Logger) {
  if (recordEvent !== undefined) return { record: recordEvent, close: async () => undefined }
  let failure: unknown
  const folder = join(dataDir, 'audit')
  const trail = createAuditTrail({
    folder,
    instance: hostname(),
    process: `command-${process.pid}`,
    now,
    log: {
      warn: log.warn,
      error: (...args: Parameters<Logger['error']>) => {
        log.error(...args)
        failure ??= (args[0] as { readonly err?: unknown }).err ?? 'lost'
      },
    },
  })
  return {
    record: async (event: AdministrativeEvent) => trail.record(event),
    async close() {
      await trail.close()
      if (failure !== undefined)
        throw new PosternError('audit_unavailable', `what was done could not be written down in ${folder}`, { cause: failure })
    },
  }
}

/** A container may run as a user that has a number and no name. */
function describeActor(): string {
  let user: string
  try {
    user = userInfo().username
  } catch {
    // There is no entry for this user; its number says as much.
    user = String(process.getuid?.() ?? 'unknown')
  }
  return `os:${user}@${hostname()}`
}
