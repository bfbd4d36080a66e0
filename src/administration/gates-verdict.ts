/**
 * Whom a change of the policy would shut out, judged on what was used in the last day: by app, of everybody, of the admins, of the author.
 *
 * Each use is decided again on its recorded facts, under the policy in force and under the new one. What the policy in force refuses already is no
 * work of the change. Whoever would be asked for a better sign-in is not shut out. Where the record does not suffice, nobody counts as let in
 * and nobody as refused, and where that leaves an app without an answer it is said.
 */

import { isDeepStrictEqual } from 'node:util'
import type { App, PolicyDocument } from '../policy/document.ts'
import { type ConsoleRoleSettings, createConsoleRoles } from './console-roles.ts'
import { type RecentUse, recordedOf, subjectKey, unpackUses } from './gates-uses.ts'
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

/** Plain data: it goes to a thread as it is. */
export interface GateQuestion {
  /** Of each instance, as `packUses` writes it. */
  readonly uses: readonly string[]
  readonly before: PolicyDocument
  readonly after: PolicyDocument
  /** Who names the admins. */
  readonly settings: ConsoleRoleSettings
  /** Those of whom it is known besides, as `subjectKey` names them. */
  readonly knownAdmins: ReadonlySet<string>
  /** The author. */
  readonly own: string | undefined
}

/** Judges what was used. `compile`: a policy as a replay asks it; the second is the one in force. */
export async function judgeUses(
  { after, before, knownAdmins, own, settings, uses }: GateQuestion,
  compile: (document: PolicyDocument, live: PolicyDocument) => ReplayPolicy,
): Promise<readonly AppStanding[]> {
  const touched = findTouchedApps(before, after)
  const relevant = uses.flatMap(unpackUses).filter(({ app }) => touched.has(app))
  if (relevant.length === 0) return []
  const hosts = new Set(relevant.map(({ host }) => host))
  const policies = { before: compile(narrowDocument(before, hosts), before), after: compile(narrowDocument(after, hosts), before) }
  const admins = new Set([...knownAdmins, ...(await findAdmins(relevant, settings, before))])
  return [...Map.groupBy(relevant, ({ app }) => app)].map(([app, used]) => judgeApp(app, used, policies, { admins, own }))
}

function judgeApp(
  app: string,
  used: readonly RecentUse[],
  { after, before }: { readonly before: ReplayPolicy; readonly after: ReplayPolicy },
  { admins, own }: { readonly admins: ReadonlySet<string>; readonly own: string | undefined },
): AppStanding {
  const counts = { kept: 0, refused: 0, unclear: 0 }
  const ofAdmins = { kept: 0, refused: 0, unclear: 0 }
  let ownStanding: Standing | undefined
  let why: string | undefined
  for (const [subject, theirs] of Map.groupBy(used, (use) => subjectKey(use.subject))) {
    const judged = judgeSubject(theirs, before, after)
    if (judged === undefined) continue
    counts[judged.standing] += 1
    if (admins.has(subject)) ofAdmins[judged.standing] += 1
    if (subject === own) ownStanding = judged.standing
    why ??= judged.why
  }
  return { app, ...counts, admins: ofAdmins, own: ownStanding, why }
}

/** Whoever is named an admin by what is recorded of them. An invited one is known from the console. */
async function findAdmins(uses: readonly RecentUse[], settings: ConsoleRoleSettings, before: PolicyDocument): Promise<ReadonlySet<string>> {
  const roles = createConsoleRoles({ settings, policy: () => before, findInvitation: async () => [] })
  const admins = new Set<string>()
  const seen = new Set<string>()
  for (const { evidence, subject } of uses) {
    const key = subjectKey(subject)
    if (typeof evidence === 'string' || seen.has(key)) continue
    seen.add(key)
    if ((await roles.rolesOf(evidence.facts.subject)).includes('admin')) admins.add(key)
  }
  return admins
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
