/**
 * An access review: who may open what today, through which rule, and who has, when last and how often.
 *
 * Two sources that need not agree. What was used is from the trail: recorded decisions that let somebody in. Who may is from the policy in
 * force and the people seen, on what their provider last said of them; a rule that asks for more than who they are (a device, an hour, a
 * sign-in) may still keep them out, and that is said. Somebody who was seen in the trail and is no longer on record is unknown, not "no".
 */

import type { CompiledApp, CompiledPolicy } from '../policy/compile.ts'
import type { Facts, SubjectFacts } from '../policy/facts.ts'
import type { CompiledRule } from '../policy/rule.ts'
import type { RecordedDecision, RecordedSubject } from './recorded-decision.ts'
import { type RecordedUse, useOf } from './recorded-uses.ts'

/** Whether the subject may open the app by this rule, as the policy is now. */
export const todayWords = {
  yes: 'the rule lets them in',
  conditional: 'the rule lets them in where its conditions hold',
  other_rule: 'not by this rule any more, but by another',
  no: 'no rule lets them in',
  unknown: 'nobody on record: what their provider says of them is not known',
} as const

export type Today = keyof typeof todayWords

/** Every mark, with what it says. */
export const markWords = {
  used: 'used within the last 90 days',
  unused: 'may, and has not for 90 days',
  withdrawn: 'has, and may no longer',
  former: 'has, but not for 90 days, and is not on record any more',
} as const

export type Mark = keyof typeof markWords

export interface AccessEntry {
  readonly subject: RecordedSubject
  readonly app: string
  /** Empty: the app's report mode. */
  readonly rule: string
  readonly today: Today
  readonly uses: number
  readonly firstAt: number | undefined
  readonly lastAt: number | undefined
  readonly mark: Mark
}

export interface AccessReview {
  /** A recorded decision; those that let nobody in are passed over. */
  see(recorded: RecordedDecision): void
  /** What was counted elsewhere. `knownFrom`: of the earliest decision that was looked at there. */
  addUses(uses: readonly RecordedUse[], knownFrom: number | undefined): void
  /** Somebody who might come today. */
  addSubject(facts: SubjectFacts): void
  /** By app, subject and rule. */
  entries(): readonly AccessEntry[]
  /** Entries that found no room. */
  unlisted(): number
  /** Of the earliest decision that was seen: before it, nothing is known of use. */
  knownFrom(): number | undefined
}

/** A review period that auditors ask for. */
export const unusedDays = 90

/** Some thousand people times some dozens of apps; about 100 MB. */
const maxEntries = 250_000

interface Use {
  readonly subject: RecordedSubject
  readonly app: string
  readonly rule: string
  uses: number
  firstAt: number
  lastAt: number
}

type Claim = Exclude<Today, 'no' | 'unknown' | 'other_rule'>

/** A review of the policy in force. `app` narrows it; `at` is today. */
export function createAccessReview(
  policy: CompiledPolicy,
  { app: only, at }: { readonly app?: string; readonly at: number },
): AccessReview {
  const apps = [...policy.apps.values()].filter(({ id }) => only === undefined || id === only)
  const entries = new Map<string, Use & { today: Claim | undefined }>()
  const publicRules = new Map(apps.map(({ allows, id }) => [id, new Set(allows.filter(({ who }) => who.isPublic).map(({ name }) => name))]))
  /** Subjects whose facts are known, with the apps that some rule opens to them. */
  const known = new Map<string, ReadonlySet<string>>()
  let unlisted = 0
  let knownFrom = Number.POSITIVE_INFINITY

  function entryFor(subject: RecordedSubject, app: string, rule: string) {
    const key = JSON.stringify([keyOf(subject), app, rule])
    const found = entries.get(key)
    if (found !== undefined) return found
    if (entries.size >= maxEntries) {
      unlisted += 1
      return undefined
    }
    const made = { subject, app, rule, uses: 0, firstAt: Number.POSITIVE_INFINITY, lastAt: Number.NEGATIVE_INFINITY, today: undefined }
    entries.set(key, made)
    return made
  }

  function addUse({ app, firstAt, lastAt, rule, subject, uses }: RecordedUse): void {
    if (only !== undefined && only !== app) return
    const entry = entryFor(subject, app, rule)
    if (entry === undefined) return
    entry.uses += uses
    entry.firstAt = Math.min(entry.firstAt, firstAt)
    entry.lastAt = Math.max(entry.lastAt, lastAt)
  }

  function judge(use: Use & { readonly today: Claim | undefined }): AccessEntry {
    const { app, firstAt, lastAt, rule, subject, today: claim, uses } = use
    const openApps = known.get(keyOf(subject))
    const today: Today = claim ?? (publicRules.get(app)?.has(rule) === true ? 'conditional' : todayWithout(openApps, app))
    const isRecent = lastAt >= at - unusedDays * 86_400_000
    return { subject, app, rule, today, uses, firstAt: finite(firstAt), lastAt: finite(lastAt), mark: markOf(today, isRecent) }
  }

  return {
    see(recorded) {
      knownFrom = Math.min(knownFrom, recorded.at)
      const use = useOf(recorded)
      if (use !== undefined) addUse(use)
    },
    addUses(uses, from = Number.POSITIVE_INFINITY) {
      knownFrom = Math.min(knownFrom, from)
      for (const use of uses) addUse(use)
    },
    addSubject(facts) {
      const subject = describeSubject(facts)
      const openApps = new Set<string>()
      for (const app of apps) {
        for (const { claim, rule } of claimsTo(app, facts, at)) {
          openApps.add(app.id)
          const entry = entryFor(subject, app.id, rule)
          if (entry !== undefined) entry.today = claim
        }
      }
      known.set(keyOf(subject), openApps)
    },
    entries: () => [...entries.values()].map(judge).sort(compareEntries),
    unlisted: () => unlisted,
    knownFrom: () => finite(knownFrom),
  }
}

