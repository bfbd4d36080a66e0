/** Hours, days and dates by the clock on the wall, over every kind of jump that it makes; the same in whichever zone the server runs. */

import { afterAll, describe, expect, it } from 'vitest'
import { clock, factsWith, hours, minutes } from './condition.fixture.ts'
import type { TimeCondition, Weekday } from './document.ts'
import { timeCondition } from './policy.fixture.ts'
import { compileTimeCondition, dayBounds } from './time-condition.ts'

function between(...ranges: readonly string[]): TimeCondition['between'] {
  return ranges.map((range) => {
    const [from = '', to = ''] = range.split('-')
    return { from: clock(from), to: clock(to) }
  })
}

const weekend: readonly Weekday[] = ['sat', 'sun']
const workdays: readonly Weekday[] = ['mon', 'tue', 'wed', 'thu', 'fri']

/** Zone, keys, and for each instant (UTC) whether the condition holds. */
const table: readonly [string, Partial<TimeCondition>, Readonly<Record<string, boolean>>][] = [
  [
    'office hours: the first minute is in, the last is not',
    { zone: 'Europe/Berlin', days: workdays, between: between('07:00-20:00') },
    {
      '2026-11-23T05:59:59.999Z': false,
      '2026-11-23T06:00:00Z': true,
      '2026-11-23T18:59:59.999Z': true,
      '2026-11-23T19:00:00Z': false,
      '2026-11-22T10:00:00Z': false,
    },
  ],
  [
    'A234: 09:00 to 17:00 in Berlin begins an hour earlier in UTC from the day that summer time begins, and later when it ends',
    { zone: 'Europe/Berlin', between: between('09:00-17:00') },
    {
      '2026-03-28T07:30:00Z': false,
      '2026-03-28T08:00:00Z': true,
      '2026-03-29T06:59:00Z': false,
      '2026-03-29T07:00:00Z': true,
      '2026-03-29T15:00:00Z': false,
      '2026-10-24T07:00:00Z': true,
      '2026-10-25T07:00:00Z': false,
      '2026-10-25T08:00:00Z': true,
      '2026-10-25T15:59:00Z': true,
      '2026-10-25T16:00:00Z': false,
    },
  ],
  [
    'Berlin, forward at 02:00: what lies wholly in the hour that is skipped does not open',
    { zone: 'Europe/Berlin', between: between('02:15-02:45') },
    { '2026-03-28T01:30:00Z': true, '2026-03-29T00:30:00Z': false, '2026-03-29T01:00:00Z': false, '2026-03-29T01:30:00Z': false },
  ],
  [
    'Berlin, forward: a window that begins in the gap opens with the jump',
    { zone: 'Europe/Berlin', between: between('02:30-04:00') },
    { '2026-03-29T00:59:59Z': false, '2026-03-29T01:00:00Z': true, '2026-03-29T01:59:00Z': true, '2026-03-29T02:00:00Z': false },
  ],
  [
    'Berlin, back at 03:00: what shows twice is open twice',
    { zone: 'Europe/Berlin', between: between('02:15-02:45') },
    {
      '2026-10-25T00:14:00Z': false,
      '2026-10-25T00:15:00Z': true,
      '2026-10-25T00:45:00Z': false,
      '2026-10-25T01:14:00Z': false,
      '2026-10-25T01:15:00Z': true,
      '2026-10-25T01:45:00Z': false,
    },
  ],
  [
    'New York, forward at 02:00',
    { zone: 'America/New_York', between: between('01:30-03:30') },
    {
      '2026-03-08T06:29:00Z': false,
      '2026-03-08T06:30:00Z': true,
      '2026-03-08T07:00:00Z': true,
      '2026-03-08T07:29:00Z': true,
      '2026-03-08T07:30:00Z': false,
    },
  ],
  [
    'New York, back at 02:00',
    { zone: 'America/New_York', between: between('01:30-02:00') },
    {
      '2026-11-01T05:30:00Z': true,
      '2026-11-01T05:59:59Z': true,
      '2026-11-01T06:00:00Z': false,
      '2026-11-01T06:30:00Z': true,
      '2026-11-01T07:00:00Z': false,
    },
  ],
  [
    'Lord Howe, forward by thirty minutes at 02:00',
    { zone: 'Australia/Lord_Howe', between: between('02:00-02:45') },
    { '2026-10-03T15:29:00Z': false, '2026-10-03T15:30:00Z': true, '2026-10-03T15:44:00Z': true, '2026-10-03T15:45:00Z': false },
  ],
  [
    'Lord Howe, back by thirty minutes at 02:00',
    { zone: 'Australia/Lord_Howe', between: between('01:30-01:45') },
    {
      '2026-04-04T14:29:00Z': false,
      '2026-04-04T14:30:00Z': true,
      '2026-04-04T14:45:00Z': false,
      '2026-04-04T15:00:00Z': true,
      '2026-04-04T15:14:00Z': true,
      '2026-04-04T15:15:00Z': false,
    },
  ],
  [
    'across midnight: it belongs to the day it began on',
    { zone: 'Europe/Berlin', days: ['fri'], between: between('22:00-06:00') },
    {
      '2026-11-19T23:00:00Z': false,
      '2026-11-20T04:00:00Z': false,
      '2026-11-20T20:59:00Z': false,
      '2026-11-20T21:00:00Z': true,
      '2026-11-21T02:00:00Z': true,
      '2026-11-21T04:59:00Z': true,
      '2026-11-21T05:00:00Z': false,
      '2026-11-21T21:00:00Z': false,
    },
  ],
  [
    'to 24:00 and no further',
    { days: ['sat'], between: between('18:00-24:00') },
    { '2026-11-21T17:59:59Z': false, '2026-11-21T23:59:59.999Z': true, '2026-11-22T00:00:00Z': false },
  ],
  [
    'from 00:00 to 24:00 is the day',
    { days: weekend, between: between('00:00-24:00') },
    { '2026-11-20T23:59:59Z': false, '2026-11-21T00:00:00Z': true, '2026-11-22T23:59:59Z': true, '2026-11-23T00:00:00Z': false },
  ],
  [
    'from an hour to the same hour is a day, and a night',
    { days: ['sat'], between: between('08:00-08:00') },
    { '2026-11-21T07:59:00Z': false, '2026-11-21T08:00:00Z': true, '2026-11-22T07:59:00Z': true, '2026-11-22T08:00:00Z': false },
  ],
  [
    'several windows',
    { between: between('08:00-10:00', '16:00-18:00') },
    { '2026-11-21T09:00:00Z': true, '2026-11-21T12:00:00Z': false, '2026-11-21T17:00:00Z': true },
  ],
  [
    'dates in the zone, both included',
    { zone: 'Asia/Tokyo', from: '2026-11-20', until: '2026-11-21' },
    {
      '2026-11-19T14:59:59Z': false,
      '2026-11-19T15:00:00Z': true,
      '2026-11-21T14:59:59Z': true,
      '2026-11-21T15:00:00Z': false,
    },
  ],
  [
    'the night of the last date is part of it',
    { until: '2026-11-20', between: between('22:00-06:00') },
    { '2026-11-21T05:59:00Z': true, '2026-11-21T22:00:00Z': false },
  ],
  [
    'the night before the first date is not',
    { from: '2026-11-20', between: between('22:00-06:00') },
    { '2026-11-20T05:00:00Z': false, '2026-11-20T22:00:00Z': true },
  ],
  [
    'leap day',
    { zone: 'Europe/Berlin', from: '2028-02-29', until: '2028-02-29' },
    { '2028-02-28T22:59:00Z': false, '2028-02-28T23:00:00Z': true, '2028-02-29T22:59:00Z': true, '2028-02-29T23:00:00Z': false },
  ],
]

