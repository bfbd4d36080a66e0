/**
 * Orders to cut somebody off, as they are given at a command line or over the API: the same words, the same checks, the same answers.
 *
 * What comes in was written by people or programs and is judged here; what goes out is the JSON that both print. A refusal is a value with a
 * sentence that says what to write instead. Nothing here asks the provider or reads a policy, so that it works on the day one is broken.
 */

import type { Lock, LockTarget } from '../live/lock.ts'
import type { People } from '../session/people.ts'
import type { Devices } from './devices.ts'
import { type LockEnd, type Locks, nameOf } from './locks.ts'
import type { AdministeredSessions, SessionFacts } from './sessions.ts'
import { findSubject, type Subject } from './subject-lookup.ts'

/** Why an order was not carried out. */
export type OrderProblem =
  | 'invalid_order'
  | 'subject_never_seen'
  | 'subject_ambiguous'
  | 'device_unknown'
  | 'not_locked'
  | 'until_passed'
  | 'session_unknown'
  | 'target_protected'

export interface OrderRefusal {
  readonly outcome: 'refused'
  readonly problem: OrderProblem
  /** For whoever gave the order. */
  readonly message: string
  /** The `sub` of each person that an address may mean. */
  readonly matches?: readonly string[]
}

export type Ordered<T> = { readonly outcome: 'done'; readonly value: T } | OrderRefusal

/** A lock as JSON. */
export interface LockStatement {
  readonly on: LockTarget['kind']
  /** The `sub`, name or id. */
  readonly target: string
  readonly label: string
  /** RFC 3339, as every instant here; `null` until it is lifted. */
  readonly since: string
  readonly until: string | null
  readonly reason: string
  readonly by: string
}

/** A session as JSON. */
export interface SessionStatement {
  readonly id: string
  readonly sub: string
  readonly email: string | null
  readonly name: string | null
  readonly started_at: string
  readonly last_used_at: string
  /** Unless it is used again. */
  readonly idle_ends_at: string
  readonly amr: readonly string[]
  readonly acr: string | null
  /** Where it began. */
  readonly address: string
  readonly user_agent: string
  readonly has_certificate: boolean
}

/** What a revocation did, as JSON. */
export interface RevocationStatement {
  readonly revoked: readonly string[]
  readonly ended_before: readonly string[]
  readonly unknown: readonly string[]
}

/** What is to be locked, in the administrator's words. */
export interface LockOrder {
  readonly on: string
  readonly name: string
  /** RFC 3339, or a duration such as `8h`. */
  readonly until: string | undefined
  readonly reason: string
}

export type UnlockOrder = Omit<LockOrder, 'until'>

/** Sessions by id, or all of one subject. */
export interface RevokeOrder {
  readonly sessions: readonly string[] | undefined
  readonly subject: string | undefined
  readonly reason: string | undefined
}

/** Who gives an order: without the role admin only what others of them locked is changed and lifted. */
export type Rank = 'admin' | 'helpdesk'

/** The orders. `actor` is who gives one, as in the trail; a command or a program counts as an admin. Every method rejects with `session_store_unavailable` when the store does. */
export interface AccessOrders {
  lock(order: LockOrder, actor: string, rank?: Rank): Promise<Ordered<LockStatement>>
  unlock(order: UnlockOrder, actor: string, rank?: Rank): Promise<Ordered<Pick<LockStatement, 'on' | 'target' | 'label'>>>
  listLocks(): AsyncIterable<LockStatement>
  /** Of everybody, or of one subject. */
  listSessions(subject: string | undefined): Promise<Ordered<AsyncIterable<SessionStatement>>>
  /** `session_unknown` only where none of the named ones was there. */
  revoke(order: RevokeOrder, actor: string): Promise<Ordered<RevocationStatement>>
}

export interface AccessOrdersParts {
  readonly locks: Locks
  readonly sessions: AdministeredSessions
  readonly people: Pick<People, 'findPeople' | 'findPerson'>
  readonly devices: Pick<Devices, 'find'>
  /** How the provider may call itself; see `issuersOf`. */
  readonly issuers: readonly string[]
}

interface FoundSubjects {
  /** One, but for somebody who never came: see `issuersOf`. */
  readonly subjects: readonly Subject[]
  readonly label: string
}

interface FoundTargets {
  readonly targets: readonly LockTarget[]
  readonly label: string
}

/** One order; a person types fewer, and a program may send several. */
export const mostSessionsAnOrder = 1_000

