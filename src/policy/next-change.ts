/**
 * When time alone may change a decision: the earliest instant at which, with the same facts otherwise, an app's rules might come out
 * differently. What is open is decided again then, and not before.
 *
 * Each condition that time plays a part in says so from its own data; what is composed of others takes the earliest. It may name an instant
 * at which nothing changes after all, and never misses one. Pure, like the decision.
 */

import type { CompiledApp } from './compile.ts'
import type { Facts } from './facts.ts'
import type { CompiledRule } from './rule.ts'
import type { CompiledWho } from './who.ts'

/**
 * The earliest instant after that of the facts at which something may come out differently; `Infinity`: at none. The facts' own instant: at
 * any moment, as far as can be said.
 */
export type NextChange = (facts: Facts) => number

/** What has such an instant; left out where time plays no part. */
export interface Timed {
  readonly findNextChange?: NextChange
}

/** The same for all that `decide` might say of an app. */
export function findNextChange(app: CompiledApp, facts: Facts): number {
  let next = firstAfter(facts.environment.at, app.reportEndsAt)
  for (const { who, finders } of timedRulesOf(app)) {
    // Whom a rule is not about, it is never about, whatever the time.
    if (who.judge(facts.subject) === 'false') continue
    for (const find of finders) next = Math.min(next, find(facts))
  }
  return next
}

/** The first of these instants that is after `at`; `Infinity` if none is. */
export function firstAfter(at: number, ...instants: readonly number[]): number {
  let first = Number.POSITIVE_INFINITY
  for (const instant of instants) if (instant > at && instant < first) first = instant
  return first
}

/** Of several parts, the earliest; nothing where time plays a part in none of them. */
export function joinNextChanges(parts: readonly Timed[]): Timed {
  const finders = parts.flatMap((part) => part.findNextChange ?? [])
  if (finders.length === 0) return {}
  return { findNextChange: (facts) => Math.min(...finders.map((find) => find(facts))) }
}

interface TimedRule {
  readonly who: CompiledWho
  readonly finders: readonly NextChange[]
}

/** Of each app, the rules that time plays a part in: mostly few of many, and asked for each open exchange. */
const timedRules = new WeakMap<CompiledApp, readonly TimedRule[]>()

function timedRulesOf(app: CompiledApp): readonly TimedRule[] {
  let found = timedRules.get(app)
  if (found === undefined) {
    const { allows, denies, requires } = app.enforced
    found = [...allows, ...denies, ...requires].flatMap(asTimed)
    timedRules.set(app, found)
  }
  return found
}

function asTimed({ who, parts, demands }: CompiledRule): readonly TimedRule[] {
  const conditions = [...parts.map(({ condition }) => condition), ...demands]
  const finders = conditions.flatMap(({ findNextChange: find }) => find ?? [])
  return finders.length === 0 ? [] : [{ who, finders }]
}
