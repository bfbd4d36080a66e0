/**
 * What is to be said once, on the page that follows: what a form did, or did not do.
 *
 * It is kept in the form state (`browser-state.ts`), which belongs to the browser and not to a session: after an end that came from elsewhere
 * the next person at the same machine would find it there. So it names the session that it was left for, and is for nobody else. Nothing of it
 * ever comes from an address or from a cookie's own text.
 */

import type { Request } from 'express'
import type { Session } from '../session/session.ts'
import type { Notice } from './console/console-page.ts'

/** One of these, as the page that it is for expects it. */
export interface ForNextPage {
  /** For the console and for `/requests`. */
  readonly notice?: Notice
  /** What `/sessions` has just ended. */
  readonly ended?: 'one' | 'others'
}

/** Keeps it for the next page of this session; what was kept before is forgotten. */
export function leaveForNextPage(request: Request, { id }: Pick<Session, 'id'>, said: ForNextPage): void {
  request.session.next = { sessionId: id, said }
}

/** What was left for this session, once. What is another's is forgotten unread. */
export function takeForNextPage(request: Request, { id }: Pick<Session, 'id'>): ForNextPage {
  const { next } = request.session
  if (next !== undefined) delete request.session.next
  return next?.sessionId === id ? next.said : {}
}
