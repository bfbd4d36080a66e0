/**
 * Locks: listing, setting and lifting them, in the form that programs know, over the same orders as at the command line.
 *
 * A person who locks is held to more than a program: a service or app that the policy does not have is refused (a lock on it would refuse
 * nothing, and its author would believe it did), and a lock on oneself has to be confirmed. Without the role admin nobody locks an app or a
 * service, for that shuts out admins too, nor a device or an account of an admin, nor changes or lifts a lock that an admin, a program or a
 * command set.
 */

import { z } from 'zod'
import type { AccessOrders, LockStatement } from '../../administration/access-orders.ts'
import { type Asker, mayActAgainst } from '../../administration/asker.ts'
import type { DeviceProtection } from '../../administration/device-protection.ts'
import type { Devices } from '../../administration/devices.ts'
import type { PeopleProtection } from '../../administration/protected-people.ts'
import { findSubject, type Subject } from '../../administration/subject-lookup.ts'
import type { People } from '../../session/people.ts'
import { defineOperation, done, type Refused, refused } from './operation.ts'
import {
  isHeldBack,
  liftedStatement,
  lockStatement,
  orderProblems,
  outcomeOf,
  rankOf,
  reasonText,
  refusedForAdmin,
  untilText,
} from './people-schemas.ts'

export interface LocksOperationsPorts {
  readonly orders: Pick<AccessOrders, 'lock' | 'unlock' | 'listLocks'>
  readonly people: Pick<People, 'findPeople' | 'findPerson'>
  readonly devices: Pick<Devices, 'find'>
  readonly issuers: readonly string[]
  readonly protection: PeopleProtection
  readonly deviceProtection: DeviceProtection
  /** Ids of the apps and names of the services of the policy in force. */
  readonly names: () => { readonly apps: ReadonlySet<string>; readonly services: ReadonlySet<string> }
}

const mostListed = 10_000
const nameText = z.string().max(512).meta({ description: 'An e-mail address or `sub`; the name of a service; the id of a device or app.' })
const onText = z.string().max(16).meta({ description: '`subject`, `service`, `device` or `app`.' })

/** The operations on locks. */
export function createLocksOperations(ports: LocksOperationsPorts) {
  const { deviceProtection, devices, issuers, names, orders, people, protection } = ports

  async function subjectsOf(name: string): Promise<readonly Subject[]> {
    const found = await findSubject(people, issuers, name)
    return found.outcome === 'found' ? [found.person] : found.outcome === 'not_yet' ? found.subjects : []
  }

  /** What stands against doing this to that, whoever asks; a name that means nothing is for the order to refuse. */
  async function findProtection(on: string, name: string, asker: Asker): Promise<Refused | undefined> {
    if (on === 'subject') {
      for (const subject of await subjectsOf(name)) {
        if (!(await mayActAgainst(asker, subject, protection))) return refusedForAdmin('This person is an admin.')
      }
      return undefined
    }
    if (!isHeldBack(asker)) return undefined
    if (on === 'app' || on === 'service') return refusedForAdmin(`A lock on ${on === 'app' ? 'an app' : 'a service'} concerns everybody.`)
    const device = on === 'device' ? await devices.find(name) : undefined
    if (device === undefined || !(await deviceProtection.isProtectedDevice(device))) return undefined
    return refusedForAdmin('This is the device of an admin.')
  }

  function findMistake(on: string, name: string, asker: Asker): Refused | undefined {
    if (asker.subject === undefined) return undefined
    const { apps, services } = names()
    if (on === 'app' && !apps.has(name))
      return refused('invalid_order', 'The policy has no app of this id: a lock on it would refuse nothing.')
    if (on === 'service' && !services.has(name)) {
      return refused('invalid_order', 'The policy has no service of this name: a lock on it would refuse nothing.')
    }
    return undefined
  }

  return {
    list: defineOperation({
      id: 'locks.list',
      summary: 'Locks in force',
      description: `At most ${mostListed}, in no order that means anything.`,
      method: 'GET',
      path: '/locks',
      permission: 'locks:read',
      input: z.strictObject({}),
      output: z.strictObject({ locks: z.array(lockStatement), truncated: z.boolean() }),
      problems: [],
      async carryOut() {
        const locks: LockStatement[] = []
        let truncated = false
        for await (const lock of orders.listLocks()) {
          truncated = locks.length === mostListed
          if (truncated) break
          locks.push(lock)
        }
        return done({ locks, truncated })
      },
    }),

    set: defineOperation({
      id: 'locks.set',
      summary: 'Lock a person, service, device or app',
      description:
        'Refuses everything of it or to it, before every rule, until its time is over or it is lifted; what is open is cut. Setting it again changes it.',
      method: 'POST',
      path: '/locks',
      permission: 'locks:write',
      input: z.strictObject({
        on: onText,
        name: nameText,
        until: untilText,
        reason: reasonText,
        confirm: z.literal('lock me out').optional().meta({ description: 'Of a person who locks themself.' }),
      }),
      output: lockStatement,
      problems: [...orderProblems, 'device_unknown', 'until_passed', 'target_protected', 'confirmation_needed'],
      async carryOut({ confirm, name, on, reason, until }, asker) {
        const mistake = (await findProtection(on, name, asker)) ?? findMistake(on, name, asker)
        if (mistake !== undefined) return mistake
        if (on === 'subject' && confirm === undefined && (await subjectsOf(name)).some((one) => isOneself(asker, one)))
          return refusedForOneself()
        return outcomeOf(await orders.lock({ on, name, until: until ?? undefined, reason }, asker.actor, rankOf(asker)))
      },
    }),

    lift: defineOperation({
      id: 'locks.lift',
      summary: 'Lift a lock',
      description: 'The lock of a blocked device is lifted by unblocking the device.',
      method: 'DELETE',
      path: '/locks/{on}/{name}',
      permission: 'locks:write',
      input: z.strictObject({ on: onText, name: nameText, reason: reasonText }),
      output: liftedStatement,
      problems: [...orderProblems, 'not_locked', 'target_protected'],
      async carryOut({ name, on, reason }, asker) {
        const isProtected = await findProtection(on, name, asker)
        return isProtected ?? outcomeOf(await orders.unlock({ on, name, reason }, asker.actor, rankOf(asker)))
      },
    }),
  }
}

export type LocksOperations = ReturnType<typeof createLocksOperations>

/** Whether the asker is this person. */
export function isOneself({ subject }: Asker, { issuer, sub }: Subject): boolean {
  return subject !== undefined && subject.issuer === issuer && subject.sub === sub
}

/** The question to somebody who locks themself: the last admin would need the command line to come back. */
export function refusedForOneself(): Refused {
  return refused(
    'confirmation_needed',
    'This is your own account: you would be shut out at once, and another admin, or the command line, has to lift the lock. Confirm that you mean it.',
    { confirm: 'lock me out' },
  )
}
