/**
 * What is open on this instance, for administrators: a list of it, and a way to cut one.
 *
 * WebSockets and event streams from their beginning, anything else once it has lasted a second: what is over within a moment would be noise, and
 * gone before anybody could read it. Each is described as the trail describes it, with what the app or the operator keeps out left out.
 * However much is open, a page of it is described and the rest is counted. Nothing here asks anybody or waits.
 */

import type { SubjectFacts } from '../policy/facts.ts'
import type { EnforcementPoint } from './arrival.ts'
import type { Standing } from './exchange.ts'
import type { OpenExchange, OpenExchanges } from './open-exchanges.ts'
import type { Snapshot } from './ports.ts'
import { describePath } from './record.ts'

/** One open connection. */
export interface ListedConnection {
  /** Of the request that it began with: its decision is in the trail under the same. */
  readonly id: string
  readonly app: string
  readonly kind: 'websocket' | 'event_stream' | 'transfer'
  readonly subject: {
    readonly kind: 'nobody' | 'person' | 'service'
    readonly issuer?: string
    readonly sub?: string
    readonly email?: string
  }
  readonly session: string | undefined
  readonly device: string | undefined
  readonly address: string | undefined
  /** Epoch milliseconds. */
  readonly since: number
  /** Body bytes so far, from the client and to it. */
  readonly bytesIn: number
  readonly bytesOut: number
  readonly method: string
  /** As much of it as the app lets be recorded. */
  readonly path: string
}

/** Which of them. */
export interface ConnectionsWanted {
  readonly id?: string | undefined
  readonly app?: string | undefined
  /** A `sub`, or an e-mail address in any case. */
  readonly subject?: string | undefined
  readonly limit: number
  /** Those that stand behind this place, the newest first. */
  readonly after?: ConnectionPlace | undefined
}

/** Where a connection stands in the list. */
export interface ConnectionPlace {
  readonly since: number
  readonly id: string
}

export interface ConnectionsListing {
  /** The newest first. */
  readonly entries: readonly ListedConnection[]
  /** How many more stand behind them. */
  readonly more: number
  /** Everything that is wanted, by app, wherever it stands in the list. */
  readonly byApp: readonly (readonly [app: string, count: number])[]
}

/** Whose connections are counted; of several, those that fit all. */
export interface ConnectionsOf {
  readonly subject?: { readonly issuer: string; readonly sub: string } | undefined
  /** Ids of sessions. */
  readonly sessions?: readonly string[] | undefined
  readonly device?: string | undefined
}

export interface ListedConnections {
  list(wanted: ConnectionsWanted): ConnectionsListing
  count(about: ConnectionsOf): number
  /** Ends it at once, a WebSocket with close code 4403; `false` if it is not open here. */
  cut(id: string): boolean
}

export interface ListedConnectionsParts {
  readonly point: Pick<EnforcementPoint, 'ports' | 'redaction'>
  readonly snapshot: () => Pick<Snapshot, 'version'>
  readonly open: OpenExchanges
}

const momentMs = 1_000
/** As when a rule does not let it go on: signing in again mends nothing. */
const notAllowed = 4403

