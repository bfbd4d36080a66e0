/** What time alone does to open connections: turns, limits of sessions, windows, ages, and a store that is away. */

import { afterEach, describe, expect, test } from 'vitest'
import type { DeviceReading } from '../attributes/device-facts.ts'
import { deviceCondition, rule, signInCondition, timeCondition } from '../policy/policy.fixture.ts'
import { signedInAs } from '../session/session.fixture.ts'
import { hashSessionId } from '../session/session-record.ts'
import { type FlowRig, type FlowRigOptions, get, startFlow, wiki } from './enforcement.fixture.ts'
import { eventually } from './forwarding.fixture.ts'
import {
  answerOpen,
  endingsOf,
  endingsWith,
  endLines,
  expectUntouched,
  openAll,
  openOne,
  settle,
  settleReviews,
  ticked,
} from './open-connections.fixture.ts'

const rigs: FlowRig[] = []
afterEach(async () => {
  for (const rig of rigs.splice(0)) await rig.close()
})

const everybody = [rule('allow', { kind: 'signed_in' }, { name: 'everybody' })]

async function begin(options: FlowRigOptions = {}): Promise<FlowRig> {
  const rig = await startFlow({ apps: [wiki({ rules: everybody })], upstreamAnswers: answerOpen, isTimeStill: true, ...options })
  rigs.push(rig)
  return rig
}

/** Lets time pass in steps that no limit of memory or claims jumps over. */
async function pass(rig: FlowRig, milliseconds: number): Promise<void> {
  rig.clock.move(milliseconds)
  await ticked(rig)
}

describe('every half minute', () => {
  test('everything is decided again, whatever nobody told', async () => {
    const rig = await begin({ apps: [wiki({ rules: [rule('allow', { kind: 'groups', groups: ['staff'] }, { name: 'staff' })] })] })
    const { session, cookie } = await rig.signIn('alice')
    const open = await openAll(rig, cookie)
    await settle(rig)
    const { claims, ...rest } = signedInAs('alice')
    await rig.sessions.continueWith(session, { ...rest, claims: { ...claims, groups: [] } })
    rig.clock.move(30_000)
    expect(await endingsOf(open)).toEqual(endingsWith(4403))
  })

  test('the turns of different sessions are spread, and one session has one', async () => {
    const rig = await begin()
    const dues = new Map<string, Set<number>>()
    for (let i = 0; i < 20; i++) {
      const { cookie } = await rig.signIn(`user-${i}`)
      for (let j = 0; j < 3; j++) await openOne(rig, 'event stream', [`Cookie: ${cookie}`])
    }
    await settle(rig)
    rig.forwarding.open.forEach(({ dueAt, watched }) => {
      const sub = watched?.judgement.session?.sub ?? ''
      dues.set(sub, (dues.get(sub) ?? new Set()).add(dueAt - rig.clock.now()))
    })
    const turns = [...dues.values()].map((some) => [...some])
    expect(turns.every((some) => some.length === 1)).toBe(true)
    expect(turns.flat().every((wait) => wait > 0 && wait <= 30_000)).toBe(true)
    expect(new Set(turns.flat()).size).toBeGreaterThan(15)
    expect(Math.max(...turns.flat()) - Math.min(...turns.flat())).toBeGreaterThan(10_000)
  })
})

