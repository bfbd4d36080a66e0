/**
 * The policy document, compiled: what a decision reads. Done once at start and at each reload, never for a request.
 *
 * A rule becomes its *who* and a list of parts (methods, paths), each a function with a three-valued outcome; the rule is their
 * conjunction. Company rules are compiled once and shared by the apps that they touch. What depends on the subject alone is worked out once
 * for each subject and app (`shortlist`), so that a decision costs as much as the rules that concern this subject in this app. Rules
 * are put in an order of their own: the order in the document can then not matter, not even for which of several is named.
 */

import type { Unmet } from './decision.ts'
import type { App, CompanyRule, PolicyDocument, Rule } from './document.ts'
import type { FactGroup, Facts, RequestFacts, SubjectFacts } from './facts.ts'
import { and, type Outcome, outcomeOf } from './outcome.ts'
import { compilePathPattern } from './path-pattern.ts'
import { type CompiledWho, compileWho } from './who.ts'

export interface CompiledPolicy {
  readonly version: string
  /** By app id. */
  readonly apps: ReadonlyMap<string, CompiledApp>
}

export interface CompiledApp {
  readonly id: string
  readonly portal: App['portal']
  /** Where a visit to the app begins: its public path prefix. */
  readonly startPath: string
  /** What has to be gathered before this app's rules can be judged. */
  readonly needs: ReadonlySet<FactGroup>
  /** Those from the top level included; both lists in an order that does not depend on the document's. */
  readonly denies: readonly CompiledRule[]
  readonly allows: readonly CompiledRule[]
  /** The rules that can still matter to this subject. Remembered for as long as the subject's facts live: facts are never changed. */
  readonly shortlist: (subject: SubjectFacts) => Shortlist
}

export interface Shortlist {
  /** Whose *who* is true: nothing but their parts is left to be shown. */
  readonly allows: readonly CompiledRule[]
  /** Whose *who* is not false. */
  readonly denies: readonly { readonly rule: CompiledRule; readonly who: Outcome }[]
}

export interface CompiledRule {
  readonly name: string
  readonly who: CompiledWho
  /** Everything but the subject, cheapest first. */
  readonly parts: readonly RulePart[]
}

/** One conjunct of a rule. Further kinds of conditions are further parts. */
export interface RulePart {
  readonly condition: Exclude<Unmet['condition'], 'subject'>
  readonly judge: (facts: Facts) => Outcome
  /** What would mend an outcome that is not `true`. */
  readonly findRemedy: (facts: Facts) => Unmet['remedy']
}

/** Compiles a checked document. Throws `TypeError` where a document could not have come from `config`. */
export function compilePolicy(document: PolicyDocument): CompiledPolicy {
  const company = document.rules.map((rule) => ({ rule, compiled: compileRule(rule) }))
  const apps = new Map<string, CompiledApp>()
  for (const app of document.apps) {
    const touching = company.filter(({ rule }) => touches(rule, app))
    const own = app.rules.map((rule) => ({ rule, compiled: compileRule(rule) }))
    const pick = (verb: Rule['verb']) => [...own, ...touching].filter(({ rule }) => rule.verb === verb).map(({ compiled }) => compiled)
    const denies = pick('deny').sort(compareRules)
    const allows = pick('allow').sort(compareRules)
    apps.set(app.id, {
      id: app.id,
      portal: app.portal,
      startPath: app.address.prefix,
      needs: new Set(),
      denies,
      allows,
      shortlist: createShortlist(allows, denies),
    })
  }
  return { version: document.version, apps }
}

/** The outcome of a rule's parts, given the outcome of its *who*. */
export function judgeParts(rule: CompiledRule, who: Outcome, facts: Facts): Outcome {
  let outcome = who
  for (const part of rule.parts) {
    outcome = and(outcome, part.judge(facts))
    if (outcome === 'false') return outcome
  }
  return outcome
}

function createShortlist(allows: readonly CompiledRule[], denies: readonly CompiledRule[]): CompiledApp['shortlist'] {
  const remembered = new WeakMap<SubjectFacts, Shortlist>()
  return (subject) => {
    let shortlist = remembered.get(subject)
    if (shortlist === undefined) {
      shortlist = {
        allows: allows.filter(({ who }) => who.judge(subject) === 'true'),
        denies: denies.map((rule) => ({ rule, who: rule.who.judge(subject) })).filter(({ who }) => who !== 'false'),
      }
      remembered.set(subject, shortlist)
    }
    return shortlist
  }
}

function compileRule(rule: Rule): CompiledRule {
  const parts: RulePart[] = []
  if (rule.methods !== undefined) parts.push(compileMethods(rule.methods))
  if (rule.paths !== undefined) parts.push(compilePaths(rule.paths, rule.verb))
  return { name: rule.name, who: compileWho(rule.who, rule.verb === 'allow' ? 'allow' : 'deny'), parts }
}

function compileMethods({ names, classes }: NonNullable<Rule['methods']>): RulePart {
  // A deny for no method at all would silently do nothing.
  if (names.length + classes.length === 0) throw new TypeError('a list of methods must not be empty')
  const nameSet = new Set(names)
  const classSet = new Set(classes)
  // A name never matches an Upgrade: `methods: [GET]` must not open a WebSocket.
  const matches = (request: RequestFacts) =>
    classSet.has(request.methodClass) || (request.methodClass !== 'websocket' && nameSet.has(request.method))
  const allowsReading = classSet.has('read') || nameSet.has('GET') || nameSet.has('HEAD')
  return {
    condition: 'methods',
    judge: (facts) => outcomeOf(matches(facts.request)),
    findRemedy: () => (allowsReading ? 'read_only' : 'ask_for_access'),
  }
}

function compilePaths(patterns: readonly string[], verb: Rule['verb']): RulePart {
  if (patterns.length === 0) throw new TypeError('a list of paths must not be empty')
  const matchers = patterns.map((pattern) => compilePathPattern(pattern, verb === 'deny' ? 'loose' : 'exact'))
  return {
    condition: 'paths',
    judge: (facts) => outcomeOf(matchers.some((matches) => matches(facts.request.path))),
    findRemedy: () => 'other_path',
  }
}

/** Both narrowings hold where both are given. */
function touches(rule: CompanyRule, app: App): boolean {
  return (rule.apps?.includes(app.id) ?? true) && (rule.sensitivity?.includes(app.sensitivity) ?? true)
}

/** A rule about particular people says more about an allowance than a public one; then by name, in code units. Own rules stay before company rules. */
function compareRules(left: CompiledRule, right: CompiledRule): number {
  if (left.who.isPublic !== right.who.isPublic) return left.who.isPublic ? 1 : -1
  return left.name === right.name ? 0 : left.name < right.name ? -1 : 1
}
