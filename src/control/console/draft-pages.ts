/**
 * `/console/policy/drafts/:draft`: everything about a draft on one page, which never waits for what takes long.
 *
 * A trial may judge a policy of a thousand apps and read a day of requests: the page gives it a moment, shows what is known, and is looked at again,
 * by the page's script or by its link. A trial under way is shared by whoever looks, and remembered for a short while under exactly what it is
 * about: the draft's files, what is in force, and who asks. Of impacts the last one that was begun here is remembered by its id alone.
 */

import { setTimeout as pause } from 'node:timers/promises'
import type { Asker } from '../../administration/asker.ts'
import type { Draft } from '../../administration/policy-history.ts'
import type { ImpactOutput, TrialOutput } from '../operations/policy-trial-schemas.ts'
import type { ConsoleAnswer, ConsoleRequest, ConsoleRoutes } from './console-page.ts'
import { type DraftAttempt, describeDraftPage, readWrittenDraft, type WrittenDraft } from './draft-content.ts'
import { describeImpactView } from './draft-impact-content.ts'
import { describeTrialView } from './draft-trial-content.ts'
import { draftHref, type PolicyPagesPorts, policyHref, statusOfShown } from './policy-page-parts.ts'

export const draftPattern = `${policyHref}/drafts/:draft`

/** What a page waits for a trial. */
const patienceMs = 40
const rememberTrialMs = 60_000
const mostTrials = 32
const mostImpacts = 100
const mostWritten = 16
/** Of each list of an impact: what a person reads, and what a page may weigh. */
const rowsOfPage = 40

/** What else a page of a draft says. */
export interface DraftPageExtras {
  readonly attempt?: DraftAttempt | undefined
  readonly impactProblem?: string | undefined
  readonly since?: string | undefined
}

interface LookedAt {
  readonly run: ImpactOutput | 'forgotten' | undefined
  readonly since: string | undefined
}

export type ShowDraft = (request: ConsoleRequest, extras?: DraftPageExtras) => Promise<ConsoleAnswer>

/** Adds the page of a draft. */
export function mountDraftPages(routes: ConsoleRoutes, show: ShowDraft): void {
  routes.get(draftPattern, 'policy:read', (request) => show(request))
}

/** The page of a draft, also for the forms on it. */
export function createShowDraft(ports: PolicyPagesPorts): ShowDraft {
  const { carryOut, drafts, inForce, isTwoPerson, judgeApprovals, revisions, trial } = ports
  const trials = new Map<string, Promise<TrialOutput | undefined>>()
  const written = new Map<string, WrittenDraft>()
  /** The last one that was looked at, by draft: an edit leads away from its address and back. */
  const impacts = new Map<string, { readonly id: string; readonly since: string | undefined }>()

  /** The trial, if it is there in time. What fails is tried again by the next look. */
  async function tryDraft(draft: Draft, policyVersion: string, asker: Asker): Promise<TrialOutput | 'pending' | undefined> {
    const key = JSON.stringify([draft.id, draft.hash, policyVersion, asker.actor])
    let running = trials.get(key)
    if (running === undefined) {
      running = carryOut(trial.try, { draft: draft.id }, asker).then((answer) => (answer.outcome === 'done' ? answer.value : undefined))
      const started = running
      const forget = () => void (trials.get(key) === started && trials.delete(key))
      started.then(
        // Somebody may have changed it between: then it is about something else.
        (answer) => (answer?.hash === draft.hash ? void setTimeout(forget, rememberTrialMs).unref() : forget()),
        forget,
      )
      trials.set(key, started)
      const [oldest] = trials.keys()
      if (trials.size > mostTrials && oldest !== undefined) trials.delete(oldest)
    }
    return await Promise.race([running, pause(patienceMs, 'pending' as const)])
  }

  async function lookAtImpact({ asker, query }: ConsoleRequest, draft: Draft): Promise<LookedAt> {
    const asked = query.get('impact')
    const wanted = asked === null ? impacts.get(draft.id) : { id: asked, since: query.get('since') ?? undefined }
    if (wanted === undefined) return { run: undefined, since: undefined }
    const found = await carryOut(trial.impact, { draft: draft.id, id: wanted.id, limit: rowsOfPage }, asker)
    impacts.delete(draft.id)
    if (found.outcome === 'refused') return { run: asked === null ? undefined : 'forgotten', since: wanted.since }
    impacts.set(draft.id, wanted)
    const [oldest] = impacts.keys()
    if (impacts.size > mostImpacts && oldest !== undefined) impacts.delete(oldest)
    return { run: found.value, since: wanted.since }
  }

  function readWritten(draft: Draft): WrittenDraft {
    const key = `${draft.base.hash} ${draft.hash}`
    const read = written.get(key) ?? readWrittenDraft(draft)
    written.delete(key)
    written.set(key, read)
    const [oldest] = written.keys()
    if (written.size > mostWritten && oldest !== undefined) written.delete(oldest)
    return read
  }

  return async (request, { attempt, impactProblem, since } = {}) => {
    const { asker, may, now, params } = request
    const draft = await drafts.load(params['draft'] ?? '')
    if (draft === undefined) return { kind: 'not_found' }
    const isOver = draft.state === 'published' || draft.state === 'discarded'
    const [policy, head] = await Promise.all([inForce(), revisions?.head()])
    const [newest, standing, tried, run] = await Promise.all([
      head === undefined || isOver || head.number === draft.base.revision ? undefined : revisions?.load(head.number),
      judgeApprovals(draft),
      isOver ? undefined : tryDraft(draft, policy.policyVersion, asker),
      may('audit:read') && !isOver ? lookAtImpact(request, draft) : undefined,
    ])
    const content = describeDraftPage({
      draft,
      mode: policy.mode,
      head: newest ?? head,
      files: policy.mode === 'files' ? policy.bundle : newest?.bundle,
      written: readWritten(draft),
      asker,
      isTwoPerson,
      standing,
      trial: describeTrialView(tried, draftHref(draft.id)),
      impact: may('audit:read') ? describeImpactView(run?.run, { now, since: since ?? run?.since, problem: impactProblem }) : undefined,
      attempt,
      now,
    })
    const status = attempt === undefined ? (impactProblem === undefined ? 200 : 422) : (statusOfShown(attempt.refusal) ?? 409)
    return { kind: 'page', template: 'draft', title: 'Draft', section: 'policy', content, status, scripts: ['draft.js'] }
  }
}
