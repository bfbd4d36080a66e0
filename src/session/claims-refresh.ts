/**
 * Keeps the claims of sessions fresh: one refresh at a time for a session over all instances, safe for providers that rotate
 * refresh tokens.
 *
 * A lock in the store, renewed while the provider works, decides who asks; the others wait for what the winner writes. The tokens that come
 * back are written only over those that were used. A refusal (`invalid_grant`) of the session's present token ends it, another
 * subject ends it, everything else is "unreachable" and leaves the claims to their age.
 */

import { setTimeout as pause } from 'node:timers/promises'
import { isPosternError } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { RefreshResult, RelyingParty } from '../oidc/relying-party.ts'
import type { SealedRecords } from './sealed-records.ts'
import type { Session } from './session.ts'
import { hashSessionId, recordNames, restoreSession, type SessionRecord } from './session-record.ts'
import type { EndCause, SessionStore } from './store.ts'

/** `renewed`: the store holds something newer, read it again. `failed`: the claims are as old as they were. */
export type RefreshOutcome = 'renewed' | 'failed'

/** Refreshes of one instance, of which each session has at most one under way anywhere. */
export interface ClaimsRefresh {
  /** Starts a refresh, or joins the one under way, and returns at once. */
  begin(session: Session): void
  /** As `begin`, and waits for the outcome; at most two seconds since the refresh began, and not at all shortly after a failure. */
  wait(session: Session): Promise<RefreshOutcome>
  /**
   * Asks the provider about each of these now, however young their claims are and whatever failed a moment ago: it has said that something
   * changed. An answer that is on its way already does not count, since it may be older than that news. Resolves when all were asked.
   */
  refreshNow(sessions: readonly Session[]): Promise<void>
  /** Resolves when nothing is under way any more. */
  settle(): Promise<void>
}

/** What refreshing needs of the rest. */
export interface ClaimsRefreshParts {
  readonly store: SessionStore
  readonly records: SealedRecords
  readonly monotonicNow: () => number
  readonly refresh: RelyingParty['refresh']
  /** Called with each session whose claims were written. */
  readonly onRefreshed: (before: Session, after: Session) => Promise<void>
  readonly endSession: (session: Session, cause: EndCause) => Promise<void>
  readonly log: Logger
}

/** What a request may wait for the provider. */
const longestWaitMs = 2_000
/** After a failure the provider is left alone for this long, for this session. */
const pauseAfterFailureMs = 10_000
/** Longer than a pause of the event loop; a holder that is alive renews it three times as often. */
const lockSeconds = 10
const lockRenewalMs = 3_000
/** How often a loser looks for the winner's result, and for how long: longer than a provider may take. */
const pollMs = 100
const pollForMs = 15_000
/** A rotated token that could not be written is lost for good, so writing is tried for this long: longer than a fail-over of the store. */
const writeForMs = 60_000
const maxRemembered = 50_000
/** Of one person's sessions; the provider has others to serve as well. */
const askedAtOnce = 8

type Refreshed = Extract<RefreshResult, { outcome: 'refreshed' }>['signedIn']

interface Flight {
  readonly begunAt: number
  readonly outcome: Promise<RefreshOutcome>
  readonly course: Course
}

/** Where a flight is. */
interface Course {
  /** Somebody wants an answer of the provider's own; what another instance wrote meanwhile will not do. */
  isDemanded: boolean
  /** It is not settled yet whether the provider will be asked. */
  isOpen: boolean
}

