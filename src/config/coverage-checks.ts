/**
 * How rules stand to each other and to the sensitivity of an app: an allow that a deny always takes away, a public allow beside a deny on
 * identity, a requirement that touches nothing, proof that is none.
 *
 * All of it is safe as it stands, and hardly what was meant. Rules in report mode do nothing and are left out.
 */

import type { Who } from '../policy/document.ts'
import type { WrittenCondition } from './condition-schema.ts'
import { listConditions } from './condition-tree.ts'
import type { FactSources } from './fact-checks.ts'
import { type FoundRule, type PolicyParts, reaches, verbOf, whoOf } from './policy-parts.ts'
import { type Path, quote } from './problems.ts'
import { isForServicesOnly, isWithin } from './rule-checks.ts'
import { partsOf } from './who-schema.ts'

/** Warns of rules that do nothing because of others, or that open more than they look like. `sources` is what the instance can tell. */
export function checkCoverage(policy: PolicyParts, sources: FactSources | undefined): void {
  const leaves = createLeafIndex(policy)
  const warn = createWarner()
  const inForce = (found: FoundRule) => found.rule.mode !== 'report' && verbOf(found.rule) !== undefined
  const company = policy.companyRules.filter(inForce)
  const touched = new Set<FoundRule>()
  const byApp = Map.groupBy(policy.appRules.filter(inForce), ({ app }) => app)
  for (const app of policy.apps) {
    const own = byApp.get(app) ?? []
    const rules = [...company.filter((rule) => reaches(rule, app)), ...own]
    const allows = rules.filter(({ rule }) => verbOf(rule) === 'allow')
    const denies = rules.filter(({ rule }) => verbOf(rule) === 'deny')
    for (const allow of own.filter(({ rule }) => verbOf(rule) === 'allow')) warnIfShadowed(allow, denies, warn)
    for (const allow of allows) warnIfOpenBesideDeny(allow, denies, warn)
    for (const required of rules.filter(({ rule }) => verbOf(rule) === 'require')) {
      if (allows.some((allow) => mayTouch(required, allow))) touched.add(required)
    }
    if (app.app.sensitivity === 'restricted') for (const found of rules) warnOfWeakProof(found, { leaves, sources, warn })
  }
  for (const allow of company.filter(({ rule }) => verbOf(rule) === 'allow')) {
    const denies = company.filter(({ rule }) => verbOf(rule) === 'deny' && rule.apps === undefined && rule.sensitivity === undefined)
    warnIfShadowed(allow, denies, warn)
  }
  const isReadable = [...policy.companyRules, ...policy.appRules].every(({ rule }) => verbOf(rule) !== undefined)
  for (const found of [...company, ...policy.appRules.filter(inForce)]) {
    if (verbOf(found.rule) === 'require' && isReadable && policy.apps.length > 0 && !touched.has(found) && !hasReportMode(found, policy)) {
      warn(
        found,
        found.path,
        `the requirement ${quote(found.name)} touches no allow: it does nothing`,
        'see whom it is `for`, and which apps and paths it names',
      )
    }
    warnOfHints(found, leaves, warn)
  }
}

type Warn = (found: FoundRule, path: Path, message: string, suggestion: string) => void

/** A company rule meets many apps; what is the matter with it is said once. */
function createWarner(): Warn {
  const said = new Set<string>()
  return (found, path, message, suggestion) => {
    const key = JSON.stringify([found.report.file, path, message])
    if (!said.has(key)) found.report.warning(path, message, { suggestion })
    said.add(key)
  }
}

/** In report mode there is something to require of although no rule allows it. */
function hasReportMode(found: FoundRule, { apps }: PolicyParts): boolean {
  return apps.some((app) => app.app.report !== undefined && (found.app === app || (found.app === undefined && reaches(found, app))))
}

function warnIfShadowed(allow: FoundRule, denies: readonly FoundRule[], warn: Warn): void {
  const who = whoOf(allow.rule)
  if (who === undefined) return
  const deny = denies.find(({ rule }) => {
    const isUnconditional = [rule.when, rule.unless, rule.from, rule.until].every((key) => key === undefined)
    const denied = whoOf(rule)
    const covers = (key: 'methods' | 'paths') => rule[key] === undefined || JSON.stringify(rule[key]) === JSON.stringify(allow.rule[key])
    return isUnconditional && denied !== undefined && covers('methods') && covers('paths') && isWithin(who, denied)
  })
  if (deny === undefined) return
  const message = `this never lets anybody in: the deny ${quote(deny.name)} keeps out all of them`
  warn(allow, [...allow.path, 'allow'], message, 'remove one of the two, or name other people')
}

/** Whoever a deny on identity keeps out need only sign out to be let in by `public`, unless that asks for something else as well. */
function warnIfOpenBesideDeny(allow: FoundRule, denies: readonly FoundRule[], warn: Warn): void {
  const who = whoOf(allow.rule)
  if (who === undefined || allow.rule.when !== undefined || ![...partsOf(who)].some(({ kind }) => kind === 'public')) return
  for (const deny of denies) {
    const denied = whoOf(deny.rule)
    if (denied === undefined || isForEverybody(denied) || !mayOverlap(allow, deny)) continue
    const message = `\`public\` beside the deny ${quote(deny.name)}: whom that keeps out need only sign out`
    warn(allow, [...allow.path, 'allow'], message, 'deny `everyone: true`, or narrow the paths of one of them')
  }
}

