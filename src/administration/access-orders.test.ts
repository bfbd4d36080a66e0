/** Orders to cut somebody off, and emergency sign-ins: whom they reach, what they refuse, what they say. */

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { AuditEvent } from '../audit/event.ts'
import { type Access, composeAccess } from '../compose-access.ts'
import type { InstanceConfiguration } from '../config/instance.ts'
import { PosternError } from '../errors.ts'
import {
  browserOrigin,
  createTestRing,
  createTestSessions,
  openEmbeddedPlace,
  type StorePlace,
  signedInAs,
  silentLog,
  type TestSessions,
} from '../session/session.fixture.ts'
import { parseLockEnd } from './access-orders.ts'
import { type BreakGlassDesk, type BreakGlassDoor, createBreakGlassDesk, createBreakGlassDoor } from './break-glass.ts'
import { define } from './devices.fixture.ts'
import { findSubject, issuersOf } from './subject-lookup.ts'

const admin = 'os:ada@bastion'
const issuer = 'https://op.corp.example'

let place: StorePlace
let one: TestSessions
let access: Access
let events: AuditEvent[]
const ring = createTestRing()

beforeEach(async () => {
  place = await openEmbeddedPlace()
  one = createTestSessions(place, ring)
  events = []
  access = composeAccess({
    // Of a configuration only this much is looked at.
    configuration: {
      session: { idleTimeoutSeconds: 1_800, lifetimeSeconds: 43_200 },
      provider: { issuer: new URL(issuer), claims: { deviceId: ['device'] } },
    } as unknown as InstanceConfiguration,
    store: place.store,
    keys: () => ring,
    log: silentLog,
    now: place.clock.now,
    ends: one.sessions,
    record: (event) => void events.push(event),
  })
})
afterEach(async () => {
  await one.sessions.close()
  await place.close()
})

const begin = async (sub: string, change: Parameters<typeof signedInAs>[1] = {}) =>
  (await one.sessions.begin(signedInAs(sub, change), browserOrigin)).session
const stateOf = async (id: string) => (await one.sessions.findById(id)).state
async function listed(subject?: string) {
  const found = await access.orders.listSessions(subject)
  if (found.outcome === 'refused') return found.problem
  const all: string[] = []
  for await (const { id } of found.value) all.push(id)
  return all
}

