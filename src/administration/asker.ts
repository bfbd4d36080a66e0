/**
 * Who asks for something administrative, and what they may: a person by the roles that they hold, a program by the scopes of its token.
 *
 * Roles are sets of permissions and nothing else, so that console, API and tests read one table. Whether a person holds a role is decided
 * by the policy engine (`console-roles.ts`); whether a permission is enough for what is asked stands with each operation.
 */

/** What can be permitted. A service token names exactly these in its scopes. */
export const permissions = [
  'overview:read',
  'policy:read',
  /** Drafts: begin, change, try, discard. */
  'policy:write',
  /** Publish a draft, restore a revision. */
  'policy:publish',
  /** Approve somebody else's draft, where two people are needed. Never a token's. */
  'policy:approve',
  'people:read',
  'sessions:read',
  'sessions:revoke',
  'locks:read',
  'locks:write',
  'devices:read',
  /** Block and unblock. */
  'devices:block',
  /** Register, approve, tag, remove. */
  'devices:write',
  'devices:report',
  'connections:read',
  'connections:cut',
  /** The trail and what is made of it: search, explanations, verification, access review, export. */
  'audit:read',
  'tokens:read',
  'tokens:write',
  /** What employees asked for. */
  'requests:read',
  'requests:write',
] as const

export type Permission = (typeof permissions)[number]

/** The roles of the console, the most powerful first. */
export const roles = ['admin', 'auditor', 'helpdesk'] as const

export type Role = (typeof roles)[number]

/** Sessions with the names of the apps that they were let into, which are part of them; nothing else of the policy. */
const helpdesk: readonly Permission[] = [
  'people:read',
  'sessions:read',
  'sessions:revoke',
  'locks:read',
  'locks:write',
  'devices:read',
  'devices:block',
  'connections:read',
  'connections:cut',
  'requests:read',
]

/** What each role may. An auditor reads everything and changes nothing; the helpdesk cuts people off and lets them back in, never an admin, nor past a lock that is not its own. */
export const permissionsByRole: Readonly<Record<Role, ReadonlySet<Permission>>> = {
  // Reports are signed by devices and management systems; no person makes one.
  admin: new Set(permissions.filter((permission) => permission !== 'devices:report')),
  auditor: new Set(permissions.filter((permission) => permission.endsWith(':read'))),
  helpdesk: new Set(helpdesk),
}

/** Whoever asks, after every guard. */
export interface Asker {
  /** As the trail says it: `person:<sub>` or `token:<id>`. */
  readonly actor: string
  /** For people to read: an e-mail address or name, or the token's name. */
  readonly label: string
  /** The person; `undefined` for a token. */
  readonly subject: { readonly issuer: string; readonly sub: string } | undefined
  /** None for a token. */
  readonly roles: readonly Role[]
  readonly permissions: ReadonlySet<Permission>
}

/** Whom the helpdesk must not touch: people who hold the role `admin`, as last seen. */
export interface ProtectedPeople {
  isProtected(subject: { readonly issuer: string; readonly sub: string }): Promise<boolean>
}

/**
 * Whether this asker may do something *against* this person: revoke, lock, block their device, cut their connection. A token with the scope may,
 * and so may an admin; anybody else not against an admin.
 */
export async function mayActAgainst(
  asker: Asker,
  target: { readonly issuer: string; readonly sub: string },
  people: ProtectedPeople,
): Promise<boolean> {
  return asker.subject === undefined || asker.roles.includes('admin') || !(await people.isProtected(target))
}
