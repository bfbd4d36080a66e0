/**
 * What the page of a revision shows: the facts of it, what it changed in lines and in files, and the form that publishes it again.
 *
 * Pure. What it changed is compared with the revision that it followed, not with what is in force.
 */

import type { Revision, RevisionFacts } from '../../administration/policy-history.ts'
import { stateRevision } from '../../administration/policy-statements.ts'
import type { Refused } from '../operations/operation.ts'
import { describeGates, type GateField, noGates, type TypedGates } from './draft-gates-content.ts'
import { describeRevisionRow, type RevisionRow } from './policy-content.ts'
import { type DiffFile, describeDiff } from './policy-difference-content.ts'
import { revisionHref, sentenceAt } from './policy-page-parts.ts'

export interface RevisionPage {
  readonly row: RevisionRow
  readonly href: string
  readonly version: string
  readonly hash: string
  readonly predecessor: { readonly number: number; readonly href: string } | undefined
  /** The predecessor's files are not there any more. */
  readonly isPredecessorLost: boolean
  readonly next: { readonly number: number; readonly href: string } | undefined
  readonly difference: readonly string[]
  readonly files: readonly DiffFile[]
  /** `undefined`: it is the newest, or not for this reader. */
  readonly restore:
    | {
        readonly comment: string
        readonly commentProblem: string | undefined
        readonly failure: string | undefined
        readonly problems: readonly string[]
        readonly gates: readonly GateField[]
        /** The newest, that it is to follow. */
        readonly head: number
        readonly isTwoPerson: boolean
      }
    | undefined
}

/** What was sent and refused. */
export interface RestoreAttempt {
  readonly comment: string
  readonly gates: TypedGates
  readonly refusal: Refused
}

export interface RevisionPageFacts {
  readonly revision: Revision
  readonly predecessor: Revision | undefined
  readonly head: RevisionFacts | undefined
  /** Number of the one in force on this instance. */
  readonly current: number | undefined
  readonly mayRestore: boolean
  readonly isTwoPerson: boolean
  readonly attempt: RestoreAttempt | undefined
  readonly now: number
}

/** The page. */
export function describeRevisionPage(facts: RevisionPageFacts): RevisionPage {
  const { attempt, current, head, isTwoPerson, mayRestore, now, predecessor, revision } = facts
  const { number } = revision
  const before = revision.predecessor === undefined ? undefined : { number: revision.predecessor, href: revisionHref(revision.predecessor) }
  const isNewest = head === undefined || head.number === number
  return {
    row: describeRevisionRow(stateRevision(revision), { now, current }),
    href: revisionHref(number),
    version: revision.policyVersion,
    hash: revision.hash,
    predecessor: before,
    isPredecessorLost: before !== undefined && predecessor === undefined,
    next: isNewest ? undefined : { number: number + 1, href: revisionHref(number + 1) },
    difference: revision.difference,
    files: before !== undefined && predecessor === undefined ? [] : describeDiff(predecessor?.bundle ?? [], revision.bundle),
    restore: isNewest || !mayRestore ? undefined : describeRestore(number, head, { attempt, isTwoPerson }),
  }
}

function describeRestore(
  number: number,
  head: RevisionFacts,
  { attempt, isTwoPerson }: Pick<RevisionPageFacts, 'attempt' | 'isTwoPerson'>,
): RevisionPage['restore'] {
  const refusal = attempt?.refusal
  const commentProblem = sentenceAt(refusal, 'comment')
  const gates = describeGates([], refusal, attempt?.gates ?? noGates)
  return {
    comment: attempt?.comment ?? `Back to revision ${number}`,
    commentProblem,
    failure: refusal === undefined || commentProblem !== undefined || gates.length > 0 ? undefined : refusal.message,
    problems: problemsOf(refusal),
    gates,
    head: head.number,
    isTwoPerson,
  }
}

/** Problems and objections of a refused policy, a line each. */
export function problemsOf(refusal: Refused | undefined): readonly string[] {
  if (refusal?.problem !== 'policy_refused') return []
  const problems: unknown = refusal.detail?.['problems']
  const objections: unknown = refusal.detail?.['objections']
  const lines = (Array.isArray(problems) ? (problems as readonly unknown[]) : []).flatMap((problem) => {
    const { file, line, message } = (problem ?? {}) as Readonly<Record<string, unknown>>
    const place = typeof file === 'string' ? `${file}${typeof line === 'number' ? `, line ${line}` : ''}: ` : ''
    return typeof message === 'string' ? [`${place}${message}`] : []
  })
  return [...lines, ...(Array.isArray(objections) ? (objections as readonly unknown[]).map(String) : [])].slice(0, 50)
}
