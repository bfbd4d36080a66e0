/**
 * The single values that conditions are made of: versions, systems, days, hours, dates, countries, networks by number. One schema each.
 *
 * Like `plain-values.ts`: each `error:` is a noun phrase that reads on after "expected", and a refusal never repeats the value. What is
 * nearly right is refused with what to write, since a condition that silently means something else is one that silently never holds.
 */

import { z } from 'zod'
import type { VersionBound, Weekday } from '../policy/document.ts'
import type { RefusalWords } from './parse-value.ts'
import { converted, prototypeNames, refuse } from './plain-values.ts'
import { findNearest } from './problems.ts'
import type { Refusal } from './web-address.ts'

const versionPattern = /^\d{1,9}(?:\.\d{1,9}){0,3}$/

/** Names that device facts and user agents use, with what people write instead of them. */
const systems: Readonly<Record<string, readonly string[]>> = {
  macos: ['mac', 'osx', 'os x', 'mac os', 'darwin'],
  windows: ['win', 'win32', 'win10', 'win11'],
  linux: ['ubuntu', 'debian', 'fedora'],
  ios: ['iphone', 'ipad', 'ipados', 'iphoneos'],
  android: [],
  chromeos: ['chromebook', 'cros'],
}
const systemWords = `a system such as ${Object.keys(systems).join(', ')}`

function parseSystem(name: string): string | Refusal {
  return parseKnown(name, systems, { refusal: 'this operating system is not known', expected: systemWords })
}

/** A name that facts use. Others may exist, so only what is evidently meant to be a known one is refused. */
function parseKnown(name: string, known: Readonly<Record<string, readonly string[]>>, refusal: Refusal): string | Refusal {
  if (Object.hasOwn(known, name)) return name
  const lower = name.toLowerCase()
  const near = Object.keys(known).find((one) => one === lower || known[one]?.includes(lower)) ?? findNearest(name, Object.keys(known))
  if (near !== undefined) return { ...refusal, suggestion: `write \`${near}\`` }
  return /^[a-z][a-z0-9_-]{0,31}$/.test(name) ? name : refusal
}

function parseBound(operator: string | undefined, version: string): VersionBound | Refusal {
  if (!versionPattern.test(version)) return { refusal: 'this is not a version', expected: 'numbers with dots, such as `14.4`' }
  switch (operator) {
    case '>=':
    case '>':
    case '<=':
    case '<':
    case '=':
      return { operator, version }
    case '==':
      return { refusal: 'equality is written with one `=`', suggestion: `write \`= ${version}\`` }
    default:
      return { refusal: 'the comparison is missing', suggestion: `write \`>= ${version}\` if that version and later ones are meant` }
  }
}

const bounded = /^(>=|<=|==|=|>|<)?\s*(\S+)$/

/** `>= 120`. */
export const versionBound = converted<VersionBound>('a comparison with a version, such as `">= 120"`', (text) => {
  const match = bounded.exec(text.trim())
  return match === null ? { refusal: 'this is not a comparison with a version' } : parseBound(match[1], match[2] ?? '')
})

const osWords = 'a system, or one with a version, such as `linux` or `"macos >= 14.4"`'

/** `linux`, or `macos >= 14.4`. */
export const osRequirement = converted<{ readonly name: string; readonly bound: VersionBound | undefined }>(osWords, (text) => {
  const match = /^([A-Za-z][A-Za-z0-9]*(?: (?:os|x))?)\s*(?:(>=|<=|==|=|>|<)\s*(\S+)|\s(\S+))?$/i.exec(text)
  if (match === null) return { refusal: 'this is not a system with a version', expected: osWords }
  const name = parseSystem(match[1] ?? '')
  if (typeof name !== 'string') return name
  const version = match[3] ?? match[4]
  if (version === undefined) return { name, bound: undefined }
  const bound = parseBound(match[2], version)
  if (!('refusal' in bound)) return { name, bound }
  return {
    ...bound,
    expected: osWords,
    ...(bound.suggestion === undefined ? {} : { suggestion: bound.suggestion.replace('`', `\`${name} `) }),
  }
})

