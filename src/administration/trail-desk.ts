/**
 * Asking all instances about their trails, and putting their answers together: lines merged newest first, one decision from whoever has it, a
 * stretch of everything for an export.
 *
 * An instance that does not answer, or fails, is named in every answer, so that nobody takes a part of the trail for the whole. Instances name
 * their chains apart, so that a line is known by its chain and its place there, wherever it was read.
 */

import { gunzipSync } from 'node:zlib'
import type { Anchors } from '../audit/chain.ts'
import type { Period } from '../audit/merged-lines.ts'
import type { AuditQuery } from '../audit/search.ts'
import { isPosternError } from '../errors.ts'
import type { ErrandState, Errands, PartState } from './errands.ts'
import { readTrailEntry, type TrailEntry } from './trail-entry.ts'
import type { TrailErrands } from './trail-errands.ts'
import type { SharedPlace, TrailFindings } from './trail-tasks.ts'

/** An instance of which there is no answer; or a chain that the store remembers, and no instance that answered has it. */
export interface SilentInstance {
  readonly instance: string
  readonly why: string
}

export interface FoundOnInstance extends Exclude<TrailFindings['decision'], undefined> {
  readonly instance: string
}

/** Every method rejects with `session_store_unavailable` when the store does. `by` is the actor. */
export interface TrailDesk {
  /** Lines in the files of all instances, the newest first. One that asks with an `after` that is none gets the first page. */
  search(
    query: AuditQuery & Period,
    page: { readonly limit: number; readonly after?: string | undefined; readonly by: string },
  ): Promise<{ readonly entries: readonly TrailEntry[]; readonly next: string | undefined; readonly silent: readonly SilentInstance[] }>
  /** One request's decision with its facts and its end. `near`: about when, epoch milliseconds; then it is found much faster. */
  findDecision(
    request: string,
    asked: { readonly near?: number | undefined; readonly by: string },
  ): Promise<{ readonly found: FoundOnInstance | undefined; readonly silent: readonly SilentInstance[] }>
  /** Lines from `since` on, the oldest first, complete up to `through`; the next stretch begins there, and `until` ends it. */
  exportStretch(
    query: AuditQuery,
    stretch: { readonly since: number; readonly until: number; readonly by: string },
  ): Promise<{ readonly lines: readonly Buffer[]; readonly through: number; readonly silent: readonly SilentInstance[] }>
}

/** A search of a year of compressed lines takes about as long; whoever needs more has the command. */
const searchTimeoutMs = 25_000
const decisionTimeoutMs = 10_000
const exportTimeoutMs = 60_000
/** Unpacked: what one instance hands out of its trail at once, and the quotes around it. */
const mostUnpackedBytes = 32 * 1024 * 1024

export interface TrailDeskParts {
  readonly errands: Pick<Errands, 'ask'>
  /** What the store remembers of chains. */
  readonly anchors: Pick<Anchors, 'list'>
}

/** The desk, over the errands of this instance. */
export function createTrailDesk({ anchors, errands }: TrailDeskParts): TrailDesk {
  async function ask<K extends keyof TrailErrands>(kind: K, input: TrailErrands[K]['input'], by: string, timeoutMs: number) {
    return await errands.ask<TrailErrands[K]['part']>(kind, input, by, timeoutMs)
  }

  return {
    async search(query, { after, by, limit }) {
      const state = await ask('trail.search', { query, limit, before: parsePlace(after) }, by, searchTimeoutMs)
      const parts = donePartsOf(state)
      const lines = parts.flatMap(({ part }) => part.lines).sort((a, b) => (isNewer(a, b) ? -1 : 1))
      const page = lines.slice(0, limit)
      // Behind the last line of an instance that has more nothing is known of it: what others have from before that comes with the next page.
      const floor = parts
        .flatMap(({ part }) => (part.isMore ? (part.lines.at(-1) ?? []) : []))
        .reduce<SharedPlace | undefined>((newest, one) => (newest === undefined || isNewer(one, newest) ? one : newest), undefined)
      const shown = floor === undefined ? page : page.filter((line) => !isNewer(floor, line))
      const last = shown.at(-1)
      const isMore = shown.length < lines.length || parts.some(({ part }) => part.isMore)
      const entries = shown.flatMap(({ chain, text }) => readTrailEntry(chain, text) ?? [])
      return {
        entries,
        next: isMore && last !== undefined ? formatPlace(last) : undefined,
        silent: await silentWithChains(state, anchors, query.since),
      }
    },
    async findDecision(request, { by, near }) {
      const state = await ask('trail.decision', { request, near }, by, decisionTimeoutMs)
      const found = donePartsOf(state).flatMap(({ instance, part }) => (part.found === null ? [] : [{ instance, ...part.found }]))
      return { found: found[0], silent: silentOf(state) }
    },
    async exportStretch(query, { by, since, until }) {
      const state = await ask('trail.export', { query, since, until }, by, exportTimeoutMs)
      const parts = donePartsOf(state)
      const through = Math.min(until, ...parts.map(({ part }) => part.through))
      const lines = parts
        .flatMap(({ part }) => unpackLines(part.lines))
        .filter(({ at }) => at < through)
        // Of one chain they stay in their order.
        .sort((a, b) => a.at - b.at || (a.chain < b.chain ? -1 : a.chain > b.chain ? 1 : 0))
      return { lines: lines.map(({ bytes }) => bytes), through, silent: await silentWithChains(state, anchors, since) }
    },
  }
}

