/**
 * Which device a request comes from, and what is known about it: one fact from three sources (client certificate, provider claims,
 * posture reports), each attribute with its source and age.
 *
 * A certificate proves that the device is on this very connection; a claim only repeats what the provider believed at sign-in. A session
 * that was begun with a certificate is bound to it: the same certificate has to come with every request, else the device has changed.
 */

import type { IncomingMessage } from 'node:http'
import type { Device, Known } from '../policy/facts.ts'
import type { Session } from '../session/session.ts'
import type { ClaimsState } from './subject-facts.ts'

/** What a request shows of its device. */
export interface DeviceReading {
  readonly device: Known<Device>
  /** The session is bound to another certificate than the one presented, or none was presented. */
  readonly isChanged: boolean
  /** Where its certificate cannot be seen: the device of the inventory that the session began on, by id. For locks alone, never for a rule. */
  readonly begunOn?: string
}

/**
 * Reads the device of a request. `recall` answers at once from memory that is young enough; else `read` has to be asked. With `unknown`
 * claims (too old to stand) nothing is told by a claim.
 */
export interface DeviceReader {
  recall(request: IncomingMessage, session: Session, claimsState?: ClaimsState): DeviceReading | undefined
  /** Rejects with `session_store_unavailable` where the inventory cannot be asked. */
  read(request: IncomingMessage, session: Session, claimsState?: ClaimsState): Promise<DeviceReading>
}

/** The device facts of nobody and of services. */
export const noDeviceOfOwn: Known<Device> = { known: false, why: 'not_a_person' }

/** Where no rule of the app asks for a device. */
export const deviceNotGathered: Known<Device> = { known: false, why: 'not_gathered' }

/** Nothing on the request names a device. */
export const unidentified: DeviceReading = { device: { known: false, why: 'no_device' }, isChanged: false }

/** For an instance that has no way to tell devices apart. */
export const noDevices: DeviceReader = { recall: () => unidentified, read: async () => unidentified }
