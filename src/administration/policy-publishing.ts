/**
 * Publishing: from a draft, a revision or files of a pipeline to the next revision. Console, API and commands all come through here.
 *
 * In this order, and each anew at the moment of publishing: 1 the policy is managed; 2 it is what whoever asks has seen; 3 its predecessor is the
 * head, else nothing is overwritten and a merge is offered; 4 no mark of a merge is left, and the policy is judged as instances judge it; 5 where
 * two people are needed, another one approved exactly this, and still may; 6 what would lock out people who work now was confirmed in words. A draft
 * is looked at again before the head moves. Whoever came too late is on record beside whoever was faster.
 */

import type { AuditEvent } from '../audit/event.ts'
import { describeDifference } from '../policy/difference.ts'
import { type ApprovalParts, judgeApprovals } from './approval-standing.ts'
import type { Asker } from './asker.ts'
import { type Bundle, hashBundle } from './policy-bundle.ts'
import { isFitBundle } from './policy-files.ts'
import type {
  Authorship,
  Draft,
  DraftChange,
  DraftFacts,
  PolicyDrafts,
  PolicyInForce,
  PolicyRevisions,
  RevisionFacts,
} from './policy-history.ts'
import { findConflictMarks, mergeBundles } from './policy-merge.ts'
import type { Confirmed, Done, Gate, Published, Publishing, PublishingRefusal } from './policy-publishing-answers.ts'
import * as answers from './policy-publishing-answers.ts'
import type { JudgeBundle, JudgedBundle } from './policy-trial.ts'

/** What publishing is made of. */
export interface PublishingParts extends ApprovalParts {
  readonly mode: PolicyInForce['mode']
  readonly revisions: PolicyRevisions
  readonly drafts: PolicyDrafts
  readonly judge: JudgeBundle
  /** What a draft begins from where the policy is files. */
  readonly inForce: () => Promise<PolicyInForce>
  readonly isTwoPerson: boolean
  /** What has to be typed. Asked again at every attempt, so that nothing is confirmed that was not seen. */
  readonly findGates: (judged: JudgedBundle, asker: Asker) => Promise<readonly Gate[]>
  readonly recordFirst: (event: Extract<AuditEvent, { readonly event: 'policy.publication_refused' }>) => Promise<void>
}

/** What is to become a revision. */
interface Candidate {
  readonly bundle: Bundle
  readonly comment: string
  readonly head: RevisionFacts | undefined
  readonly approvals: readonly Authorship[]
  readonly restores?: number | undefined
  readonly isStillMeant?: (() => Promise<boolean>) | undefined
}

/** Another draft or its state may change a few times while it is published. */
const markRounds = 5

