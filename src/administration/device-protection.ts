/**
 * Whether a device is an admin's: then the helpdesk neither blocks nor locks it, nor lets it in again.
 *
 * It is, if an admin owns it by the inventory, has a live session on it, or was last seen with claims that name it. Deny is the floor: where
 * the store cannot be asked, it is. All people are gone through, but only admins' sessions are opened.
 */

import { findClaim } from '../policy/claim-path.ts'
import type { People } from '../session/people.ts'
import { isSessionOf } from './device-sessions.ts'
import type { DeviceRecord } from './devices.ts'
import type { PeopleProtection } from './protected-people.ts'
import type { AdministeredSessions } from './sessions.ts'

export interface DeviceProtectionParts {
  readonly people: Pick<People, 'findPeople' | 'listPeople'>
  readonly sessions: Pick<AdministeredSessions, 'list'>
  readonly protection: Pick<PeopleProtection, 'isProtectedPerson'>
  /** Path of the claim that names the device. */
  readonly deviceIdClaim: readonly string[] | undefined
}

/** Never rejects. */
export interface DeviceProtection {
  isProtectedDevice(device: Pick<DeviceRecord, 'id' | 'owner' | 'names' | 'fingerprints'>): Promise<boolean>
}

/** The question over people and sessions as the store has them. */
export function createDeviceProtection({ deviceIdClaim, people, protection, sessions }: DeviceProtectionParts): DeviceProtection {
  async function judge(device: Parameters<DeviceProtection['isProtectedDevice']>[0]): Promise<boolean> {
    for (const owner of device.owner?.includes('@') === true ? await people.findPeople(device.owner) : []) {
      if (await protection.isProtectedPerson(owner)) return true
    }
    const { people: all } = await people.listPeople()
    for await (const person of all) {
      if (!(await protection.isProtectedPerson(person))) continue
      if (device.owner !== undefined && device.owner === person.sub) return true
      const claimed = deviceIdClaim === undefined ? undefined : findClaim(person.claims, deviceIdClaim)
      if (typeof claimed === 'string' && [device.id, ...device.names].includes(claimed.toLowerCase())) return true
      for await (const { session } of sessions.list(person)) if (isSessionOf(device, session, deviceIdClaim)) return true
    }
    return false
  }

  return {
    async isProtectedDevice(device) {
      try {
        return await judge(device)
      } catch {
        // Whoever asks is refused; the store's own trouble is in the log already.
        return true
      }
    },
  }
}
