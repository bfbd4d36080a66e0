/**
 * What if: what the policy in force, and a draft beside it, would say to a request that nobody has sent, or to one that is on record.
 *
 * Whoever may read the policy may ask about circumstances that they state themselves: nobody, a service. What is known here of a person, of a
 * device or of a recorded request is other people's: that needs the right to read the trail besides, so that a simulator is no way around it (the
 * helpdesk has neither), and is on record (`data.read`) before it is looked up. Rules come from the policy and from drafts alone, never from the
 * question, and are judged by the engine that enforces, within its bounds.
 */

import type { WhatIf } from '../../administration/what-if.ts'
import { defineOperation, done, refused } from './operation.ts'
import type { RecordFirst } from './trail.ts'
import { describeWhatIf, type WhatIfInput, whatIfInput, whatIfOutput } from './what-if-schemas.ts'

/** What the operation needs. */
export interface WhatIfOperationsPorts {
  readonly whatIf: WhatIf
  readonly recordFirst: RecordFirst
  /** Epoch milliseconds. */
  readonly now: () => number
}

/** The operation. */
export function createWhatIfOperations({ now, recordFirst, whatIf }: WhatIfOperationsPorts) {
  return {
    whatIf: defineOperation({
      id: 'policy.what_if',
      summary: 'What would be decided',
      description:
        'Decides a request that nobody sent, under given circumstances, by the policy in force and, if one is named, by a draft beside it: every rule with every condition, what it was judged on, where that came from and how old it is. With `request`, decides a recorded one again. Nothing is changed. Asking about a person, a device or a request needs `audit:read` besides and is recorded as `data.read`.',
      method: 'POST',
      path: '/policy/what-if',
      permission: 'policy:read',
      input: whatIfInput,
      output: whatIfOutput,
      problems: ['malformed', 'not_permitted', 'not_found', 'policy_refused'],
      async carryOut(input, { actor, permissions }) {
        const complaint = findComplaint(input)
        if (complaint !== undefined) return refused('malformed', complaint.message, { fields: { [complaint.field]: complaint.message } })
        const target = targetOf(input)
        if (target !== undefined) {
          if (!permissions.has('audit:read')) {
            const message = 'This needs the right to read the trail: it says what is known of somebody. Ask about `nobody`, or a service.'
            return refused('not_permitted', message, { permission: 'audit:read' })
          }
          await recordFirst({ event: 'data.read', actor, what: 'what_if', target, entries: undefined })
        }
        const { acr, address, amr, country, device, draft, groups, method, request, url, user_agent, websocket, who } = input
        const at = input.at === undefined ? now() : Date.parse(input.at)
        const question =
          request !== undefined
            ? { kind: 'recorded' as const, request }
            : {
                kind: 'given' as const,
                who: who ?? 'nobody',
                url: new URL(url ?? ''),
                method,
                isUpgrade: websocket,
                circumstances: { at, groups, acr, amr, signedInAgo: input.signed_in_ago, device, address, country, userAgent: user_agent },
              }
        const answer = await whatIf(question, draft, actor)
        if (answer.outcome === 'answered') return done(describeWhatIf(answer.answer))
        if (answer.outcome === 'malformed') {
          const message = sentenceOf(answer.message)
          return refused('malformed', message, { fields: { [answer.field]: message } })
        }
        return refused(answer.outcome, sentenceOf(answer.message))
      },
    }),
  }
}

export type WhatIfOperations = ReturnType<typeof createWhatIfOperations>

/** Whom or what it is about that is not the asker's own making; `undefined`: nobody. */
function targetOf({ device, request, who }: WhatIfInput): string | undefined {
  if (request !== undefined) return request
  if (who !== undefined && who !== 'nobody' && !who.startsWith('service:')) return who
  return device
}

function findComplaint({ request, url, who }: WhatIfInput): { readonly field: string; readonly message: string } | undefined {
  if (request !== undefined) {
    if (who === undefined && url === undefined) return undefined
    return { field: 'request', message: 'Ask about a recorded request, or about who and what: not both.' }
  }
  if (who === undefined) return { field: 'who', message: 'Say who: an e-mail address, `service:NAME`, or `nobody`.' }
  if (url === undefined || !URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol))
    return { field: 'url', message: 'Say what they would open, such as https://wiki.corp.example/page.' }
  return undefined
}

function sentenceOf(message: string): string {
  return /[.!?]$/.test(message) ? message : `${message.charAt(0).toUpperCase()}${message.slice(1)}.`
}
