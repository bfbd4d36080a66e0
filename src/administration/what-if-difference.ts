/**
 * What a draft says to a request otherwise than the policy in force, in sentences: which app answers, how it comes out, and which rules stand otherwise.
 *
 * Where one of the two cannot tell, nothing is compared. Names of rules come from documents; sentences are bounded in number.
 */

import { type RuleTrace, standingWords } from '../policy/explain.ts'
import type { WhatIfVerdict } from './what-if.ts'

/** More is read side by side. */
const mostDifferences = 30

/** What is otherwise under the second, in sentences. */
export function compareVerdicts(before: WhatIfVerdict, after: WhatIfVerdict): readonly string[] {
  if (before.gap !== undefined || after.gap !== undefined) return []
  const said: string[] = []
  if (before.app !== after.app) said.push(`answered by ${appWords(after.app)} instead of ${appWords(before.app)}`)
  if (before.effect !== after.effect) said.push(`${before.effect} becomes ${after.effect}: ${reasonOf(after)}`)
  else if (before.reason !== after.reason || before.rule !== after.rule)
    said.push(`still ${after.effect}: ${reasonOf(after)}; until now ${reasonOf(before)}`)
  const former = new Map((before.explanation?.rules ?? []).map((rule) => [keyOf(rule), rule]))
  for (const rule of after.explanation?.rules ?? []) {
    const earlier = former.get(keyOf(rule))
    former.delete(keyOf(rule))
    if (earlier === undefined) said.push(`${nameOf(rule)} is new: ${standingWords[rule.standing]}`)
    else if (earlier.standing !== rule.standing)
      said.push(`${nameOf(rule)}: ${standingWords[earlier.standing]} → ${standingWords[rule.standing]}`)
  }
  for (const rule of former.values()) said.push(`${nameOf(rule)} is gone; until now: ${standingWords[rule.standing]}`)
  return said.length <= mostDifferences ? said : [...said.slice(0, mostDifferences - 1), `and ${said.length - mostDifferences + 1} more`]
}

function keyOf({ name, origin, verb }: RuleTrace): string {
  return `${origin} ${verb} ${name}`
}

function nameOf({ name, verb }: RuleTrace): string {
  return `${verb} ${JSON.stringify(name)}`
}

/** Where no rule matched, the one that is named is the nearest. */
function reasonOf({ reason, rule }: WhatIfVerdict): string {
  if (rule === undefined) return reason ?? ''
  return reason === 'no_rule_matched'
    ? `${reason}, the nearest is ${JSON.stringify(rule)}`
    : `${reason}, by the rule ${JSON.stringify(rule)}`
}

function appWords(app: string | undefined): string {
  return app === undefined ? 'no app' : `the app ${app}`
}
