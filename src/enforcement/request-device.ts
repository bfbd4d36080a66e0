/**
 * The device of a signed-in person's request: what is decided on, and what is recorded of it.
 *
 * Where a rule of the app asks for a device, or a session is bound to one, or a device is locked, the request waits until it is known.
 * Elsewhere nobody waits and nothing is decided by it, but the trail records what memory has: a policy that is tried later may
 * ask for it. What memory has not is learnt beside the request, so that the next one finds it. A blocked device is no mere
 * evidence: it stands in the facts only where it decides.
 */

import { type DeviceReading, deviceNotGathered } from '../attributes/device-facts.ts'
import type { Facts } from '../policy/facts.ts'
import type { SessionLookup } from '../session/session.ts'
import type { Arrival, EnforcementPoint } from './arrival.ts'
import type { Target } from './exchange.ts'
import type { Route } from './route-table.ts'

export interface RequestDevice {
  /** The session is bound to another device than this one. */
  readonly isChanged: boolean
  /** What is decided on. */
  readonly device: Facts['device']
  readonly onRecord: Facts['device']
  /** By its id in the inventory; `undefined` where it is in none, or nobody asked. */
  readonly id: string | undefined
}

interface Asked {
  readonly route: Route
  readonly target: Target
}

type Live = Extract<SessionLookup, { state: 'live' }>

/** Finds it out. Rejects with `session_store_unavailable` where a decision needs it and the inventory cannot be asked. */
export async function gatherDevice(
  point: EnforcementPoint,
  arrival: Arrival,
  { route, target }: Asked,
  lookup: Live,
): Promise<RequestDevice> {
  const { devices } = point.ports
  const { claimsState, session } = lookup
  const reading = devices.recall(arrival.request, session, claimsState) ?? (await devices.read(arrival.request, session, claimsState))
  const isBlocked = reading.device.known && reading.device.value.isBlocked === true
  const isAsked = route.policy.needs.has('device') || isBlocked
  return {
    isChanged: reading.isChanged,
    device: isAsked ? reading.device : deviceNotGathered,
    onRecord: isAsked ? reading.device : evidenceOf(reading, arrival, target),
    id: inventoryIdOf(reading.device) ?? reading.begunOn,
  }
}

/** Whether a decision about this app needs the device. A session that began with a certificate is bound to it everywhere, as far as it can be seen. */
export function needsDevice({ ports: { live } }: EnforcementPoint, { policy }: Route, { session }: Live): boolean {
  return policy.needs.has('device') || session.device !== undefined || live.hasDeviceLocks()
}

/**
 * What memory has of a device that nobody asks for. Never waits and never fails: what it has not, it learns for the next request, but not
 * while the store is away, when every request would knock at it once more.
 */
export function recallForRecord(
  { ports }: EnforcementPoint,
  arrival: Arrival,
  target: Target,
  { claimsState, session }: Live,
): RequestDevice {
  const { devices, live, log } = ports
  try {
    const reading = devices.recall(arrival.request, session, claimsState)
    if (reading !== undefined) return { ...unaskedDevice, onRecord: evidenceOf(reading, arrival, target) }
    // Whoever has to know of a failure asks again, and hears of it.
    if (live.isCurrent()) devices.read(arrival.request, session, claimsState).catch(() => undefined)
  } catch (error) {
    // A mistake of ours, in what nothing is decided by.
    log.error({ err: error, request: arrival.id }, 'a device could not be looked up for the record')
  }
  return unaskedDevice
}

/** Where nothing is asked and nothing was found. */
export const unaskedDevice: RequestDevice = { isChanged: false, device: deviceNotGathered, onRecord: deviceNotGathered, id: undefined }

/**
 * A device that was not seen on a connection that was never asked for a certificate may be there all the same, and one that would have decided
 * (blocked, or another) is not evidence of a request that nothing was decided by.
 */
function evidenceOf({ device, isChanged }: DeviceReading, arrival: Arrival, { hostname }: Target): Facts['device'] {
  if (isChanged) return deviceNotGathered
  if (device.known) return device.value.isBlocked === true ? deviceNotGathered : device
  return device.why === 'no_device' && arrival.isMisdirectedFor(hostname) ? deviceNotGathered : device
}

/** A device that is in no inventory has a name of its own making, by which nobody could lock it. */
function inventoryIdOf(device: Facts['device']): string | undefined {
  if (!device.known) return undefined
  const { id, isKnown, isBlocked } = device.value
  return isKnown || isBlocked === true ? id : undefined
}
