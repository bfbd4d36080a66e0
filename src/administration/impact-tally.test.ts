/** What goes through the store of an impact: all of it where it fits, and where not, what concerns most, with the rest counted. */

import { describe, expect, it } from 'vitest'
import { mostPartBytes } from './errands.ts'
import { cutSummary, summariseReplay } from './impact-summary.ts'
import { packTally, unpackTally } from './impact-tally.ts'
import { countIn, createTally, mergeTally, noteChange, noteSeen } from './replay-tally.ts'

function tallyOf(subjects: number, length = 20) {
  const tally = createTally()
  for (let index = 0; index < subjects; index++) {
    const at = 1_800_000_000_000 + index
    const sub = `${index}-`.padEnd(length, String(index * 7919))
    for (let time = 0; time <= index % 3; time++) {
      noteSeen(tally, at + time, 'sha256-a')
      tally.decided += 1
      noteChange(tally, {
        direction: (['lost', 'gained', 'shifted'] as const)[index % 2] ?? 'lost',
        subject: { kind: 'person', issuer: 'https://op.example', sub, email: undefined },
        ...{ app: 'wiki', rule: undefined, reason: 'no_rule_matched', becomes: 'deny', was: 'allow', ruleBefore: 'staff' },
        request: crypto.randomUUID(),
        at: at + time,
      })
    }
  }
  countIn(tally.insufficient, 'facts_missing', 3)
  countIn(tally.notPolicy, 'bad_request', 2)
  return tally
}

describe('the tally of an instance', () => {
  it('is the same on the other side, also where nothing was looked at', () => {
    const tally = tallyOf(50)
    expect(summariseReplay(unpackTally(packTally(tally)), 'v')).toEqual(summariseReplay(tally, 'v'))
    expect(unpackTally(packTally(createTally()))).toEqual(createTally())
    const whole = createTally()
    for (const part of [tallyOf(5), createTally()]) mergeTally(whole, unpackTally(packTally(part)))
    expect(summariseReplay(whole, 'v').loses).toHaveLength(3)
  })

  it('keeps what concerns most requests and counts the rest, so that the numbers stay whole', () => {
    const tally = tallyOf(300)
    const cut = unpackTally(packTally(tally, 100))
    expect(cut.changes.size).toBe(100)
    expect([...cut.changes.values()].every(({ count }) => count === 3)).toBe(true)
    const listed = [...cut.changes.values()].reduce((sum, { count }) => sum + count, 0)
    expect(listed + cut.unlisted.lost + cut.unlisted.gained + cut.unlisted.shifted).toBe(tally.decided)
  })

  it('fits however long names are', () => {
    const packed = packTally(tallyOf(12_000, 900))
    expect(packed.length).toBeLessThan(mostPartBytes)
    expect(unpackTally(packed).changes.size).toBeGreaterThan(100)
  })

  it('is handed out as far as was asked for, with how many more there are', () => {
    const { more, summary } = cutSummary(summariseReplay(tallyOf(10), 'v'), 2)
    expect([summary.loses.length, summary.gains.length, summary.shifts.length, more]).toEqual([2, 2, 0, { loses: 3, gains: 3, shifts: 0 }])
  })
})
