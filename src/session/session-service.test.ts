/** Sessions over both stores: begin, use, continue, end, hand off; and what a dump of the store gives away. */

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { PosternError } from '../errors.ts'
import { createSecret, hashOf } from './secret.ts'
import {
  browserOrigin,
  createTestLive,
  createTestRing,
  createTestSessions,
  openEmbeddedPlace,
  openRedisPlace,
  type StorePlace,
  signedInAs,
  silentLog,
  type TestSessions,
} from './session.fixture.ts'
import { hashProviderSid, hashSubject, recordNames } from './session-record.ts'

const wiki = 'https://wiki.corp.example'
const somebody = () => `person-${createSecret().slice(0, 12)}`

describe.each([
  ['embedded', openEmbeddedPlace],
  ['redis', openRedisPlace],
] as const)('sessions on the %s store', (_, openPlace) => {
  let place: StorePlace
  let one: TestSessions
  let other: TestSessions
  const ring = createTestRing()
  const move = (seconds: number) => place.clock.move(seconds * 1000)

  beforeAll(async () => {
    place = await openPlace()
    one = createTestSessions(place, ring)
    other = createTestSessions(place, ring)
  })
  afterAll(async () => {
    await one.sessions.close()
    await other.sessions.close()
    await place.close()
  })

  async function signIn(sub = somebody(), at = one) {
    const { session, secret } = await at.sessions.begin(signedInAs(sub), browserOrigin)
    const appSecret = (await at.sessions.openAppSession(session.id, wiki)) ?? ''
    return { session, secret, appSecret, sub }
  }

  it('begins, and finds the same session by each of its cookies', async () => {
    const { session, secret, appSecret } = await signIn()
    for (const lookup of [
      await one.sessions.findByAccessSecret(secret),
      await other.sessions.findByAppSecret(appSecret, wiki),
      await other.sessions.findById(session.id),
    ]) {
      expect(lookup).toEqual({ state: 'live', session, claimsState: 'fresh', now: expect.any(Number) })
    }
    expect(secret).toMatch(/^[\w-]{43}$/)
    expect(new Set([secret, appSecret, session.id]).size).toBe(3)
  })

  it('keeps claims as data, whatever they are called', async () => {
    const sub = somebody()
    const claims = JSON.parse(
      `{"sub":"${sub}","__proto__":{"admin":true},"constructor":["x"],"realm_access":{"__proto__":1,"roles":["a"]}}`,
    )
    const { session } = await one.sessions.begin(signedInAs(sub, { claims }), browserOrigin)
    const lookup = await other.sessions.findById(session.id)
    const all = lookup.state === 'live' ? lookup.session.claims.all : {}
    expect(Object.getPrototypeOf(all)).toBeNull()
    expect(Object.keys(all)).toEqual(['sub', '__proto__', 'constructor', 'realm_access'])
    expect((all as { admin?: unknown }).admin).toBeUndefined()
    expect(Object.getPrototypeOf(all['realm_access'])).toBeNull()
  })

  it('knows a secret on its own origin and kind alone', async () => {
    const { secret, appSecret, session } = await signIn()
    const none = { state: 'none' }
    expect(await one.sessions.findByAppSecret(appSecret, 'https://payroll.corp.example')).toEqual(none)
    expect(await one.sessions.findByAppSecret(secret, wiki)).toEqual(none)
    expect(await one.sessions.findByAccessSecret(appSecret)).toEqual(none)
    expect(await one.sessions.findByAccessSecret(createSecret())).toEqual(none)
    expect(await one.sessions.findByAccessSecret(session.id)).toEqual(none)
    expect(await one.sessions.findByAccessSecret('')).toEqual(none)
    expect(await one.sessions.findById('unknown')).toEqual(none)
    expect(await one.sessions.openAppSession('unknown', wiki)).toBeUndefined()
  })

  it('ends after the idle timeout, and use moves that', async () => {
    const { appSecret, session } = await signIn()
    move(1_700)
    one.sessions.recordUse(session)
    await one.sessions.close()
    move(1_700)
    expect((await one.sessions.findByAppSecret(appSecret, wiki)).state).toBe('live')
    move(101)
    expect(await one.sessions.findByAppSecret(appSecret, wiki)).toEqual({ state: 'expired' })
    expect(await other.sessions.findById(session.id)).toEqual({ state: 'expired' })
    expect(await one.sessions.openAppSession(session.id, wiki)).toBeUndefined()
    one.sessions.recordUse(session)
    await one.sessions.close()
    expect(await one.sessions.findById(session.id)).toEqual({ state: 'expired' })
  })

  it('is counted as in use for a minute after it was used, on the instance that it was used through', async () => {
    const { session } = await signIn()
    const before = one.sessions.countInUse()
    one.sessions.recordUse(session)
    one.sessions.recordUse(session)
    expect([one.sessions.countInUse() - before, other.sessions.countInUse()]).toEqual([1, 0])
    await one.sessions.close()
    move(61)
    expect(one.sessions.countInUse()).toBe(0)
  })

  it('ends at its lifetime, whatever use there is (A123)', async () => {
    const { appSecret, session } = await signIn()
    for (let minute = 0; minute < 720; minute += 20) {
      one.sessions.recordUse(session)
      await one.sessions.close()
      expect((await one.sessions.findByAppSecret(appSecret, wiki)).state).toBe('live')
      move(1_200)
    }
    expect(await one.sessions.findByAppSecret(appSecret, wiki)).toEqual({ state: 'expired' })
    move(700)
    expect(await one.sessions.findByAppSecret(appSecret, wiki)).toEqual({ state: 'none' })
  })

  it('holds a session to the limits it began with, and to stricter ones set since', async () => {
    const settings = { idleTimeoutSeconds: 600, lifetimeSeconds: 3_600, refreshAfterSeconds: 300, claimsMaxAgeSeconds: 600 }
    const strict = createTestSessions(place, ring, { settings })
    const { session: loose } = await signIn()
    const { session: tight } = await signIn(somebody(), strict)
    move(601)
    expect((await strict.sessions.findById(loose.id)).state).toBe('expired')
    expect((await one.sessions.findById(tight.id)).state).toBe('expired')
    expect((await one.sessions.findById(loose.id)).state).toBe('live')
  })

  it('writes use once a minute, loses no field, and never brings a session back (A288)', async () => {
    const { session } = await signIn()
    move(120)
    const versionBefore = (await place.store.loadRecord(recordNames.session(hashOf(session.id))))?.version ?? 0
    for (let i = 0; i < 200; i++) (i % 2 === 0 ? one : other).sessions.recordUse(session)
    const continued = await one.sessions.continueWith(session, { ...signedInAs(session.sub), claims: { sub: session.sub, marker: 'kept' } })
    await Promise.all([one.sessions.close(), other.sessions.close()])
    const record = await place.store.loadRecord(recordNames.session(hashOf(session.id)))
    expect((record?.version ?? 0) - versionBefore).toBeLessThanOrEqual(3)
    const lookup = await other.sessions.findById(session.id)
    if (lookup.state !== 'live') throw new Error(lookup.state)
    expect(lookup.session.claims).toEqual(continued?.claims)
    expect(lookup.session.lastUsedAt).toBeGreaterThanOrEqual(session.lastUsedAt + 120_000)
    await one.sessions.endSession(session.id, 'revoked')
    move(61)
    one.sessions.recordUse(session)
    await one.sessions.close()
    expect(await place.store.loadRecord(recordNames.session(hashOf(session.id)))).toBeUndefined()
  })

  it('asks the store nothing for use that it wrote a moment ago', async () => {
    const counted = countingStore(place)
    const { sessions } = createTestSessions({ store: counted.store, clock: place.clock }, ring, { live: createTestLive(place) })
    const { session } = await signIn()
    move(61)
    for (let i = 0; i < 200; i++) sessions.recordUse(session)
    await sessions.close()
    expect(counted.calls()).toEqual({ loadNow: 1, loadEnds: 1, loadRecord: 1, replaceRecord: 1 })
  })

  it('continues with new facts under the same id and cookies', async () => {
    const { session, secret, appSecret, sub } = await signIn()
    move(60)
    const again = signedInAs(sub, {
      signIn: { at: 5, authTime: 5, acr: 'gold', amr: ['otp'] },
      providerSid: 'new-sid',
      tokens: { idToken: 'i2', accessToken: 'a2', refreshToken: undefined },
    })
    const continued = await one.sessions.continueWith(session, again)
    expect(continued).toMatchObject({
      id: session.id,
      startedAt: session.startedAt,
      signIn: again.signIn,
      tokens: again.tokens,
      providerSid: 'new-sid',
      claims: { version: 2 },
    })
    expect(await one.sessions.findByAccessSecret(secret)).toEqual({
      state: 'live',
      session: continued,
      claimsState: 'fresh',
      now: expect.any(Number),
    })
    expect(await other.sessions.findByAppSecret(appSecret, wiki)).toMatchObject({ state: 'live', session: { claims: { version: 2 } } })
    // The provider's older session is not this one's any more.
    await other.sessions.endProviderSid(session.issuer, `sid-${sub}`, 'back_channel')
    expect((await other.sessions.findByAppSecret(appSecret, wiki)).state).toBe('live')
    move(5.001)
    expect((await other.sessions.findByAppSecret(appSecret, wiki)).state).toBe('live')
    expect(await other.sessions.endProviderSid(session.issuer, 'new-sid', 'back_channel')).toEqual([session.id])
    expect(await other.sessions.findByAppSecret(appSecret, wiki)).toEqual({ state: 'ended', cause: 'back_channel' })
  })

  it('continues nobody who is somebody else, or whose session is over', async () => {
    const { session, sub } = await signIn()
    expect(await one.sessions.continueWith(session, signedInAs('mallory'))).toBeUndefined()
    expect(await one.sessions.continueWith(session, signedInAs(sub, { issuer: 'https://other.example' }))).toBeUndefined()
    await other.sessions.endSession(session.id, 'revoked')
    expect(await one.sessions.continueWith(session, signedInAs(sub))).toBeUndefined()
  })

  it('refuses at once where the end was recorded, and within 5 s elsewhere (A120)', async () => {
    const { appSecret, secret, session } = await signIn()
    expect((await one.sessions.findByAppSecret(appSecret, wiki)).state).toBe('live')
    expect((await other.sessions.findByAppSecret(appSecret, wiki)).state).toBe('live')
    await one.sessions.endSession(session.id, 'signed_out')
    const ended = { state: 'ended', cause: 'signed_out' }
    expect(await one.sessions.findByAppSecret(appSecret, wiki)).toEqual(ended)
    expect(await one.sessions.findByAccessSecret(secret)).toEqual(ended)
    expect(await other.sessions.findById(session.id)).toEqual(ended)
    move(5.001)
    expect(await other.sessions.findByAppSecret(appSecret, wiki)).toEqual(ended)
    expect(one.events).toContainEqual(expect.objectContaining({ event: 'session.ended', session: session.id, cause: 'signed_out' }))
    expect(await one.sessions.openAppSession(session.id, wiki)).toBeUndefined()
  })

  it('ends all sessions of a subject and none of another (A125)', async () => {
    const sub = somebody()
    const [first, second, stranger] = [await signIn(sub), await signIn(sub, other), await signIn()]
    for (const { appSecret } of [first, second, stranger]) await one.sessions.findByAppSecret(appSecret, wiki)
    const ids = await one.sessions.endSubject(first.session.issuer, sub, 'revoked')
    expect(new Set(ids)).toEqual(new Set([first.session.id, second.session.id]))
    expect((await one.sessions.findByAppSecret(first.appSecret, wiki)).state).toBe('ended')
    expect((await one.sessions.findByAppSecret(second.appSecret, wiki)).state).toBe('ended')
    expect((await one.sessions.findByAppSecret(stranger.appSecret, wiki)).state).toBe('live')
    expect(await one.sessions.listSubject(first.session.issuer, sub)).toEqual([])
    move(0.002)
    const later = await signIn(sub)
    expect((await one.sessions.findByAppSecret(later.appSecret, wiki)).state).toBe('live')
  })

  it('ends also what no index lists, at once where the end was recorded and within 5 s elsewhere', async () => {
    const ends = [
      (sub: string) => one.sessions.endSubject('https://op.corp.example', sub, 'back_channel'),
      (sub: string) => one.sessions.endProviderSid('https://op.corp.example', `sid-${sub}`, 'back_channel'),
    ]
    for (const end of ends) {
      const { session, appSecret, sub } = await signIn()
      await place.store.removeFromIndex(recordNames.subjectIndex(hashSubject(session.issuer, sub)), hashOf(session.id))
      await place.store.removeFromIndex(recordNames.providerSidIndex(hashProviderSid(session.issuer, `sid-${sub}`)), hashOf(session.id))
      for (const { sessions } of [one, other]) expect((await sessions.findByAppSecret(appSecret, wiki)).state).toBe('live')
      expect(await end(sub)).toEqual([])
      const ended = { state: 'ended', cause: 'back_channel' }
      expect(await one.sessions.findByAppSecret(appSecret, wiki)).toEqual(ended)
      expect(await other.sessions.findById(session.id)).toEqual(ended)
      move(5.001)
      expect(await other.sessions.findByAppSecret(appSecret, wiki)).toEqual(ended)
    }
  })

  it('tells the trail which request did what to a session, and from where; of a refresh, that none did', async () => {
    const by = (requestId: string) => ({ requestId, address: '198.51.100.9' })
    const { sessions, events, answerRefresh } = createTestSessions(place, ring)
    const sub = somebody()
    const { session } = await sessions.begin(signedInAs(sub), browserOrigin, by('r1'))
    await sessions.continueWith(session, signedInAs(sub), by('r2'))
    const { signIn: _signIn, ...answer } = signedInAs(sub)
    answerRefresh(() => Promise.resolve({ outcome: 'refreshed', signedIn: answer }))
    move(601)
    await sessions.findById(session.id)
    await sessions.endSession(session.id, 'signed_out', by('r3'))
    const second = await sessions.begin(signedInAs(sub), browserOrigin)
    await sessions.endProviderSid(session.issuer, `sid-${sub}`, 'back_channel', by('r4'))
    const third = await sessions.begin(signedInAs(sub), browserOrigin)
    move(0.002)
    await sessions.endSubject(session.issuer, sub, 'revoked', by('r5'))
    const address = '198.51.100.9'
    expect(events).toMatchObject([
      { event: 'session.started', request: 'r1', address },
      { event: 'session.continued', request: 'r2', address },
      { event: 'session.refreshed', request: undefined, address: undefined },
      { event: 'session.ended', request: 'r3', address, session: session.id, cause: 'signed_out' },
      { event: 'session.started', request: undefined, address: browserOrigin.address },
      { event: 'session.ended', request: 'r4', address, session: second.session.id, cause: 'back_channel' },
      { event: 'subject.ended', request: 'r4', address, sid: `sid-${sub}` },
      { event: 'session.started' },
      { event: 'session.ended', request: 'r5', address, session: third.session.id, cause: 'revoked' },
      { event: 'subject.ended', request: 'r5', address, subject: { sub } },
    ])
  })

  it('tells the trail of an end also where the record could not be cleared away', async () => {
    const { session } = await signIn()
    const store = new Proxy(place.store, {
      get: (target, name: keyof StorePlace['store']) =>
        name === 'takeRecord' ? () => Promise.reject(new PosternError('session_store_unavailable', 'gone in mid-work')) : target[name],
    })
    const { sessions, events } = createTestSessions({ store, clock: place.clock }, ring)
    await sessions.endSession(session.id, 'revoked')
    expect(events).toMatchObject([{ event: 'session.ended', session: session.id, subject: { kind: 'person' }, cause: 'revoked' }])
    expect((await one.sessions.findById(session.id)).state).toBe('ended')
  })

  it('lists the live sessions of a subject, newest first', async () => {
    const sub = somebody()
    const [first] = [await signIn(sub), move(1)]
    const [second] = [await signIn(sub), move(1)]
    const third = await signIn(sub)
    await other.sessions.endSession(second.session.id, 'signed_out')
    expect((await one.sessions.listSubject(first.session.issuer, sub)).map(({ id }) => id)).toEqual([third.session.id, first.session.id])
  })

  it('finds the end that a new sign-in has to be newer than', async () => {
    const { session, secret, sub } = await signIn()
    const of = { accessSecret: secret, issuer: session.issuer, sub: 'nobody-yet', providerSid: undefined }
    expect(await one.sessions.findLatestEnd(of)).toBeUndefined()
    await one.sessions.endSession(session.id, 'signed_out')
    expect(await other.sessions.findLatestEnd(of)).toMatchObject({ cause: 'signed_out' })
    move(1)
    await one.sessions.endSubject(session.issuer, sub, 'revoked')
    expect(await other.sessions.findLatestEnd({ ...of, accessSecret: undefined, sub })).toMatchObject({ cause: 'revoked' })
    const next = await signIn()
    await one.sessions.endSession(next.session.id, 'replaced')
    expect(await other.sessions.findLatestEnd({ ...of, accessSecret: next.secret })).toBeUndefined()
    await one.sessions.endProviderSid(session.issuer, 'some-sid', 'back_channel')
    expect(await other.sessions.findLatestEnd({ ...of, accessSecret: undefined, providerSid: 'some-sid' })).toMatchObject({
      cause: 'back_channel',
    })
  })

  it('gives a hand-off to one of 50 who present its code, and to nobody after 30 s', async () => {
    const handOff = { sessionId: 's', origin: wiki, attempt: 'a', returnTo: `${wiki}/page` }
    const code = await one.sessions.issueHandOff(handOff)
    const taken = await Promise.all(Array.from({ length: 50 }, (_, i) => (i % 2 === 0 ? one : other).sessions.takeHandOff(code)))
    expect(taken.filter((result) => result !== undefined)).toEqual([handOff])
    const late = await one.sessions.issueHandOff(handOff)
    move(30.001)
    expect(await one.sessions.takeHandOff(late)).toBeUndefined()
    expect(await one.sessions.takeHandOff('not-a-code')).toBeUndefined()
  })

  it('takes an id once over all instances and for its time', async () => {
    const id = createSecret()
    const results = await Promise.all(
      Array.from({ length: 50 }, (_, i) => (i % 2 === 0 ? one : other).sessions.takeOnce('attempt', id, 300)),
    )
    expect(results.filter(Boolean)).toHaveLength(1)
    expect(await one.sessions.takeOnce('logout_token', id, 300)).toBe(true)
    move(299)
    expect(await one.sessions.takeOnce('attempt', id, 300)).toBe(false)
    move(2)
    expect(await one.sessions.takeOnce('attempt', id, 300)).toBe(true)
  })

  it('remembers people by e-mail, as last seen', async () => {
    const sub = somebody()
    await signIn(sub)
    move(10)
    await one.sessions.begin(
      signedInAs(sub, { claims: { sub, email: `New.${sub}@corp.example`, name: 'New Name', groups: ['finance'] } }),
      browserOrigin,
    )
    expect(await other.sessions.findPeople(`${sub}@corp.example`)).toEqual([])
    const [person, ...more] = await other.sessions.findPeople(` NEW.${sub}@CORP.example`)
    expect(person).toMatchObject({ sub, name: 'New Name', email: `New.${sub}@corp.example`, claims: { groups: ['finance'] } })
    expect(more).toEqual([])
    expect(await other.sessions.findPerson('https://op.corp.example', sub)).toEqual(person)
  })

  it('opens nothing with another key ring, and everything with an old key that is still in the ring', async () => {
    const { session, secret } = await signIn()
    const warnings: unknown[] = []
    const log = { ...silentLog, warn: (fields: unknown) => void warnings.push(fields) }
    const stranger = createTestSessions(place, createTestRing(), { log })
    // Every request of everybody meets this, where the key file is the wrong one; the log is told once.
    for (let i = 0; i < 20; i++) expect(await stranger.sessions.findByAccessSecret(secret)).toEqual({ state: 'none' })
    expect(warnings).toEqual([{ record: 'access' }])
    const next = createTestRing().sealing.current
    const rotated = { ...ring, sealing: { current: next, all: new Map([...ring.sealing.all, [next.id, next]]) } }
    const later = createTestSessions(place, rotated)
    expect(await later.sessions.findByAccessSecret(secret)).toMatchObject({ state: 'live', session: { id: session.id } })
  })

  it('lets no record stand in for another', async () => {
    const [alice, bob] = [await signIn(), await signIn()]
    const aliceName = recordNames.session(hashOf(alice.session.id))
    const bobName = recordNames.session(hashOf(bob.session.id))
    const stolen = await place.store.loadRecord(bobName)
    const mine = await place.store.loadRecord(aliceName)
    if (stolen === undefined || mine === undefined) throw new Error('no record')
    await place.store.replaceRecord(aliceName, { ...mine, value: stolen.value })
    expect(await other.sessions.findById(alice.session.id)).toEqual({ state: 'none' })
  })

  it('answers from memory for 5 s and no longer', async () => {
    const counted = countingStore(place)
    const memory = createTestSessions({ store: counted.store, clock: place.clock }, ring, { live: createTestLive(place) })
    const { appSecret } = await signIn()
    await Promise.all(Array.from({ length: 20 }, () => memory.sessions.findByAppSecret(appSecret, wiki)))
    expect(counted.calls()).toEqual({ loadRecord: 2, loadEnds: 2, loadNow: 1 })
    move(4.5)
    await memory.sessions.findByAppSecret(appSecret, wiki)
    expect(counted.calls()).toEqual({ loadRecord: 2, loadEnds: 2, loadNow: 1 })
    move(0.6)
    await memory.sessions.findByAppSecret(appSecret, wiki)
    expect(counted.calls()).toEqual({ loadRecord: 4, loadEnds: 4, loadNow: 2 })
  })

  it('warns, once, of a clock that differs from the store’s', async () => {
    const warnings: unknown[] = []
    const log = { ...silentLog, warn: (fields: unknown) => void warnings.push(fields) }
    const storeNow = await place.store.loadNow()
    for (const [skewMs, count] of [
      [5_000, 0],
      [-60_000, 1],
    ] as const) {
      warnings.length = 0
      const { sessions } = createTestSessions(place, ring, { log, now: () => storeNow - skewMs })
      await sessions.findById(createSecret())
      await sessions.findById(createSecret())
      expect(warnings).toHaveLength(count)
    }
  })

  it('writes nothing for anybody who has not signed in', async () => {
    const counted = countingStore(place)
    const { sessions } = createTestSessions({ store: counted.store, clock: place.clock }, ring, { live: createTestLive(place) })
    for (let i = 0; i < 20; i++) {
      await sessions.findByAppSecret(createSecret(), wiki)
      await sessions.findByAccessSecret(createSecret())
      await sessions.findById(createSecret())
      await sessions.takeHandOff('x')
    }
    expect(new Set(Object.keys(counted.calls()))).toEqual(new Set(['loadEnds', 'loadNow', 'loadRecord']))
  })
})

/** A store that counts what is asked of it. */
function countingStore(place: Pick<StorePlace, 'store'>) {
  const calls: Record<string, number> = {}
  const store = new Proxy(place.store, {
    get(target, name: keyof StorePlace['store']) {
      return (...args: never[]) => {
        calls[name] = (calls[name] ?? 0) + 1
        return (target[name] as (...args: never[]) => unknown)(...args)
      }
    },
  })
  return { store, calls: () => ({ ...calls }) }
}