describe('sessions, by order', () => {
  it('are listed by person, newest first, with no ended or expired one', async () => {
    const [first, ended] = [await begin('bob'), await begin('bob')]
    await begin('idle')
    place.clock.move(1_000_000)
    const [second, alices] = [await begin('bob'), await begin('alice')]
    await one.sessions.endSession(ended.id, 'signed_out')
    expect(await listed('bob@corp.example')).toEqual([second.id, first.id])
    place.clock.move(900_000)
    expect(await listed()).toEqual(expect.arrayContaining([second.id, alices.id]))
    expect(await listed()).toHaveLength(2)
  })

  it('end by id; what ended before and what is none is told apart', async () => {
    const [a, b, c] = [await begin('bob'), await begin('bob'), await begin('alice')]
    await one.sessions.endSession(b.id, 'signed_out')
    const done = await access.orders.revoke({ sessions: [a.id, b.id, 'x'.repeat(22), '../x'], subject: undefined, reason: 'lost' }, admin)
    expect(done).toEqual({ outcome: 'done', value: { revoked: [a.id], ended_before: [b.id], unknown: ['x'.repeat(22), '../x'] } })
    expect([await stateOf(a.id), await stateOf(c.id)]).toEqual(['ended', 'live'])
    expect(events).toEqual([{ event: 'sessions.revoked', actor: admin, sessions: [a.id], target: undefined, reason: 'lost' }])
    expect(one.events.filter(({ event }) => event === 'session.ended')).toMatchObject([
      { session: b.id },
      { session: a.id, cause: 'revoked' },
    ])
  })

  it('of a person all end, also one whose index is not written yet', async () => {
    const a = await begin('bob')
    const late = await begin('bob')
    const index = (await place.store.loadIndex('people:all'))[0] ?? ''
    for (const hash of await place.store.loadIndex(`subject:${index}`)) await place.store.removeFromIndex(`subject:${index}`, hash)
    const done = await access.orders.revoke({ sessions: undefined, subject: 'bob', reason: undefined }, admin)
    expect(done).toMatchObject({ outcome: 'done' })
    expect([await stateOf(a.id), await stateOf(late.id)]).toEqual(['ended', 'ended'])
    expect(events).toMatchObject([{ event: 'sessions.revoked', target: 'bob' }])
  })

  it('more than a line of the trail can name are in several lines', async () => {
    const ids: string[] = []
    for (let n = 0; n < 40; n++) ids.push((await begin('bob')).id)
    await access.orders.revoke({ sessions: ids, subject: undefined, reason: undefined }, admin)
    const named = events.flatMap((event) => (event.event === 'sessions.revoked' ? [event.sessions.length] : []))
    expect(named).toEqual([32, 8])
  })

  it.each([
    [{ sessions: undefined, subject: undefined, reason: undefined }, 'invalid_order'],
    [{ sessions: ['x'], subject: 'bob', reason: undefined }, 'invalid_order'],
    [{ sessions: [], subject: undefined, reason: undefined }, 'invalid_order'],
    [{ sessions: ['x'], subject: undefined, reason: 'two\nlines' }, 'invalid_order'],
    [{ sessions: ['x'.repeat(22)], subject: undefined, reason: undefined }, 'session_unknown'],
    [{ sessions: undefined, subject: 'nobody@corp.example', reason: undefined }, 'subject_never_seen'],
  ] as const)('are not ended for %j', async (order, problem) => {
    await begin('bob')
    expect(await access.orders.revoke(order, admin)).toMatchObject({ outcome: 'refused', problem })
    expect(await listed()).toHaveLength(1)
    expect(events).toEqual([])
  })
})

describe('a lock, by order', () => {
  const lock = (on: string, name: string, until?: string) => access.orders.lock({ on, name, until, reason: 'because' }, admin)

  it('is on the person that an address means, and shows as such', async () => {
    await begin('bob')
    expect(await lock('subject', 'Bob@corp.example', '8h')).toMatchObject({
      outcome: 'done',
      value: { on: 'subject', target: 'bob', label: 'bob@corp.example', by: admin, reason: 'because' },
    })
    expect(await access.locks.find({ kind: 'subject', issuer, sub: 'bob' })).toMatchObject({ until: place.clock.now() + 8 * 3_600_000 })
    expect(await access.orders.unlock({ on: 'subject', name: 'bob', reason: 'over' }, admin)).toMatchObject({ outcome: 'done' })
    expect(await access.locks.loadAll()).toEqual([])
  })

  it('refuses an address that several have, with each sub; a sub is exact', async () => {
    const email = { email: 'shared@corp.example' }
    await begin('bob', { claims: { ...email, sub: 'bob' } })
    await begin('carol', { claims: { ...email, sub: 'carol' } })
    const refused = await lock('subject', 'shared@corp.example')
    expect(refused).toMatchObject({ problem: 'subject_ambiguous', matches: expect.arrayContaining(['bob', 'carol']) })
    expect(await lock('subject', 'carol')).toMatchObject({ outcome: 'done' })
  })

  it('on somebody who never came holds under each name that the provider may have', async () => {
    await lock('subject', 'mallory')
    expect(await access.locks.find({ kind: 'subject', issuer, sub: 'mallory' })).toBeDefined()
    expect(await access.locks.find({ kind: 'subject', issuer: `${issuer}/`, sub: 'mallory' })).toBeDefined()
    await access.orders.unlock({ on: 'subject', name: 'mallory', reason: 'x' }, admin)
    expect(await access.locks.loadAll()).toEqual([])
    expect(issuersOf(new URL('https://kc.example/realms/corp'))).toEqual(['https://kc.example/realms/corp'])
  })

  it.each([
    ['subject', 'nobody@corp.example', undefined, 'subject_never_seen'],
    ['device', 'laptop-7', undefined, 'device_unknown'],
    ['app', 'No App', undefined, 'invalid_order'],
    ['service', '', undefined, 'invalid_order'],
    ['everything', 'x', undefined, 'invalid_order'],
    ['app', 'wiki', 'tomorrow', 'invalid_order'],
    ['app', 'wiki', '2020-01-01T00:00:00Z', 'until_passed'],
  ])('on %s %j until %s is refused as %s', async (on, name, until, problem) => {
    expect(await lock(on, name, until)).toMatchObject({ outcome: 'refused', problem })
    expect(await access.locks.loadAll()).toEqual([])
  })

  it.each([
    ['90s', { inSeconds: 90 }],
    ['30d', { inSeconds: 2_592_000 }],
    ['2026-11-25T22:00:00Z', { at: Date.parse('2026-11-25T22:00:00Z') }],
    ['2026-11-25T22:00+01:00', { at: Date.parse('2026-11-25T21:00:00Z') }],
    ['2026-11-25T22:00:00', undefined],
    ['2026-13-45T22:00:00Z', undefined],
    ['0s', undefined],
    ['999999999d', undefined],
    ['8', undefined],
  ])('reads %s as %j', (written, end) => {
    expect(parseLockEnd(written)).toEqual(end)
  })
})