describe('a session', () => {
  test('that reaches its idle limit loses what it has open, at that instant', async () => {
    const rig = await begin({ settings: { session: { idleTimeoutSeconds: 1_800, lifetimeSeconds: 43_200 } } })
    const { session, cookie } = await rig.signIn('alice', undefined, {
      tokens: { idToken: 'i', accessToken: 'a', refreshToken: undefined },
    })
    const open = await openAll(rig, cookie)
    await settle(rig)
    // Claims that cannot be refreshed would be a reason of their own.
    rig.clock.move(session.lastUsedAt + 590_000 - rig.clock.now())
    await ticked(rig)
    for (const one of open) await expectUntouched(rig, one)
  })

  test.each([
    ['idle', { idleTimeoutSeconds: 60, lifetimeSeconds: undefined }, 60_000],
    ['absolute', { idleTimeoutSeconds: undefined, lifetimeSeconds: 100 }, 100_000],
  ])('that reaches the %s limit of an app loses what it has open there, then and not before', async (_which, limits, limitMs) => {
    const rig = await begin({ apps: [wiki({ rules: everybody, session: limits })] })
    const { session, cookie } = await rig.signIn('alice')
    const open = await openAll(rig, cookie)
    await settle(rig)
    await pass(rig, session.startedAt + limitMs - 1 - rig.clock.now())
    for (const { client } of open) expect(client.socket.destroyed).toBe(false)
    rig.clock.move(1)
    expect(await endingsOf(open)).toEqual(endingsWith(4401))
    for (const line of await endLines(rig, open)) expect(line).toMatchObject({ outcome: 'cut', reason: 'session_expired' })
  })

  test('that began without the provider loses what it has open at the end that it was given', async () => {
    const rig = await begin()
    const { session, cookie } = await rig.signIn('alice', undefined, {
      tokens: { idToken: '', accessToken: '', refreshToken: undefined },
      withoutProvider: { seconds: 100, claimsAt: rig.clock.now() },
    })
    const open = await openAll(rig, cookie)
    await settle(rig)
    await pass(rig, session.startedAt + 99_999 - rig.clock.now())
    for (const { client } of open) expect(client.socket.destroyed).toBe(false)
    rig.clock.move(1)
    expect(await endingsOf(open)).toEqual(endingsWith(4401))
  })

  test('that is over loses what it has open also where strangers are let in: it was not opened as a stranger’s', async () => {
    const limits = { idleTimeoutSeconds: 60, lifetimeSeconds: undefined }
    const rig = await begin({ apps: [wiki({ rules: [rule('allow', { kind: 'public' }, { name: 'open' })], session: limits })] })
    const stranger = await openOne(rig, 'websocket', [])
    const { session, cookie } = await rig.signIn('alice')
    const open = await openAll(rig, cookie)
    await settle(rig)
    await pass(rig, session.startedAt + 59_999 - rig.clock.now())
    for (const { client } of open) expect(client.socket.destroyed).toBe(false)
    rig.clock.move(1)
    expect(await endingsOf(open)).toEqual(endingsWith(4401))
    for (const line of await endLines(rig, open)) expect(line).toMatchObject({ outcome: 'cut', reason: 'session_expired' })
    await expectUntouched(rig, stranger)
  })

  test('is not idle while its client says something on a WebSocket', async () => {
    const rig = await begin({ apps: [wiki({ rules: everybody, session: { idleTimeoutSeconds: 120, lifetimeSeconds: undefined } })] })
    const { session, cookie } = await rig.signIn('alice')
    const open = await openOne(rig, 'websocket', [`Cookie: ${cookie}`])
    await settle(rig)
    for (let i = 0; i < 4; i++) {
      await pass(rig, 61_000)
      const { lastUsedAt } = await read()
      await expectUntouched(rig, open)
      await eventually(() => true, 'a turn')
      const deadline = performance.now() + 5_000
      while ((await read()).lastUsedAt === lastUsedAt && performance.now() < deadline) await ticked(rig)
    }
    await expectUntouched(rig, open)

    async function read() {
      const found = await rig.sessions.findById(session.id)
      if (found.state !== 'live') throw new Error('it was idle')
      return found.session
    }
  })

  test('that was used elsewhere a second ago is not idle', async () => {
    const rig = await begin({ apps: [wiki({ rules: everybody, session: { idleTimeoutSeconds: 120, lifetimeSeconds: undefined } })] })
    const { session, cookie } = await rig.signIn('alice')
    const open = await openAll(rig, cookie)
    await settle(rig)
    rig.clock.move(session.startedAt + 119_000 - rig.clock.now())
    await rig.sessions.findById(session.id)
    // Another instance: this one's memory hears nothing of it.
    const { sessions: other } = rig.anotherInstance()
    other.recordUse(session)
    await other.close()
    await ticked(rig)
    rig.clock.move(1_500)
    await ticked(rig)
    for (const one of open) await expectUntouched(rig, one)
  })
})

