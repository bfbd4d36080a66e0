/**
 * Ending sessions: the record of the end first, everything else after.
 *
 * The end is what counts, on every instance, also for sessions whose index is not written yet. Once it is on record the session's own
 * record is removed as well, tokens included: a store that loses its latest writes in a fail-over must lose two things
 * before a session could come back. That part is tidying up and never fails the end.
 */

import type { AuditEvent, AuditSubject } from '../audit/event.ts'
import type { Logger } from '../log.ts'
import type { SealedRecords } from './sealed-records.ts'
import { hashOf, isSecret } from './secret.ts'
import type { Session } from './session.ts'
import {
  hashProviderSid,
  hashSessionId,
  hashSubject,
  type Pointer,
  providerSidHashOf,
  recordNames,
  restoreSession,
  type SessionRecord,
} from './session-record.ts'
import type { RequestCause, Sessions } from './sessions.ts'
import type { End, EndCause, SessionStore } from './store.ts'

/** The part of `Sessions` that ends them. */
export type SessionEnds = Pick<Sessions, 'endSession' | 'endSessions' | 'endSubject' | 'endProviderSid' | 'findLatestEnd'>

/** What ending needs of the rest. */
export interface SessionEndsParts {
  readonly store: SessionStore
  readonly records: SealedRecords
  /** Ends are kept for as long as any session they could concern may live. */
  readonly keepSeconds: number
  /** Makes ends count on this instance before anything else happens. */
  readonly noteEnds: (ends: readonly End[]) => void
  readonly forget: (sessionHash: string) => void
  readonly onEvent: (event: AuditEvent) => void
  readonly log: Logger
}

/** What an end is put down to. */
interface Why {
  readonly cause: EndCause
  readonly by: RequestCause | undefined
}

/** Ends in one write of the store: what a server does in a millisecond or two. */
const endedAtOnce = 500
const clearedAtOnce = 25

/** Whom an event about a session is about. */
export function auditSubjectOf(session: Pick<Session, 'issuer' | 'sub' | 'claims'>): AuditSubject {
  const email = session.claims.all['email']
  return { kind: 'person', issuer: session.issuer, sub: session.sub, ...(typeof email === 'string' ? { email } : {}) }
}

