/**
 * `/console/policy`: what is in force, the drafts, the history; and from here a draft is begun. Adds every other page of the policy.
 *
 * Where the policy is files there is no history and nothing is published: the page says so, and the operations refuse it.
 */

import type { Refused } from '../operations/operation.ts'
import type { ConsoleAnswer, ConsoleRequest, ConsoleRoutes } from './console-page.ts'
import { mountDraftActions } from './draft-actions.ts'
import { createShowDraft, mountDraftPages } from './draft-pages.ts'
import { describePolicyPage } from './policy-content.ts'
import { mountPolicyFilesPages } from './policy-files-pages.ts'
import { draftHref, type PolicyPagesPorts, policyHref, refusedAnswer, sentenceAt, statusOfShown } from './policy-page-parts.ts'
import { mountRevisionPages } from './revision-pages.ts'
import { mountWhatIfPages } from './what-if-pages.ts'

const draftsOfPage = 50
const revisionsOfPage = 25

/** Adds the pages of the policy, its revisions, its drafts and of what-if. */
export function mountPolicyPages(routes: ConsoleRoutes, ports: PolicyPagesPorts): void {
  const { carryOut, history, inForce, instances, revisions } = ports

  routes.get(policyHref, 'policy:read', (request) => show(request, '', undefined))

  routes.post(`${policyHref}/drafts`, 'policy:write', async (request, form) => {
    const comment = (form.get('comment') ?? '').trim()
    const begun = await carryOut(history.beginDraft, { comment }, request.asker)
    if (begun.outcome === 'refused') return show(request, comment, begun)
    const draft = begun.value.draft
    if (draft === null) throw new TypeError('what was begun is a draft')
    return {
      kind: 'redirect',
      to: draftHref(draft.id),
      notice: { tone: 'good', text: 'The draft is begun. It says what is in force until you change it.' },
    }
  })

  mountPolicyFilesPages(routes, ports)
  mountRevisionPages(routes, ports)
  mountWhatIfPages(routes, ports)
  const showDraft = createShowDraft(ports)
  mountDraftPages(routes, showDraft)
  mountDraftActions(routes, ports, showDraft)

  async function show({ asker, may, now, query }: ConsoleRequest, comment: string, refusal: Refused | undefined): Promise<ConsoleAnswer> {
    const status = refusal === undefined ? 200 : statusOfShown(refusal)
    if (refusal !== undefined && status === undefined) return refusedAnswer(refusal)
    const draftsAfter = query.get('drafts')
    const historyAfter = query.get('history')
    const [policy, head, running, drafts, published] = await Promise.all([
      inForce(),
      revisions?.head(),
      instances(),
      carryOut(history.listDrafts, { limit: draftsOfPage, ...(draftsAfter === null ? {} : { after: draftsAfter }) }, asker),
      revisions === undefined
        ? undefined
        : carryOut(history.listRevisions, { limit: revisionsOfPage, ...(historyAfter === null ? {} : { after: historyAfter }) }, asker),
    ])
    if (drafts.outcome === 'refused') return refusedAnswer(drafts)
    if (published?.outcome === 'refused') return refusedAnswer(published)
    const content = describePolicyPage({
      inForce: policy,
      head,
      instances: running,
      drafts: { ...drafts.value, isFirst: draftsAfter === null },
      history: published === undefined ? undefined : { ...published.value, isFirst: historyAfter === null },
      mayBegin: may('policy:write'),
      begin: { comment, problem: refusal === undefined ? undefined : (sentenceAt(refusal, 'comment') ?? refusal.message) },
      now,
    })
    return { kind: 'page', template: 'policy', title: 'Policy', section: 'policy', content, status: status ?? 200 }
  }
}
