/**
 * What `/console/policy` shows: the policy in force, whether every instance decides by it, drafts, and what was published before.
 *
 * Pure. An instance that decides by another version is said, and so is a newest revision that is not in force here: neither passes for agreement.
 */

import type { LiveInstance } from '../../administration/errands.ts'
import type { PolicyInForce, RevisionFacts } from '../../administration/policy-history.ts'
import { type DraftStatement, type RevisionStatement, stateRevision } from '../../administration/policy-statements.ts'
import type { InstantView } from './instants.ts'
import { instantView } from './instants.ts'
import { type AuthorView, counted, describeAuthor, draftBadges, draftHref, policyHref, revisionHref } from './policy-page-parts.ts'
import type { Badge } from './trail-content.ts'

export interface RevisionRow {
  readonly number: number
  readonly href: string
  readonly comment: string
  readonly published: AuthorView
  /** `12 changes`. */
  readonly changes: string
  readonly tests: Badge
  readonly approvals: readonly AuthorView[]
  readonly restores: { readonly number: number; readonly href: string } | undefined
  readonly isInForce: boolean
}

export interface DraftRow {
  readonly href: string
  readonly comment: string
  readonly badge: Badge
  readonly begun: AuthorView
  readonly changed: AuthorView
  readonly from: string
  /** It began from what is not the newest any more. */
  readonly isBehind: boolean
  readonly approvals: number
}

export interface PolicyPage {
  readonly isFiles: boolean
  readonly version: string
  readonly inForce: RevisionRow | undefined
  /** Of files. */
  readonly changed: AuthorView | undefined
  /** Published, and not what this instance decides by. */
  readonly waiting: { readonly number: number; readonly href: string } | undefined
  readonly failure: string | undefined
  readonly files: { readonly href: string; readonly text: string }
  readonly instances: readonly {
    readonly name: string
    readonly isOwn: boolean
    readonly isSame: boolean
    readonly version: string
    readonly started: InstantView | undefined
  }[]
  readonly others: number
  /** Instances say by what they decide every few seconds, and something was published just now. */
  readonly isFollowing: boolean
  readonly drafts: readonly DraftRow[]
  readonly draftsNext: string | undefined
  readonly draftsFirst: string | undefined
  readonly ended: readonly DraftRow[]
  readonly history: readonly RevisionRow[]
  readonly historyNext: string | undefined
  readonly historyFirst: string | undefined
  readonly mayBegin: boolean
  readonly begin: { readonly comment: string; readonly problem: string | undefined }
}

/** An instance that runs has said so twice by then. */
const followWithinMs = 12_000

/** What the page is made of. */
export interface PolicyPageFacts {
  readonly inForce: PolicyInForce
  readonly head: RevisionFacts | undefined
  readonly instances: readonly LiveInstance[]
  readonly drafts: { readonly entries: readonly DraftStatement[]; readonly next: string | null; readonly isFirst: boolean }
  readonly history: { readonly entries: readonly RevisionStatement[]; readonly next: string | null; readonly isFirst: boolean } | undefined
  readonly mayBegin: boolean
  readonly begin: PolicyPage['begin']
  readonly now: number
}

/** The page. */
export function describePolicyPage(facts: PolicyPageFacts): PolicyPage {
  const { begin, drafts, head, history, inForce, mayBegin, now } = facts
  const current = inForce.revision?.number
  const rows = drafts.entries.map((draft) => describeDraftRow(draft, { now, head: head?.number }))
  const isOpen = (_: DraftRow, index: number) => ['open', 'proposed'].includes(drafts.entries[index]?.state ?? '')
  const instances = facts.instances.map(({ isOwn, name, policyVersion, startedAt }) => ({
    name,
    isOwn,
    // This one knows better than what it last said of itself.
    isSame: isOwn || policyVersion === inForce.policyVersion,
    version: policyVersion,
    started: instantView(startedAt, now),
  }))
  return {
    isFiles: inForce.mode === 'files',
    version: inForce.policyVersion,
    inForce: inForce.revision === undefined ? undefined : describeRevisionRow(stateRevision(inForce.revision), { now, current }),
    changed: inForce.changed === undefined ? undefined : describeFilesChange(inForce.changed, now),
    waiting:
      head === undefined || current === undefined || head.number === current
        ? undefined
        : { number: head.number, href: revisionHref(head.number) },
    failure: inForce.failure,
    files: { href: `${policyHref}/files`, text: counted(inForce.bundle.length, 'file') },
    instances,
    others: instances.filter(({ isSame }) => !isSame).length,
    isFollowing: inForce.revision !== undefined && Math.abs(now - inForce.revision.published.at) < followWithinMs,
    drafts: rows.filter(isOpen),
    ended: rows.filter((row, index) => !isOpen(row, index)),
    draftsNext: drafts.next === null ? undefined : `${policyHref}?${new URLSearchParams({ drafts: drafts.next })}#drafts`,
    draftsFirst: drafts.isFirst ? undefined : `${policyHref}#drafts`,
    history: (history?.entries ?? []).map((revision) => describeRevisionRow(revision, { now, current })),
    historyNext:
      history === undefined || history.next === null
        ? undefined
        : `${policyHref}?${new URLSearchParams({ history: history.next })}#history`,
    historyFirst: history === undefined || history.isFirst ? undefined : `${policyHref}#history`,
    mayBegin,
    begin,
  }
}

/** A revision as a row of the history. `current`: the one in force here. */
export function describeRevisionRow(
  revision: RevisionStatement,
  { current, now }: { readonly now: number; readonly current: number | undefined },
): RevisionRow {
  const { approvals, comment, difference, number, published, restores, tests } = revision
  return {
    number,
    href: revisionHref(number),
    comment,
    published: describeAuthor(published, now),
    changes: counted(difference.length, 'change'),
    tests: testsBadge(tests),
    approvals: approvals.map((approval) => describeAuthor(approval, now)),
    restores: restores === null ? undefined : { number: restores, href: revisionHref(restores) },
    isInForce: number === current,
  }
}

/** Tests of a revision, or of a draft. */
export function testsBadge(tests: { readonly passed: number; readonly failed: number } | null): Badge {
  if (tests === null) return { tone: 'quiet', word: 'no tests' }
  return tests.failed === 0
    ? { tone: 'good', word: `${counted(tests.passed, 'test')} passed` }
    : { tone: 'bad', word: `${counted(tests.failed, 'test')} of ${tests.passed + tests.failed} failed` }
}

function describeDraftRow(
  { approvals, base, begun, changed, comment, id, state }: DraftStatement,
  { head, now }: { readonly now: number; readonly head: number | undefined },
): DraftRow {
  return {
    href: draftHref(id),
    comment,
    badge: draftBadges[state],
    begun: describeAuthor(begun, now),
    changed: describeAuthor(changed, now),
    from: base.revision === null ? 'the files' : `revision ${base.revision}`,
    isBehind: base.revision !== null && head !== undefined && base.revision !== head,
    approvals: approvals.length,
  }
}

/** The owner of a file is all that a file system knows. */
function describeFilesChange({ at, by }: NonNullable<PolicyInForce['changed']>, now: number): AuthorView {
  return describeAuthor({ by, label: by.replace(/^file:/, ''), at: new Date(at).toISOString() }, now)
}
