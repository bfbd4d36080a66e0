/**
 * The three people of the demo: who they are, and the claims that the demo's provider states about them.
 *
 * The Keycloak realm of the compose file (`config/keycloak/realm-corp.json`) has the same three, so that one story can be
 * told against either provider.
 */

/** Someone who can sign in at the demo's provider. */
export interface Person {
  /** Subject at the provider, and what the sign-in page submits. */
  readonly id: string
  readonly name: string
  readonly email: string
  /** Shown on the sign-in page; not a claim. */
  readonly role: string
  readonly groups: readonly string[]
}

/** Everyone the demo knows. */
export const demoPeople: readonly Person[] = [
  {
    id: 'alice',
    name: 'Alice Adler',
    email: 'alice@corp.example',
    role: 'Engineer, and an administrator of Postern',
    groups: ['engineering', 'postern-admins'],
  },
  { id: 'bob', name: 'Bob Brandt', email: 'bob@corp.example', role: 'Accountant', groups: ['finance'] },
  { id: 'carol', name: 'Carol Castro', email: 'carol@corp.example', role: 'Contractor, three days a week', groups: ['contractors'] },
]

/** The claims of `person` as OpenID Connect Core §5.1 names them. */
export function claimsOf(person: Person): Record<string, unknown> & { readonly sub: string } {
  const [given = person.name, family = ''] = person.name.split(' ')
  return {
    sub: person.id,
    name: person.name,
    given_name: given,
    family_name: family,
    preferred_username: person.id,
    email: person.email,
    email_verified: true,
    groups: person.groups,
  }
}
