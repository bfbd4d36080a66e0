/** The closed lists of reasons and error codes, and their documentation, say the same. */

import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { statusOf } from './enforcement/respond.ts'
import { errorCodes, isPosternError, PosternError } from './errors.ts'
import { type Reason, reasons, remedyWords } from './policy/decision.ts'

/** First cells of the tables of a page, which are `code` in backticks. */
function documentedIn(page: string): string[] {
  const text = readFileSync(new URL(`../docs/${page}`, import.meta.url), 'utf8')
  return [...text.matchAll(/^\| `([a-z_]+)` \|/gm)].map(([, word = '']) => word)
}

describe('docs', () => {
  it.each([
    ['errors.md', errorCodes],
    ['reasons.md', { ...reasons, ...remedyWords }],
  ])('%s lists exactly the words there are, each once', (page, words) => {
    const documented = documentedIn(page)
    expect(new Set(documented)).toEqual(new Set(Object.keys(words)))
    expect(documented).toHaveLength(Object.keys(words).length)
  })

  it.each([
    ['errors.md', errorCodes],
    ['reasons.md', { ...reasons, ...remedyWords }],
  ])('%s repeats the sentence of each', (page, words) => {
    const text = readFileSync(new URL(`../docs/${page}`, import.meta.url), 'utf8')
    for (const [word, sentence] of Object.entries(words)) expect(text).toContain(`| \`${word}\` | ${sentence} |`)
  })
})

it('reasons.md states the status that each reason is answered with', () => {
  const text = readFileSync(new URL('../docs/reasons.md', import.meta.url), 'utf8')
  for (const reason of Object.keys(reasons) as Reason[]) {
    const [, status] = new RegExp(`^\\| \`${reason}\` \\| [^|]+ \\| ([^|,]+)`, 'm').exec(text) ?? []
    expect(`${reason} ${status?.trim()}`).toBe(
      `${reason} ${statusOf(reason) === 200 ? 'the app\u2019s' : statusOf(reason)}`.replace('\u2019', "'"),
    )
  }
})

it('every word is snake_case and every sentence is one', () => {
  for (const [word, sentence] of [...Object.entries(errorCodes), ...Object.entries(reasons), ...Object.entries(remedyWords)]) {
    expect(word).toMatch(/^[a-z]+(?:_[a-z]+)*$/)
    expect(sentence).toMatch(/^[A-Z].*\.$/)
  }
})

it('an operational failure is told by its class and keeps its cause', () => {
  const cause = new Error('ECONNREFUSED')
  const error = new PosternError('session_store_unavailable', 'the store did not answer', { cause })
  expect(isPosternError(error)).toBe(true)
  expect(error).toMatchObject({ code: 'session_store_unavailable', name: 'PosternError', cause })
  expect(isPosternError({ code: 'session_store_unavailable' })).toBe(false)
})
