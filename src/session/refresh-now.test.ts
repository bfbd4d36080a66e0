/** The provider says that something changed: every session of the person is asked about at once. And one flight stays one, however long it takes. */

import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { RefreshResult } from '../oidc/relying-party.ts'
import { createSecret } from './secret.ts'
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

const issuer = 'https://op.corp.example'

describe.each([
  ['embedded', openEmbeddedPlace],
  ['redis', openRedisPlace],
] as const)('asking at once on the %s store', (_, openPlace) => {
  const ring = createTestRing()
  let place: StorePlace
  let one: TestSessions
  let two: TestSessions
  let sub: string

  beforeAll(async () => {
    place = await openPlace()
  })
  afterAll(() => place.close())
  beforeEach(() => {
    one = createTestSessions(place, ring)
    two = createTestSessions(place, ring)
    sub = `person-${createSecret().slice(0, 12)}`
  })

  async function begin(name: string, who = sub): Promise<string> {
    const tokens = { idToken: `id-${name}`, accessToken: 'a', refreshToken: name }
    return (await one.sessions.begin(signedInAs(who, { tokens, providerSid: `sid-${name}` }), browserOrigin)).session.id
  }
  function fresh(groups: readonly string[], refreshToken: string): RefreshResult {
    const { signIn: _signIn, ...signedIn } = signedInAs(sub, {
      claims: { sub, groups },
      tokens: { idToken: 'i', accessToken: 'a', refreshToken },
      providerSid: undefined,
    })
    return { outcome: 'refreshed', signedIn }
  }
  async function groupsOf(id: string, instance = one): Promise<unknown> {
    const lookup = await instance.sessions.findById(id)
    return lookup.state === 'live' ? lookup.session.claims.all['groups'] : lookup.state
  }
  const until = async (holds: () => boolean) => {
    while (!holds()) await pause(5)
  }

  it('asks about each live session of that person, however young its claims, and about nobody else’s', async () => {
    const ids = [await begin('r1'), await begin('r2'), await begin('r3')]
    await begin('other', 'somebody else')
    await one.sessions.endSession(ids[2] ?? '', 'signed_out')
    const asked: string[] = []
    one.answerRefresh(async (token) => {
      asked.push(token)
      return fresh(['finance'], `${token}+`)
    })
    await one.sessions.refreshSubject(issuer, sub)
    expect(asked.sort((a, b) => a.localeCompare(b))).toEqual(['r1', 'r2'])
    expect(await Promise.all(ids.map((id) => groupsOf(id)))).toEqual([['finance'], ['finance'], 'ended'])
    expect(one.events.filter(({ event }) => event === 'session.refreshed')).toHaveLength(2)
  })

  it('ends what is refused, and leaves what cannot be asked', async () => {
    const [refused, granted, away] = [await begin('refused'), await begin('granted'), await begin('away')]
    one.answerRefresh(async (token) => {
      if (token === 'refused') return { outcome: 'refused' }
      return token === 'away' ? { outcome: 'unreachable', cause: new Error('reset') } : fresh(['staff'], 'next')
    })
    await one.sessions.refreshSubject(issuer, sub)
    expect(await one.sessions.findById(refused)).toEqual({ state: 'ended', cause: 'refused' })
    expect([await groupsOf(granted), await groupsOf(away)]).toEqual([['staff'], ['staff']])
    // What failed a moment ago is asked again all the same: the news is newer.
    one.answerRefresh(async () => fresh(['board'], 'later'))
    await one.sessions.refreshSubject(issuer, sub)
    expect(await groupsOf(away)).toEqual(['board'])
  })

  it.each(['this instance', 'another'])(
    'does not take an answer that was on its way at %s for one, and asks once for all who demand it',
    async (where) => {
      const slow = where === 'this instance' ? one : two
      const id = await begin('first')
      let land: (result: RefreshResult) => void = () => undefined
      slow.answerRefresh(() => new Promise((resolve) => (land = resolve)))
      place.clock.move(301_000)
      await slow.sessions.findById(id)
      await until(() => slow.refreshCalls() === 1)
      const later = async (token: string) => fresh(token === 'second' ? ['newest'] : ['wrong token'], 'third')
      if (slow !== one) one.answerRefresh(later)
      const demands = [1, 2, 3].map(() => one.sessions.refreshSubject(issuer, sub))
      await pause(50)
      if (slow === one) one.answerRefresh(later)
      land(fresh(['older than the news'], 'second'))
      await Promise.all(demands)
      expect(await groupsOf(id)).toEqual(['newest'])
      expect(one.refreshCalls() + two.refreshCalls()).toBe(2)
    },
  )

  it('goes on with the token that it was given by a provider that then failed, and leaves the claims as old as they are', async () => {
    const id = await begin('first')
    one.answerRefresh(async () => ({ outcome: 'unreachable', cause: new Error('userinfo failed'), refreshToken: 'second' }))
    await one.sessions.refreshSubject(issuer, sub)
    const before = await one.sessions.findById(id)
    expect(before).toMatchObject({ session: { claims: { version: 1 }, tokens: { refreshToken: 'second', idToken: 'id-first' } } })
    const asked: string[] = []
    two.answerRefresh(async (token) => {
      asked.push(token)
      return fresh(['finance'], 'third')
    })
    await two.sessions.refreshSubject(issuer, sub)
    expect(asked).toEqual(['second'])
    expect(await groupsOf(id)).toEqual(['finance'])
  })

  it('says of an answer about somebody else what it was', async () => {
    const id = await begin('first')
    one.answerRefresh(async () => ({ outcome: 'refused', isOfAnotherSubject: true }))
    await one.sessions.refreshSubject(issuer, sub)
    expect(await one.sessions.findById(id)).toEqual({ state: 'ended', cause: 'subject_changed' })
  })

  it('lists what hangs on one session at the provider, as long as it lives', async () => {
    const [mine, gone] = [await begin('r1'), await begin('r2')]
    await one.sessions.endSession(gone, 'signed_out')
    expect((await one.sessions.listProviderSid(issuer, 'sid-r1')).map(({ id }) => id)).toContain(mine)
    expect((await one.sessions.listProviderSid(issuer, 'sid-r2')).map(({ id }) => id)).not.toContain(gone)
    expect(await one.sessions.listProviderSid('https://another.example', 'sid-r1')).toEqual([])
  })

  it('one flight stays the only one while a provider takes longer than the lock is held for', async () => {
    const id = await begin('r1')
    let land: (result: RefreshResult) => void = () => undefined
    one.answerRefresh(() => new Promise((resolve) => (land = resolve)))
    two.answerRefresh(async () => ({ outcome: 'refused' }))
    place.clock.move(301_000)
    await one.sessions.findById(id)
    await until(() => one.refreshCalls() === 1)
    // Taken for 10 s; renewed every three. Without the renewal it would be free by now, and the token would be used twice.
    await pause(3_300)
    place.clock.move(8_000)
    await two.sessions.findById(id)
    await pause(300)
    expect(two.refreshCalls()).toBe(0)
    land(fresh(['finance'], 'next'))
    await Promise.all([one.sessions.close(), two.sessions.close()])
    expect(two.refreshCalls()).toBe(0)
    expect(await groupsOf(id, two)).toEqual(['finance'])
  })
})
