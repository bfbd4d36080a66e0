/** A sign-in that another instance wrote: an instance forgets what it remembered as soon as it hears of it, and needs not even that. */

import { afterAll, beforeAll, expect, it } from 'vitest'
import {
  browserOrigin,
  createTestLive,
  createTestRing,
  createTestSessions,
  openEmbeddedPlace,
  type StorePlace,
  signedInAs,
} from './session.fixture.ts'
import type { SessionLookup } from './session.ts'
import type { SessionStore, StoreEvents } from './store.ts'

const payroll = 'https://payroll.corp.example'
let place: StorePlace

beforeAll(async () => {
  place = await openEmbeddedPlace()
})
afterAll(() => place.close())

const acrOf = (lookup: SessionLookup | undefined) => (lookup?.state === 'live' ? lookup.session.signIn.acr : lookup?.state)

/** The same store, whose stream answers and tells of nothing: news that are on their way still. */
function withoutNews(store: SessionStore): SessionStore {
  const openEvents = (): StoreEvents => {
    const events = store.openEvents()
    return { ...events, next: async (position) => ({ ...(await events.next(position)), events: [] }) }
  }
  return new Proxy(store, { get: (target, name: keyof SessionStore) => (name === 'openEvents' ? openEvents : target[name]) })
}

it('sees the stronger sign-in behind a new app session on an instance that remembers the weaker one', async () => {
  const ring = createTestRing()
  const [access, callback] = [createTestSessions(place, ring), createTestSessions(place, ring)]
  const app = createTestSessions(place, ring, { live: createTestLive({ store: withoutNews(place.store), clock: place.clock }) })
  const weak = signedInAs('alice', { signIn: { at: 1, authTime: 1, acr: '1', amr: [] } })
  const { session } = await access.sessions.begin(weak, browserOrigin)
  const before = (await callback.sessions.openAppSession(session.id, payroll)) ?? ''
  expect(acrOf(await app.sessions.findByAppSecret(before, payroll))).toBe('1')

  await access.sessions.continueWith(session, { ...weak, signIn: { at: 2, authTime: 2, acr: '2', amr: ['otp'] } })
  // Without news and with a clock that stands still, it would remember the weak one.
  expect(acrOf(app.sessions.recallByAppSecret(before, payroll))).toBe('1')

  const after = (await callback.sessions.openAppSession(session.id, payroll)) ?? ''
  expect(acrOf(await callback.sessions.findByAppSecret(after, payroll))).toBe('2')
  expect(app.sessions.recallByAppSecret(after, payroll)).toBeUndefined()
  expect(acrOf(await app.sessions.findByAppSecret(after, payroll))).toBe('2')
  expect(acrOf(app.sessions.recallByAppSecret(after, payroll))).toBe('2')
  // What the new app session brought to light holds for the session, and so for the tabs that still send the old cookie.
  expect(acrOf(app.sessions.recallByAppSecret(before, payroll))).toBe('2')
})

it('remembers for five seconds and no longer what no news came of', async () => {
  const ring = createTestRing()
  const access = createTestSessions(place, ring)
  const app = createTestSessions(place, ring, { live: createTestLive({ store: withoutNews(place.store), clock: place.clock }) })
  const weak = signedInAs('bob', { signIn: { at: 1, authTime: 1, acr: '1', amr: [] } })
  const { session } = await access.sessions.begin(weak, browserOrigin)
  const secret = (await access.sessions.openAppSession(session.id, payroll)) ?? ''
  await app.sessions.findByAppSecret(secret, payroll)
  await access.sessions.continueWith(session, { ...weak, signIn: { at: 2, authTime: 2, acr: '2', amr: ['otp'] } })
  expect(acrOf(app.sessions.recallByAppSecret(secret, payroll))).toBe('1')
  place.clock.move(5_001)
  expect(app.sessions.recallByAppSecret(secret, payroll)).toBeUndefined()
  expect(acrOf(await app.sessions.findByAppSecret(secret, payroll))).toBe('2')
})

it('forgets at once what it hears of', async () => {
  const ring = createTestRing()
  const [access, app] = [createTestSessions(place, ring), createTestSessions(place, ring)]
  const weak = signedInAs('carol', { signIn: { at: 1, authTime: 1, acr: '1', amr: [] } })
  const { session } = await access.sessions.begin(weak, browserOrigin)
  const secret = (await access.sessions.openAppSession(session.id, payroll)) ?? ''
  expect(acrOf(await app.sessions.findByAppSecret(secret, payroll))).toBe('1')
  await access.sessions.continueWith(session, { ...weak, signIn: { at: 2, authTime: 2, acr: '2', amr: ['otp'] } })
  await expect.poll(() => app.sessions.recallByAppSecret(secret, payroll), { interval: 5 }).toBeUndefined()
  expect(acrOf(await app.sessions.findByAppSecret(secret, payroll))).toBe('2')
  expect(acrOf(app.sessions.recallByAppSecret(secret, payroll))).toBe('2')
})
