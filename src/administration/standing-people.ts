/**
 * Whether somebody who did something earlier is still somebody who may do it: gave an approval, made a token.
 *
 * By the roles of the console on their claims as last seen, and by locks; straight from the store at each question. Deny is the floor: somebody
 * who was never seen, a store that does not answer, a record that does not open, an actor who is no person, all of them may not. It says nothing
 * about the sign-in, the device or the network that they would come with now.
 */

import type { People, Person } from '../session/people.ts'
import { type Permission, permissionsByRole, type Role } from './asker.ts'
import type { Locks } from './locks.ts'

export interface StandingPeopleParts {
  readonly people: Pick<People, 'findPerson'>
  readonly locks: Pick<Locks, 'find'>
  /** Whom the roles name, whatever the circumstances. */
  readonly rolesOf: (person: Person) => Promise<readonly Role[]>
  /** How the provider may call itself; see `issuersOf`. */
  readonly issuers: readonly string[]
}

/** Whether the person `person:<sub>` may do this now. Never rejects. */
export type MayStill = (actor: string, permission: Permission) => Promise<boolean>

/** The question over people, roles and locks. */
export function createMayStill({ issuers, locks, people, rolesOf }: StandingPeopleParts): MayStill {
  async function judge(sub: string, permission: Permission): Promise<boolean> {
    const accounts = issuers.map((issuer) => ({ issuer, sub }))
    const standing = await Promise.all(accounts.map((one) => locks.find({ kind: 'subject', ...one })))
    if (standing.some((lock) => lock !== undefined)) return false
    const found = await Promise.all(accounts.map(({ issuer }) => people.findPerson(issuer, sub)))
    for (const person of found) {
      const held = person === undefined ? [] : await rolesOf(person)
      if (held.some((role) => permissionsByRole[role].has(permission))) return true
    }
    return false
  }

  return async (actor, permission) => {
    const [, sub] = /^person:(.+)$/s.exec(actor) ?? []
    if (sub === undefined) return false
    try {
      return await judge(sub, permission)
    } catch {
      // Whoever asks is refused; the store's own trouble is in the log already.
      return false
    }
  }
}
