/**
 * The inventory of devices: which there are, by what they are recognised, whether they are blocked, and what was last heard of them.
 *
 * A record is the truth; aliases (fingerprint, certificate name, serial number, key) only lead to it, and an alias counts only while the
 * record still lists it. So a crash between two writes leaves a device that is not found, never one that is taken for another. What
 * identifies a device identifies one: a second claim to it is refused. Changes are compare-and-set; each is recorded with who made it.
 */

import type { DeviceClue, InventoryDevice } from '../attributes/device-record.ts'
import type { AdministrativeEvent } from '../audit/event.ts'
import { PosternError } from '../errors.ts'
import { type DeviceDefinition, type DeviceKey, isDeviceId } from './device-definition.ts'
import type { DurableRecords } from './durable-records.ts'

/** A device as the store keeps it. Never changed in place. */
export interface DeviceRecord extends InventoryDevice {
  readonly name: string
  readonly owner: string | undefined
  readonly status:
    | { readonly state: 'active' }
    | {
        readonly state: 'blocked'
        readonly reason: string
        readonly by: string
        readonly at: number
        /** Then the helpdesk may unblock it; of any other nobody in it may. */
        readonly isByHelpdesk?: boolean
      }
  readonly fingerprints: readonly string[]
  readonly names: readonly string[]
  readonly key: DeviceKey | undefined
  readonly registeredAt: number
  /** The last signed report that was accepted: none that is not later than it ever is. `iat` in epoch milliseconds. */
  readonly lastReport: { readonly iat: number; readonly jti: string; readonly receivedAt: number } | undefined
  /** When a management system last reported. */
  readonly lastManagementReportAt: number | undefined
}

/** Why a device was not registered. `taken`: what identifies it identifies another. */
export type RegistrationProblem =
  | { readonly problem: 'exists' }
  | { readonly problem: 'taken'; readonly what: AliasKind; readonly value: string; readonly by: string }

export type AliasKind = 'fingerprint' | 'name' | 'serial' | 'key'

/** For whom somebody acts. */
export interface DeviceRank {
  readonly isByHelpdesk: boolean
}

/** The inventory. Every method rejects with `session_store_unavailable` when the store does. */
export interface Devices {
  /** The device with this id. */
  find(id: string): Promise<DeviceRecord | undefined>
  /** The device that a certificate or claim speaks of; `undefined` too where the names of one certificate belong to several. */
  findByClue(clue: DeviceClue): Promise<DeviceRecord | undefined>
  /** All of them, in no order that means anything. */
  list(): AsyncIterable<DeviceRecord>
  /** Everything that stands against registering; nothing is written. */
  findProblems(definition: DeviceDefinition): Promise<readonly RegistrationProblem[]>
  /** Adds a device; if something stands against it, nothing of it stays. */
  register(
    definition: DeviceDefinition,
    actor: string,
    how?: 'device.registered' | 'device.imported',
  ): Promise<readonly RegistrationProblem[]>
  /**
   * Keeps it out, and ends the sessions that it identifies; `false` if there is no such device. One that is blocked already keeps its first
   * reason, and its sessions are looked for again; a block of the helpdesk becomes that of whoever else blocks.
   */
  block(id: string, reason: string, actor: string, as?: DeviceRank): Promise<boolean>
  /** `false` if there is no such device. `not_theirs`: the helpdesk, and somebody else blocked it, or nobody can tell who did. */
  unblock(id: string, actor: string, as?: DeviceRank): Promise<boolean | 'not_theirs'>
  /** Replaces its tags, by which rules look at it; `false` if there is no such device. They are to be tags as a definition has them. */
  setTags(id: string, tags: readonly string[], actor: string): Promise<boolean>
  /** Forgets the device and all that was heard of it. */
  remove(id: string, actor: string): Promise<boolean>
  /** Reads, changes and replaces until nobody came between; `change` returns `undefined` to leave it as it is. */
  update(id: string, change: (record: DeviceRecord) => DeviceRecord | undefined): Promise<DeviceRecord | undefined>
}

/** What the inventory is made of. */
export interface DevicesParts {
  readonly records: DurableRecords<DeviceRecord>
  /** Rejects if the event cannot be handed over. */
  readonly onEvent: (event: DeviceEvent) => void | Promise<void>
  /** Called with the id after every change, so that instances forget what they remember of the device. */
  readonly tell: (id: string) => Promise<void>
  /** Blocking a device is a lock on it as well, so that it holds also where no rule asks for a device. */
  readonly lock: (record: DeviceRecord, why: { readonly actor: string; readonly reason: string }) => Promise<void>
  readonly unlock: (id: string) => Promise<void>
  /** Ends the sessions that this device, now blocked, identifies. */
  readonly endSessions: (record: DeviceRecord, why: { readonly actor: string; readonly reason: string }) => Promise<unknown>
  /** Epoch milliseconds. */
  readonly now: () => number
}

