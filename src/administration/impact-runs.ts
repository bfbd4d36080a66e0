/**
 * The impact of a draft: every instance decides the requests of its own trail again under it, and the tallies are put together to the answer that
 * `postern replay --json` gives over the same trails and period.
 *
 * Each instance takes the draft from the store itself, and only if its files are still those that the impact was asked about. An instance that
 * did not answer, and a chain that nobody has any more, is named: a part is never handed out as the whole. A draft that was changed since makes
 * the result stale. Whoever asked was allowed to, and it is on record, before this is called.
 */

import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Anchors } from '../audit/chain.ts'
import type { PolicyDocument } from '../policy/document.ts'
import type { ErrandContext, ErrandState, Errands } from './errands.ts'
import { type ReplaySummary, summariseReplay } from './impact-summary.ts'
import { unpackTally } from './impact-tally.ts'
import type { PolicyDrafts } from './policy-history.ts'
import type { JudgeBundle } from './policy-trial.ts'
import { createTally, mergeTally } from './replay-tally.ts'
import { donePartsOf, type SilentInstance, silentWithChains } from './trail-desk.ts'
import type { RunPart } from './trail-runs.ts'

/** What an impact is asked about. Instants in epoch milliseconds; `until` is not in it. */
export interface ImpactAsked {
  readonly draft: string
  /** Of its files. */
  readonly hash: string
  readonly since: number
  readonly until: number
}

/** What an instance says. `chains`: those of its folder. */
export type ImpactPart =
  | {
      readonly outcome: 'replayed'
      readonly version: string
      /** As `packTally` writes it. */
      readonly tally: string
      readonly chains: readonly string[]
    }
  /** It says something else by now, is gone, or has problems there. */
  | { readonly outcome: 'draft_changed' | 'draft_refused'; readonly chains: readonly string[] }

export interface ImpactRun {
  readonly id: string
  readonly asked: ImpactAsked
  readonly begunAt: number
  readonly isOver: boolean
  /** The draft says something else by now, or is gone. */
  readonly isStale: boolean
  readonly parts: readonly RunPart[]
  /** Who is not in the result. */
  readonly silent: readonly SilentInstance[]
  /** Once it is over; `undefined` as well where nobody answered. */
  readonly summary: ReplaySummary | undefined
}

/** Every method rejects with `session_store_unavailable` when the store does, or `record_unreadable` for a draft that does not open. */
export interface ImpactRuns {
  /** `refused`: the draft has problems. */
  begin(asked: Omit<ImpactAsked, 'hash'>, by: string): Promise<{ readonly id: string } | 'unknown' | 'refused'>
  look(id: string): Promise<ImpactRun | undefined>
  /** Ends it everywhere. One that is not known is ended already. */
  cancel(id: string): Promise<void>
}

export interface ImpactRunsParts {
  readonly errands: Pick<Errands, 'begin' | 'look' | 'cancel'>
  readonly drafts: Pick<PolicyDrafts, 'load'>
  readonly judge: JudgeBundle
  /** What the store remembers of chains. */
  readonly anchors: Pick<Anchors, 'list'>
}

export const impactErrand = 'policy.impact'

/** Some megabytes each. */
const mostKept = 4

