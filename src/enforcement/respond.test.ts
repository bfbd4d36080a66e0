/** Reasons, audiences and the shapes of our own answers. */

import type { IncomingMessage } from 'node:http'
import { describe, expect, test } from 'vitest'
import { type Reason, reasons } from '../policy/decision.ts'
import { createResponder, readAudience, statusOf } from './respond.ts'

test('every reason has a status, and only allows have 200', () => {
  const allowed = (Object.keys(reasons) as Reason[]).filter((reason) => statusOf(reason) === 200)
  expect(allowed).toEqual(['rule_matched', 'public'])
  for (const reason of Object.keys(reasons) as Reason[]) expect(statusOf(reason)).toBeGreaterThanOrEqual(200)
})

describe('an audience', () => {
  test.each<[string, Record<string, string>]>([
    ['page', { 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' }],
    ['page', { 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document', 'x-requested-with': 'x', accept: '*/*' }],
    ['frame', { 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'iframe', accept: 'text/html' }],
    ['frame', { 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'embed' }],
    ['program', { 'sec-fetch-mode': 'navigate', accept: 'text/html' }],
    ['program', { 'sec-fetch-dest': 'document', accept: 'text/html' }],
    ['program', { 'sec-fetch-mode': 'no-cors', 'sec-fetch-dest': 'image', accept: 'text/html' }],
    ['program', { 'sec-fetch-mode': 'cors', 'sec-fetch-dest': 'empty', accept: 'text/html' }],
    ['program', { 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'serviceworker', accept: 'text/html' }],
    ['page', { accept: 'text/html,application/xhtml+xml' }],
    ['page', { accept: 'TEXT/HTML' }],
    ['program', { accept: 'text/html', 'x-requested-with': 'XMLHttpRequest' }],
    ['program', { accept: '*/*' }],
    ['program', { accept: 'application/json' }],
    ['program', { accept: 'image/svg+xml' }],
    ['program', {}],
  ])('is a %s for %j', (audience, headers) => {
    expect(readAudience({ headers } as unknown as IncomingMessage)).toBe(audience)
  })
})

describe('an answer of ours', () => {
  const page = { status: 200, headers: { 'content-type': 'text/html', 'cache-control': 'public', 'x-postern': 'forged' }, body: '<p>' }
  const responder = (url: string, hstsSeconds?: number) =>
    createResponder({ accessUrl: new URL(url), hstsSeconds }, { renderRefusal: () => page, now: () => 784_111_777_000 })

  test('is never stored or sniffed, and names its reason, whatever a page says', () => {
    const answer = responder('https://access.corp.example').refuse({ reason: 'no_rule_matched', requestId: 'r', audience: 'page' })
    expect(answer.headers).toEqual({
      'content-type': 'text/html',
      'cache-control': 'no-store',
      date: 'Sun, 06 Nov 1994 08:49:37 GMT',
      'x-content-type-options': 'nosniff',
      'x-postern': 'no_rule_matched',
      'x-postern-request': 'r',
    })
  })

  test('asks for https from then on where that is configured and true', () => {
    const refusal = { reason: 'app_not_found', requestId: 'r', audience: 'program' } as const
    expect(responder('https://access.corp.example', 60).refuse(refusal).headers).toMatchObject({
      'strict-transport-security': 'max-age=60',
    })
    expect(responder('http://access.corp.localhost', 60).refuse(refusal).headers).not.toHaveProperty('strict-transport-security')
  })

  test('to what is malformed is no page, and closes', () => {
    const answer = responder('https://access.corp.example').refuse({ reason: 'bad_request', requestId: 'r', audience: 'page' })
    expect(answer).toMatchObject({ status: 400, closes: true, headers: { 'content-type': 'application/json; charset=utf-8' } })
  })
})