/** Refreshes for the sessions of one instance. */
export function createClaimsRefresh(parts: ClaimsRefreshParts): ClaimsRefresh {
  const { store, records, monotonicNow, log } = parts
  const flights = new Map<string, Flight>()
  /** Demanded, and waiting for one under way to land: whoever demands it meanwhile is served by the same. */
  const queued = new Map<string, Promise<RefreshOutcome>>()
  const failedAt = new Map<string, number>()

  function join(session: Session): Flight | undefined {
    const underWay = flights.get(session.id)
    if (underWay !== undefined) return underWay
    const failed = failedAt.get(session.id)
    if (failed !== undefined && monotonicNow() - failed < pauseAfterFailureMs) return undefined
    return launch(session, false)
  }

  function launch(session: Session, isDemanded: boolean): Flight {
    const course: Course = { isDemanded, isOpen: true }
    const outcome = fly(session, course)
      .catch((error: unknown): RefreshOutcome => {
        log.warn({ session: session.id, err: error }, 'claims could not be refreshed')
        return 'failed'
      })
      .then((result) => {
        flights.delete(session.id)
        if (result === 'failed') rememberFailure(session.id)
        else failedAt.delete(session.id)
        return result
      })
    const flight = { begunAt: monotonicNow(), outcome, course }
    flights.set(session.id, flight)
    return flight
  }

  function demand(session: Session): Promise<RefreshOutcome> {
    const underWay = flights.get(session.id)
    // Its question to the provider will be younger than this demand.
    if (underWay?.course.isOpen === true) {
      underWay.course.isDemanded = true
      return underWay.outcome
    }
    const waiting = queued.get(session.id)
    if (waiting !== undefined) return waiting
    const outcome = afterLanding(session.id).then(() => {
      queued.delete(session.id)
      return launch(session, true).outcome
    })
    queued.set(session.id, outcome)
    return outcome
  }

  async function afterLanding(sessionId: string): Promise<void> {
    for (;;) {
      const flight = flights.get(sessionId)
      if (flight === undefined) return
      await flight.outcome
    }
  }

  function rememberFailure(sessionId: string): void {
    failedAt.delete(sessionId)
    failedAt.set(sessionId, monotonicNow())
    for (const [id, at] of failedAt) {
      if (monotonicNow() - at < pauseAfterFailureMs && failedAt.size <= maxRemembered) break
      failedAt.delete(id)
    }
  }

  async function fly(session: Session, course: Course): Promise<RefreshOutcome> {
    const lock = recordNames.refreshLock(hashSessionId(session.id))
    const giveUpAt = monotonicNow() + pollForMs
    for (;;) {
      const token = await store.acquireLock(lock, lockSeconds)
      const current = await loadSession(session.id)
      // Gone, or written by whoever held the lock before; who demands an answer wants one that was asked for after the demand.
      if (current === undefined || (!course.isDemanded && current.claims.version !== session.claims.version)) {
        course.isOpen = false
        if (token !== undefined) await store.releaseLock(lock, token)
        return 'renewed'
      }
      if (token !== undefined) {
        course.isOpen = false
        return whileHolding(lock, token, () => ask(current))
      }
      if (monotonicNow() > giveUpAt) return 'failed'
      await pause(pollMs, undefined, { ref: false })
    }
  }

  async function whileHolding(lock: string, token: string, work: () => Promise<RefreshOutcome>): Promise<RefreshOutcome> {
    const renewal = setInterval(() => void store.renewLock(lock, token, lockSeconds).catch(() => false), lockRenewalMs)
    renewal.unref()
    try {
      return await work()
    } finally {
      clearInterval(renewal)
      // A lock that cannot be released runs out by itself.
      await store.releaseLock(lock, token).catch(() => undefined)
    }
  }

  async function ask(session: Session): Promise<RefreshOutcome> {
    const used = session.tokens.refreshToken
    if (used === undefined) return 'failed'
    const result = await parts.refresh(used, { issuer: session.issuer, sub: session.sub, idToken: session.tokens.idToken })
    switch (result.outcome) {
      case 'unreachable':
        log.warn({ session: session.id, err: result.cause }, 'the provider could not be asked for fresh claims')
        if (result.refreshToken !== undefined) await keepToken(session, used, result.refreshToken)
        return 'failed'
      case 'refused': {
        // The refusal counts only while the session still lives by that token: somebody may have signed in again meanwhile.
        const current = await loadSession(session.id)
        const cause = result.isOfAnotherSubject === true ? 'subject_changed' : 'refused'
        if (current?.tokens.refreshToken === used) await parts.endSession(session, cause)
        return 'renewed'
      }
      case 'refreshed': {
        const { signedIn } = result
        if (signedIn.issuer !== session.issuer || signedIn.sub !== session.sub) {
          await parts.endSession(session, 'subject_changed')
          return 'renewed'
        }
        const renewed = await write(session, used, signedIn)
        if (renewed !== undefined) await parts.onRefreshed(session, renewed)
        return 'renewed'
      }
    }
  }

  async function write(session: Session, used: string, { claims, providerSid, tokens }: Refreshed): Promise<Session | undefined> {
    const at = await untilWritten(() => store.loadNow())
    return await replace(session, used, (before) => ({
      ...before,
      claims: { at, version: before.claims.version + 1, all: claims },
      // Without the old ID Token the provider would ask at sign-out whose session is meant.
      tokens: {
        idToken: tokens.idToken || before.tokens.idToken,
        accessToken: tokens.accessToken,
        refreshToken: tokens.refreshToken ?? used,
      },
      providerSid: providerSid ?? before.providerSid,
    }))
  }

  /** The claims are as old as they were; but with the used token the next attempt would look like a thief's. */
  async function keepToken(session: Session, used: string, refreshToken: string): Promise<void> {
    await replace(session, used, (before) => ({ ...before, tokens: { ...before.tokens, refreshToken } }))
  }

  /** Over what the used token belongs to, and nothing else: somebody may have signed in again meanwhile. */
  async function replace(session: Session, used: string, change: (before: Session) => Session): Promise<Session | undefined> {
    const name = recordNames.session(hashSessionId(session.id))
    const written = await untilWritten(() =>
      records.update<SessionRecord>(name, ({ value }) =>
        value.session.tokens.refreshToken === used ? { ...value, session: change(value.session) } : undefined,
      ),
    )
    return written === undefined ? undefined : restoreSession(written.session)
  }

  async function untilWritten<T>(act: () => Promise<T>): Promise<T> {
    const giveUpAt = monotonicNow() + writeForMs
    for (;;) {
      try {
        return await act()
      } catch (error) {
        if (!isPosternError(error) || monotonicNow() > giveUpAt) throw error
        await pause(pollMs, undefined, { ref: false })
      }
    }
  }

  async function loadSession(sessionId: string): Promise<Session | undefined> {
    return (await records.load<SessionRecord>(recordNames.session(hashSessionId(sessionId))))?.value.session
  }

  return {
    begin: (session) => void join(session),
    async wait(session) {
      const flight = join(session)
      if (flight === undefined) return 'failed'
      const remainingMs = flight.begunAt + longestWaitMs - monotonicNow()
      if (remainingMs <= 0) return 'failed'
      const waiting = new AbortController()
      try {
        return await Promise.race([flight.outcome, pause(remainingMs, 'failed' as const, { signal: waiting.signal, ref: false })])
      } finally {
        waiting.abort()
      }
    },
    async refreshNow(sessions) {
      const waiting = [...sessions]
      const askInTurn = async () => {
        for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) await demand(next)
      }
      await Promise.all(Array.from({ length: askedAtOnce }, askInTurn))
    },
    async settle() {
      await Promise.all([...queued.values(), ...[...flights.values()].map((flight) => flight.outcome)])
    },
  }
}
