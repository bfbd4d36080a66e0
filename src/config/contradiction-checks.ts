/**
 * Rules and levels that can never hold, as far as their text alone shows: a condition together with its opposite, days without a day
 * in common, an end before its beginning or in the past, paths that the app does not have.
 *
 * Only what is certain is said. Conditions are compared after levels are put in; what is not obvious counts as possible.
 */

import type { AppAddress } from '../policy/document.ts'
import type { WrittenCondition } from './condition-schema.ts'
import { listConditions } from './condition-tree.ts'
import type { WrittenLeaf } from './leaf-condition-schema.ts'
import { type FoundRule, type PolicyParts, verbOf } from './policy-parts.ts'
import { quote } from './problems.ts'
import { findConditions } from './reference-checks.ts'
import { isForServicesOnly } from './rule-checks.ts'

/** Warns of what can never apply. `today` is a day (`YYYY-MM-DD`) that has begun everywhere; `undefined` leaves out what depends on it. */
export function checkContradictions(policy: PolicyParts, today: string | undefined): void {
  for (const { condition, path, report } of findConditions(policy)) {
    if (condition.kind !== 'time') continue
    const message = explainDates(condition, today)
    if (message !== undefined) report.warning([...path, 'time', 'until'], `${message}: this never holds`)
  }
  for (const { app, path, report } of policy.apps) {
    const until = app.report?.until
    if (until !== undefined && today !== undefined && until < today)
      report.warning([...path, 'report', 'until'], 'report mode has ended on this day', {
        suggestion: 'remove `report`, or give it another day',
      })
  }
  const impossible = new Set<string>()
  for (const level of policy.levels.values()) {
    const contradiction = findContradiction([{ condition: level.condition, isWanted: true }], policy, new Set([level.name]))
    if (contradiction === undefined) continue
    impossible.add(level.name)
    level.report.warning(level.path, `the level ${quote(level.name)} can never hold: ${contradiction}`, { at: 'key' })
  }
  for (const found of [...policy.companyRules, ...policy.appRules]) checkRule(found, policy, impossible, today)
}

function checkRule(found: FoundRule, policy: PolicyParts, impossible: ReadonlySet<string>, today: string | undefined): void {
  const { rule, path, report, app } = found
  const dates = explainDates(rule, today)
  if (dates !== undefined) {
    report.warning([...path, 'until'], `${dates}: this rule never applies`, { suggestion: 'change the days or remove the rule' })
    return
  }
  const wanted = (['when', 'require'] as const).flatMap((keyword) => listConditions(rule, path, keyword))
  const literals: Literal[] = [
    ...wanted.map(({ condition }) => ({ condition, isWanted: true })),
    ...listConditions(rule, path, 'unless').map(({ condition }) => ({ condition, isWanted: false })),
  ]
  const contradiction = findContradiction(literals, policy, impossible)
  if (contradiction !== undefined) {
    const consequence = verbOf(rule) === 'require' ? 'nobody can meet this rule' : 'this rule never applies'
    report.warning(path, `${consequence}: ${contradiction}`, { suggestion: 'change its conditions or remove the rule' })
  }
  if (isForServicesOnly(found)) {
    const kinds = new Set(collectLeaves(literals, policy, impossible).flatMap(({ leaf, isWanted }) => (isWanted ? [leaf.kind] : [])))
    if (kinds.has('sign_in') || kinds.has('device')) {
      const outcome = verbOf(rule) === 'allow' ? 'this rule never allows one' : 'this keeps all of them out'
      report.warning(path, `services have neither a sign-in nor a device of their own: ${outcome}`, {
        suggestion: 'ask for a network or a time, or leave the condition out',
      })
    }
  }
  const address = app?.app.url as AppAddress | undefined
  if (address === undefined || address.prefix === '/') return
  for (const [index, pattern] of (rule.paths ?? []).entries()) {
    if (pattern !== undefined && !canMatchBelow(pattern, address.prefix)) {
      report.warning([...path, 'paths', index], `no path of the app matches this: all begin with ${quote(address.prefix)}`, {
        suggestion: `write \`${address.prefix}${pattern === '/' ? '' : pattern}\` if that is meant`,
      })
    }
  }
}

interface Dates {
  readonly from?: string | undefined
  readonly until?: string | undefined
}

function explainDates({ from, until }: Dates, today: string | undefined): string | undefined {
  if (until === undefined) return undefined
  if (from !== undefined && until < from) return 'the last day is before the first'
  return today !== undefined && until < today ? 'the last day is in the past' : undefined
}

interface Literal {
  readonly condition: WrittenCondition
  readonly isWanted: boolean
}

interface Leaf {
  readonly leaf: WrittenLeaf
  readonly isWanted: boolean
}

function findContradiction(literals: readonly Literal[], policy: PolicyParts, skipped: ReadonlySet<string>): string | undefined {
  const seen = new Map<string, boolean>()
  const leaves: Leaf[] = []
  for (const { condition, isWanted } of flatten(literals, policy, skipped)) {
    const key = JSON.stringify(condition)
    const earlier = seen.get(key)
    if (earlier !== undefined && earlier !== isWanted) {
      return condition.kind === 'level'
        ? `${quote(condition.name)} has to hold and not to hold`
        : `the same \`${condition.kind}\` condition has to hold and not to hold`
    }
    if (earlier === undefined && isLeaf(condition)) leaves.push({ leaf: condition, isWanted })
    seen.set(key, isWanted)
  }
  const wanted = leaves.filter(({ isWanted }) => isWanted).map(({ leaf }) => leaf)
  // A rule with more conditions than that has none that anybody compared by hand.
  for (const [index, leaf] of wanted.slice(0, 50).entries()) {
    for (const other of wanted.slice(0, index)) {
      const message = excludeEachOther(leaf, other)
      if (message !== undefined) return message
    }
  }
  return undefined
}

