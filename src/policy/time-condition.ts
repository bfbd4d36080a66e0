/**
 * `time`: days, hours and dates, as a clock on the wall of the zone shows them. Judged at the server's own instant, never at a client's.
 *
 * A window is a stretch of wall-clock readings. Where daylight saving time skips a reading, a window that lies wholly within the gap does not
 * open that day; where it repeats one, the window is open both times. A window that crosses midnight belongs to the day it began
 * on, for `days` and for dates alike: Friday 22:00 to 06:00 covers Saturday 03:00, also where Friday is the last day.
 */

import type { LeafCondition } from './condition.ts'
import { type ConditionKey, joinKeys, type RemedyFound } from './condition-keys.ts'
import type { TimeCondition, Weekday } from './document.ts'
import { firstAfter } from './next-change.ts'
import { outcomeOf } from './outcome.ts'
import {
  dayMilliseconds,
  findFirstMinute,
  formatDate,
  minuteMilliseconds,
  parseDate,
  startOfDay,
  type WallClock,
  type WallTime,
  wallClockOf,
} from './time-zone.ts'

/** How far ahead the next opening is looked for: every weekday and every date of a year comes in that time. */
const searchDays = 366

/** In the order of `Date.getUTCDay`. 1970-01-01 was a Thursday. */
const weekdays: readonly Weekday[] = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat']

const wholeDay = { from: 0, to: 1440 }

/** Compiles a condition on the time. Throws `TypeError` for a zone, a date or an hour that does not exist. */
export function compileTimeCondition(condition: TimeCondition): LeafCondition {
  const { days, between, from, until, zone } = condition
  if ([days, between, from, until].every((key) => key === undefined)) throw new TypeError('a time condition must ask for something')
  const schedule = compileSchedule(condition)
  const clock = wallClockOf(zone)
  const judge: ConditionKey['judge'] = ({ environment }) => {
    const wall = clock.read(environment.at)
    return wall === undefined ? 'unknown' : outcomeOf(isWithin(schedule, wall))
  }
  const key: ConditionKey = {
    judge,
    findRemedy: ({ environment }) => findRemedy(schedule, clock, environment.at),
    trace: ({ environment }) => {
      const wall = clock.read(environment.at)
      return {
        fact: 'time',
        wanted: format(condition),
        value: wall === undefined ? { known: false, why: 'no_such_time' } : { known: true, value: formatWall(wall, zone) },
        source: 'server clock',
        at: undefined,
      }
    },
    findNextChange: ({ environment }) => findNextEdge(schedule, clock, environment.at),
  }
  return joinKeys('time', [key], [])
}

/** When a date (`YYYY-MM-DD`) begins and ends in a zone; `to` is not part of it. Throws `TypeError` if there is no such date or zone. */
export function dayBounds(date: string, zone: string): { readonly from: number; readonly to: number } {
  const clock = wallClockOf(zone)
  const day = parseDate(date)
  return { from: startOfDay(clock, day), to: startOfDay(clock, day + 1) }
}

interface Schedule {
  /** By weekday, Sunday first. */
  readonly days: readonly boolean[]
  readonly windows: readonly { readonly from: number; readonly to: number }[]
  /** Days since 1970-01-01, both included. */
  readonly firstDay: number
  readonly lastDay: number
}

function compileSchedule({ days, between, from, until }: TimeCondition): Schedule {
  for (const window of between ?? []) {
    const isMinute = (minute: number, last: number) => Number.isInteger(minute) && minute >= 0 && minute <= last
    if (!isMinute(window.from, 1439) || !isMinute(window.to, 1440)) throw new TypeError(`no such hours: ${window.from} to ${window.to}`)
  }
  return {
    days: weekdays.map((name) => days?.includes(name) ?? true),
    windows: between ?? [wholeDay],
    firstDay: from === undefined ? Number.NEGATIVE_INFINITY : parseDate(from),
    lastDay: until === undefined ? Number.POSITIVE_INFINITY : parseDate(until),
  }
}

function isWithin(schedule: Schedule, { day, minute }: WallTime): boolean {
  for (const { from, to } of schedule.windows) {
    if (from < to) {
      if (minute >= from && minute < to && isDayIncluded(schedule, day)) return true
    } else {
      if (minute >= from && isDayIncluded(schedule, day)) return true
      if (minute < to && isDayIncluded(schedule, day - 1)) return true
    }
  }
  return false
}

