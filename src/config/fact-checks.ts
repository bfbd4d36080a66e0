/**
 * Conditions whose facts nothing here can provide: a country without a database, a device that nothing identifies.
 *
 * Such a condition is *unknown* for everybody. An allow then never applies, a requirement is met by nobody, and a deny keeps out everybody
 * it is for, since it takes disproof. Each is safe and meant by nobody, so each is a warning with what to configure. Outcomes are computed
 * as sets: of every condition, which of true, false and unknown it could ever have.
 */

import { expressionNeeds } from '../policy/expression.ts'
import type { WrittenCondition } from './condition-schema.ts'
import { type ConditionKeyword, listConditions, type PlacedCondition } from './condition-tree.ts'
import type { InstanceConfiguration } from './instance.ts'
import { type FoundRule, type PolicyParts, verbOf } from './policy-parts.ts'
import type { Path } from './problems.ts'
import { type FoundCondition, findConditions } from './reference-checks.ts'

/** What this instance can tell of a request; `undefined` where its configuration is not known. */
export interface FactSources {
  readonly hasCertificates: boolean
  readonly hasDevices: boolean
  readonly hasCountries: boolean
  readonly hasNetworks: boolean
}

/** What the instance can tell. */
export function findSources(instance: Partial<InstanceConfiguration>): FactSources | undefined {
  if (instance.facts === undefined || instance.provider === undefined) return undefined
  const hasCertificates = instance.clientCertificate !== undefined
  return {
    hasCertificates,
    hasDevices: hasCertificates || instance.provider.claims.deviceId !== undefined,
    hasCountries: instance.facts.countryFile !== undefined,
    hasNetworks: instance.facts.asnFile !== undefined,
  }
}

/** Warns of conditions that are always unknown here, where they are written and where they decide. */
export function checkFacts(policy: PolicyParts, sources: FactSources): void {
  const missing: FoundCondition[] = []
  for (const found of findConditions(policy)) if (findMissing(found.condition, sources) !== undefined) missing.push(found)
  if (missing.length === 0) return
  const outcomes = createOutcomes(policy, sources)
  const said = new Set<string>()
  for (const found of [...policy.companyRules, ...policy.appRules]) {
    for (const keyword of ['require', 'when', 'unless'] as const) {
      for (const item of listConditions(found.rule, found.path, keyword)) {
        const consequence = explainConsequence(found, keyword, outcomes(item.condition))
        if (consequence === undefined) continue
        const lack = findMissing(item.condition, sources)
        if (lack !== undefined) said.add(keyOf(found.report.file, item))
        const place = lack === undefined ? item.path : [...item.path, ...lack.at]
        found.report.warning(place, `${lack?.message ?? 'this needs facts that nothing here provides'}: ${consequence}`, {
          suggestion: lack?.suggestion ?? 'see the other warnings for what is missing',
        })
      }
    }
  }
  for (const found of missing) {
    const lack = findMissing(found.condition, sources)
    if (lack === undefined || said.has(keyOf(found.report.file, found))) continue
    found.report.warning([...found.path, ...lack.at], `${lack.message}: this is unknown for everybody`, { suggestion: lack.suggestion })
  }
}

function keyOf(file: string, { path }: PlacedCondition): string {
  return JSON.stringify([file, ...path])
}

interface Lack {
  readonly message: string
  readonly suggestion: string
  readonly at: Path
}

/** The fact that a condition by itself needs and nothing provides. */
function findMissing(condition: WrittenCondition, sources: FactSources): Lack | undefined {
  const noDevice = {
    message: 'nothing here tells devices apart',
    suggestion: 'configure `client_certificate`, or `provider.claims.device_id`',
  }
  const noCountry = { message: 'there is no country database', suggestion: 'configure `facts.country_file`' }
  const noNetwork = { message: 'there is no database of autonomous systems', suggestion: 'configure `facts.asn_file`' }
  switch (condition.kind) {
    case 'device':
      if (!sources.hasDevices) return { ...noDevice, at: ['device'] }
      if (condition.identifiedBy === 'certificate' && !sources.hasCertificates)
        return {
          message: 'no certificate identifies a device here',
          suggestion: 'configure `client_certificate`',
          at: ['device', 'identified_by'],
        }
      return undefined
    case 'network':
      if (condition.countries !== undefined && !sources.hasCountries) return { ...noCountry, at: ['network', 'countries'] }
      return condition.asns !== undefined && !sources.hasNetworks ? { ...noNetwork, at: ['network', 'asns'] } : undefined
    case 'expression': {
      const needs = needsOf(condition.source)
      const at = ['expression']
      if (needs.includes('device') && !sources.hasDevices) return { ...noDevice, at }
      if (needs.includes('country') && !sources.hasCountries) return { ...noCountry, at }
      return needs.includes('asn') && !sources.hasNetworks ? { ...noNetwork, at } : undefined
    }
    default:
      return undefined
  }
}

