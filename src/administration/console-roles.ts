/**
 * Which roles of the console a person holds now: a decision of the policy engine, made anew for every request.
 *
 * Each role of the instance configuration is compiled as an app with one rule (allow whom the role names, when the levels of
 * `console.require` hold) together with the levels of the policy in force, and decided by the very function that decides about apps, on
 * fresh facts: so a demotion, a lock, a blocked device or a level that no longer holds takes effect at the next request. Somebody whom the
 * role names and who lacks nothing but a better sign-in is led to one, as on apps.
 *
 * Company rules of the document are not part of it, on purpose: they are what an admin must be able to repair, and a `deny` on everyone
 * would otherwise shut out the very people who could lift it (docs/decisions/0013). Locks are: they come before every rule. A service has no
 * role, and a level that the policy does not have makes nobody an admin.
 */

import { type CompiledApp, compilePolicy } from '../policy/compile.ts'
import { decide } from '../policy/decide.ts'
import type { StepUp } from '../policy/decision.ts'
import type { App, Condition, PolicyDocument, Rule, Who } from '../policy/document.ts'
import type { Facts, SubjectFacts } from '../policy/facts.ts'
import { type Permission, permissionsByRole, type Role, roles } from './asker.ts'

/** `console:` of the instance configuration, as far as it says who holds a role. */
export interface ConsoleRoleSettings {
  readonly admin: Who | undefined
  readonly auditor: Who | undefined
  readonly helpdesk: Who | undefined
  /** Names of levels that everybody with a role has to meet. */
  readonly requiredLevels: readonly string[]
}

export type RoleDecision =
  | { readonly outcome: 'held'; readonly roles: readonly Role[]; readonly permissions: ReadonlySet<Permission> }
  /** Nothing but a stronger or fresher sign-in is missing. */
  | { readonly outcome: 'step_up'; readonly stepUp: StepUp }
  | { readonly outcome: 'none'; readonly because: NoRole }

/**
 * `no_role`: no role is for this person. `circumstances`: one is, but not now: device, network or time are not as `console.require` asks.
 * `locked`: a lock or a blocked device. `nobody_yet`: no role is given to anybody, so there is no admin to ask.
 */
export type NoRole = 'no_role' | 'circumstances' | 'locked' | 'nobody_yet'

export interface ConsoleRoles {
  /** Rejects with `session_store_unavailable` where invitations cannot be read. */
  decide(facts: Facts): Promise<RoleDecision>
  /** Whom the roles name, whatever the circumstances: who counts as an admin to the helpdesk, and who is shown the way to the console. */
  rolesOf(subject: SubjectFacts): Promise<readonly Role[]>
}

export interface ConsoleRolesParts {
  readonly settings: ConsoleRoleSettings
  /** Of the snapshot in force; what is compiled is kept for as long as it is the same. */
  readonly policy: () => Pick<PolicyDocument, 'version' | 'zone' | 'levels'>
  /** The roles that this address was invited to and that still stand. */
  readonly findInvitation: (email: string) => Promise<readonly Role[]>
}

/** One role, and the same for whoever was invited to one. */
interface CompiledRoles {
  readonly byRole: ReadonlyMap<Role, CompiledApp>
  /** For a person of whom it is known that they were invited. */
  readonly invited: CompiledApp | undefined
}

