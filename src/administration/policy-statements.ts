/**
 * Policies, revisions and drafts as the API and commands state them: JSON in snake_case, instants in RFC 3339, what is not there `null`.
 *
 * Files are text where they are text, so that a person can read the answer, and base64 where they are not. What comes in as files is a stranger's
 * word: anything but files within the bounds, with names that a file may have, is `undefined`.
 */

import { type Bundle, type BundleFile, toBundle } from './policy-bundle.ts'
import { isFitBundle } from './policy-files.ts'
import type { Authorship, DraftFacts, PolicyInForce, RevisionFacts, TestOutcome } from './policy-history.ts'
import { isText } from './policy-merge.ts'
import type { Published } from './policy-publishing-answers.ts'

/** Who, and when. */
export interface AuthorshipStatement {
  readonly by: string
  readonly label: string
  readonly at: string
}

/** A revision without its files. */
export interface RevisionStatement {
  readonly number: number
  readonly hash: string
  readonly policy_version: string
  readonly published: AuthorshipStatement
  readonly comment: string
  readonly predecessor: number | null
  readonly difference: readonly string[]
  readonly tests: TestOutcome | null
  readonly approvals: readonly AuthorshipStatement[]
  readonly restores: number | null
}

/** A draft without its files. */
export interface DraftStatement {
  readonly id: string
  readonly comment: string
  readonly begun: AuthorshipStatement
  readonly changed: AuthorshipStatement
  readonly state: DraftFacts['state']
  readonly base: { readonly revision: number | null; readonly policy_version: string; readonly hash: string }
  readonly hash: string
  readonly approvals: readonly AuthorshipStatement[]
  readonly version: number
  readonly published: number | null
}

/** One file of a policy. */
export type FileStatement = { readonly path: string; readonly text: string } | { readonly path: string; readonly base64: string }

/** The answer to `GET /api/v1/policy`. */
export interface PolicyStatement {
  readonly mode: PolicyInForce['mode']
  readonly policy_version: string
  /** `null` where the policy is files. */
  readonly revision: RevisionStatement | null
  /** Of files, as far as it can be found out: whose the last changed one is, and when it was. */
  readonly changed: Pick<AuthorshipStatement, 'by' | 'at'> | null
  /** Why the newest is not in force; `null` while it is. */
  readonly failure: string | null
  readonly files: readonly FileStatement[]
}

/** The answer to whoever publishes, restores or pushes. */
export interface PublishedStatement {
  readonly outcome: 'published' | 'drafted' | 'unchanged'
  readonly revision: RevisionStatement | null
  readonly draft: DraftStatement | null
}

/** States a revision. */
export function stateRevision(facts: RevisionFacts): RevisionStatement {
  const { approvals, comment, difference, hash, number, policyVersion, predecessor, published, restores, tests } = facts
  return {
    number,
    hash,
    policy_version: policyVersion,
    published: stateAuthorship(published),
    comment,
    predecessor: predecessor ?? null,
    difference,
    tests: tests ?? null,
    approvals: approvals.map(stateAuthorship),
    restores: restores ?? null,
  }
}

/** States a draft. */
export function stateDraft({ base, ...facts }: DraftFacts): DraftStatement {
  const { approvals, begun, changed, comment, hash, id, published, state, version } = facts
  return {
    id,
    comment,
    begun: stateAuthorship(begun),
    changed: stateAuthorship(changed),
    state,
    base: { revision: base.revision ?? null, policy_version: base.policyVersion, hash: base.hash },
    hash,
    approvals: approvals.map(stateAuthorship),
    version,
    published: published ?? null,
  }
}

/** States what is in force, with its files. */
export function statePolicy({ bundle, changed, failure, mode, policyVersion, revision }: PolicyInForce): PolicyStatement {
  return {
    mode,
    policy_version: policyVersion,
    revision: revision === undefined ? null : stateRevision(revision),
    changed: changed === undefined ? null : { by: changed.by, at: new Date(changed.at).toISOString() },
    failure: failure ?? null,
    files: stateFiles(bundle),
  }
}

/** States what became of a publication. */
export function statePublished(published: Exclude<Published, { readonly outcome: 'refused' }>): PublishedStatement {
  return {
    outcome: published.outcome,
    revision: published.outcome === 'drafted' ? null : stateRevision(published.revision),
    draft: published.outcome === 'drafted' ? stateDraft(published.draft) : null,
  }
}

/** States files: the inverse of `parseFiles`. */
export function stateFiles(bundle: Bundle): readonly FileStatement[] {
  return bundle.map(({ content, path }) =>
    isText(content) ? { path, text: content.toString() } : { path, base64: content.toString('base64') },
  )
}

/** The bundle that was stated; `undefined` for anything that is none. */
export function parseFiles(files: unknown): Bundle | undefined {
  if (!Array.isArray(files)) return undefined
  const parsed: BundleFile[] = []
  for (const file of files as readonly unknown[]) {
    if (typeof file !== 'object' || file === null) return undefined
    const { base64, path, text } = file as Readonly<Record<string, unknown>>
    const content = typeof text === 'string' ? Buffer.from(text) : typeof base64 === 'string' ? Buffer.from(base64, 'base64') : undefined
    if (typeof path !== 'string' || content === undefined || (text !== undefined && base64 !== undefined)) return undefined
    parsed.push({ path, content })
  }
  const bundle = toBundle(parsed)
  return isFitBundle(bundle) ? bundle : undefined
}

function stateAuthorship({ at, by, label }: Authorship): AuthorshipStatement {
  return { by, label, at: new Date(at).toISOString() }
}
