/**
 * The posture of a device: its attributes, each believed only as far as its source and age allow, and the keys of `device` that ask for them.
 *
 * Posture is what somebody said at some time. A report older than the rule accepts, from the future, for a device that nobody registered,
 * or of another type than the rule compares with is no answer: unknown, never the value that it happens to have.
 */

import type { ConditionKey, RemedyFound } from './condition-keys.ts'
import type { DeviceCondition, Scalar } from './document.ts'
import type { DeviceAttribute, Facts } from './facts.ts'
import { firstAfter, type NextChange } from './next-change.ts'
import { type Outcome, outcomeOf } from './outcome.ts'
import { checkBound, formatBound, isTooOld, judgeVersion } from './version-bound.ts'

/** Attributes that are true or false and have a key of their own. */
export type BooleanSetting = 'managed' | 'disk_encrypted' | 'screen_lock' | 'firewall'

/** Why an attribute does not count. */
export type Missing = 'device_unidentified' | 'device_unknown' | 'device_never_reported' | 'device_report_too_old'

/** How far the clock of a device or a management system may run ahead of ours. */
const toleratedSkewMilliseconds = 300_000

/** The remedy where a setting is off that has to be on, or on that has to be off. */
const settingRemedies: Readonly<Record<BooleanSetting, readonly [ifOff: RemedyFound['remedy'], ifOn: RemedyFound['remedy']]>> = {
  managed: ['device_not_managed', 'device_managed'],
  disk_encrypted: ['disk_not_encrypted', 'device_setting'],
  screen_lock: ['screen_lock_off', 'device_setting'],
  firewall: ['firewall_off', 'device_setting'],
}

/** A setting that is to be on, or to be off. Anything but a boolean says neither. */
export function compileBoolean(name: BooleanSetting, wanted: boolean, withinSeconds: number): ConditionKey {
  const judge = (value: DeviceAttribute['value']): Outcome => (typeof value === 'boolean' ? outcomeOf(value === wanted) : 'unknown')
  return compileSetting({ name, wanted: String(wanted), withinSeconds, judge, remedy: settingRemedies[name][wanted ? 0 : 1] })
}

/** An attribute by name that is, or contains, one of the values. Types count: `1` is not `"1"`. */
export function compileAttribute(name: string, values: readonly Scalar[], withinSeconds: number): ConditionKey {
  const wanted = new Set<Scalar>(values)
  const judge = (value: DeviceAttribute['value']): Outcome =>
    outcomeOf(isScalar(value) ? wanted.has(value) : value.some((one) => wanted.has(one)))
  return compileSetting({ name, wanted: values.map(String).join(', '), withinSeconds, judge, remedy: 'device_setting' })
}

/** A system that is listed, in a version within its bound. A system that is not listed does not pass. */
export function compileOs(accepted: NonNullable<DeviceCondition['os']>, withinSeconds: number): ConditionKey {
  for (const { bound } of accepted) if (bound !== undefined) checkBound(bound)
  const format = (one: (typeof accepted)[number]) => (one.bound === undefined ? one.name : `${one.name} ${formatBound(one.bound)}`)
  const judge = (facts: Facts): Outcome => {
    const name = findText(facts, 'os', withinSeconds)
    if (name === undefined) return 'unknown'
    const bounds = accepted.filter((one) => one.name === name)
    if (bounds.length === 0) return 'false'
    if (bounds.some(({ bound }) => bound === undefined)) return 'true'
    const version = findText(facts, 'os_version', withinSeconds)
    const outcomes = bounds.map(({ bound }) => (bound === undefined ? 'true' : judgeVersion(version, bound)))
    return outcomes.includes('true') ? 'true' : outcomes.includes('unknown') ? 'unknown' : 'false'
  }
  return {
    judge,
    findRemedy: (facts) => {
      const name = findText(facts, 'os', withinSeconds)
      const version = findText(facts, 'os_version', withinSeconds)
      if (judge(facts) === 'unknown') return findMissingRemedy(facts, name === undefined ? 'os' : 'os_version', withinSeconds)
      const listed = accepted.filter((one) => one.name === name)
      const isOutdated = listed.some(({ bound }) => bound !== undefined && version !== undefined && isTooOld(version, bound))
      return {
        remedy: isOutdated ? 'os_outdated' : 'os_not_accepted',
        details: { ...presentSystem(facts), wanted: (isOutdated ? listed : accepted).map(format).join(', ') },
      }
    },
    trace: (facts) => {
      const os = readAttribute(facts, 'os', withinSeconds)
      const version = readAttribute(facts, 'os_version', withinSeconds)
      const value = [os, version].flatMap((one) => (typeof one === 'string' ? [] : [one.value])).join(' ')
      const { source, at } = originOf(facts, 'os')
      return {
        fact: 'device.os',
        wanted: accepted.map(format).join(', '),
        value: typeof os === 'string' ? { known: false, why: os } : { known: true, value },
        source,
        at,
      }
    },
  }
}

/** Whether anything was heard of the device lately, whatever it was. What an admin entered is not heard of the device. */
export function compileReportAge(withinSeconds: number): ConditionKey {
  return {
    judge: (facts) => {
      for (const name of namesOf(facts)) {
        const attribute = readAttribute(facts, name, withinSeconds)
        if (typeof attribute !== 'string' && attribute.source !== 'inventory') return 'true'
      }
      return 'unknown'
    },
    findRemedy: (facts) => {
      const at = findLastReport(facts)
      return missingRemedy({ facts, missing: missingReport(facts, at), at, withinSeconds })
    },
    trace: (facts) => {
      const at = findLastReport(facts)
      return {
        fact: 'device.reported_within',
        wanted: `${withinSeconds} s`,
        value: at === undefined ? { known: false, why: missingReport(facts, at) } : { known: true, value: at },
        source: 'report',
        at,
      }
    },
  }
}

