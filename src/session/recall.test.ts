/** What the data plane is answered from memory alone, at once: never more than the slow way would say. */

import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { createSecret } from './secret.ts'
import {
  browserOrigin,
  createTestRing,
  createTestSessions,
  openEmbeddedPlace,
  type StorePlace,
  signedInAs,
  type TestSessions,
} from './session.fixture.ts'

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
