/**
 * Ends against everything that can be under way, many times each (a thousand in the long form), on a store whose answers come late and
 * out of step: the end wins on the instance that recorded it at once, and on another as soon as its stream tells of it.
 */

import { Redis } from 'ioredis'
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
  ['embedded', openEmbeddedPlace, isLong ? 1_000 : 50],
  ['redis', openRedisPlace, isLong ? 1_000 : 50],
] as const)('on the %s store', (_, openPlace, rounds) => {
  /** Of what takes longer each time. */
  const longerRounds = isLong ? rounds : rounds / 5
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
    for (let round = 0; round < longerRounds; round++) {
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

  it('an end that another recorded is in force here within a moment, whatever was read meanwhile', async () => {
    const [one, other] = [createTestSessions(late, ring), createTestSessions(late, ring)]
    await Promise.all([one.live.confirm(), other.live.confirm()])
    let slowest = 0
    for (let round = 0; round < rounds; round++) {
      const { session } = await one.sessions.begin(signedInAs('erin'), browserOrigin)
      const secret = (await one.sessions.openAppSession(session.id, wiki)) ?? ''
      expect((await other.sessions.findByAppSecret(secret, wiki)).state).toBe('live')
      const heard = new Promise<void>((resolve) => {
        const stop = other.live.listen((event) => {
          // From this moment on, and not from the next one, memory says so too.
          if (event.kind !== 'ended' && event.kind !== 'regained') return
          if (other.live.findEnd({ kind: 'session', idHash: hashOf(session.id) }) === undefined) return
          expect(other.sessions.recallByAppSecret(secret, wiki)?.state).not.toBe('live')
          stop()
          resolve()
        })
      })
      const reads = [other.sessions.findByAppSecret(secret, wiki), other.sessions.findByAppSecret(secret, wiki)]
      await someTurns()
      const begun = performance.now()
      await one.sessions.endSession(session.id, 'revoked')
      await heard
      slowest = Math.max(slowest, performance.now() - begun)
      // A read that began before and brings the living record home now is held against the end like any other.
      await Promise.all(reads)
      expect((await other.sessions.findByAppSecret(secret, wiki)).state).toBe('ended')
      expect(other.sessions.recallByAppSecret(secret, wiki)?.state).not.toBe('live')
      place.clock.move(1)
    }
    expect(slowest).toBeLessThan(1_000)
  }, 240_000)

  it('a refresh that finishes after the end brings nothing back, not even to memory', async () => {
    const [one, other] = [createTestSessions(late, ring), createTestSessions(late, ring)]
    const { signIn: _signIn, ...signedIn } = signedInAs('grace')
    for (let round = 0; round < longerRounds; round++) {
      const { session } = await one.sessions.begin(signedInAs('grace'), browserOrigin)
      const secret = (await one.sessions.openAppSession(session.id, wiki)) ?? ''
      let finish: () => void = () => undefined
      let isAsked = false
      one.answerRefresh(async () => {
        isAsked = true
        await new Promise<void>((resolve) => (finish = resolve))
        return { outcome: 'refreshed', signedIn }
      })
      place.clock.move(301_000)
      const read = one.sessions.findByAppSecret(secret, wiki)
      await untilTrue(() => isAsked)
      const ending = other.sessions.endSession(session.id, 'revoked')
      await someTurns()
      finish()
      await Promise.all([read, ending])
      await one.sessions.close()
      await untilTrue(() => one.live.findEnd({ kind: 'session', idHash: hashOf(session.id) }) !== undefined)
      expect((await one.sessions.findByAppSecret(secret, wiki)).state).toBe('ended')
      expect(await place.store.loadRecord(recordNames.session(hashOf(session.id)))).toBeUndefined()
    }
  }, 120_000)
})

describe('on a Redis that failed over', () => {
  const rounds = isLong ? 1_000 : 50
  const ring = createTestRing()
  let place: StorePlace
  let late: Pick<StorePlace, 'store' | 'clock'>
  let server: Redis
  beforeAll(async () => {
    place = await openRedisPlace()
    late = { store: delayed(place.store), clock: place.clock }
    server = new Redis(place.redis?.url ?? '')
  })
  afterAll(async () => {
    server.disconnect()
    await place.close()
  })

  it('an end outlives a fail-over that lost it together with everything that was cleared away', async () => {
    const [one, other] = [createTestSessions(late, ring), createTestSessions(late, ring)]
    await Promise.all([one.live.confirm(), other.live.confirm()])
    for (let round = 0; round < rounds; round++) {
      const signedIn = signedInAs(`frank-${createSecret()}`)
      const { session } = await one.sessions.begin(signedIn, browserOrigin)
      const secret = (await one.sessions.openAppSession(session.id, wiki)) ?? ''
      const name = recordNames.session(hashOf(session.id))
      const before = await place.store.loadRecord(name)
      if (before === undefined) throw new Error('no record')
      const things = [
        { kind: 'session', idHash: hashOf(session.id) },
        { kind: 'subject', idHash: hashSubject(session.issuer, session.sub) },
      ] as const
      if (round % 2 === 0) await one.sessions.endSession(session.id, 'revoked')
      else await one.sessions.endSubject(session.issuer, session.sub, 'revoked')
      await untilTrue(() => things.some((thing) => other.live.findEnd(thing) !== undefined))
      // The new primary never had the writes: the ends are gone from it, and the record is back.
      await server.del('{postern}:ends', '{postern}:ends:until')
      await place.store.createRecord(name, before.value, before.expiresAt)
      expect((await place.store.loadEnds(things)).every((end) => end === undefined)).toBe(true)
      for (const { sessions } of [one, other]) {
        expect((await sessions.findByAppSecret(secret, wiki)).state).toBe('ended')
        expect((await sessions.findById(session.id)).state).toBe('ended')
      }
      // Whoever reads everything again gives it back, and then it holds for those too who never heard of it.
      place.clock.move(5_001)
      await other.live.confirm()
      await untilTrue(async () => (await place.store.loadEnds(things)).some((end) => end !== undefined))
      if (round % 10 === 0) {
        const newcomer = createTestSessions(late, ring)
        expect((await newcomer.sessions.findByAppSecret(secret, wiki)).state).toBe('ended')
        await newcomer.live.close()
      }
      await place.store.removeRecord(name)
    }
  }, 240_000)
})

async function untilTrue(holds: () => boolean | Promise<boolean>): Promise<void> {
  for (const begun = performance.now(); !(await holds()); ) {
    if (performance.now() - begun > 5_000) throw new Error('it did not come true within five seconds')
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
}

async function someTurns(): Promise<void> {
  for (let turns = Math.floor(Math.random() * 6); turns > 0; turns--) await new Promise((resolve) => setImmediate(resolve))
}

/** The same store, each operation a few turns of the event loop late on the way there and on the way back. */
function delayed(store: SessionStore): SessionStore {
  return new Proxy(store, {
    get(target, name: keyof SessionStore) {
      // Reading the stream waits by itself.
      if (name === 'openEvents') return target.openEvents
      return async (...args: never[]) => {
        await someTurns()
        const result = await (target[name] as (...args: never[]) => Promise<unknown>)(...args)
        await someTurns()
        return result
      }
    },
  })
}
