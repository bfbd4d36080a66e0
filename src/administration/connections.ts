/**
 * Open connections of all instances, for administrators: a list of them, and cutting one.
 *
 * Each instance knows its own, so each is asked (`errands.ts`); one that does not answer in time is named, and what it has open is
 * not in the list. Who looks at the same page at the same time shares one question. A cut is on record before anybody is asked to cut: whoever
 * reads the trail may find an order that came too late, and never a cut that nobody ordered.
 */

import type { AuditEvent } from '../audit/event.ts'
import { type Asker, mayActAgainst, type ProtectedPeople } from './asker.ts'
import type { ErrandState, Errands } from './errands.ts'

/** One open connection, on whichever instance. Described as the trail would describe it. */
export interface OpenConnection {
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
  readonly bytesIn: number
  readonly bytesOut: number
  readonly method: string
  readonly path: string
}

export interface ConnectionPlace {
  readonly since: number
  readonly id: string
}

/** What one instance is asked. */
export interface ConnectionsWanted {
  readonly id?: string | undefined
  readonly app?: string | undefined
  /** A `sub`, or an e-mail address in any case. */
  readonly subject?: string | undefined
  readonly limit: number
  readonly after?: ConnectionPlace | undefined
}

/** Whose connections are counted; of several, those that fit all. */
export interface ConnectionsOf {
  readonly subject?: { readonly issuer: string; readonly sub: string } | undefined
  /** Ids of sessions. */
  readonly sessions?: readonly string[] | undefined
  readonly device?: string | undefined
}

/** What is open on this instance. Returns at once. */
export interface LocalConnections {
  list(wanted: ConnectionsWanted): {
    /** The newest first. */
    readonly entries: readonly OpenConnection[]
    readonly more: number
    readonly byApp: readonly (readonly [app: string, count: number])[]
  }
  count(about: ConnectionsOf): number
  /** `false` if it is not open here. */
  cut(id: string): boolean
}

/** A page of what is open everywhere. */
export interface ConnectionsPage {
  /** The newest first. */
  readonly entries: readonly (OpenConnection & { readonly instance: string })[]
  /** What the next page is asked with; `undefined` at the end. */
  readonly next: ConnectionPlace | undefined
  /** Of everything that is wanted, not of this page alone; the most first. */
  readonly byApp: readonly { readonly app: string; readonly count: number }[]
  readonly total: number
  /** Every instance that was asked, and whether it answered. */
  readonly instances: readonly { readonly name: string; readonly hasAnswered: boolean }[]
}

/** What became of an order to cut. */
export type CutOutcome =
  | { readonly outcome: 'cut'; readonly connection: OpenConnection }
  /** Not open any more, on any instance that answered; `unheard` are the others. */
  | { readonly outcome: 'not_open'; readonly unheard: readonly string[] }
  | { readonly outcome: 'protected' }

/** Every method rejects with `session_store_unavailable` when the store does. */
export interface AdministeredConnections {
  list(wanted: ConnectionsWanted, by: string): Promise<ConnectionsPage>
  /** How many are open, everywhere; `undefined` where an instance did not say in time. */
  countOpen(about: ConnectionsOf): Promise<number | undefined>
  /** Rejects with `audit_unavailable`, and cuts nothing, if it cannot be put on record. */
  cut(id: string, asker: Asker, reason: string | undefined): Promise<CutOutcome>
}

export interface ConnectionsParts {
  readonly errands: Pick<Errands, 'serve' | 'ask'>
  readonly local: LocalConnections
  readonly people: ProtectedPeople
  /** Resolves once it is written; rejects with `audit_unavailable`. */
  readonly recordFirst: (event: Extract<AuditEvent, { readonly event: 'connection.cut' }>) => Promise<void>
  readonly monotonicNow: () => number
}

/** An instance that is alive answers in milliseconds. */
const patienceMs = 800
/** What is shared with who asks the same in the next moment. */
const sharedForMs = 900
/** Different questions in such a moment. */
const mostShared = 50

type Listed = ReturnType<LocalConnections['list']>

