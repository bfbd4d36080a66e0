/**
 * What is begun, watched and read when it is done: verifying all trails, and an access review over them.
 *
 * A run is an errand: any instance shows how far it is and what came of it, for as long as the store keeps it. A review is put together by whoever is
 * asked for it first, in a thread, and kept for a while, because a page of it must not cost the whole again. An instance that
 * failed or went away is named, and nothing that lacks a part is called complete.
 */

import { setTimeout as pause } from 'node:timers/promises'
import type { Anchors } from '../audit/chain.ts'
import type { ChainVerdict } from '../audit/verify-verdict.ts'
import type { PolicyDocument } from '../policy/document.ts'
import type { SubjectFacts } from '../policy/facts.ts'
import type { ErrandState, Errands } from './errands.ts'
import type { UsesAsked } from './recorded-uses.ts'
import { donePartsOf, type SilentInstance, silentOf, silentWithChains } from './trail-desk.ts'
import type { TrailErrands, VerifiedTrail } from './trail-errands.ts'
import type { ReviewedAccess } from './trail-review.ts'
import type { TrailFindings } from './trail-tasks.ts'
import type { TrailThreads } from './trail-threads.ts'

/** How far an instance is. */
export interface RunPart {
  readonly instance: string
  readonly state: 'waiting' | 'running' | 'done' | 'failed' | 'missing'
  /** 0 to 1. */
  readonly fraction: number
  /** How far in words, or why not; empty where there is nothing to say. */
  readonly note: string
}

export interface VerificationRun {
  readonly id: string
  readonly begunAt: number
  readonly isOver: boolean
  readonly parts: readonly RunPart[]
  /** Once it is over. */
  readonly result: VerificationResult | undefined
}

export interface VerificationResult {
  /** Every chain of every instance that was asked is as it was written. */
  readonly isVerified: boolean
  /** And reaches to the line that the store remembers. */
  readonly isComplete: boolean
  readonly chains: readonly (ChainVerdict & { readonly instance: string })[]
  /** Chains that the store remembers and no instance has. */
  readonly elsewhere: readonly string[]
  /** Why what the store remembers was not read. */
  readonly unread: string | undefined
  readonly silent: readonly SilentInstance[]
}

export interface ReviewRun {
  readonly id: string
  readonly begunAt: number
  readonly asked: UsesAsked
  readonly parts: readonly RunPart[]
  readonly silent: readonly SilentInstance[]
  /** `undefined`: not yet. */
  readonly reviewed: ReviewedAccess | undefined
  /** It could not be put together; another has to be begun. */
  readonly isFailed: boolean
}

export interface TrailRunsParts {
  readonly errands: Pick<Errands, 'begin' | 'look'>
  readonly threads: TrailThreads
  /** What the store remembers of chains. */
  readonly anchors: Pick<Anchors, 'list'>
  /** The policy in force. */
  readonly document: () => PolicyDocument
  /** Everybody on record, as the rules see them; the services and strangers come from the policy. */
  readonly listSubjects: () => AsyncIterable<SubjectFacts>
  /** Epoch milliseconds. */
  readonly now: () => number
}

/** Every method rejects with `session_store_unavailable` when the store does. An id of something else is none. */
export interface TrailRuns {
  beginVerification(by: string): Promise<string>
  lookVerification(id: string): Promise<VerificationRun | undefined>
  beginReview(asked: UsesAsked, by: string): Promise<string>
  lookReview(id: string): Promise<ReviewRun | undefined>
}

/** Some 20 MB each. */
const mostReviewsKept = 3
/** Putting a hundred thousand rows together takes seconds; a machine that needs longer has other troubles. */
const reviewTimeoutMs = 5 * 60_000
/** A small one is there at once; of a larger one the page says that it is being put together. */
const waitForReviewMs = 60

interface KeptReview {
  reviewed: ReviewedAccess | undefined
  isFailed: boolean
  readonly done: Promise<void>
}

