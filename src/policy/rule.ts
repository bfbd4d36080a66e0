/**
 * One rule, compiled: its *who* and a list of parts (methods, dates, paths, `when`, `unless`), each with a three-valued outcome; the
 * rule is their conjunction. A `require` has besides them what it demands of the requests that it touches.
 */

import { type CompiledCondition, compileCondition, fromLeaf, negate } from './compose-condition.ts'
import type { LeafCondition } from './condition.ts'
import type { Decision } from './decision.ts'
import type { Rule } from './document.ts'
import type { Facts, RequestFacts } from './facts.ts'
import { firstAfter } from './next-change.ts'
import { and, type Outcome, outcomeOf } from './outcome.ts'
import { compilePathPattern, headsOf } from './path-pattern.ts'
import { dayBounds } from './time-condition.ts'
import { type CompiledWho, compileWho } from './who.ts'

export interface CompiledRule {
  readonly name: string
  readonly verb: Rule['verb']
  /** The app's own, or from the top level. */
  readonly origin: 'app' | 'company'
  readonly isReport: boolean
  readonly isAlert: boolean
  readonly who: CompiledWho
  /** Everything but the subject, cheapest first. */
  readonly parts: readonly RulePart[]
  /** First segments that a path has to have for the rule to touch it (see `headOf`); `undefined`: any. */
  readonly heads: ReadonlySet<string> | undefined
  /** What a `require` demands; empty for the other verbs. */
  readonly demands: readonly CompiledCondition[]
  /** The decision where this allow applies: made once, frozen. */
  readonly allowed: Decision
}

/** One conjunct of a rule. What follows `unless` is here already in its opposite. */
export interface RulePart {
  readonly place: 'methods' | 'paths' | 'dates' | 'when' | 'unless'
  readonly condition: CompiledCondition
}

/** What a rule is compiled with. */
export interface RuleSurroundings {
  readonly origin: CompiledRule['origin']
  /** IANA name that dates are read in. */
  readonly zone: string
  readonly findLevel: (name: string) => CompiledCondition
}

/** Compiles a rule. Throws `TypeError` for an empty list: a deny for no method at all would silently do nothing. */
export function compileRule(rule: Rule, { origin, zone, findLevel }: RuleSurroundings): CompiledRule {
  const { name, verb, isReport, isAlert } = rule
  const who = compileWho(rule.who, verb)
  const parts: RulePart[] = []
  if (rule.methods !== undefined) parts.push({ place: 'methods', condition: fromLeaf('methods', compileMethods(rule.methods)) })
  if (rule.from !== undefined || rule.until !== undefined)
    parts.push({ place: 'dates', condition: fromLeaf('dates', compileDates(rule.from, rule.until, zone)) })
  if (rule.paths !== undefined) parts.push({ place: 'paths', condition: fromLeaf('paths', compilePaths(rule.paths, verb)) })
  for (const one of rule.when) parts.push({ place: 'when', condition: compileCondition(one, findLevel) })
  for (const one of rule.unless) parts.push({ place: 'unless', condition: negate(compileCondition(one, findLevel)) })
  const demands = rule.require.map((one) => compileCondition(one, findLevel))
  if ((verb === 'require') !== demands.length > 0)
    throw new TypeError(`the rule ${name} has to require something exactly if that is its verb`)
  const allowed: Decision = {
    effect: 'allow',
    reason: who.isPublic ? 'public' : 'rule_matched',
    rule: name,
    ...(isAlert ? { isAlert } : {}),
  }
  const heads = collectHeads(rule)
  return { name, verb, origin, isReport, isAlert, who, parts, heads, demands, allowed: Object.freeze(allowed) }
}

/** The outcome of a rule's parts, given the outcome of its *who*. */
export function judgeParts({ parts }: CompiledRule, who: Outcome, facts: Facts, isMended?: boolean): Outcome {
  let outcome = who
  for (const { condition } of parts) {
    outcome = and(outcome, condition.judge(facts, isMended))
    if (outcome === 'false') return outcome
  }
  return outcome
}

