/**
 * The part of the composition root about apps and the editor of the policy: what is listed, what is changed in drafts, and whether an upstream
 * answers.
 *
 * Large documents are worked on in a thread of their own. The check of an upstream goes nowhere that the forwarder would not go.
 */

import type { ActivityDigest } from './administration/activity.ts'
import { isUpstreamFailing } from './administration/attention.ts'
import type { ConsoleTheme } from './compose-console.ts'
import type { ComposedPolicy } from './compose-policy.ts'
import type { PolicyDesk } from './compose-policy-desk.ts'
import { createUpstreamLookup } from './compose-reach.ts'
import type { InstanceConfiguration } from './config/instance.ts'
import { mountAppsPages } from './control/console/apps-pages.ts'
import { mountEditorAppPages } from './control/console/editor-app-pages.ts'
import type { EditorPagesPorts } from './control/console/editor-draft.ts'
import { mountEditorPages } from './control/console/editor-pages.ts'
import { mountLevelPages } from './control/console/rule-level-pages.ts'
import { mountRulePages } from './control/console/rule-pages.ts'
import { createAppsOperations, type UpstreamHealth } from './control/operations/apps.ts'
import { createAppHistory } from './control/operations/apps-history.ts'
import type { CarryOut } from './control/operations/operation.ts'
import { createPolicyEditOperations } from './control/operations/policy-edit.ts'
import { createDraftDesk } from './control/operations/policy-edit-desk.ts'
import { createPolicyEditing } from './policy-editing.ts'
import { createRateLimit } from './rate-limits.ts'

export interface ComposeAppsParts {
  readonly configuration: InstanceConfiguration
  readonly policy: ComposedPolicy
  readonly desk: Pick<PolicyDesk, 'drafts' | 'publishing'>
  readonly activity: ActivityDigest
  readonly deviceWords: EditorPagesPorts['deviceWords']
  readonly carryOut: CarryOut
  readonly now: () => number
}

/** Somebody who fills in a form tries a handful of addresses; a scan of the inner network is more. */
const upstreamChecksPerMinute = 20

/** Connects it. */
export function composeApps({ activity, carryOut, configuration, desk, deviceWords, now, policy }: ComposeAppsParts): ConsoleTheme {
  const editor = createPolicyEditing()
  const draftDesk = createDraftDesk({ drafts: desk.drafts, begin: desk.publishing.begin, editor })
  const checks = createRateLimit({ points: upstreamChecksPerMinute, seconds: 60 })
  const operations = createAppsOperations({
    document: policy.document,
    digest: activity,
    upstreamHealth: (app) => healthOf(activity, app, now()),
    lastChanges: createAppHistory(policy.revisions),
    reach: createUpstreamLookup(configuration),
    limitChecks: (actor) => checks.consume(actor),
    desk: draftDesk,
  })
  const editing = createPolicyEditOperations({ desk: draftDesk })
  const pages: EditorPagesPorts = {
    ...{ operations: editing, carryOut, desk: draftDesk, editor, judge: policy.judge, digest: activity, deviceWords },
    strengths: [...configuration.provider.strengths.keys()],
  }
  return {
    operations: [...Object.values(operations), ...Object.values(editing)],
    mount(routes) {
      const inForce = async () => policy.inForce()
      mountAppsPages(routes, { operations, carryOut, inForce, desk: draftDesk, editor, digest: activity })
      mountEditorPages(routes, pages)
      mountEditorAppPages(routes, pages)
      mountRulePages(routes, pages)
      mountLevelPages(routes, pages)
    },
    close: () => editor.close(),
  }
}

/** As requests of late found it. */
function healthOf(activity: ActivityDigest, app: string, now: number): UpstreamHealth {
  const counted = activity.apps().get(app)
  if (counted === undefined || counted.allowed === 0) return { state: 'unknown', detail: undefined }
  if (!isUpstreamFailing(counted, now)) return { state: 'good', detail: undefined }
  const { allowed, upstreamFailures } = counted
  return { state: 'failing', detail: `${upstreamFailures} of ${Math.max(allowed, upstreamFailures)} requests got an error` }
}