export type DeviceEvent = Extract<AdministrativeEvent, { readonly device: string }>

/** Two reports and an admin at once are three; more rounds than this means that something is wrong. */
const updateRounds = 50

/** The inventory over durable records of the kind `device`. */
export function createDevices({ endSessions, lock, records, onEvent, now, tell, unlock }: DevicesParts): Devices {
  const find = async (id: string) => (isDeviceId(id) ? (await records.load(id))?.value : undefined)

  /** The device that an alias leads to, if it still answers to it. */
  async function findByAlias(kind: AliasKind, value: string): Promise<DeviceRecord | undefined> {
    const id = await records.findByAlias(kind, value)
    const record = id === undefined ? undefined : await find(id)
    return record !== undefined && aliasesOf(record).some((alias) => alias.kind === kind && alias.value === value) ? record : undefined
  }

  async function findByCertificate({ fingerprint, names }: Extract<DeviceClue, { kind: 'certificate' }>['certificate']) {
    const exact = await findByAlias('fingerprint', fingerprint)
    if (exact !== undefined) return exact
    const found = new Map<string, DeviceRecord>()
    const asked = [...new Set(names.map((name) => name.toLowerCase()))].slice(0, maxCertificateNames)
    for (const record of await Promise.all(asked.map((name) => findByAlias('name', name)))) {
      if (record !== undefined) found.set(record.id, record)
    }
    // A certificate with the names of two devices proves neither.
    return found.size === 1 ? [...found.values()][0] : undefined
  }

  async function findProblems(definition: DeviceDefinition): Promise<readonly RegistrationProblem[]> {
    // A claim names a device by id or by name, so that an id is also a name, and nobody else's.
    const aliases = [...aliasesOf({ ...definition }), { kind: 'name' as const, value: definition.id }]
    const owners = await Promise.all(
      aliases.map(async ({ kind, value }) => (kind === 'name' ? await find(value) : undefined) ?? (await findByAlias(kind, value))),
    )
    const taken = aliases.flatMap(({ kind, value }, index): RegistrationProblem[] => {
      const owner = owners[index]
      return owner === undefined || owner.id === definition.id ? [] : [{ problem: 'taken', what: kind, value, by: owner.id }]
    })
    return (await find(definition.id)) === undefined ? taken : [{ problem: 'exists' }, ...taken]
  }

  /** Takes an alias for a device. One that leads to a device which is gone, or does not list it any more, is free. */
  async function takeAlias(kind: AliasKind, value: string, id: string): Promise<RegistrationProblem | undefined> {
    for (let round = 0; round < 3; round++) {
      if (await records.setAlias(kind, value, id)) return undefined
      const holder = await findByAlias(kind, value)
      if (holder !== undefined) return { problem: 'taken', what: kind, value, by: holder.id }
      const gone = await records.findByAlias(kind, value)
      if (gone !== undefined) await records.removeAlias(kind, value, gone)
    }
    throw new PosternError('session_store_unavailable', 'an alias of a device kept changing hands')
  }

  /** The news goes out also where the trail did not take the event: what changed has changed. */
  async function heard(id: string, event: DeviceEvent | undefined): Promise<void> {
    try {
      if (event !== undefined) await onEvent(event)
    } finally {
      await tell(id)
    }
  }

  async function forget(record: Pick<DeviceRecord, 'id' | AliasSource>): Promise<boolean> {
    const isRemoved = await records.remove(record.id)
    for (const { kind, value } of aliasesOf(record)) await records.removeAlias(kind, value, record.id)
    return isRemoved
  }

  async function update(id: string, change: (record: DeviceRecord) => DeviceRecord | undefined): Promise<DeviceRecord | undefined> {
    if (!isDeviceId(id)) return undefined
    for (let round = 0; round < updateRounds; round++) {
      const loaded = await records.load(id)
      if (loaded === undefined) return undefined
      const changed = change(loaded.value)
      if (changed === undefined) return loaded.value
      if (await records.replace(id, changed, loaded.version)) return changed
    }
    throw new PosternError('session_store_unavailable', `a device could not be updated in ${updateRounds} rounds`)
  }

  return {
    find,
    findByClue: async (clue) => {
      if (clue.kind === 'certificate') return await findByCertificate(clue.certificate)
      const name = clue.id.toLowerCase()
      return (await find(name)) ?? (await findByAlias('name', name))
    },
    async *list() {
      for await (const { value } of records.list()) yield value
    },
    findProblems,
    async register(definition, actor, how = 'device.registered') {
      const problems = await findProblems(definition)
      if (problems.length > 0) return problems
      const record = recordOf(definition, now())
      if (!(await records.create(record.id, record))) return [{ problem: 'exists' }]
      try {
        for (const { kind, value } of aliasesOf(record)) {
          const problem = await takeAlias(kind, value, record.id)
          if (problem === undefined) continue
          await forget(record)
          return [problem]
        }
      } catch (error) {
        await forget(record).catch(() => undefined) // The store is away; the first failure says so.
        throw error
      }
      await heard(record.id, { event: how, device: record.id, actor, reason: undefined })
      return []
    },
    async block(id, reason, actor, as) {
      const rank = as?.isByHelpdesk === true ? { isByHelpdesk: true } : {}
      let isNew = false
      const record = await update(id, ({ status, ...present }) => {
        isNew = status.state === 'active' || (status.isByHelpdesk === true && as?.isByHelpdesk !== true)
        return isNew ? { ...present, status: { state: 'blocked', reason, by: actor, at: now(), ...rank } } : undefined
      })
      if (record === undefined) return false
      try {
        await heard(id, isNew ? { event: 'device.blocked', device: id, actor, reason } : undefined)
      } finally {
        try {
          // As it was blocked first: two accounts of one block would be one too many.
          if (record.status.state === 'blocked') await lock(record, { actor: record.status.by, reason: record.status.reason })
        } finally {
          await endSessions(record, { actor, reason })
          await records.confirm()
        }
      }
      return true
    },
    async unblock(id, actor, as) {
      let isNew = false
      let isTheirs = true
      const record = await update(id, ({ status, ...present }) => {
        isNew = status.state === 'blocked'
        isTheirs = status.state === 'active' || as?.isByHelpdesk !== true || status.isByHelpdesk === true
        return isNew && isTheirs ? { ...present, status: { state: 'active' } } : undefined
      })
      if (!isTheirs) return 'not_theirs'
      if (record !== undefined) {
        await unlock(id)
        // Blocked again between the two: that lock went with the old one.
        const present = (await records.load(id))?.value
        if (present?.status.state === 'blocked') await lock(present, { actor: present.status.by, reason: present.status.reason })
      }
      if (record !== undefined && isNew) await heard(id, { event: 'device.unblocked', device: id, actor, reason: undefined })
      return record !== undefined
    },
    async setTags(id, tags, actor) {
      let isNew = false
      const record = await update(id, (present) => {
        isNew = JSON.stringify(present.tags) !== JSON.stringify(tags)
        return isNew ? { ...present, tags } : undefined
      })
      if (record !== undefined && isNew) {
        await heard(id, { event: 'device.tagged', device: id, actor, reason: `tags: ${tags.length === 0 ? 'none' : tags.join(', ')}` })
      }
      return record !== undefined
    },
    async remove(id, actor) {
      const record = await find(id)
      if (record === undefined || !(await forget(record))) return false
      await unlock(id)
      await heard(id, { event: 'device.removed', device: id, actor, reason: undefined })
      return true
    },
    update,
  }
}