/** The parts that are there. */
export function donePartsOf<P>({ parts }: ErrandState<P>): readonly { readonly instance: string; readonly part: P }[] {
  return parts.flatMap((part) => (part.state === 'done' ? [{ instance: part.instance, part: part.part }] : []))
}

/** The instances of which there is none, each with a sentence's end that says why. */
export function silentOf({ parts }: ErrandState<unknown>): readonly SilentInstance[] {
  return parts.flatMap((part) => {
    const why = whySilent(part)
    return why === undefined ? [] : [{ instance: part.instance, why }]
  })
}

/**
 * Who is silent, and which chains are remembered and were in nobody's answer: an instance that was stopped has its files still. `since`: a chain that
 * ended before it matters to nobody. What cannot be read of the memory is said as well.
 */
export async function silentWithChains(
  state: ErrandState<{ readonly chains: readonly string[] }>,
  anchors: Pick<Anchors, 'list'>,
  since = Number.NEGATIVE_INFINITY,
): Promise<readonly SilentInstance[]> {
  const silent = [...silentOf(state)]
  const here = new Set(donePartsOf(state).flatMap(({ part }) => part.chains))
  try {
    for await (const { at, chain } of anchors.list()) {
      if (!here.has(chain) && at >= since) silent.push({ instance: chain, why: 'no instance that answered has this chain' })
      if (silent.length >= mostSilent) break
    }
  } catch (error) {
    if (!isPosternError(error)) throw error
    silent.push({ instance: 'the store', why: `what it remembers of chains could not be read whole: ${error.message}` })
  }
  return silent
}

/** Nobody reads more names. */
const mostSilent = 100

function whySilent(part: PartState<unknown>): string | undefined {
  switch (part.state) {
    case 'done':
      return undefined
    case 'failed':
      return part.why
    case 'missing':
      return 'it does not answer any more'
    case 'waiting':
    case 'running':
      return 'it did not answer in time'
  }
}

/** In the order of a search: by time, of one instant by chain and place. */
function isNewer(a: SharedPlace, b: SharedPlace): boolean {
  if (a.chain === b.chain) return a.segment === b.segment ? a.offset > b.offset : a.segment > b.segment
  return a.at === b.at ? a.chain > b.chain : a.at > b.at
}

function unpackLines(packed: string) {
  const text = gunzipSync(Buffer.from(packed, 'base64'), { maxOutputLength: mostUnpackedBytes }).toString('utf8')
  return (JSON.parse(text) as readonly (readonly [chain: string, line: string])[]).flatMap(([chain, line]) => {
    const at = readTrailEntry(chain, line)?.at
    return at === undefined ? [] : [{ chain, at, bytes: Buffer.from(line) }]
  })
}

function formatPlace({ at, chain, offset, segment }: SharedPlace): string {
  return Buffer.from(JSON.stringify([at, chain, segment, offset])).toString('base64url')
}

/** It comes back by a browser: whatever is none begins at the beginning. */
function parsePlace(text: string | undefined): SharedPlace | undefined {
  if (text === undefined || text.length > 1_024) return undefined
  try {
    const [at, chain, segment, offset] = JSON.parse(Buffer.from(text, 'base64url').toString()) as readonly unknown[]
    const isPlace = typeof at === 'string' && typeof chain === 'string' && Number.isSafeInteger(segment) && Number.isSafeInteger(offset)
    return isPlace && /^[\d\-T:.]{10,30}Z$/.test(at) ? { at, chain, segment: Number(segment), offset: Number(offset) } : undefined
  } catch {
    // Cut, or made up.
    return undefined
  }
}