function todayWithout(openApps: ReadonlySet<string> | undefined, app: string): Today {
  if (openApps === undefined) return 'unknown'
  return openApps.has(app) ? 'other_rule' : 'no'
}

function markOf(today: Today, isRecent: boolean): Mark {
  if (today === 'no' || today === 'other_rule') return 'withdrawn'
  if (isRecent) return 'used'
  return today === 'unknown' ? 'former' : 'unused'
}

/** The rules that open an app to a subject, as far as that depends on who it is. */
function claimsTo(app: CompiledApp, subject: SubjectFacts, at: number): readonly { readonly rule: string; readonly claim: Claim }[] {
  const { allows, denies, requires } = app.enforced.shortlist(subject)
  // A deny that asks for nothing but who it is keeps them out of everything; one that is not disproved keeps them out as well.
  if (denies.some(({ rule }) => rule.parts.length === 0)) return []
  const isHeldBack = denies.length + requires.length > 0
  const claimOf = (rule: CompiledRule): Claim => (isHeldBack || rule.parts.length > 0 ? 'conditional' : 'yes')
  const open = allows
    .filter(({ who }) => subject.kind === 'nobody' || !who.isPublic)
    .map((rule) => ({ rule: rule.name, claim: claimOf(rule) }))
  return app.passesInReport(factsOf(subject, at)) ? [...open, { rule: '', claim: 'yes' }] : open
}

const unknown = { known: false, why: 'not_gathered' } as const

/** Of a request of which nothing is known but who sends it, and that it is today. */
function factsOf(subject: SubjectFacts, at: number): Facts {
  return {
    subject,
    signIn: unknown,
    device: unknown,
    request: { method: 'GET', methodClass: 'read', path: '/' },
    environment: {
      address: '',
      at,
      country: unknown,
      asn: unknown,
      scheme: 'https',
      tlsVersion: unknown,
      client: { browser: unknown, browserVersion: unknown, os: unknown },
    },
  }
}

/** As the trail names them. */
function describeSubject(facts: SubjectFacts): RecordedSubject {
  switch (facts.kind) {
    case 'nobody':
      return { kind: 'nobody', issuer: undefined, sub: undefined, email: undefined }
    case 'service':
      return { kind: 'service', issuer: undefined, sub: facts.names[0], email: undefined }
    case 'person':
      return { kind: 'person', issuer: facts.issuer, sub: facts.sub, email: facts.email.known ? facts.email.value : undefined }
  }
}

function keyOf({ issuer, kind, sub }: RecordedSubject): string {
  return JSON.stringify([kind, issuer, sub])
}

function compareEntries(a: AccessEntry, b: AccessEntry): number {
  const nameOf = ({ subject: { email, sub } }: AccessEntry) => email ?? sub ?? ''
  return (
    compare(a.app, b.app) || compare(nameOf(a), nameOf(b)) || compare(a.subject.sub ?? '', b.subject.sub ?? '') || compare(a.rule, b.rule)
  )
}

function compare(a: string, b: string): number {
  return a === b ? 0 : a < b ? -1 : 1
}

function finite(at: number): number | undefined {
  return Number.isFinite(at) ? at : undefined
}
