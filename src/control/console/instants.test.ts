/**
 * The words of instants and spans: what is near by its distance, what is far by its date, nothing for what is no instant.
 */

import { describe, expect, it } from 'vitest'
import { durationWords, instantView } from './instants.ts'

const now = Date.UTC(2026, 10, 22, 12)
const minute = 60_000
const hour = 60 * minute
const day = 24 * hour

describe('an instant', () => {
  it.each([
    [0, 'just now'],
    [-59_999, 'just now'],
    [1, 'just now'],
    [6_000, 'in a moment'],
    [-minute, '1 min ago'],
    [-5 * minute - 30_000, '5 min ago'],
    [59 * minute, 'in 59 min'],
    [-hour, '1 h ago'],
    [3 * hour, 'in 3 h'],
    [-day, '1 day ago'],
    [6 * day + 23 * hour, 'in 6 days'],
    [-7 * day, '15 Nov 2026'],
    [90 * day, '20 Feb 2027'],
  ])('%d ms from now is %s', (distance, text) => {
    expect(instantView(now + distance, now)).toEqual({ iso: new Date(now + distance).toISOString(), text })
  })

  it('that is none, or that no calendar has, is nothing', () => {
    for (const at of [undefined, Number.NaN, Number.POSITIVE_INFINITY, 9e15, -9e15]) expect(instantView(at, now)).toBeUndefined()
  })
})

describe('a span', () => {
  it.each([
    [-5, '0 s'],
    [40_999, '40 s'],
    [minute, '1 min'],
    [hour - 1, '59 min'],
    [25 * hour, '1 day'],
    [3 * day, '3 days'],
  ])('of %d ms is %s', (ms, text) => expect(durationWords(ms)).toBe(text))
})
