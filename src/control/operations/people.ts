/**
 * People: finding them, everything that is known of one, and cutting one off.
 *
 * A person is named by reference (`person-ref.ts`), which is exact where an address is not. What is handed out of claims is what the instance
 * configuration names, and never a token. Of recent decisions somebody without `audit:read` sees the refusals: what they need to help. Each
 * look is on record before it is answered.
 */

import { z } from 'zod'
import { isReason, lockNotTheirs, parseLockEnd, stateLock } from '../../administration/access-orders.ts'
import { type Asker, mayActAgainst, type Role, roles } from '../../administration/asker.ts'
import type { DeviceList } from '../../administration/device-list.ts'
import type { DeviceRecord, Devices } from '../../administration/devices.ts'
import type { Locks } from '../../administration/locks.ts'
import type { PeopleDirectory } from '../../administration/people-directory.ts'
import { parseRef, refOf } from '../../administration/person-ref.ts'
import type { PeopleProtection } from '../../administration/protected-people.ts'
import type { AdministeredSessions, SessionFacts } from '../../administration/sessions.ts'
import type { Subject } from '../../administration/subject-lookup.ts'
import type { TrailWindow } from '../../administration/trail-window.ts'
import type { SubjectReader } from '../../attributes/subject-facts.ts'
import { findClaim } from '../../policy/claim-path.ts'
import type { People, Person } from '../../session/people.ts'
import { isOneself, refusedForOneself } from './locks.ts'
import { defineOperation, done, type Refused, refused } from './operation.ts'
import { instantText, pageInput, pageOf, toInstant, toInstantOrNull } from './paging.ts'
import { decisionsOutput, recentDecisions } from './people-decisions.ts'
import {
  asOf,
  firstReadingMs,
  isHeldBack,
  liftedStatement,
  lockStatement,
  type OpenConnectionsCount,
  outcomeOf,
  type RecordFirst,
  reasonText,
  refText,
  refusedForAdmin,
  sessionDetail,
  untilText,
} from './people-schemas.ts'
import { createSessionWords, type SessionWordsPorts } from './sessions.ts'

export interface PeopleOperationsPorts extends SessionWordsPorts {
  readonly directory: Pick<PeopleDirectory, 'people' | 'state' | 'ready'>
  readonly people: Pick<People, 'findPerson'>
  readonly sessions: AdministeredSessions
  readonly locks: Pick<Locks, 'find' | 'set' | 'lift'>
  readonly devices: Pick<Devices, 'findByClue'>
  readonly deviceList: Pick<DeviceList, 'ownedBy' | 'ready'>
  readonly protection: PeopleProtection
  /** Whom the roles name, whatever the circumstances. */
  readonly rolesOf: (person: Person) => Promise<readonly Role[]>
  readonly readSubject: SubjectReader
  /** Paths of the claims that the instance configuration names; `deviceId` is the one that names the device. */
  readonly claims: { readonly shown: readonly (readonly string[])[]; readonly deviceId: readonly string[] | undefined }
  readonly trail: Pick<TrailWindow, 'recentDecisions'>
  readonly connections: OpenConnectionsCount
  readonly recordFirst: RecordFirst
}

/** Of one person; nobody reads further, and all of them still end together. */
const mostSessions = 200
const mostDevices = 50
const mostClaimLength = 500

const personSummary = z.strictObject({
  ref: refText,
  issuer: z.string(),
  sub: z.string(),
  email: z.string().nullable(),
  name: z.string().nullable(),
  groups: z.array(z.string()).nullable().meta({ description: 'As last seen; null: the provider did not say.' }),
  seen_at: instantText.meta({ description: 'When the provider last stated all this.' }),
  is_admin: z.boolean().meta({ description: 'Holds the role admin as last seen, or nobody can tell.' }),
})

const deviceOfPerson = z.strictObject({
  id: z.string(),
  name: z.string(),
  status: z.enum(['active', 'blocked']),
  tied_by: z.enum(['session', 'claim', 'owner']),
})

