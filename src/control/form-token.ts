/**
 * The token of the forms that change something for a signed-in person: a second proof beside the origin.
 *
 * Only a page of ours, shown to this person, can know it. It lives in the form state (`browser-state.ts`), one for each session. That state
 * may be gone while the page still stands there; then the origin alone decides, so that signing out never fails for it.
 */

import { randomBytes, timingSafeEqual } from 'node:crypto'
import type { Request } from 'express'
import type { Session } from '../session/session.ts'
import { readForm } from './guards.ts'

/** Where the token stands in a form. */
const field = 'form_token'

/** The token for a page that is shown now; the same for every tab of this person. */
export function issueFormToken(request: Request, session: Pick<Session, 'id'>): string {
  const kept = request.session.form
  if (kept?.sessionId === session.id) return kept.token
  const token = randomBytes(32).toString('base64url')
  request.session.form = { sessionId: session.id, token }
  return token
}

/** Whether the form that came was shown to this person. Asked only of what passed `sameOriginPosts`. */
export function isFormOf(request: Request, session: Pick<Session, 'id'>): boolean {
  const kept = request.session.form
  if (kept?.sessionId !== session.id) return true
  const token = Buffer.from(readForm(request.body)?.get(field) ?? '')
  const expected = Buffer.from(kept.token)
  return token.length === expected.length && timingSafeEqual(token, expected)
}

/** Removes the form state of somebody who is leaving. What is left of it is one token of no use; failing to remove it fails nothing. */
export function endFormState(request: Request): Promise<void> {
  return new Promise((resolve) => request.session.destroy(() => resolve()))
}