function checkTable(): void {
  for (const [name, keys, instants] of table) {
    const condition = compileTimeCondition(timeCondition(keys))
    for (const [at, holds] of Object.entries(instants)) {
      expect(`${name}, ${at}: ${condition.judge(atInstant(at))}`).toBe(`${name}, ${at}: ${holds}`)
    }
  }
}

function atInstant(at: string | number): ReturnType<typeof factsWith> {
  return factsWith({ environment: { at: typeof at === 'string' ? Date.parse(at) : at } })
}

describe('time', () => {
  const serverZone = process.env['TZ']
  afterAll(() => {
    if (serverZone === undefined) delete process.env['TZ']
    else process.env['TZ'] = serverZone
  })

  it.each(['UTC', 'Asia/Tokyo', 'America/New_York', 'Australia/Lord_Howe'])('is judged by its own zone on a server in %s', (zone) => {
    process.env['TZ'] = zone
    // Node takes the change up: otherwise this would test nothing.
    expect(new Date(Date.UTC(2026, 0, 1, 12)).getHours() === 12).toBe(zone === 'UTC')
    checkTable()
  })

  it('is unknown at an instant that no calendar shows', () => {
    const condition = compileTimeCondition(timeCondition({ days: weekend }))
    for (const at of [Number.NaN, Number.POSITIVE_INFINITY, -1, 8.64e15]) {
      expect(condition.judge(atInstant(at))).toBe('unknown')
      expect(condition.findUnmet(atInstant(at))).toEqual([
        { condition: 'time', outcome: 'unknown', remedy: 'outside_hours', details: { zone: 'UTC' } },
      ])
    }
  })

  it('shows an admin what the clock on the wall showed', () => {
    const condition = compileTimeCondition(timeCondition({ zone: 'Europe/Berlin', days: ['mon'], between: between('07:00-20:00') }))
    expect(condition.trace(atInstant('2026-11-22T21:30:00Z'))).toEqual([
      {
        fact: 'time',
        wanted: 'mon 07:00-20:00 (Europe/Berlin)',
        value: { known: true, value: 'sun 2026-11-22 22:30 (Europe/Berlin)' },
        source: 'server clock',
        at: undefined,
        outcome: 'false',
      },
    ])
  })

  it('refuses zones, dates and hours that do not exist, and to ask for nothing', () => {
    const bad: readonly Partial<TimeCondition>[] = [
      {},
      { days: weekend, zone: 'Europe/Bonn' },
      { days: weekend, zone: '+01:00' },
      { days: weekend, zone: '' },
      { from: '2026-02-29' },
      { until: '2026-13-01' },
      { until: '20261301' },
      { between: [{ from: 1440, to: 10 }] },
      { between: [{ from: -1, to: 10 }] },
      { between: [{ from: 0, to: 1441 }] },
      { between: [{ from: 0.5, to: 10 }] },
    ]
    for (const keys of bad) expect(() => compileTimeCondition(timeCondition(keys))).toThrow(TypeError)
  })
})