function needsOf(source: string): readonly string[] {
  try {
    return expressionNeeds(source)
  } catch {
    // What is wrong with the expression is reported as such; it needs nothing while it cannot be read.
    return []
  }
}

const canBeTrue = 1
const canBeFalse = 2
const canBeUnknown = 4
const anything = canBeTrue | canBeFalse | canBeUnknown

/** Which outcomes a condition can have, through the levels it names. An expression is only blamed for what it would always need. */
function createOutcomes({ levels }: PolicyParts, sources: FactSources): (condition: WrittenCondition) => number {
  const known = new Map<string, number>()
  function outcomesOf(condition: WrittenCondition): number {
    switch (condition.kind) {
      case 'level': {
        const earlier = known.get(condition.name)
        if (earlier !== undefined) return earlier
        // Stands while a circle, which is reported elsewhere, leads back here.
        known.set(condition.name, anything)
        const level = levels.get(condition.name)
        const outcomes = level === undefined ? anything : outcomesOf(level.condition)
        known.set(condition.name, outcomes)
        return outcomes
      }
      case 'all_of':
        return condition.of.map(outcomesOf).reduce(andSets, canBeTrue)
      case 'any_of':
        return negate(condition.of.map(outcomesOf).map(negate).reduce(andSets, canBeTrue))
      case 'not':
        return negate(outcomesOf(condition.of))
      case 'network': {
        // Networks that are written out can disprove it even where the database is missing.
        const lacks = findMissing(condition, sources) !== undefined
        return lacks
          ? condition.cidrs === undefined && condition.cidrsFile === undefined
            ? canBeUnknown
            : canBeFalse | canBeUnknown
          : anything
      }
      case 'expression':
        // It may come to its end without the fact.
        return anything
      default:
        return findMissing(condition, sources) === undefined ? anything : canBeUnknown
    }
  }
  return outcomesOf
}

/** Every outcome that `and` can have of one from each set. */
function andSets(left: number, right: number): number {
  const isTrue = left & right & canBeTrue
  const isFalse = (left | right) & canBeFalse
  const isUnknown =
    (left & canBeUnknown && right & (canBeTrue | canBeUnknown)) || (right & canBeUnknown && left & (canBeTrue | canBeUnknown))
  return isTrue | isFalse | (isUnknown ? canBeUnknown : 0)
}

function negate(outcomes: number): number {
  return (outcomes & canBeUnknown) | (outcomes & canBeTrue ? canBeFalse : 0) | (outcomes & canBeFalse ? canBeTrue : 0)
}

/** What becomes of a rule by a condition that can never be true, or never be false. */
function explainConsequence({ rule }: FoundRule, keyword: ConditionKeyword, outcomes: number): string | undefined {
  const verb = verbOf(rule)
  if (verb === undefined) return undefined
  const isNeverTrue = (outcomes & canBeTrue) === 0
  const isNeverFalse = (outcomes & canBeFalse) === 0
  if (keyword === 'require') return isNeverTrue ? 'nobody meets this requirement' : undefined
  if (verb === 'allow') return (keyword === 'when' ? isNeverTrue : isNeverFalse) ? 'this rule never allows anybody' : undefined
  const holds = verb === 'deny' ? 'this deny keeps out everybody it is for' : 'this requirement is for everybody all the time'
  if (keyword === 'when') return isNeverFalse ? `${holds}, since nothing can disprove it` : undefined
  return isNeverTrue ? `${holds}, since nothing can take it away` : undefined
}
