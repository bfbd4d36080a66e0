/**
 * Trying a draft before anybody is subject to it: what the judge says, whom it would shut out, and what it would have changed for the requests on
 * record.
 *
 * Nothing here changes a draft or the policy, so whoever may read the policy may try one. What an impact lists is about other people: it needs
 * the right to read the trail besides, and is on record (`data.read`) before it begins and before any of it is handed out.
 */

import { z } from 'zod'
import type { ImpactRuns } from '../../administration/impact-runs.ts'
import type { TryDraft } from '../../administration/trial-draft.ts'
import { defineOperation, done, refused } from './operation.ts'
import { draftId } from './policy-history-schemas.ts'
import { describeImpact, describeTrial, impactOutput, readSince, sinceInput, trialOutput } from './policy-trial-schemas.ts'
import type { RecordFirst } from './trail.ts'

const impactId = z
  .string()
  .regex(/^[\w-]{16,64}$/)
  .meta({ description: 'As it was given when it was begun.' })

/** What the operations need. */
export interface PolicyTrialOperationsPorts {
  readonly tryDraft: TryDraft
  readonly impacts: ImpactRuns
  readonly recordFirst: RecordFirst
  /** Epoch milliseconds. */
  readonly now: () => number
}

const draftUnknown = refused('not_found', 'There is no such draft.')

/** The operations that try a draft. */
export function createPolicyTrialOperations({ impacts, now, recordFirst, tryDraft }: PolicyTrialOperationsPorts) {
  return {
    try: defineOperation({
      id: 'policy.try',
      summary: 'Try a draft',
      description:
        'Judges a draft as an instance would before putting it in force: problems, warnings, its own tests, the difference against the policy in force, names that nobody here ever carried, and what would have to be typed to publish it, found from the requests of the last 24 hours. Changes nothing.',
      method: 'POST',
      path: '/policy/drafts/{draft}/try',
      permission: 'policy:read',
      input: z.strictObject({ draft: draftId }),
      output: trialOutput,
      problems: ['not_found'],
      async carryOut({ draft }, asker) {
        const trial = await tryDraft(draft, asker)
        return trial === undefined ? draftUnknown : done(describeTrial(trial))
      },
    }),

    startImpact: defineOperation({
      id: 'policy.impact_start',
      summary: 'Begin to find the impact of a draft',
      description:
        'Every instance decides the requests of its own trail again under the draft, in the background: who would lose what, who would gain what. The id is asked with for the result, and forgotten after an hour. The draft must be without problems. Recorded as `data.read`.',
      method: 'POST',
      path: '/policy/drafts/{draft}/impact',
      permission: 'audit:read',
      input: z.strictObject({ draft: draftId, since: sinceInput.default('24h') }),
      output: z.strictObject({ id: z.string() }),
      problems: ['malformed', 'not_permitted', 'not_found', 'policy_refused'],
      async carryOut({ draft, since: given }, { actor, permissions }) {
        if (!permissions.has('policy:read')) return notPermitted
        const until = now()
        const since = readSince(given, until)
        if (since === undefined) {
          const message = 'From one hour to 400 days ago.'
          return refused('malformed', message, { fields: { since: message } })
        }
        await recordFirst({ event: 'data.read', actor, what: 'impact', target: draft, entries: undefined })
        const begun = await impacts.begin({ draft, since, until }, actor)
        if (begun === 'unknown') return draftUnknown
        return begun === 'refused'
          ? refused('policy_refused', 'The draft has problems: mend them first, and see what it would change then.')
          : done({ id: begun.id })
      },
    }),

    impact: defineOperation({
      id: 'policy.impact',
      summary: 'The impact of a draft',
      description:
        'How far each instance is and, once all are done or gone, who would lose and who would gain what: the answer of `postern replay --json` over the trails of all instances. An instance that did not answer is named in `silent`. Handing out a result is recorded as `data.read`.',
      method: 'GET',
      path: '/policy/drafts/{draft}/impact',
      permission: 'audit:read',
      input: z.strictObject({
        draft: draftId,
        id: impactId,
        limit: z.coerce.number().int().min(1).max(10_000).default(200).meta({ description: 'Entries of each list.' }),
      }),
      output: impactOutput,
      problems: ['not_permitted', 'not_found'],
      async carryOut({ draft, id, limit }, { actor, permissions }) {
        if (!permissions.has('policy:read')) return notPermitted
        const run = await impacts.look(id)
        if (run === undefined || run.asked.draft !== draft) return refused('not_found', 'This impact is not known any more. Begin another.')
        const described = describeImpact(run, limit)
        const { result } = described
        const entries = result === null ? 0 : result.loses.length + result.gains.length + result.shifts.length
        if (result !== null) await recordFirst({ event: 'data.read', actor, what: 'impact', target: draft, entries })
        return done(described)
      },
    }),

    cancelImpact: defineOperation({
      id: 'policy.impact_cancel',
      summary: 'End an impact',
      description: 'Ends it on every instance; what was found is thrown away. One that is not known is ended already.',
      method: 'DELETE',
      path: '/policy/drafts/{draft}/impact',
      permission: 'audit:read',
      input: z.strictObject({ draft: draftId, id: impactId }),
      output: z.strictObject({}),
      problems: ['not_permitted'],
      async carryOut({ draft, id }, { permissions }) {
        if (!permissions.has('policy:read')) return notPermitted
        const run = await impacts.look(id)
        if (run?.asked.draft === draft) await impacts.cancel(id)
        return done({})
      },
    }),
  }
}

const notPermitted = refused('not_permitted', 'This needs the right to read the policy besides.')

export type PolicyTrialOperations = ReturnType<typeof createPolicyTrialOperations>
