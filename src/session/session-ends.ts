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
import type { Sessions } from './sessions.ts'
import type { End, EndCause, SessionStore } from './store.ts'

/** The part of `Sessions` that ends them. */
export type SessionEnds = Pick<Sessions, 'endSession' | 'endSubject' | 'endProviderSid' | 'findLatestEnd'>

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

  /** Removes what is left of a session that has ended; returns it if it was still there. */
  async function clearAway(sessionHash: string, cause: EndCause): Promise<Session | undefined> {
    try {
      // Taken, so that of several who end it at once one reports it.
      const record = await records.take<SessionRecord>(recordNames.session(sessionHash))
      if (record === undefined) return undefined
      const session = restoreSession(record.value.session)
      onEvent({ event: 'session.ended', request: undefined, session: session.id, subject: auditSubjectOf(session), cause })
      const providerSidHash = providerSidHashOf(session)
      await Promise.all([
        store.removeFromIndex(recordNames.subjectIndex(hashSubject(session.issuer, session.sub)), sessionHash),
        providerSidHash === undefined ? undefined : store.removeFromIndex(recordNames.providerSidIndex(providerSidHash), sessionHash),
      ])
      return session
    } catch (error) {
      parts.log.warn({ err: error }, 'a session that has ended could not be cleared away; its end is on record')
      return undefined
    }
  }

  async function endIndexed(index: string, end: Omit<End, 'at'>): Promise<readonly string[]> {
    const sessionHashes = await store.loadIndex(index)
    await recordAll([end, ...sessionHashes.map((idHash) => ({ kind: 'session' as const, idHash, cause: end.cause }))])
    const sessions = await Promise.all(sessionHashes.map((sessionHash) => clearAway(sessionHash, end.cause)))
    return sessions.flatMap((session) => (session === undefined ? [] : [session.id]))
  }

  return {
    async endSession(sessionId, cause) {
      const sessionHash = hashSessionId(sessionId)
      await recordAll([{ kind: 'session', idHash: sessionHash, cause }])
      await clearAway(sessionHash, cause)
    },
    async endSubject(issuer, sub, cause) {
      const subjectHash = hashSubject(issuer, sub)
      const ids = await endIndexed(recordNames.subjectIndex(subjectHash), { kind: 'subject', idHash: subjectHash, cause })
      onEvent({ event: 'subject.ended', request: undefined, subject: { kind: 'person', issuer, sub }, sid: undefined, cause })
      return ids
    },
    async endProviderSid(issuer, providerSid, cause) {
      const providerSidHash = hashProviderSid(issuer, providerSid)
      const ids = await endIndexed(recordNames.providerSidIndex(providerSidHash), { kind: 'provider_sid', idHash: providerSidHash, cause })
      onEvent({ event: 'subject.ended', request: undefined, subject: { kind: 'person', issuer }, sid: providerSid, cause })
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
