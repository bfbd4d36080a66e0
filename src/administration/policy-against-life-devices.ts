/**
 * The inventory as a policy sees it: of each condition on devices, how many registered devices there are, how many ever stated what it asks
 * for, how many did so lately enough, and how many meet it now.
 *
 * One pass over the devices, nothing of them kept. A device that is blocked counts as registered and states nothing. The very function that
 * judges requests judges here; what a request adds (how the device is identified) is taken as the condition wants it.
 */

import { stateDevice } from '../attributes/device-record.ts'
import { isPosternError } from '../errors.ts'
import { readAttribute } from '../policy/device-posture.ts'
import type { Facts } from '../policy/facts.ts'
import type { DeviceRecord } from './devices.ts'
import type { DeviceDemand } from './policy-against-life-demands.ts'

/** How one attribute stands over the inventory. */
export interface AttributeCount {
  readonly name: string
  /** Devices of which anybody ever stated it. */
  readonly ever: number
  /** Of these, lately enough for the condition. */
  readonly within: number
}

/** How one condition stands over the inventory. */
export interface DeviceCount {
  readonly demand: DeviceDemand
  readonly attributes: readonly AttributeCount[]
  /** Devices that anything was heard of lately enough. */
  readonly within: number
  /** Devices with one of the tags, or one of the serial numbers, that it names. */
  readonly tagged: number
  readonly listed: number
  /** Devices that meet it now, if they are identified as it wants. */
  readonly met: number
}

export interface DevicesSeen {
  readonly total: number
  /** All devices were read; else there are more than `total`. */
  readonly isComplete: boolean
  /** Records that do not open: they are in no number. */
  readonly hasUnreadable: boolean
  /** Devices that ever reported anything, by themselves or through their management. */
  readonly reported: number
  /** Devices that a certificate can be recognised as. */
  readonly withCertificate: number
  readonly counts: readonly DeviceCount[]
}

/** How far to read. */
export interface ReadingBounds {
  readonly most: number
  /** Epoch milliseconds; reading stops there, with what there is. */
  readonly until: number
  readonly now: () => number
}

/** Counts. Rejects with `session_store_unavailable` when the store does. */
export async function observeDevices(
  devices: AsyncIterable<DeviceRecord>,
  demands: readonly DeviceDemand[],
  { most, until, now }: ReadingBounds,
): Promise<DevicesSeen> {
  const at = now()
  const counters = demands.map((demand) => createCounter(demand))
  let total = 0
  let reported = 0
  let withCertificate = 0
  let isComplete = true
  let hasUnreadable = false
  try {
    for await (const device of devices) {
      if (total >= most || now() > until) {
        isComplete = false
        break
      }
      total += 1
      if (Object.keys(device.reported.report).length + Object.keys(device.reported.management).length > 0) reported += 1
      if (device.fingerprints.length + device.names.length > 0) withCertificate += 1
      // Worked out once, as many conditions ask.
      const facts = { certificate: factsOf(device, 'certificate', at), claim: factsOf(device, 'claim', at) }
      for (const counter of counters) counter.add(device, facts)
    }
  } catch (error) {
    // Comes last, when all the others were listed.
    if (!isPosternError(error) || error.code !== 'record_unreadable') throw error
    hasUnreadable = true
  }
  return { total, isComplete, hasUnreadable, reported, withCertificate, counts: counters.map((counter) => counter.count()) }
}

function createCounter(demand: DeviceDemand) {
  const { attributes, condition, judge, withinSeconds } = demand
  const counts = attributes.map((name) => ({ name, ever: 0, within: 0 }))
  const tags = new Set(condition?.tags)
  const serials = new Set(condition?.serials)
  let within = 0
  let tagged = 0
  let listed = 0
  let met = 0
  return {
    add(device: DeviceRecord, identified: Readonly<Record<'certificate' | 'claim', Facts>>) {
      const facts = identified[condition?.identifiedBy ?? 'certificate']
      for (const count of counts) {
        if (typeof readAttribute(facts, count.name, Number.POSITIVE_INFINITY) !== 'string') count.ever += 1
        if (typeof readAttribute(facts, count.name, withinSeconds) !== 'string') count.within += 1
      }
      if (isHeardOf(facts, withinSeconds)) within += 1
      if (device.tags.some((tag) => tags.has(tag))) tagged += 1
      if (device.serial !== undefined && serials.has(device.serial)) listed += 1
      if (judge?.(facts) === 'true') met += 1
    },
    count: (): DeviceCount => ({ demand, attributes: counts, within, tagged, listed, met }),
  }
}

/** What an admin entered is not heard of the device. */
function isHeardOf(facts: Facts, withinSeconds: number): boolean {
  const names = facts.device.known ? Object.keys(facts.device.value.attributes) : []
  return names.some((name) => {
    const attribute = readAttribute(facts, name, withinSeconds)
    return typeof attribute !== 'string' && attribute.source !== 'inventory'
  })
}

const unknown = { known: false, why: 'not_gathered' } as const

/** A request of nobody from this device; conditions on devices look at nothing else. */
function factsOf(device: DeviceRecord, identifiedBy: 'certificate' | 'claim', at: number): Facts {
  return {
    subject: { kind: 'nobody' },
    signIn: unknown,
    device: { known: true, value: stateDevice(device, identifiedBy) },
    request: { method: 'GET', methodClass: 'read', path: '/' },
    environment: {
      address: '',
      at,
      country: unknown,
      asn: unknown,
      scheme: 'https',
      tlsVersion: unknown,
      client: { browser: unknown, browserVersion: unknown, os: unknown },
    },
  }
}
