/**
 * Names in a policy that something has to define: levels, strengths and services; and levels that cannot be what they are made of.
 *
 * Levels that make a circle have no meaning, and levels that double with each step have too much of it: both are refused, since a
 * decision must end, and end soon.
 */

import type { Who } from '../policy/document.ts'
import { listAllConditions, type PlacedCondition, walkCondition } from './condition-tree.ts'
import type { KnownInstance } from './known-instance.ts'
import type { FoundLevel, PolicyParts } from './policy-parts.ts'
import { quote, type Report, suggestNearest } from './problems.ts'
import { partsOf } from './who-schema.ts'

/** Conditions that one level may come to when all that it names is put in; far beyond what anybody can review. */
const maxConditionsInLevel = 5000

/** Levels that may build on each other: nobody follows more, and neither shall the stack. */
const maxLevelDepth = 100

/** A condition with its place and the report of its file. */
export interface FoundCondition extends PlacedCondition {
  readonly report: Report
}

/** Every condition of a policy, those within others included. */
export function* findConditions({ levels, companyRules, appRules }: PolicyParts): Generator<FoundCondition> {
  for (const { condition, path, report } of levels.values()) {
    for (const placed of walkCondition(condition, path)) yield { ...placed, report }
  }
  for (const { rule, path, report } of [...companyRules, ...appRules]) {
    for (const item of listAllConditions(rule, path)) {
      for (const placed of walkCondition(item.condition, item.path)) yield { ...placed, report }
    }
  }
}

/**
 * Reports names that nothing defines, circles of levels, levels that nothing uses, and issuers that are never accepted. Returns whether
 * levels come to an end, so that they may be followed.
 */
export function checkReferences(
  policy: PolicyParts,
  { consoleLevels = [], strengths }: KnownInstance,
  accessUrl: URL | undefined,
): boolean {
  const used = new Set<string>()
  for (const { condition, path, report } of findConditions(policy)) {
    if (condition.kind === 'level') {
      used.add(condition.name)
      if (!policy.levelNames.has(condition.name)) {
        report.problem(path, `there is no level ${quote(condition.name)}`, {
          expected: 'a level that the document defines, or a condition such as `{ sign_in: { strength: mfa } }`',
          suggestion: suggestNearest(condition.name, policy.levelNames),
        })
      }
    } else if (condition.kind === 'sign_in' && condition.strength !== undefined && strengths !== undefined) {
      if (!strengths.has(condition.strength)) {
        report.problem([...path, 'sign_in', 'strength'], `there is no strength ${quote(condition.strength)}`, {
          expected: 'a strength of `provider.strengths` in the instance configuration',
          suggestion: suggestNearest(condition.strength, strengths.keys()),
        })
      }
    } else if (condition.kind === 'subject') checkSubject(condition.who, { condition, path, report }, policy)
  }
  checkConsoleLevels(policy, consoleLevels, used)
  const isBounded = checkCircles(policy)
  checkIssuers(policy, accessUrl)
  for (const level of policy.levels.values()) {
    if (!used.has(level.name))
      level.report.warning(level.path, `the level ${quote(level.name)} is used nowhere`, { suggestion: 'use it or remove it', at: 'key' })
  }
  return isBounded
}

function checkSubject(who: Who, { path, report }: FoundCondition, policy: PolicyParts): void {
  const at = [...path, 'subject']
  checkServices(who, at, report, policy)
  if ([...partsOf(who)].some(({ kind }) => kind === 'public'))
    report.problem(at, '`public` stands in `allow` only', { suggestion: 'write `everyone: true` for everybody who can be told apart' })
}

/** Reports services that nothing defines. */
export function checkServices(who: Who, at: FoundCondition['path'], report: Report, { serviceNames }: PolicyParts): void {
  for (const part of partsOf(who)) {
    if (part.kind !== 'services') continue
    for (const name of part.names) {
      if (serviceNames.has(name)) continue
      report.problem(at, `no service ${quote(name)} is defined`, {
        expected: 'a service that the document defines',
        suggestion: suggestNearest(name, serviceNames),
      })
    }
  }
}

/** Reports each circle once, where it closes, as `a → b → a`; and levels that come to more than anybody can review. */
function checkCircles({ levels }: PolicyParts): boolean {
  let isBounded = true
  const sizes = new Map<string, number>()
  const trail: string[] = []

  /** How many conditions a level comes to; a circle counts as nothing, since it is reported. */
  function measure(level: FoundLevel): number {
    const known = sizes.get(level.name)
    if (known !== undefined) return known
    trail.push(level.name)
    let size = 0
    for (const { condition, path } of walkCondition(level.condition, level.path)) {
      size += 1
      const next = condition.kind === 'level' ? levels.get(condition.name) : undefined
      if (next === undefined) continue
      const start = trail.indexOf(next.name)
      if (start !== -1 || trail.length >= maxLevelDepth) isBounded = false
      if (start === -1 && trail.length >= maxLevelDepth) {
        level.report.problem(path, `levels build on each other more than ${maxLevelDepth} deep`, {
          suggestion: 'let fewer levels build on each other',
        })
        size = 1
      } else if (start === -1) size += measure(next)
      else {
        const circle = [...trail.slice(start), next.name]
        const shown = circle.length > 12 ? [...circle.slice(0, 10), '…', next.name] : circle
        level.report.problem(path, `levels that build on each other in a circle: ${shown.map((name) => name.slice(0, 64)).join(' → ')}`, {
          suggestion: 'take one of them out of another',
        })
      }
    }
    trail.pop()
    if (size > maxConditionsInLevel) {
      isBounded = false
      level.report.problem(level.path, `this level comes to more than ${maxConditionsInLevel} conditions`, {
        suggestion: 'let fewer levels build on each other',
        at: 'key',
      })
      // Said once, and not again for every level that builds on it.
      size = 1
    }
    sizes.set(level.name, size)
    return size
  }

  for (const level of levels.values()) measure(level)
  return isBounded
}

/** Our own assertions and sessions are for apps; a service that they prove would be any signed-in person's script. */
function checkIssuers({ services }: PolicyParts, accessUrl: URL | undefined): void {
  for (const { service, path, report } of services.values()) {
    if (accessUrl === undefined || !URL.canParse(service.issuer)) continue
    const issuer = new URL(service.issuer)
    if (issuer.hostname === accessUrl.hostname) {
      report.problem([...path, 'jwt', 'issuer'], 'this is the access host, which never vouches for a service', {
        expected: 'the issuer of its access tokens',
      })
    }
  }
}

/** The console is behind levels of the document: without one of them nobody could enter it any more, not even to put it back. */
function checkConsoleLevels({ files, levelNames }: PolicyParts, consoleLevels: readonly string[], used: Set<string>): void {
  for (const name of consoleLevels) {
    used.add(name)
    if (levelNames.has(name)) continue
    files[0]?.report.problem([], `there is no level ${quote(name)}, which \`console.require\` of the instance configuration names`, {
      suggestion: suggestNearest(name, levelNames) ?? 'define it below `levels:`',
    })
  }
}