describe('rules about time', () => {
  test.each([
    ['a window', [timeCondition({ between: [{ from: 0, to: 481 }] })], 60_000],
    ['a recent sign-in', [signInCondition({ withinSeconds: 90 })], 90_001],
  ])('cut when %s is over, then and not before', async (_what, when, afterMs) => {
    const rig = await begin({ apps: [wiki({ rules: [rule('allow', { kind: 'signed_in' }, { when })] })] })
    const begun = rig.clock.now()
    // The clock of a test begins at eight o'clock sharp.
    expect(new Date(begun).toISOString()).toContain('T08:00:00.000Z')
    const { cookie } = await rig.signIn('alice', undefined, { signIn: { at: begun, authTime: begun, acr: undefined, amr: ['pwd'] } })
    const open = await openAll(rig, cookie)
    await settle(rig)
    await pass(rig, begun + afterMs - 1 - rig.clock.now())
    for (const { client } of open) expect(client.socket.destroyed).toBe(false)
    rig.clock.move(1)
    await endingsOf(open)
    await endLines(rig, open)
  })

  test('cut when what a device reported is too old', async () => {
    const rig = await begin({
      apps: [
        wiki({ rules: [rule('allow', { kind: 'signed_in' }, { when: [deviceCondition({ managed: true, reportedWithinSeconds: 50 })] })] }),
      ],
      ports: { devices: { recall: () => reading(), read: async () => reading() } },
    })
    const begun = rig.clock.now()
    const { cookie } = await rig.signIn('alice')
    const open = await openAll(rig, cookie)
    await settle(rig)
    await pass(rig, begun + 50_000 - rig.clock.now())
    for (const { client } of open) expect(client.socket.destroyed).toBe(false)
    rig.clock.move(1)
    expect(await endingsOf(open)).toEqual(endingsWith(4403))

    function reading(): DeviceReading {
      const managed = { value: true, source: 'report', at: begun } as const
      const device = {
        id: 'laptop',
        identifiedBy: 'certificate',
        isKnown: true,
        serial: undefined,
        tags: [],
        attributes: { managed },
      } as const
      return { device: { known: true, value: device }, isChanged: false }
    }
  })
})

