/**
 * Rules and apps in report mode, from what the trail says they would have done: who would have been refused, or let in, how often, since when;
 * and whether there is enough to say that putting them in force is safe.
 *
 * Read from the `would` that was recorded with each decision, so it is what the rules said then, in the form that they had then. A rule in
 * report mode that made no difference shows in no line by itself: what counts for it is the traffic of its app that it was held against.
 */

import type { TrailLine } from '../audit/trail-files.ts'
import type { App, CompanyRule, PolicyDocument, Rule } from '../policy/document.ts'
import type { RecordedDecision, RecordedSubject } from './recorded-decision.ts'

/** Of a rule: its name; of an app's own report mode: none. */
export interface RolloutEntry {
  readonly app: string
  readonly rule: string | undefined
  /** `undefined` of the app's own report mode, and of a rule that is not in report mode but would then have decided. */
  readonly verb: Rule['verb'] | undefined
  /** Whether it is in report mode in the policy in force. */
  readonly isReported: boolean
  /** Recorded decisions of the app that were held against report rules. */
  readonly requests: number
  readonly subjects: number
  /** Days (UTC) with at least one of them. */
  readonly days: number
  readonly firstAt: number | undefined
  readonly lastAt: number | undefined
  readonly refused: Difference
  readonly letIn: Difference
  readonly verdict: Verdict
}

export interface Difference {
  readonly requests: number
  /** Most requests first; bounded. */
  readonly subjects: readonly AffectedSubject[]
  /** Also those that are not in the list. */
  readonly subjectCount: number
  readonly firstAt: number | undefined
  readonly lastAt: number | undefined
}

export interface AffectedSubject {
  readonly subject: RecordedSubject
  count: number
  firstAt: number
  lastAt: number
  /** Of the first. */
  readonly example: string
}

/** Every verdict, with what it says. */
export const verdictWords = {
  safe: 'Nobody would have been refused: it is safe to put in force.',
  refuses: 'Somebody would have been refused: look at who before putting it in force.',
  hidden:
    'Others would have refused first: what this one would have made of those requests is not known. Put those in force, and look again.',
  too_little: 'Nobody would have been refused, but there was too little traffic to say that it is safe.',
  unseen: 'No request was held against it: nothing can be said.',
} as const

export type Verdict = keyof typeof verdictWords

/** A working week, weekend included, and more than somebody trying it out: less proves nothing about the others. */
export const enough = { requests: 100, days: 7 } as const

/** People of one app; beyond it they are counted as one. */
const maxSubjects = 100_000
/** Listed for one rule. */
const maxAffected = 1000

export interface Rollout {
  see(recorded: RecordedDecision, line: TrailLine): void
  /** In the order of apps and rules of the document, then what else would have decided. */
  entries(): readonly RolloutEntry[]
}

interface AppTraffic {
  requests: number
  readonly subjects: Set<string>
  readonly days: Set<number>
  firstAt: number
  lastAt: number
  /** By the rule that would have decided; the empty name: none did. */
  readonly rules: Map<string, RuleTraffic>
}

interface RuleTraffic {
  readonly refused: Affected
  readonly letIn: Affected
  /** Of the refused, those that no other deny was asked about any more. */
  denied: number
}

interface Affected {
  requests: number
  readonly subjects: Map<string, AffectedSubject>
  firstAt: number
  lastAt: number
}

/** Collects decisions of a policy in force. `wanted` narrows to a rule, an app, or both. */
export function createRollout(document: PolicyDocument, wanted: { readonly rule?: string; readonly app?: string } = {}): Rollout {
  const traffic = new Map<string, AppTraffic>()
  return {
    see(recorded, line) {
      const would = mapOf(line['would'])
      const { appId } = recorded
      if (would === undefined || appId === undefined || (wanted.app !== undefined && wanted.app !== appId)) return
      const app = traffic.get(appId) ?? createTraffic()
      traffic.set(appId, app)
      noteTraffic(app, recorded)
      const difference = differenceOf(recorded.effect, would['effect'])
      if (difference === undefined) return
      const name = typeof would['rule'] === 'string' ? would['rule'] : ''
      const rule = app.rules.get(name) ?? { refused: nobodyAffected(), letIn: nobodyAffected(), denied: 0 }
      app.rules.set(name, rule)
      noteAffected(rule[difference], recorded)
      if (difference === 'refused' && (would['reason'] === 'denied_by_rule' || would['effect'] === 'challenge')) rule.denied += 1
    },
    entries: () =>
      document.apps
        .filter(({ id }) => wanted.app === undefined || id === wanted.app)
        .flatMap((app) => entriesOf(app, document, traffic.get(app.id) ?? createTraffic()))
        .filter(({ rule }) => wanted.rule === undefined || rule === wanted.rule),
  }
}

function entriesOf(app: App, document: PolicyDocument, traffic: AppTraffic): readonly RolloutEntry[] {
  const touching = document.rules.filter((rule) => touches(rule, app))
  const reported = [...app.rules, ...touching].filter(({ isReport }) => isReport)
  const entries = reported.map(({ name, verb }) => entryOf(app, { rule: name, verb, isReported: true }, traffic))
  const named = new Set(reported.map(({ name }) => name))
  const others = [...traffic.rules.keys()].filter((name) => !named.has(name)).sort((a, b) => (a < b ? -1 : 1))
  if (app.report !== undefined) entries.push(ownMode(app, traffic, others))
  else for (const name of others) entries.push(entryOf(app, { rule: name, verb: undefined, isReported: false }, traffic))
  return entries
}