/** The orders over locks and sessions. */
export function createAccessOrders({ devices, issuers, locks, people, sessions }: AccessOrdersParts): AccessOrders {
  async function findPerson(who: string): Promise<Ordered<FoundSubjects>> {
    const found = await findSubject(people, issuers, who)
    switch (found.outcome) {
      case 'never_seen':
        return refuse(
          'subject_never_seen',
          `nobody has signed in here with the address ${who}; name the person by the provider’s sub instead`,
        )
      case 'several': {
        const matches = found.people.map(({ sub }) => sub)
        const message = `several people have the address ${who}; name one by sub: ${matches.join(', ')}`
        return { ...refuse('subject_ambiguous', message), matches }
      }
      case 'found':
        return done({ subjects: [found.person], label: found.person.email ?? who })
      case 'not_yet':
        return done({ subjects: found.subjects, label: who })
    }
  }

  async function findTarget({ name, on }: Pick<LockOrder, 'on' | 'name'>): Promise<Ordered<FoundTargets>> {
    if (!isPlainLine(name, 512)) return refuse('invalid_order', 'the name is empty, too long, or has control characters')
    if (on === 'subject') {
      const found = await findPerson(name)
      if (found.outcome === 'refused') return found
      const { label, subjects } = found.value
      return done({ targets: subjects.map(({ issuer, sub }) => ({ kind: 'subject', issuer, sub })), label })
    }
    if (on === 'service' && isDefinedName(name)) return done({ targets: [{ kind: 'service', name }], label: name })
    if (on === 'app' && isDefinedName(name)) return done({ targets: [{ kind: 'app', id: name }], label: name })
    if (on === 'device') return done({ targets: [{ kind: 'device', id: name }], label: name })
    return refuse(
      'invalid_order',
      on === 'service' || on === 'app' ? `this is not the name of a ${on}` : 'lock a subject, service, device or app',
    )
  }

  return {
    async lock({ reason, until, ...what }, actor, rank) {
      if (!isReason(reason)) return refuse('invalid_order', 'a reason is one line of at most 500 characters')
      const end = until === undefined ? undefined : parseLockEnd(until)
      if (until !== undefined && end === undefined) {
        return refuse('invalid_order', 'write `until` as an instant such as 2026-11-25T22:00:00Z, or as a duration such as 8h')
      }
      const found = await findTarget(what)
      if (found.outcome === 'refused') return found
      const { label, targets } = found.value
      const device = what.on === 'device' ? await devices.find(what.name) : undefined
      if (what.on === 'device' && device === undefined) {
        return refuse('device_unknown', `the inventory has no device ${what.name}: a lock on it would refuse nothing`)
      }
      let lock: Lock | undefined
      for (const target of targets) {
        const wish = { target, label: device?.name ?? label, until: end, reason: reason.trim(), isByHelpdesk: rank === 'helpdesk' }
        const set = await locks.set(wish, actor)
        if (set === 'not_theirs') return lockNotTheirs
        lock = set
      }
      return lock === undefined ? refuse('until_passed', 'this time is over already') : done(stateLock(lock))
    },
    async unlock({ reason, ...what }, actor, rank) {
      if (!isReason(reason)) return refuse('invalid_order', 'a reason is one line of at most 500 characters')
      const found = await findTarget(what)
      if (found.outcome === 'refused') return found
      let lifted: Exclude<Awaited<ReturnType<Locks['lift']>>, 'not_theirs'>
      for (const target of found.value.targets) {
        const answer = await locks.lift(target, reason.trim(), actor, { isByHelpdesk: rank === 'helpdesk' })
        if (answer === 'not_theirs') return lockNotTheirs
        lifted = answer ?? lifted
      }
      const ofBlock = what.on === 'device' ? '; the lock of a block is lifted by unblocking the device' : ''
      if (lifted === undefined) return refuse('not_locked', `${what.on} ${what.name} is not locked${ofBlock}`)
      return done({ on: lifted.target.kind, target: nameOf(lifted.target), label: lifted.label })
    },
    async *listLocks() {
      for await (const lock of locks.list()) yield stateLock(lock)
    },
    async listSessions(who) {
      const found = who === undefined ? undefined : await findPerson(who)
      if (found?.outcome === 'refused') return found
      return done(stateSessions(sessions, found?.value.subjects ?? [undefined]))
    },
    async revoke({ reason, sessions: ids, subject }, actor) {
      if (reason !== undefined && !isReason(reason)) return refuse('invalid_order', 'a reason is one line of at most 500 characters')
      if ((ids === undefined) === (subject === undefined)) return refuse('invalid_order', 'name sessions by id, or one subject, not both')
      const why = { actor, reason: reason?.trim() }
      if (subject !== undefined) {
        const found = await findPerson(subject)
        if (found.outcome === 'refused') return found
        const revoked: string[] = []
        for (const one of found.value.subjects) revoked.push(...(await sessions.revokeSubject(one, why)))
        return done({ revoked, ended_before: [], unknown: [] })
      }
      if (ids === undefined || ids.length === 0 || ids.length > mostSessionsAnOrder) {
        return refuse('invalid_order', `name between one and ${mostSessionsAnOrder} sessions`)
      }
      const { endedBefore, revoked, unknown } = await sessions.revoke(ids, why)
      if (revoked.length + endedBefore.length === 0) return refuse('session_unknown', `there is no session ${unknown.join(', ')}`)
      return done({ revoked, ended_before: endedBefore, unknown })
    },
  }
}

