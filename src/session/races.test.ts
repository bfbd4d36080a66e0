/**
 * Ends against everything that can be under way, many times each (over Redis a thousand in the long form), on a store whose
 * answers come late and out of step.
 */

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createSecret, hashOf } from './secret.ts'
import {
  browserOrigin,
  createTestRing,
  createTestSessions,
  openEmbeddedPlace,
  openRedisPlace,
  type StorePlace,
  signedInAs,
} from './session.fixture.ts'
import { hashSubject, recordNames } from './session-record.ts'
import type { SessionStore } from './store.ts'

const wiki = 'https://wiki.corp.example'
const isLong = process.env['POSTERN_TEST_LONG'] === '1'

describe.each([
  ['embedded', openEmbeddedPlace, 1_000],
  ['redis', openRedisPlace, isLong ? 1_000 : 100],
] as const)('on the %s store', (_, openPlace, rounds) => {
  let place: StorePlace
  let late: { readonly store: SessionStore; readonly clock: StorePlace['clock'] }
  const ring = createTestRing()
  beforeAll(async () => {
    place = await openPlace()
    late = { store: delayed(place.store), clock: place.clock }
  })
  afterAll(() => place.close())

  it('an end beats a read that was under way, at once on its instance and in the store for all', async () => {
    const [one, other] = [createTestSessions(late, ring), createTestSessions(late, ring)]
    for (let round = 0; round < rounds; round++) {
      const { session } = await one.sessions.begin(signedInAs('alice'), browserOrigin)
      const secret = (await one.sessions.openAppSession(session.id, wiki)) ?? ''
      const find = () => one.sessions.findByAppSecret(secret, wiki)
      const reads = [find(), other.sessions.findByAppSecret(secret, wiki)]
      await someTurns()
      const ending =
        round % 2 === 0 ? one.sessions.endSession(session.id, 'revoked') : one.sessions.endSubject(session.issuer, 'alice', 'revoked')
      reads.push(find())
      await ending
      // Whatever the reads before it still bring home, nobody is told "live" from here on.
      expect((await find()).state).toBe('ended')
      await Promise.all(reads)
      expect((await find()).state).toBe('ended')
      expect((await other.sessions.findById(session.id)).state).toBe('ended')
      place.clock.move(1)
    }
  }, 120_000)

  it('an end beats a refresh that finishes', async () => {
    const [one, other] = [createTestSessions(late, ring), createTestSessions(late, ring)]
    const { signIn: _signIn, ...signedIn } = signedInAs('bob')
    one.answerRefresh(async () => {
      await someTurns()
      return { outcome: 'refreshed', signedIn }
    })
    for (let round = 0; round < rounds; round++) {
      const { session } = await one.sessions.begin(signedInAs('bob'), browserOrigin)
      const secret = (await one.sessions.openAppSession(session.id, wiki)) ?? ''
      place.clock.move(601_000)
      const read = one.sessions.findByAppSecret(secret, wiki)
      await someTurns()
      await other.sessions.endSession(session.id, 'signed_out')
      await read
      await one.sessions.close()
      expect((await other.sessions.findById(session.id)).state).toBe('ended')
      expect(await place.store.loadRecord(recordNames.session(hashOf(session.id)))).toBeUndefined()
    }
  }, 120_000)

  it('the end of a subject catches every session that began before it, indexed or not', async () => {
    const [one, other] = [createTestSessions(late, ring), createTestSessions(late, ring)]
    let caught = 0
    for (let round = 0; round < rounds; round++) {
      const signedIn = signedInAs(`carol-${createSecret()}`)
      const beginning = one.sessions.begin(signedIn, browserOrigin)
      await someTurns()
      await other.sessions.endSubject(signedIn.issuer, signedIn.sub, 'revoked')
      const { session, secret } = await beginning
      const [end] = await place.store.loadEnds([{ kind: 'subject', idHash: hashSubject(signedIn.issuer, signedIn.sub) }])
      const isBefore = session.startedAt <= (end?.at ?? 0)
      caught += isBefore ? 1 : 0
      for (const lookup of [await one.sessions.findByAccessSecret(secret), await other.sessions.findById(session.id)]) {
        expect(lookup.state).toBe(isBefore ? 'ended' : 'live')
      }
    }
    expect(caught).toBeGreaterThan(0)
  }, 120_000)

  it('an end beats a continuation and use', async () => {
    const [one, other] = [createTestSessions(late, ring), createTestSessions(late, ring)]
    for (let round = 0; round < rounds / 5; round++) {
      const { session, secret } = await one.sessions.begin(signedInAs('dave'), browserOrigin)
      place.clock.move(61_000)
      one.sessions.recordUse(session)
      const continuing = one.sessions.continueWith(session, signedInAs('dave'))
      await someTurns()
      await other.sessions.endSession(session.id, 'revoked')
      await continuing
      await one.sessions.close()
      expect((await other.sessions.findByAccessSecret(secret)).state).toBe('ended')
      expect(await place.store.loadRecord(recordNames.session(hashOf(session.id)))).toBeUndefined()
    }
  }, 120_000)
})

async function someTurns(): Promise<void> {
  for (let turns = Math.floor(Math.random() * 6); turns > 0; turns--) await new Promise((resolve) => setImmediate(resolve))
}

/** The same store, each operation a few turns of the event loop late on the way there and on the way back. */
function delayed(store: SessionStore): SessionStore {
  return new Proxy(store, {
    get(target, name: keyof SessionStore) {
      return async (...args: never[]) => {
        await someTurns()
        const result = await (target[name] as (...args: never[]) => Promise<unknown>)(...args)
        await someTurns()
        return result
      }
    },
  })
}
