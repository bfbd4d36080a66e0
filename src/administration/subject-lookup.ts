/**
 * Whom an administrator means: a person by e-mail address, or by the provider's `sub`.
 *
 * What contains an `@` is an address and is looked up among the people who have signed in here. An address may belong to several, or, since
 * addresses are given to somebody else in time, to another one than before: nothing is guessed. A `sub` is exact, and may be of somebody
 * who never came: that is how a person is kept out beforehand.
 */

import type { People, Person } from '../session/people.ts'

/** A subject, as the provider names it. */
export interface Subject {
  readonly issuer: string
  readonly sub: string
}

export type SubjectLookup =
  | {
      readonly outcome: 'found'
      readonly person: Person
    }
  /** A `sub` that has never signed in here: what it would be called, of which one is right. */
  | { readonly outcome: 'not_yet'; readonly subjects: readonly Subject[] }
  | { readonly outcome: 'several'; readonly people: readonly Person[] }
  | { readonly outcome: 'never_seen' }

/** `issuers` are the provider's, see `issuersOf`. Rejects with `session_store_unavailable` when the store does. */
export async function findSubject(
  people: Pick<People, 'findPeople' | 'findPerson'>,
  issuers: readonly string[],
  who: string,
): Promise<SubjectLookup> {
  if (!who.includes('@')) {
    const [known] = (await Promise.all(issuers.map((issuer) => people.findPerson(issuer, who)))).filter((one) => one !== undefined)
    const subjects = issuers.map((issuer) => ({ issuer, sub: who }))
    return known === undefined ? { outcome: 'not_yet', subjects } : { outcome: 'found', person: known }
  }
  const seen = await people.findPeople(who)
  const [person, ...others] = seen
  if (person === undefined) return { outcome: 'never_seen' }
  if (others.length > 0) return { outcome: 'several', people: seen }
  return { outcome: 'found', person }
}

/**
 * How the configured provider may call itself. A parsed address prints an empty path as `/`; whether the issuer has that stroke is known
 * only to the provider, which commands do not ask.
 */
export function issuersOf(configured: URL): readonly string[] {
  return configured.pathname === '/' ? [configured.origin, configured.href] : [configured.href]
}
