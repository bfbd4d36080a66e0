/**
 * What is done with a draft: merged, proposed, approved, published, discarded, and its impact begun. One form each.
 *
 * Every form names what was looked at, its version or the hash of its files: what somebody else did meanwhile is never overwritten, approved or
 * published unseen. Where something is refused the page of the draft says so beside what was typed.
 */

import type { Outcome } from '../operations/operation.ts'
import type { ConsoleAnswer, ConsoleRequest, ConsoleRoutes, Notice } from './console-page.ts'
import { confirmationsOf, noGates, readGates, type TypedGates } from './draft-gates-content.ts'
import { draftPattern, type ShowDraft } from './draft-pages.ts'
import { versionOf } from './editor-draft.ts'
import { draftHref, type PolicyPagesPorts, refusedAnswer, revisionHref, sentenceAt, statusOfShown } from './policy-page-parts.ts'

const mostFormBytes = 64 * 1024

/** Adds the forms of a draft. */
export function mountDraftActions(routes: ConsoleRoutes, ports: PolicyPagesPorts, show: ShowDraft): void {
  const { carryOut, history, isTwoPerson, trial } = ports
  const idOf = ({ params }: ConsoleRequest) => params['draft'] ?? ''

  /** The next page, or the page of the draft with why not. */
  async function answer<T>(
    request: ConsoleRequest,
    outcome: Outcome<T>,
    done: (value: T) => { readonly to: string; readonly notice: Notice },
    typed: { readonly comment?: string; readonly gates?: TypedGates } = {},
  ): Promise<ConsoleAnswer> {
    if (outcome.outcome === 'done') return { kind: 'redirect', ...done(outcome.value) }
    if (statusOfShown(outcome) === undefined || outcome.problem === 'policy_is_files') return refusedAnswer(outcome)
    return show(request, { attempt: { comment: typed.comment, gates: typed.gates ?? noGates, refusal: outcome } })
  }

  const stay = (request: ConsoleRequest, tone: Notice['tone'], text: string) => () => ({
    to: draftHref(idOf(request)),
    notice: { tone, text },
  })

  routes.post(
    `${draftPattern}/publish`,
    'policy:publish',
    async (request, form) => {
      const gates = readGates(form)
      const comment = form.get('comment')?.trim()
      // Where two people are needed, the comment is the one that was approved.
      const said = comment === undefined || isTwoPerson ? {} : { comment }
      const input = { draft: idOf(request), hash: form.get('hash') ?? '', confirmations: confirmationsOf(gates), ...said }
      const published = await carryOut(history.publishDraft, input, request.asker)
      const done = ({ revision }: { readonly revision: { readonly number: number } | null }) => ({
        to: revisionHref(revision?.number ?? 0),
        notice: { tone: 'good' as const, text: `Revision ${revision?.number ?? 0} is published. Every instance follows within a second.` },
      })
      return answer(request, published, done, { gates, ...said })
    },
    { limitBytes: mostFormBytes },
  )

  routes.post(`${draftPattern}/merge`, 'policy:write', async (request, form) => {
    const merged = await carryOut(history.mergeDraft, { draft: idOf(request), version: versionOf(form) }, request.asker)
    return answer(request, merged, ({ conflicts }) =>
      conflicts.length === 0
        ? stay(request, 'good', 'Merged, without a conflict. Look at what the draft says now, and try it again.')()
        : stay(request, 'info', 'Merged, with conflicts: decide in the files which lines stay.')(),
    )
  })

  routes.post(`${draftPattern}/propose`, 'policy:write', async (request, form) => {
    const proposed = await carryOut(history.proposeDraft, { draft: idOf(request), version: versionOf(form) }, request.asker)
    return answer(request, proposed, stay(request, 'good', 'The draft waits for another admin to approve it.'))
  })

  routes.post(`${draftPattern}/approve`, 'policy:approve', async (request, form) => {
    const approved = await carryOut(history.approveDraft, { draft: idOf(request), hash: form.get('hash') ?? '' }, request.asker)
    return answer(request, approved, stay(request, 'good', 'You approved exactly what the draft says now.'))
  })

  routes.post(`${draftPattern}/discard`, 'policy:write', async (request, form) => {
    const discarded = await carryOut(history.discardDraft, { draft: idOf(request), version: versionOf(form) }, request.asker)
    return answer(request, discarded, stay(request, 'info', 'The draft is discarded. It can be read for 30 days.'))
  })

  routes.post(`${draftPattern}/impact`, 'audit:read', async (request, form) => {
    const since = form.get('since') ?? ''
    const begun = await carryOut(trial.startImpact, { draft: idOf(request), since }, request.asker)
    if (begun.outcome === 'done') {
      const query = new URLSearchParams({ impact: begun.value.id, since })
      return { kind: 'redirect', to: `${draftHref(idOf(request))}?${query}#impact` }
    }
    if (statusOfShown(begun) === undefined || !request.may('policy:read')) return refusedAnswer(begun)
    return show(request, { impactProblem: sentenceAt(begun, 'since') ?? begun.message, since })
  })
}