describe('a device that is blocked', () => {
  it('loses the sessions that it identifies, by certificate and by claim, and no others', async () => {
    const fingerprint = 'ab'.repeat(32)
    await access.devices.register(define({ id: 'laptop-7', fingerprints: [fingerprint], names: ['laptop-7.corp.example'] }), admin)
    const bound = (await one.sessions.begin(signedInAs('bob'), browserOrigin, undefined, { certificate: fingerprint, names: [] })).session
    const renewed = await one.sessions.begin(signedInAs('bob'), browserOrigin, undefined, {
      certificate: 'cd'.repeat(32),
      names: ['Laptop-7.corp.example'],
    })
    const claimed = await begin('alice', { claims: { sub: 'alice', device: 'LAPTOP-7' } })
    const others = [await begin('carol'), await begin('dave', { claims: { sub: 'dave', device: 'laptop-8' } })]
    await access.devices.block('laptop-7', 'stolen', admin)
    for (const id of [bound.id, renewed.session.id, claimed.id]) expect(await stateOf(id)).toBe('ended')
    for (const { id } of others) expect(await stateOf(id)).toBe('live')
    expect(events).toMatchObject([
      { event: 'device.registered' },
      { event: 'device.blocked', reason: 'stolen' },
      { event: 'sessions.revoked', reason: 'stolen' },
    ])
  })
})

