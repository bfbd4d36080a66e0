/**
 * The policy document, compiled: what a decision reads. Done once at start and at each reload, never for a request.
 *
 * Levels and company rules are compiled once and shared by the apps that they touch. What depends on the subject alone is worked out once
 * for each subject and app (`shortlist`), and of that for each first path segment that rules name, so that a decision costs as much as
 * the rules that concern this subject at this place in this app. Rules
 * are put in an order of their own: the order in the document can then not matter, not even for which of several is named.
 *
 * Rules in report mode are in no list that decides; where an app has any, or is in report mode itself, a second set holds
 * all of them as if in force, for `would`.
 */

import { collectClaimPaths } from './claim-paths.ts'
import { type CompiledLevels, compileLevelsInSteps, prepareCondition } from './compose-condition.ts'
import type { App, CompanyRule, PolicyDocument, Rule } from './document.ts'
import type { FactGroup, Facts, SubjectFacts } from './facts.ts'
import type { Outcome } from './outcome.ts'
import { headOf } from './path-pattern.ts'
import { type CompiledRule, compileRule, type RuleSurroundings } from './rule.ts'
import { type Steps, takeSteps } from './steps.ts'
import { dayBounds } from './time-condition.ts'
import { compileWho } from './who.ts'

export interface CompiledPolicy {
  readonly version: string
  /** By app id. */
  readonly apps: ReadonlyMap<string, CompiledApp>
  /** Paths of the claims that rules speak of: what the trail keeps of them. */
  readonly claimPaths: readonly (readonly string[])[]
}

export interface CompiledApp {
  readonly id: string
  readonly portal: App['portal']
  /** Where a visit to the app begins: its public path prefix. */
  readonly startPath: string
  /** What has to be gathered before this app's rules can be judged, those in report mode included. */
  readonly needs: ReadonlySet<FactGroup>
  /** Names of the levels that its rules rest on, in order. */
  readonly levels: readonly string[]
  /** Every rule that touches the app, those from the top level and those in report mode included. */
  readonly rules: readonly CompiledRule[]
  /** The allows that are in force. */
  readonly allows: readonly CompiledRule[]
  /** What decides. */
  readonly enforced: RuleSet
  /** The same with every report rule in force; `undefined` where neither a rule nor the app is in report mode. */
  readonly intended: RuleSet | undefined
  /** Whether the app's report mode lets this request pass where no rule does. */
  readonly passesInReport: (facts: Facts) => boolean
  /** When that ends; `Infinity` where it does not, or where there is none. */
  readonly reportEndsAt: number
}

/** Rules in an order that does not depend on the document's. */
export interface RuleSet {
  readonly allows: readonly CompiledRule[]
  readonly denies: readonly CompiledRule[]
  readonly requires: readonly CompiledRule[]
  /**
   * The rules that can still matter to this subject. Remembered for as long as the subject's facts live: facts are never changed. Throws
   * `TypeError` for a subject of a kind that does not exist.
   */
  readonly shortlist: (subject: SubjectFacts) => Shortlist
  /** Of the shortlist, what can still matter to a request for this path: a rule is left out only where its paths rule the request out. */
  readonly shortlistFor: (subject: SubjectFacts, path: string) => Shortlist
}

export interface Shortlist {
  /** Whose *who* is true: nothing but their parts is left to be shown. */
  readonly allows: readonly CompiledRule[]
  /** Whose *who* is not false. */
  readonly denies: readonly ShortlistedRule[]
  readonly requires: readonly ShortlistedRule[]
}

export interface ShortlistedRule {
  readonly rule: CompiledRule
  readonly who: Outcome
}

/** Compiles a checked document. Throws `TypeError` where a document could not have come from `config`. */
export function compilePolicy(document: PolicyDocument): CompiledPolicy {
  return takeSteps(compilePolicyInSteps(document))
}

/** The same a level or a few rules at a time, for whoever has requests to serve in between. */
export function* compilePolicyInSteps(document: PolicyDocument): Steps<CompiledPolicy> {
  const { zone } = document
  const levels = yield* compileLevelsInSteps(document.levels)
  const findLevel = (name: string) => findIn(levels, name)
  const rules = yield* compileRules(document.rules, { origin: 'company', zone, findLevel })
  const company = document.rules.map((rule, index) => ({ rule, compiled: rules[index] }))
  const apps = new Map<string, CompiledApp>()
  for (const app of document.apps) {
    const own = yield* compileRules(app.rules, { origin: 'app', zone, findLevel })
    const touching = company.flatMap(({ rule, compiled }) => (compiled !== undefined && touches(rule, app) ? [compiled] : []))
    apps.set(app.id, compileApp(app, [...own, ...touching].sort(compareRules), zone))
    yield
  }
  return { version: document.version, apps, claimPaths: yield* collectClaimPaths(document) }
}

/** Rules between two steps: about a millisecond. */
const rulesInStep = 20

function* compileRules(rules: readonly Rule[], surroundings: RuleSurroundings): Steps<readonly CompiledRule[]> {
  const compiled: CompiledRule[] = []
  for (const rule of rules) {
    for (const condition of [...rule.require, ...rule.when, ...rule.unless]) yield* prepareCondition(condition)
    compiled.push(compileRule(rule, surroundings))
    if (compiled.length % rulesInStep === 0) yield
  }
  return compiled
}

