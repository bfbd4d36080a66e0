/**
 * What is kept of an open exchange, so that an event can find it without asking anybody: whose it is, by the hashes that events name, and
 * what it was last decided on.
 *
 * Made once an exchange has lasted a moment, or when an event wants to know; hashing for every request would cost more than all the rest
 * of watching. Hashes of a session are shared by everything that is open for it.
 */

import { findNextChange } from '../policy/next-change.ts'
import { isEndedBy } from '../session/lifetime.ts'
import { hashOf } from '../session/secret.ts'
import type { Session } from '../session/session.ts'
import { hashSessionId, hashSubject, providerSidHashOf } from '../session/session-record.ts'
import type { End, EndKind } from '../session/store.ts'
import type { EnforcementPoint } from './arrival.ts'
import type { Standing } from './exchange.ts'
import type { Judgement } from './judge.ts'
import type { OpenExchange } from './open-exchanges.ts'
import type { CutTrigger } from './ports.ts'
import { endOfSession, idleEndOfSession } from './session-limits.ts'

export interface WatchedExchange {
  readonly exchange: OpenExchange
  readonly arrival: Standing['arrival']
  /** What it was last decided on. */
  judgement: Judgement
  /** What could end it, by kind; the session's may change with a sign-in that continues it. */
  things: Readonly<Partial<Record<EndKind, string>>>
  /** When in the half minute its turn is: the same for everything of one session, so that one read serves all of it. */
  readonly slotMs: number
  /** It has lasted a moment, and is decided again from now on. */
  isAdopted: boolean
  isCut: boolean
  review: 'resting' | 'queued' | 'running' | 'running_and_queued'
  /** What its next review is for, where something was written that asks for one; the first of several. */
  occasion: Occasion | undefined
  /** Since when nobody could say whether it still may; `undefined`: somebody could. */
  unknownSince: number | undefined
}

/** Something that was written, and when, by the store's clock. */
export interface Occasion {
  readonly trigger: CutTrigger
  readonly writtenAt: number
}

/** How often everything is decided again, whatever happens. */
const reviewEveryMs = 30_000

/** How often what an expression makes of a clock is looked at: it may change at any moment, and cannot be watched at each. */
const anyMomentMs = 5_000

/** Begins to keep an exchange. */
export function watchExchange(point: EnforcementPoint, exchange: OpenExchange, { arrival, judgement }: Standing): WatchedExchange {
  const things = thingsOf(point, arrival, judgement)
  return {
    exchange,
    arrival,
    judgement,
    things,
    slotMs: slotOf(things.session ?? arrival.id),
    isAdopted: false,
    isCut: false,
    review: 'resting',
    occasion: undefined,
    unknownSince: undefined,
  }
}

/** Takes over what it was decided on again. */
export function renewStanding(point: EnforcementPoint, watched: WatchedExchange, judgement: Judgement): void {
  watched.judgement = judgement
  watched.unknownSince = undefined
  watched.things = thingsOf(point, watched.arrival, judgement)
}

/** Ends by kind and hash, as one event brings them. */
export type EndsByKind = ReadonlyMap<EndKind, ReadonlyMap<string, End>>

/** Sorts ends for `findEndOf`. */
export function sortEnds(ends: readonly End[]): EndsByKind {
  const sorted = new Map<EndKind, Map<string, End>>()
  for (const end of ends) {
    const same = sorted.get(end.kind) ?? new Map<string, End>()
    sorted.set(end.kind, same.set(end.idHash, end))
  }
  return sorted
}

/** Which of these ends is this one's. Asked of everything that is open for each event: two look-ups a kind and nothing else. */
export function findEndOf({ things, judgement: { session } }: WatchedExchange, ends: EndsByKind): End | undefined {
  if (session === undefined) return undefined
  for (const [kind, same] of ends) {
    const idHash = things[kind]
    const end = idHash === undefined ? undefined : same.get(idHash)
    if (end !== undefined && isEndedBy(session.startedAt, end)) return end
  }
  return undefined
}

const kinds: readonly EndKind[] = ['session', 'app_session', 'subject', 'provider_sid', 'device']

/** The end that is held of any of its things. */
export function findHeldEnd({ ports: { live } }: EnforcementPoint, { things, judgement: { session } }: WatchedExchange): End | undefined {
  if (session === undefined) return undefined
  for (const kind of kinds) {
    const idHash = things[kind]
    const end = idHash === undefined ? undefined : live.findEnd({ kind, idHash })
    if (end !== undefined && isEndedBy(session.startedAt, end)) return end
  }
  return undefined
}

/** When it has to be decided again, on the monotonic clock: in its turn, or when time alone may have changed the answer. */
export function nextReview(point: EnforcementPoint, { slotMs, judgement }: WatchedExchange, now: number): number {
  const { ports, settings } = point
  const { facts, route, session, tokenEndsAt } = judgement
  let wait = (((slotMs - now) % reviewEveryMs) + reviewEveryMs) % reviewEveryMs || reviewEveryMs
  if (session !== undefined) {
    const storeNow = ports.live.now()
    for (const end of [endOfSession(session, route, settings.session), idleEndOfSession(session, route, settings.session)]) {
      // One that has passed already did not hold: the session was used elsewhere.
      if (end > storeNow) wait = Math.min(wait, end - storeNow)
    }
  }
  // The millisecond in which it ends may be cut in two by this clock and that one.
  if (tokenEndsAt !== undefined) wait = Math.min(wait, tokenEndsAt + 1 - ports.now())
  if (facts !== undefined) {
    const { at } = facts.environment
    const next = findNextChange(route.policy, facts)
    wait = Math.min(wait, next <= at ? anyMomentMs : next - ports.now())
  }
  return now + Math.max(wait, 1)
}

function thingsOf(point: EnforcementPoint, { request }: Standing['arrival'], judgement: Judgement): WatchedExchange['things'] {
  const { deviceId, route, session } = judgement
  if (session === undefined) return {}
  const secret = point.ports.cookies.readSession('app', request.headers.cookie, route.origin)
  return {
    ...hashesOf(session),
    ...(secret === undefined ? {} : { app_session: hashOf(secret) }),
    ...(deviceId === undefined ? {} : { device: hashOf(deviceId) }),
  }
}

const hashes = new WeakMap<Session, WatchedExchange['things']>()

function hashesOf(session: Session): WatchedExchange['things'] {
  const known = hashes.get(session)
  if (known !== undefined) return known
  const providerSid = providerSidHashOf(session)
  const made = {
    session: hashSessionId(session.id),
    subject: hashSubject(session.issuer, session.sub),
    ...(providerSid === undefined ? {} : { provider_sid: providerSid }),
  }
  hashes.set(session, made)
  return made
}

/** Spreads over the half minute; any hash will do. */
function slotOf(text: string): number {
  let sum = 0
  for (let i = 0; i < text.length; i++) sum = (Math.imul(sum, 31) + text.charCodeAt(i)) >>> 0
  return sum % reviewEveryMs
}