/** The impacts, as one instance begins and reads them. */
export function createImpactRuns({ anchors, drafts, errands, judge }: ImpactRunsParts): ImpactRuns {
  /** What is over does not change: a page of it must not cost the whole again. */
  const kept = new Map<string, Promise<ReplaySummary | undefined>>()

  function summaryOf(state: ErrandState<ImpactPart>): Promise<ReplaySummary | undefined> {
    const known = kept.get(state.id)
    if (known !== undefined) return known
    const summary = mergeParts(state)
    kept.set(state.id, summary)
    const [oldest] = kept.keys()
    if (kept.size > mostKept && oldest !== undefined) kept.delete(oldest)
    return summary
  }

  return {
    async begin({ draft, since, until }, by) {
      const found = await drafts.load(draft)
      if (found === undefined) return 'unknown'
      if ((await judge(found.bundle)).document === undefined) return 'refused'
      return { id: await errands.begin(impactErrand, { draft, hash: found.hash, since, until } satisfies ImpactAsked, by) }
    },
    async look(id) {
      const state = await errands.look<ImpactPart>(id)
      if (state?.kind !== impactErrand) return undefined
      const asked = state.input as ImpactAsked
      const { begunAt, isOver } = state
      const isStale = (await drafts.load(asked.draft))?.hash !== asked.hash
      const silent = isOver ? [...(await silentWithChains(state, anchors, asked.since)), ...unwillingOf(state)] : []
      return { id, asked, begunAt, isOver, isStale, parts: partsOf(state), silent, summary: isOver ? await summaryOf(state) : undefined }
    },
    async cancel(id) {
      if ((await errands.look(id))?.kind === impactErrand) await errands.cancel(id)
    },
  }
}

/** Requests get their turn between two instances. */
async function mergeParts(state: ErrandState<ImpactPart>): Promise<ReplaySummary | undefined> {
  const whole = createTally()
  let version: string | undefined
  for (const { part } of donePartsOf(state)) {
    if (part.outcome !== 'replayed') continue
    version = part.version
    mergeTally(whole, unpackTally(part.tally))
    await nextTurn()
  }
  return version === undefined ? undefined : summariseReplay(whole, version)
}

function partsOf({ parts }: ErrandState<ImpactPart>): readonly RunPart[] {
  return parts.map((part): RunPart => {
    const { instance, state } = part
    if (state === 'running') return { instance, state, fraction: part.progress.fraction, note: part.progress.note ?? '' }
    if (state === 'done')
      return { instance, state, fraction: 1, note: part.part.outcome === 'replayed' ? '' : unwillingWords[part.part.outcome] }
    return { instance, state, fraction: state === 'waiting' ? 0 : 1, note: state === 'failed' ? part.why : '' }
  })
}

const unwillingWords = {
  draft_changed: 'the draft was changed before this instance read it',
  draft_refused: 'this instance would refuse the draft',
} as const

function unwillingOf(state: ErrandState<ImpactPart>): readonly SilentInstance[] {
  return donePartsOf(state).flatMap(({ instance, part }) =>
    part.outcome === 'replayed' ? [] : [{ instance, why: unwillingWords[part.outcome] }],
  )
}

export interface ServeImpactParts {
  readonly errands: Pick<Errands, 'serve'>
  readonly drafts: Pick<PolicyDrafts, 'load'>
  readonly judge: JudgeBundle
  /** The policy in force here: what services there are now. */
  readonly inForce: () => Pick<PolicyDocument, 'services' | 'version'>
  /** Replays this instance's own trail, never where requests are answered. */
  readonly replay: (
    question: {
      readonly document: PolicyDocument
      readonly live: Pick<PolicyDocument, 'services' | 'version'>
      readonly period: { readonly since: number; readonly until: number }
    },
    context: ErrandContext,
  ) => Promise<{ readonly tally: string; readonly chains: readonly string[] }>
  readonly listChains: () => Promise<readonly string[]>
}

/** Serves this instance's part. At start. */
export function serveImpact({ drafts, errands, inForce, judge, listChains, replay }: ServeImpactParts): void {
  errands.serve<ImpactAsked, ImpactPart>(impactErrand, async ({ draft, hash, since, until }, context) => {
    const found = await drafts.load(draft)
    if (found?.hash !== hash) return { outcome: 'draft_changed', chains: await listChains() }
    const { document } = await judge(found.bundle)
    if (document === undefined) return { outcome: 'draft_refused', chains: await listChains() }
    const { services, version } = inForce()
    const replayed = await replay({ document, live: { services, version }, period: { since, until } }, context)
    return { outcome: 'replayed', version: document.version, ...replayed }
  })
}
