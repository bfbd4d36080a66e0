/**
 * What was used, counted: for an access review, over the decisions of one trail or of several together.
 *
 * Only what let somebody in counts. A use is by subject, app and rule, so that two trails are merged by adding up; nothing here
 * knows the policy in force.
 */

import type { RecordedDecision, RecordedSubject } from './recorded-decision.ts'

export interface RecordedUse {
  readonly subject: RecordedSubject
  readonly app: string
  /** Empty: the app's report mode. */
  readonly rule: string
  readonly uses: number
  /** Epoch milliseconds. */
  readonly firstAt: number
  readonly lastAt: number
}

/** Which uses. */
export interface UsesAsked {
  readonly app: string | undefined
  /** One person. */
  readonly subject: { readonly issuer: string; readonly sub: string } | undefined
  /** Epoch milliseconds; `undefined`: as far as the trail goes back. */
  readonly since: number | undefined
}

export interface UseTally {
  see(recorded: RecordedDecision): void
  list(): readonly RecordedUse[]
  /** Uses that found no room. */
  unlisted(): number
  /** Of the earliest decision that was seen. */
  knownFrom(): number | undefined
}

/** An empty tally of at most so many entries. */
export function createUseTally(asked: Pick<UsesAsked, 'app' | 'subject'>, mostEntries: number): UseTally {
  const entries = new Map<string, { -readonly [K in keyof RecordedUse]: RecordedUse[K] }>()
  let unlisted = 0
  let knownFrom = Number.POSITIVE_INFINITY
  return {
    see(recorded) {
      knownFrom = Math.min(knownFrom, recorded.at)
      const use = useOf(recorded)
      if (use === undefined || !isAsked(use, asked)) return
      const { app, rule, subject } = use
      const key = JSON.stringify([subject.kind, subject.issuer, subject.sub, app, rule])
      const found = entries.get(key)
      if (found === undefined) {
        if (entries.size < mostEntries) entries.set(key, { ...use })
        else unlisted += 1
        return
      }
      found.uses += 1
      found.firstAt = Math.min(found.firstAt, use.firstAt)
      found.lastAt = Math.max(found.lastAt, use.lastAt)
    },
    list: () => [...entries.values()],
    unlisted: () => unlisted,
    knownFrom: () => (Number.isFinite(knownFrom) ? knownFrom : undefined),
  }
}

/** The use that a decision is; `undefined` for one that let nobody in. */
export function useOf({ appId, at, effect, reason, rule = '', subject }: RecordedDecision): RecordedUse | undefined {
  // A preflight names nobody and opens nothing. Whether the facts of a use are still there is no matter: it was one.
  if (effect !== 'allow' || reason === 'cors_preflight' || appId === undefined) return undefined
  // Report mode names the rule that came nearest: that one let nobody in.
  return { subject, app: appId, rule: reason === 'report_mode' ? '' : rule, uses: 1, firstAt: at, lastAt: at }
}

function isAsked({ app, subject }: RecordedUse, asked: Pick<UsesAsked, 'app' | 'subject'>): boolean {
  if (asked.app !== undefined && app !== asked.app) return false
  return asked.subject === undefined || (subject.issuer === asked.subject.issuer && subject.sub === asked.subject.sub)
}
