/**
 * The policy document, compiled: what a decision reads. Done once at start and at each reload, never for a request.
 *
 * A rule becomes a list of parts (methods, paths, subject), each a function of the facts with a three-valued outcome; the rule is
 * their conjunction. Company rules are compiled once and shared by the apps that they touch, so that memory and start-up grow with
 * the number of rules, and the cost of a decision with the rules of its own app alone. Rules are put in an order of their own:
 * the order in the document can then not matter, not even for which of several is named.
 */

import type { Unmet } from './decision.ts'
import type { App, CompanyRule, PolicyDocument, Rule } from './document.ts'
import type { Facts, RequestFacts } from './facts.ts'
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
  /** Those from the top level included; both lists in an order that does not depend on the document's. */
  readonly denies: readonly CompiledRule[]
  readonly allows: readonly CompiledRule[]
}

export interface CompiledRule {
  readonly name: string
  readonly who: CompiledWho
  /** Cheapest first. The rule is true if all are, false if one is. */
  readonly parts: readonly RulePart[]
}

/** One conjunct of a rule. Further kinds of conditions are further parts. */
export interface RulePart {
  readonly condition: Unmet['condition']
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
    apps.set(app.id, {
      id: app.id,
      portal: app.portal,
      startPath: app.address.prefix,
      denies: pick('deny').sort(compareRules),
      allows: pick('allow').sort(compareRules),
    })
  }
  return { version: document.version, apps }
}

/** The outcome of a whole rule. */
export function judgeRule(rule: CompiledRule, facts: Facts): Outcome {
  let outcome: Outcome = 'true'
  for (const part of rule.parts) {
    outcome = and(outcome, part.judge(facts))
    if (outcome === 'false') return outcome
  }
  return outcome
}

function compileRule(rule: Rule): CompiledRule {
  const who = compileWho(rule.who, rule.verb)
  const parts: RulePart[] = []
  if (rule.methods !== undefined) parts.push(compileMethods(rule.methods))
  if (rule.paths !== undefined) parts.push(compilePaths(rule.paths, rule.verb))
  parts.push({
    condition: 'subject',
    judge: (facts) => who.judge(facts.subject),
    findRemedy: (facts) => who.findRemedy(facts.subject),
  })
  return { name: rule.name, who, parts }
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
