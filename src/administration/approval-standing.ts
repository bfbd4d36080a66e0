/**
 * Whose approvals of a draft count now, and how many are needed: what publishing goes by, and what its page says before.
 *
 * Nobody approves what they had a hand in, by themselves or by a token that they made or rotated. An account of an operating system
 * (`os:<user>@<host>`) cannot be told apart from a person of the console: whoever wrote on a command line may be anybody who approves. What such
 * an account had a hand in therefore needs two approvals, by two persons: whoever it is, somebody else agreed. Of a token whose makers are not
 * known any more nothing can be said, and nobody approves what it wrote. An approval lasts for as long as whoever gave it may approve.
 */

import type { Authorship, DraftFacts } from './policy-history.ts'
import { tokenIdOf, unknownMaker } from './token-makers.ts'

/** What it is judged by. */
export interface ApprovalParts {
  /** Whoever may have the text of `token:<id>`, down to the people behind other tokens; `unknownMaker` among them where that cannot be told. */
  readonly findTokenMakers: (actor: string) => Promise<readonly string[]>
  /** Whether the person `person:<sub>` is still somebody who may approve; `false` where it cannot be told. */
  readonly mayStillApprove: (actor: string) => Promise<boolean>
}

/** How a draft stands. */
export interface ApprovalStanding {
  /** Those that count. */
  readonly approvals: readonly Authorship[]
  /** Those that did, by people who may not approve any more. */
  readonly lapsed: readonly Authorship[]
  /** How many have to count. */
  readonly needed: 1 | 2
  /** Accounts of operating systems that had a hand in it, because of which it needs two. */
  readonly accounts: readonly string[]
  /** Somebody had a hand in it of whom nothing is known: then nobody can approve it. */
  readonly isOfUnknown: boolean
  readonly isApproved: boolean
  /** Whether this actor had a hand in it, or may have had. */
  hasHand(actor: string): boolean
}

/** Judges the approvals of a draft, or of one that is about to be given. */
export async function judgeApprovals(
  { approvals, contributors }: Pick<DraftFacts, 'approvals' | 'contributors'>,
  parts: ApprovalParts,
): Promise<ApprovalStanding> {
  const makers = new Set(contributors)
  for (const actor of contributors) {
    if (tokenIdOf(actor) !== undefined) for (const maker of await parts.findTokenMakers(actor)) makers.add(maker)
  }
  const isOfUnknown = makers.has(unknownMaker)
  const accounts = [...makers].filter((actor) => actor !== unknownMaker && !/^(?:person|token):/.test(actor))
  const needed = accounts.length === 0 ? 1 : 2
  const hasHand = (actor: string) => isOfUnknown || makers.has(actor)
  const byOthers = approvals.filter(({ by }) => !hasHand(by))
  const standing = await Promise.all(byOthers.map(({ by }) => parts.mayStillApprove(by)))
  const counting = byOthers.filter((_, index) => standing[index] === true)
  return {
    approvals: counting,
    lapsed: byOthers.filter((_, index) => standing[index] !== true),
    needed,
    accounts,
    isOfUnknown,
    isApproved: new Set(counting.map(({ by }) => by)).size >= needed,
    hasHand,
  }
}
