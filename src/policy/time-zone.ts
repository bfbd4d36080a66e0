/**
 * Wall clocks: what a clock on the wall of a time zone shows at an instant, and when it first shows a date.
 *
 * The zone's rules come from the runtime (`Intl`, IANA names) and the instant from the caller, so neither the zone that the server
 * runs in nor anything that a client sends plays a part. Where a zone changes its offset, its wall clock jumps: some readings then never
 * show and others show twice. Nothing here hides that; `time-condition.ts` says what a rule makes of it.
 */

/** What a wall clock shows. */
export interface WallTime {
  /** Days since 1970-01-01 of the date on the calendar beside it. */
  readonly day: number
  /** Minutes after midnight. */
  readonly minute: number
}

/** The wall clock of one zone. Instants that no calendar shows (before 1970, after 9999, `NaN`) are `undefined` to it. */
export interface WallClock {
  readonly zone: string
  read(instant: number): WallTime | undefined
  /** Milliseconds to add to an instant so that UTC's arithmetic gives the wall's reading. Only for instants that `read` can read. */
  offsetAt(instant: number): number
}

export const minuteMilliseconds = 60_000
export const dayMilliseconds = 86_400_000

/** 9999-12-30T00:00Z, so that no zone shows a year of five digits. */
const lastInstant = 253_402_128_000_000

/** One a zone, for as long as the process lives: a formatter takes longer to make than a thousand decisions. IANA's list bounds it. */
const clocks = new Map<string, WallClock>()

/** The wall clock of an IANA zone. Throws `TypeError` if there is no such zone. */
export function wallClockOf(zone: string): WallClock {
  let clock = clocks.get(zone)
  if (clock === undefined) {
    clock = createWallClock(zone)
    clocks.set(zone, clock)
  }
  return clock
}

/** Whether it is an IANA name that this runtime knows. Offsets such as `+01:00` are none: they have no daylight saving time. */
export function isZone(name: string): boolean {
  try {
    wallClockOf(name)
    return true
  } catch {
    // `TypeError` is the only thing that it throws.
    return false
  }
}

/** Days since 1970-01-01 of `YYYY-MM-DD`. Throws `TypeError` for a date that no calendar has. */
export function parseDate(date: string): number {
  const instant = /^\d{4}-\d\d-\d\d$/.test(date) ? Date.parse(`${date}T00:00:00Z`) : Number.NaN
  // Date.parse takes 30 February for 2 March.
  if (Number.isNaN(instant) || new Date(instant).toISOString().slice(0, 10) !== date) throw new TypeError(`no such date: ${date}`)
  return instant / dayMilliseconds
}

/** `YYYY-MM-DD`. */
export function formatDate(day: number): string {
  return new Date(day * dayMilliseconds).toISOString().slice(0, 10)
}

/** The first instant at which the clock shows this date or, where the zone left that date out, a later one. */
export function startOfDay(clock: WallClock, day: number): number {
  // No zone is more than 15 hours from UTC: the date begins between these two.
  const earliest = day * dayMilliseconds - 15 * 3_600_000
  const latest = day * dayMilliseconds + 15 * 3_600_000
  return findFirstMinute(earliest, latest, (instant) => Math.floor((instant + clock.offsetAt(instant)) / dayMilliseconds) >= day)
}

/** The first whole minute in a range at which something begins to hold that then stays so; the range's end if none does. */
export function findFirstMinute(from: number, to: number, holds: (instant: number) => boolean): number {
  let low = Math.floor(from / minuteMilliseconds)
  let high = Math.floor(to / minuteMilliseconds)
  while (low < high) {
    const middle = Math.floor((low + high) / 2)
    if (holds(middle * minuteMilliseconds)) high = middle
    else low = middle + 1
  }
  return low * minuteMilliseconds
}

function createWallClock(zone: string): WallClock {
  const findOffset = compileOffset(zone)
  // Every change of an offset that a rule could meet happens on a whole minute of UTC, so that one answer holds for the minute. Asking
  // the formatter takes some microseconds; requests come many to the minute.
  let rememberedMinute = Number.NaN
  let rememberedOffset = 0
  const offsetAt = (instant: number): number => {
    const minute = Math.floor(instant / minuteMilliseconds)
    if (minute !== rememberedMinute) {
      rememberedOffset = findOffset(minute * minuteMilliseconds)
      rememberedMinute = minute
    }
    return rememberedOffset
  }
  return {
    zone,
    offsetAt,
    read: (instant) => {
      if (!(instant >= dayMilliseconds && instant <= lastInstant)) return undefined
      const wall = instant + offsetAt(instant)
      const day = Math.floor(wall / dayMilliseconds)
      return { day, minute: Math.floor((wall - day * dayMilliseconds) / minuteMilliseconds) }
    },
  }
}

function compileOffset(zone: string): (instant: number) => number {
  if (zone === 'UTC') return () => 0
  if (!/^[A-Za-z]/.test(zone)) throw new TypeError(`no such time zone: ${zone}`)
  let format: Intl.DateTimeFormat
  try {
    format = new Intl.DateTimeFormat('en-US', { timeZone: zone, timeZoneName: 'longOffset', year: 'numeric' })
  } catch (cause) {
    throw new TypeError(`no such time zone: ${zone}`, { cause })
  }
  return (instant) => parseOffset(format.format(instant))
}

/** From `2026 GMT+10:30`; exactly `GMT` for none. Seconds occur in local mean times, before 1972. */
function parseOffset(text: string): number {
  const match = /GMT(?:([+-])(\d\d):(\d\d)(?::(\d\d))?)?$/.exec(text)
  if (match === null) throw new RangeError(`an offset cannot be read from: ${text}`)
  const [, sign, hours = '0', minutes = '0', seconds = '0'] = match
  const size = (Number(hours) * 3600 + Number(minutes) * 60 + Number(seconds)) * 1000
  return sign === '-' ? -size : size
}