function isForEverybody(who: Who): boolean {
  return who.kind === 'everyone' || (who.kind === 'any_of' && who.of.some(isForEverybody))
}

/** Whether two rules may speak of one request: unless methods or paths keep them apart for certain. */
function mayOverlap({ rule: a }: FoundRule, { rule: b }: FoundRule): boolean {
  return mayShare(a.methods, b.methods, methodsMayMeet) && mayShare(a.paths, b.paths, patternsMayMeet)
}

function mayShare(
  a: readonly (string | undefined)[] | undefined,
  b: readonly (string | undefined)[] | undefined,
  meet: (one: string, other: string) => boolean,
): boolean {
  if (a === undefined || b === undefined) return true
  return a.some((one) => b.some((other) => one === undefined || other === undefined || meet(one, other)))
}

function methodsMayMeet(a: string, b: string): boolean {
  return a === b || classOf(a) === b || classOf(b) === a
}

function classOf(method: string): string {
  if (method === 'read' || method === 'write' || method === 'websocket') return method
  return ['GET', 'HEAD', 'OPTIONS'].includes(method) ? 'read' : 'write'
}

function patternsMayMeet(a: string, b: string): boolean {
  const steps = a.toLowerCase().split('/')
  const others = b.toLowerCase().split('/')
  for (let index = 0; index < Math.max(steps.length, others.length); index += 1) {
    const step = steps[index]
    const other = others[index]
    if (step === '**' || other === '**') return true
    // A deny also matches with a slash at the end.
    if (step === undefined || other === undefined) return (step ?? other) === ''
    if (!step.includes('*') && !other.includes('*') && step !== other) return false
  }
  return true
}

/** Whether a requirement is of anybody whom an allow may let in. */
function mayTouch(required: FoundRule, allow: FoundRule): boolean {
  if (!mayOverlap(required, allow)) return false
  const wanted = whoOf(required.rule)
  const allowed = whoOf(allow.rule)
  if (wanted === undefined || allowed === undefined) return true
  const onlyPeople = wanted.kind === 'signed_in' || wanted.kind === 'groups' || wanted.kind === 'users' || wanted.kind === 'domains'
  if (onlyPeople && isForServicesOnly(allow)) return false
  if (!isForServicesOnly(required)) return true
  return [...partsOf(allowed)].some(({ kind }) => ['services', 'everyone', 'public', 'claims'].includes(kind))
}

type LeafIndex = (condition: WrittenCondition) => ReadonlySet<'client' | 'device' | 'device by claim' | 'device by certificate'>

/** Which kinds of proof a condition rests on, through the levels it names; what stands under `not` is no proof and is left out. */
function createLeafIndex({ levels }: PolicyParts): LeafIndex {
  const known = new Map<string, ReturnType<LeafIndex>>()
  const find: LeafIndex = (condition) => {
    switch (condition.kind) {
      case 'client':
        return new Set(['client'])
      case 'device':
        return new Set([condition.identifiedBy === undefined ? 'device' : (`device by ${condition.identifiedBy}` as const)])
      case 'level': {
        const earlier = known.get(condition.name)
        if (earlier !== undefined) return earlier
        known.set(condition.name, new Set())
        const level = levels.get(condition.name)
        const found = level === undefined ? new Set<never>() : find(level.condition)
        known.set(condition.name, found)
        return found
      }
      case 'all_of':
      case 'any_of':
        return new Set(condition.of.flatMap((part) => [...find(part)]))
      default:
        return new Set()
    }
  }
  return find
}

interface Proof {
  readonly leaves: LeafIndex
  readonly sources: FactSources | undefined
  readonly warn: Warn
}

/** A claim repeats what the provider believed at sign-in: the device may be in another room by now. */
function warnOfWeakProof(found: FoundRule, { leaves, sources, warn }: Proof): void {
  if (verbOf(found.rule) === 'deny') return
  for (const keyword of ['when', 'require'] as const) {
    for (const { condition, path } of listConditions(found.rule, found.path, keyword)) {
      const proofs = leaves(condition)
      const isOnlyClaimed = proofs.has('device') && sources?.hasDevices === true && !sources.hasCertificates
      if (proofs.has('device by certificate') || !(proofs.has('device by claim') || isOnlyClaimed)) continue
      const message = 'on a restricted app the device is only what a claim says, which does not prove that it is here'
      warn(found, path, message, 'configure `client_certificate` and write `identified_by: certificate`')
    }
  }
}

/** Anybody can send any user agent. */
function warnOfHints(found: FoundRule, leaves: LeafIndex, warn: Warn): void {
  if (verbOf(found.rule) === 'deny') return
  for (const keyword of ['when', 'require'] as const) {
    for (const { condition, path } of listConditions(found.rule, found.path, keyword)) {
      if (!leaves(condition).has('client')) continue
      const message = 'a `client` condition is a hint, never proof: anybody can send any user agent'
      warn(found, path, message, 'where it has to keep somebody out, ask for a `device` condition')
    }
  }
}