/** Publishing over revisions and drafts. Holds no state. */
export function createPublishing(parts: PublishingParts): Publishing {
  const { drafts, judge, mode, revisions } = parts

  async function refuseOnRecord(
    { actor }: Asker,
    { bundle, comment, predecessor }: { readonly bundle: Bundle; readonly comment: string; readonly predecessor: number },
    head: RevisionFacts | undefined,
  ): Promise<void> {
    const facts = { actor, hash: hashBundle(bundle), comment, predecessor, head: head?.number ?? 0 }
    await parts.recordFirst({ event: 'policy.publication_refused', ...facts })
  }

  async function refuseMovedOn(
    asker: Asker,
    { bundle, comment, predecessor }: { readonly bundle: Bundle; readonly comment: string; readonly predecessor: number },
    baseBundle?: Bundle | undefined,
  ): Promise<PublishingRefusal> {
    const head = await revisions.head()
    const theirs = head === undefined ? undefined : await revisions.load(head.number)
    const base = baseBundle ?? (await revisions.load(predecessor))?.bundle
    await refuseOnRecord(asker, { bundle, comment, predecessor }, head)
    const merge = base === undefined || theirs === undefined ? undefined : mergeBundles(base, bundle, theirs.bundle)
    return answers.movedOn(head, predecessor, merge)
  }

  /** Steps 4 and 6, and the revision itself. `undefined`: the head moved on after all. */
  async function publish(candidate: Candidate, { confirmations }: Confirmed, asker: Asker): Promise<Published | undefined> {
    const { bundle, head } = candidate
    const marks = findConflictMarks(bundle)
    if (marks.length > 0) return answers.marksLeft(marks)
    const judged = await judge(bundle)
    const { document, objections, problems } = judged
    if (document === undefined || problems.length > 0 || objections.length > 0) return answers.judgedRefused(judged)
    const closed = (await parts.findGates(judged, asker)).filter(({ word }) => !confirmations.includes(word))
    if (closed.length > 0) return answers.gatesClosed(closed)
    const answer = await revisions.publish({
      bundle,
      policyVersion: document.version,
      difference: await compare(head, document),
      tests: judged.outcome,
      comment: candidate.comment,
      by: { by: asker.actor, label: asker.label },
      predecessor: head?.number ?? 0,
      approvals: candidate.approvals,
      restores: candidate.restores,
      isStillMeant: candidate.isStillMeant,
    })
    if (answer.outcome === 'taken_back') {
      await refuseOnRecord(asker, { ...candidate, predecessor: head?.number ?? 0 }, answer.head)
      return answers.draftChanged
    }
    return answer.outcome === 'published' ? answer : undefined
  }

  async function compare(head: RevisionFacts | undefined, document: NonNullable<JudgedBundle['document']>): Promise<readonly string[]> {
    const before = head === undefined ? undefined : await revisions.load(head.number)
    if (before === undefined) return []
    const earlier = (await judge(before.bundle)).document
    return earlier === undefined ? ['what was published before cannot be read any more'] : describeDifference(earlier, document)
  }

  async function draft(
    wish: { readonly bundle: Bundle; readonly comment: string; readonly base: DraftFacts['base'] & { readonly bundle: Bundle } },
    asker: Asker,
  ): Promise<{ readonly outcome: 'drafted'; readonly draft: DraftFacts } | PublishingRefusal> {
    const begun = await drafts.begin({ ...wish, by: { by: asker.actor, label: asker.label } })
    if (begun === 'too_many') return answers.tooManyDrafts
    return begun === 'too_large' ? answers.bundleUnfit : { outcome: 'drafted', draft: begun }
  }

  /** A draft that waits for another person at once. */
  async function draftAndPropose(candidate: Pick<Candidate, 'bundle' | 'comment'>, base: number, asker: Asker): Promise<Published> {
    const from = await revisions.load(base)
    if (from === undefined) return answers.revisionUnknown(base)
    const drafted = await draft({ bundle: candidate.bundle, comment: candidate.comment, base: baseOf(from) }, asker)
    if (drafted.outcome === 'refused') return drafted
    const { id, version } = drafted.draft
    await drafts.setState(id, { state: 'proposed', by: { by: asker.actor, label: asker.label }, version })
    return { outcome: 'drafted', draft: { ...drafted.draft, state: 'proposed', version: version + 1 } }
  }

  /** Whether a draft is still what was looked at and approved when it was about to be published. */
  async function isUnchanged(seen: DraftFacts): Promise<boolean> {
    const now = await drafts.load(seen.id)
    if (now === undefined || now.state === 'published' || now.state === 'discarded') return false
    if (now.hash !== seen.hash || now.comment !== seen.comment || now.base.revision !== seen.base.revision) return false
    return !parts.isTwoPerson || (await judgeApprovals(now, parts)).isApproved
  }

  /** It is published whatever becomes of its mark; somebody may have approved or changed the draft in the last moment. */
  async function markPublished(id: string, number: number, asker: Asker): Promise<void> {
    for (let round = 0; round < markRounds; round++) {
      const now = await drafts.load(id)
      if (now === undefined || now.state === 'published' || now.state === 'discarded') return
      const by = { by: asker.actor, label: asker.label }
      if ((await drafts.setState(id, { state: 'published', by, version: now.version, published: number })) === 'changed') return
    }
  }

  async function setState(
    id: string,
    change: { readonly state: 'proposed' | 'discarded'; readonly version: number },
    asker: Asker,
  ): Promise<Done> {
    return doneOf(await drafts.setState(id, { ...change, by: { by: asker.actor, label: asker.label } }))
  }

  return {
    async begin({ bundle, comment }, asker) {
      const said = commentOf(comment)
      if (said === undefined) return answers.commentMissing
      if (mode === 'files') {
        const { bundle: files, policyVersion } = await parts.inForce()
        const base = { revision: undefined, policyVersion, hash: hashBundle(files), bundle: files }
        return draft({ comment: said, bundle: bundle ?? files, base }, asker)
      }
      const head = await revisions.head()
      const from = head === undefined ? undefined : await revisions.load(head.number)
      if (from === undefined) return answers.revisionUnknown(1)
      return draft({ comment: said, bundle: bundle ?? from.bundle, base: baseOf(from) }, asker)
    },

    async publishDraft(id, wish, asker) {
      if (mode === 'files') return answers.policyIsFiles
      const found = await drafts.load(id)
      if (found === undefined) return answers.draftUnknown
      if (found.state === 'published' || found.state === 'discarded') return answers.draftEnded(found)
      if (found.hash !== wish.hash) return answers.otherHash
      const comment = commentOf(wish.comment ?? found.comment)
      if (comment === undefined) return answers.commentMissing
      if (parts.isTwoPerson && comment !== commentOf(found.comment)) return answers.commentNotApproved
      const head = await revisions.head()
      const predecessor = found.base.revision ?? 0
      const attempt = { bundle: found.bundle, comment, predecessor }
      if ((head?.number ?? 0) !== predecessor) return refuseMovedOn(asker, attempt, found.baseBundle)
      if (head?.hash === found.hash) return answers.draftAndPolicyEqual
      if (parts.isTwoPerson && asker.subject === undefined) return answers.personNeeded
      const standing = await judgeApprovals(found, parts)
      if (parts.isTwoPerson && !standing.isApproved) return answers.approvalNeeded(standing)
      const { approvals } = standing
      const candidate = { bundle: found.bundle, comment, head, approvals, isStillMeant: () => isUnchanged(found) }
      const published = await publish(candidate, wish, asker)
      if (published === undefined) return refuseMovedOn(asker, attempt, found.baseBundle)
      if (published.outcome === 'published') await markPublished(id, published.revision.number, asker)
      return published
    },

    async restore(number, wish, asker) {
      if (mode === 'files') return answers.policyIsFiles
      const comment = commentOf(wish.comment)
      if (comment === undefined) return answers.commentMissing
      const [earlier, head] = await Promise.all([revisions.load(number), revisions.head()])
      if (earlier === undefined || head === undefined) return answers.revisionUnknown(number)
      const { bundle } = earlier
      const predecessor = wish.predecessor ?? head.number
      if (predecessor !== head.number) return refuseMovedOn(asker, { bundle, comment, predecessor })
      if (earlier.hash === head.hash) return { outcome: 'unchanged', revision: head }
      if (parts.isTwoPerson) return draftAndPropose({ bundle, comment }, head.number, asker)
      const published = await publish({ bundle, comment, head, approvals: [], restores: number }, wish, asker)
      return published ?? refuseMovedOn(asker, { bundle, comment, predecessor })
    },

    async push({ asDraft, bundle, confirmations, predecessor, ...wish }, asker) {
      if (mode === 'files') return answers.policyIsFiles
      const comment = commentOf(wish.comment)
      if (comment === undefined) return answers.commentMissing
      if (bundle.length === 0 || !isFitBundle(bundle)) return answers.bundleUnfit
      const head = await revisions.head()
      if (head?.hash === hashBundle(bundle)) return { outcome: 'unchanged', revision: head }
      if (asDraft || parts.isTwoPerson) return draftAndPropose({ bundle, comment }, predecessor, asker)
      if ((head?.number ?? 0) !== predecessor) return refuseMovedOn(asker, { bundle, comment, predecessor })
      const published = await publish({ bundle, comment, head, approvals: [] }, { confirmations }, asker)
      return published ?? refuseMovedOn(asker, { bundle, comment, predecessor })
    },

    async merge(id, version, asker) {
      if (mode === 'files') return answers.policyIsFiles
      const [found, head] = await Promise.all([drafts.load(id), revisions.head()])
      if (found === undefined) return answers.draftUnknown
      if (found.version !== version) return answers.draftChanged
      const theirs = head === undefined ? undefined : await revisions.load(head.number)
      if (theirs === undefined) return answers.revisionUnknown(1)
      const labels = { ours: 'this draft', theirs: `revision ${theirs.number}` }
      const merge = mergeBundles(found.baseBundle, found.bundle, theirs.bundle, labels)
      const by = { by: asker.actor, label: asker.label }
      const changed = doneOf(await drafts.change(id, { bundle: merge.bundle, base: baseOf(theirs), by, version }))
      return changed.outcome === 'refused' ? changed : { outcome: 'merged', conflicts: merge.conflicts }
    },

    propose: (id, version, asker) => setState(id, { state: 'proposed', version }, asker),
    discard: (id, version, asker) => setState(id, { state: 'discarded', version }, asker),

    async approve(id, hash, asker) {
      if (asker.subject === undefined) return answers.personNeeded
      const found = await drafts.load(id)
      if (found === undefined) return answers.draftUnknown
      const by = { by: asker.actor, label: asker.label }
      const standing = await judgeApprovals({ ...found, approvals: [] }, parts)
      if (standing.isOfUnknown) return answers.makerUnknown
      if (standing.hasHand(asker.actor)) return answers.samePerson
      return doneOf(await drafts.approve(id, hash, by))
    },

    judgeApprovals: (draft) => judgeApprovals(draft, parts),
  }
}

function baseOf({ bundle, hash, number, policyVersion }: RevisionFacts & Pick<Draft, 'bundle'>) {
  return { revision: number, policyVersion, hash, bundle }
}

function doneOf(change: DraftChange | 'same_person' | 'other_hash'): Done {
  switch (change) {
    case 'changed':
      return { outcome: 'done' }
    case 'moved_on':
      return answers.draftChanged
    case 'unknown':
      return answers.draftUnknown
    case 'closed':
      return answers.draftOver
    case 'too_large':
      return answers.bundleUnfit
    case 'same_person':
      return answers.samePerson
    case 'other_hash':
      return answers.otherHash
  }
}

/** As it goes on record; `undefined` for one that says nothing, or too much. */
function commentOf(written: string): string | undefined {
  const comment = written.trim()
  return comment.length >= 1 && comment.length <= 500 ? comment : undefined
}