function compileApp(app: App, rules: readonly CompiledRule[], zone: string): CompiledApp {
  const conditions = rules.flatMap(({ parts, demands }) => [...parts.map(({ condition }) => condition), ...demands])
  const inForce = rules.filter(({ isReport }) => !isReport)
  const enforced = createRuleSet(inForce)
  return {
    id: app.id,
    portal: app.portal,
    startPath: app.address.prefix,
    needs: new Set(conditions.flatMap(({ needs }) => needs)),
    levels: [...new Set(conditions.flatMap((condition) => condition.levels))].sort(),
    rules,
    allows: enforced.allows,
    enforced,
    intended: app.report === undefined && inForce.length === rules.length ? undefined : createRuleSet(rules),
    ...compileReport(app.report, zone),
  }
}

/** An unknown passes nobody, and no *who* here names a stranger: report mode replaces a missing allow, not a missing sign-in. */
function compileReport(report: App['report'], zone: string): Pick<CompiledApp, 'passesInReport' | 'reportEndsAt'> {
  if (report === undefined) return { passesInReport: () => false, reportEndsAt: Number.POSITIVE_INFINITY }
  const who = compileWho(report.pass, 'condition')
  const reportEndsAt = report.until === undefined ? Number.POSITIVE_INFINITY : dayBounds(report.until, zone).to
  return { passesInReport: ({ subject, environment }) => environment.at < reportEndsAt && who.judge(subject) === 'true', reportEndsAt }
}

function createRuleSet(rules: readonly CompiledRule[]): RuleSet {
  const pick = (wanted: Rule['verb']) => rules.filter(({ verb }) => verb === wanted)
  const set = { allows: pick('allow'), denies: pick('deny'), requires: pick('require') }
  const heads = new Set(rules.flatMap((rule) => [...(rule.heads ?? [])]))
  const remembered = new WeakMap<SubjectFacts, RememberedShortlist>()
  const recall = (subject: SubjectFacts): RememberedShortlist => {
    const found = remembered.get(subject)
    if (found !== undefined) return found
    const { kind } = subject
    if (kind !== 'nobody' && kind !== 'person' && kind !== 'service') throw new TypeError('facts without a subject')
    const concerned = (some: readonly CompiledRule[]) =>
      some.map((rule) => ({ rule, who: rule.who.judge(subject) })).filter(({ who }) => who !== 'false')
    const whole = {
      allows: set.allows.filter(({ who }) => who.judge(subject) === 'true'),
      denies: concerned(set.denies),
      requires: concerned(set.requires),
    }
    const isShort = whole.allows.length + whole.denies.length + whole.requires.length <= lengthOfShort
    const made = { whole, isShort, elsewhere: narrow(whole, undefined), byHead: new Map<string, Shortlist>() }
    remembered.set(subject, made)
    return made
  }
  const shortlistFor = (subject: SubjectFacts, path: string): Shortlist => {
    const { whole, isShort, elsewhere, byHead } = recall(subject)
    if (isShort) return whole
    const head = headOf(path)
    if (head === undefined) return whole
    const found = byHead.get(head)
    if (found !== undefined) return found
    // Requests choose their paths: only what rules name is remembered.
    if (!heads.has(head)) return elsewhere
    const made = narrow(whole, head)
    byHead.set(head, made)
    return made
  }
  return { ...set, shortlist: (subject) => recall(subject).whole, shortlistFor }
}

/** Judging so few rules costs no more than finding out which of them a path concerns. */
const lengthOfShort = 2

interface RememberedShortlist {
  readonly whole: Shortlist
  readonly isShort: boolean
  /** For paths whose head no rule names. */
  readonly elsewhere: Shortlist
  readonly byHead: Map<string, Shortlist>
}

/** What is left for the paths with this head; `undefined`: with one that no rule names. */
function narrow({ allows, denies, requires }: Shortlist, head: string | undefined): Shortlist {
  const isTouched = ({ heads }: CompiledRule) => heads === undefined || (head !== undefined && heads.has(head))
  return {
    allows: allows.filter(isTouched),
    denies: denies.filter(({ rule }) => isTouched(rule)),
    requires: requires.filter(({ rule }) => isTouched(rule)),
  }
}

function findIn(levels: CompiledLevels, name: string) {
  const level = levels.get(name)
  if (level === undefined) throw new TypeError(`there is no level ${name}`)
  return level
}

/** Both narrowings hold where both are given. */
function touches(rule: CompanyRule, app: App): boolean {
  return (rule.apps?.includes(app.id) ?? true) && (rule.sensitivity?.includes(app.sensitivity) ?? true)
}

/** A rule about particular people says more than a public one; then by name, in code units. Own rules stay before company rules. */
function compareRules(left: CompiledRule, right: CompiledRule): number {
  if (left.who.isPublic !== right.who.isPublic) return left.who.isPublic ? 1 : -1
  return left.name === right.name ? 0 : left.name < right.name ? -1 : 1
}
