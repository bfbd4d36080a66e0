/**
 * Sessions: listing, looking through them, and ending them.
 *
 * `/sessions` and `/sessions/revoke` have the form that programs know, over the same orders as at the command line; `/sessions/search` is what the
 * console's list shows. Whose session an id is, is asked of the store before anything ends: an id is no way around an admin's protection, and
 * one whose record does not open may be anybody's.
 */

import { z } from 'zod'
import { type AccessOrders, type SessionStatement, stateSession } from '../../administration/access-orders.ts'
import { type Asker, mayActAgainst } from '../../administration/asker.ts'
import type { PeopleDirectory } from '../../administration/people-directory.ts'
import { refOf } from '../../administration/person-ref.ts'
import type { PeopleProtection } from '../../administration/protected-people.ts'
import type { AdministeredSessions, SessionFacts } from '../../administration/sessions.ts'
import { findSubject } from '../../administration/subject-lookup.ts'
import type { EnvironmentReader } from '../../attributes/environment-facts.ts'
import type { FactGroup, Known } from '../../policy/facts.ts'
import type { People } from '../../session/people.ts'
import { hashOrigin } from '../../session/session-record.ts'
import { defineOperation, done } from './operation.ts'
import { pageInput, pageOf, toInstantOrNull } from './paging.ts'
import {
  asOf,
  firstReadingMs,
  isHeldBack,
  orderProblems,
  outcomeOf,
  type RecordFirst,
  refusedForAdmin,
  revocationStatement,
  revokeInput,
  type SessionDetail,
  sessionDetail,
  sessionStatement,
} from './people-schemas.ts'

/** An app as far as sessions name it. */
export interface NamedApp {
  readonly id: string
  readonly name: string
  readonly origin: string
}

/** What a session's words are made of. */
export interface SessionWordsPorts {
  readonly sessions: Pick<AdministeredSessions, 'listOrigins'>
  readonly readEnvironment: EnvironmentReader
  /** Of the policy in force; the same list until it changes. */
  readonly apps: () => readonly NamedApp[]
}

export interface SessionsOperationsPorts extends SessionWordsPorts {
  readonly orders: Pick<AccessOrders, 'listSessions' | 'revoke'>
  readonly sessions: AdministeredSessions
  readonly directory: Pick<PeopleDirectory, 'sessions' | 'state' | 'ready'>
  readonly people: Pick<People, 'findPeople' | 'findPerson'>
  /** How the provider may call itself; see `issuersOf`. */
  readonly issuers: readonly string[]
  readonly protection: PeopleProtection
  readonly recordFirst: RecordFirst
}

/** A list is one answer, and the memory it takes is bounded; whoever has more asks for one subject. */
const mostListed = 10_000
const place: ReadonlySet<FactGroup> = new Set(['country', 'client'])

