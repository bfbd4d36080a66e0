/**
 * Sessions as an administrator sees and ends them: all of them, or one person's.
 *
 * What is listed comes straight from the store, judged by the rules that let it in: record, limits, ends. Ending is the record of the end
 * and nothing else (`session/session-ends.ts`); here stands who did it, and why. All of a subject's end with the subject, so that also a
 * session counts whose index is not written yet. A listing holds one person's sessions at a time in memory.
 */

import type { AuditEvent } from '../audit/event.ts'
import { idleEndsAt, isEndedBy, isExpired, type SessionLimits, stricterLimits } from '../session/lifetime.ts'
import type { People } from '../session/people.ts'
import type { SealedRecords } from '../session/sealed-records.ts'
import type { Session } from '../session/session.ts'
import {
  hashSessionId,
  hashSubject,
  providerSidHashOf,
  recordNames,
  restoreSession,
  type SessionRecord,
} from '../session/session-record.ts'
import type { Sessions } from '../session/sessions.ts'
import type { End, SessionStore } from '../session/store.ts'
import type { Subject } from './subject-lookup.ts'

/** A live session, and when it ends unless it is used again. */
export interface SessionFacts {
  readonly session: Session
  readonly idleEndsAt: number
}

/** What became of each session that was named. `unknown`: there is none, and there was none of late. */
export interface Revocation {
  readonly revoked: readonly string[]
  readonly endedBefore: readonly string[]
  readonly unknown: readonly string[]
}

/** Who ends something, as the trail says it, and why. */
export interface Why {
  readonly actor: string
  readonly reason: string | undefined
}

/** Every method rejects with `session_store_unavailable` when the store does. */
export interface AdministeredSessions {
  /** Live sessions; of everybody seen, or of one subject. Each person's newest first. */
  list(subject: Subject | undefined): AsyncIterable<SessionFacts>
  /** The live session of this hash of its id; `undefined` for one that ended, ran out or never was. */
  findByHash(sessionHash: string): Promise<SessionFacts | undefined>
  /** Whose session this is, also of one that ran out. `unreadable`: its record does not open, so nobody can tell. */
  findOwner(id: string): Promise<Subject | 'unreadable' | undefined>
  /** The origins that the session's browser was let into, each as `hashOrigin`. */
  listOrigins(id: string): Promise<readonly string[]>
  /** Ends these sessions. An id of nothing is told apart and ends nothing. */
  revoke(ids: readonly string[], why: Why): Promise<Revocation>
  /** Ends every session that this subject has at this moment; resolves to the ids found. */
  revokeSubject(subject: Subject, why: Why): Promise<readonly string[]>
  /** Ends the sessions, of whomever, that `isMeant` picks. */
  revokeMatching(isMeant: (session: Session) => boolean, why: Why): Promise<readonly string[]>
}

/** What it is made of. */
export interface AdministeredSessionsParts {
  readonly store: Pick<SessionStore, 'loadIndex' | 'loadEnds' | 'loadNow' | 'loadRecord' | 'confirmDurable'>
  readonly records: Pick<SealedRecords, 'load'>
  readonly people: Pick<People, 'listPeople'>
  /** As configured; a session has these or stricter ones. */
  readonly limits: SessionLimits
  readonly ends: Pick<Sessions, 'endSessions' | 'endSubject'>
  /** Rejects if the event cannot be handed over. */
  readonly record: (event: Extract<AuditEvent, { readonly event: 'sessions.revoked' }>) => void | Promise<void>
}

/** A line of the trail keeps so many names of a list. */
const mostNamed = 32
/** Questions that are on their way to the store at one time. */
const atOnce = 25
const sessionIdForm = /^[A-Za-z0-9_-]{22}$/

