/**
 * The part of the composition root about the console's pages of the policy: what is in force, revisions, drafts, what-if.
 *
 * The operations behind them are made with what they are about (`compose-policy-desk.ts`, `compose-trial.ts`); here they get their pages.
 */

import type { ActivityDigest } from './administration/activity.ts'
import type { Errands } from './administration/errands.ts'
import type { ConsoleTheme } from './compose-console.ts'
import type { ComposedPolicy } from './compose-policy.ts'
import type { PolicyDesk } from './compose-policy-desk.ts'
import type { ComposedTrial } from './compose-trial.ts'
import type { InstanceConfiguration } from './config/instance.ts'
import { mountPolicyPages } from './control/console/policy-pages.ts'
import type { CarryOut } from './control/operations/operation.ts'

export interface ComposePolicyPagesParts {
  readonly configuration: Pick<InstanceConfiguration, 'policyTwoPerson'>
  readonly policy: Pick<ComposedPolicy, 'inForce' | 'revisions' | 'document'>
  readonly desk: Pick<PolicyDesk, 'drafts' | 'history' | 'publishing'>
  readonly trial: Pick<ComposedTrial, 'trial' | 'whatIf'>
  readonly errands: Pick<Errands, 'instances'>
  readonly activity: Pick<ActivityDigest, 'seen'>
  readonly carryOut: CarryOut
}

/** Connects them. Their operations are those of the desk and of the trial. */
export function composePolicyPages(parts: ComposePolicyPagesParts): ConsoleTheme {
  const { activity, carryOut, configuration, desk, errands, policy, trial } = parts
  return {
    operations: [],
    mount: (routes) =>
      mountPolicyPages(routes, {
        ...{ carryOut, history: desk.history, trial: trial.trial, whatIf: trial.whatIf },
        inForce: async () => policy.inForce(),
        drafts: desk.drafts,
        revisions: policy.revisions,
        isTwoPerson: configuration.policyTwoPerson,
        judgeApprovals: desk.publishing.judgeApprovals,
        instances: errands.instances,
        document: policy.document,
        digest: activity,
      }),
  }
}