/** The operations on sessions. */
export function createSessionsOperations(ports: SessionsOperationsPorts) {
  const { directory, issuers, orders, people, protection, recordFirst, sessions } = ports
  const describe = createSessionWords(ports)

  /** Whether nothing of this order is against somebody whom the asker must leave alone. */
  async function mayRevoke(asker: Asker, ids: readonly string[] | undefined, subject: string | undefined): Promise<boolean> {
    if (subject !== undefined) {
      const found = await findSubject(people, issuers, subject)
      const meant = found.outcome === 'found' ? [found.person] : found.outcome === 'not_yet' ? found.subjects : []
      return (await Promise.all(meant.map((one) => mayActAgainst(asker, one, protection)))).every(Boolean)
    }
    for (const id of new Set(ids)) {
      const owner = await sessions.findOwner(id)
      if (owner === undefined) continue
      // A record that does not open may be anybody's.
      if (owner === 'unreadable' ? isHeldBack(asker) : !(await mayActAgainst(asker, owner, protection))) return false
    }
    return true
  }

  return {
    list: defineOperation({
      id: 'sessions.list',
      summary: 'Live sessions of everybody, or of one person',
      description: `At most ${mostListed}, each person’s newest first. That it was asked for is recorded before it is answered.`,
      method: 'GET',
      path: '/sessions',
      permission: 'sessions:read',
      input: z.strictObject({ subject: z.string().max(1_024).optional().meta({ description: 'An e-mail address or a `sub`.' }) }),
      output: z.strictObject({ sessions: z.array(sessionStatement), truncated: z.boolean() }),
      problems: orderProblems,
      async carryOut({ subject }, asker) {
        const found = await orders.listSessions(subject)
        if (found.outcome === 'refused') return outcomeOf(found)
        const listed: SessionStatement[] = []
        let truncated = false
        for await (const session of found.value) {
          truncated = listed.length === mostListed
          if (truncated) break
          listed.push(session)
        }
        await recordFirst({ event: 'data.read', actor: asker.actor, what: 'sessions', target: subject, entries: listed.length })
        return done({ sessions: listed.map((one) => ({ ...one, amr: [...one.amr] })), truncated })
      },
    }),

    search: defineOperation({
      id: 'sessions.search',
      summary: 'Look through live sessions',
      description: 'Newest use first. What is shown is read from the store at this moment; the order is as of `read_at`.',
      method: 'GET',
      path: '/sessions/search',
      permission: 'sessions:read',
      input: z.strictObject({
        q: z.string().max(200).optional().meta({ description: 'Words of the person’s address, name or `sub`.' }),
        address: z.string().max(64).optional().meta({ description: 'How the network address begins.' }),
        device: z.string().max(254).optional().meta({ description: 'Part of a name of the device.' }),
        app: z.string().max(64).optional().meta({ description: 'Id of an app whose origin the session was let into.' }),
        ...pageInput,
      }),
      output: pageOf(sessionDetail).extend(asOf),
      problems: [],
      async carryOut({ address, after, app, device, limit, q }, asker) {
        const origin = app === undefined ? undefined : originOf(ports.apps(), app)
        await directory.ready(firstReadingMs)
        const query = { text: q, address, device, origin, after, limit }
        const found = await directory.sessions(query)
        const target = [q, address, device, app].filter((one) => one !== undefined && one !== '').join(' ') || undefined
        await recordFirst({ event: 'data.read', actor: asker.actor, what: 'sessions', target, entries: found.entries.length })
        const entries = await Promise.all(found.entries.map(({ facts, person }) => describe(facts, person.isProtected)))
        const { isCut, readAt } = directory.state()
        return done({ entries, next: found.next ?? null, total: found.total, read_at: toInstantOrNull(readAt), is_cut: isCut })
      },
    }),

    revoke: defineOperation({
      id: 'sessions.revoke',
      summary: 'End sessions by id, or all of one person',
      description: 'What is open under them is cut, on every instance. Coming back takes a fresh sign-in. Recorded with its reason.',
      method: 'POST',
      path: '/sessions/revoke',
      permission: 'sessions:revoke',
      input: revokeInput,
      output: revocationStatement,
      problems: [...orderProblems, 'session_unknown', 'target_protected'],
      async carryOut({ reason, sessions: ids, subject }, asker) {
        if (!(await mayRevoke(asker, ids, subject))) return refusedForAdmin('This would end a session of an admin.')
        const ordered = await orders.revoke({ sessions: ids, subject, reason }, asker.actor)
        if (ordered.outcome === 'refused') return outcomeOf(ordered)
        const { ended_before, revoked, unknown } = ordered.value
        return done({ revoked: [...revoked], ended_before: [...ended_before], unknown: [...unknown] })
      },
    }),
  }
}

export type SessionsOperations = ReturnType<typeof createSessionsOperations>

/** Says what is known of one session: where it began, with which browser, and what it was let into. */
export function createSessionWords({ apps, readEnvironment, sessions }: SessionWordsPorts) {
  let known: { readonly of: readonly NamedApp[]; readonly byOrigin: ReadonlyMap<string, readonly NamedApp[]> } | undefined

  function appsAt(hashes: readonly string[]): readonly { id: string; name: string }[] {
    const all = apps()
    if (known?.of !== all) known = { of: all, byOrigin: Map.groupBy(all, ({ origin }) => hashOrigin(origin)) }
    const { byOrigin } = known
    return hashes.flatMap((hash) => byOrigin.get(hash) ?? []).map(({ id, name }) => ({ id, name }))
  }

  return async (facts: SessionFacts, isProtected: boolean): Promise<SessionDetail> => {
    const { session } = facts
    const { address, userAgent } = session.origin
    const seen = readEnvironment({ address, at: session.startedAt, scheme: 'https', tlsVersion: undefined, userAgent }, place)
    const statement = stateSession(facts)
    return {
      ...statement,
      amr: [...statement.amr],
      person: refOf(session),
      is_admin: isProtected,
      country: textOf(seen.country),
      browser: textOf(seen.client.browser),
      os: textOf(seen.client.os),
      device: session.device === undefined ? null : (session.device.names[0] ?? session.device.certificate.slice(0, 16)),
      apps: [...appsAt(await sessions.listOrigins(session.id))].sort((a, b) => (a.name < b.name ? -1 : 1)),
    }
  }
}

/** Of an app that is none, the name of an origin that no session was let into. */
function originOf(apps: readonly NamedApp[], id: string): string {
  return hashOrigin(apps.find((app) => app.id === id)?.origin ?? '')
}

function textOf(known: Known<string | undefined>): string | null {
  return known.known ? (known.value ?? null) : null
}
