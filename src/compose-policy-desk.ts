/**
 * The part of the composition root about changing the policy: drafts, publishing, and what pages and the API need of both.
 *
 * Whatever is published has been judged as an instance judges it, and what would shut people out was confirmed in words; where the policy is files
 * there are drafts, and publishing refuses. Nothing that is published here is in force before the instance has heard of it like all others.
 */

import { createPolicyDrafts } from './administration/policy-drafts.ts'
import type { PolicyDrafts, PolicyRevisions } from './administration/policy-history.ts'
import type { PublishingParts } from './administration/policy-publishing.ts'
import { createPublishing } from './administration/policy-publishing.ts'
import type { Publishing } from './administration/policy-publishing-answers.ts'
import type { MayStill } from './administration/standing-people.ts'
import { createMakerFinder } from './administration/token-makers.ts'
import type { Tokens } from './administration/tokens.ts'
import type { AdministrativeEvent } from './audit/event.ts'
import type { ConsoleTheme } from './compose-console.ts'
import type { ComposedPolicy } from './compose-policy.ts'
import type { InstanceConfiguration } from './config/instance.ts'
import { createPolicyHistoryOperations } from './control/operations/policy-history.ts'
import type { CurrentKeys } from './keys.ts'
import type { Logger } from './log.ts'
import type { SessionStore } from './session/store.ts'

export interface ComposePolicyDeskParts {
  readonly configuration: Pick<InstanceConfiguration, 'policyMode' | 'policyTwoPerson'>
  readonly policy: Pick<ComposedPolicy, 'inForce' | 'judge' | 'revisions'>
  readonly store: SessionStore
  readonly keys: CurrentKeys
  readonly log: Logger
  readonly tokens: Pick<Tokens, 'list'>
  readonly findGates: PublishingParts['findGates']
  /** Whether whoever approved may still approve. */
  readonly mayStill: MayStill
  /** Rejects with `audit_unavailable`. */
  readonly recordFirst: (event: AdministrativeEvent) => Promise<void>
}

export interface PolicyDesk {
  readonly drafts: PolicyDrafts
  readonly publishing: Publishing
  readonly history: ReturnType<typeof createPolicyHistoryOperations>
  readonly theme: ConsoleTheme
}

/** Connects it. Holds nothing that needs closing. */
export function composePolicyDesk({
  configuration,
  findGates,
  mayStill,
  policy,
  recordFirst,
  tokens,
  ...sealed
}: ComposePolicyDeskParts): PolicyDesk {
  const { judge, revisions } = policy
  const drafts = createPolicyDrafts({ ...sealed, recordFirst })
  const inForce = async () => policy.inForce()
  const publishing = createPublishing({
    mode: configuration.policyMode,
    revisions: revisions ?? noRevisions,
    drafts,
    judge,
    inForce,
    isTwoPerson: configuration.policyTwoPerson,
    findGates,
    findTokenMakers: createMakerFinder(tokens),
    mayStillApprove: (actor) => mayStill(actor, 'policy:approve'),
    recordFirst,
  })
  const history = createPolicyHistoryOperations({ publishing, revisions, drafts, inForce })
  return { drafts, publishing, history, theme: { operations: Object.values(history), mount: () => undefined } }
}

/** With files nothing is published, and nobody asks. */
const noRevisions: PolicyRevisions = {
  head: async () => undefined,
  load: async () => undefined,
  list: async () => [],
  publish: async () => ({ outcome: 'moved_on', head: undefined }),
}
