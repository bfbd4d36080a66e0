/** Ending many at once: all on record first, each in the trail, and what a store that fails in between leaves behind. */

import { afterAll, beforeAll, expect, it } from 'vitest'
import { PosternError } from '../errors.ts'
import { browserOrigin, createTestRing, createTestSessions, openEmbeddedPlace, type StorePlace, signedInAs } from './session.fixture.ts'
import type { SessionStore } from './store.ts'

const ring = createTestRing()
let place: StorePlace
beforeAll(async () => {
  place = await openEmbeddedPlace()
})
afterAll(() => place.close())

/** Sessions of one person each. */
async function beginMany(count: number, sessions: ReturnType<typeof createTestSessions>['sessions'], name: string) {
  const ids: string[] = []
  for (let index = 0; index < count; index += 1) {
    ids.push((await sessions.begin(signedInAs(`${name}-${index}`, { providerSid: `${name}-sid-${index}` }), browserOrigin)).session.id)
  }
  return ids
}

it('ends six hundred in two writes, and what hangs on the same session at the provider with them', async () => {
  const written: number[] = []
  const store: SessionStore = {
    ...place.store,
    recordEnds: async (ends, keepSeconds) => {
      written.push(ends.length)
      return await place.store.recordEnds(ends, keepSeconds)
    },
  }
  const { events, sessions } = createTestSessions({ ...place, store }, ring)
  const ids = await beginMany(600, sessions, 'many')
  const beside = await sessions.begin(signedInAs('many-0', { providerSid: 'many-sid-0' }), browserOrigin)
  await sessions.endSessions(ids, 'revoked')
  expect(written).toEqual([500, 100, 600])
  expect(events.filter(({ event }) => event === 'session.ended')).toHaveLength(600)
  for (const id of [ids[0], ids[599], beside.session.id]) expect(await sessions.findById(id ?? '')).toMatchObject({ state: 'ended' })
})

it('has those in the trail that ended before the store failed, and says that it failed', async () => {
  let writes = 0
  const store: SessionStore = {
    ...place.store,
    recordEnds: async (ends, keepSeconds) => {
      writes += 1
      if (writes === 2) throw new PosternError('session_store_unavailable', 'gone')
      return await place.store.recordEnds(ends, keepSeconds)
    },
  }
  const { events, sessions } = createTestSessions({ ...place, store }, ring)
  const ids = await beginMany(510, sessions, 'half')
  await expect(sessions.endSessions(ids, 'revoked')).rejects.toThrow('gone')
  const ended = events.flatMap((event) => (event.event === 'session.ended' ? [event.session] : []))
  expect(ended.toSorted()).toEqual(ids.slice(0, 500).toSorted())
})