/** The operations on people. */
export function createPeopleOperations(ports: PeopleOperationsPorts) {
  const { connections, devices, directory, locks, people, protection, recordFirst, sessions } = ports
  const describeSession = createSessionWords(ports)

  /** Somebody who has signed in here, by reference. */
  async function find(ref: string): Promise<Person | undefined> {
    const subject = parseRef(ref)
    return subject === undefined ? undefined : await people.findPerson(subject.issuer, subject.sub)
  }

  async function findTarget(ref: string, asker: Asker): Promise<Person | Refused> {
    const person = await find(ref)
    if (person === undefined) return notFound()
    return (await mayActAgainst(asker, person, protection)) ? person : refusedForAdmin('This person is an admin.')
  }

  async function listSessions(subject: Subject): Promise<readonly SessionFacts[]> {
    const found: SessionFacts[] = []
    for await (const facts of sessions.list(subject)) if (found.push(facts) === mostSessions) break
    return found.sort((a, b) => b.session.lastUsedAt - a.session.lastUsedAt)
  }

  /** What their sessions are identified with, what their claims name, and what the inventory says is theirs. */
  async function listDevices(person: Person, live: readonly SessionFacts[]): Promise<z.output<typeof deviceOfPerson>[]> {
    const found = new Map<string, z.output<typeof deviceOfPerson>>()
    const add = (device: Pick<DeviceRecord, 'id' | 'name'> | undefined, isBlocked: boolean, tied_by: 'session' | 'claim' | 'owner') => {
      if (device === undefined || found.has(device.id) || found.size === mostDevices) return
      found.set(device.id, { id: device.id, name: device.name, status: isBlocked ? 'blocked' : 'active', tied_by })
    }
    for (const { session } of live.slice(0, mostDevices)) {
      if (session.device === undefined) continue
      const { certificate: fingerprint, names } = session.device
      const device = await devices.findByClue({ kind: 'certificate', certificate: { fingerprint, names } })
      add(device, device?.status.state === 'blocked', 'session')
    }
    const { deviceId } = ports.claims
    const claimed = deviceId === undefined ? undefined : findClaim(person.claims, deviceId)
    if (typeof claimed === 'string' && claimed.length <= 254) {
      const device = await devices.findByClue({ kind: 'claim', id: claimed })
      add(device, device?.status.state === 'blocked', 'claim')
    }
    for (const owner of [person.email, person.sub]) {
      for (const one of owner === undefined ? [] : ports.deviceList.ownedBy(owner, mostDevices)) add(one, one.isBlocked, 'owner')
    }
    return [...found.values()]
  }

  return {
    list: defineOperation({
      id: 'people.list',
      summary: 'Find people who have signed in here',
      description: 'In the order of their addresses. That it was asked is recorded before it is answered.',
      method: 'GET',
      path: '/people',
      permission: 'people:read',
      input: z.strictObject({
        q: z.string().max(200).optional().meta({ description: 'Words, all of which stand in address, name or `sub`.' }),
        group: z.string().max(200).optional().meta({ description: 'How a group of theirs begins.' }),
        ...pageInput,
      }),
      output: pageOf(
        personSummary.extend({ sessions: z.int(), last_used_at: instantText.nullable().meta({ description: 'Of their live sessions.' }) }),
      ).extend(asOf),
      problems: [],
      async carryOut({ after, group, limit, q }, asker) {
        await directory.ready(firstReadingMs)
        const found = directory.people({ text: q, group: group === '' ? undefined : group, after, limit })
        const target = [q, group].filter((one) => one !== undefined && one !== '').join(' ') || undefined
        await recordFirst({ event: 'data.read', actor: asker.actor, what: 'people', target, entries: found.entries.length })
        const { isCut, readAt } = directory.state()
        return done({
          entries: found.entries.map((one) => ({
            ...summaryOf(one, one.groups, one.isProtected),
            sessions: one.sessions,
            last_used_at: toInstantOrNull(one.lastUsedAt),
          })),
          next: found.next ?? null,
          total: found.total,
          read_at: toInstantOrNull(readAt),
          is_cut: isCut,
        })
      },
    }),

    get: defineOperation({
      id: 'people.get',
      summary: 'One person: sessions, devices, locks, recent decisions',
      description: 'Claims are those that the instance configuration names. That it was looked at is recorded before it is answered.',
      method: 'GET',
      path: '/people/{ref}',
      permission: 'people:read',
      input: z.strictObject({ ref: refText }),
      output: personSummary.extend({
        roles: z.array(z.enum(roles)),
        may_act: z.boolean().meta({ description: 'Whether whoever asks may act against this person.' }),
        is_oneself: z.boolean(),
        claims: z.array(z.strictObject({ name: z.string(), value: z.string().meta({ description: 'Text as it is, all else as JSON.' }) })),
        sessions: z.array(sessionDetail),
        devices: z.array(deviceOfPerson),
        lock: lockStatement.nullable(),
        may_lift: z.boolean().meta({ description: 'Whether whoever asks may change or lift the lock.' }),
        decisions: decisionsOutput,
      }),
      problems: ['not_found'],
      async carryOut({ ref }, asker) {
        const person = await find(ref)
        if (person === undefined) return notFound()
        const label = person.email ?? person.sub
        await recordFirst({ event: 'data.read', actor: asker.actor, what: 'person', target: label, entries: undefined })
        const { issuer, sub } = person
        const subject = ports.readSubject({ issuer, sub, claims: { all: person.claims, at: person.seenAt, version: 0 } }, 'fresh')
        const groups = subject.kind === 'person' && subject.groups.known ? subject.groups.value : undefined
        const [live] = await Promise.all([listSessions(person), ports.deviceList.ready(firstReadingMs)])
        const [isProtected, lock, decisions, own, held] = await Promise.all([
          protection.isProtectedPerson(person),
          locks.find({ kind: 'subject', issuer, sub }),
          recentDecisions(ports.trail, { subject: { issuer, sub } }, asker),
          listDevices(person, live),
          ports.rolesOf(person),
        ])
        const mayAct = await mayActAgainst(asker, person, protection)
        return done({
          ...summaryOf({ ...person, ref: refOf(person) }, groups, isProtected),
          roles: [...held],
          may_act: mayAct,
          is_oneself: isOneself(asker, person),
          claims: ports.claims.shown.flatMap((path) => describeClaim(path, person)),
          sessions: await Promise.all(live.map((facts) => describeSession(facts, isProtected))),
          devices: own,
          lock: lock === undefined ? null : stateLock(lock),
          may_lift: lock !== undefined && mayAct && (!isHeldBack(asker) || lock.isByHelpdesk === true),
          decisions,
        })
      },
    }),

    revoke: defineOperation({
      id: 'people.revoke',
      summary: 'End every session of a person',
      description: 'What is open under them is cut, on every instance. Coming back takes a fresh sign-in.',
      method: 'POST',
      path: '/people/{ref}/revoke',
      permission: 'sessions:revoke',
      input: z.strictObject({ ref: refText, reason: reasonText.optional() }),
      output: z.strictObject({
        revoked: z.array(z.string()),
        connections: z.int().nullable().meta({ description: 'Open connections that are being closed; null: nobody could say in time.' }),
      }),
      problems: ['not_found', 'invalid_order', 'target_protected'],
      async carryOut({ reason, ref }, asker) {
        if (reason !== undefined && !isReason(reason)) return refusedReason()
        const person = await findTarget(ref, asker)
        if ('outcome' in person) return person
        const { issuer, sub } = person
        // Counted before they are gone; that nobody can say how many must not keep them open.
        const open = await connections.countOpen({ subject: { issuer, sub } }).catch(() => undefined)
        const revoked = await sessions.revokeSubject(person, { actor: asker.actor, reason: reason?.trim() })
        return done({ revoked: [...revoked], connections: open ?? null })
      },
    }),

    lock: defineOperation({
      id: 'people.lock',
      summary: 'Lock a person',
      description: 'Refuses everything of theirs, before every rule, until its time is over or it is lifted; what is open is cut.',
      method: 'POST',
      path: '/people/{ref}/lock',
      permission: 'locks:write',
      input: z.strictObject({ ref: refText, reason: reasonText, until: untilText, confirm: z.literal('lock me out').optional() }),
      output: lockStatement,
      problems: ['not_found', 'invalid_order', 'until_passed', 'target_protected', 'confirmation_needed'],
      async carryOut({ confirm, reason, ref, until }, asker) {
        if (!isReason(reason)) return refusedReason()
        const end = until == null ? undefined : parseLockEnd(until)
        if (until != null && end === undefined)
          return refused('invalid_order', 'Write the end as an instant such as 2026-11-25T22:00:00Z, or as 8h.')
        const person = await findTarget(ref, asker)
        if ('outcome' in person) return person
        if (isOneself(asker, person) && confirm === undefined) return refusedForOneself()
        const { email, issuer, sub } = person
        const wish = { target: { kind: 'subject', issuer, sub }, label: email ?? sub, until: end, reason: reason.trim() } as const
        const lock = await locks.set({ ...wish, isByHelpdesk: isHeldBack(asker) }, asker.actor)
        if (lock === 'not_theirs') return outcomeOf(lockNotTheirs)
        return lock === undefined ? refused('until_passed', 'This time is over already.') : done(stateLock(lock))
      },
    }),

    unlock: defineOperation({
      id: 'people.unlock',
      summary: 'Lift the lock on a person',
      description: 'They may sign in again, and their open sessions count again.',
      method: 'POST',
      path: '/people/{ref}/unlock',
      permission: 'locks:write',
      input: z.strictObject({ ref: refText, reason: reasonText }),
      output: liftedStatement,
      problems: ['not_found', 'invalid_order', 'not_locked', 'target_protected'],
      async carryOut({ reason, ref }, asker) {
        if (!isReason(reason)) return refusedReason()
        const person = await findTarget(ref, asker)
        if ('outcome' in person) return person
        const { issuer, sub } = person
        const how = { isByHelpdesk: isHeldBack(asker) }
        const lifted = await locks.lift({ kind: 'subject', issuer, sub }, reason.trim(), asker.actor, how)
        if (lifted === 'not_theirs') return outcomeOf(lockNotTheirs)
        if (lifted === undefined) return refused('not_locked', 'This person is not locked.')
        return done({ on: 'subject' as const, target: sub, label: lifted.label })
      },
    }),
  }
}

export type PeopleOperations = ReturnType<typeof createPeopleOperations>

type Summarised = Pick<Person, 'issuer' | 'sub' | 'email' | 'name' | 'seenAt'> & { readonly ref: string }

function summaryOf({ email, issuer, name, ref, seenAt, sub }: Summarised, groups: readonly string[] | undefined, isProtected: boolean) {
  return {
    ref,
    issuer,
    sub,
    email: email ?? null,
    name: name ?? null,
    groups: groups === undefined ? null : [...groups],
    seen_at: toInstant(seenAt),
    is_admin: isProtected,
  }
}

function describeClaim(path: readonly string[], { claims }: Person): { readonly name: string; readonly value: string }[] {
  const value = findClaim(claims, path)
  if (value === undefined) return []
  const text = typeof value === 'string' ? value : JSON.stringify(value)
  return [{ name: path.join('.'), value: text.length > mostClaimLength ? `${text.slice(0, mostClaimLength)}…` : text }]
}

function notFound(): Refused {
  return refused('not_found', 'Nobody with this reference has signed in here.')
}

function refusedReason(): Refused {
  return refused('invalid_order', 'A reason is one line of at most 500 characters.')
}
