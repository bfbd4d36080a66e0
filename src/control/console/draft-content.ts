/**
 * What the page of a draft shows: what it changes, what trying it said, whom it would touch, and what can be done with it by whoever looks.
 *
 * Pure. A button that would be refused is not shown, and where something is missing before it can be published, the page says what and whose.
 */

import type { ApprovalStanding } from '../../administration/approval-standing.ts'
import type { Asker } from '../../administration/asker.ts'
import { type Bundle, hashBundle } from '../../administration/policy-bundle.ts'
import type { Draft, Merge, PolicyInForce, RevisionFacts } from '../../administration/policy-history.ts'
import { type ConflictMark, findConflictMarks, mergeBundles } from '../../administration/policy-merge.ts'
import { approvalNeeded } from '../../administration/policy-publishing-answers.ts'
import { stateDraft } from '../../administration/policy-statements.ts'
import type { Refused } from '../operations/operation.ts'
import { describeGates, type GateField, noGates, sentence, type TypedGates } from './draft-gates-content.ts'
import type { ImpactView } from './draft-impact-content.ts'
import { editorHref, type TrialView } from './draft-trial-content.ts'
import { type DiffFile, describeDiff } from './policy-difference-content.ts'
import {
  type AuthorView,
  counted,
  describeAuthor,
  draftBadges,
  draftHref,
  revisionHref,
  sentenceAt,
  whatIfHref,
} from './policy-page-parts.ts'
import { problemsOf } from './revision-content.ts'
import type { Badge } from './trail-content.ts'

/** What was sent and refused. */
export interface DraftAttempt {
  readonly comment: string | undefined
  readonly gates: TypedGates
  readonly refusal: Refused
}

/** What the page is made of. */
export interface DraftPageFacts {
  readonly draft: Draft
  readonly mode: PolicyInForce['mode']
  /** The newest revision, or `undefined` where the policy is files. */
  readonly head: RevisionFacts | undefined
  /** Its files, where the draft did not begin from it; where the policy is files: those in force. */
  readonly files: Bundle | undefined
  readonly written: WrittenDraft
  readonly asker: Asker
  readonly isTwoPerson: boolean
  /** Whose approvals count, and how many are needed. */
  readonly standing: ApprovalStanding
  readonly trial: TrialView
  /** `undefined`: not for this reader. */
  readonly impact: ImpactView | undefined
  readonly attempt: DraftAttempt | undefined
  readonly now: number
}

/** What the files of a draft say by themselves. Takes tens of milliseconds of a large policy, and is the same until the draft changes. */
export interface WrittenDraft {
  readonly files: readonly DiffFile[]
  readonly marks: readonly ConflictMark[]
}

export function readWrittenDraft({ baseBundle, bundle }: Pick<Draft, 'baseBundle' | 'bundle'>): WrittenDraft {
  return { files: describeDiff(baseBundle, bundle), marks: findConflictMarks(bundle) }
}

export interface DraftPage {
  readonly href: string
  readonly comment: string
  readonly badge: Badge
  readonly isOver: boolean
  readonly became: { readonly number: number; readonly href: string } | undefined
  readonly begun: AuthorView
  readonly changed: AuthorView
  readonly from: { readonly text: string; readonly href: string | undefined }
  readonly hash: string
  readonly version: number
  readonly failure: { readonly text: string; readonly problems: readonly string[] } | undefined
  readonly moved:
    | {
        /** `undefined`: the policy is files, and these are not what it began from. */
        readonly by:
          | { readonly number: number; readonly href: string; readonly comment: string; readonly published: AuthorView }
          | undefined
        readonly conflicts: readonly string[]
        readonly mayMerge: boolean
      }
    | undefined
  readonly marks: readonly { readonly text: string; readonly href: string }[]
  readonly trial: TrialView
  readonly impact: ImpactView | undefined
  readonly whatIfHref: string
  readonly editHref: string
  readonly mayEdit: boolean
  readonly isTriable: boolean
  readonly files: readonly DiffFile[]
  readonly fileCount: string
  readonly isFiles: boolean
  readonly approvals: readonly AuthorView[]
  readonly publish:
    | {
        readonly comment: string
        readonly commentProblem: string | undefined
        /** Where two people are needed it is the one that was approved. */
        readonly mayComment: boolean
        readonly gates: readonly GateField[]
        readonly notes: readonly string[]
      }
    | undefined
  /** Why there is no button to publish, in a sentence. */
  readonly notYet: string | undefined
  readonly mayPropose: boolean
  readonly mayApprove: boolean
  /** What somebody who cannot approve it is told. */
  readonly approvalWords: string | undefined
  readonly mayDiscard: boolean
}