/** The ends of one instance. */
export function createSessionEnds(parts: SessionEndsParts): SessionEnds {
  const { store, records, onEvent } = parts

  async function recordAll(ends: readonly Omit<End, 'at'>[]): Promise<void> {
    try {
      const at = await store.recordEnds(ends, parts.keepSeconds)
      parts.noteEnds(ends.map((end) => ({ ...end, at })))
    } catch (error) {
      // Whether the store has it is unknown: what memory says about these sessions is not to be trusted any more.
      for (const end of ends) if (end.kind === 'session') parts.forget(end.idHash)
      throw error
    }
  }

  /** Removes what is left of a session that has ended; returns it if it was still there. `sessionId` is known to who ended it by that. */
  async function clearAway(sessionHash: string, why: Why, sessionId?: string): Promise<Session | undefined> {
    let isReported = false
    try {
      // Taken, so that of several who end it at once one reports it.
      const record = await records.take<SessionRecord>(recordNames.session(sessionHash))
      if (record === undefined) return undefined
      const session = restoreSession(record.value.session)
      isReported = true
      onEvent(sessionEnded(session.id, auditSubjectOf(session), why))
      const providerSidHash = providerSidHashOf(session)
      await Promise.all([
        store.removeFromIndex(recordNames.subjectIndex(hashSubject(session.issuer, session.sub)), sessionHash),
        providerSidHash === undefined ? undefined : store.removeFromIndex(recordNames.providerSidIndex(providerSidHash), sessionHash),
      ])
      return session
    } catch (error) {
      const facts = { request: why.by?.requestId, session: sessionId, err: error }
      parts.log.warn(facts, 'a session that has ended could not be cleared away; its end is on record')
      // It has ended all the same, and the trail must say so, if only by its id.
      if (!isReported && sessionId !== undefined) onEvent(sessionEnded(sessionId, { kind: 'person' }, why))
      return undefined
    }
  }

  /** Some at a time; returns the names of their sessions at the provider. */
  async function clearAllAway(named: readonly { readonly id: string; readonly idHash: string }[], why: Why): Promise<ReadonlySet<string>> {
    const providerSids = new Set<string>()
    for (let at = 0; at < named.length; at += clearedAtOnce) {
      const batch = named.slice(at, at + clearedAtOnce)
      for (const session of await Promise.all(batch.map(({ id, idHash }) => clearAway(idHash, why, id)))) {
        const hash = session === undefined ? undefined : providerSidHashOf(session)
        if (hash !== undefined) providerSids.add(hash)
      }
    }
    return providerSids
  }

  async function endIndexed(index: string, end: Omit<End, 'at'>, why: Why): Promise<readonly string[]> {
    const sessionHashes = await store.loadIndex(index)
    await recordAll([end, ...sessionHashes.map((idHash) => ({ kind: 'session' as const, idHash, cause: end.cause }))])
    const sessions = await Promise.all(sessionHashes.map((sessionHash) => clearAway(sessionHash, why)))
    return sessions.flatMap((session) => (session === undefined ? [] : [session.id]))
  }

  return {
    async endSession(sessionId, cause, by) {
      const sessionHash = hashSessionId(sessionId)
      await recordAll([{ kind: 'session', idHash: sessionHash, cause }])
      await clearAway(sessionHash, { cause, by }, sessionId)
    },
    async endSessions(sessionIds, cause, by) {
      const named = sessionIds.map((id) => ({ id, idHash: hashSessionId(id) }))
      let recorded = 0
      let providerSids: ReadonlySet<string>
      try {
        // All are on record before anything of them is tidied away.
        for (; recorded < named.length; recorded += endedAtOnce) {
          await recordAll(named.slice(recorded, recorded + endedAtOnce).map(({ idHash }) => ({ kind: 'session', idHash, cause })))
        }
      } finally {
        // Also where a later batch failed: what has ended is in the trail.
        providerSids = await clearAllAway(named.slice(0, recorded), { cause, by })
      }
      // The browser may have thrown its cookie away, and would be back by the provider's session, which is the same and was not asked.
      if (providerSids.size > 0) await recordAll([...providerSids].map((idHash) => ({ kind: 'provider_sid', idHash, cause })))
    },
    async endSubject(issuer, sub, cause, by) {
      const idHash = hashSubject(issuer, sub)
      const ids = await endIndexed(recordNames.subjectIndex(idHash), { kind: 'subject', idHash, cause }, { cause, by })
      onEvent(subjectEnded({ kind: 'person', issuer, sub }, undefined, { cause, by }))
      return ids
    },
    async endProviderSid(issuer, providerSid, cause, by) {
      const idHash = hashProviderSid(issuer, providerSid)
      const ids = await endIndexed(recordNames.providerSidIndex(idHash), { kind: 'provider_sid', idHash, cause }, { cause, by })
      onEvent(subjectEnded({ kind: 'person', issuer }, providerSid, { cause, by }))
      return ids
    },
    async findLatestEnd({ accessSecret, issuer, sub, providerSid }) {
      const things: Pick<End, 'kind' | 'idHash'>[] = [{ kind: 'subject', idHash: hashSubject(issuer, sub) }]
      if (providerSid !== undefined) things.push({ kind: 'provider_sid', idHash: hashProviderSid(issuer, providerSid) })
      // The browser's pointer outlives its session, so that what ended the session is still known to the next sign-in.
      const pointer =
        accessSecret === undefined || !isSecret(accessSecret)
          ? undefined
          : (await records.load<Pointer>(recordNames.pointer('access', hashOf(accessSecret))))?.value
      if (pointer !== undefined) things.push({ kind: 'session', idHash: hashSessionId(pointer.sessionId) })
      const found = (await store.loadEnds(things)).filter((end) => end !== undefined).filter((end) => end.cause !== 'replaced')
      return found.reduce<End | undefined>((latest, end) => (latest === undefined || end.at > latest.at ? end : latest), undefined)
    },
  }
}

function sessionEnded(session: string, subject: AuditSubject, { cause, by }: Why): AuditEvent {
  return { event: 'session.ended', request: by?.requestId, session, subject, address: by?.address, cause }
}

function subjectEnded(subject: AuditSubject, sid: string | undefined, { cause, by }: Why): AuditEvent {
  return { event: 'subject.ended', request: by?.requestId, subject, address: by?.address, sid, cause }
}
