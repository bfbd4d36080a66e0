/**
 * What can be asked of publishing, and what it answers: what was done, or why not, with what to do instead. Words of `problem` are those of
 * operations, so that console, API and commands say the same; `detail` is plain JSON. `policy-publishing.ts` carries it out.
 */

import type { ApprovalStanding } from './approval-standing.ts'
import type { Asker } from './asker.ts'
import type { Bundle } from './policy-bundle.ts'
import type { DraftFacts, Merge, RevisionFacts } from './policy-history.ts'
import type { JudgedBundle, TrialProblem } from './policy-trial.ts'

/** Something that has to be typed before this is published, because it would hurt people who work now. */
export interface Gate {
  /** What has to be typed, exactly: an app's name, or `yes`. */
  readonly word: string
  /** What would happen, in a sentence. */
  readonly message: string
}

/** Why nothing was done. */
export interface PublishingRefusal {
  readonly outcome: 'refused'
  readonly problem:
    | 'malformed'
    | 'not_found'
    | 'policy_is_files'
    | 'conflict'
    | 'policy_refused'
    | 'confirmation_needed'
    | 'second_person_needed'
    | 'too_many'
  readonly message: string
  readonly detail?: Readonly<Record<string, unknown>> | undefined
}

/** What became of what was to be published. */
export type Published =
  | { readonly outcome: 'published'; readonly revision: RevisionFacts }
  /** Two people are needed, or it was asked for: it waits for the second one. */
  | { readonly outcome: 'drafted'; readonly draft: DraftFacts }
  /** It is what is published already. */
  | { readonly outcome: 'unchanged'; readonly revision: RevisionFacts }
  | PublishingRefusal

/** What whoever asks has typed. */
export interface Confirmed {
  /** Words that were typed. */
  readonly confirmations: readonly string[]
}

/** Every method rejects with `session_store_unavailable`, `record_unreadable` or `audit_unavailable`; a refusal is a value. */
export interface Publishing {
  /** Begins a draft from what is published, or from the files in force; `bundle` is what it says already, if not the same. */
  begin(
    wish: { readonly comment: string; readonly bundle?: Bundle | undefined },
    asker: Asker,
  ): Promise<{ readonly outcome: 'drafted'; readonly draft: DraftFacts } | PublishingRefusal>
  /**
   * `hash` is of what was seen: nobody publishes what they have not looked at. `comment` is what the history says in place of the draft's own, but
   * where two people are needed: there it says what was approved.
   */
  publishDraft(
    id: string,
    wish: Confirmed & { readonly hash: string; readonly comment?: string | undefined },
    asker: Asker,
  ): Promise<Published>
  /** Publishes what revision `number` says. With `predecessor`, only if that is still the head. Where two people are needed, drafts it. */
  restore(
    number: number,
    wish: Confirmed & { readonly comment: string; readonly predecessor?: number | undefined },
    asker: Asker,
  ): Promise<Published>
  /** From a pipeline: files made from revision `predecessor`. Drafts them where two people are needed, or where that is asked for. */
  push(
    wish: Confirmed & { readonly bundle: Bundle; readonly predecessor: number; readonly comment: string; readonly asDraft: boolean },
    asker: Asker,
  ): Promise<Published>
  /** Merges what is published meanwhile into the draft, which then begins from it. Conflicts stand in its files. */
  merge(
    id: string,
    version: number,
    asker: Asker,
  ): Promise<
    { readonly outcome: 'merged'; readonly conflicts: readonly { readonly path: string; readonly count: number }[] } | PublishingRefusal
  >
  propose(id: string, version: number, asker: Asker): Promise<Done>
  approve(id: string, hash: string, asker: Asker): Promise<Done>
  /** Whose approvals of a draft count now, and whose would. */
  judgeApprovals(draft: DraftFacts): Promise<ApprovalStanding>
  discard(id: string, version: number, asker: Asker): Promise<Done>
}

/** Done, or why not. */
export type Done = { readonly outcome: 'done' } | PublishingRefusal

/** Problems in one answer. */
const mostSaid = 100

const refuse = (problem: PublishingRefusal['problem'], message: string, detail?: PublishingRefusal['detail']): PublishingRefusal => ({
  outcome: 'refused',
  problem,
  message,
  detail,
})

/** Nothing is published where files are the truth. */
export const policyIsFiles = refuse(
  'policy_is_files',
  'the policy is made of files here, and they are the truth: change the files, and every instance follows',
)

/** Every revision says what it is about. */
export const commentMissing = refuse('malformed', 'say in a sentence what it is about: a comment of 1 to 500 characters')

/** The history must not say what nobody approved. */
export const commentNotApproved = refuse('malformed', 'two people are needed, and the comment is what was approved: change the draft’s own')