function collectLeaves(literals: readonly Literal[], policy: PolicyParts, skipped: ReadonlySet<string>): readonly Leaf[] {
  return flatten(literals, policy, skipped).flatMap(({ condition, isWanted }) => (isLeaf(condition) ? [{ leaf: condition, isWanted }] : []))
}

/** Everything that certainly has to hold, or certainly not to hold, if all literals are as wanted. */
function flatten(literals: readonly Literal[], { levels }: PolicyParts, skipped: ReadonlySet<string>): readonly Literal[] {
  const flat: Literal[] = []
  const open = [...literals]
  const followed = new Set<string>()
  // The bound is for levels that name each other many times over.
  for (let literal = open.shift(); literal !== undefined && flat.length < 300; literal = open.shift()) {
    const { condition, isWanted } = literal
    flat.push(literal)
    if (condition.kind === 'not') open.push({ condition: condition.of, isWanted: !isWanted })
    else if (condition.kind === (isWanted ? 'all_of' : 'any_of') || (isCompound(condition) && condition.of.length === 1)) {
      open.push(...(condition as { of: readonly WrittenCondition[] }).of.map((part) => ({ condition: part, isWanted })))
    } else if (condition.kind === 'level') {
      const key = `${condition.name} ${isWanted}`
      const level = followed.has(key) || skipped.has(condition.name) ? undefined : levels.get(condition.name)
      followed.add(key)
      if (level !== undefined) open.push({ condition: level.condition, isWanted })
    }
  }
  return flat
}

function isCompound(condition: WrittenCondition): condition is Extract<WrittenCondition, { kind: 'all_of' | 'any_of' }> {
  return condition.kind === 'all_of' || condition.kind === 'any_of'
}

function isLeaf(condition: WrittenCondition): condition is WrittenLeaf {
  return !isCompound(condition) && condition.kind !== 'not' && condition.kind !== 'level'
}

/** Why two conditions can never hold at once; `undefined` where they might. */
function excludeEachOther(a: WrittenLeaf, b: WrittenLeaf): string | undefined {
  if (a.kind === 'time' && b.kind === 'time' && a.zone === b.zone) {
    if (areDisjoint(a.days, b.days) && !crossesMidnight(a) && !crossesMidnight(b)) return 'the days have none in common'
    const isBefore = (first: Dates, second: Dates) => first.until !== undefined && second.from !== undefined && first.until < second.from
    if (isBefore(a, b) || isBefore(b, a)) return 'the dates have no day in common'
    if (crossesMidnight(a) || crossesMidnight(b) || a.between === undefined || b.between === undefined) return undefined
    const meets = a.between.some((one) => b.between?.some((other) => one.from < other.to && other.from < one.to))
    return meets ? undefined : 'the hours have none in common'
  }
  if (a.kind === 'network' && b.kind === 'network') {
    if (areDisjoint(a.countries, b.countries)) return 'no address is in two countries'
    return areDisjoint(a.asns, b.asns) ? 'no address is in two autonomous systems' : undefined
  }
  if (a.kind === 'sign_in' && b.kind === 'sign_in') return areDisjoint(a.acr, b.acr) ? 'a sign-in has one `acr`' : undefined
  if (a.kind !== 'device' || b.kind !== 'device') return undefined
  for (const [key, name] of deviceSwitches) {
    if (a[key] !== undefined && b[key] !== undefined && a[key] !== b[key]) return `\`${name}\` has to be one thing and another`
  }
  if (areDisjoint(names(a.os), names(b.os))) return 'a device has one operating system'
  return areDisjoint(a.serials, b.serials) ? 'a device has one serial number' : undefined
}

const deviceSwitches = [
  ['known', 'known'],
  ['managed', 'managed'],
  ['diskEncrypted', 'disk_encrypted'],
  ['screenLock', 'screen_lock'],
  ['firewall', 'firewall'],
  ['identifiedBy', 'identified_by'],
] as const

function names(systems: readonly { readonly name: string }[] | undefined): readonly string[] | undefined {
  return systems?.map(({ name }) => name)
}

function areDisjoint<T>(a: readonly T[] | undefined, b: readonly T[] | undefined): boolean {
  return a !== undefined && b !== undefined && !a.some((one) => b.includes(one))
}

function crossesMidnight({ between }: Extract<WrittenLeaf, { kind: 'time' }>): boolean {
  return between?.some(({ from, to }) => to <= from) ?? false
}

/** Whether a pattern could match a path of an app at `prefix`. Letter case is left out of it, since denies match loosely. */
export function canMatchBelow(pattern: string, prefix: string): boolean {
  const steps = prefix.toLowerCase().slice(1).split('/')
  const pieces = pattern.toLowerCase().slice(1).split('/')
  for (const [index, step] of steps.entries()) {
    const piece = pieces[index]
    if (piece === '**') return true
    if (piece === undefined || (!piece.includes('*') && piece !== step)) return false
  }
  return true
}
