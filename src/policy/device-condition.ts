/**
 * `device`: which device a request comes from and in what state it is, one key for each thing that a rule can ask.
 *
 * Trusts an attribute only as far as its source and age go: what a device or a management system reported counts only for a device in the
 * inventory and for as long as `reported_within` says; what the provider claims ages the same but needs no inventory; what an
 * admin entered does not age. Everything else is unknown, with the reason. A claim of a device is no proof of it.
 */

import type { LeafCondition } from './condition.ts'
import { type ConditionKey, joinKeys } from './condition-keys.ts'
import { type BooleanSetting, compileAttribute, compileBoolean, compileOs, compileReportAge, nextAgeing } from './device-posture.ts'
import type { DeviceCondition } from './document.ts'
import type { Device, Facts, Known } from './facts.ts'
import { outcomeOf } from './outcome.ts'

/** Compiles a condition on the device. Throws `TypeError` for a version that nothing could be compared with. */
export function compileDeviceCondition(condition: DeviceCondition): LeafCondition {
  const { reportedWithinSeconds: within } = condition
  const keys: ConditionKey[] = []
  if (condition.known !== undefined) keys.push(compileKnown(condition.known))
  if (condition.identifiedBy !== undefined) keys.push(compileIdentifiedBy(condition.identifiedBy))
  if (condition.serials !== undefined) keys.push(compileSerials(condition.serials))
  if (condition.tags !== undefined) keys.push(compileTags(condition.tags))
  if (condition.isReportAsked) keys.push(compileReportAge(within))
  for (const [setting, wanted] of booleansOf(condition)) if (wanted !== undefined) keys.push(compileBoolean(setting, wanted, within))
  if (condition.os !== undefined) keys.push(compileOs(condition.os, within))
  for (const { name, values } of condition.attributes ?? []) keys.push(compileAttribute(name, values, within))
  return { ...joinKeys('device', keys, ['device']), findNextChange: nextAgeing(within) }
}

function booleansOf(condition: DeviceCondition): [BooleanSetting, boolean | undefined][] {
  return [
    ['managed', condition.managed],
    ['disk_encrypted', condition.diskEncrypted],
    ['screen_lock', condition.screenLock],
    ['firewall', condition.firewall],
  ]
}

/** The one thing that is certain about a person whose request names no device: it is none that we know. */
function compileKnown(wanted: boolean): ConditionKey {
  const isKnown = (device: Known<Device>) => (device.known ? device.value.isKnown : device.why === 'no_device' ? false : undefined)
  return {
    judge: ({ device }) => {
      const known = isKnown(device)
      return known === undefined ? 'unknown' : outcomeOf(known === wanted)
    },
    findRemedy: ({ device }) => {
      if (!device.known) return { remedy: 'device_unidentified' }
      return { remedy: wanted ? 'device_unknown' : 'condition_not_met' }
    },
    trace: ({ device }) => {
      const known = isKnown(device)
      const value = known === undefined && !device.known ? device : ({ known: true, value: known } as const)
      return { fact: 'device.known', wanted: String(wanted), value, source: 'inventory', at: undefined }
    },
  }
}

function compileIdentifiedBy(wanted: Device['identifiedBy']): ConditionKey {
  return {
    judge: ({ device }) => (device.known ? outcomeOf(device.value.identifiedBy === wanted) : 'unknown'),
    findRemedy: ({ device }) => {
      if (!device.known) return { remedy: 'device_unidentified' }
      return { remedy: wanted === 'certificate' ? 'device_not_proven' : 'condition_not_met' }
    },
    trace: ({ device }) => ({
      fact: 'device.identified_by',
      wanted,
      value: device.known ? { known: true, value: device.value.identifiedBy } : device,
      source: device.known ? device.value.identifiedBy : 'none',
      at: undefined,
    }),
  }
}

function compileSerials(wanted: readonly string[]): ConditionKey {
  const serials = new Set(wanted)
  return fromInventory(
    'device.serial',
    wanted,
    (device) => device.serial,
    (serial) => serials.has(serial),
  )
}

function compileTags(wanted: readonly string[]): ConditionKey {
  const tags = new Set(wanted)
  return fromInventory(
    'device.tags',
    wanted,
    (device) => device.tags,
    (present) => present.some((tag) => tags.has(tag)),
  )
}

/** What the inventory says of a device; of a device that is not in it, nothing. */
function fromInventory<T>(
  fact: string,
  wanted: readonly string[],
  pick: (device: Device) => T | undefined,
  holds: (value: T) => boolean,
): ConditionKey {
  const find = ({ device }: Facts) => (device.known && device.value.isKnown ? pick(device.value) : undefined)
  return {
    judge: (facts) => {
      const value = find(facts)
      return value === undefined ? 'unknown' : outcomeOf(holds(value))
    },
    findRemedy: (facts) => {
      if (!facts.device.known) return { remedy: 'device_unidentified' }
      return { remedy: facts.device.value.isKnown ? 'device_not_listed' : 'device_unknown' }
    },
    trace: (facts) => {
      const value = find(facts)
      const why = !facts.device.known ? facts.device.why : facts.device.value.isKnown ? 'not_in_inventory' : 'device_unknown'
      return {
        fact,
        wanted: wanted.join(', '),
        value: value === undefined ? { known: false, why } : { known: true, value },
        source: 'inventory',
        at: undefined,
      }
    },
  }
}
