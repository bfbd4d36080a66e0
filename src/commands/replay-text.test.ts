/** The answer of a replay as people and programs get it: bounded, sorted, and nothing in it acts on a terminal; and the bar before it. */

import { describe, expect, it } from 'vitest'
import { hasChanges, summariseReplay } from '../administration/impact-summary.ts'
import { countIn, createTally, noteChange } from '../administration/replay-tally.ts'
import { createProgress } from './replay-progress.ts'
import { printReplay } from './replay-text.ts'

function tallyOf(subjects: readonly string[]) {
  const tally = createTally()
  for (const [index, sub] of subjects.entries()) {
    tally.decided += 1
    noteChange(tally, {
      direction: 'lost',
      subject: { kind: 'person', issuer: 'https://op.example', sub, email: `${sub}@corp.example` },
      app: 'wiki',
      rule: 'office\u001b[2J only',
      reason: 'denied_by_rule',
      becomes: 'deny',
      was: 'allow',
      ruleBefore: 'staff',
      request: `r${index}`,
      at: 1_800_000_000_000 + index,
    })
  }
  return tally
}

describe('the answer of a replay', () => {
  it('has the public keys, the most requests first', () => {
    const tally = tallyOf(['b', 'a', 'b'])
    tally.policies.set('sha256-2', 2).set('sha256-1', 1)
    countIn(tally.insufficient, 'device_not_recorded', 4)
    const summary = summariseReplay(tally, 'sha256-3')
    expect(summary).toMatchObject({
      policy: { from: ['sha256-1', 'sha256-2'], to: 'sha256-3' },
      decided: 3,
      insufficient: 4,
      insufficientBy: { device_not_recorded: 4 },
      gains: [],
    })
    expect(summary.loses.map(({ count, examples, subject }) => ({ count, examples, subject }))).toEqual([
      { count: 2, examples: ['r0', 'r2'], subject: 'b@corp.example' },
      { count: 1, examples: ['r1'], subject: 'a@corp.example' },
    ])
    expect(hasChanges(summary)).toBe(true)
    expect(hasChanges(summariseReplay(createTally(), 'sha256-3'))).toBe(false)
  })

  it('is short for people, says what it leaves out, and acts on no terminal', () => {
    const text = printReplay(summariseReplay(tallyOf(Array.from({ length: 25 }, (_, index) => `p${index}`)), 'sha256-3'), 'a new policy')
    expect(text).toContain('WOULD LOSE: 25 requests of 25 subjects')
    expect(text).toContain('and 5 more, with 5 requests')
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
    expect(text).not.toMatch(/[\u0000-\u0009\u000b-\u001f]/)
    expect(printReplay(summariseReplay(createTally(), 'sha256-3'), 'a new policy')).toContain('No request could be decided again.')
  })
})

describe('the progress bar', () => {
  const drawnBy = (isTTY: boolean) => {
    let drawn = ''
    let at = 0
    const progress = createProgress(
      {
        isTTY,
        columns: 120,
        write: (text) => {
          drawn += text
        },
      },
      1000,
      () => at,
    )
    progress.step({ bytes: 100, lines: 10, decided: 5 })
    at = 2000
    progress.step({ bytes: 150, lines: 10, decided: 5 })
    progress.end()
    return drawn
  }

  it('says how far it is, how fast, and how long still', () => {
    expect(drawnBy(true)).toContain('[######------------------] 25 %  20 lines, 10 decided, 5/s, 6 s left')
    expect(drawnBy(true).endsWith('\r\u001b[2K')).toBe(true)
  })

  it('is not drawn into a file', () => {
    expect(drawnBy(false)).toBe('')
  })
})
