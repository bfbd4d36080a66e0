/**
 * Whether a change of the policy takes the console away from those who use it: the roles of the console rest on levels that the policy defines.
 *
 * What an admin was let into the console on is remembered in memory for a day, of a few hundred of them, and decided again with the levels of the
 * new policy. Facts of a request to the console are whole: everything was gathered. After a start nothing is known until somebody comes, and of
 * a token nothing ever: where the levels that the console rests on are others, that is said and never taken for a yes.
 */

import { isDeepStrictEqual } from 'node:util'
import type { Condition, PolicyDocument } from '../policy/document.ts'
import type { Facts } from '../policy/facts.ts'
import type { Role } from './asker.ts'
import { type ConsoleRoleSettings, type ConsoleRoles, createConsoleRoles } from './console-roles.ts'
import { subjectKey } from './gates-uses.ts'

/** An admin in the console, as JSON has it. */
export interface AdminVisit {
  /** Epoch milliseconds. */
  readonly at: number
  readonly facts: Facts
}

export interface AdminVisits {
  /** The same roles; whoever holds `admin` by them is remembered. */
  watch(roles: ConsoleRoles): ConsoleRoles
  /** The newest visit of each admin, not before `since`. */
  list(since: number): readonly AdminVisit[]
}

/** Twenty kilobytes each at most. */
const mostVisits = 100

/** Remembers nothing yet. */
export function createAdminVisits(): AdminVisits {
  const visits = new Map<string, AdminVisit>()
  return {
    watch: (roles) => ({
      ...roles,
      async decide(facts) {
        const decision = await roles.decide(facts)
        if (decision.outcome === 'held' && decision.roles.includes('admin') && facts.subject.kind === 'person') {
          const key = subjectKey(facts.subject)
          // The latest stands last, so that the first is who was away for longest.
          visits.delete(key)
          visits.set(key, { at: facts.environment.at, facts })
          const [oldest] = visits.keys()
          if (visits.size > mostVisits && oldest !== undefined) visits.delete(oldest)
        }
        return decision
      },
    }),
    list: (since) => [...visits.values()].filter(({ at }) => at >= since),
  }
}

export interface ConsoleStanding {
  readonly kept: number
  readonly refused: number
  /** `undefined`: not known what the author was let in on, or the author is none of them. */
  readonly own: 'kept' | 'refused' | undefined
}

/** Whether a change can take the console from anybody at all: it rests on the levels that it requires, those that they name, and the time zone. */
export function isConsoleTouched(before: PolicyDocument, after: PolicyDocument, { requiredLevels }: ConsoleRoleSettings): boolean {
  if (requiredLevels.length === 0) return false
  const restsOn = (document: PolicyDocument) => [document.zone, findLevels(document, requiredLevels)]
  return !isDeepStrictEqual(restsOn(before), restsOn(after))
}

/** The levels of these names and, however deep, of those that they are made of. */
function findLevels({ levels }: PolicyDocument, names: readonly string[]): PolicyDocument['levels'] {
  const found = new Set(names)
  const follow = (condition: Condition): void => {
    if (condition.kind === 'all_of' || condition.kind === 'any_of') condition.of.forEach(follow)
    else if (condition.kind === 'not') follow(condition.of)
    else if (condition.kind === 'level') found.add(condition.name)
  }
  // A set goes on to what is added to it meanwhile.
  for (const name of found) for (const level of levels) if (level.name === name) follow(level.condition)
  return levels.filter(({ name }) => found.has(name))
}

/** Decides visits again. An invitation stands whatever the policy says: whoever was let in counts as invited, and the levels decide. */
export async function judgeConsole(
  visits: readonly AdminVisit[],
  settings: ConsoleRoleSettings,
  { after, before, own }: { readonly before: PolicyDocument; readonly after: PolicyDocument; readonly own: string | undefined },
): Promise<ConsoleStanding> {
  const [now, then] = [before, after].map((document) =>
    createConsoleRoles({ settings, policy: () => document, findInvitation: async (): Promise<readonly Role[]> => ['admin'] }),
  )
  const counts = { kept: 0, refused: 0 }
  let ownStanding: ConsoleStanding['own']
  for (const { facts } of visits) {
    if (!(await isLetIn(now, facts))) continue
    const standing = (await isLetIn(then, facts)) ? 'kept' : 'refused'
    counts[standing] += 1
    if (subjectKey(facts.subject as { readonly kind: string }) === own) ownStanding = standing
  }
  return { ...counts, own: ownStanding }
}

/** Whoever is only asked for a better sign-in is not shut out. */
async function isLetIn(roles: ConsoleRoles | undefined, facts: Facts): Promise<boolean> {
  const decision = await roles?.decide(facts)
  return decision?.outcome === 'step_up' || (decision?.outcome === 'held' && decision.roles.includes('admin'))
}
