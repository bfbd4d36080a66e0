/**
 * The part of the composition root about people, sessions, devices and locks in the console: what is remembered of them, the operations, the pages.
 *
 * Who counts as an admin is decided by the roles of the console on each person's claims as last seen; what is shown of apps and of the age of
 * posture follows the policy in force.
 */

import type { Role } from './administration/asker.ts'
import type { ConsoleRoles } from './administration/console-roles.ts'
import { createDeviceList } from './administration/device-list.ts'
import { createDeviceProtection } from './administration/device-protection.ts'
import { createPeopleDirectory } from './administration/people-directory.ts'
import { collectDemands } from './administration/policy-against-life-demands.ts'
import { createProtectedPeople, type PeopleProtection } from './administration/protected-people.ts'
import { createMayStill, type MayStill } from './administration/standing-people.ts'
import { issuersOf } from './administration/subject-lookup.ts'
import type { TrailWindow } from './administration/trail-window.ts'
import type { EnvironmentReader } from './attributes/environment-facts.ts'
import { compileSubjectReader } from './attributes/subject-facts.ts'
import type { Access } from './compose-access.ts'
import type { ConsoleTheme } from './compose-console.ts'
import type { InstanceConfiguration } from './config/instance.ts'
import { mountDevicesPages } from './control/console/devices-pages.ts'
import { mountLocksPages } from './control/console/locks-pages.ts'
import { mountPeoplePages } from './control/console/people-pages.ts'
import { createDevicesOperations } from './control/operations/devices.ts'
import { createLocksOperations } from './control/operations/locks.ts'
import type { CarryOut } from './control/operations/operation.ts'
import { createPeopleOperations } from './control/operations/people.ts'
import type { OpenConnectionsCount, RecordFirst } from './control/operations/people-schemas.ts'
import { createSessionsOperations, type NamedApp } from './control/operations/sessions.ts'
import type { Live } from './live/live.ts'
import type { Logger } from './log.ts'
import type { PolicyDocument } from './policy/document.ts'
import { reportedWithinSeconds } from './policy/expression-facts.ts'
import type { Person } from './session/people.ts'

export interface ComposePeopleParts {
  readonly configuration: Pick<InstanceConfiguration, 'provider'>
  readonly access: Access
  readonly live: Pick<Live, 'listen'>
  readonly log: Logger
  readonly now: () => number
  readonly roles: Pick<ConsoleRoles, 'rolesOf'>
  /** The same object until another policy is in force. */
  readonly policy: () => Pick<PolicyDocument, 'apps' | 'services' | 'levels' | 'rules'>
  readonly readEnvironment: EnvironmentReader
  readonly trail: Pick<TrailWindow, 'recentDecisions' | 'search'>
  readonly connections: OpenConnectionsCount
  readonly recordFirst: RecordFirst
  readonly carryOut: CarryOut
}

export interface ComposedPeople extends ConsoleTheme {
  /** For everything else that is done against somebody. */
  readonly protection: PeopleProtection
  /** Whether whoever did something earlier may still do it. */
  readonly mayStill: MayStill
  /** Devices of which nothing was heard for longer than any rule accepts; what is not read yet is not counted. */
  countSilentDevices(): number
  /** Tags that devices of the inventory carry, and attributes that the policy asks for. */
  deviceWords(): { readonly tags: readonly string[]; readonly attributes: readonly string[] }
  close(): Promise<void>
}

/** More than this is no help to whoever types. */
const mostDeviceWords = 200

