/**
 * What can be wrong with a rule although each of its values is well formed: names that are there twice or that nothing defines,
 * selectors that have no meaning where they stand, and openings that are wider than an app's sensitivity.
 */

import type { Who } from '../policy/document.ts'
import { type FoundApp, type FoundRule, nameOf, namePlace, type PolicyParts, reaches, verbOf, whoOf } from './policy-parts.ts'
import { type Path, quote, type Report, suggestNearest } from './problems.ts'
import { checkServices } from './reference-checks.ts'
import { partsOf } from './who-schema.ts'

/** Reports on every rule by itself, and on the rules of each app together. */
export function checkRules(policy: PolicyParts): void {
  checkRuleNames(policy.companyRules)
  for (const found of policy.companyRules) {
    checkWho(found, policy)
    checkSelection(found, policy)
  }
  for (const found of policy.appRules) checkWho(found, policy)
  const byApp = Map.groupBy(policy.appRules, ({ app }) => app)
  for (const app of policy.apps) {
    const own = byApp.get(app) ?? []
    checkRuleNames(own)
    checkReport(app, policy)
    warnIfUnreachable(app, own, policy)
    for (const found of own) warnIfWide(found, app)
  }
}

/** Company rules of all files are one list: two of a name could not be told apart in an explanation. */
function checkRuleNames(rules: readonly FoundRule[]): void {
  const seen = new Map<string, FoundRule>()
  for (const found of rules) {
    const { rule, name, path, report } = found
    const earlier = seen.get(name)
    if (earlier === undefined) seen.set(name, found)
    else {
      report.problem(
        [...path, ...(rule.name === undefined ? [] : ['name'])],
        `the rule ${quote(name)} is already there ${namePlace(earlier, report)}`,
        { suggestion: 'give each rule a name of its own: explanations and audit speak of rules by name' },
      )
    }
  }
}

function checkWho({ rule, path, report }: FoundRule, policy: PolicyParts): void {
  for (const key of ['allow', 'deny', 'for'] as const) {
    const who = rule[key] as Who | undefined
    if (who === undefined) continue
    checkSelector(who, key, [...path, key], report)
    checkServices(who, [...path, key], report, policy)
  }
}

function checkSelector(who: Who, key: 'allow' | 'deny' | 'for' | 'pass', at: Path, report: Report): void {
  for (const part of partsOf(who)) {
    if (part.kind === 'public' && key !== 'allow') {
      const mend = key === 'deny' ? 'write `everyone: true` to keep everybody out' : 'write `everyone: true`, or name people'
      report.problem(at, '`public` stands in `allow` only', { suggestion: mend })
    } else if (
      key === 'allow' &&
      part.kind === 'all_of' &&
      part.of.some((inner) => [...partsOf(inner)].some(({ kind }) => kind === 'public'))
    ) {
      report.problem(at, '`public` cannot be narrowed by `all_of`: nobody need sign in, so nothing is known of them')
    }
  }
}

/** `apps` names apps; and what reaches every app reaches the restricted ones. */
function checkSelection(found: FoundRule, { apps }: PolicyParts): void {
  const { rule, path, report } = found
  const ids = new Set(apps.map(({ app }) => app.id).filter((id) => id !== undefined))
  for (const [position, id] of (rule.apps ?? []).entries()) {
    if (id !== undefined && !ids.has(id))
      report.problem([...path, 'apps', position], `there is no app ${quote(id)}`, { suggestion: suggestNearest(id, ids) })
  }
  if (rule.allow === undefined || rule.mode === 'report') return
  const wide = findWide(rule.allow as Who)
  if (wide === undefined) return
  if (rule.apps === undefined) {
    if (rule.sensitivity === undefined || rule.sensitivity.includes('restricted'))
      report.warning([...path, 'allow'], 'this lets a very wide circle into every app, restricted ones included')
    return
  }
  const restricted = apps.find((app) => app.app.sensitivity === 'restricted' && reaches(found, app))
  if (restricted !== undefined) report.warning([...path, 'allow'], `\`${wide}\` on a restricted app: ${nameOf(restricted)}`)
}

function warnIfWide({ rule, path, report }: FoundRule, { app }: FoundApp): void {
  const wide = rule.allow === undefined || rule.mode === 'report' ? undefined : findWide(rule.allow as Who)
  if (wide !== undefined && app.sensitivity === 'restricted') report.warning([...path, 'allow'], `\`${wide}\` on a restricted app`)
}

