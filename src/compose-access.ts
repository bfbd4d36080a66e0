/**
 * The part of the composition root that cuts people off: locks, sessions as administrators see them, the inventory, and break-glass.
 *
 * The same for a command and for an instance that serves: only who ends sessions, and what hears of it, is handed in.
 */

import { type AccessOrders, createAccessOrders } from './administration/access-orders.ts'
import { parseAdministrativeEvent } from './administration/administrative-event.ts'
import { isSessionOf } from './administration/device-sessions.ts'
import { createDevices, type DeviceRecord, type Devices } from './administration/devices.ts'
import { createDurableRecords } from './administration/durable-records.ts'
import { createLocks, type LockRecord, type Locks } from './administration/locks.ts'
import { type AdministeredSessions, createAdministeredSessions } from './administration/sessions.ts'
import { issuersOf } from './administration/subject-lookup.ts'
import type { AdministrativeEvent, AuditTrail } from './audit/event.ts'
import type { InstanceConfiguration } from './config/instance.ts'
import type { CurrentKeys } from './keys.ts'
import type { Logger } from './log.ts'
import { createPeople, type People } from './session/people.ts'
import { createSealedRecords, type SealedRecords } from './session/sealed-records.ts'
import { hashOf } from './session/secret.ts'
import type { Sessions } from './session/sessions.ts'
import type { SessionStore } from './session/store.ts'

/** What cuts people off. */
export interface Access {
  readonly locks: Locks
  readonly sessions: AdministeredSessions
  readonly devices: Devices
  readonly orders: AccessOrders
  readonly people: People
  readonly records: SealedRecords
}

/** What it is made of. */
export interface ComposeAccessParts {
  readonly configuration: Pick<InstanceConfiguration, 'session' | 'provider'>
  readonly store: SessionStore
  readonly keys: CurrentKeys
  readonly log: Logger
  readonly now: () => number
  readonly ends: Pick<Sessions, 'endSessions' | 'endSubject'>
  /** Rejects if the event cannot be handed over. */
  readonly record: (event: AdministrativeEvent) => void | Promise<void>
}

/** Connects them. Holds nothing that needs closing. */
export function composeAccess({ configuration, ends, now, record, ...durable }: ComposeAccessParts): Access {
  const { store, keys, log } = durable
  const records = createSealedRecords(store, keys, log)
  const people = createPeople(store, records)
  const locks = createLocks({ records: createDurableRecords<LockRecord>('lock', durable), store, record })
  const sessions = createAdministeredSessions({ store, records, people, limits: configuration.session, ends, record })
  const devices = createDevices({
    records: createDurableRecords<DeviceRecord>('device', durable),
    onEvent: record,
    tell: (id) => tellOfDevice(store, id),
    lock: (device, { actor, reason }) => locks.holdDevice(device, reason, actor),
    unlock: locks.releaseDevice,
    endSessions: (device, why) =>
      sessions.revokeMatching((session) => isSessionOf(device, session, configuration.provider.claims.deviceId), why),
    now,
  })
  const orders = createAccessOrders({ locks, sessions, people, devices, issuers: issuersOf(configuration.provider.issuer) })
  return { locks, sessions, devices, orders, people, records }
}

/** Tells every instance that what it remembers of a device is out of date. */
export function tellOfDevice(store: Pick<SessionStore, 'publish'>, id: string): Promise<void> {
  return store.publish({ kind: 'device', detail: hashOf(id) })
}

/**
 * What must be on the disk before a command goes on: an emergency sign-in, a look at other people's data, the removal of evidence, and what is on
 * record before it is done: roles, tokens, and every step on the way to another policy.
 */
const recordedFirst: ReadonlySet<string> = new Set<AdministrativeEvent['event']>([
  'break_glass.issued',
  'console.invited',
  'console.uninvited',
  'token.created',
  'token.rotated',
  'token.revoked',
  'policy.drafted',
  'policy.proposed',
  'policy.discarded',
  'policy.published',
  'policy.publication_refused',
  'data.read',
  'audit.pruned',
  'store.adopted',
])

/**
 * What takes the events of commands that use this instance's store into its trail; `false` for one that it does not take. Others than those of
 * `recordedFirst` are taken at once: a lock must not wait for a disk.
 */
export function createEventIntake({
  audit,
  record,
  log,
}: {
  readonly audit: Pick<AuditTrail, 'isWritable' | 'settle'>
  readonly record: (event: AdministrativeEvent) => void
  readonly log: Logger
}): (event: unknown) => Promise<boolean> {
  return async (event) => {
    const parsed = parseAdministrativeEvent(event)
    if (parsed === undefined || (parsed.event === 'break_glass.issued' && !audit.isWritable())) return false
    record(parsed)
    if (recordedFirst.has(parsed.event) && !(await audit.settle())) return false
    if (parsed.event === 'break_glass.issued') log.warn(parsed, 'alert')
    return true
  }
}