/** The operating system that a user agent states. */
export const clientSystem = converted<string>(systemWords, parseSystem)

const browsers: Readonly<Record<string, readonly string[]>> = {
  chrome: ['google chrome', 'googlechrome', 'chromium'],
  edge: ['msedge', 'microsoft edge'],
  firefox: ['ff', 'mozilla'],
  safari: ['webkit'],
  opera: [],
  samsung_internet: ['samsung'],
}
const browserWords = `a browser such as ${Object.keys(browsers).join(', ')}`

/** The browser that a user agent states. */
export const browserName = converted<string>(browserWords, (name) =>
  parseKnown(name, browsers, { refusal: 'this browser is not known', expected: browserWords }),
)

const weekdays: readonly Weekday[] = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun']
const dayWords = 'a day or a range of days, such as `mon` or `mon-fri`'

/** `mon`, or a range, which may wrap: `fri-mon` is four days. */
export const dayRange = converted<readonly Weekday[]>(dayWords, (text) => {
  const ends = text.split('-').map(parseDay)
  const first = ends[0]
  const last = ends.length === 1 ? first : ends[1]
  if (ends.length <= 2 && typeof first === 'number' && typeof last === 'number') {
    const count = ((last - first + 7) % 7) + 1
    return Array.from({ length: count }, (_, step) => weekdays[(first + step) % 7] as Weekday)
  }
  const near = text.split('-').map((part) => weekdays.find((day) => part.trim().toLowerCase().startsWith(day)))
  const isNear = near.length <= 2 && near.every((day) => day !== undefined)
  return { refusal: 'this is not a day of the week', expected: dayWords, ...(isNear ? { suggestion: `write \`${near.join('-')}\`` } : {}) }
})

function parseDay(name: string): number | undefined {
  const index = (weekdays as readonly string[]).indexOf(name)
  return index === -1 ? undefined : index
}

const hoursWords = 'hours of a day, such as `"07:00-20:00"`'

/** Minutes after midnight; `to` may be 24:00. Equal ends could mean nothing or everything, so they are refused. */
export const hourRange = converted<{ readonly from: number; readonly to: number }>(hoursWords, (text) => {
  const match = /^(\d{2}):(\d{2})-(\d{2}):(\d{2})$/.exec(text)
  if (match === null) {
    const near = /^(\d{1,2})(?::(\d{2}))?\s*(?:-|–|to)\s*(\d{1,2})(?::(\d{2}))?$/.exec(text)
    const written = near === null ? undefined : `${pad(near[1])}:${near[2] ?? '00'}-${pad(near[3])}:${near[4] ?? '00'}`
    return {
      refusal: 'this is not a range of hours',
      expected: hoursWords,
      ...(written === undefined ? {} : { suggestion: `write \`"${written}"\`` }),
    }
  }
  const [fromHour = 0, fromMinute = 0, toHour = 0, toMinute = 0] = match.slice(1).map(Number)
  const from = fromHour * 60 + fromMinute
  const to = toHour * 60 + toMinute
  if (fromMinute > 59 || toMinute > 59 || from >= 1440 || to > 1440)
    return { refusal: 'there is no such time of day', expected: hoursWords }
  if (from === to) {
    return { refusal: 'these hours begin where they end', suggestion: 'remove the key for the whole day, or write `"00:00-24:00"`' }
  }
  if (to === 0) return { refusal: 'the end of a day is written `24:00`', suggestion: `write \`"${text.slice(0, 6)}24:00"\`` }
  return { from, to }
})

function pad(hour: string | undefined): string {
  return (hour ?? '').padStart(2, '0')
}

const dateWords = 'a day such as `2026-11-30`'