/** Connects it. */
export function composePeople(parts: ComposePeopleParts): ComposedPeople {
  const { access, carryOut, configuration, live, log, now, readEnvironment, recordFirst, roles, trail } = parts
  const { claims, issuer } = configuration.provider
  const readSubject = compileSubjectReader(configuration.provider)
  const { devices, locks, orders, people, sessions } = access

  const rolesOf = async (person: Person): Promise<readonly Role[]> => {
    const seen = { issuer: person.issuer, sub: person.sub, claims: { all: person.claims, at: person.seenAt, version: 0 } }
    return await roles.rolesOf(readSubject(seen, 'fresh'))
  }
  const protection = createProtectedPeople({ people, holdsAdmin: async (person) => (await rolesOf(person)).includes('admin') })
  const deviceIdClaim = claims.deviceId
  const deviceProtection = createDeviceProtection({ people, sessions, protection, deviceIdClaim })
  const directory = createPeopleDirectory({
    ...{ people, sessions, live, readSubject, deviceIdClaim, now, log },
    isProtectedPerson: protection.isProtectedPerson,
  })
  const deviceList = createDeviceList({ devices, live, now, log })
  const policy = createPolicyWords(parts.policy)

  const issuers = issuersOf(issuer)
  const words = { sessions, readEnvironment, apps: policy.apps }
  const shown = [
    ['email'],
    ['email_verified'],
    ['preferred_username'],
    ...claims.groups,
    ...(deviceIdClaim === undefined ? [] : [deviceIdClaim]),
  ]
  const peopleOperations = createPeopleOperations({
    ...words,
    ...{ directory, people, locks, devices, deviceList, protection, rolesOf, readSubject, trail, recordFirst },
    claims: { shown: [...shown, ...claims.posture.values()], deviceId: deviceIdClaim },
    connections: parts.connections,
  })
  const sessionsOperations = createSessionsOperations({ ...words, orders, directory, people, issuers, protection, recordFirst })
  const locksOperations = createLocksOperations({
    ...{ orders, people, devices, issuers, protection, deviceProtection },
    names: policy.names,
  })
  const devicesOperations = createDevicesOperations({
    ...{ devices, list: deviceList, directory, protection: deviceProtection, trail, recordFirst, now },
    connections: parts.connections,
    oldestReportSeconds: policy.oldestReportSeconds,
  })

  return {
    protection,
    mayStill: createMayStill({ people, locks, rolesOf, issuers }),
    operations: [peopleOperations, sessionsOperations, locksOperations, devicesOperations].flatMap((theme) => Object.values(theme)),
    mount(routes) {
      mountPeoplePages(routes, { people: peopleOperations, sessions: sessionsOperations, carryOut, apps: policy.apps })
      mountDevicesPages(routes, { devices: devicesOperations, carryOut })
      mountLocksPages(routes, { locks: locksOperations, carryOut })
    },
    deviceWords: () => ({ tags: deviceList.tags(mostDeviceWords).map(({ tag }) => tag), attributes: policy.attributes() }),
    countSilentDevices: () =>
      deviceList.find({
        ...{ text: undefined, status: 'active', tag: undefined, after: undefined, limit: 1 },
        silentForMs: policy.oldestReportSeconds() * 1000,
      }).total,
    async close() {
      await Promise.all([directory.close(), deviceList.close()])
    },
  }
}

/** What pages need of the policy in force, worked out once for each. */
function createPolicyWords(current: ComposePeopleParts['policy']) {
  interface Words {
    readonly of: ReturnType<typeof current>
    readonly apps: readonly NamedApp[]
    readonly names: { readonly apps: ReadonlySet<string>; readonly services: ReadonlySet<string> }
    readonly oldestReportSeconds: number
    readonly attributes: readonly string[]
  }
  let known: Words | undefined

  function words(): Words {
    const document = current()
    if (known?.of === document) return known
    const demands = collectDemands(document).devices
    const ages = demands.flatMap((demand) => (demand.attributes.length > 0 || demand.isReportAsked ? [demand.withinSeconds] : []))
    known = {
      of: document,
      apps: document.apps.map(({ address, id, name }) => ({ id, name, origin: address.origin })).sort((a, b) => (a.name < b.name ? -1 : 1)),
      names: { apps: new Set(document.apps.map(({ id }) => id)), services: new Set(document.services.map(({ name }) => name)) },
      attributes: [...new Set(demands.flatMap(({ attributes }) => attributes))].sort().slice(0, mostDeviceWords),
      oldestReportSeconds: ages.length === 0 ? reportedWithinSeconds : Math.min(...ages),
    }
    return known
  }

  return {
    apps: () => words().apps,
    names: () => words().names,
    oldestReportSeconds: () => words().oldestReportSeconds,
    attributes: () => words().attributes,
  }
}
