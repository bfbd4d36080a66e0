/**
 * The recorded requests of a trail, segment by segment, each with the facts that it was decided on.
 *
 * A segment can be read alone, and so several at once; what is held of it are the facts that its decisions share. A trail from before that was
 * so may have them in an earlier segment of the chain: those are looked for once, after the segment. Nothing is trusted: what is not whole or
 * no JSON is passed over. Lines are looked at before they are parsed, because most of a trail is not decisions.
 */

import { type Period, segmentsOf } from '../audit/merged-lines.ts'
import { createRecordedFactsReader, hashFacts, type RecordedFactsReader } from '../audit/recorded-facts.ts'
import { listChains, listSegments, parseTrailLine, readBlocks, type SegmentFile, sizeOf, type TrailLine } from '../audit/trail-files.ts'
import type { DecisionReader, RecordedDecision } from './recorded-decision.ts'

/** One segment to be read. */
export interface SegmentTask {
  readonly segment: SegmentFile
  /** The segments before it in its chain, the newest first. */
  readonly earlier: readonly SegmentFile[]
  /** On the disk. */
  readonly bytes: number
}

/** The segments of all chains in `folders` (each a `data_dir/audit`) that may hold lines of the period, the largest first. */
export async function listSegmentTasks(folders: readonly string[], period: Period): Promise<readonly SegmentTask[]> {
  const tasks: SegmentTask[] = []
  for (const folder of folders) {
    for (const chain of await listChains(folder)) {
      const all = await listSegments(folder, chain)
      for (const segment of await segmentsOf(all, period)) {
        const earlier = all.filter(({ number }) => number < segment.number).reverse()
        tasks.push({ segment, earlier, bytes: await sizeOf(segment) })
      }
    }
  }
  return tasks.sort((a, b) => b.bytes - a.bytes)
}

/** Who looks at a segment. */
export interface RequestsSeen {
  readonly readDecision: DecisionReader
  readonly period: Period
  /** A decision of the period. */
  readonly decided: (recorded: RecordedDecision, line: TrailLine) => void
  /** Requests of strangers that were counted and not listed. */
  readonly counted: (reason: string, count: number) => void
  /** After each piece of the file: how many bytes of lines it had, and how many lines. */
  readonly progress: (bytes: number, lines: number) => void
}

/** Decisions that wait for facts of an earlier segment; only trails of an older form have any. */
const maxWaiting = 20_000

/** Reads one segment from its beginning to its end. One that was pruned meanwhile is none. */
export async function readSegment({ earlier, segment }: SegmentTask, seen: RequestsSeen): Promise<void> {
  const facts = createRecordedFactsReader()
  const waiting: TrailLine[] = []
  const isAfter = textOf(seen.period.since)
  let isSelfContained: boolean | undefined
  try {
    for await (const { bytes, isWhole } of readBlocks(segment)) {
      if (!isWhole) continue
      const text = bytes.toString('utf8')
      let lines = 0
      for (let from = 0, end = text.indexOf('\n'); end !== -1; from = end + 1, end = text.indexOf('\n', from)) {
        lines += 1
        const event = eventIn(text, from, end)
        isSelfContained ??= event === 'audit.segment_started'
        if (event === 'facts.recorded') addFacts(facts, text.slice(from, end))
        else if (event === 'access.counted') seeCounted(text.slice(from, end), seen)
        else if (event === 'access.decided' && !isBefore(text, from, isAfter)) {
          const line = parseTrailLine(text.slice(from, end))
          if (line !== undefined && seeDecided(line, facts, seen, !isSelfContained && waiting.length < maxWaiting)) waiting.push(line)
        }
      }
      seen.progress(bytes.length, lines)
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
  if (waiting.length === 0) return
  await addEarlierFacts(facts, waiting, earlier)
  for (const line of waiting) seeDecided(line, facts, seen, false)
}

/** Whether the line has to wait for its facts. */
function seeDecided(
  line: TrailLine,
  facts: RecordedFactsReader,
  { decided, period, readDecision }: RequestsSeen,
  mayWait: boolean,
): boolean {
  const recorded = readDecision(line, facts)
  if (mayWait && recorded.evidence === 'missing') return true
  const { since = Number.NEGATIVE_INFINITY, until = Number.POSITIVE_INFINITY } = period
  if (recorded.at >= since && recorded.at < until) decided(recorded, line)
  return false
}

function seeCounted(text: string, { counted, period }: RequestsSeen): void {
  const line = parseTrailLine(text)
  const at = typeof line?.['since'] === 'string' ? Date.parse(line['since']) : Number.NaN
  const { since = Number.NEGATIVE_INFINITY, until = Number.POSITIVE_INFINITY } = period
  const { count, reason } = line ?? {}
  if (at >= since && at < until && typeof count === 'number' && typeof reason === 'string') counted(reason, count)
}

function addFacts(facts: RecordedFactsReader, text: string): void {
  const read = readFacts(text)
  if (read !== undefined) facts.add(read.hash, read.facts)
}

/** Facts that are not those that their hash was made of are none: nothing may be decided on what somebody else wrote there. */
function readFacts(text: string): { readonly hash: string; readonly facts: string } | undefined {
  const { facts, hash, kind } = parseTrailLine(text) ?? {}
  if (typeof hash !== 'string' || typeof facts !== 'string' || typeof kind !== 'string') return undefined
  // What was cut is known to be cut, and is told apart from what is not there.
  return hashFacts(kind, facts) === hash || facts.endsWith(cutMark) ? { hash, facts } : undefined
}

async function addEarlierFacts(facts: RecordedFactsReader, waiting: readonly TrailLine[], earlier: readonly SegmentFile[]): Promise<void> {
  const wanted = new Set(waiting.flatMap((line) => Object.values((line['facts'] ?? {}) as Readonly<Record<string, unknown>>)))
  for (const segment of earlier) {
    try {
      for await (const { bytes, isWhole } of readBlocks(segment)) {
        if (!isWhole) continue
        const text = bytes.toString('utf8')
        for (let from = 0, end = text.indexOf('\n'); end !== -1; from = end + 1, end = text.indexOf('\n', from)) {
          if (eventIn(text, from, end) !== 'facts.recorded') continue
          const read = readFacts(text.slice(from, end))
          if (read !== undefined && wanted.delete(read.hash)) facts.add(read.hash, read.facts)
        }
      }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    }
    if (wanted.size === 0) return
  }
}

/** Ends a text that did not fit its line; facts end in a brace. */
const cutMark = '…'

const eventMark = '"event":"'
const instantMark = '"at":"'
/** The trail writes place, time and event first; whatever stands later may be a stranger's words. */
const headLength = 160

/** The event of the line that begins at `from`, if it is one that is looked for here; else empty. */
function eventIn(text: string, from: number, end: number): string {
  const mark = text.indexOf(eventMark, from)
  if (mark === -1 || mark > from + headLength || mark > end) return ''
  const begin = mark + eventMark.length
  return wantedEvents.find((event) => text.startsWith(event, begin) && text[begin + event.length] === '"') ?? ''
}

const wantedEvents = ['access.decided', 'facts.recorded', 'access.counted', 'audit.segment_started'] as const

/** What was written before the period was decided before it, too. */
function isBefore(text: string, from: number, since: string | undefined): boolean {
  if (since === undefined) return false
  const mark = text.indexOf(instantMark, from)
  return mark !== -1 && mark < from + headLength && text.slice(mark + instantMark.length, mark + instantMark.length + since.length) < since
}

function textOf(instant: number | undefined): string | undefined {
  return instant === undefined ? undefined : new Date(instant).toISOString()
}
