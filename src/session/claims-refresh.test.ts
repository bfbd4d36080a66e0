/** Claims stay fresh: when, by whom, and what each answer of the provider does to a session. Over both stores. */

import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { RefreshResult } from '../oidc/relying-party.ts'
import { createSecret, hashOf } from './secret.ts'
import {
  browserOrigin,
  createTestRing,
  createTestSessions,
  openEmbeddedPlace,
  openRedisPlace,
  type StorePlace,
  signedInAs,
  type TestSessions,
} from './session.fixture.ts'
import type { SessionLookup } from './session.ts'
import { recordNames } from './session-record.ts'

const wiki = 'https://wiki.corp.example'

function refreshed(sub: string, groups: readonly string[], refreshToken: string | undefined): RefreshResult {
  const { signIn: _, ...signedIn } = signedInAs(sub, {
    claims: { sub, groups },
    tokens: { idToken: 'new-id', accessToken: 'new-access', refreshToken },
    providerSid: undefined,
  })
  return { outcome: 'refreshed', signedIn }
}

function claimsOf(lookup: SessionLookup): Readonly<Record<string, unknown>> | undefined {
  return lookup.state === 'live' ? lookup.session.claims.all : undefined
}

describe.each([
  ['embedded', openEmbeddedPlace],
  ['redis', openRedisPlace],
] as const)('claims on the %s store', (_, openPlace) => {
  let place: StorePlace
  let instances: TestSessions[]
  let one: TestSessions
  const ring = createTestRing()
  const move = (seconds: number) => place.clock.move(seconds * 1000)
  const calls = () => instances.reduce((sum, instance) => sum + instance.refreshCalls(), 0)

  beforeAll(async () => {
    place = await openPlace()
  })
  afterAll(() => place.close())
  beforeEach(() => {
    instances = [1, 2, 3].map(() => createTestSessions(place, ring))
    one = instances[0] as TestSessions
  })

  async function signIn(change = {}) {
    const sub = `person-${createSecret().slice(0, 12)}`
    const { session } = await one.sessions.begin(signedInAs(sub, change), browserOrigin)
    const appSecret = (await one.sessions.openAppSession(session.id, wiki)) ?? ''
    const find = (instance = one) => instance.sessions.findByAppSecret(appSecret, wiki)
    await find()
    return { session, sub, find, record: recordNames.session(hashOf(session.id)) }
  }
  const answerAll = (answer: Parameters<TestSessions['answerRefresh']>[0]) => {
    for (const instance of instances) instance.answerRefresh(answer)
  }
  const settle = () => Promise.all(instances.map((instance) => instance.sessions.close()))

  it('are left alone while they are young', async () => {
    const { find } = await signIn()
    move(299)
    expect(await find()).toMatchObject({ state: 'live', claimsState: 'fresh' })
    await settle()
    expect(calls()).toBe(0)
  })

  it('are refreshed behind the request’s back after `refresh_after`, and replaced whole', async () => {
    const { find, sub } = await signIn()
    answerAll(async () => refreshed(sub, ['finance'], 'next'))
    move(301)
    expect(claimsOf(await find())).toMatchObject({ groups: ['staff'], email: `${sub}@corp.example` })
    await settle()
    const after = await find()
    expect(claimsOf(after)).toEqual(Object.assign(Object.create(null), { sub, groups: ['finance'] }))
    expect(after).toMatchObject({
      claimsState: 'fresh',
      session: {
        claims: { version: 2 },
        tokens: { refreshToken: 'next', idToken: 'new-id' },
        signIn: { amr: ['pwd'] },
        providerSid: `sid-${sub}`,
      },
    })
    expect(one.events).toContainEqual(expect.objectContaining({ event: 'session.refreshed' }))
  })

  it('are refreshed before deciding when they are too old', async () => {
    const { find, sub } = await signIn()
    answerAll(async () => refreshed(sub, ['finance'], undefined))
    move(601)
    const lookup = await find()
    expect(claimsOf(lookup)).toMatchObject({ groups: ['finance'] })
    // A provider that does not rotate returns no new refresh token.
    expect(lookup).toMatchObject({ claimsState: 'fresh', session: { tokens: { refreshToken: `refresh-${sub}` } } })
  })

  it('leave the ID Token as it was where the provider sends no new one, so that sign-out can still name the session', async () => {
    const { find, sub } = await signIn()
    const told: unknown[] = []
    answerAll(async (_, expected) => {
      told.push(expected)
      const result = refreshed(sub, ['finance'], 'next')
      if (result.outcome !== 'refreshed') throw new TypeError('a refresh')
      return { ...result, signedIn: { ...result.signedIn, tokens: { ...result.signedIn.tokens, idToken: '' } } }
    })
    move(601)
    expect(await find()).toMatchObject({ session: { tokens: { idToken: `id-${sub}`, accessToken: 'new-access', refreshToken: 'next' } } })
    expect(told).toEqual([{ issuer: 'https://op.corp.example', sub, idToken: `id-${sub}` }])
  })

  it('are asked for once, however many requests and instances want them', async () => {
    const { find, sub } = await signIn()
    answerAll(async () => {
      await new Promise((resolve) => setTimeout(resolve, 50))
      return refreshed(sub, ['finance'], 'next')
    })
    move(601)
    const lookups = await Promise.all(Array.from({ length: 60 }, (_, i) => find(instances[i % 3])))
    expect(lookups.every((lookup) => lookup.state === 'live' && lookup.claimsState === 'fresh')).toBe(true)
    for (const lookup of lookups) expect(claimsOf(lookup)).toMatchObject({ groups: ['finance'] })
    expect(calls()).toBe(1)
  })

  it('survive a provider that rotates refresh tokens and revokes on reuse', async () => {
    const { find, sub } = await signIn()
    let valid = `refresh-${sub}`
    answerAll(async (token) => {
      if (token !== valid) return { outcome: 'refused' }
      valid = createSecret()
      const mine = valid
      await new Promise((resolve) => setTimeout(resolve, 5))
      return refreshed(sub, ['finance'], mine)
    })
    for (let round = 0; round < 10; round++) {
      move(round % 2 === 0 ? 601 : 301)
      const lookups = await Promise.all(Array.from({ length: 30 }, (_, i) => find(instances[i % 3])))
      expect(lookups.map((lookup) => lookup.state)).toEqual(lookups.map(() => 'live'))
      // Use, so that the session does not run idle meanwhile.
      if (lookups[0]?.state === 'live') one.sessions.recordUse(lookups[0].session)
      await settle()
    }
    expect(calls()).toBe(10)
  })

  it('end the session when the provider refuses, and only then (A124)', async () => {
    const { find, session, record } = await signIn()
    answerAll(async () => ({ outcome: 'refused' }))
    move(601)
    expect(await find()).toEqual({ state: 'ended', cause: 'refused' })
    expect(await place.store.loadRecord(record)).toBeUndefined()
    expect(await instances[1]?.sessions.findById(session.id)).toEqual({ state: 'ended', cause: 'refused' })
  })

  it('end the session when they are suddenly somebody else’s', async () => {
    const { find } = await signIn()
    answerAll(async () => refreshed('mallory', ['admins'], 'x'))
    move(601)
    expect(await find()).toEqual({ state: 'ended', cause: 'subject_changed' })
  })

  it('stand for the provider’s grace while it is away, then are unknown, and it is not asked at every request', async () => {
    const { find } = await signIn()
    move(601)
    for (let i = 0; i < 20; i++) expect(await find()).toMatchObject({ state: 'live', claimsState: 'stale' })
    expect(calls()).toBe(1)
    // Use keeps the session alive; the claims age on.
    for (let minutes = 0; minutes < 60; minutes += 20) {
      const lookup = await find()
      if (lookup.state === 'live') one.sessions.recordUse(lookup.session)
      await settle()
      move(1_199)
    }
    expect(await find()).toMatchObject({ state: 'live', claimsState: 'stale' })
    move(10)
    expect(await find()).toMatchObject({ state: 'live', claimsState: 'unknown' })
  })

  it('make a request wait no longer than two seconds, and the next ones not at all', async () => {
    const { find, sub } = await signIn()
    let answer: (result: RefreshResult) => void = () => undefined
    answerAll(() => new Promise((resolve) => (answer = resolve)))
    move(601)
    expect(await Promise.race([find(), pause(2_500, 'it waited longer')])).toMatchObject({ state: 'live', claimsState: 'stale' })
    move(2)
    const again = performance.now()
    expect(await find()).toMatchObject({ state: 'live', claimsState: 'stale' })
    expect(performance.now() - again).toBeLessThan(200)
    answer(refreshed(sub, ['finance'], 'late'))
    await settle()
    expect(claimsOf(await find())).toMatchObject({ groups: ['finance'] })
  })

  it('make nobody overlook an end that came during the wait', async () => {
    const { find, session } = await signIn()
    const asked = new Promise<void>((resolve) => {
      answerAll(() => {
        resolve()
        return new Promise((_resolve, reject) => setTimeout(() => reject(new Error('reset')), 50))
      })
    })
    move(601)
    const waiting = find()
    await asked
    await one.sessions.endSession(session.id, 'revoked')
    expect(await waiting).toEqual({ state: 'ended', cause: 'revoked' })
  })

  it('without a refresh token ask for a new sign-in, which continues the session', async () => {
    const { find, session, sub } = await signIn({ tokens: { idToken: 'i', accessToken: 'a', refreshToken: undefined } })
    move(599)
    expect(await find()).toMatchObject({ state: 'live', claimsState: 'fresh' })
    move(2)
    const lookup = await find()
    expect(lookup).toMatchObject({ state: 'expired', session: { id: session.id } })
    const continued = await one.sessions.continueWith(session, signedInAs(sub))
    expect(continued?.id).toBe(session.id)
    expect(await find()).toMatchObject({ state: 'live', claimsState: 'fresh' })
  })

  it('without a refresh token stay, where that is accepted', async () => {
    const lenient = createTestSessions(place, ring, { providerSettings: { providerGraceSeconds: 3_600, withoutRefreshToken: 'accept' } })
    const { find } = await signIn({ tokens: { idToken: 'i', accessToken: 'a', refreshToken: undefined } })
    move(1_700)
    expect(await find(lenient)).toMatchObject({ state: 'live', claimsState: 'stale' })
  })

  it('do not bring back a session that ended while the provider answered', async () => {
    const { find, session, sub, record } = await signIn()
    let answer: (result: RefreshResult) => void = () => undefined
    const asked = new Promise<void>((resolve) => {
      answerAll(() => {
        resolve()
        return new Promise((settleAnswer) => (answer = settleAnswer))
      })
    })
    move(601)
    const waiting = find()
    await asked
    await instances[1]?.sessions.endSession(session.id, 'revoked')
    answer(refreshed(sub, ['finance'], 'next'))
    expect(await waiting).toEqual({ state: 'ended', cause: 'revoked' })
    expect(await place.store.loadRecord(record)).toBeUndefined()
  })

  it('of a sign-in that came meanwhile bow neither to an older token’s claims nor to its refusal', async () => {
    for (const late of [refreshed('x', ['old'], 'old'), { outcome: 'refused' } as const]) {
      const { find, session, sub } = await signIn()
      const fitting: RefreshResult = late.outcome === 'refreshed' ? refreshed(sub, ['old'], 'old') : late
      let answer: (result: RefreshResult) => void = () => undefined
      const asked = new Promise<void>((resolve) => {
        answerAll(() => {
          resolve()
          return new Promise((settleAnswer) => (answer = settleAnswer))
        })
      })
      move(601)
      const waiting = find()
      await asked
      await instances[1]?.sessions.continueWith(
        session,
        signedInAs(sub, { claims: { sub, groups: ['new'] }, tokens: { idToken: 'n', accessToken: 'n', refreshToken: 'brand-new' } }),
      )
      answer(fitting)
      expect(claimsOf(await waiting)).toMatchObject({ groups: ['new'] })
      expect(await find()).toMatchObject({ session: { tokens: { refreshToken: 'brand-new' }, claims: { version: 2 } } })
    }
  })

  it('are refreshed by another instance when the one that held the lock died', async () => {
    const { find, session, sub } = await signIn()
    answerAll(async () => refreshed(sub, ['finance'], 'next'))
    await place.store.acquireLock(recordNames.refreshLock(hashOf(session.id)), 10)
    move(301)
    await find(instances[1])
    move(10)
    await settle()
    expect(claimsOf((await instances[2]?.sessions.findById(session.id)) ?? { state: 'none' })).toMatchObject({ groups: ['finance'] })
  })
})
