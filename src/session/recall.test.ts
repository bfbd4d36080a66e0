/** What the data plane is answered from memory alone, at once: never more than the slow way would say. */

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { PosternError } from '../errors.ts'
import type { Live } from '../live/live.ts'
import { createSecret } from './secret.ts'
import {
  browserOrigin,
  createTestLive,
  createTestRing,
  createTestSessions,
  openEmbeddedPlace,
  type StorePlace,
  signedInAs,
  type TestSessions,
} from './session.fixture.ts'
import type { Session } from './session.ts'
import { hashSubject } from './session-record.ts'
import type { SessionStore, StoreEvents } from './store.ts'

const wiki = 'https://wiki.corp.example'

describe('recalling a session', () => {
  let place: StorePlace
  let one: TestSessions
  let appSecret: string
  let sessionId: string

  beforeAll(async () => {
    place = await openEmbeddedPlace()
    one = createTestSessions(place, createTestRing())
  })
  afterAll(async () => {
    await one.sessions.close()
    await place.close()
  })
  beforeEach(async () => {
    const { session } = await one.sessions.begin(signedInAs(`person-${createSecret()}`), browserOrigin)
    sessionId = session.id
    appSecret = (await one.sessions.openAppSession(sessionId, wiki)) ?? ''
  })
  const recall = () => one.sessions.recallByAppSecret(appSecret, wiki)

  it('knows nothing before it was read, and then what was read, for 5 s', async () => {
    expect(recall()).toBeUndefined()
    const found = await one.sessions.findByAppSecret(appSecret, wiki)
    expect(recall()).toMatchObject({ ...found, now: expect.any(Number) })
    place.clock.move(4_500)
    expect(recall()).toMatchObject({ state: 'live' })
    place.clock.move(600)
    expect(recall()).toBeUndefined()
  })

  it('refuses the secret of another origin', async () => {
    await one.sessions.findByAppSecret(appSecret, wiki)
    expect(one.sessions.recallByAppSecret(appSecret, 'https://payroll.corp.example')).toEqual({ state: 'none' })
  })

  it('never says live once an end was recorded here', async () => {
    await one.sessions.findByAppSecret(appSecret, wiki)
    await one.sessions.endSession(sessionId, 'revoked')
    expect(recall()?.state).not.toBe('live')
    expect(await one.sessions.findByAppSecret(appSecret, wiki)).toEqual({ state: 'ended', cause: 'revoked' })
    // By then the end is in memory too.
    expect(recall()?.state ?? 'ended').toBe('ended')
  })

  it('sees the end of the subject that the session in memory does not know of', async () => {
    const found = await one.sessions.findByAppSecret(appSecret, wiki)
    if (found.state !== 'live') throw new Error('not live')
    await one.sessions.endSubject(found.session.issuer, found.session.sub, 'revoked')
    expect(recall()?.state ?? 'ended').toBe('ended')
  })
})

describe('recalling what nobody can confirm', () => {
  const day = { idleTimeoutSeconds: 1_800, lifetimeSeconds: 43_200, refreshAfterSeconds: 300, claimsMaxAgeSeconds: 60 }
  let place: StorePlace
  let live: Live
  let isAway = false
  let isSilent = false
  let one: TestSessions
  let appSecret: string
  let session: Session

  beforeEach(async () => {
    place = await openEmbeddedPlace()
    ;[isAway, isSilent] = [false, false]
    const refuse = () => Promise.reject(new PosternError('session_store_unavailable', 'away'))
    const ask = place.store.openEvents().next
    const store = new Proxy(place.store, {
      get(target, name: keyof SessionStore) {
        if (name === 'openEvents')
          return (): StoreEvents => ({ next: (from) => (isAway || isSilent ? refuse() : ask(from)), close: async () => undefined })
        return (...args: never[]) => (isAway ? refuse() : (target[name] as (...args: never[]) => unknown)(...args))
      },
    })
    live = createTestLive({ store, clock: place.clock })
    const ring = createTestRing()
    one = createTestSessions({ store, clock: place.clock }, ring, { live, settings: { ...day, unverifiedForSeconds: 120 } })
    session = (await one.sessions.begin(signedInAs('alice'), browserOrigin)).session
    appSecret = (await one.sessions.openAppSession(session.id, wiki)) ?? ''
    await one.sessions.findByAppSecret(appSecret, wiki)
    isAway = true
  })
  afterEach(() => place.close())
  const recall = (origin = wiki) => one.sessions.recallUnverified(appSecret, origin)

  it('answers for as long as is allowed, and no longer', async () => {
    place.clock.move(30_000)
    expect(one.sessions.recallByAppSecret(appSecret, wiki)).toBeUndefined()
    await expect(one.sessions.findByAppSecret(appSecret, wiki)).rejects.toMatchObject({ code: 'session_store_unavailable' })
    expect(recall()).toMatchObject({ state: 'live', claimsState: 'fresh', session: { id: session.id } })
    expect(recall('https://payroll.corp.example')).toEqual({ state: 'none' })
    place.clock.move(89_000)
    // Older than they may be, and nobody can be asked for newer ones.
    expect(recall()).toMatchObject({ state: 'live', claimsState: 'stale' })
    expect(one.refreshCalls()).toBe(0)
    place.clock.move(2_000)
    expect(recall()).toBeUndefined()
  })

  it('is no part of what counts otherwise: news must have been heard five seconds ago, however young what was read is', async () => {
    ;[isAway, isSilent] = [false, true]
    place.clock.move(3_000)
    const second = (await one.sessions.openAppSession(session.id, wiki)) ?? ''
    expect((await one.sessions.findByAppSecret(second, wiki)).state).toBe('live')
    expect(one.sessions.recallByAppSecret(second, wiki)?.state).toBe('live')
    place.clock.move(2_100)
    expect(one.sessions.recallByAppSecret(second, wiki)).toBeUndefined()
    expect(one.sessions.recallUnverified(second, wiki)?.state).toBe('live')
    // The store itself is there, and says so.
    expect((await one.sessions.findByAppSecret(second, wiki)).state).toBe('live')
    expect(one.sessions.recallByAppSecret(second, wiki)?.state).toBe('live')
  })

  it('never against an end that is known of', () => {
    place.clock.move(30_000)
    live.noteEnds([{ kind: 'subject', idHash: hashSubject(session.issuer, session.sub), at: session.startedAt, cause: 'revoked' }])
    expect(recall()).toEqual({ state: 'ended', cause: 'revoked' })
  })

  it('never of what was not read, and not at all where the operator did not ask for it', () => {
    expect(one.sessions.recallUnverified(createSecret(), wiki)).toBeUndefined()
    const strict = createTestSessions(place, createTestRing(), { live, settings: day })
    expect(strict.sessions.recallUnverified(appSecret, wiki)).toBeUndefined()
  })
})