/** Whether everything that a `require` demands holds. */
export function judgeDemands({ demands }: CompiledRule, facts: Facts): Outcome {
  let outcome: Outcome = 'true'
  for (const demand of demands) {
    outcome = and(outcome, demand.judge(facts))
    if (outcome === 'false') return outcome
  }
  return outcome
}

function compileMethods({ names, classes }: NonNullable<Rule['methods']>): LeafCondition {
  if (names.length + classes.length === 0) throw new TypeError('a list of methods must not be empty')
  const nameSet = new Set(names)
  const classSet = new Set(classes)
  // A name never matches an Upgrade: `methods: [GET]` must not open a WebSocket.
  const judge = ({ request }: Facts) =>
    outcomeOf(classSet.has(request.methodClass) || (request.methodClass !== 'websocket' && nameSet.has(request.method)))
  const remedy = classSet.has('read') || nameSet.has('GET') || nameSet.has('HEAD') ? 'read_only' : 'ask_for_access'
  return {
    judge,
    findUnmet: (facts) => (judge(facts) === 'true' ? [] : [{ condition: 'methods', outcome: 'false', remedy }]),
    trace: (facts) => [traceOf('request.method', [...classes, ...names].join(', '), describeMethod(facts.request), judge(facts))],
    needs: [],
  }
}

function collectHeads({ paths, verb }: Rule): ReadonlySet<string> | undefined {
  const heads = new Set<string>()
  for (const pattern of paths ?? []) {
    const some = headsOf(pattern, readingOf(verb))
    if (some === undefined) return undefined
    for (const head of some) heads.add(head)
  }
  return paths === undefined ? undefined : heads
}

/** Only an allow takes a path for what it is spelled as; whatever keeps out also sees what some server might read. */
function readingOf(verb: Rule['verb']): 'exact' | 'loose' {
  return verb === 'allow' ? 'exact' : 'loose'
}

function compilePaths(patterns: readonly string[], verb: Rule['verb']): LeafCondition {
  if (patterns.length === 0) throw new TypeError('a list of paths must not be empty')
  const matchers = patterns.map((pattern) => compilePathPattern(pattern, readingOf(verb)))
  const judge = ({ request }: Facts) => outcomeOf(matchers.some((matches) => matches(request.path)))
  return {
    judge,
    findUnmet: (facts) => (judge(facts) === 'true' ? [] : [{ condition: 'paths', outcome: 'false', remedy: 'other_path' }]),
    trace: (facts) => [traceOf('request.path', patterns.join(', '), facts.request.path, judge(facts))],
    needs: [],
  }
}

/** Both days included, in the document's zone. */
function compileDates(from: string | undefined, until: string | undefined, zone: string): LeafCondition {
  const begin = from === undefined ? Number.NEGATIVE_INFINITY : dayBounds(from, zone).from
  const end = until === undefined ? Number.POSITIVE_INFINITY : dayBounds(until, zone).to
  const judge = ({ environment: { at } }: Facts): Outcome => (Number.isFinite(at) ? outcomeOf(at >= begin && at < end) : 'unknown')
  const wanted = [from === undefined ? '' : `from ${from}`, until === undefined ? '' : `until ${until}`, `(${zone})`]
    .filter(Boolean)
    .join(' ')
  return {
    judge,
    findUnmet: (facts) => {
      const outcome = judge(facts)
      if (outcome === 'true') return []
      if (outcome === 'unknown') return [{ condition: 'dates', outcome, remedy: 'condition_unknown' }]
      return facts.environment.at < begin
        ? [{ condition: 'dates', outcome, remedy: 'not_open_yet', details: { at: begin, zone } }]
        : [{ condition: 'dates', outcome, remedy: 'no_longer_open', details: { at: end, zone } }]
    },
    trace: (facts) => [{ ...traceOf('environment.at', wanted, facts.environment.at, judge(facts)), source: 'clock' }],
    needs: [],
    findNextChange: ({ environment }) => firstAfter(environment.at, begin, end),
  }
}

function describeMethod({ method, methodClass }: RequestFacts): string {
  return `${method} (${methodClass})`
}

function traceOf(fact: string, wanted: string, value: unknown, outcome: Outcome) {
  return { fact, wanted, value: { known: true, value } as const, source: 'request', at: undefined, outcome }
}
