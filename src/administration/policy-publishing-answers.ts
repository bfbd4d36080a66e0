/**
 * What publishing answers: what was done, or why not, with what to do instead. Words of `problem` are those of operations, so that console, API and
 * commands say the same; `detail` is plain JSON.
 */

import type { DraftFacts, Merge, RevisionFacts } from './policy-history.ts'
import type { JudgedBundle, TrialProblem } from './policy-trial.ts'

/** Something that has to be typed before this is published, because it would hurt people who work now. */
export interface Gate {
  /** What has to be typed, exactly: an app's name, or `yes`. */
  readonly word: string
  /** What would happen, in a sentence. */
  readonly message: string
}

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

export type Published =
  | { readonly outcome: 'published'; readonly revision: RevisionFacts }
  /** Two people are needed, or it was asked for: it waits for the second one. */
  | { readonly outcome: 'drafted'; readonly draft: DraftFacts }
  /** It is what is published already. */
  | { readonly outcome: 'unchanged'; readonly revision: RevisionFacts }
  | PublishingRefusal

/** Problems in one answer. */
const mostSaid = 100

const refuse = (problem: PublishingRefusal['problem'], message: string, detail?: PublishingRefusal['detail']): PublishingRefusal => ({
  outcome: 'refused',
  problem,
  message,
  detail,
})

export const policyIsFiles = refuse(
  'policy_is_files',
  'the policy is made of files here, and they are the truth: change the files, and every instance follows',
)

export const commentMissing = refuse('malformed', 'say in a sentence what it is about: a comment of 1 to 500 characters')

export const bundleUnfit = refuse('malformed', 'this is no bundle: too large, too many files, or a name that no file may have')

export const tooManyDrafts = refuse('too_many', 'there are a hundred open drafts: publish or discard some first')

export function revisionUnknown(number: number): PublishingRefusal {
  return refuse('not_found', `there is no revision ${number}`)
}

export const draftUnknown = refuse('not_found', 'there is no such draft')

export function draftEnded({ published, state }: DraftFacts): PublishingRefusal {
  return refuse('conflict', state === 'published' ? `this draft became revision ${published}` : 'this draft was discarded')
}

export const draftOver = refuse('conflict', 'this draft was published or discarded meanwhile')

export const draftChanged = refuse('conflict', 'somebody changed this draft meanwhile: look at it again')

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

export function marksLeft(marks: readonly { readonly path: string; readonly line: number }[]): PublishingRefusal {
  const [first] = marks
  return refuse('policy_refused', `a merge is not decided yet: ${first?.path}, line ${first?.line}`, {
    problems: marks.slice(0, mostSaid).map(({ line, path }) => ({ file: path, line, message: 'a mark of a merge is left here' })),
  })
}

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

export function gatesClosed(gates: readonly Gate[]): PublishingRefusal {
  return refuse('confirmation_needed', gates.map(({ message, word }) => `${message}: type \`${word}\``).join('; '), {
    gates: gates.map(({ message, word }) => ({ word, message })),
  })
}

export const approvalNeeded = refuse(
  'second_person_needed',
  'two people are needed: somebody who neither began nor changed this draft has to approve exactly what it says now',
)

export const personNeeded = refuse('second_person_needed', 'two people are needed, and a token or a command is none: it makes drafts')

export const samePerson = refuse('second_person_needed', 'whoever began or changed a draft cannot approve it: another person has to')

export const otherHash = refuse('conflict', 'the draft is not what you looked at any more: look at it again')
