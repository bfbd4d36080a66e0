/**
 * Watches over what is open (WebSockets, streams, long transfers) and cuts what would not be allowed any more.
 *
 * An end or a lock cuts at once, by what was noted of an exchange, without asking anybody. Whatever else may have changed an answer (a
 * session, a device, the policy, an event nobody heard, time) has it decided again by the very judgement that requests get, with today's
 * policy, a fresh session and fresh facts; that is no use of the session, mints no identity and makes no line in the trail. All are
 * decided again every half minute, spread over it. While the store cannot be asked, what is open lives on for a while, then it is cut
 * too: not knowing is never a yes.
 *
 * What lasts less than a moment is left to end by itself, unless it was ended or locked.
 */

import type { LiveEvent } from '../live/live.ts'
import type { Reason } from '../policy/decision.ts'
import type { End } from '../session/store.ts'
import type { EnforcementPoint } from './arrival.ts'
import type { CutCause } from './exchange.ts'
import { type Judgement, judgeAgain } from './judge.ts'
import type { OpenExchange, OpenExchanges } from './open-exchanges.ts'
import type { Snapshot } from './ports.ts'
import { statusOf } from './respond.ts'
import { ReviewQueue } from './review-queue.ts'
import { matchRoute } from './route-table.ts'
import {
  findEndOf,
  findHeldEnd,
  nextReview,
  type Occasion,
  renewStanding,
  sortEnds,
  type WatchedExchange,
  watchExchange,
} from './watched-exchange.ts'

export interface OpenConnectionsParts {
  readonly point: EnforcementPoint
  /** The policy in force now. */
  readonly snapshot: () => Snapshot
  readonly open: OpenExchanges
}

/** The watch over one listener's exchanges. */
export interface OpenConnections {
  /** Stops watching; what is open stays open. */
  close(): void
}

/** The app may not be used; signing in would mend it. */
const signInAgain = 4401
/** It would not. */
const notAllowed = 4403
/** Nobody can say: try again later (IANA, WebSocket close codes). */
const tryAgainLater = 1013

/** How long a request may take before it counts as open. Most are over by then, and a change of policy need not break them. */
const momentMs = 250

/** How often one that could not be decided is tried again. */
const retryMs = 5_000

/** How often the store is asked whether it is back. */
const probeEveryMs = 1_000

