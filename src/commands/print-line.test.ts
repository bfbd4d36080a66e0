/** What others chose to be called cannot act on a terminal. */

import { expect, it } from 'vitest'
import { printJson, printLine } from './print-line.ts'

const hostile = '\u001b[2J\u009b31m\u202egpj\u2028x\u0007\ud834\udd73'

it('prints a line without anything that a terminal would act upon', () => {
  expect(printLine(`staff${hostile}`)).toBe('staff?[2J?31m?gpj?x??')
})

it('prints JSON that says the same, in characters that do nothing', () => {
  const text = printJson({ group: hostile, nested: [{ 'a\u202eb': 1 }] })
  expect(text).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u)
  expect(JSON.parse(text)).toEqual({ group: hostile, nested: [{ 'a\u202eb': 1 }] })
})