/** Sessions for administrators. */
export function createAdministeredSessions(parts: AdministeredSessionsParts): AdministeredSessions {
  const { store, records, ends } = parts

  async function findLive(sessionHash: string): Promise<SessionFacts | undefined> {
    const record = await records.load<SessionRecord>(recordNames.session(sessionHash))
    if (record === undefined) return undefined
    const session = restoreSession(record.value.session)
    const limits = stricterLimits(record.value.limits, parts.limits)
    const [found, now] = await Promise.all([store.loadEnds(thingsOf(sessionHash, session)), store.loadNow()])
    if (found.some((end) => end !== undefined && isEndedBy(session.startedAt, end))) return undefined
    return isExpired(session, limits, now) ? undefined : { session, idleEndsAt: idleEndsAt(session, limits) }
  }

  async function* listOf({ issuer, sub }: Subject) {
    const hashes = await store.loadIndex(recordNames.subjectIndex(hashSubject(issuer, sub)))
    const live: SessionFacts[] = []
    for (let at = 0; at < hashes.length; at += atOnce) {
      live.push(...(await Promise.all(hashes.slice(at, at + atOnce).map(findLive))).filter((one) => one !== undefined))
    }
    yield* live.sort((a, b) => b.session.startedAt - a.session.startedAt)
  }

  async function* list(subject: Subject | undefined) {
    if (subject !== undefined) return yield* listOf(subject)
    const { people } = await parts.people.listPeople()
    for await (const person of people) yield* listOf(person)
  }

  async function judge(id: string): Promise<keyof Revocation> {
    if (!sessionIdForm.test(id)) return 'unknown'
    const idHash = hashSessionId(id)
    // The record as it lies there: one that does not open is a session that somebody may hold all the same.
    const [record, [end]] = await Promise.all([
      store.loadRecord(recordNames.session(idHash)),
      store.loadEnds([{ kind: 'session', idHash }]),
    ])
    if (end !== undefined) return 'endedBefore'
    return record === undefined ? 'unknown' : 'revoked'
  }

  async function write(sessions: readonly string[], target: string | undefined, { actor, reason }: Why): Promise<void> {
    for (let at = 0; at === 0 || at < sessions.length; at += mostNamed) {
      await parts.record({ event: 'sessions.revoked', actor, sessions: sessions.slice(at, at + mostNamed), target, reason })
    }
    await store.confirmDurable()
  }

  return {
    list,
    findByHash: findLive,
    async findOwner(id) {
      if (!sessionIdForm.test(id)) return undefined
      const name = recordNames.session(hashSessionId(id))
      const record = await records.load<SessionRecord>(name)
      if (record !== undefined) return { issuer: record.value.session.issuer, sub: record.value.session.sub }
      return (await store.loadRecord(name)) === undefined ? undefined : 'unreadable'
    },
    listOrigins: (id) => store.loadIndex(recordNames.appSessionsIndex(hashSessionId(id))),
    async revoke(ids, why) {
      const outcome = { revoked: [] as string[], endedBefore: [] as string[], unknown: [] as string[] }
      const named = [...new Set(ids)]
      for (let at = 0; at < named.length; at += atOnce) {
        const batch = named.slice(at, at + atOnce)
        for (const [index, kind] of (await Promise.all(batch.map(judge))).entries()) outcome[kind].push(batch[index] ?? '')
      }
      await ends.endSessions(outcome.revoked, 'revoked')
      if (outcome.revoked.length > 0) await write(outcome.revoked, undefined, why)
      return outcome
    },
    async revokeSubject({ issuer, sub }, why) {
      const ids = await ends.endSubject(issuer, sub, 'revoked')
      await write(ids, sub, why)
      return ids
    },
    async revokeMatching(isMeant, why) {
      const ended: string[] = []
      for await (const { session } of list(undefined)) {
        if (!isMeant(session)) continue
        await ends.endSessions([session.id], 'revoked')
        ended.push(session.id)
      }
      if (ended.length > 0) await write(ended, undefined, why)
      return ended
    },
  }
}

/** What the end of this session could be recorded for. */
function thingsOf(sessionHash: string, session: Session): readonly Pick<End, 'kind' | 'idHash'>[] {
  const providerSidHash = providerSidHashOf(session)
  return [
    { kind: 'session', idHash: sessionHash },
    { kind: 'subject', idHash: hashSubject(session.issuer, session.sub) },
    ...(providerSidHash === undefined ? [] : [{ kind: 'provider_sid' as const, idHash: providerSidHash }]),
  ]
}
