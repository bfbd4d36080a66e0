/**
 * `client`: browser and system as the user agent states them. A hint for people who use the wrong browser, never proof of anything.
 *
 * Whoever sends the request chooses the user agent. A rule that keeps attackers out needs a device condition; what a user agent does not
 * say is unknown here as everywhere.
 */

import type { LeafCondition } from './condition.ts'
import { type ConditionKey, joinKeys } from './condition-keys.ts'
import type { ClientCondition, VersionBound } from './document.ts'
import type { ClientFacts, Known } from './facts.ts'
import { outcomeOf } from './outcome.ts'
import { checkBound, formatBound, isTooOld, judgeVersion } from './version-bound.ts'

/** Compiles a condition on the user agent. Throws `TypeError` for a version that nothing could be compared with. */
export function compileClientCondition(condition: ClientCondition): LeafCondition {
  const keys: ConditionKey[] = []
  if (condition.browsers !== undefined) keys.push(compileNames('browser', condition.browsers, 'browser_not_accepted'))
  if (condition.browserVersion !== undefined) keys.push(compileVersion(condition.browserVersion))
  if (condition.os !== undefined) keys.push(compileNames('os', condition.os, 'system_not_accepted'))
  return joinKeys('client', keys, ['client'])
}

function compileNames(
  name: 'browser' | 'os',
  wanted: readonly string[],
  remedy: 'browser_not_accepted' | 'system_not_accepted',
): ConditionKey {
  const names = new Set(wanted)
  return {
    judge: ({ environment }) => {
      const fact = environment.client[name]
      return fact.known ? outcomeOf(names.has(fact.value)) : 'unknown'
    },
    findRemedy: ({ environment }) => ({ remedy, details: { ...presentOf(environment.client[name]), wanted: wanted.join(', ') } }),
    trace: ({ environment }) => traceOf(name, wanted.join(', '), environment.client[name]),
  }
}

function compileVersion(bound: VersionBound): ConditionKey {
  checkBound(bound)
  return {
    judge: ({ environment }) => {
      const { browserVersion } = environment.client
      return browserVersion.known ? judgeVersion(browserVersion.value, bound) : 'unknown'
    },
    findRemedy: ({ environment: { client } }) => {
      const { browserVersion } = client
      const isComparable = browserVersion.known && judgeVersion(browserVersion.value, bound) === 'false'
      return {
        remedy: isComparable && isTooOld(browserVersion.value, bound) ? 'browser_outdated' : 'browser_not_accepted',
        details: { ...presentOf(browserVersion, client.browser), wanted: formatBound(bound) },
      }
    },
    trace: ({ environment }) => traceOf('browser_version', formatBound(bound), environment.client.browserVersion),
  }
}

function presentOf(fact: ClientFacts['browser'], before?: ClientFacts['browser']): { present?: string } {
  if (!fact.known) return {}
  return { present: before?.known ? `${before.value} ${fact.value}` : fact.value }
}

function traceOf(key: string, wanted: string, value: Known<string>): ReturnType<ConditionKey['trace']> {
  return { fact: `client.${key}`, wanted, value, source: 'user agent', at: undefined }
}
