/**
 * `expression`: a condition in CEL, for what the other conditions cannot say. The one door to the expression engine.
 *
 * Offered: the facts in `expressionFields`; `&& || ! ?:`, `== != < <= > >=`, `in`, `+ -`, lists, `x.y`, `x['y']`, `x[0]`; `size`,
 * `startsWith`, `endsWith`, `contains` (of a literal), `re(text, 'pattern')` and `text.re('pattern')` (RE2, matches anywhere), `has` (of
 * claims), `all`, `exists`, `exists_one`, `filter`. Refused when it is loaded, with the place: everything else, what is not a yes or
 * no, what is wrongly typed, and what could take long. A fact that is missing, and every error, is unknown; nothing is ever thrown.
 */

import { type ASTNode, Environment, EvaluationError, type ParseResult } from '@marcbachmann/cel-js'
import type { LeafCondition } from './condition.ts'
import { nextAgeing } from './device-posture.ts'
import {
  DeviceView,
  EnvironmentView,
  type ExpressionVariables,
  expressionFields,
  RequestView,
  reportedWithinSeconds,
  SignInView,
  SubjectView,
  viewFacts,
} from './expression-facts.ts'
import type { FactPath } from './expression-path.ts'
import { compilePattern } from './expression-pattern.ts'
import { type ExpressionProblem, maxSourceLength, surveyExpression } from './expression-subset.ts'
import { traceFact } from './expression-trace.ts'
import type { FactGroup, Facts } from './facts.ts'
import { joinNextChanges, type Timed } from './next-change.ts'
import { type Outcome, outcomeOf } from './outcome.ts'

/** Compiles an expression. Throws `TypeError` for one that `checkExpression` finds a problem with. */
export function compileExpression(source: string): LeafCondition {
  const read = readExpression(source)
  if ('problem' in read) throw new TypeError(`${read.problem} (at ${read.start})`)
  const { evaluate, facts: paths, needs } = read
  const judge = (facts: Facts): Outcome => judgeExpression(evaluate, facts)
  return {
    judge,
    findUnmet: (facts) => {
      const outcome = judge(facts)
      if (outcome === 'true') return []
      return [{ condition: 'expression', outcome, remedy: outcome === 'false' ? 'condition_not_met' : 'condition_unknown' }]
    },
    trace: (facts) => {
      const outcome = judge(facts)
      if (paths.length === 0) {
        return [{ fact: 'expression', wanted: source, value: { known: true, value: outcome }, source: 'policy', at: undefined, outcome }]
      }
      // Which of them decided cannot be said of an expression: each is shown with what the whole came to.
      return paths.map((path) => ({ ...traceFact(facts, path), wanted: source, outcome }))
    },
    needs,
    ...timedBy(paths),
  }
}

/** What is wrong with an expression and where, as offsets into the source; `undefined` if it can be used. */
export function checkExpression(source: string): ExpressionProblem | undefined {
  const read = readExpression(source)
  return 'problem' in read ? read : undefined
}

/** What has to be gathered for an expression; nothing for one that cannot be used. */
export function expressionNeeds(source: string): readonly FactGroup[] {
  const read = readExpression(source)
  return 'problem' in read ? [] : read.needs
}

/** The facts that an expression reads, such as `subject.claims.department`; none for one that cannot be used. */
export function expressionFacts(source: string): readonly string[] {
  const read = readExpression(source)
  return 'problem' in read ? [] : read.facts.map(({ variable, field, rest }) => [variable, field, ...rest].join('.'))
}

/** Paths of the claims that an expression reads by name; none for one that cannot be used. */
export function expressionClaims(source: string): readonly (readonly string[])[] {
  const read = readExpression(source)
  if ('problem' in read) return []
  return read.facts
    .filter(({ variable, field, rest }) => variable === 'subject' && field === 'claims' && rest.length > 0)
    .map(({ rest }) => rest)
}

interface Expression {
  readonly evaluate: (variables: ExpressionVariables) => unknown
  readonly facts: readonly FactPath[]
  readonly needs: readonly FactGroup[]
}

const language = createLanguage()

function readExpression(source: string): Expression | ExpressionProblem {
  const everything = { start: 0, end: source.length }
  if (source.length > maxSourceLength) return { problem: `it is longer than ${maxSourceLength} characters`, ...everything }
  let parsed: ParseResult
  try {
    parsed = language.parse(source)
  } catch (cause) {
    return { ...everything, ...problemOf(cause) }
  }
  const survey = surveyExpression(parsed.ast, source)
  if ('problem' in survey) return survey
  const { valid, type, error } = parsed.check()
  if (!valid) return { ...everything, ...problemOf(error) }
  if (type === 'dyn') return { problem: 'it has to be true or false, and could be anything: write `== true`', ...everything }
  if (type !== 'bool') return { problem: `it has to be true or false, and is ${type}`, ...everything }
  return { evaluate: parsed, facts: survey.facts, needs: findNeeds(survey.facts) }
}