describe('the next opening', () => {
  const cases: readonly [string, Partial<TimeCondition>, string, string, string | undefined][] = [
    ['tonight is before tomorrow', { between: between('07:00-20:00') }, '2026-11-22T21:48:00Z', 'outside_hours', '2026-11-23T07:00:00Z'],
    ['later today', { between: between('07:00-08:00', '16:00-18:00') }, '2026-11-22T09:00:00Z', 'outside_hours', '2026-11-22T16:00:00Z'],
    [
      'over the weekend',
      { days: workdays, between: between('07:00-20:00') },
      '2026-11-20T20:00:00Z',
      'outside_hours',
      '2026-11-23T07:00:00Z',
    ],
    [
      'the same day next week',
      { days: ['sun'], between: between('07:00-08:00') },
      '2026-11-22T08:00:00Z',
      'outside_hours',
      '2026-11-29T07:00:00Z',
    ],
    ['a whole day', { zone: 'Europe/Berlin', days: ['mon'] }, '2026-11-22T12:00:00Z', 'outside_hours', '2026-11-22T23:00:00Z'],
    [
      'a night that began yesterday is over',
      { days: ['fri'], between: between('22:00-06:00') },
      '2026-11-21T06:00:00Z',
      'outside_hours',
      '2026-11-27T22:00:00Z',
    ],
    [
      'Berlin, into the gap: with the jump',
      { zone: 'Europe/Berlin', between: between('02:30-04:00') },
      '2026-03-29T00:00:00Z',
      'outside_hours',
      '2026-03-29T01:00:00Z',
    ],
    [
      'Berlin, wholly in the gap: the day after',
      { zone: 'Europe/Berlin', between: between('02:15-02:45') },
      '2026-03-29T00:00:00Z',
      'outside_hours',
      '2026-03-30T00:15:00Z',
    ],
    [
      'Berlin, once more when it shows again',
      { zone: 'Europe/Berlin', between: between('02:15-02:45') },
      '2026-10-25T00:50:00Z',
      'outside_hours',
      '2026-10-25T01:15:00Z',
    ],
    [
      'Berlin, back into a window by the jump',
      { zone: 'Europe/Berlin', between: between('01:30-02:30') },
      '2026-10-25T00:45:00Z',
      'outside_hours',
      '2026-10-25T01:00:00Z',
    ],
    [
      'New York, the first day of summer time',
      { zone: 'America/New_York', between: between('09:00-17:00') },
      '2026-03-08T04:00:00Z',
      'outside_hours',
      '2026-03-08T13:00:00Z',
    ],
    [
      'Lord Howe, back by half an hour',
      { zone: 'Australia/Lord_Howe', between: between('01:30-01:45') },
      '2026-04-04T14:50:00Z',
      'outside_hours',
      '2026-04-04T15:00:00Z',
    ],
    ['a date to come', { zone: 'Europe/Berlin', from: '2027-04-01' }, '2026-11-22T12:00:00Z', 'not_open_yet', '2027-03-31T22:00:00Z'],
    ['a date to come, in years', { from: '2031-01-01', days: ['wed'] }, '2026-11-22T12:00:00Z', 'not_open_yet', '2031-01-01T00:00:00Z'],
    ['over since', { zone: 'Europe/Berlin', until: '2026-11-20' }, '2026-11-22T12:00:00Z', 'no_longer_open', '2026-11-20T23:00:00Z'],
    ['no such day before it is over', { days: ['mon'], until: '2026-11-22' }, '2026-11-22T12:00:00Z', 'no_longer_open', undefined],
    ['leap day', { from: '2028-02-29', until: '2028-02-29' }, '2028-02-28T12:00:00Z', 'not_open_yet', '2028-02-29T00:00:00Z'],
    ['never', { days: [] }, '2026-11-22T12:00:00Z', 'outside_hours', undefined],
  ]
  it.each(cases)('%s', (...[, keys, at, remedy, opens]) => {
    const condition = compileTimeCondition(timeCondition(keys))
    const { zone = 'UTC' } = keys
    const details = opens === undefined ? { zone } : { at: Date.parse(opens), zone }
    expect(condition.findUnmet(atInstant(at))).toEqual([{ condition: 'time', outcome: 'false', remedy, details }])
  })

  it('is the first minute at which it holds, wherever one begins to wait', () => {
    const schedules: readonly Partial<TimeCondition>[] = [
      { between: between('02:15-02:45') },
      { between: between('01:30-02:30') },
      { between: between('23:30-00:30', '02:30-04:00') },
      { days: ['sun'], between: between('22:00-02:30') },
      { days: ['sun'] },
    ]
    const around = {
      'Europe/Berlin': ['2026-03-28', '2026-10-24'],
      'Australia/Lord_Howe': ['2026-04-04', '2026-10-03'],
      'Africa/Cairo': ['2026-04-23'],
    }
    for (const [zone, dates] of Object.entries(around)) {
      for (const date of dates) {
        for (const keys of schedules) {
          const condition = compileTimeCondition(timeCondition({ ...keys, zone }))
          const start = Date.parse(`${date}T00:00:00Z`)
          let opens: number | undefined
          for (let at = start + 9 * 24 * hours; at >= start; at -= 5 * minutes) {
            if (condition.judge(atInstant(at)) === 'true') opens = at
            else if (opens !== undefined && at < start + 2 * 24 * hours)
              expect(condition.findUnmet(atInstant(at))[0]?.details?.at).toBe(opens)
          }
        }
      }
    }
  })

  it('is found in milliseconds, also where there is none', () => {
    const condition = compileTimeCondition(timeCondition({ zone: 'Europe/Berlin', days: [] }))
    const start = process.hrtime.bigint()
    condition.findUnmet(atInstant('2026-11-22T12:00:00Z'))
    expect(Number(process.hrtime.bigint() - start) / 1e6).toBeLessThan(250)
  })
})

