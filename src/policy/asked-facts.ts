/**
 * Which facts the rules of an app can look at, found in the document alone.
 *
 * Who decides again on recorded facts has to know beforehand whether what is missing there could matter: a fact that no rule names cannot.
 * More may be named here than a particular decision reads, never less. Rules in report mode count, as they do for `would`.
 */

import type { App, CompanyRule, Condition, PolicyDocument, Rule, Who } from './document.ts'
import { expressionClaims, expressionFacts } from './expression.ts'
import type { FactGroup } from './facts.ts'

/** `services`: an expression looks at all names that a token has. */
export type AskedFact = 'email' | 'groups' | 'address' | 'path' | 'services' | FactGroup

export interface AskedFacts {
  readonly facts: ReadonlySet<AskedFact>
  /** Claims by their paths, each once. */
  readonly claims: readonly (readonly string[])[]
  /** Names of services. */
  readonly services: ReadonlySet<string>
}

interface Collected {
  readonly facts: Set<AskedFact>
  readonly claims: Map<string, readonly string[]>
  readonly services: Set<string>
}

/** By app id, for every app of a checked document. */
export function collectAskedFacts({ apps, levels, rules }: PolicyDocument): ReadonlyMap<string, AskedFacts> {
  const conditions = new Map(levels.map(({ name, condition }) => [name, condition]))
  const byLevel = new Map<string, Collected>()

  /** Levels make no circle in a checked document, and each is looked into once. */
  function levelNamed(name: string): Collected {
    const known = byLevel.get(name)
    if (known !== undefined) return known
    const found = nothingAsked()
    byLevel.set(name, found)
    const condition = conditions.get(name)
    if (condition !== undefined) visit(condition, found)
    return found
  }

  function visit(condition: Condition, found: Collected): void {
    switch (condition.kind) {
      case 'level':
        merge(levelNamed(condition.name), found)
        break
      case 'not':
        visit(condition.of, found)
        break
      case 'all_of':
      case 'any_of':
        for (const one of condition.of) visit(one, found)
        break
      case 'subject':
        collectWho(condition.who, found)
        break
      case 'device':
      case 'client':
        found.facts.add(condition.kind)
        break
      case 'network':
        if (condition.cidrs !== undefined) found.facts.add('address')
        if (condition.countries !== undefined) found.facts.add('country')
        if (condition.asns !== undefined) found.facts.add('asn')
        break
      case 'expression':
        collectExpression(condition.source, found)
        break
      // Both are recorded with every decision, whatever else is left out.
      case 'time':
      case 'sign_in':
    }
  }

  const collectRule = (rule: Rule): Collected => {
    const found = nothingAsked()
    collectWho(rule.who, found)
    if (rule.paths !== undefined) found.facts.add('path')
    for (const condition of [...rule.require, ...rule.when, ...rule.unless]) visit(condition, found)
    return found
  }

  const company = rules.map((rule) => ({ rule, asked: collectRule(rule) }))
  return new Map(
    apps.map((app) => {
      const found = nothingAsked()
      if (app.report !== undefined) collectWho(app.report.pass, found)
      for (const rule of app.rules) merge(collectRule(rule), found)
      for (const { asked, rule } of company) if (touches(rule, app)) merge(asked, found)
      return [app.id, { facts: found.facts, claims: [...found.claims.values()], services: found.services }]
    }),
  )
}

function nothingAsked(): Collected {
  return { facts: new Set(), claims: new Map(), services: new Set() }
}

function merge(from: Collected, into: Collected): void {
  for (const fact of from.facts) into.facts.add(fact)
  for (const [key, path] of from.claims) into.claims.set(key, path)
  for (const name of from.services) into.services.add(name)
}

function addClaim(path: readonly string[], { claims }: Collected): void {
  claims.set(JSON.stringify(path), path)
}

function collectWho(who: Who, found: Collected): void {
  switch (who.kind) {
    case 'users':
    case 'domains':
      found.facts.add('email')
      return
    case 'groups':
      found.facts.add('groups')
      return
    case 'services':
      for (const name of who.names) found.services.add(name)
      return
    case 'claims':
      for (const { path } of who.claims) addClaim(path, found)
      return
    case 'any_of':
    case 'all_of':
      for (const one of who.of) collectWho(one, found)
      return
    case 'public':
    case 'everyone':
    case 'signed_in':
  }
}

function collectExpression(source: string, found: Collected): void {
  for (const fact of expressionFacts(source)) {
    const asked = askedByExpression(fact)
    if (asked !== undefined) found.facts.add(asked)
  }
  // As a whole, as they are recorded: see `claim-paths.ts`.
  for (const path of expressionClaims(source)) addClaim(path.slice(0, 1), found)
}

function askedByExpression(fact: string): AskedFact | undefined {
  const [variable, field = ''] = fact.split('.', 2)
  if (variable === 'device') return 'device'
  return named[`${variable}.${field}`]
}

const named: Readonly<Record<string, AskedFact>> = {
  'subject.email': 'email',
  'subject.groups': 'groups',
  'subject.services': 'services',
  'request.path': 'path',
  'environment.address': 'address',
  'environment.country': 'country',
  'environment.asn': 'asn',
  'environment.browser': 'client',
  'environment.browser_version': 'client',
  'environment.client_os': 'client',
}

/** Both narrowings hold where both are given. */
function touches(rule: CompanyRule, app: App): boolean {
  return (rule.apps?.includes(app.id) ?? true) && (rule.sensitivity?.includes(app.sensitivity) ?? true)
}