function judgeExpression(evaluate: Expression['evaluate'], facts: Facts): Outcome {
  // Each missing fact is an error made and dropped: without a stack trace it costs a third. Nothing else runs meanwhile.
  const { stackTraceLimit } = Error
  Error.stackTraceLimit = 0
  try {
    const result = evaluate(viewFacts(facts))
    return typeof result === 'boolean' ? outcomeOf(result) : 'unknown'
  } catch {
    // Whatever went wrong, the expression did not say yes or no.
    return 'unknown'
  } finally {
    Error.stackTraceLimit = stackTraceLimit
  }
}

function findNeeds(facts: readonly FactPath[]): readonly FactGroup[] {
  const needs = new Set<FactGroup>()
  for (const { variable, field } of facts) {
    if (variable === 'device') needs.add('device')
    if (variable !== 'environment') continue
    if (field === 'country' || field === 'asn') needs.add(field)
    if (field === 'browser' || field === 'browser_version' || field === 'client_os') needs.add('client')
  }
  return [...needs].sort()
}

/** What an expression makes of a clock or of an age is its own affair: any instant may change it. */
function timedBy(facts: readonly FactPath[]): Timed {
  const anyMoment: Timed = { findNextChange: ({ environment }) => environment.at }
  return joinNextChanges(
    facts.map(({ variable, field }): Timed => {
      if ((variable === 'environment' && field === 'at') || (variable === 'sign_in' && field === 'age')) return anyMoment
      return variable === 'device' ? { findNextChange: nextAgeing(reportedWithinSeconds) } : {}
    }),
  )
}

/** Every error of the engine has a summary without the picture of the source, and mostly a place. */
function problemOf(cause: unknown): { problem: string; start?: number; end?: number } {
  if (!(cause instanceof Error) || !('summary' in cause)) return { problem: 'it cannot be read: it is nested too deeply' }
  const { code, summary, range } = cause as EvaluationError
  return { problem: code === 'limit_exceeded' ? 'it is too large, or nested too deeply' : summary, ...range }
}

function createLanguage(): Environment {
  const environment = new Environment({
    limits: { maxAstNodes: 256, maxDepth: 24, maxListElements: 100, maxMapEntries: 0, maxCallArguments: 3 },
  })
  const views = { subject: SubjectView, sign_in: SignInView, device: DeviceView, environment: EnvironmentView, request: RequestView }
  for (const name of Object.keys(expressionFields) as (keyof typeof expressionFields)[]) {
    const { name: type } = views[name]
    environment.registerType(type, { ctor: views[name], fields: expressionFields[name] }).registerVariable(name, type)
  }
  // As macros, so that the pattern is compiled with the expression and lives as long as it does.
  return environment
    .registerFunction('re(ast, ast): bool', ({ args: [text, pattern] }: MacroCall) => compileRe(text, pattern))
    .registerFunction('string.re(ast): bool', ({ receiver, args: [pattern] }: MacroCall) => compileRe(receiver, pattern))
}

interface MacroCall {
  readonly args: readonly ASTNode[]
  readonly receiver: ASTNode | null
}

/** What the engine hands to a macro when it checks and when it evaluates. */
interface Checker {
  check(node: ASTNode, context: unknown): { readonly name: string; readonly kind: string }
  getType(name: string): unknown
  createError(code: string, message: string, node: ASTNode): Error
}
interface Evaluator {
  run(node: ASTNode, context: unknown): unknown
}

function compileRe(text: ASTNode | null | undefined, pattern: ASTNode | undefined) {
  const compiled = pattern?.op === 'value' && typeof pattern.args === 'string' ? compilePattern(pattern.args) : 'no pattern'
  return {
    async: false,
    typeCheck: (checker: Checker, _macro: unknown, context: unknown): unknown => {
      // The survey has refused an expression without a usable pattern before types are checked.
      if (text === null || text === undefined) throw new TypeError('re() without a text')
      const { name, kind } = checker.check(text, context)
      if (name !== 'string' && kind !== 'dyn') throw checker.createError('no_such_overload', `re() wants a text, and this is ${name}`, text)
      return checker.getType('bool')
    },
    evaluate: (evaluator: Evaluator, _macro: unknown, context: unknown): boolean => {
      const value = text === null || text === undefined ? undefined : evaluator.run(text, context)
      if (typeof value !== 'string' || typeof compiled === 'string') throw new EvaluationError('re() wants a text')
      return compiled.matches(value)
    },
  }
}