/** Names of one certificate that are looked up; none in earnest has more. */
const maxCertificateNames = 16

type AliasSource = 'fingerprints' | 'names' | 'serial' | 'key'

/** Everything that leads to a device. */
export function aliasesOf({
  fingerprints,
  names,
  serial,
  key,
}: Pick<DeviceRecord, AliasSource>): readonly { kind: AliasKind; value: string }[] {
  return [
    ...fingerprints.map((value) => ({ kind: 'fingerprint' as const, value })),
    ...names.map((value) => ({ kind: 'name' as const, value })),
    ...(serial === undefined ? [] : [{ kind: 'serial' as const, value: serial.toLowerCase() }]),
    ...(key === undefined ? [] : [{ kind: 'key' as const, value: key.thumbprint }]),
  ]
}

function recordOf(definition: DeviceDefinition, at: number): DeviceRecord {
  const { id, serial, name, owner, tags, fingerprints, names, key, attributes } = definition
  const entered = Object.fromEntries(Object.entries(attributes).map(([attribute, value]) => [attribute, { value, at }]))
  return {
    id,
    name,
    serial,
    owner,
    tags,
    status: { state: 'active' },
    fingerprints,
    names,
    key,
    entered,
    reported: { report: {}, management: {} },
    registeredAt: at,
    lastReport: undefined,
    lastManagementReportAt: undefined,
  }
}
