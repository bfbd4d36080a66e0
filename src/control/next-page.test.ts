/** What is left for the next page is for the session that it was left for, once, and for no other that the browser has meanwhile. */

import type { Request } from 'express'
import { expect, it } from 'vitest'
import { leaveForNextPage, takeForNextPage } from './next-page.ts'

const browser = () => ({ session: {} }) as Request
const said = { notice: { tone: 'good', text: 'Done' } } as const

it('is told once, to the session that it was left for', () => {
  const request = browser()
  leaveForNextPage(request, { id: 'of alice' }, said)
  expect(takeForNextPage(request, { id: 'of alice' })).toEqual(said)
  expect(takeForNextPage(request, { id: 'of alice' })).toEqual({})
})

it('is told to no other session of the same browser, and is gone then', () => {
  const request = browser()
  leaveForNextPage(request, { id: 'of alice' }, said)
  expect(takeForNextPage(request, { id: 'of ada' })).toEqual({})
  expect(takeForNextPage(request, { id: 'of alice' })).toEqual({})
})

it('is nothing where nothing was left', () => {
  expect(takeForNextPage(browser(), { id: 'of alice' })).toEqual({})
})
