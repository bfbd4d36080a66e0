/**
 * Whom the helpdesk must not touch: people who hold the role `admin` as last seen, by the configuration or by an invitation.
 *
 * Deny is the floor: a store that does not answer, a record that does not open, or a role that nobody can decide makes a person protected.
 * Whoever never signed in is nobody's admin yet: an invitation is for an address, and only a sign-in says whose it is. What is asked about
 * comes from the store at each question: the role may have been granted a moment ago on another instance.
 */

import type { People, Person } from '../session/people.ts'
import type { ProtectedPeople } from './asker.ts'

export interface ProtectedPeopleParts {
  readonly people: Pick<People, 'findPerson'>
  /** Whether the roles name this person an admin on their claims as last seen. `undefined`: it cannot be told. */
  readonly holdsAdmin: (person: Person) => boolean | undefined | Promise<boolean | undefined>
}

/** The question of `asker.ts`, and the same of a person whose record is at hand. Neither rejects. */
export interface PeopleProtection extends ProtectedPeople {
  isProtectedPerson(person: Person): Promise<boolean>
}

/** Who is protected, straight from the store. */
export function createProtectedPeople({ holdsAdmin, people }: ProtectedPeopleParts): PeopleProtection {
  const judge = async (person: Person | undefined) => person !== undefined && (await holdsAdmin(person)) !== false

  return {
    async isProtected({ issuer, sub }) {
      try {
        return await judge(await people.findPerson(issuer, sub))
      } catch {
        // Whoever asks is refused; the store's own trouble is in the log already.
        return true
      }
    },
    async isProtectedPerson(person) {
      try {
        return await judge(person)
      } catch {
        return true
      }
    },
  }
}
