/**
 * What takes an instance long because it reads its own trail on the disk: searching, finding one decision, exporting, verifying, and gathering
 * what was used. Carried out in a thread (`trail-threads.ts`), never where requests are answered.
 *
 * A task is plain data, and so is what it finds; it is given no store and no secret (a key to verify with is public). Results are bounded, because
 * they go through the store to whoever asked.
 */

import { gzipSync } from 'node:zlib'
import type { Anchor } from '../audit/chain.ts'
import { type FoundDecision, findDecision, findEnd, type TrailLine } from '../audit/find-decision.ts'
import { mergeLines, type Period } from '../audit/merged-lines.ts'
import { type LinePlace, loadNewestLines } from '../audit/newest-lines.ts'
import { type AuditQuery, compileQuery } from '../audit/search.ts'
import { listChains } from '../audit/trail-files.ts'
import { verifyTrail } from '../audit/verify.ts'
import type { TrailVerdict } from '../audit/verify-verdict.ts'
import { createDecisionReader } from './recorded-decision.ts'
import { listSegmentTasks, readSegment } from './recorded-requests.ts'
import { createUseTally, type RecordedUse, type UsesAsked } from './recorded-uses.ts'

/** Where a line is, on whichever instance. */
export type SharedPlace = Omit<LinePlace, 'folder'>

/** Each with the folder that it reads, a `data_dir/audit`. */
export type TrailTask =
  | {
      readonly kind: 'search'
      readonly folder: string
      readonly query: AuditQuery & Period
      readonly limit: number
      readonly before: SharedPlace | undefined
    }
  | { readonly kind: 'decision'; readonly folder: string; readonly request: string; readonly near: number | undefined }
  | { readonly kind: 'export'; readonly folder: string; readonly query: AuditQuery; readonly since: number; readonly until: number }
  | {
      readonly kind: 'verify'
      readonly folder: string
      readonly keys: ReadonlyMap<string, string>
      readonly anchors: ReadonlyMap<string, Anchor> | undefined
      /** Epoch milliseconds. */
      readonly now: number
      /** The store is this instance's alone, so that every chain that it remembers is in the folder. */
      readonly isAllHere: boolean
    }
  | { readonly kind: 'uses'; readonly folder: string; readonly asked: UsesAsked }

/** What each finds. `chains`: those of its folder, whatever is in them. */
export interface TrailFindings {
  /** The newest first. */
  readonly search: {
    readonly lines: readonly (SharedPlace & { readonly text: string })[]
    readonly isMore: boolean
    readonly chains: readonly string[]
  }
  readonly decision: (Pick<FoundDecision, 'decided' | 'facts'> & { readonly ended: TrailLine | undefined }) | undefined
  /** `lines`: gzip of a JSON array of `[chain, line]`, base64. Everything before `through` (epoch milliseconds) is in it. */
  readonly export: { readonly lines: string; readonly through: number; readonly chains: readonly string[] }
  readonly verify: TrailVerdict
  /** `uses`: gzip of the JSON array, base64. */
  readonly uses: {
    readonly uses: string
    readonly unlisted: number
    readonly knownFrom: number | undefined
    readonly chains: readonly string[]
  }
}

/** How far a task is. */
export interface TaskProgress {
  readonly fraction: number
  readonly note: string
}

/** What becomes of a part: less than `mostPartBytes` of the errands, in whatever JSON makes of it. */
const mostSearchBytes = 1024 * 1024
/** As text, before it is compressed to a tenth; a page of an export. */
const mostExportBytes = 6 * 1024 * 1024
const mostExportLines = 10_000
const mostUses = 60_000
/** As `merged-lines.ts` reckons: a clock that was set back is followed so far. */
const clockStepMs = 5 * 60_000

/** Carries a task out, in this thread. Rejects where the folder cannot be read. */
export async function carryOutTrailTask<T extends TrailTask>(
  task: T,
  progress: (progress: TaskProgress) => void,
): Promise<TrailFindings[T['kind']]> {
  // Each branch gives what its kind finds; the compiler does not follow the kind through a type parameter.
  return (await carryOut(task, progress)) as TrailFindings[T['kind']]
}

async function carryOut(task: TrailTask, progress: (progress: TaskProgress) => void): Promise<TrailFindings[keyof TrailFindings]> {
  switch (task.kind) {
    case 'search':
      return await searchFolder(task)
    case 'decision': {
      const found = await findDecision(task.folder, task.request, task.near)
      if (found === undefined) return undefined
      const { decided, ended, facts } = found
      return { decided, facts, ended: ended ?? (await findEnd(task.folder, task.request, found)) }
    }
    case 'export':
      return await exportFolder(task)
    case 'verify':
      return await verifyFolder(task, progress)
    case 'uses':
      return await gatherUses(task, progress)
  }
}