/**
 * The next instant at which the clock shows the edge of a window or another day, or jumps: in between, nothing that the schedule asks
 * for changes.
 */
function findNextEdge(schedule: Schedule, clock: WallClock, at: number): number {
  const wall = clock.read(at)
  if (wall === undefined) return Number.isFinite(at) ? firstAfter(at, dayMilliseconds) : Number.POSITIVE_INFINITY
  const offset = clock.offsetAt(at)
  let edge = 1440
  for (const { from, to } of schedule.windows) {
    if (from > wall.minute && from < edge) edge = from
    if (to > wall.minute && to < edge) edge = to
  }
  const instant = wall.day * dayMilliseconds + edge * minuteMilliseconds - offset
  const jump = findFirstMinute(at, instant, (minute) => minute > at && clock.offsetAt(minute) !== offset)
  return firstAfter(at, jump, instant)
}

function isDayIncluded({ days, firstDay, lastDay }: Schedule, day: number): boolean {
  return day >= firstDay && day <= lastDay && days[(day + 4) % 7] === true
}

function findRemedy(schedule: Schedule, clock: WallClock, now: number): RemedyFound {
  const { zone } = clock
  const today = clock.read(now)?.day
  if (today === undefined) return { remedy: 'outside_hours', details: { zone } }
  const at = findOpening(schedule, clock, { now, today })
  if (at !== undefined) return { remedy: today < schedule.firstDay ? 'not_open_yet' : 'outside_hours', details: { at, zone } }
  if (!Number.isFinite(schedule.lastDay)) return { remedy: 'outside_hours', details: { zone } }
  const end = startOfDay(clock, schedule.lastDay + 1)
  return { remedy: 'no_longer_open', details: { ...(end <= now ? { at: end } : {}), zone } }
}

/** The next instant, after one that is outside, at which the schedule is entered; `undefined` if there is none in sight. */
function findOpening(schedule: Schedule, clock: WallClock, { now, today }: { now: number; today: number }): number | undefined {
  const first = Math.max(today, schedule.firstDay)
  const last = Math.min(first + searchDays, schedule.lastDay + 1)
  for (let day = first; day <= last; day++) {
    const openings = findEntries(schedule, clock, day).filter((instant) => {
      const wall = instant > now ? clock.read(instant) : undefined
      // A reading of another day is met again, in its order, when that day's turn comes.
      return wall?.day === day && isWithin(schedule, wall)
    })
    if (openings.length > 0) return Math.min(...openings)
  }
  return undefined
}

/**
 * Where the schedule could be entered on a day: at the beginning of each window and, on a day on which the clock jumps, at the jump, which may
 * lead into the middle of one. A reading that shows twice is two instants.
 */
function findEntries(schedule: Schedule, clock: WallClock, day: number): readonly number[] {
  const midnight = day * dayMilliseconds
  const before = clock.offsetAt(midnight - dayMilliseconds)
  const after = clock.offsetAt(midnight + 2 * dayMilliseconds)
  const entries: number[] = []
  for (const { from } of isDayIncluded(schedule, day) ? schedule.windows : []) {
    entries.push(midnight + from * minuteMilliseconds - before)
    if (after !== before) entries.push(midnight + from * minuteMilliseconds - after)
  }
  if (after !== before) {
    entries.push(
      findFirstMinute(midnight - dayMilliseconds, midnight + 2 * dayMilliseconds, (instant) => clock.offsetAt(instant) === after),
    )
  }
  return entries
}

function format({ days, between, from, until, zone }: TimeCondition): string {
  const hour = (minute: number) => `${String(Math.floor(minute / 60)).padStart(2, '0')}:${String(minute % 60).padStart(2, '0')}`
  return [
    ...(days === undefined ? [] : [days.join(', ')]),
    ...(between === undefined ? [] : [between.map((window) => `${hour(window.from)}-${hour(window.to)}`).join(', ')]),
    ...(from === undefined ? [] : [`from ${from}`]),
    ...(until === undefined ? [] : [`until ${until}`]),
    `(${zone})`,
  ].join(' ')
}

function formatWall({ day, minute }: WallTime, zone: string): string {
  const clock = new Date(day * dayMilliseconds + minute * minuteMilliseconds).toISOString().slice(11, 16)
  return `${weekdays[(day + 4) % 7]} ${formatDate(day)} ${clock} (${zone})`
}
