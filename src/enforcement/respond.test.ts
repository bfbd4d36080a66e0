/** Reasons, audiences and the shapes of our own answers. */

import type { IncomingMessage } from 'node:http'
import { describe, expect, test } from 'vitest'
import { type Reason, reasons } from '../policy/decision.ts'
import { createResponder, type Refusal, readAudience, statusOf } from './respond.ts'

test('every reason has a status, and only allows have 200', () => {
  const allowed = (Object.keys(reasons) as Reason[]).filter((reason) => statusOf(reason) === 200)
  expect(allowed).toEqual(['rule_matched', 'public', 'report_mode', 'cors_preflight'])
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

  const refuse = (refusal: Partial<Refusal> & Pick<Refusal, 'reason'>) =>
    responder('https://access.corp.example').refuse({ requestId: 'r', audience: 'program', realm: 'app.corp.example', ...refusal })
  const challengesOf = (refusal: Parameters<typeof refuse>[0]) => [refuse(refusal).headers['www-authenticate'] ?? []].flat()
  const bodyOf = (refusal: Parameters<typeof refuse>[0]): unknown => JSON.parse(String(refuse(refusal).body))

  test('says how to get in: a sign-in, and a token where one would have been ours', () => {
    expect(challengesOf({ reason: 'login_required' })).toEqual(['Postern realm="app.corp.example"'])
    expect(challengesOf({ reason: 'login_required', takesBearer: true })).toEqual([
      'Postern realm="app.corp.example"',
      'Bearer realm="app.corp.example"',
    ])
    expect(challengesOf({ reason: 'no_rule_matched', takesBearer: true })).toEqual([])
  })

  test.each([
    ['invalid_token', 401, 'invalid_token'],
    ['insufficient_scope', 403, 'insufficient_scope'],
    ['two_identities', 400, 'invalid_request'],
  ] as const)('says of a token that is %s what RFC 6750 wants said, and never a scope', (reason, status, error) => {
    expect(refuse({ reason }).status).toBe(status)
    expect(challengesOf({ reason })).toEqual([`Bearer realm="app.corp.example", error="${error}"`])
    expect(bodyOf({ reason })).toMatchObject({ error: reason })
    expect(bodyOf({ reason })).not.toHaveProperty('sign_in')
  })

  test('says what a stronger sign-in has to bring (RFC 9470), in header and body', () => {
    const stepUp = { conditions: [], acrValues: ['gold', 'urn:x:silver'], maxAgeSeconds: 300, ask: { hint: 'secret' } }
    const refusal = { reason: 'insufficient_user_authentication', stepUp, signInUrl: 'https://access.corp.example/sign-in' } as const
    expect(refuse(refusal).status).toBe(401)
    expect(challengesOf(refusal)).toEqual([
      'Postern realm="app.corp.example", error="insufficient_user_authentication", acr_values="gold urn:x:silver", max_age="300"',
    ])
    expect(bodyOf(refusal)).toEqual({
      error: 'insufficient_user_authentication',
      message: expect.any(String),
      request_id: 'r',
      sign_in: 'https://access.corp.example/sign-in',
      acr_values: 'gold urn:x:silver',
      max_age: 300,
    })
    const fresh = {
      reason: 'insufficient_user_authentication',
      stepUp: { ...stepUp, acrValues: ['a"b'], maxAgeSeconds: undefined },
    } as const
    expect(challengesOf(fresh)).toEqual(['Postern realm="app.corp.example", error="insufficient_user_authentication"'])
    expect(bodyOf(fresh)).toMatchObject({ acr_values: 'a"b' })
  })

  test('spells what is unmet as the public contract does', () => {
    const at = Date.UTC(2026, 10, 22, 6, 0)
    const unmet = [
      { condition: 'time', outcome: 'false', remedy: 'outside_hours', details: { at, zone: 'Europe/Berlin', withinSeconds: 60 } },
      { condition: 'device', outcome: 'unknown', remedy: 'device_never_reported', details: { at: Number.NaN } },
      { condition: 'paths', outcome: 'false', remedy: 'other_path' },
    ] as const
    expect(bodyOf({ reason: 'no_rule_matched', unmet })).toMatchObject({
      unmet: [
        {
          condition: 'time',
          outcome: 'false',
          remedy: 'outside_hours',
          message: 'It is outside the hours.',
          details: { at: '2026-11-22T06:00:00.000Z', zone: 'Europe/Berlin', within_seconds: 60 },
        },
        { condition: 'device', outcome: 'unknown', remedy: 'device_never_reported', details: {} },
        { condition: 'paths', outcome: 'false', remedy: 'other_path', message: expect.any(String) },
      ],
    })
  })
})