/** The page. */
export function describeDraftPage(facts: DraftPageFacts): DraftPage {
  const { asker, attempt, draft, impact, isTwoPerson, mode, now, trial } = facts
  const stated = stateDraft(draft)
  const href = draftHref(draft.id)
  const isOver = draft.state === 'published' || draft.state === 'discarded'
  const mayWrite = asker.permissions.has('policy:write') && !isOver
  const isManaged = mode === 'managed'
  const { approvals } = facts.standing
  const moved = isOver ? undefined : describeMoved(facts)
  const marks = isOver ? [] : facts.written.marks
  const commentProblem = sentenceAt(attempt?.refusal, 'comment')
  const gates = describeGates(trial.gates, attempt?.refusal, attempt?.gates ?? noGates)
  const areGatesSaid = attempt?.refusal.problem === 'confirmation_needed'
  const isApproved = !isTwoPerson || facts.standing.isApproved
  const mayPublish = isManaged && !isOver && asker.permissions.has('policy:publish')
  const notYet = mayPublish ? findHindrance(facts, { isApproved, isMoved: moved !== undefined, hasMarks: marks.length > 0 }) : undefined
  return {
    href,
    comment: draft.comment,
    badge: draftBadges[draft.state],
    isOver,
    became: draft.published === undefined ? undefined : { number: draft.published, href: revisionHref(draft.published) },
    begun: describeAuthor(stated.begun, now),
    changed: describeAuthor(stated.changed, now),
    from: fromOf(draft),
    hash: draft.hash,
    version: draft.version,
    failure:
      attempt === undefined || commentProblem !== undefined || areGatesSaid
        ? undefined
        : { text: attempt.refusal.message, problems: problemsOf(attempt.refusal) },
    moved,
    marks: marks.map(({ line, path }) => ({ text: `${path}:${line}`, href: editorHref(href, path, line) })),
    trial,
    impact,
    whatIfHref: `${whatIfHref}?draft=${encodeURIComponent(draft.id)}`,
    editHref: `${href}/edit`,
    mayEdit: mayWrite && !isOver,
    isTriable: !isOver,
    files: facts.written.files,
    fileCount: counted(draft.bundle.length, 'file'),
    isFiles: !isManaged,
    approvals: approvals.map((approval) => describeAuthor({ ...approval, at: new Date(approval.at).toISOString() }, now)),
    publish:
      !mayPublish || notYet !== undefined
        ? undefined
        : {
            comment: attempt?.comment ?? draft.comment,
            commentProblem,
            mayComment: !isTwoPerson,
            gates,
            notes: trial.gateNotes.map(sentence),
          },
    notYet,
    ...describeApproval(facts),
    mayDiscard: mayWrite,
  }
}

function fromOf({ base: { revision } }: Draft): DraftPage['from'] {
  return revision === undefined
    ? { text: 'the files in force', href: undefined }
    : { text: `revision ${revision}`, href: revisionHref(revision) }
}

/** What was published, or what the files became, since the draft began. */
function describeMoved({ asker, draft, files, head, mode, now }: DraftPageFacts): DraftPage['moved'] {
  if (mode === 'files') {
    const isSame = files === undefined || hashBundle(files) === draft.base.hash
    return isSame ? undefined : { by: undefined, conflicts: [], mayMerge: false }
  }
  if (head === undefined || head.number === draft.base.revision) return undefined
  const merge: Merge = mergeBundles(draft.baseBundle, draft.bundle, files ?? [])
  const published = describeAuthor({ ...head.published, at: new Date(head.published.at).toISOString() }, now)
  return {
    by: { number: head.number, href: revisionHref(head.number), comment: head.comment, published },
    conflicts: merge.conflicts.map(({ count, path }) => `${path} (${counted(count, 'place')})`),
    mayMerge: asker.permissions.has('policy:write'),
  }
}

interface Standing {
  readonly isApproved: boolean
  readonly isMoved: boolean
  readonly hasMarks: boolean
}

function findHindrance({ draft, head, standing, trial }: DraftPageFacts, { hasMarks, isApproved, isMoved }: Standing): string | undefined {
  if (isMoved) return 'Something else was published meanwhile: merge it into this draft first.'
  if (hasMarks) return 'A merge is not decided yet: decide which lines stay first.'
  if (head?.hash === draft.hash) return 'This draft says what is published already.'
  if (trial.state === 'pending') return 'It is still being checked.'
  if (trial.problems.badge.tone === 'bad') return 'It has problems: mend them first.'
  if (!isApproved) return sentence(approvalNeeded(standing).message)
  return undefined
}

function describeApproval({
  asker,
  draft,
  isTwoPerson,
  mode,
  standing,
}: DraftPageFacts): Pick<DraftPage, 'mayPropose' | 'mayApprove' | 'approvalWords'> {
  const isAsked = isTwoPerson && mode === 'managed'
  if (!isAsked || (draft.state !== 'open' && draft.state !== 'proposed')) {
    return { mayPropose: false, mayApprove: false, approvalWords: undefined }
  }
  const isMaker = standing.hasHand(asker.actor)
  const hasApproved = draft.approvals.some(({ by }) => by === asker.actor)
  const mayApprove =
    draft.state === 'proposed' && asker.subject !== undefined && !isMaker && !hasApproved && asker.permissions.has('policy:approve')
  const approvalWords = standing.isApproved
    ? undefined
    : standing.isOfUnknown || standing.needed > 1
      ? sentence(approvalNeeded(standing).message)
      : draft.state === 'open'
        ? 'Nobody was asked to approve it yet.'
        : isMaker
          ? 'It waits for another admin: whoever began or changed it cannot approve it.'
          : 'It waits for an admin who neither began nor changed it.'
  return { mayPropose: draft.state === 'open' && asker.permissions.has('policy:write'), mayApprove, approvalWords }
}
