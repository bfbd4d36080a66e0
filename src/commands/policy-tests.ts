/**
 * Running the tests beside a policy: each is one decision by the very function that enforces, compared with what was expected.
 *
 * Used by `postern test`, and by `serve` and every reload where `policy_tests: required` says that a policy which fails its own
 * tests is never in force. Pure but for the files that the caller loaded.
 */

import { factsOf } from '../administration/given.ts'
import type { EnvironmentReader } from '../attributes/environment-facts.ts'
import type { PolicyTest, PolicyTestOutcome } from '../config/load-policy-tests.ts'
import { findAsked } from '../enforcement/asked.ts'
import type { Snapshot } from '../enforcement/ports.ts'
import type { Decision, Reason } from '../policy/decision.ts'
import { explainDecision, type RuleTrace } from '../policy/explain.ts'
import { printConditions } from './explanation-text.ts'

export interface PolicyTestResult {
  readonly test: PolicyTest
  readonly isPassed: boolean
  /** What was decided, in the words of a test. */
  readonly got: string
  /** For people: what of the nearest rule did not hold; empty for a test that passed. */
  readonly why: readonly string[]
}

/** Runs every test against a snapshot. */
export function runPolicyTests(
  snapshot: Pick<Snapshot, 'routes'>,
  tests: readonly PolicyTest[],
  readEnvironment: EnvironmentReader,
): readonly PolicyTestResult[] {
  return tests.map((test) => runTest(snapshot, test, readEnvironment))
}

function runTest(snapshot: Pick<Snapshot, 'routes'>, test: PolicyTest, readEnvironment: EnvironmentReader): PolicyTestResult {
  const found = findAsked(snapshot, test)
  if (found.outcome === 'refused') {
    const isPassed = test.expected.outcome === 'deny' && (test.expected.because === found.reason || isAsked(test.expected, found.reason))
    return { test, isPassed, got: `deny: ${found.reason}`, why: isPassed ? [] : ['no app of this policy would get this request'] }
  }
  const scheme = test.url.protocol === 'https:' ? 'https' : 'http'
  const facts = factsOf(test.given, found.request, readEnvironment, scheme)
  const { decision, rules } = explainDecision(found.route.policy, facts)
  const isPassed = isAsExpected(test.expected, decision)
  return { test, isPassed, got: printDecision(decision), why: isPassed ? [] : whyOf(rules, decision) }
}

/** A bare `deny` speaks of an app: a host or a path that is misspelled would be refused for ever, whatever the rules say. */
function isAsked({ because }: PolicyTestOutcome, reason: Reason): boolean {
  return because === undefined && reason !== 'app_not_found' && reason !== 'path_not_found'
}

function isAsExpected({ because, outcome }: PolicyTestOutcome, decision: Decision): boolean {
  switch (decision.effect) {
    case 'allow':
      return outcome === 'allow' && (because === undefined || because === decision.rule || because === decision.reason)
    case 'challenge':
      return outcome === decision.challenge
    case 'deny':
      return (
        outcome === 'deny' &&
        (because === undefined || because === decision.reason || decision.unmet.some(({ remedy }) => remedy === because))
      )
  }
}

/** A decision in the words that a test expects it in. */
export function printDecision(decision: Decision): string {
  switch (decision.effect) {
    case 'allow':
      return decision.reason === 'rule_matched' ? `allow: ${decision.rule}` : `allow: ${decision.reason} (${decision.rule})`
    case 'challenge':
      return decision.challenge === 'sign_in' ? 'sign_in' : `step_up, for ${decision.rule}`
    case 'deny': {
      const unmet = [...new Set(decision.unmet.map(({ remedy }) => remedy))].join(', ')
      const rule = decision.rule === undefined ? '' : ` (${decision.reason === 'denied_by_rule' ? 'by' : 'nearest rule'} ${decision.rule})`
      return `deny: ${decision.reason}${unmet === '' ? '' : `: ${unmet}`}${rule}`
    }
  }
}

function whyOf(rules: readonly RuleTrace[], decision: Decision): readonly string[] {
  const name =
    decision.effect === 'challenge' && decision.challenge === 'sign_in' ? undefined : 'rule' in decision ? decision.rule : undefined
  const rule = rules.find((one) => one.name === name)
  return rule === undefined ? [] : printConditions(rule)
}

/** The report of `postern test`: failures with what was expected and what came, then the count. */
export function printPolicyTests(results: readonly PolicyTestResult[]): string {
  const failed = results.filter(({ isPassed }) => !isPassed)
  const lines = failed.flatMap(({ got, test, why }) => [
    `FAILED  ${test.name}  (${test.file}:${test.line})`,
    `        ${test.words}`,
    `        expected  ${printExpected(test.expected)}`,
    `        got       ${got}`,
    ...why.map((line) => `                  ${line}`),
    '',
  ])
  const passed = results.length - failed.length
  return [...lines, `${passed} passed, ${failed.length} failed`].join('\n')
}

function printExpected({ because, outcome }: PolicyTestOutcome): string {
  return because === undefined ? outcome : `${outcome}: ${because}`
}