function done<T>(value: T): { readonly outcome: 'done'; readonly value: T } {
  return { outcome: 'done', value }
}

function refuse(problem: OrderProblem, message: string): OrderRefusal {
  return { outcome: 'refused', problem, message }
}

/** Where the helpdesk finds a lock that it did not set. */
export const lockNotTheirs = refuse('target_protected', 'this lock was not set by the helpdesk: only an admin changes or lifts it; ask one')

async function* stateSessions(
  sessions: Pick<AdministeredSessions, 'list'>,
  subjects: readonly (Subject | undefined)[],
): AsyncIterable<SessionStatement> {
  for (const subject of subjects) for await (const facts of sessions.list(subject)) yield stateSession(facts)
}

/** A session as JSON has it. */
export function stateSession({ idleEndsAt, session }: SessionFacts): SessionStatement {
  const { claims, device, id, lastUsedAt, origin, signIn, startedAt, sub } = session
  const text = (claim: unknown) => (typeof claim === 'string' && claim !== '' ? claim : null)
  return {
    id,
    sub,
    email: text(claims.all['email']),
    name: text(claims.all['name']),
    started_at: instant(startedAt),
    last_used_at: instant(lastUsedAt),
    idle_ends_at: instant(idleEndsAt),
    amr: signIn.amr,
    acr: signIn.acr ?? null,
    address: origin.address,
    user_agent: origin.userAgent,
    has_certificate: device !== undefined,
  }
}

/** A lock as JSON has it. */
export function stateLock({ by, label, reason, since, target, until }: Lock): LockStatement {
  return {
    on: target.kind,
    target: nameOf(target),
    label,
    since: instant(since),
    until: until === undefined ? null : instant(until),
    reason,
    by,
  }
}

function instant(at: number): string {
  return new Date(at).toISOString()
}

const unitSeconds = { s: 1, m: 60, h: 3_600, d: 86_400 } as const
/** Beyond ten years a lock without an end is meant. */
const longestSeconds = 10 * 366 * 86_400
/** RFC 3339 with its offset: a time without one would be taken for another instant on another machine. */
const instantForm = /^\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(?:[Zz]|[+-]\d{2}:\d{2})$/

/** When a lock ends, as an administrator writes it; `undefined` for what is neither an instant nor a duration. */
export function parseLockEnd(written: string): LockEnd | undefined {
  const [, count, unit] = /^(\d{1,9})([smhd])$/.exec(written) ?? []
  if (count !== undefined) {
    const inSeconds = Number(count) * unitSeconds[unit as keyof typeof unitSeconds]
    return inSeconds > 0 && inSeconds <= longestSeconds ? { inSeconds } : undefined
  }
  const at = instantForm.test(written) ? Date.parse(written) : Number.NaN
  return Number.isNaN(at) ? undefined : { at }
}

/** One line that says something. */
export function isReason(text: string): boolean {
  return isPlainLine(text, 500)
}

function isPlainLine(text: string, most: number): boolean {
  return text.trim() !== '' && text.length <= most && !/[\p{Cc}\p{Zl}\p{Zp}]/u.test(text)
}

/** As the policy document names services and apps. */
function isDefinedName(name: string): boolean {
  return /^[a-z0-9](?:[a-z0-9_-]{0,62}[a-z0-9])?$/.test(name)
}
