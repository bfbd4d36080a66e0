/**
 * How long a session lasts on one app. The instance's own limits are kept by `session`; an app may be stricter, and is asked here.
 */

import { sessionEndsAt } from '../session/lifetime.ts'
import type { Session } from '../session/session.ts'
import type { EnforcementSettings } from './ports.ts'
import type { Route } from './route-table.ts'

type Limits = EnforcementSettings['session']

/**
 * Whether this session has reached a limit of this app's own at `now`, an instant of the store's clock. Pure. Judged by another clock, a
 * session that was renewed a moment ago could be over all the same, and its browser would be sent round for ever.
 */
export function isOverFor(route: Pick<Route, 'app'>, session: Session, limits: Limits, now: number): boolean {
  const { idleTimeoutSeconds, lifetimeSeconds } = route.app.session
  return (
    (lifetimeSeconds !== undefined && now >= endOfSession(session, route, limits)) ||
    (idleTimeoutSeconds !== undefined && now >= idleEndOfSession(session, route, limits))
  )
}

/** The instant after which this session is over on this app, whatever happens. */
export function endOfSession(session: Session, { app }: Pick<Route, 'app'>, limits: Limits): number {
  const instanceEnd = sessionEndsAt(session, limits)
  if (app.session.lifetimeSeconds === undefined) return instanceEnd
  // From the last time the person signed in, so that signing in anew is what mends it.
  const beginning = Math.max(session.startedAt, session.signIn.at)
  return Math.min(instanceEnd, beginning + app.session.lifetimeSeconds * 1000)
}

/** The instant at which this session is over on this app unless it is used. */
export function idleEndOfSession(session: Session, { app }: Pick<Route, 'app'>, limits: Limits): number {
  const idleSeconds = Math.min(app.session.idleTimeoutSeconds ?? limits.idleTimeoutSeconds, limits.idleTimeoutSeconds)
  return session.lastUsedAt + idleSeconds * 1000
}