/** Systems as pages name them: what the device last said, however long ago. */
function presentSystem(facts: Facts): { present?: string } {
  const text = (name: string) => {
    const attribute = ownAttribute(facts, name)
    return typeof attribute?.value === 'string' ? [attribute.value] : []
  }
  const present = [...text('os'), ...text('os_version')].join(' ')
  return present === '' ? {} : { present }
}

interface Setting {
  readonly name: string
  readonly wanted: string
  readonly withinSeconds: number
  readonly judge: (value: DeviceAttribute['value']) => Outcome
  readonly remedy: RemedyFound['remedy']
}

function compileSetting({ name, wanted, withinSeconds, judge, remedy }: Setting): ConditionKey {
  const read = (facts: Facts) => readAttribute(facts, name, withinSeconds)
  return {
    judge: (facts) => {
      const attribute = read(facts)
      return typeof attribute === 'string' ? 'unknown' : judge(attribute.value)
    },
    findRemedy: (facts) => {
      const attribute = read(facts)
      if (typeof attribute === 'string' || judge(attribute.value) === 'unknown') return findMissingRemedy(facts, name, withinSeconds)
      if (remedy !== 'device_setting') return { remedy }
      return { remedy, details: { present: `${name}: ${String(attribute.value)}`, wanted: `${name}: ${wanted}` } }
    },
    trace: (facts) => {
      const attribute = read(facts)
      return {
        fact: `device.${name}`,
        wanted,
        value: typeof attribute === 'string' ? { known: false, why: attribute } : { known: true, value: attribute.value },
        ...originOf(facts, name),
      }
    },
  }
}

/** The attribute if it counts, else why it does not. */
export function readAttribute(facts: Facts, name: string, withinSeconds: number): DeviceAttribute | Missing {
  const { device, environment } = facts
  if (!device.known) return 'device_unidentified'
  const attribute = ownAttribute(facts, name)
  if (!device.value.isKnown && attribute?.source !== 'claim') return 'device_unknown'
  if (attribute === undefined) return 'device_never_reported'
  if (attribute.source === 'inventory') return attribute
  const age = environment.at - attribute.at
  return age >= -toleratedSkewMilliseconds && age <= withinSeconds * 1000 ? attribute : 'device_report_too_old'
}

/** When the next of a device's attributes begins to count, or ceases to for its age. */
export function nextAgeing(withinSeconds: number): NextChange {
  return ({ device, environment }) => {
    let next = Number.POSITIVE_INFINITY
    if (!device.known) return next
    for (const { at, source } of Object.values(device.value.attributes)) {
      if (source === 'inventory') continue
      next = Math.min(next, firstAfter(environment.at, at - toleratedSkewMilliseconds, at + withinSeconds * 1000 + 1))
    }
    return next
  }
}

/** The remedy for an attribute that does not count, or says nothing that the rule could compare with. */
function findMissingRemedy(facts: Facts, name: string, withinSeconds: number): RemedyFound {
  const attribute = readAttribute(facts, name, withinSeconds)
  const missing = typeof attribute === 'string' ? attribute : 'device_never_reported'
  return missingRemedy({ facts, missing, at: ownAttribute(facts, name)?.at, withinSeconds })
}

function findText(facts: Facts, name: string, withinSeconds: number): string | undefined {
  const attribute = readAttribute(facts, name, withinSeconds)
  return typeof attribute !== 'string' && typeof attribute.value === 'string' ? attribute.value : undefined
}

interface MissingReport {
  readonly facts: Facts
  readonly missing: Missing
  readonly at: number | undefined
  readonly withinSeconds: number
}

/** `at`, `present` and `withinSeconds` make the sentence "Your Mac last reported 3 days ago". A time in the future is none to show. */
function missingRemedy({ facts, missing, at, withinSeconds }: MissingReport): RemedyFound {
  if (missing !== 'device_report_too_old') return { remedy: missing }
  const isPast = at !== undefined && at <= facts.environment.at
  return { remedy: missing, details: { ...(isPast ? { at } : {}), withinSeconds, ...presentSystem(facts) } }
}

function missingReport(facts: Facts, lastReport: number | undefined): Missing {
  if (!facts.device.known) return 'device_unidentified'
  if (lastReport !== undefined) return 'device_report_too_old'
  return facts.device.value.isKnown ? 'device_never_reported' : 'device_unknown'
}

/** When the device was last heard of, by any source that counts for it; `undefined` if never, or only in the future. */
function findLastReport(facts: Facts): number | undefined {
  let last: number | undefined
  for (const name of namesOf(facts)) {
    const attribute = readAttribute(facts, name, Number.POSITIVE_INFINITY)
    if (typeof attribute === 'string' || attribute.source === 'inventory') continue
    if (last === undefined || attribute.at > last) last = attribute.at
  }
  return last
}

function namesOf({ device }: Facts): readonly string[] {
  return device.known ? Object.keys(device.value.attributes) : []
}

function ownAttribute({ device }: Facts, name: string): DeviceAttribute | undefined {
  return device.known && Object.hasOwn(device.value.attributes, name) ? device.value.attributes[name] : undefined
}

function originOf(facts: Facts, name: string): { source: string; at: number | undefined } {
  const attribute = ownAttribute(facts, name)
  return { source: attribute?.source ?? 'none', at: attribute?.source === 'inventory' ? undefined : attribute?.at }
}

function isScalar(value: DeviceAttribute['value']): value is Scalar {
  return typeof value !== 'object'
}
