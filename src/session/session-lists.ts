/**
 * Which sessions live: of a subject, and of a session at the provider. Straight from the store, by its indexes.
 *
 * An index may name what is over already, and for a moment not yet what has just begun; it is for showing and asking, and nothing is
 * decided by it.
 */

import type { Session } from './session.ts'
import type { SessionReader } from './session-reader.ts'
import { hashProviderSid, hashSubject, recordNames } from './session-record.ts'
import type { Sessions } from './sessions.ts'
import type { SessionStore } from './store.ts'

/** The part of `Sessions` that lists them. */
export type SessionLists = Pick<Sessions, 'listSubject' | 'listProviderSid'>

/** The lists of one instance. */
export function createSessionLists(store: Pick<SessionStore, 'loadIndex'>, reader: Pick<SessionReader, 'findByHash'>): SessionLists {
  async function listIndexed(index: string): Promise<readonly Session[]> {
    const states = await Promise.all((await store.loadIndex(index)).map((sessionHash) => reader.findByHash(sessionHash)))
    return states.flatMap((state) => (state.state === 'live' ? [state.session] : [])).sort((a, b) => b.startedAt - a.startedAt)
  }

  return {
    listSubject: (issuer, sub) => listIndexed(recordNames.subjectIndex(hashSubject(issuer, sub))),
    listProviderSid: (issuer, providerSid) => listIndexed(recordNames.providerSidIndex(hashProviderSid(issuer, providerSid))),
  }
}