/** Begins to watch. */
export function watchOpenConnections({ point, snapshot, open }: OpenConnectionsParts): OpenConnections {
  const { live, log, monotonicNow, sessions } = point.ports
  const graceMs = point.settings.storeGraceSeconds * 1000
  const queue = new ReviewQueue<WatchedExchange>(review)
  /** When something was last heard: what was asked before may have been decided without it. */
  let heardAt = Number.NEGATIVE_INFINITY
  /** Since when the store does not answer; `undefined`: it does, as far as anybody knows. */
  let awaySince: number | undefined
  let nextProbeAt = Number.NEGATIVE_INFINITY
  let isProbing = false
  let isClosed = false

  function hear(event: LiveEvent): void {
    if (!changesNoAnswer(event)) heardAt = monotonicNow()
    switch (event.kind) {
      case 'ended': {
        const ends = sortEnds(event.ends)
        visit((watched) => {
          const end = findEndOf(watched, ends)
          return end !== undefined && cutEnded(watched, end)
        })
        break
      }
      case 'locks_changed':
        visit((watched) => cutLocked(watched, occasionOf('lock', event.writtenAt)))
        // Where devices were of no interest so far, nobody has asked yet which one it is.
        if (live.hasDeviceLocks()) reviewThose(({ judgement }) => judgement.session !== undefined && judgement.deviceId === undefined)
        break
      case 'session_changed':
        reviewThose(({ things }) => things.session === event.sessionHash, occasionOf('session', event.writtenAt))
        break
      case 'device_changed':
        reviewThose(
          (watched) => watched.things.device === event.deviceHash || hasStrangeDevice(watched),
          occasionOf('device', event.writtenAt),
        )
        break
      case 'policy_changed':
        reviewThose(() => true, occasionOf('policy', event.writtenAt))
        break
      case 'regained':
        awaySince = undefined
        visit(cutWhatIsHeld)
        reviewThose(() => true)
        break
      case 'policy_revision':
      case 'errand_told':
      case 'invitations_changed':
        break
    }
  }

  function visit(look: (watched: WatchedExchange) => boolean): void {
    open.forEach((exchange) => {
      const watched = watchedOf(exchange)
      if (watched !== undefined && !watched.isCut) look(watched)
    })
  }

  /** What has not lasted a moment yet is looked at when it has. */
  function reviewThose(isTouched: (watched: WatchedExchange) => boolean, occasion?: Occasion): void {
    open.forEach(({ watched }) => {
      if (watched?.isAdopted === true && isTouched(watched)) request(watched, true, occasion)
    })
  }

  function watchedOf(exchange: OpenExchange): WatchedExchange | undefined {
    if (exchange.watched === undefined && exchange.standing !== undefined)
      exchange.watched = watchExchange(point, exchange, exchange.standing)
    return exchange.watched
  }

  // What cuts at once

  function cutEnded(watched: WatchedExchange, { at }: End): true {
    cut(watched, signInAgain, { reason: 'session_ended', rule: undefined }, occasionOf('end', at))
    return true
  }

  function cutLocked(watched: WatchedExchange, occasion?: Occasion): boolean {
    const { deviceId, route, subject } = watched.judgement
    const isLocked = live.findLock({ subject, deviceId, appId: route.app.id }) !== undefined
    if (isLocked) cut(watched, notAllowed, { reason: 'locked', rule: undefined }, occasion)
    return isLocked
  }

  /** Whether it was cut for an end or a lock that is held. */
  function cutWhatIsHeld(watched: WatchedExchange): boolean {
    const end = findHeldEnd(point, watched)
    return end === undefined ? cutLocked(watched) : cutEnded(watched, end)
  }

  function cut(watched: WatchedExchange, closeCode: number, cause: Omit<CutCause, 'policy'>, occasion?: Occasion): void {
    watched.isCut = true
    watched.exchange.dueAt = Number.POSITIVE_INFINITY
    watched.exchange.cut(closeCode, { ...cause, policy: snapshot().version })
    if (occasion === undefined) return
    // The instance's idea of the store's clock may be a moment behind.
    const elapsedMs = Math.max(0, live.now() - occasion.writtenAt)
    point.ports.observeCut?.({ trigger: occasion.trigger, seconds: elapsedMs / 1000 })
  }

  // What is decided again

  function onTick(now: number): void {
    if (open.size === 0 || isProbing || now < nextProbeAt || live.isCurrent()) {
      // News came again by itself, and nothing was missed.
      if (awaySince !== undefined && !isProbing && live.isCurrent()) noteReturn()
      return
    }
    isProbing = true
    nextProbeAt = now + probeEveryMs
    live.confirm().then(
      () => {
        isProbing = false
        if (!isClosed) noteReturn()
      },
      () => {
        isProbing = false
        if (isClosed || awaySince !== undefined) return
        awaySince = now
        reviewThose(() => true)
      },
    )
  }

  function noteReturn(): void {
    if (awaySince === undefined) return
    awaySince = undefined
    reviewThose(() => true)
  }

  function onDue(exchange: OpenExchange, now: number): void {
    const { standing } = exchange
    if (standing === undefined) {
      exchange.dueAt = Number.POSITIVE_INFINITY
      return
    }
    const adoptAt = standing.arrival.arrivedAt + momentMs
    if (now < adoptAt) {
      exchange.dueAt = adoptAt
      return
    }
    const watched = watchedOf(exchange)
    if (watched === undefined || watched.isCut) return
    if (watched.isAdopted) {
      exchange.dueAt = now + retryMs
      request(watched, false)
      return
    }
    watched.isAdopted = true
    exchange.dueAt = nextReview(point, watched, now)
    // Something was heard while it was being decided, or before it had lasted a moment.
    if (standing.arrival.arrivedAt <= heardAt && !cutWhatIsHeld(watched)) request(watched, true)
  }

  function request(watched: WatchedExchange, isUrgent: boolean, occasion?: Occasion): void {
    if (watched.isCut) return
    watched.occasion ??= occasion
    if (watched.review === 'running') watched.review = 'running_and_queued'
    else if (watched.review === 'resting') {
      watched.review = 'queued'
      queue.add(watched, isUrgent)
    }
  }

  async function review(watched: WatchedExchange): Promise<void> {
    watched.review = 'running'
    const { occasion } = watched
    watched.occasion = undefined
    try {
      conclude(watched, await decideAgain(watched), occasion)
    } catch (error) {
      log.error({ err: error, request: watched.arrival.id }, 'an open exchange could not be decided again')
      if (isOpen(watched)) cut(watched, notAllowed, { reason: 'evaluation_failed', rule: undefined })
    }
    const isAskedAgain = (watched.review as WatchedExchange['review']) === 'running_and_queued'
    watched.review = 'resting'
    if (isAskedAgain && isOpen(watched)) request(watched, true)
  }

  /** By the policy in force now; the reason where that has no place for it any more. */
  async function decideAgain(watched: WatchedExchange): Promise<Judgement | 'app_not_found' | 'bad_request'> {
    const { arrival, judgement } = watched
    const { target } = judgement
    const host = snapshot().routes.findHost(target.hostname, target.port)
    const route = host === undefined ? undefined : matchRoute(host, target.path)
    // Another app at this address is another upstream, and not the one at the other end.
    if (route === undefined || route.app.id !== judgement.route.app.id) return 'app_not_found'
    if (!target.uses.every((unusual) => route.keeps.has(unusual))) return 'bad_request'
    const matter = { route, target, again: { isStoreAway: awaySince !== undefined } }
    const first = await judgeAgain(point, arrival, matter)
    if (first.decision.reason !== 'session_expired' || judgement.session === undefined) return first
    // Memory may not know yet that the session was used elsewhere a second ago.
    await sessions.findById(judgement.session.id).catch(() => undefined)
    return judgeAgain(point, arrival, matter)
  }

  function conclude(watched: WatchedExchange, again: Awaited<ReturnType<typeof decideAgain>>, occasion?: Occasion): void {
    if (!isOpen(watched)) return
    if (typeof again === 'string') {
      cut(watched, notAllowed, { reason: again, rule: undefined }, occasion)
      return
    }
    const { decision } = again
    const now = monotonicNow()
    if (decision.effect === 'allow') {
      if (cutWhatIsHeld(watched)) return
      // Where strangers are let in the path stays open when a session is over. What was opened in somebody's name does not: the app at the
      // other end was told whose it is, and as a stranger's no end and no lock would ever find it again.
      if (watched.judgement.session !== undefined && again.session === undefined) {
        cut(watched, signInAgain, { reason: 'session_expired', rule: undefined }, occasion)
        return
      }
      renewStanding(point, watched, again)
      // What was heard while it was being decided again may have come too late for that.
      if (!cutWhatIsHeld(watched)) watched.exchange.dueAt = nextReview(point, watched, now)
    } else if (isUndecided(decision.reason)) {
      watched.unknownSince ??= awaySince ?? now
      const until = watched.unknownSince + graceMs
      if (now >= until) cut(watched, tryAgainLater, { reason: decision.reason, rule: undefined })
      else watched.exchange.dueAt = Math.min(until, now + retryMs)
    } else {
      const rule = 'rule' in decision ? decision.rule : undefined
      const mayBeMended = decision.effect === 'challenge' || statusOf(decision.reason) === 401
      cut(watched, mayBeMended ? signInAgain : notAllowed, { reason: decision.reason, rule }, occasion)
    }
  }

  function isOpen({ exchange, isCut }: WatchedExchange): boolean {
    return !isCut && !isClosed && exchange.openIndex !== -1
  }

  const stopListening = live.listen(hear)
  open.watch({ onTick, onDue })
  return {
    close() {
      isClosed = true
      stopListening()
      open.watch(undefined)
      queue.clear()
    },
  }
}

/**
 * A revision is heard of again when it is in force; an errand changes no answer, and comes every few seconds while somebody looks at the console;
 * roles of the console open no app.
 */
export function changesNoAnswer({ kind }: LiveEvent): boolean {
  return kind === 'policy_revision' || kind === 'errand_told' || kind === 'invitations_changed'
}

/** Somebody who has to be asked does not answer: the store, or the issuer of a service's tokens. */
function isUndecided(reason: Reason): boolean {
  return reason === 'session_store_unavailable' || reason === 'provider_unavailable'
}

/** `undefined` where nobody knows when it was written. */
function occasionOf(trigger: Occasion['trigger'], writtenAt: number | undefined): Occasion | undefined {
  return writtenAt === undefined ? undefined : { trigger, writtenAt }
}

/** One that nobody knows by that name so far, and somebody may just have entered. */
function hasStrangeDevice({ judgement: { facts } }: WatchedExchange): boolean {
  return facts?.device.known === true && !facts.device.value.isKnown
}
