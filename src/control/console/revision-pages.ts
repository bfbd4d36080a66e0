/**
 * `/console/policy/revisions/:number`: one revision, what it changed, and the form that publishes it again.
 *
 * Restoring names the newest revision that was looked at: whoever publishes meanwhile is not overwritten, and the page says who that was.
 */

import type { ConsoleAnswer, ConsoleRequest, ConsoleRoutes } from './console-page.ts'
import { confirmationsOf, readGates } from './draft-gates-content.ts'
import { readNumber } from './policy-files-pages.ts'
import { draftHref, type PolicyPagesPorts, policyHref, refusedAnswer, revisionHref, statusOfShown } from './policy-page-parts.ts'
import { describeRevisionPage, type RestoreAttempt } from './revision-content.ts'

const pattern = `${policyHref}/revisions/:number`
const mostFormBytes = 64 * 1024

/** Adds the pages of revisions. */
export function mountRevisionPages(routes: ConsoleRoutes, ports: PolicyPagesPorts): void {
  const { carryOut, history, inForce, isTwoPerson, revisions } = ports

  routes.get(pattern, 'policy:read', (request) => show(request, undefined))

  routes.post(
    `${pattern}/restore`,
    'policy:publish',
    async (request, form) => {
      const comment = (form.get('comment') ?? '').trim()
      const gates = readGates(form)
      const head = readNumber(form.get('head') ?? undefined)
      const input = {
        number: request.params['number'],
        comment,
        confirmations: confirmationsOf(gates),
        ...(head === undefined ? {} : { predecessor: head }),
      }
      const restored = await carryOut(history.restore, input, request.asker)
      if (restored.outcome === 'refused') {
        if (revisions === undefined || statusOfShown(restored) === undefined) return refusedAnswer(restored)
        return show(request, { comment, gates, refusal: restored })
      }
      const { draft, outcome, revision } = restored.value
      if (draft !== null) {
        const text = 'Two people are needed: the draft waits for another admin to approve it.'
        return { kind: 'redirect', to: draftHref(draft.id), notice: { tone: 'info', text } }
      }
      const number = revision?.number ?? 0
      const text =
        outcome === 'unchanged'
          ? 'Nothing changed: what is published says the same already.'
          : `Revision ${number} is published. Every instance follows within a second.`
      return { kind: 'redirect', to: revisionHref(number), notice: { tone: outcome === 'unchanged' ? 'info' : 'good', text } }
    },
    { limitBytes: mostFormBytes },
  )

  async function show({ may, now, params }: ConsoleRequest, attempt: RestoreAttempt | undefined): Promise<ConsoleAnswer> {
    const number = readNumber(params['number'])
    if (number === undefined || revisions === undefined) return { kind: 'not_found' }
    const [revision, head, policy] = await Promise.all([revisions.load(number), revisions.head(), inForce()])
    if (revision === undefined) return { kind: 'not_found' }
    const predecessor = revision.predecessor === undefined ? undefined : await revisions.load(revision.predecessor)
    const content = describeRevisionPage({
      revision,
      predecessor,
      head,
      current: policy.revision?.number,
      mayRestore: may('policy:publish'),
      isTwoPerson,
      attempt,
      now,
    })
    const status = attempt === undefined ? 200 : (statusOfShown(attempt.refusal) ?? 409)
    return { kind: 'page', template: 'revision', title: `Revision ${number}`, section: 'policy', content, status }
  }
}
