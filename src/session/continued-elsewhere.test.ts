/** A sign-in that another instance wrote: a browser that comes back from it is judged by it at once, whatever an instance remembers. */

import { afterAll, beforeAll, expect, it } from 'vitest'
import { browserOrigin, createTestRing, createTestSessions, openEmbeddedPlace, type StorePlace, signedInAs } from './session.fixture.ts'
import type { SessionLookup } from './session.ts'

const payroll = 'https://payroll.corp.example'
let place: StorePlace

beforeAll(async () => {
  place = await openEmbeddedPlace()
})
afterAll(() => place.close())

const acrOf = (lookup: SessionLookup | undefined) => (lookup?.state === 'live' ? lookup.session.signIn.acr : lookup?.state)

it('sees the stronger sign-in behind a new app session on an instance that remembers the weaker one', async () => {
  const ring = createTestRing()
  const [access, callback, app] = [createTestSessions(place, ring), createTestSessions(place, ring), createTestSessions(place, ring)]
  const weak = signedInAs('alice', { signIn: { at: 1, authTime: 1, acr: '1', amr: [] } })
  const { session } = await access.sessions.begin(weak, browserOrigin)
  const before = (await callback.sessions.openAppSession(session.id, payroll)) ?? ''
  expect(acrOf(await app.sessions.findByAppSecret(before, payroll))).toBe('1')
  expect(acrOf(await callback.sessions.findByAppSecret(before, payroll))).toBe('1')

  await access.sessions.continueWith(session, { ...weak, signIn: { at: 2, authTime: 2, acr: '2', amr: ['otp'] } })
  // The clock stands still: without a new secret both would remember the weak one.
  expect(acrOf(app.sessions.recallByAppSecret(before, payroll))).toBe('1')

  const after = (await callback.sessions.openAppSession(session.id, payroll)) ?? ''
  expect(acrOf(await callback.sessions.findByAppSecret(after, payroll))).toBe('2')
  expect(app.sessions.recallByAppSecret(after, payroll)).toBeUndefined()
  expect(acrOf(await app.sessions.findByAppSecret(after, payroll))).toBe('2')
  expect(acrOf(app.sessions.recallByAppSecret(after, payroll))).toBe('2')
  // What the new app session brought to light holds for the session, and so for the tabs that still send the old cookie.
  expect(acrOf(app.sessions.recallByAppSecret(before, payroll))).toBe('2')
  await Promise.all([access, callback, app].map((one) => one.sessions.close()))
})

it('otherwise remembers for five seconds and no longer', async () => {
  const ring = createTestRing()
  const [access, app] = [createTestSessions(place, ring), createTestSessions(place, ring)]
  const weak = signedInAs('bob', { signIn: { at: 1, authTime: 1, acr: '1', amr: [] } })
  const { session } = await access.sessions.begin(weak, browserOrigin)
  const secret = (await access.sessions.openAppSession(session.id, payroll)) ?? ''
  await app.sessions.findByAppSecret(secret, payroll)
  // As after a claims refresh elsewhere: no new secret, so memory may be up to 5 s old, and no older.
  await access.sessions.continueWith(session, { ...weak, signIn: { at: 2, authTime: 2, acr: '2', amr: ['otp'] } })
  expect(acrOf(app.sessions.recallByAppSecret(secret, payroll))).toBe('1')
  place.clock.move(5_001)
  expect(app.sessions.recallByAppSecret(secret, payroll)).toBeUndefined()
  expect(acrOf(await app.sessions.findByAppSecret(secret, payroll))).toBe('2')
  await Promise.all([access, app].map((one) => one.sessions.close()))
})
