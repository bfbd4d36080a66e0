/** Sessions while Redis is away, and what its dump gives away. */

import { setImmediate as nextTurn, setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { browserOrigin, createTestRing, createTestSessions, openRedisPlace, type StorePlace, signedInAs } from './session.fixture.ts'

const wiki = 'https://wiki.corp.example'

async function turns(count: number): Promise<string> {
  for (let turn = 0; turn < count; turn += 1) await nextTurn()
  return 'it waited'
}

describe('sessions and a Redis that fails', () => {
  let place: StorePlace
  const ring = createTestRing()
  beforeAll(async () => {
    place = await openRedisPlace()
  })
  afterAll(() => place.close())

  it('shows no name, e-mail, token or session id in a full dump (A284)', async () => {
    const { sessions } = createTestSessions(place, ring)
    const sub = 'MARKERsub'
    const { session, secret } = await sessions.begin(
      signedInAs(sub, {
        providerSid: 'MARKERsid',
        tokens: { idToken: 'MARKERid', accessToken: 'MARKERaccess', refreshToken: 'MARKERrefresh' },
      }),
      { address: '203.0.113.99', userAgent: 'MARKERagent' },
    )
    const appSecret = (await sessions.openAppSession(session.id, wiki)) ?? ''
    const code = await sessions.issueHandOff({
      sessionId: session.id,
      origin: wiki,
      attempt: 'MARKERattempt',
      returnTo: `${wiki}/MARKERpage`,
    })
    await sessions.takeOnce('attempt', 'MARKERonce', 60)
    sessions.recordUse(session)
    await sessions.begin(signedInAs('MARKERother'), browserOrigin)
    await sessions.endSubject(session.issuer, 'MARKERother', 'revoked')
    await sessions.close()
    const dump = (await place.redis?.dump()) ?? ''
    expect(dump).toContain('{postern}:record:session:')
    expect(dump).toContain('{postern}:ends')
    for (const marker of ['MARKER', 'corp.example', 'Name of', 'staff', '203.0.113.99', session.id, secret, appSecret, code]) {
      expect(dump.includes(marker), marker).toBe(false)
    }
    for (const key of ring.sealing.all.values()) expect(dump.includes(key.key.toString('latin1'))).toBe(false)
  })

  it('serves what was read within 5 s, refuses everything else at once, and goes on after (A276)', async () => {
    const { sessions } = createTestSessions(place, ring)
    const { session, secret } = await sessions.begin(signedInAs('alice'), browserOrigin)
    const appSecret = (await sessions.openAppSession(session.id, wiki)) ?? ''
    expect((await sessions.findByAppSecret(appSecret, wiki)).state).toBe('live')
    await place.redis?.stop()
    await expect
      .poll(() =>
        place.store.checkReady().then(
          () => 'ready',
          () => 'away',
        ),
      )
      .toBe('away')
    const answers = async () => {
      expect((await sessions.findByAppSecret(appSecret, wiki)).state).toBe('live')
      await expect(sessions.findByAccessSecret(secret)).rejects.toMatchObject({ code: 'session_store_unavailable' })
      await expect(sessions.begin(signedInAs('bob'), browserOrigin)).rejects.toMatchObject({ code: 'session_store_unavailable' })
      await expect(sessions.endSession(session.id, 'revoked')).rejects.toMatchObject({ code: 'session_store_unavailable' })
      sessions.recordUse(session)
      await sessions.close()
      // An end that may or may not have reached the store leaves nothing to be served from memory.
      await expect(sessions.findByAppSecret(appSecret, wiki)).rejects.toMatchObject({ code: 'session_store_unavailable' })
      return 'answered'
    }
    // Nothing is awaited on the network here: each comes within one turn of the event loop or two, however long those take.
    expect(await Promise.race([answers(), turns(20)])).toBe('answered')
    await place.redis?.restart()
    await expect
      .poll(async () => (await sessions.findByAppSecret(appSecret, wiki).catch(() => undefined))?.state, { timeout: 5_000 })
      .toBe('live')
  })

  it('serves nothing from memory after 5 s of silence', async () => {
    const { sessions } = createTestSessions(place, ring)
    const { session } = await sessions.begin(signedInAs('carol'), browserOrigin)
    const appSecret = (await sessions.openAppSession(session.id, wiki)) ?? ''
    expect((await sessions.findByAppSecret(appSecret, wiki)).state).toBe('live')
    place.redis?.pause()
    try {
      place.clock.move(5_001)
      const refused = Promise.race([sessions.findByAppSecret(appSecret, wiki), pause(2_500, 'it waited longer')])
      await expect(refused).rejects.toMatchObject({ code: 'session_store_unavailable' })
    } finally {
      place.redis?.resume()
    }
  })
})