/** Serves this instance's part, and asks all of them. */
export function createConnections({ errands, local, monotonicNow, people, recordFirst }: ConnectionsParts): AdministeredConnections {
  errands.serve('connections.list', async (wanted: ConnectionsWanted): Promise<Listed> => local.list(wanted))
  errands.serve('connections.cut', async ({ id }: { readonly id: string }) => ({ isCut: local.cut(id) }))
  errands.serve('connections.count', async (about: ConnectionsOf) => ({ count: local.count(about) }))
  const shared = new Map<string, { readonly askedAt: number; readonly page: Promise<ConnectionsPage> }>()

  async function askAll(wanted: ConnectionsWanted, by: string): Promise<ConnectionsPage> {
    return joinPages(await errands.ask<Listed>('connections.list', wanted, by, patienceMs), wanted.limit)
  }

  function list(wanted: ConnectionsWanted, by: string): Promise<ConnectionsPage> {
    const key = JSON.stringify(wanted)
    const now = monotonicNow()
    for (const [old, { askedAt }] of shared) {
      if (now - askedAt < sharedForMs && shared.size < mostShared) break
      shared.delete(old)
    }
    const known = shared.get(key)
    if (known !== undefined) return known.page
    const page = askAll(wanted, by)
    shared.set(key, { askedAt: now, page })
    // A failure is for those who wait, and not for the next.
    page.catch(() => shared.delete(key))
    return page
  }

  return {
    list,
    async countOpen(about) {
      const { parts } = await errands.ask<{ readonly count: number }>('connections.count', about, 'console', patienceMs)
      let sum = 0
      for (const part of parts) {
        if (part.state !== 'done') return undefined
        sum += part.part.count
      }
      return sum
    },
    async cut(id, asker, reason) {
      const found = await askAll({ id, limit: 1 }, asker.actor)
      const [connection] = found.entries
      if (connection === undefined) {
        return { outcome: 'not_open', unheard: found.instances.filter(({ hasAnswered }) => !hasAnswered).map(({ name }) => name) }
      }
      const { app, subject } = connection
      const { issuer, sub } = subject
      if (issuer !== undefined && sub !== undefined && !(await mayActAgainst(asker, { issuer, sub }, people)))
        return { outcome: 'protected' }
      await recordFirst({ event: 'connection.cut', actor: asker.actor, request: id, app, target: sub, reason })
      shared.clear()
      const state = await errands.ask<{ readonly isCut: boolean }>('connections.cut', { id }, asker.actor, patienceMs)
      shared.clear()
      if (state.parts.some((part) => part.state === 'done' && part.part.isCut)) return { outcome: 'cut', connection }
      return { outcome: 'not_open', unheard: state.parts.filter((part) => part.state !== 'done').map((part) => part.instance) }
    },
  }
}

function joinPages({ parts }: ErrandState<Listed>, limit: number): ConnectionsPage {
  const answered = parts.flatMap((part) => (part.state === 'done' ? [{ instance: part.instance, ...part.part }] : []))
  const all = answered.flatMap(({ entries, instance }) => entries.map((entry) => ({ ...entry, instance }))).sort(comparePlaces)
  const entries = all.slice(0, limit)
  const isMore = all.length > entries.length || answered.some(({ more }) => more > 0)
  const last = entries.at(-1)
  const counts = new Map<string, number>()
  for (const { byApp } of answered) for (const [app, count] of byApp) counts.set(app, (counts.get(app) ?? 0) + count)
  return {
    entries,
    next: isMore && last !== undefined ? { since: last.since, id: last.id } : undefined,
    byApp: [...counts].map(([app, count]) => ({ app, count })).sort((a, b) => b.count - a.count || (a.app < b.app ? -1 : 1)),
    total: [...counts.values()].reduce((sum, count) => sum + count, 0),
    instances: parts.map(({ instance, state }) => ({ name: instance, hasAnswered: state === 'done' })),
  }
}

/** The newest first; those of one millisecond by their ids. */
function comparePlaces(a: ConnectionPlace, b: ConnectionPlace): number {
  if (a.since !== b.since) return b.since - a.since
  return a.id < b.id ? -1 : a.id > b.id ? 1 : 0
}