describe('dayBounds', () => {
  it.each([
    ['2026-11-22', 'UTC', '2026-11-22T00:00:00Z', '2026-11-23T00:00:00Z'],
    ['2026-11-22', 'Europe/Berlin', '2026-11-21T23:00:00Z', '2026-11-22T23:00:00Z'],
    ['2026-03-29', 'Europe/Berlin', '2026-03-28T23:00:00Z', '2026-03-29T22:00:00Z'],
    ['2026-10-25', 'Europe/Berlin', '2026-10-24T22:00:00Z', '2026-10-25T23:00:00Z'],
    ['2026-10-04', 'Australia/Lord_Howe', '2026-10-03T13:30:00Z', '2026-10-04T13:00:00Z'],
    ['2028-02-29', 'America/New_York', '2028-02-29T05:00:00Z', '2028-03-01T05:00:00Z'],
    // Midnight is skipped: the day begins at 01:00.
    ['2026-04-24', 'Africa/Cairo', '2026-04-23T22:00:00Z', '2026-04-24T21:00:00Z'],
    // Midnight shows twice: the day begins with the first.
    ['2026-11-01', 'America/Havana', '2026-11-01T04:00:00Z', '2026-11-02T05:00:00Z'],
    // The whole day was left out.
    ['2011-12-30', 'Pacific/Apia', '2011-12-30T10:00:00Z', '2011-12-30T10:00:00Z'],
    ['2026-06-01', 'Pacific/Kiritimati', '2026-05-31T10:00:00Z', '2026-06-01T10:00:00Z'],
    ['2026-06-01', 'Pacific/Niue', '2026-06-01T11:00:00Z', '2026-06-02T11:00:00Z'],
  ])('%s in %s is %s to %s', (date, zone, from, to) => {
    expect(dayBounds(date, zone)).toEqual({ from: Date.parse(from), to: Date.parse(to) })
  })

  it('refuses a date or a zone that does not exist', () => {
    expect(() => dayBounds('2026-02-30', 'UTC')).toThrow(TypeError)
    expect(() => dayBounds('2026-02-28', 'Mars/Olympus')).toThrow(TypeError)
  })
})