async function searchFolder({ before, folder, limit, query }: Extract<TrailTask, { kind: 'search' }>): Promise<TrailFindings['search']> {
  const { since, until, ...asked } = query
  const found = await loadNewestLines([folder], {
    selection: compileQuery(asked),
    since,
    until,
    // One more, to know whether there are more.
    limit: limit + 1,
    before: before === undefined ? undefined : { ...before, folder },
  })
  const chains = await listChains(folder)
  const lines: TrailFindings['search']['lines'][number][] = []
  let bytes = 0
  for (const { at, bytes: line, chain, offset, segment } of found.slice(0, limit)) {
    bytes += line.length
    if (bytes > mostSearchBytes && lines.length > 0) return { lines, isMore: true, chains }
    lines.push({ at, chain, segment, offset, text: line.toString('utf8') })
  }
  return { lines, isMore: found.length > limit, chains }
}

/** A page of an export: everything from `since` on, up to an instant before which nothing is missing. */
async function exportFolder({ folder, query, since, until }: Extract<TrailTask, { kind: 'export' }>): Promise<TrailFindings['export']> {
  let lines: (readonly [chain: string, at: string, text: string])[] = []
  let bytes = 0
  /** Once the page is full. Lines of its last instant may be on the next. */
  let through: string | undefined
  let readOnTo = ''
  for await (const { at, bytes: line, chain } of mergeLines([folder], { selection: compileQuery(query), since, until })) {
    if (through !== undefined) {
      if (at >= readOnTo) break
      if (at >= through) continue
    }
    lines.push([chain, at, line.toString('utf8')])
    bytes += line.length
    if (through !== undefined || at === lines[0]?.[1] || (lines.length < mostExportLines && bytes < mostExportBytes)) continue
    through = at
    readOnTo = new Date(Date.parse(at) + clockStepMs).toISOString()
  }
  const end = through
  if (end !== undefined) lines = lines.filter(([, at]) => at < end)
  const text = JSON.stringify(lines.map(([chain, , line]) => [chain, line]))
  return { lines: pack(text), through: end === undefined ? until : Date.parse(end), chains: await listChains(folder) }
}

async function verifyFolder(
  { anchors, folder, isAllHere, keys, now }: Extract<TrailTask, { kind: 'verify' }>,
  progress: (progress: TaskProgress) => void,
): Promise<TrailVerdict> {
  const chains = await listChains(folder)
  return await verifyTrail(
    { folders: [folder], keys, anchors, now, isExpected: isAllHere ? () => true : undefined },
    ({ chain, lines, segment, segments }) => {
      const share = segments === 0 ? 0 : Math.min(1, segment / segments)
      const fraction = chains.length === 0 ? 1 : (Math.max(0, chains.indexOf(chain)) + share) / chains.length
      progress({ fraction, note: `${chain}: segment ${segment} of ${segments}, ${lines} lines` })
    },
  )
}

async function gatherUses(
  { asked, folder }: Extract<TrailTask, { kind: 'uses' }>,
  progress: (progress: TaskProgress) => void,
): Promise<TrailFindings['uses']> {
  const period = { since: asked.since }
  const tasks = await listSegmentTasks([folder], period)
  const total = tasks.reduce((sum, { bytes }) => sum + bytes, 0)
  const tally = createUseTally(asked, mostUses)
  let done = 0
  let requests = 0
  for (const task of tasks) {
    await readSegment(task, {
      period,
      // Its scheme is no matter here: nothing is decided.
      readDecision: createDecisionReader('https'),
      decided(recorded) {
        requests += 1
        tally.see(recorded)
      },
      counted: () => undefined,
      progress: () => progress({ fraction: total === 0 ? 0 : done / total, note: `${requests} requests` }),
    })
    done += task.bytes
    progress({ fraction: total === 0 ? 1 : done / total, note: `${requests} requests` })
  }
  const uses: readonly RecordedUse[] = tally.list()
  return { uses: pack(JSON.stringify(uses)), unlisted: tally.unlisted(), knownFrom: tally.knownFrom(), chains: await listChains(folder) }
}

function pack(text: string): string {
  return gzipSync(text).toString('base64')
}
