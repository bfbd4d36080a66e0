/**
 * What the history of the policy and its drafts are, for everybody who shows or changes them. `policy-revisions.ts` and `policy-drafts.ts` keep them.
 *
 * A *revision* is a policy that was published: numbered from 1 without gaps, never changed. The *head* is the one in force. A *draft* is
 * somebody's unfinished change to the policy that was in force when it began. With `policy:` a file or folder there are drafts and no
 * revisions: a draft is tried here and handed out as files.
 */

import type { Bundle } from './policy-bundle.ts'

/** Who did something, and when. */
export interface Authorship {
  /** `person:<sub>`, `token:<id>`, `os:<user>@<host>`, or `file:<owner>` of a seed. */
  readonly by: string
  /** For people to read. */
  readonly label: string
  /** Epoch milliseconds, by the store's clock. */
  readonly at: number
}

export interface TestOutcome {
  readonly passed: number
  readonly failed: number
}

/** A published policy, without its files. */
export interface RevisionFacts {
  readonly number: number
  /** `hashBundle` of its files. */
  readonly hash: string
  /** `version` of the document, as in the trail. */
  readonly policyVersion: string
  readonly published: Authorship
  readonly comment: string
  /** Number of the revision before; `undefined` of the first. */
  readonly predecessor: number | undefined
  /** A line each, at most a hundred, as `policy/difference.ts` says it. */
  readonly difference: readonly string[]
  /** `undefined`: it has no tests. */
  readonly tests: TestOutcome | undefined
  readonly approvals: readonly Authorship[]
  /** The number of the revision that it repeats. */
  readonly restores: number | undefined
}

export interface Revision extends RevisionFacts {
  readonly bundle: Bundle
}

/** What is about to be published. The caller has judged the bundle: it has neither problems nor objections. */
export interface Publication {
  readonly bundle: Bundle
  readonly policyVersion: string
  readonly difference: readonly string[]
  readonly tests: TestOutcome | undefined
  readonly comment: string
  readonly by: Omit<Authorship, 'at'>
  /** The head that it was made from; 0 where there is none yet. */
  readonly predecessor: number
  readonly approvals: readonly Authorship[]
  readonly restores?: number | undefined
  /** Asked when nothing else is left to do: what is to be published may have been taken back meanwhile. */
  readonly isStillMeant?: (() => Promise<boolean>) | undefined
}

/** Revisions in the store. Every method rejects with `session_store_unavailable` when the store does, and with `record_unreadable` for what does not open. */
export interface PolicyRevisions {
  head(): Promise<RevisionFacts | undefined>
  load(number: number): Promise<Revision | undefined>
  /** The newest first. */
  list(page: { readonly below: number | undefined; readonly limit: number }): Promise<readonly RevisionFacts[]>
  /** Writes the next revision, on the record first, if the head is still the predecessor; tells every instance. */
  publish(publication: Publication): Promise<
    | { readonly outcome: 'published'; readonly revision: RevisionFacts }
    | { readonly outcome: 'moved_on'; readonly head: RevisionFacts | undefined }
    /** It is not meant any more. */
    | { readonly outcome: 'taken_back'; readonly head: RevisionFacts | undefined }
  >
}

export type DraftState = 'open' | 'proposed' | 'published' | 'discarded'

/** A draft without its files. */
export interface DraftFacts {
  readonly id: string
  /** What it is about, in the author's words; becomes the revision's comment. */
  readonly comment: string
  readonly begun: Authorship
  readonly changed: Authorship
  readonly state: DraftState
  /** What it began from. `revision` is `undefined` where the policy is files. */
  readonly base: { readonly revision: number | undefined; readonly policyVersion: string; readonly hash: string }
  /** `hashBundle` of its files: what is approved. A change of the draft makes approvals void. */
  readonly hash: string
  readonly approvals: readonly Authorship[]
  /** Whoever began it or changed it since, as `Authorship.by`: none of them approves it. */
  readonly contributors: readonly string[]
  /** Grows with each change of files, comment or state: what a change compares. An approval is none. */
  readonly version: number
  /** The revision that it became. */
  readonly published: number | undefined
}

export interface Draft extends DraftFacts {
  readonly bundle: Bundle
  /** The files that it began from, for differences and merges. */
  readonly baseBundle: Bundle
}

export type DraftChange = 'changed' | 'moved_on' | 'unknown' | 'closed' | 'too_large'

/** Drafts in the store: at most a hundred open ones; those that ended leave after 30 days, open ones 90 days after their last change. */
export interface PolicyDrafts {
  begin(wish: {
    readonly comment: string
    readonly by: Omit<Authorship, 'at'>
    readonly base: DraftFacts['base'] & { readonly bundle: Bundle }
    readonly bundle: Bundle
  }): Promise<DraftFacts | 'too_many' | 'too_large'>
  load(id: string): Promise<Draft | undefined>
  /** The last changed first; open and proposed ones before those that ended. */
  list(): Promise<readonly DraftFacts[]>
  /** Replaces files and comment if `version` is still the draft's: two editors of one draft never overwrite each other unseen. */
  change(
    id: string,
    change: {
      readonly bundle?: Bundle
      readonly comment?: string
      readonly by: Omit<Authorship, 'at'>
      readonly version: number
      readonly base?: DraftFacts['base'] & { readonly bundle: Bundle }
    },
  ): Promise<DraftChange>
  /** `open` ⇄ `proposed`; ends it with `published` or `discarded`. */
  setState(
    id: string,
    change: {
      readonly state: DraftState
      readonly by: Omit<Authorship, 'at'>
      readonly version: number
      readonly published?: number | undefined
    },
  ): Promise<DraftChange>
  /** Adds an approval of exactly this hash by somebody who neither began nor changed the draft. */
  approve(id: string, hash: string, by: Omit<Authorship, 'at'>): Promise<DraftChange | 'same_person' | 'other_hash'>
}

/** The policy that is in force on this instance, with the files that it is made of. */
export interface PolicyInForce {
  /** `files`: they are the truth, and nothing is published here. */
  readonly mode: 'files' | 'managed'
  readonly policyVersion: string
  /** The revision; `undefined` with files. */
  readonly revision: RevisionFacts | undefined
  /** Of files: when the last of them was changed, and whose it is (`file:<owner>`); left out where that cannot be found out, and of a revision. */
  readonly changed?: { readonly by: string; readonly at: number } | undefined
  readonly bundle: Bundle
  /** Why the files, or the head, are not what is in force; `undefined` while they are. */
  readonly failure: string | undefined
}

/** Three-way merge of texts, file by file. */
export interface Merge {
  /** The merged files; where there are conflicts, with git's marks in them, so that the document does not load until they are resolved. */
  readonly bundle: Bundle
  readonly conflicts: readonly { readonly path: string; readonly count: number }[]
}