/** The selector that nearly everybody meets: alone, as one of several, or in every part of an `all_of`. */
export function findWide(who: Who): 'public' | 'everyone' | 'signed_in' | undefined {
  if (who.kind === 'public' || who.kind === 'everyone' || who.kind === 'signed_in') return who.kind
  if (who.kind === 'any_of') return who.of.map(findWide).find((kind) => kind !== undefined)
  if (who.kind !== 'all_of') return undefined
  const parts = who.of.map(findWide)
  return parts.every((kind) => kind !== undefined) ? parts[0] : undefined
}

function warnIfUnreachable(found: FoundApp, rules: readonly FoundRule[], { companyRules }: PolicyParts): void {
  const { app, path, report } = found
  const isAllowed = (rule: FoundRule) => verbOf(rule.rule) === 'allow' && rule.rule.mode !== 'report'
  // A company rule that allows, or an app that is in report mode, is a way in.
  if (app.report !== undefined || companyRules.some((rule) => isAllowed(rule) && reaches(rule, found))) return
  if ((app.rules ?? []).length === 0) {
    report.warning(path, `the app ${nameOf(found)} has no rules, and no company rule allows anybody: it is reachable by nobody`)
    return
  }
  // A rule that could not be read may well be the one that allows.
  const isReadable = rules.length === app.rules?.length && rules.every(({ rule }) => verbOf(rule) !== undefined)
  if (isReadable && !rules.some(isAllowed)) {
    report.warning(
      [...path, 'rules'],
      `no rule of the app ${nameOf(found)} allows anybody, nor does a company rule: it is reachable by nobody`,
    )
  }
}

/** Report mode lets people through whom no rule allows, so it has an end where an error costs most. */
function checkReport({ app, path, report }: FoundApp, policy: PolicyParts): void {
  const written = app.report
  if (written === undefined) return
  const pass = written.pass as Who | undefined
  if (app.sensitivity === 'restricted' && pass !== undefined && written.until === undefined) {
    report.problem([...path, 'report'], 'report mode on a restricted app needs a day on which it ends', {
      expected: '`until: YYYY-MM-DD`',
      at: 'key',
    })
  }
  if (pass === undefined) return
  checkSelector(pass, 'pass', [...path, 'report', 'pass'], report)
  checkServices(pass, [...path, 'report', 'pass'], report, policy)
  const wide = findWide(pass)
  if (wide !== undefined && wide !== 'public' && app.sensitivity === 'restricted')
    report.warning([...path, 'report', 'pass'], `\`${wide}\` passes on a restricted app`, { suggestion: 'name groups or people' })
}

/** Whether everybody whom `inner` names is also named by `outer`. May say no where the answer is yes, never the other way round. */
export function isWithin(inner: Who, outer: Who): boolean {
  if (inner.kind === 'any_of') return inner.of.every((part) => isWithin(part, outer))
  if (outer.kind === 'any_of') return outer.of.some((part) => isWithin(inner, part))
  if (outer.kind === 'all_of') return outer.of.every((part) => isWithin(inner, part))
  if (inner.kind === 'all_of') return inner.of.some((part) => isWithin(part, outer))
  switch (outer.kind) {
    case 'everyone':
      return true
    case 'signed_in':
      return inner.kind === 'signed_in' || inner.kind === 'users' || inner.kind === 'domains' || inner.kind === 'groups'
    case 'users':
      return inner.kind === 'users' && inner.emails.every((email) => outer.emails.includes(email))
    case 'domains':
      return inner.kind === 'domains'
        ? inner.domains.every((domain) => outer.domains.includes(domain))
        : inner.kind === 'users' && inner.emails.every((email) => outer.domains.includes(email.slice(email.lastIndexOf('@') + 1)))
    case 'groups':
      return inner.kind === 'groups' && inner.groups.every((group) => outer.groups.includes(group))
    case 'services':
      return inner.kind === 'services' && inner.names.every((name) => outer.names.includes(name))
    default:
      return false
  }
}

/** Whether a rule can only be about callers without a browser. */
export function isForServicesOnly({ rule }: FoundRule): boolean {
  const who = whoOf(rule)
  return who !== undefined && namesOnlyServices(who)
}

function namesOnlyServices(who: Who): boolean {
  if (who.kind === 'any_of') return who.of.every(namesOnlyServices)
  if (who.kind === 'all_of') return who.of.some(namesOnlyServices)
  return who.kind === 'services'
}