/** Not even looked into. */
export const bundleUnfit = refuse('malformed', 'this is no bundle: too large, too many files, or a name that no file may have')

/** The bound of drafts. */
export const tooManyDrafts = refuse('too_many', 'there are a hundred open drafts: publish or discard some first')

/** Never published, or lost with those before it. */
export function revisionUnknown(number: number): PublishingRefusal {
  return refuse('not_found', `there is no revision ${number}`)
}

/** Never begun, or gone since. */
export const draftUnknown = refuse('not_found', 'there is no such draft')

/** What became of a draft that is over. */
export function draftEnded({ published, state }: DraftFacts): PublishingRefusal {
  return refuse('conflict', state === 'published' ? `this draft became revision ${published}` : 'this draft was discarded')
}

/** The same where it ended just now. */
export const draftOver = refuse('conflict', 'this draft was published or discarded meanwhile')

/** Its version moved on. */
export const draftChanged = refuse('conflict', 'somebody changed this draft meanwhile: look at it again')

/** There is nothing to publish. */
export const draftAndPolicyEqual = refuse('conflict', 'the draft says what is published already')

/** `merge`: what would become of it on top of the head; its conflicts, where there are any, have to be resolved by somebody. */
export function movedOn(head: RevisionFacts | undefined, predecessor: number, merge: Merge | undefined): PublishingRefusal {
  const who =
    head === undefined ? 'nothing is published' : `revision ${head.number} was published by ${head.published.label}: ${head.comment}`
  const next =
    merge === undefined
      ? 'make it from what is published now'
      : merge.conflicts.length === 0
        ? 'a merge has no conflict: merge, look at it, and publish again'
        : `a merge has conflicts in ${merge.conflicts.map(({ path }) => path).join(', ')}: merge, and decide there`
  return refuse('conflict', `it was made from revision ${predecessor}, and meanwhile ${who}; ${next}`, {
    head: head?.number ?? 0,
    predecessor,
    ...(merge === undefined ? {} : { conflicts: merge.conflicts }),
  })
}

/** Half of a merge is no policy, whatever YAML makes of it. */
export function marksLeft(marks: readonly { readonly path: string; readonly line: number }[]): PublishingRefusal {
  const [first] = marks
  return refuse('policy_refused', `a merge is not decided yet: ${first?.path}, line ${first?.line}`, {
    problems: marks.slice(0, mostSaid).map(({ line, path }) => ({ file: path, line, message: 'a mark of a merge is left here' })),
  })
}

/** What the judge said. */
export function judgedRefused({ objections, problems }: JudgedBundle): PublishingRefusal {
  const count = problems.length
  const message =
    count > 0 ? `the policy has ${count === 1 ? 'a problem' : `${count} problems`}` : (objections[0] ?? 'the policy is refused')
  return refuse('policy_refused', message, {
    problems: problems.slice(0, mostSaid).map(describe),
    objections: objections.slice(0, mostSaid),
  })
}

function describe({ column, expected, file, key, line, message, suggestion }: TrialProblem) {
  const fields = { file, line, column, key, message, expected, suggestion }
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))
}

/** What has to be typed. */
export function gatesClosed(gates: readonly Gate[]): PublishingRefusal {
  return refuse('confirmation_needed', gates.map(({ message, word }) => `${message}: type \`${word}\``).join('; '), {
    gates: gates.map(({ message, word }) => ({ word, message })),
  })
}

/** Too few others approved what it says now. */
export function approvalNeeded({ accounts, approvals, isOfUnknown, lapsed, needed }: ApprovalStanding): PublishingRefusal {
  if (isOfUnknown) return makerUnknown
  const said = lapsed.map(({ label }) => `${label} approved it and may not any more`)
  const who =
    needed === 1
      ? 'two people are needed: somebody who neither began nor changed this draft has to approve exactly what it says now'
      : `two approvals are needed, by two people, because ${accounts.join(', ')} had a hand in this draft, and who that is cannot be told: ${approvals.length === 0 ? 'there is none' : 'there is one'}`
  return refuse('second_person_needed', [who, ...said].join('; '))
}

/** Deny is the floor: it may be anybody's. */
export const makerUnknown = refuse(
  'second_person_needed',
  'a token had a hand in this draft of which it is not known any more who made or rotated it, so nobody can be told to be another person: begin another draft with these files',
)

/** Programs make drafts. */
export const personNeeded = refuse('second_person_needed', 'two people are needed, and a token or a command is none: it makes drafts')

/** One person is one person, also by a token. */
export const samePerson = refuse('second_person_needed', 'whoever began or changed a draft cannot approve it: another person has to')

/** An approval, or an order to publish, of something else. */
export const otherHash = refuse('conflict', 'the draft is not what you looked at any more: look at it again')
