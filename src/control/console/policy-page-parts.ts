/**
 * What the pages of the policy share: their ports, their addresses, who did something as it is shown, and what becomes of a refusal.
 *
 * Comments, labels and paths were written by people, some of them outside of this company's console: they are text for the template to escape. An
 * address is made of numbers, ids and paths that went through `encodeURIComponent`.
 */

import type { ActivityDigest } from '../../administration/activity.ts'
import type { LiveInstance } from '../../administration/errands.ts'
import type { PolicyDrafts, PolicyInForce, PolicyRevisions } from '../../administration/policy-history.ts'
import type { Publishing } from '../../administration/policy-publishing-answers.ts'
import type { AuthorshipStatement, DraftStatement } from '../../administration/policy-statements.ts'
import type { PolicyDocument } from '../../policy/document.ts'
import { type CarryOut, type Refused, statusByProblem } from '../operations/operation.ts'
import type { createPolicyHistoryOperations } from '../operations/policy-history.ts'
import type { PolicyTrialOperations } from '../operations/policy-trial.ts'
import type { WhatIfOperations } from '../operations/what-if.ts'
import type { ConsoleAnswer } from './console-page.ts'
import { type InstantView, instantView } from './instants.ts'
import type { Badge } from './trail-content.ts'

export type PolicyHistoryOperations = ReturnType<typeof createPolicyHistoryOperations>

/** What the pages of the policy, its revisions and its drafts need. */
export interface PolicyPagesPorts {
  readonly carryOut: CarryOut
  readonly history: PolicyHistoryOperations
  readonly trial: PolicyTrialOperations
  readonly whatIf: WhatIfOperations
  readonly inForce: () => Promise<PolicyInForce>
  readonly drafts: Pick<PolicyDrafts, 'load'>
  /** `undefined` where the policy is files. */
  readonly revisions: Pick<PolicyRevisions, 'head' | 'load'> | undefined
  readonly isTwoPerson: boolean
  /** As publishing judges them: nobody is offered to approve what they had a hand in, or to publish what would be refused. */
  readonly judgeApprovals: Publishing['judgeApprovals']
  /** Of the errands: for which policy each instance decides by. */
  readonly instances: () => Promise<readonly LiveInstance[]>
  /** The policy in force, for the names of its apps. */
  readonly document: () => PolicyDocument
  readonly digest: Pick<ActivityDigest, 'seen'>
}

export const policyHref = '/console/policy'
export const whatIfHref = `${policyHref}/what-if`

export function revisionHref(number: number): string {
  return `${policyHref}/revisions/${number}`
}

export function draftHref(id: string): string {
  return `${policyHref}/drafts/${encodeURIComponent(id)}`
}

/** Who did something, and when, as pages say it. */
export interface AuthorView {
  readonly label: string
  /** As the trail says it, where that is something else. */
  readonly actor: string | undefined
  readonly time: InstantView | undefined
}

export function describeAuthor({ at, by, label }: AuthorshipStatement, now: number): AuthorView {
  return { label, actor: by === label || by === `file:${label}` ? undefined : by, time: instantView(Date.parse(at), now) }
}

export const draftBadges: Readonly<Record<DraftStatement['state'], Badge>> = {
  open: { tone: 'info', word: 'open' },
  proposed: { tone: 'warn', word: 'waits for approval' },
  published: { tone: 'good', word: 'published' },
  discarded: { tone: 'quiet', word: 'discarded' },
}

/** `1 app`, `2 apps`. */
export function counted(count: number, one: string, many = `${one}s`): string {
  return `${count.toLocaleString('en-GB')} ${count === 1 ? one : many}`
}

/** The sentence for a field of a form, if the refusal has one. */
export function sentenceAt(refusal: Refused | undefined, field: string): string | undefined {
  const fields: unknown = refusal?.detail?.['fields']
  if (typeof fields !== 'object' || fields === null || !Object.hasOwn(fields, field)) return undefined
  const sentence = (fields as Readonly<Record<string, unknown>>)[field]
  return typeof sentence === 'string' ? sentence : undefined
}

/** The status of a page that shows a refusal beside what was typed; `undefined`: this refusal is a page of its own. */
export function statusOfShown({ problem }: Refused): 400 | 409 | 422 | undefined {
  const status = statusByProblem[problem]
  return status === 400 || status === 409 || status === 422 ? status : undefined
}

/** The refusal as its own page; of what is not there, that page. */
export function refusedAnswer(refusal: Refused): ConsoleAnswer {
  return refusal.problem === 'not_found' ? { kind: 'not_found' } : { kind: 'refused', refusal }
}
