/**
 * Who was let in where of late, with the facts that it was decided on: what a change of the policy is held against before it is published.
 *
 * Of each person or service and app a few uses are kept, the newest of each rule and kind of request, and not every one. The newest
 * segments are read first, and reading ends when its time is over: what is said of part of a day is then said of that part. Plain data, so that
 * it goes between threads and instances.
 */

import { gunzipSync, gzipSync } from 'node:zlib'
import { createEnvironmentReader } from '../attributes/environment-facts.ts'
import type { Facts } from '../policy/facts.ts'
import { createDecisionReader, type RecordedDecision } from './recorded-decision.ts'
import { listSegmentTasks, readSegment, type SegmentTask } from './recorded-requests.ts'

/** An allowed request, as JSON has it. */
export interface RecentUse extends Pick<RecordedDecision, 'request' | 'subject' | 'host' | 'policy' | 'reason' | 'at'> {
  readonly app: string
  readonly rule?: string | undefined
  /** Or why there is none. */
  readonly evidence: RecentEvidence | 'none' | 'missing' | 'unreadable'
}

interface RecentEvidence {
  readonly facts: Facts
  readonly isPathWhole: boolean
  readonly isClientTold: boolean
  readonly claimPaths: readonly string[]
}

export interface RecentUses {
  readonly uses: readonly RecentUse[]
  /** Everything of the period was read, and found room. */
  readonly isComplete: boolean
}

/** What is asked of a folder (a `data_dir/audit`). */
export interface UsesQuestion {
  readonly folder: string
  /** Epoch milliseconds. */
  readonly since: number
  /** Of the public URL. */
  readonly scheme: 'https' | 'http'
  readonly budgetMs: number
}

/** Two or three kilobytes each, which share most of it. */
const mostUses = 8_000
const perSubjectAndApp = 4

/** Reads are bounded by time: thrown to end one. */
class TimeIsOver extends Error {}

/** What has to be read for it, the newest first. */
export async function listUseTasks({ folder, since }: Pick<UsesQuestion, 'folder' | 'since'>): Promise<readonly SegmentTask[]> {
  const tasks = await listSegmentTasks([folder], { since })
  return tasks.toSorted((a, b) => b.segment.number - a.segment.number)
}

/** Reads the segments until the time is over. `monotonicNow` is in milliseconds. */
export async function readRecentUses(
  tasks: readonly SegmentTask[],
  { budgetMs, scheme, since }: UsesQuestion,
  monotonicNow: () => number,
): Promise<RecentUses> {
  const until = monotonicNow() + budgetMs
  const sampler = createUseSampler()
  const readDecision = createDecisionReader(scheme, createEnvironmentReader({}))
  try {
    for (const task of tasks) {
      await readSegment(task, {
        readDecision,
        period: { since },
        decided: sampler.see,
        counted: () => undefined,
        progress() {
          if (monotonicNow() >= until) throw new TimeIsOver()
        },
      })
    }
  } catch (error) {
    if (!(error instanceof TimeIsOver)) throw error
    return { uses: sampler.list(), isComplete: false }
  }
  return { uses: sampler.list(), isComplete: !sampler.isFull() }
}

/** Keeps a few uses of each subject and app. */
export function createUseSampler(most = mostUses) {
  const byUse = new Map<string, Map<string, RecordedDecision>>()
  let count = 0
  let isFull = false
  return {
    see(recorded: RecordedDecision): void {
      const { appId, at, effect, evidence, rule, subject } = recorded
      if (effect !== 'allow' || appId === undefined || subject.sub === undefined || subject.kind === 'nobody') return
      const key = `${appId}\n${subjectKey(subject)}`
      const known = byUse.get(key) ?? new Map<string, RecordedDecision>()
      // What was decided on nothing tells nothing, and must not hide what was.
      const variant = typeof evidence === 'string' ? evidence : JSON.stringify([rule ?? '', evidence.facts.request.methodClass])
      const earlier = known.get(variant)
      if (earlier !== undefined) {
        if (at >= earlier.at) known.set(variant, recorded)
        return
      }
      if (known.size >= perSubjectAndApp) return
      // Somebody else tells more than another use of the same.
      if (count >= (known.size === 0 ? most : most / 2)) {
        isFull = true
        return
      }
      count += 1
      known.set(variant, recorded)
      byUse.set(key, known)
    },
    isFull: () => isFull,
    /** The newest first. */
    list: (): readonly RecentUse[] => [...byUse.values()].flatMap((known) => [...known.values()].map(stateUse)).sort((a, b) => b.at - a.at),
  }
}

function stateUse({ appId = '', at, evidence, host, policy, reason, request, rule, subject }: RecordedDecision): RecentUse {
  const kept = typeof evidence === 'string' ? evidence : { ...evidence, claimPaths: [...evidence.claimPaths] }
  return { app: appId, at, host, policy, reason, request, rule, subject, evidence: kept }
}

/** As it was read from the trail. */
export function recordedOf({ app, at, evidence, host, policy, reason, request, rule, subject }: RecentUse): RecordedDecision {
  const kept = typeof evidence === 'string' ? evidence : { ...evidence, claimPaths: new Set(evidence.claimPaths) }
  const facts = typeof kept === 'string' ? undefined : kept.facts
  return { appId: app, at, host, policy, reason, request, rule, subject, effect: 'allow', facts, evidence: kept }
}

/** Tells subjects apart. */
export function subjectKey({
  issuer,
  kind,
  sub,
}: {
  readonly kind: string
  readonly issuer?: string | undefined
  readonly sub?: string | undefined
}): string {
  return `${kind}\n${issuer ?? ''}\n${sub ?? ''}`
}

/** Uses as text. */
export interface PackedUses {
  readonly uses: string
  readonly isComplete: boolean
}

/** Less than `mostPartBytes` of the errands, with what is beside it. */
const mostPackedBytes = 1_500_000
const mostUnpackedBytes = 128 * 1024 * 1024

/** As text that goes through the store; of too many the newest. Somebody waits for it: quickly rather than well. */
export function packUses({ isComplete, uses }: RecentUses): PackedUses {
  for (let count = uses.length; ; count = Math.floor(count / 2)) {
    const packed = gzipSync(JSON.stringify(uses.slice(0, count)), { level: 1 }).toString('base64')
    if (packed.length <= mostPackedBytes || count === 0) return { uses: packed, isComplete: isComplete && count === uses.length }
  }
}

/** What `packUses` wrote. */
export function unpackUses(packed: string): readonly RecentUse[] {
  return JSON.parse(
    gunzipSync(Buffer.from(packed, 'base64'), { maxOutputLength: mostUnpackedBytes }).toString('utf8'),
  ) as readonly RecentUse[]
}
