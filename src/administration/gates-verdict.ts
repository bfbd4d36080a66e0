/**
 * Whom a change of the policy would shut out, judged on what was used in the last day: by app, of everybody, of the admins, of the author.
 *
 * Each use is decided again on its recorded facts, under the policy in force and under the new one. What the policy in force refuses already is no
 * work of the change. Whoever would be asked for a better sign-in is not shut out. Where the record does not suffice, nobody counts as let in
 * and nobody as refused, and where that leaves an app without an answer it is said.
 */

import { isDeepStrictEqual } from 'node:util'
import type { App, PolicyDocument } from '../policy/document.ts'
import { type RecentUse, recordedOf, subjectKey } from './gates-uses.ts'
import { gapWords } from './recorded-gaps.ts'
import { type Replayed, type ReplayPolicy, replayDecision } from './replay.ts'

/** `refused`: all that is known of them would be refused. `unclear`: it cannot be told. */
export type Standing = 'kept' | 'refused' | 'unclear'

/** What becomes of those who used an app. */
export interface AppStanding {
  /** Id in the policy in force. */
  readonly app: string
  readonly kept: number
  readonly refused: number
  readonly unclear: number
  readonly admins: Readonly<Record<Standing, number>>
  /** The author's; `undefined`: did not use it. */
  readonly own: Standing | undefined
  /** One reason why something cannot be told, in words. */
  readonly why: string | undefined
}

export interface GateQuestion {
  /** Of apps that the change can touch. */
  readonly uses: readonly RecentUse[]
  /** As `subjectKey` names them. */
  readonly admins: ReadonlySet<string>
  readonly own: string | undefined
}

/** Judges, an app at a time, for whoever has requests to serve in between. */
export function* judgeUses(
  { admins, own, uses }: GateQuestion,
  before: ReplayPolicy,
  after: ReplayPolicy,
): Generator<undefined, readonly AppStanding[]> {
  const byApp = Map.groupBy(uses, ({ app }) => app)
  const standings: AppStanding[] = []
  for (const [app, used] of byApp) {
    const counts = { kept: 0, refused: 0, unclear: 0 }
    const ofAdmins = { kept: 0, refused: 0, unclear: 0 }
    let ownStanding: Standing | undefined
    let why: string | undefined
    for (const [subject, theirs] of Map.groupBy(used, (use) => subjectKey(use.subject))) {
      const judged = judgeSubject(theirs, before, after)
      yield
      if (judged === undefined) continue
      counts[judged.standing] += 1
      if (admins.has(subject)) ofAdmins[judged.standing] += 1
      if (subject === own) ownStanding = judged.standing
      why ??= judged.why
    }
    standings.push({ app, ...counts, admins: ofAdmins, own: ownStanding, why })
  }
  return standings
}

/** `undefined`: the policy in force refuses all of it already. */
function judgeSubject(
  uses: readonly RecentUse[],
  before: ReplayPolicy,
  after: ReplayPolicy,
): { readonly standing: Standing; readonly why: string | undefined } | undefined {
  let isRefused = false
  let why: string | undefined
  for (const use of uses) {
    const recorded = recordedOf(use)
    const now = replayDecision(recorded, before)
    if (now.outcome === 'decided' && now.effect === 'deny') continue
    const then = replayDecision(recorded, after)
    if (then.outcome === 'decided' && then.effect !== 'deny') return { standing: 'kept', why: undefined }
    if (then.outcome === 'decided') isRefused = true
    else why ??= whyUnclear(then)
  }
  if (why !== undefined) return { standing: 'unclear', why }
  return isRefused ? { standing: 'refused', why } : undefined
}

function whyUnclear(replayed: Exclude<Replayed, { readonly outcome: 'decided' }>): string {
  return replayed.outcome === 'insufficient' ? gapWords[replayed.gap] : 'what it was decided on is not recorded'
}

/** Ids of apps in force whose requests a change can touch: their own, those of the same host, or all where something for the company changes. */
export function findTouchedApps(before: PolicyDocument, after: PolicyDocument): ReadonlySet<string> {
  const shared = (one: PolicyDocument) => [one.zone, one.levels, one.services, one.rules]
  if (!isDeepStrictEqual(shared(before), shared(after))) return new Set(before.apps.map(({ id }) => id))
  const later = new Map(after.apps.map((app) => [app.id, app]))
  const hosts = new Set<string>()
  const touch = ({ address }: App) => hosts.add(address.hostname)
  for (const app of before.apps) {
    const other = later.get(app.id)
    later.delete(app.id)
    if (other === undefined || !isDeepStrictEqual(app, other)) {
      touch(app)
      if (other !== undefined) touch(other)
    }
  }
  for (const added of later.values()) touch(added)
  return new Set(before.apps.filter(({ address }) => hosts.has(address.hostname)).map(({ id }) => id))
}

/** A document with the apps of these hosts alone: they are routed and decided as in the whole. */
export function narrowDocument(document: PolicyDocument, hostnames: ReadonlySet<string>): PolicyDocument {
  return { ...document, apps: document.apps.filter(({ address }) => hostnames.has(address.hostname)) }
}
