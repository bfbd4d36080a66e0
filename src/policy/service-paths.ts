/**
 * Where in an app a bearer token is Postern's to read: on the paths of the rules that name services, and nowhere else.
 *
 * Elsewhere `Authorization` is between the app and its own callers. Paths are matched loosely, whatever the verb: where a spelling of
 * `/api` might reach the rule's resource, the token that comes with it is judged and never handed to the app. A rule in report mode
 * claims nothing, because it must not change what becomes of a request.
 */

import type { App, CompanyRule, Condition, PolicyDocument, Rule, Who } from './document.ts'
import { compilePathPattern, type PathMatcher } from './path-pattern.ts'

/** Compiles the paths of one app on which a bearer token is ours; of a checked document. */
export function compileServicePaths(app: App, { rules, levels }: Pick<PolicyDocument, 'rules' | 'levels'>): PathMatcher {
  const conditions = new Map(levels.map(({ name, condition }) => [name, condition]))
  const naming = [...app.rules, ...rules.filter((rule) => touches(rule, app))].filter((rule) => !rule.isReport && names(rule, conditions))
  if (naming.some(({ paths }) => paths === undefined)) return () => true
  const matchers = naming.flatMap(({ paths }) => paths ?? []).map((pattern) => compilePathPattern(pattern, 'loose'))
  return matchers.length === 0 ? () => false : (path) => matchers.some((matches) => matches(path))
}

type Levels = ReadonlyMap<string, Condition>

function names(rule: Rule, levels: Levels): boolean {
  return namesService(rule.who) || [...rule.require, ...rule.when, ...rule.unless].some((one) => asksForService(one, levels))
}

function namesService(who: Who): boolean {
  if (who.kind === 'any_of' || who.kind === 'all_of') return who.of.some(namesService)
  return who.kind === 'services'
}

/** Levels make no circle in a checked document. */
function asksForService(condition: Condition, levels: Levels): boolean {
  switch (condition.kind) {
    case 'level': {
      const named = levels.get(condition.name)
      return named !== undefined && asksForService(named, levels)
    }
    case 'all_of':
    case 'any_of':
      return condition.of.some((one) => asksForService(one, levels))
    case 'not':
      return asksForService(condition.of, levels)
    case 'subject':
      return namesService(condition.who)
    default:
      return false
  }
}

function touches(rule: CompanyRule, app: App): boolean {
  return (rule.apps?.includes(app.id) ?? true) && (rule.sensitivity?.includes(app.sensitivity) ?? true)
}
