/**
 * A question of what would be, and its answer, in JSON: who, where, on what and when, and what the policy in force and a draft say to it.
 */

import { z } from 'zod'
import type { WhatIfAnswer, WhatIfVerdict } from '../../administration/what-if.ts'
import { instantText, toInstant } from './paging.ts'
import { draftId, versionText } from './policy-history-schemas.ts'
import { describeFacts, describeRules, reasonWords, ruleOutput, silentOutput } from './trail-schemas.ts'

const text = (longest: number, description: string) => z.string().trim().min(1).max(longest).optional().meta({ description })
const list = (longest: number, description: string) =>
  z.array(z.string().trim().min(1).max(longest)).max(200).optional().meta({ description })

/** Either `request`, or `who` and `url` with the circumstances. What is left out is unknown, and assumed in nobody's favour. */
export const whatIfInput = z.strictObject({
  draft: draftId.optional().meta({ description: 'A draft that is asked besides the policy in force.' }),
  request: text(128, 'Id of a recorded request, in place of everything below.'),
  who: text(2_048, 'A person’s reference, e-mail address or `sub`; `service:NAME`; or `nobody`.'),
  url: text(8_192, 'What they would open.'),
  method: z.string().trim().min(1).max(32).default('GET'),
  websocket: z.boolean().default(false).meta({ description: 'A WebSocket handshake.' }),
  groups: list(1_024, 'In place of the groups last seen.'),
  acr: text(1_024, 'Authentication context class of the sign-in.'),
  amr: list(256, 'Authentication methods of the sign-in.'),
  signed_in_ago: text(16, 'Age of the authentication, such as `10m`.'),
  device: text(256, 'Id of a device of the inventory.'),
  address: text(64, 'The client’s address; 192.0.2.1 if left out.'),
  country: text(8, 'A code such as `DE`, or `none`; in place of what the database says.'),
  user_agent: text(2_048, 'User-Agent header.'),
  at: z.iso
    .datetime({ offset: true, error: 'Write a time such as 2026-11-25T22:00:00+01:00.' })
    .optional()
    .meta({ description: 'An instant; now, if left out.' }),
})

export type WhatIfInput = z.output<typeof whatIfInput>

const verdict = z.strictObject({
  policy_version: versionText,
  app: z.string().nullable().meta({ description: 'Id of the app that would answer.' }),
  effect: z.enum(['allow', 'challenge', 'deny']).nullable().meta({ description: 'Null where it cannot be told: see `gap`.' }),
  reason: z.string().nullable(),
  reason_words: z.string(),
  rule: z.string().nullable(),
  step_up: z
    .strictObject({ acr_values: z.array(z.string()).readonly(), max_age_seconds: z.number().nullable() })
    .nullable()
    .meta({ description: 'What a sign-in would have to be, of a challenge.' }),
  without_report: z
    .strictObject({ effect: z.string(), reason: z.string(), rule: z.string().nullable() })
    .nullable()
    .meta({ description: 'What it would be if nothing were in report mode; null where that is the same.' }),
  gap: z.string().nullable().meta({ description: 'Why it cannot be told.' }),
  rules: z.array(ruleOutput).meta({ description: 'Every rule with every condition, the deciding one first.' }),
})

export const whatIfOutput = z.strictObject({
  at: instantText.meta({ description: 'The instant that is decided for, and that ages are counted from.' }),
  notes: z.array(z.string()).meta({ description: 'What the facts rest on.' }),
  recorded: z
    .strictObject({
      request: z.string(),
      instance: z.string(),
      effect: z.string(),
      reason: z.string(),
      reason_words: z.string(),
      rule: z.string().nullable(),
      policy: z.string(),
      at: instantText,
    })
    .nullable()
    .meta({ description: 'Of a recorded request: what was decided then.' }),
  in_force: verdict,
  draft: verdict.extend({ id: z.string(), hash: z.string() }).nullable(),
  differs: z
    .array(z.string())
    .meta({ description: 'What the draft says otherwise than the policy in force, in sentences; empty: nothing.' }),
  facts: z.array(z.strictObject({ name: z.string(), value: z.string() })).meta({ description: 'What was decided on, as JSON.' }),
  silent: z.array(silentOutput).meta({ description: 'Instances that were asked for the request and did not answer.' }),
})

export type WhatIfOutput = z.output<typeof whatIfOutput>

export function describeWhatIf({ at, differs, draft, facts, inForce, notes, recorded, silent }: WhatIfAnswer): WhatIfOutput {
  return {
    at: toInstant(at),
    notes: [...notes],
    recorded:
      recorded === undefined
        ? null
        : {
            request: recorded.request,
            instance: recorded.instance,
            effect: recorded.effect,
            reason: recorded.reason,
            reason_words: reasonWords(recorded.reason),
            rule: recorded.rule ?? null,
            policy: recorded.policy,
            at: toInstant(recorded.at),
          },
    in_force: describeVerdict(inForce, at),
    draft: draft === undefined ? null : { ...describeVerdict(draft.verdict, at), id: draft.id, hash: draft.hash },
    differs: [...differs],
    facts: describeFacts(facts),
    silent: [...silent],
  }
}

function describeVerdict({ app, effect, explanation, gap, reason, rule, version }: WhatIfVerdict, at: number): z.output<typeof verdict> {
  const decision = explanation?.decision
  const stepUp = decision?.effect === 'challenge' && decision.challenge === 'step_up' ? decision.stepUp : undefined
  const would = decision?.would
  return {
    policy_version: version,
    app: app ?? null,
    effect: effect ?? null,
    reason: reason ?? null,
    reason_words: reason === undefined ? '' : reasonWords(reason),
    rule: rule ?? null,
    step_up: stepUp === undefined ? null : { acr_values: stepUp.acrValues, max_age_seconds: stepUp.maxAgeSeconds ?? null },
    without_report: would === undefined ? null : { effect: would.effect, reason: would.reason, rule: would.rule ?? null },
    gap: gap ?? null,
    rules: explanation === undefined ? [] : describeRules(explanation, at),
  }
}