/** The list of one listener's exchanges. */
export function createListedConnections({ open, point, snapshot }: ListedConnectionsParts): ListedConnections {
  const { monotonicNow, now } = point.ports
  /** Worked out once each, so that a place in the list stays where it is while clocks drift. */
  const begun = new WeakMap<OpenExchange, number>()

  function hasLasted(standing: Standing): boolean {
    return kindOf(standing) !== 'transfer' || monotonicNow() - standing.arrival.arrivedAt >= momentMs
  }

  function sinceOf(exchange: OpenExchange, { arrival }: Standing): number {
    const known = begun.get(exchange)
    if (known !== undefined) return known
    const since = Math.round(now() - (monotonicNow() - arrival.arrivedAt))
    begun.set(exchange, since)
    return since
  }

  function describe({ bytesIn, bytesOut, exchangeId, since, standing }: Placed): ListedConnection {
    const { arrival, judgement } = standing
    const { deviceId, route, session, subject, target } = judgement
    return {
      id: exchangeId,
      app: route.app.id,
      kind: kindOf(standing),
      subject: describeSubject(point.redaction.subject(subject, noClaims).subject),
      session: session?.id,
      device: deviceId,
      address: point.redaction.fields.has('address') ? undefined : arrival.address,
      since,
      bytesIn,
      bytesOut,
      method: arrival.request.method ?? '',
      path: describePath(route, target).path,
    }
  }

  return {
    list(wanted) {
      const byApp = new Map<string, number>()
      const placed: Placed[] = []
      open.forEach((exchange) => {
        const { bytesIn, bytesOut, exchangeId, standing } = exchange
        if (standing === undefined || !isWanted(exchangeId, standing, wanted)) return
        if (!hasLasted(standing)) return
        const { id: app } = standing.judgement.route.app
        byApp.set(app, (byApp.get(app) ?? 0) + 1)
        const since = sinceOf(exchange, standing)
        if (wanted.after === undefined || comparePlaces({ since, id: exchangeId }, wanted.after) > 0)
          placed.push({ bytesIn, bytesOut, exchangeId, since, standing })
      })
      placed.sort((a, b) => comparePlaces({ since: a.since, id: a.exchangeId }, { since: b.since, id: b.exchangeId }))
      const entries = placed.slice(0, wanted.limit).map(describe)
      return { entries, more: placed.length - entries.length, byApp: [...byApp] }
    },
    count({ device, sessions, subject }) {
      const sessionIds = sessions === undefined ? undefined : new Set(sessions)
      let count = 0
      open.forEach(({ standing }) => {
        if (standing === undefined || !hasLasted(standing)) return
        const { deviceId, session, subject: facts } = standing.judgement
        if (device !== undefined && deviceId !== device) return
        if (sessionIds !== undefined && (session === undefined || !sessionIds.has(session.id))) return
        if (subject !== undefined && !(facts.kind === 'person' && facts.issuer === subject.issuer && facts.sub === subject.sub)) return
        count += 1
      })
      return count
    },
    cut(id) {
      let isFound = false
      open.forEach((exchange) => {
        if (exchange.exchangeId !== id || exchange.standing === undefined) return
        isFound = true
        // Whoever watches over it has nothing left to decide.
        exchange.dueAt = Number.POSITIVE_INFINITY
        if (exchange.watched !== undefined) exchange.watched.isCut = true
        exchange.cut(notAllowed, { reason: 'connection_cut', rule: undefined, policy: snapshot().version })
      })
      return isFound
    },
  }
}

/** An exchange with its place. */
interface Placed extends Pick<OpenExchange, 'exchangeId' | 'bytesIn' | 'bytesOut'> {
  readonly since: number
  readonly standing: Standing
}

const noClaims: readonly (readonly string[])[] = []

function isWanted(exchangeId: string, { judgement }: Standing, { app, id, subject }: ConnectionsWanted): boolean {
  if (id !== undefined && exchangeId !== id) return false
  if (app !== undefined && judgement.route.app.id !== app) return false
  return subject === undefined || isCalled(judgement.subject, subject)
}

function isCalled(facts: SubjectFacts, name: string): boolean {
  switch (facts.kind) {
    case 'nobody':
      return false
    case 'service':
      return facts.names.includes(name)
    case 'person':
      return facts.sub === name || (facts.email.known && facts.email.value.toLowerCase() === name.toLowerCase())
  }
}

function kindOf({ arrival }: Standing): ListedConnection['kind'] {
  if (arrival.isUpgrade) return 'websocket'
  // Every browser's `EventSource` says so; what the answer is called is not kept.
  return arrival.request.headers.accept?.includes('text/event-stream') === true ? 'event_stream' : 'transfer'
}

function describeSubject(subject: SubjectFacts): ListedConnection['subject'] {
  switch (subject.kind) {
    case 'nobody':
      return { kind: 'nobody' }
    case 'service':
      return { kind: 'service', ...(subject.names[0] === undefined ? {} : { sub: subject.names[0] }) }
    case 'person':
      return {
        kind: 'person',
        issuer: subject.issuer,
        sub: subject.sub,
        ...(subject.email.known ? { email: subject.email.value } : {}),
      }
  }
}

/** The newest first; those of one millisecond by their ids. */
function comparePlaces(a: ConnectionPlace, b: ConnectionPlace): number {
  if (a.since !== b.since) return b.since - a.since
  return a.id < b.id ? -1 : a.id > b.id ? 1 : 0
}