describe('break-glass', () => {
  let desk: BreakGlassDesk
  let door: BreakGlassDoor
  let isWritable: boolean
  beforeEach(() => {
    isWritable = true
    const shared = { ...access, store: place.store }
    desk = createBreakGlassDesk({
      ...shared,
      issuers: issuersOf(new URL(issuer)),
      recordFirst: async (event) => {
        if (!isWritable) throw new PosternError('audit_unavailable', 'no room')
        events.push(event)
      },
    })
    door = createBreakGlassDoor({ ...shared, sessions: one.sessions, now: place.clock.now })
  })
  const order = { who: 'bob@corp.example', seconds: 1_800, reason: 'the provider is down', actor: admin }
  async function issue(): Promise<string> {
    const issued = await desk.issue(order)
    if (issued.outcome === 'refused') throw new Error(issued.message)
    return issued.code
  }

  it('lets a person in once, as last seen, with nothing that the provider would have said', async () => {
    await begin('bob')
    const code = await issue()
    expect(await door.find(code)).toMatchObject({ email: 'bob@corp.example', seconds: 1_800 })
    const entered = await door.spend(code)
    if (entered.outcome !== 'entered') throw new Error(entered.outcome)
    expect(entered.signedIn).toMatchObject({
      sub: 'bob',
      claims: { groups: ['staff'] },
      signIn: { amr: ['break_glass'], acr: undefined, authTime: undefined },
      tokens: { refreshToken: undefined },
    })
    expect(await door.spend(code)).toEqual({ outcome: 'unknown' })
    expect(await door.find(code)).toBeUndefined()
    // What is asked once more when the session has begun.
    expect(await door.isOvertaken(entered.grant)).toBe(false)
    await one.sessions.endSubject(issuer, 'bob', 'revoked')
    expect(await door.isOvertaken(entered.grant)).toBe(true)
  })

  it('begins a session whose claims stand for its time and no longer', async () => {
    await begin('bob')
    place.clock.move(7_200_000)
    const entered = await door.spend(await issue())
    if (entered.outcome !== 'entered') throw new Error(entered.outcome)
    const { secret, session } = await one.sessions.begin(entered.signedIn, browserOrigin)
    expect(session.claims.at).toBe(place.clock.now() - 7_200_000)
    for (const minute of [1, 11, 21, 29]) {
      place.clock.move(minute === 1 ? 60_000 : minute === 29 ? 480_000 : 600_000)
      const found = await one.sessions.findByAccessSecret(secret)
      expect(found).toMatchObject({ state: 'live', claimsState: 'fresh' })
      one.sessions.recordUse(session)
    }
    place.clock.move(60_000)
    expect(await one.sessions.findByAccessSecret(secret)).toMatchObject({ state: 'expired' })
    expect(one.refreshCalls()).toBe(0)
  })

  it('follows the provider’s rules again once the person has signed in there', async () => {
    await begin('bob')
    const entered = await door.spend(await issue())
    if (entered.outcome !== 'entered') throw new Error(entered.outcome)
    const { secret, session } = await one.sessions.begin(entered.signedIn, browserOrigin)
    await one.sessions.continueWith(session, signedInAs('bob'))
    place.clock.move(660_000)
    await one.sessions.findByAccessSecret(secret)
    expect(one.refreshCalls()).toBe(1)
  })

  it('is in the trail before there is a code, and refused where the trail cannot be written', async () => {
    await begin('bob')
    await issue()
    expect(events).toEqual([
      {
        event: 'break_glass.issued',
        actor: admin,
        issuer,
        sub: 'bob',
        email: 'bob@corp.example',
        until: place.clock.now() + 1_800_000,
        reason: order.reason,
      },
    ])
    isWritable = false
    await expect(desk.issue(order)).rejects.toMatchObject({ code: 'audit_unavailable' })
  })

  it('names nobody who is locked or was never here, and says why', async () => {
    expect(await desk.issue(order)).toMatchObject({ outcome: 'refused', message: expect.stringContaining('never signed in') })
    await begin('bob')
    await access.orders.lock({ on: 'subject', name: 'bob', until: undefined, reason: 'left' }, admin)
    expect(await desk.issue(order)).toMatchObject({ outcome: 'refused', message: expect.stringContaining('locked') })
    expect(events.map(({ event }) => event)).toEqual(['lock.set'])
  })

  it('is worth nothing once the person is locked, or all of theirs was ended, after it was issued', async () => {
    await begin('bob')
    const [locked, ended] = [await issue(), await issue()]
    await access.orders.revoke({ sessions: undefined, subject: 'bob', reason: undefined }, admin)
    expect(await door.spend(ended)).toEqual({ outcome: 'overtaken' })
    await access.orders.lock({ on: 'subject', name: 'bob', until: undefined, reason: 'left' }, admin)
    expect(await door.spend(locked)).toEqual({ outcome: 'locked' })
  })

  it('lasts ten minutes', async () => {
    await begin('bob')
    const code = await issue()
    place.clock.move(599_999)
    expect(await door.find(code)).toBeDefined()
    place.clock.move(1)
    expect(await door.spend(code)).toEqual({ outcome: 'unknown' })
    expect(await door.spend('x')).toEqual({ outcome: 'unknown' })
  })

  it('keeps no code in the store', async () => {
    await begin('bob')
    const code = await issue()
    expect(await place.store.loadRecord(`break_glass:${code}`)).toBeUndefined()
    expect(await findSubject(access.people, [issuer], 'bob')).toMatchObject({ outcome: 'found' })
  })
})
