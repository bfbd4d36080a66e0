/**
 * What the control plane needs to know of a signed-in person, and how it is read: by the same reader that decisions use.
 */

import type { SubjectReader } from '../attributes/subject-facts.ts'
import type { SubjectFacts } from '../policy/facts.ts'
import type { SessionLookup } from '../session/session.ts'

export type LiveSession = Extract<SessionLookup, { state: 'live' }>

export interface ReadPerson {
  /** What the claims of a session prove; compiled from the provider's settings. */
  readonly readSubject: SubjectReader
}

/** The e-mail address that counts; `undefined` if the provider does not vouch for one. */
export function emailOf(subject: SubjectFacts): string | undefined {
  return subject.kind === 'person' && subject.email.known ? subject.email.value : undefined
}