/** `YYYY-MM-DD`, a day that exists. Text, also where YAML has dates of its own. */
export const calendarDate = converted<string>(dateWords, (text) => {
  const match = /^(\d{4})-(\d{2})-(\d{2})$/.exec(text)
  if (match === null) return { refusal: 'this is not a date', expected: dateWords }
  const [year = 0, month = 0, day = 0] = match.slice(1).map(Number)
  const made = new Date(Date.UTC(year, month - 1, day))
  const isReal = made.getUTCFullYear() === year && made.getUTCMonth() === month - 1 && made.getUTCDate() === day
  if (!isReal || year < 2000 || year > 2999) return { refusal: 'there is no such day', expected: dateWords }
  return text
})

const zoneWords = 'an IANA name such as `Europe/Berlin`'

/** A zone that this machine's time zone database has. */
export const timeZone = converted<string>(zoneWords, (zone) =>
  isTimeZone(zone) ? zone : { refusal: 'this time zone is not known', expected: zoneWords },
)

function isTimeZone(zone: string): boolean {
  if (!/^[A-Za-z][A-Za-z0-9+_/-]{1,60}$/.test(zone)) return false
  try {
    return new Intl.DateTimeFormat('en', { timeZone: zone }).resolvedOptions().timeZone !== ''
  } catch {
    // RangeError: the name is in no time zone database.
    return false
  }
}

const countryWords = 'a country as in ISO 3166-1, such as `DE` or `"NO"`'
const regions = new Intl.DisplayNames('en', { type: 'region', fallback: 'none' })
/** Codes that are in no country database, with what is meant. */
const notCountries: Readonly<Record<string, string>> = { UK: 'GB', EL: 'GR' }

/** Two capital letters that are a country. */
export const country = converted<string>(countryWords, (text) => {
  if (/^(?:true|false)$/.test(text)) return { refusal: 'a boolean is no country', expected: countryWords, suggestion: 'quote it: "NO"' }
  const upper = text.toUpperCase()
  const meant = Object.hasOwn(notCountries, upper) ? notCountries[upper] : undefined
  if (meant !== undefined) return { refusal: 'this is not the code of a country', expected: countryWords, suggestion: `write \`${meant}\`` }
  if (['EU', 'UN', 'EZ', 'ZZ', 'QO', 'XA', 'XB'].includes(upper)) {
    return { refusal: 'this is not one country', expected: countryWords, suggestion: 'name the countries' }
  }
  const isCountry = /^[A-Z]{2}$/.test(upper) && regions.of(upper) !== undefined
  if (isCountry && text === upper) return text
  return {
    refusal: 'this is not the code of a country',
    expected: countryWords,
    ...(isCountry ? { suggestion: `write \`${upper}\`` } : {}),
  }
})

const asnWords = 'the number of a network, such as `64512` or `AS64512`'

const asnText = converted<number>(asnWords, (text) => {
  const match = /^AS([1-9]\d{0,9})$/i.exec(text)
  const value = Number(match?.[1])
  if (match !== null && value <= 4_294_967_295) return value
  return {
    refusal: 'this is not the number of a network',
    expected: asnWords,
    ...(/^\d+$/.test(text) ? { suggestion: 'remove the quotes' } : {}),
  }
})

/** An autonomous system number: 1 to 2^32 − 1. */
export const asn = z.union(
  [
    z.number({ error: asnWords }).superRefine((value, context) => {
      if (!Number.isInteger(value) || value < 1 || value > 4_294_967_295)
        refuse(context, 'this is not the number of a network', { expected: asnWords })
    }),
    asnText,
  ],
  { error: asnWords },
)

/** The name of something a device says of itself, as a key: what posture reports and management systems call it. */
export const attributeName = z.string().superRefine((name, context) => {
  const words: RefusalWords = { expected: 'a name such as `disk_encrypted` or `mdm.compliant`', at: 'key' }
  if (name.split('.').some((step) => prototypeNames.has(step))) refuse(context, 'this name is never an attribute', words)
  else if (!/^[A-Za-z][A-Za-z0-9_.-]{0,63}$/.test(name)) refuse(context, 'this is not the name of an attribute', words)
})
