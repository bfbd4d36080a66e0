/**
 * A policy compared with what was really seen here: devices of the inventory, and people who signed in.
 *
 * A rule may be flawless and still refuse everybody, because no device ever reported what it asks for, or because the provider calls the
 * group `/finance`. Only life tells. Devices come first: whom their rules would refuse is counted among the people then. Read-only, and
 * bounded in number and time; what was not read is said, and nothing is concluded about it.
 */

import type { SubjectReader } from '../attributes/subject-facts.ts'
import type { PolicyDocument, Who } from '../policy/document.ts'
import type { People } from '../session/people.ts'
import type { Devices } from './devices.ts'
import { collectDemands, type Dependent, type PolicyDemands } from './policy-against-life-demands.ts'
import { type DeviceCount, type DevicesSeen, observeDevices } from './policy-against-life-devices.ts'
import { observePeople, type PeopleSeen } from './policy-against-life-people.ts'

/** Where to look. */
export interface LifeSources {
  readonly people: Pick<People, 'listPeople'>
  readonly devices: Pick<Devices, 'list'>
}

/** How what is found there is to be read. */
export interface LifeSettings {
  readonly readSubject: SubjectReader
  /** Paths of the claims that name a device, and that state its posture by attribute. */
  readonly deviceId: readonly string[] | undefined
  readonly posture: ReadonlyMap<string, readonly string[]>
  /** Further selectors, such as the roles of the console, and what to call them. */
  readonly others: readonly { readonly where: string; readonly who: Who }[]
  readonly now: () => number
  /** For devices, and again for people. */
  readonly limitMs: number
  /** Of devices, and of people. */
  readonly most: number
}

/** A rule that nobody passes as things are. */
export interface Affected extends Dependent {
  /** People seen whom it is for. */
  readonly people: number
}

/** A condition on devices, with the rules that fall with it where no device meets it. */
export interface DeviceComparison extends DeviceCount {
  readonly affected: readonly Affected[]
}

export interface LifeComparison {
  readonly demands: PolicyDemands
  readonly devices: Omit<DevicesSeen, 'counts'>
  readonly conditions: readonly DeviceComparison[]
  readonly people: PeopleSeen
}

/** Compares. Rejects with `session_store_unavailable` when the store does. */
export async function compareWithLife(
  policy: Pick<PolicyDocument, 'levels' | 'rules' | 'apps'>,
  { people, devices }: LifeSources,
  { deviceId, limitMs, most, now, others, posture, readSubject }: LifeSettings,
): Promise<LifeComparison> {
  const demands = collectDemands(policy, others)
  const bounds = () => ({ most, now, until: now() + limitMs })
  const { counts, ...inventory } = await observeDevices(devices.list(), demands.devices, bounds())

  const circles = new Map<string, { readonly who: Who; readonly position: number }>()
  for (const { demand, met } of counts) {
    if (met > 0) continue
    for (const { who } of demand.dependents) {
      const key = JSON.stringify(who)
      // Each is a count over everybody; beyond this the rules are named without one.
      if (!circles.has(key) && circles.size < maxCircles) circles.set(key, { who, position: circles.size })
    }
  }
  const questions = { demands, readSubject, deviceId, posture, circles: [...circles.values()].map(({ who }) => who) }
  const seen = await observePeople(await people.listPeople(), questions, bounds())

  const conditions = counts.map((count) => ({
    ...count,
    affected: count.met > 0 ? [] : count.demand.dependents.map((dependent) => ({ ...dependent, people: countOf(dependent.who) })),
  }))
  return { demands, devices: inventory, conditions, people: seen }

  function countOf(who: Who): number {
    const position = circles.get(JSON.stringify(who))?.position
    return (position === undefined ? undefined : seen.circles[position]) ?? seen.read
  }
}

const maxCircles = 100
