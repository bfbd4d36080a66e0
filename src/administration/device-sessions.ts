/**
 * Which sessions a device identifies: those that began with one of its certificates, and those whose claims name it.
 *
 * A device that is blocked ends them, so that a laptop that was stolen loses what is open on it also where no rule asks for a device. Whoever
 * signs in on it again meets the block. Names of certificates and ids are compared without regard to case, as the inventory does.
 */

import { findClaim } from '../policy/claim-path.ts'
import type { Session } from '../session/session.ts'
import type { DeviceRecord } from './devices.ts'

/** Whether the session is identified with the device. `deviceId` is the path of the claim that names it, if the provider has one. */
export function isSessionOf(
  { fingerprints, id, names }: Pick<DeviceRecord, 'id' | 'fingerprints' | 'names'>,
  { claims, device }: Pick<Session, 'claims' | 'device'>,
  deviceId: readonly string[] | undefined,
): boolean {
  if (device !== undefined) {
    return fingerprints.includes(device.certificate) || device.names.some((name) => names.includes(name.toLowerCase()))
  }
  const claimed = deviceId === undefined ? undefined : findClaim(claims.all, deviceId)
  if (typeof claimed !== 'string') return false
  const called = claimed.toLowerCase()
  return called === id || names.includes(called)
}
