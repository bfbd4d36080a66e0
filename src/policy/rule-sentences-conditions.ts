/**
 * Conditions and selectors as phrases that a sentence is made of: `on a managed device`, `signed in with MFA within the last hour`.
 *
 * A phrase says everything that the condition asks for and nothing that it does not: whoever approves a rule may read nothing else. Names that
 * somebody chose and that could be read as part of the sentence stand in quotation marks; lists are bounded and say how many more there are.
 */

import type { ClientCondition, Condition, DeviceCondition, NetworkCondition, SignInCondition, TimeCondition, Who } from './document.ts'

/** More of a list are said as a number. */
export const mostNamed = 12

/** What a level means, by its name; `undefined`: no such level. */
export type FindLevel = (name: string) => Condition | undefined

/** A name in a sentence: as it is where it can be nothing else, in quotation marks otherwise. */
export function named(name: string): string {
  return /^[\p{L}\p{N}_.@:/*#$+=~-]+$/u.test(name) && !/[.:]$/.test(name) ? name : `“${name.replaceAll('”', '’')}”`
}

/** `a, b and c`; of many, the first twelve and how many more. */
export function listOf(items: readonly string[], word: 'and' | 'or' = 'and'): string {
  const shown = items.length > mostNamed ? [...items.slice(0, mostNamed), `${items.length - mostNamed} more`] : items
  const last = shown.at(-1) ?? ''
  return shown.length <= 1 ? last : `${shown.slice(0, -1).join(', ')} ${items.length > mostNamed ? 'and' : word} ${last}`
}

/** A span of time in its largest whole unit: `an hour`, `15 minutes`. */
export function spanOf(seconds: number): string {
  const units = [
    ['day', 86_400],
    ['hour', 3600],
    ['minute', 60],
    ['second', 1],
  ] as const
  const [unit, length] = units.find(([, size]) => seconds % size === 0) ?? (['second', 1] as const)
  const count = seconds / length
  return count === 1 ? unit : `${count} ${unit}s`
}

/** Whom a selector means, as the subject of a sentence in the middle of one. */
export function describeWho(who: Who): string {
  switch (who.kind) {
    case 'public':
      return 'anybody, even without signing in,'
    case 'everyone':
      return 'everybody'
    case 'signed_in':
      return 'everybody who is signed in'
    case 'users':
      return listOf(who.emails.map(named), 'or')
    case 'domains':
      return `people with an address at ${listOf(who.domains.map(named), 'or')}`
    case 'groups':
      return `members of ${listOf(who.groups.map(named), 'or')}`
    case 'claims':
      return `people whose ${who.claims
        .map(({ path, values }) => `${named(path.join('.'))} is ${listOf(values.map(describeScalar), 'or')}`)
        .join(' and whose ')}`
    case 'services':
      return `the ${who.names.length === 1 ? 'service' : 'services'} ${listOf(who.names.map(named))}`
    case 'any_of':
      return joinParts(who.of.map(describeWho), 'or')
    case 'all_of':
      return `those who are all of: ${who.of.map((part) => `(${describeWho(part)})`).join(' and ')}`
  }
}

/** Under which circumstances a condition holds. Levels are said by their names, sign-ins by what they ask for. */
export function describeCondition(condition: Condition, findLevel: FindLevel): string {
  switch (condition.kind) {
    case 'level':
      return describeLevelName(condition.name, findLevel(condition.name))
    case 'all_of':
      return joinParts(
        condition.of.map((part) => describeCondition(part, findLevel)),
        'and',
      )
    case 'any_of':
      return joinParts(
        condition.of.map((part) => describeCondition(part, findLevel)),
        'or',
      )
    case 'not':
      return `not ${grouped(describeCondition(condition.of, findLevel))}`
    case 'subject':
      return `among ${describeWho(condition.who)}`.replace(/,$/, '')
    case 'sign_in':
      return describeSignIn(condition)
    case 'device':
      return describeDevice(condition)
    case 'network':
      return describeNetwork(condition)
    case 'time':
      return describeTime(condition)
    case 'client':
      return describeClient(condition)
    case 'expression':
      return `where ${JSON.stringify(condition.source.trim().replace(/\s+/g, ' '))} holds`
  }
}

/** Two phrases are joined plainly; what has a join inside stands in parentheses, so that nobody has to guess what belongs together. */
function joinParts(parts: readonly string[], word: 'and' | 'or'): string {
  if (parts.length === 1) return parts[0] ?? ''
  return parts.map(grouped).join(` ${word} `)
}

function grouped(phrase: string): string {
  return / (?:and|or|not) |,/.test(phrase) && !/^\(.*\)$/.test(phrase) ? `(${phrase})` : phrase
}

const startsLikeAPlace = /^(?:in|on|at|from|with|within|during|outside|inside|near|by|signed|without) /

function describeLevelName(name: string, condition: Condition | undefined): string {
  const words = name.replace(/[_-]+/g, ' ').trim()
  if (condition?.kind === 'sign_in') return describeSignIn(condition)
  if (startsLikeAPlace.test(words)) return words
  switch (condition?.kind) {
    case 'device':
      return `on ${/device|laptop|computer|machine|phone/.test(words) ? articleOf(words) : `a device that is `}${words}`
    case 'time':
      return `during ${words}`
    case 'network':
      return `from ${words}`
    default:
      return `where ${words} holds`
  }
}

function articleOf(words: string): string {
  return /^[aeiou]/i.test(words) ? 'an ' : 'a '
}

function describeScalar(value: string | number | boolean): string {
  return typeof value === 'string' ? named(value) : `the ${typeof value === 'number' ? 'number' : 'value'} ${value}`
}

/** What people call a strength. */
function describeStrength(name: string): string {
  return name === 'mfa' ? 'MFA' : name.replace(/[_-]+/g, ' ')
}

function describeSignIn({ strength, acr, amr, withinSeconds }: SignInCondition): string {
  const how = [
    ...(strength === undefined ? [] : [`with ${describeStrength(strength.name)}`]),
    ...(acr === undefined ? [] : [`at ${listOf(acr.map(named), 'or')}`]),
    ...(amr === undefined ? [] : [`by ${listOf(amr.map(named), 'or')}`]),
    ...(withinSeconds === undefined ? [] : [`within the last ${spanOf(withinSeconds)}`]),
  ]
  return ['signed in', ...how].join(' ')
}

function describeDevice(device: DeviceCondition): string {
  const { attributes, diskEncrypted, firewall, identifiedBy, known, managed, os, screenLock, serials, tags } = device
  const either = (asked: boolean | undefined, yes: string, no: string) => (asked === undefined ? [] : [asked ? yes : no])
  const says = [
    ...either(known, 'is in the inventory', 'is not in the inventory'),
    ...either(managed, 'is managed', 'is not managed'),
    ...either(diskEncrypted, 'has its disk encrypted', 'has its disk not encrypted'),
    ...either(screenLock, 'locks its screen', 'does not lock its screen'),
    ...either(firewall, 'has its firewall on', 'has its firewall off'),
    ...(os === undefined
      ? []
      : [
          `runs ${listOf(
            os.map(({ bound, name }) => (bound === undefined ? name : `${name} ${bound.operator} ${bound.version}`)),
            'or',
          )}`,
        ]),
    ...(serials === undefined ? [] : [`has the serial number ${listOf(serials.map(named), 'or')}`]),
    ...(tags === undefined ? [] : [`has the tag ${listOf(tags.map(named), 'or')}`]),
    ...(attributes ?? []).map(({ name, values }) => `has ${named(name)} = ${listOf(values.map(describeScalar), 'or')}`),
    ...(identifiedBy === undefined ? [] : [identifiedBy === 'certificate' ? 'proves itself by certificate' : 'is named by a claim']),
    ...(device.isReportAsked ? [`has reported within the last ${spanOf(device.reportedWithinSeconds)}`] : []),
  ]
  return `on a device that ${listOf(says)}`
}

function describeNetwork({ asns, cidrs, cidrsFile, countries }: NetworkCondition): string {
  const file = cidrsFile?.split('/').at(-1)
  const where = [
    ...(file !== undefined ? [`the networks in ${named(file)}`] : cidrs === undefined ? [] : [listOf(cidrs, 'or')]),
    ...(countries === undefined ? [] : [listOf(countries, 'or')]),
    ...(asns === undefined
      ? []
      : [
          `network ${listOf(
            asns.map((asn) => `AS${asn}`),
            'or',
          )}`,
        ]),
  ]
  return `from ${where.join(' and in ')}`
}

function describeTime({ between, days, from, until, zone }: TimeCondition): string {
  const at = (minutes: number) => `${String(Math.floor(minutes / 60)).padStart(2, '0')}:${String(minutes % 60).padStart(2, '0')}`
  const when = [
    ...(days === undefined ? [] : [`on ${listOf(days.map((day) => weekdays[day]))}`]),
    ...(between === undefined
      ? []
      : [
          `between ${listOf(
            between.map((hours) => `${at(hours.from)} and ${at(hours.to)}`),
            'or',
          )}`,
        ]),
    ...(from === undefined ? [] : [`from ${from} on`]),
    ...(until === undefined ? [] : [`until ${until}`]),
  ]
  return `${when.join(' ')} (${zone})`
}

const weekdays = {
  mon: 'Monday',
  tue: 'Tuesday',
  wed: 'Wednesday',
  thu: 'Thursday',
  fri: 'Friday',
  sat: 'Saturday',
  sun: 'Sunday',
} as const

function describeClient({ browsers, browserVersion, os }: ClientCondition): string {
  const version = browserVersion === undefined ? '' : ` ${browserVersion.operator} ${browserVersion.version}`
  const browser =
    browsers === undefined && version === '' ? [] : [`with ${browsers === undefined ? 'a browser' : listOf(browsers, 'or')}${version}`]
  return `${[...browser, ...(os === undefined ? [] : [`on ${listOf(os, 'or')}`])].join(' ')}, as the browser says`
}
