/**
 * Searching the recent window: the newest events of all instances, out of the store, by the query of `postern audit search`.
 *
 * A page ends when it is full, at the end of the window, or when it has looked long enough: then it says how far back it looked and goes on from
 * there when asked, so that no question, however rare its answer, holds a page or the process up. What the window does not hold any more is
 * in the files of the instances (`trail-errands.ts`). Nothing is recorded here: who asks for somebody records that first.
 */

import { setTimeout as pause } from 'node:timers/promises'
import type { LineSelection, Period } from '../audit/merged-lines.ts'
import { type AuditQuery, compileQuery } from '../audit/search.ts'
import { parseTrailLine } from '../audit/trail-files.ts'
import type { AuditWindow, WindowPage } from '../audit/window.ts'
import { type DecisionEntry, readDecisionEntry, readTrailEntry, subjectIn, type TrailEntry } from './trail-entry.ts'

export interface TrailQuery extends AuditQuery, Period {}

export interface TrailPage {
  /** The newest first. */
  readonly entries: readonly TrailEntry[]
  /** What to go on with; `undefined` at the end of the window. */
  readonly next: string | undefined
  /** Epoch milliseconds. Where the search stopped to be asked again: everything newer was looked at. */
  readonly searchedTo: number | undefined
}

/** Whose decisions. */
export type DecisionsAbout =
  | { readonly subject: { readonly issuer: string; readonly sub: string } }
  | { readonly service: string }
  | { readonly device: string }
  | { readonly app: string }

export interface RecentDecisions {
  /** The newest first. */
  readonly decisions: readonly DecisionEntry[]
  /** Epoch milliseconds: older ones were not looked for; `undefined`: these are all of the window, or as many as were asked for. */
  readonly searchedTo: number | undefined
}

/** Every method rejects with `session_store_unavailable` when the store does. */
export interface TrailWindow {
  /** False: this installation keeps no window (`audit.window: 0`), and every search finds nothing. */
  readonly isKept: boolean
  search(query: TrailQuery, page: { readonly limit: number; readonly after?: string | undefined }): Promise<TrailPage>
  recentDecisions(about: DecisionsAbout, limit: number): Promise<RecentDecisions>
  /** The entry of a request's decision, if the window still holds it. Looks longer than a page does. */
  findDecision(request: string): Promise<TrailEntry | undefined>
  /** What is written from now on, in the order in which it becomes known, until the signal. */
  follow(query: TrailQuery, signal: AbortSignal): AsyncIterable<TrailEntry>
}

export interface TrailWindowParts {
  readonly window: Pick<AuditWindow, 'load'> | undefined
  /** Milliseconds that never go back. */
  readonly monotonicNow: () => number
}

/** Of one page, on this process: reading, unpacking and looking. The answers of a store that is near are in it. */
const pageBudgetMs = 40
/** A process that is busy with requests takes longer for the same work, and gets through less of it. About 40,000 lines. */
const pageBudgetBytes = 24 * 1024 * 1024
/** One request out of the whole window: asked for seldom, by its id, which bytes are searched for. */
const findBudgetMs = 400

const followEveryMs = 1_000
/** Of one look. On a trail that writes more in a second, some are passed over: nobody reads so fast. */
const mostFollowed = 100
/** Lines that were told already; what a slower instance hands in late is new all the same. */
const mostRemembered = 5_000

/** The window of this installation. Holds nothing by itself. */
export function createTrailWindow({ monotonicNow, window }: TrailWindowParts): TrailWindow {
  const nothing: WindowPage = { lines: [], next: undefined }

  async function load(selection: LineSelection, period: Period, asked: { limit: number; after?: string | undefined; budgetMs?: number }) {
    const begunAt = monotonicNow()
    const { after, budgetMs = pageBudgetMs, limit } = asked
    const mostBytes = budgetMs === pageBudgetMs ? pageBudgetBytes : Number.POSITIVE_INFINITY
    const mayGoOn = (bytes: number) => bytes < mostBytes && monotonicNow() - begunAt < budgetMs
    const page = (await window?.load({ ...period, limit, after, selection, mayGoOn })) ?? nothing
    const entries = page.lines.flatMap(({ bytes, chain }) => readTrailEntry(chain, bytes) ?? [])
    return { entries, next: page.next, searchedTo: page.searchedTo === undefined ? undefined : Date.parse(page.searchedTo) }
  }

  return {
    isKept: window !== undefined,
    search: ({ since, until, ...query }, page) => load(compileQuery(query), { since, until }, page),
    async recentDecisions(about, limit) {
      const { entries, searchedTo } = await load(compileAbout(about), {}, { limit })
      return { decisions: entries.flatMap((entry) => readDecisionEntry(entry) ?? []), searchedTo }
    },
    async findDecision(request) {
      const selection = compileQuery({ request, events: ['access.decided'] })
      return (await load(selection, {}, { limit: 1, budgetMs: findBudgetMs })).entries[0]
    },
    async *follow({ since: _since, until: _until, ...query }, signal) {
      const told = new Set<string>()
      for (let isFirst = true; !signal.aborted; isFirst = false) {
        const { entries } = await load(compileQuery(query), {}, { limit: mostFollowed })
        for (const entry of entries.toReversed()) {
          const key = `${entry.chain}:${entry.seq}`
          if (told.has(key)) continue
          told.add(key)
          if (!isFirst) yield entry
          if (signal.aborted) return
        }
        for (const key of told) {
          if (told.size <= mostRemembered) break
          told.delete(key)
        }
        await pause(followEveryMs, undefined, { signal, ref: false }).catch(() => undefined)
      }
    },
  }
}

function compileAbout(about: DecisionsAbout): LineSelection {
  const events = ['access.decided']
  if ('app' in about) return compileQuery({ app: about.app, events })
  if ('device' in about) return compileQuery({ device: about.device, events })
  if ('service' in about) return ofSubject({ kind: 'service', sub: about.service, issuer: undefined }, compileQuery({ events }))
  const { issuer, sub } = about.subject
  return ofSubject({ kind: 'person', sub, issuer }, compileQuery({ events }))
}

/** By the `sub` alone, which may look like an e-mail address. Two providers may have given one to different people, and a service have it as its name. */
function ofSubject(
  wanted: { readonly kind: string; readonly sub: string; readonly issuer: string | undefined },
  { isWanted }: LineSelection,
): LineSelection {
  // Of one that a line would cut or escape, bytes do not tell.
  const needle =
    wanted.sub.length <= 1024 && /^[\x20\x21\x23-\x5b\x5d-\x7e]+$/.test(wanted.sub) ? Buffer.from(`"${wanted.sub}"`) : undefined
  return {
    jump: needle === undefined ? undefined : (block, from) => block.indexOf(needle, from),
    isWanted(bytes) {
      if (!isWanted(bytes)) return false
      const { issuer, kind, sub } = subjectIn(parseTrailLine(bytes) ?? {})
      return kind === wanted.kind && sub === wanted.sub && (wanted.issuer === undefined || issuer === wanted.issuer)
    },
  }
}