/** The runs, as one instance begins and reads them. */
export function createTrailRuns(parts: TrailRunsParts): TrailRuns {
  const { anchors, document, errands, listSubjects, now, threads } = parts
  const kept = new Map<string, KeptReview>()

  async function look<K extends keyof TrailErrands>(kind: K, id: string): Promise<ErrandState<TrailErrands[K]['part']> | undefined> {
    const state = await errands.look<TrailErrands[K]['part']>(id)
    return state?.kind === kind ? state : undefined
  }

  async function putTogether(asked: UsesAsked, uses: readonly TrailFindings['uses'][]): Promise<ReviewedAccess> {
    const policy = document()
    const subjects: SubjectFacts[] = [{ kind: 'nobody' }]
    for (const { issuer, name } of policy.services) subjects.push({ kind: 'service', names: [name], issuer, claims: {} })
    for await (const one of listSubjects()) subjects.push(one)
    const wanted = asked.subject === undefined ? subjects : subjects.filter((one) => isAbout(one, asked.subject))
    const { app, subject } = asked
    const question = { document: policy, parts: uses, subjects: wanted, at: now(), app, subject }
    return await threads.run({ kind: 'review', ...question }, { signal: AbortSignal.timeout(reviewTimeoutMs) })
  }

  /** Once for all who ask. */
  function reviewOf(id: string, asked: UsesAsked, uses: readonly TrailFindings['uses'][]): KeptReview {
    const found = kept.get(id)
    if (found !== undefined) return found
    const begun = Promise.withResolvers<void>()
    const review: KeptReview = { reviewed: undefined, isFailed: false, done: begun.promise }
    kept.set(id, review)
    for (const oldest of kept.keys()) {
      if (kept.size <= mostReviewsKept) break
      kept.delete(oldest)
    }
    putTogether(asked, uses)
      .then(
        (reviewed) => {
          review.reviewed = reviewed
        },
        () => {
          review.isFailed = true
          // Whoever asks again tries again.
          kept.delete(id)
        },
      )
      .finally(begun.resolve)
    return review
  }

  return {
    beginVerification: (by) => errands.begin('trail.verify', {}, by),
    async lookVerification(id) {
      const state = await look('trail.verify', id)
      if (state === undefined) return undefined
      const { begunAt, isOver } = state
      return { id, begunAt, isOver, parts: runPartsOf(state), result: isOver ? mergeVerdicts(state) : undefined }
    },
    beginReview: (asked, by) => errands.begin('trail.review', { ...asked, at: now() }, by),
    async lookReview(id) {
      const state = await look('trail.review', id)
      if (state === undefined) return undefined
      const asked = state.input as UsesAsked
      const run = {
        id,
        begunAt: state.begunAt,
        asked,
        parts: runPartsOf(state),
        silent: state.isOver ? await silentWithChains(state, anchors, asked.since) : [],
      }
      if (!state.isOver) return { ...run, reviewed: undefined, isFailed: false }
      const uses = donePartsOf(state).map(({ part }) => part)
      const review = reviewOf(id, asked, uses)
      if (review.reviewed === undefined) await Promise.race([review.done, pause(waitForReviewMs, undefined, { ref: false })])
      return { ...run, reviewed: review.reviewed, isFailed: review.isFailed }
    },
  }
}

function isAbout(facts: SubjectFacts, subject: UsesAsked['subject']): boolean {
  return facts.kind === 'person' && facts.issuer === subject?.issuer && facts.sub === subject.sub
}

function runPartsOf({ parts }: ErrandState<unknown>): readonly RunPart[] {
  return parts.map((part): RunPart => {
    const { instance, state } = part
    if (state === 'running') return { instance, state, fraction: part.progress.fraction, note: part.progress.note ?? '' }
    return { instance, state, fraction: state === 'done' ? 1 : 0, note: state === 'failed' ? part.why : '' }
  })
}

function mergeVerdicts(state: ErrandState<VerifiedTrail>): VerificationResult {
  const done = donePartsOf(state)
  const silent = silentOf(state)
  const chains = done.flatMap(({ instance, part }) => part.chains.map((chain) => ({ ...chain, instance })))
  const here = new Set(chains.map(({ chain }) => chain))
  const elsewhere = [...new Set(done.flatMap(({ part }) => part.elsewhere))].filter((chain) => !here.has(chain))
  const unread = done.map(({ part }) => part.unread).find((why) => why !== undefined)
  const isVerified = silent.length === 0 && done.length > 0 && done.every(({ part }) => part.isVerified)
  const isAllReached = chains.every(({ anchored }) => anchored === 'reached')
  return {
    isVerified,
    isComplete: isVerified && unread === undefined && elsewhere.length === 0 && isAllReached,
    ...{ chains, elsewhere, unread, silent },
  }
}
