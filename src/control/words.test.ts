/** Spans, moments and systems in the words of pages, and what remedies make of them. */

import { describe, expect, it } from 'vitest'
import { type Remedy, remedyWords } from '../policy/decision.ts'
import { remedies } from './remedies.ts'
import { printBrowsers, printDevice, printMoment, printOpening, printSpan, printSystems } from './words.ts'

const minute = 60_000
const hour = 60 * minute
const now = Date.parse('2026-11-25T21:48:00+01:00')

describe('a span', () => {
  it.each([
    [0, '1 second'],
    [40_000, '40 seconds'],
    [5 * minute, '5 minutes'],
    [hour, '1 hour'],
    [9 * hour + 12 * minute, '9 h 12 min'],
    [47 * hour, '47 hours'],
    [72 * hour, '3 days'],
  ])('of %i ms is %s', (ms, text) => {
    expect(printSpan(ms)).toBe(text)
  })
})

describe('a moment', () => {
  it.each([
    ['2026-11-25T22:00:00+01:00', 'Europe/Berlin', '22:00 (Berlin)'],
    ['2026-11-26T07:00:00+01:00', 'Europe/Berlin', 'Thursday at 07:00 (Berlin)'],
    ['2027-01-05T00:00:00+01:00', 'Europe/Berlin', '5 January at 00:00 (Berlin)'],
    ['2026-11-25T22:00:00+01:00', 'America/New_York', '16:00 (New York)'],
    ['2026-11-25T22:00:00+01:00', undefined, '21:00 (UTC)'],
  ])('%s in %s is %s', (at, zone, text) => {
    expect(printMoment(Date.parse(at), now, zone)).toBe(text)
  })

  it('says how long it is until it opens', () => {
    expect(printOpening(Date.parse('2026-11-26T07:00:00+01:00'), now, 'Europe/Berlin')).toBe('at 07:00 (Berlin), in 9 h 12 min')
    expect(printOpening(Date.parse('2026-11-30T07:00:00+01:00'), now, 'Europe/Berlin')).toBe('on Monday at 07:00 (Berlin), in 4 days')
    expect(printOpening(now + 5 * minute, now, 'Europe/Berlin')).toBe('at 21:53 (Berlin), in 5 minutes')
  })
})

describe('a system', () => {
  it.each([
    ['macos 14.1', 'macOS 14.1'],
    ['macos >= 14.4', 'macOS 14.4 or later'],
    ['macos >= 14.4, windows >= 10.0.22631', 'macOS 14.4 or later, or Windows 10.0.22631 or later'],
    ['linux', 'Linux'],
    ['plan9 > 4', 'later than plan9 4'],
  ])('%s is %s', (text, printed) => {
    expect(printSystems(text)).toBe(printed)
  })

  it('names the device that runs it', () => {
    expect(printDevice('macos 15.1')).toBe('Your Mac')
    expect(printDevice('__proto__ 1')).toBe('Your device')
    expect(printDevice(undefined)).toBe('Your device')
  })
})

describe('browsers', () => {
  it.each([
    ['firefox', 'Firefox'],
    ['firefox, samsung_internet', 'Firefox or Samsung Internet'],
    ['constructor', 'constructor'],
    ['>= 120', undefined],
  ])('%s are %s', (text, printed) => {
    expect(printBrowsers(text)).toBe(printed)
  })
})

describe('a remedy', () => {
  it('says when a device last reported, and what will do', () => {
    const { text } = remedies.device_report_too_old({ at: now - 72 * hour, withinSeconds: 86_400, present: 'macos 15.1' }, now)
    expect(text).toContain('Your Mac last reported 3 days ago, and {app} wants that within 24 hours.')
  })

  it('says when an app opens, in its own zone', () => {
    const { text } = remedies.outside_hours({ at: Date.parse('2026-11-26T07:00:00+01:00'), zone: 'Europe/Berlin' }, now)
    expect(text).toBe('{app} opens at 07:00 (Berlin), in 9 h 12 min.')
  })

  it('lets the page look by itself only where waiting can help within its patience', () => {
    expect(remedies.outside_hours({ at: now + 5 * minute }, now).isWatched).toBe(true)
    expect(remedies.outside_hours({ at: now + hour }, now).isWatched).toBeUndefined()
    expect(remedies.disk_not_encrypted({}, now).isWatched).toBe(true)
    expect(remedies.ask_for_access({}, now).isWatched).toBeUndefined()
  })

  it.each(Object.keys(remedyWords) as Remedy[])('%s makes whole sentences with every detail and with none', (remedy) => {
    const full = { at: now - hour, zone: 'Europe/Berlin', withinSeconds: 600, present: 'macos 14.1', wanted: 'macos >= 14.4' }
    for (const details of [{}, full]) {
      const { heading, text, title } = remedies[remedy](details, now)
      expect(text).toMatch(/^[A-Z{].*\.$/s)
      for (const words of [heading ?? '', text, title]) expect(words).not.toMatch(/undefined|NaN|Invalid|\bnull\b/)
    }
  })
})