describe('a store that is away', () => {
  test('leaves what is open alone for as long as its operator says, then it is cut', async () => {
    const rig = await begin({ settings: { storeGraceSeconds: 30 } })
    const { cookie } = await rig.signIn('alice')
    const open = await openAll(rig, cookie)
    await settle(rig)
    rig.live.setAway(true)
    await ticked(rig)
    await pass(rig, 29_900)
    for (const { client } of open) expect(client.socket.destroyed).toBe(false)
    expect((await rig.ask(get('/page', [`Cookie: ${cookie}`]))).status).toBe(503)
    rig.clock.move(100)
    expect(await endingsOf(open)).toEqual(endingsWith(1013))
    for (const line of await endLines(rig, open)) expect(line).toMatchObject({ outcome: 'cut', reason: 'session_store_unavailable' })
  })

  test('and an issuer of access tokens that is away leave alone what a service has open, for as long', async () => {
    const subject = { kind: 'service', names: ['billing'], issuer: 'https://auth.example.com', claims: {} } as const
    let isAway = false
    const identify = async () =>
      isAway
        ? ({ outcome: 'refused', reason: 'provider_unavailable' } as const)
        : ({ outcome: 'identified', subject, until: Number.POSITIVE_INFINITY } as const)
    const rig = await begin({
      apps: [wiki({ rules: [rule('allow', { kind: 'services', names: ['billing'] })] })],
      ports: { callers: { identify } },
      settings: { storeGraceSeconds: 30 },
    })
    const open = await openOne(rig, 'download', ['Postern-Authorization: Bearer abc'])
    await settle(rig)
    isAway = true
    rig.live.announce({ kind: 'policy_changed' })
    await settleReviews(rig)
    await pass(rig, 29_000)
    await settleReviews(rig)
    expect(open.client.socket.destroyed).toBe(false)
    rig.clock.move(1_000)
    expect(await open.ending).toBe('reset')
    expect(await endLines(rig, [open])).toEqual([expect.objectContaining({ outcome: 'cut', reason: 'provider_unavailable' })])
  })

  test('refuses strangers and services as well', async () => {
    const rig = await begin({ apps: [wiki({ rules: [rule('allow', { kind: 'public' })] })] })
    expect((await rig.ask(get('/page'))).status).toBe(200)
    rig.live.setAway(true)
    expect((await rig.ask(get('/page'))).headers['x-postern']).toBe('session_store_unavailable')
  })

  test('and comes back has everything decided again, and its grace begins anew', async () => {
    const rig = await begin({ apps: [wiki({ rules: [rule('allow', { kind: 'groups', groups: ['staff'] })] })] })
    const alice = await rig.signIn('alice')
    const bob = await rig.signIn('bob')
    const hers = await openAll(rig, alice.cookie)
    const his = await openAll(rig, bob.cookie)
    await settle(rig)
    rig.live.setAway(true)
    await ticked(rig)
    await pass(rig, 20_000)
    const { claims, ...rest } = signedInAs('alice')
    rig.live.setAway(false)
    await rig.sessions.continueWith(alice.session, { ...rest, claims: { ...claims, groups: [] } })
    rig.live.tell({ kind: 'session_changed', sessionHash: hashSessionId(alice.session.id) })
    rig.live.tell({ kind: 'regained' })
    expect(await endingsOf(hers)).toEqual(endingsWith(4403))
    rig.live.setAway(true)
    await ticked(rig)
    await pass(rig, 20_000)
    for (const one of his) await expectUntouched(rig, one)
  })

  test('also where nothing was missed: everything is decided again as soon as it answers', async () => {
    const rig = await begin()
    const { cookie } = await rig.signIn('alice')
    await openAll(rig, cookie)
    await settle(rig)
    rig.live.setAway(true)
    await ticked(rig)
    await eventually(() => unknowns() === 4, 'all unknown')
    rig.live.setAway(false)
    await ticked(rig)
    await eventually(() => unknowns() === 0, 'none unknown')

    function unknowns(): number {
      let count = 0
      rig.forwarding.open.forEach(({ watched }) => {
        if (watched?.unknownSince !== undefined) count++
      })
      return count
    }
  })

  test.each([
    ['internal', 4, 200],
    ['restricted', 0, 503],
  ] as const)('need not matter for a while where the operator says so: an app that is %s', async (sensitivity, openLater, status) => {
    const rig = await begin({
      apps: [wiki({ rules: everybody, sensitivity })],
      settings: { unverifiedForSeconds: 300, storeGraceSeconds: 10 },
      sessions: {
        settings: {
          idleTimeoutSeconds: 1_800,
          lifetimeSeconds: 43_200,
          refreshAfterSeconds: 300,
          claimsMaxAgeSeconds: 600,
          unverifiedForSeconds: 300,
        },
      },
    })
    const { session, cookie } = await rig.signIn('alice')
    await openAll(rig, cookie)
    await settle(rig)
    rig.live.setAway(true)
    await ticked(rig)
    for (let i = 0; i < 4; i++) await pass(rig, 10_000)
    await eventually(() => rig.forwarding.open.size === openLater, 'what is left open')
    expect((await rig.ask(get('/page', [`Cookie: ${cookie}`]))).status).toBe(status)
    // What is known all the same still counts.
    rig.live.tell({ kind: 'ended', ends: [{ kind: 'session', idHash: hashSessionId(session.id), at: 0, cause: 'revoked' }] })
    await eventually(() => rig.forwarding.open.size === 0, 'all cut')
    expect((await rig.ask(get('/page', [`Cookie: ${cookie}`]))).status).not.toBe(200)
  })

  test('for a single question leaves the others alone', async () => {
    const rig = await begin({ settings: { storeGraceSeconds: 10 } })
    const alice = await rig.signIn('alice')
    const bob = await rig.signIn('bob')
    const [hers, his] = [
      await openOne(rig, 'websocket', [`Cookie: ${alice.cookie}`]),
      await openOne(rig, 'websocket', [`Cookie: ${bob.cookie}`]),
    ]
    await settle(rig)
    const { findByAppSecret, recallByAppSecret } = rig.sessions
    const isHers = (secret: string) => alice.cookie.endsWith(secret)
    rig.sessions.recallByAppSecret = (secret, origin) => (isHers(secret) ? undefined : recallByAppSecret(secret, origin))
    rig.sessions.findByAppSecret = (secret, origin) =>
      isHers(secret) ? Promise.reject(new (class extends Error {})('not a failure of the store')) : findByAppSecret(secret, origin)
    rig.clock.move(30_000)
    // What goes wrong in a way that nobody foresaw is a denial.
    expect(await hers.ending).toBe(4403)
    await settleReviews(rig)
    await expectUntouched(rig, his)
    expect(await endLines(rig, [hers])).toMatchObject([{ reason: 'evaluation_failed' }])
  })
})