/** The roles over one configuration. */
export function createConsoleRoles({ findInvitation, policy, settings }: ConsoleRolesParts): ConsoleRoles {
  let compiled: { readonly of: ReturnType<typeof policy>; readonly roles: CompiledRoles } | undefined
  const current = (): CompiledRoles => {
    const document = policy()
    if (compiled?.of !== document) compiled = { of: document, roles: compileRoles(settings, document) }
    return compiled.roles
  }
  const isAnybodyNamed = roles.some((role) => settings[role] !== undefined)
  const invitationsOf = async (subject: SubjectFacts): Promise<readonly Role[]> =>
    subject.kind === 'person' && subject.email.known ? await findInvitation(subject.email.value) : []

  return {
    async decide(facts) {
      const { byRole, invited } = current()
      const invitations = await invitationsOf(facts.subject)
      const held = new Set<Role>()
      let stepUp: StepUp | undefined
      let isLocked = false
      let isNamed = false
      const judge = (app: CompiledApp | undefined, given: readonly Role[]) => {
        if (app === undefined || given.length === 0) return
        const decision = decide(app, facts)
        isLocked ||= decision.effect === 'deny' && decision.reason === 'locked'
        isNamed ||= names(app, facts.subject)
        if (decision.effect === 'allow') for (const role of given) held.add(role)
        if (decision.effect === 'challenge' && decision.challenge === 'step_up') stepUp ??= decision.stepUp
      }
      for (const [role, app] of byRole) judge(app, [role])
      judge(invited, invitations)
      if (held.size > 0) return { outcome: 'held', roles: roles.filter((role) => held.has(role)), permissions: permissionsOf(held) }
      if (stepUp !== undefined) return { outcome: 'step_up', stepUp }
      if (isLocked) return { outcome: 'none', because: 'locked' }
      if (isNamed) return { outcome: 'none', because: 'circumstances' }
      return { outcome: 'none', because: isAnybodyNamed ? 'no_role' : 'nobody_yet' }
    },
    async rolesOf(subject) {
      const { byRole } = current()
      const invitations = await invitationsOf(subject)
      return roles.filter((role) => invitations.includes(role) || names(byRole.get(role), subject))
    },
  }
}

function permissionsOf(held: ReadonlySet<Role>): ReadonlySet<Permission> {
  return new Set([...held].flatMap((role) => [...permissionsByRole[role]]))
}

function names(app: CompiledApp | undefined, subject: SubjectFacts): boolean {
  return app !== undefined && app.enforced.shortlist(subject).allows.length > 0
}

/** A level that is gone since the configuration was checked leaves no role to anybody: an admin without MFA is not what was asked for. */
function compileRoles(
  settings: ConsoleRoleSettings,
  { levels, version, zone }: Pick<PolicyDocument, 'version' | 'zone' | 'levels'>,
): CompiledRoles {
  const known = new Set(levels.map(({ name }) => name))
  if (!settings.requiredLevels.every((name) => known.has(name))) return { byRole: new Map(), invited: undefined }
  const when = settings.requiredLevels.map((name): Condition => ({ kind: 'level', name }))
  const named = roles.flatMap((role) => {
    const who = settings[role]
    return who === undefined ? [] : [appFor(role, who, when)]
  })
  const { apps } = compilePolicy({
    version,
    zone,
    levels,
    services: [],
    rules: [],
    apps: [...named, appFor(invitedId, { kind: 'signed_in' }, when)],
  })
  const byRole = new Map<Role, CompiledApp>()
  for (const role of roles) {
    const app = apps.get(role)
    if (app !== undefined) byRole.set(role, app)
  }
  return { byRole, invited: apps.get(invitedId) }
}

const invitedId = 'invited'

function appFor(id: string, who: Who, when: readonly Condition[]): App {
  const rule: Rule = {
    name: `console.${id}`,
    verb: 'allow',
    who,
    methods: undefined,
    paths: undefined,
    require: [],
    when,
    unless: [],
    from: undefined,
    until: undefined,
    isReport: false,
    isAlert: false,
  }
  return {
    id,
    name: id,
    description: undefined,
    owner: undefined,
    help: undefined,
    logo: undefined,
    portal: 'hidden',
    address: { origin: 'https://console.invalid', hostname: 'console.invalid', port: 443, prefix: '/' },
    upstreams: [],
    sensitivity: 'restricted',
    preserveHost: true,
    identity: { kind: 'none' },
    session: { idleTimeoutSeconds: undefined, lifetimeSeconds: undefined },
    timeouts: { connectSeconds: 1, responseSeconds: 1, idleSeconds: 1 },
    calledBy: [],
    crossSitePosts: [],
    pathRules: [],
    maxBodyBytes: undefined,
    stripPrefix: false,
    passAuthorization: false,
    setRequestHeaders: [],
    removeRequestHeaders: [],
    setResponseHeaders: [],
    report: undefined,
    audit: { paths: 'full', durability: undefined, whenFull: undefined },
    rules: [rule],
  }
}
