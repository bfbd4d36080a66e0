/**
 * Values in the words of a page: spans of time, instants on a wall clock, operating systems and versions.
 *
 * English, as every page of ours. Times are in the zone that the rule speaks of and say which, because the person may sit in another.
 */

const minuteMs = 60_000
const hourMs = 60 * minuteMs
const dayMs = 24 * hourMs

/** A span of milliseconds: `40 seconds`, `9 h 12 min`, `3 days`. Never less than a second. */
export function printSpan(ms: number): string {
  if (ms < 2 * minuteMs) return count(Math.max(1, Math.round(ms / 1000)), 'second')
  if (ms < hourMs) return count(Math.round(ms / minuteMs), 'minute')
  if (ms < 2 * dayMs) {
    const minutes = Math.round(ms / minuteMs)
    return minutes % 60 === 0 ? count(minutes / 60, 'hour') : `${Math.floor(minutes / 60)} h ${minutes % 60} min`
  }
  return count(Math.round(ms / dayMs), 'day')
}

/** A number of bytes: `212 bytes`, `14 KiB`, `1.2 MiB`. */
export function printSize(bytes: number): string {
  if (bytes < 1024) return count(bytes, 'byte')
  if (bytes < 1000 * 1024) return `${Math.round(bytes / 1024)} KiB`
  return `${Number((bytes / 1024 ** 2).toFixed(1))} MiB`
}

/** An instant on the wall clock of `zone`, as short as it is clear from `now`: `07:00 (Berlin)`, `Monday at 07:00 (Berlin)`, `5 January at 07:00 (Berlin)`. */
export function printMoment(at: number, now: number, zone = 'UTC'): string {
  const time = printTime(at, zone)
  const day = (instant: number) => format(instant, zone, { year: 'numeric', month: '2-digit', day: '2-digit' })
  if (day(at) === day(now)) return time
  if (Math.abs(at - now) < 6 * dayMs) return `${format(at, zone, { weekday: 'long' })} at ${time}`
  return `${format(at, zone, { day: 'numeric', month: 'long' })} at ${time}`
}

/** When something opens: `at 07:00 (Berlin), in 9 h 12 min`; a day on from now, which day. */
export function printOpening(at: number, now: number, zone = 'UTC'): string {
  const moment = at - now < dayMs ? `at ${printTime(at, zone)}` : `on ${printMoment(at, now, zone)}`
  return `${moment}, in ${printSpan(at - now)}`
}

function printTime(at: number, zone: string): string {
  return `${format(at, zone, { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' })} (${placeOf(zone)})`
}

/** The last part of an IANA name, as people call the place. */
function placeOf(zone: string): string {
  return (zone.split('/').at(-1) ?? zone).replaceAll('_', ' ')
}

function format(at: number, timeZone: string, options: Intl.DateTimeFormatOptions): string {
  return new Intl.DateTimeFormat('en-GB', { ...options, timeZone }).format(at)
}

function count(number: number, unit: string): string {
  return `${number} ${unit}${number === 1 ? '' : 's'}`
}

const systems: Readonly<Record<string, { readonly name: string; readonly device: string }>> = {
  macos: { name: 'macOS', device: 'Your Mac' },
  windows: { name: 'Windows', device: 'Your Windows computer' },
  linux: { name: 'Linux', device: 'Your Linux computer' },
  chromeos: { name: 'ChromeOS', device: 'Your Chromebook' },
  ios: { name: 'iOS', device: 'Your iPhone or iPad' },
  ipados: { name: 'iPadOS', device: 'Your iPad' },
  android: { name: 'Android', device: 'Your Android device' },
}

/** `macos 14.1` → `Your Mac`. Anything else is a device. */
export function printDevice(system: string | undefined): string {
  return systemOf(system)?.device ?? 'Your device'
}

/** `macos 14.1` → `macOS 14.1`; `macos >= 14.4, windows >= 10` → `macOS 14.4 or later, or Windows 10 or later`. */
export function printSystems(list: string): string {
  return list
    .split(', ')
    .map((one) => {
      const [, name = '', operator = '', version = ''] = /^(\S+)(?: (>=|>|<=|<|=))?(?: (\S+))?$/.exec(one) ?? []
      const system = systemOf(name)?.name ?? name
      if (version === '') return system
      const printed = `${system} ${version}`
      if (operator === '>=') return `${printed} or later`
      if (operator === '>') return `later than ${printed}`
      if (operator === '<=') return `${printed} or earlier`
      return operator === '<' ? `earlier than ${printed}` : printed
    })
    .join(', or ')
}

const browsers: Readonly<Record<string, string>> = {
  chrome: 'Chrome',
  edge: 'Microsoft Edge',
  firefox: 'Firefox',
  opera: 'Opera',
  safari: 'Safari',
  samsung_internet: 'Samsung Internet',
}

/** `firefox, chrome` → `Firefox or Chrome`; `undefined` for anything but names, such as a version. */
export function printBrowsers(list: string): string | undefined {
  const names = list.split(', ')
  if (!names.every((name) => /^[a-z][a-z0-9_]*$/.test(name))) return undefined
  return names.map((name) => (Object.hasOwn(browsers, name) ? browsers[name] : name.replaceAll('_', ' '))).join(' or ')
}

function systemOf(text: string | undefined) {
  const name = text?.split(' ')[0] ?? ''
  return Object.hasOwn(systems, name) ? systems[name] : undefined
}