/** Whatever decides instead once the app's report mode ends is a matter of the mode, not of one rule. */
function ownMode(app: App, traffic: AppTraffic, names: readonly string[]): RolloutEntry {
  const parts = names.flatMap((name) => traffic.rules.get(name) ?? [])
  const joined = {
    refused: join(parts.map(({ refused }) => refused)),
    letIn: join(parts.map(({ letIn }) => letIn)),
    denied: parts.reduce((sum, { denied }) => sum + denied, 0),
  }
  const rules = new Map([...[...traffic.rules].filter(([name]) => !names.includes(name)), ['', joined] as const])
  return entryOf(app, { rule: undefined, verb: undefined, isReported: true }, { ...traffic, rules })
}

function entryOf(app: App, about: Pick<RolloutEntry, 'rule' | 'verb' | 'isReported'>, traffic: AppTraffic): RolloutEntry {
  const { days, firstAt, lastAt, requests, rules, subjects } = traffic
  const found = rules.get(about.rule ?? '')
  const refused = describeAffected(found?.refused ?? nobodyAffected())
  return {
    app: app.id,
    ...about,
    requests,
    subjects: subjects.size,
    days: days.size,
    firstAt: finite(firstAt),
    lastAt: finite(lastAt),
    refused,
    letIn: describeAffected(found?.letIn ?? nobodyAffected()),
    verdict: verdictOf(refused.requests, countHidden(about, rules), traffic),
  }
}

/**
 * A line names the one rule that would have decided, so of a request that another one refuses it is not known what this one makes of it. An
 * allow refuses nobody; a deny comes before everything but other denies.
 */
function countHidden({ rule, verb }: Pick<RolloutEntry, 'rule' | 'verb'>, rules: AppTraffic['rules']): number {
  if (verb === 'allow') return 0
  const others = [...rules].filter(([name]) => name !== (rule ?? ''))
  return others.reduce((sum, [, { denied, refused }]) => sum + (verb === 'deny' ? denied : refused.requests), 0)
}

function verdictOf(refused: number, hidden: number, { days, requests }: AppTraffic): Verdict {
  if (refused > 0) return 'refuses'
  if (hidden > 0) return 'hidden'
  if (requests === 0) return 'unseen'
  return requests >= enough.requests && days.size >= enough.days ? 'safe' : 'too_little'
}

function differenceOf(effect: string, would: unknown): 'refused' | 'letIn' | undefined {
  if (effect === 'allow') return would === 'allow' ? undefined : 'refused'
  return would === 'allow' ? 'letIn' : undefined
}

function createTraffic(): AppTraffic {
  return {
    requests: 0,
    subjects: new Set(),
    days: new Set(),
    firstAt: Number.POSITIVE_INFINITY,
    lastAt: Number.NEGATIVE_INFINITY,
    rules: new Map(),
  }
}

function nobodyAffected(): Affected {
  return { requests: 0, subjects: new Map(), firstAt: Number.POSITIVE_INFINITY, lastAt: Number.NEGATIVE_INFINITY }
}

function noteTraffic(app: AppTraffic, { at, subject }: RecordedDecision): void {
  app.requests += 1
  const key = keyOf(subject)
  app.subjects.add(app.subjects.size < maxSubjects ? key : '')
  app.days.add(Math.floor(at / 86_400_000))
  app.firstAt = Math.min(app.firstAt, at)
  app.lastAt = Math.max(app.lastAt, at)
}

function noteAffected(affected: Affected, { at, request, subject }: RecordedDecision): void {
  affected.requests += 1
  affected.firstAt = Math.min(affected.firstAt, at)
  affected.lastAt = Math.max(affected.lastAt, at)
  const key = keyOf(subject)
  const known = affected.subjects.get(key)
  if (known !== undefined) {
    known.count += 1
    known.firstAt = Math.min(known.firstAt, at)
    known.lastAt = Math.max(known.lastAt, at)
  } else if (affected.subjects.size < maxSubjects) {
    affected.subjects.set(key, { subject, count: 1, firstAt: at, lastAt: at, example: request })
  }
}

function join(parts: readonly Affected[]): Affected {
  const joined = nobodyAffected()
  for (const part of parts) {
    joined.requests += part.requests
    joined.firstAt = Math.min(joined.firstAt, part.firstAt)
    joined.lastAt = Math.max(joined.lastAt, part.lastAt)
    for (const [key, one] of part.subjects) {
      const known = joined.subjects.get(key)
      if (known === undefined) joined.subjects.set(key, { ...one })
      else {
        known.count += one.count
        known.firstAt = Math.min(known.firstAt, one.firstAt)
        known.lastAt = Math.max(known.lastAt, one.lastAt)
      }
    }
  }
  return joined
}

function describeAffected({ firstAt, lastAt, requests, subjects }: Affected): Difference {
  return {
    requests,
    subjects: [...subjects.values()].sort((a, b) => b.count - a.count).slice(0, maxAffected),
    subjectCount: subjects.size,
    firstAt: finite(firstAt),
    lastAt: finite(lastAt),
  }
}

function keyOf({ issuer, kind, sub }: RecordedSubject): string {
  return JSON.stringify([kind, issuer, sub])
}

function finite(at: number): number | undefined {
  return Number.isFinite(at) ? at : undefined
}

function mapOf(value: unknown): TrailLine | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as TrailLine) : undefined
}

/** Both narrowings hold where both are given. */
function touches(rule: CompanyRule, app: App): boolean {
  return (rule.apps?.includes(app.id) ?? true) && (rule.sensitivity?.includes(app.sensitivity) ?? true)
}
