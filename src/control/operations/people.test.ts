/** Operations on people, sessions, locks and devices, on both real stores: what they hand out, the forms that programs know, and who is left alone. */

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Asker, type Permission, permissionsByRole, type Role } from '../../administration/asker.ts'
import { define } from '../../administration/devices.fixture.ts'
import { refOf } from '../../administration/person-ref.ts'
import { createTrailWindow } from '../../administration/trail-window.ts'
import { createEnvironmentReader } from '../../attributes/environment-facts.ts'
import { type Access, composeAccess } from '../../compose-access.ts'
import { type ComposedPeople, composePeople } from '../../compose-people.ts'
import type { InstanceConfiguration } from '../../config/instance.ts'
import { PosternError } from '../../errors.ts'
import {
  browserOrigin,
  createTestRing,
  createTestSessions,
  openEmbeddedPlace,
  openRedisPlace,
  type StorePlace,
  signedInAs,
  silentLog,
  type TestSessions,
} from '../../session/session.fixture.ts'
import { hashSessionId, recordNames } from '../../session/session-record.ts'
import { testApps } from '../control-plane.fixture.ts'
import { createCarryOut } from './carry-out.ts'
import type { AnyOperation, Outcome } from './operation.ts'

const issuer = 'https://op.corp.example'
const carryOut = createCarryOut()
const askerOf = (role: Role): Asker => ({
  actor: `person:${role}`,
  label: role,
  subject: { issuer, sub: role },
  roles: [role],
  permissions: permissionsByRole[role],
})
const tokenWith = (...permissions: Permission[]): Asker => ({
  actor: 'token:abcdefghijkl',
  label: 'a program',
  subject: undefined,
  roles: [],
  permissions: new Set(permissions),
})

async function collect<T>(all: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = []
  for await (const each of all) found.push(each)
  return found
}

describe.each([
  ['embedded', openEmbeddedPlace],
  ['redis', openRedisPlace],
] as const)('over the %s store', (_, openPlace) => {
  let place: StorePlace
  let one: TestSessions
  let access: Access
  let theme: ComposedPeople
  const reads: unknown[] = []
  let isWritable = true

  beforeAll(async () => {
    place = await openPlace()
    const ring = createTestRing()
    one = createTestSessions(place, ring)
    const provider = {
      issuer: new URL(issuer),
      claims: { groups: [['groups']], deviceId: ['device'], posture: new Map() },
      groups: { stripPrefix: '', names: new Map() },
      groupsWhenMissing: 'unknown',
      email: 'verified',
    }
    // Of a configuration only this much is looked at.
    const configuration = { session: { idleTimeoutSeconds: 1_800, lifetimeSeconds: 43_200 }, provider } as unknown as InstanceConfiguration
    access = composeAccess({
      ...{ configuration, store: place.store, keys: () => ring, log: silentLog, now: () => Math.floor(place.clock.now()) },
      ends: one.sessions,
      record: () => undefined,
    })
    const policy = { apps: testApps(), services: [], levels: [], rules: [] }
    theme = composePeople({
      ...{ configuration, access, live: one.live, log: silentLog, now: place.clock.now, carryOut },
      roles: { rolesOf: async (subject) => (subject.kind === 'person' && subject.sub === 'ada' ? ['admin'] : []) },
      policy: () => policy,
      readEnvironment: createEnvironmentReader({}),
      trail: createTrailWindow({ window: undefined, monotonicNow: () => performance.now() }),
      connections: { countOpen: () => Promise.reject(new Error('no instance answers')) },
      async recordFirst(event) {
        if (!isWritable) throw new PosternError('audit_unavailable', 'no room')
        reads.push(event)
      },
    })
  })
  afterAll(async () => {
    await theme.close()
    await one.sessions.close()
    await place.close()
  })

  const operation = (id: string): AnyOperation => {
    const found = theme.operations.find((each) => each.id === id)
    if (found === undefined) throw new Error(`no operation ${id}`)
    return found
  }
  /** Whatever an operation gives has to be what it says that it gives. */
  async function ask(id: string, input: unknown, asker: Asker): Promise<Outcome<Record<string, unknown>>> {
    const outcome = await carryOut(operation(id), input, asker)
    if (outcome.outcome === 'done') operation(id).output.parse(outcome.value)
    return outcome as Outcome<Record<string, unknown>>
  }
  const begin = async (sub: string) => (await one.sessions.begin(signedInAs(sub), browserOrigin)).session
  const stateOf = async (id: string) => (await one.sessions.findById(id)).state

  it('names every operation, path and permission once', () => {
    const ids = theme.operations.map(({ id }) => id)
    const places = theme.operations.map(({ method, path }) => `${method} ${path}`)
    expect([new Set(ids).size, new Set(places).size]).toEqual([ids.length, places.length])
    expect(places).toEqual(
      expect.arrayContaining(['GET /locks', 'POST /locks', 'DELETE /locks/{on}/{name}', 'GET /sessions', 'POST /sessions/revoke']),
    )
  })

  it('lists sessions in the form that programs know', async () => {
    const session = await begin('bob')
    const known = await access.orders.listSessions('bob')
    if (known.outcome === 'refused') throw new Error(known.message)
    const outcome = await ask('sessions.list', { subject: 'bob@corp.example' }, tokenWith('sessions:read'))
    expect(outcome).toEqual({ outcome: 'done', value: { sessions: await collect(known.value), truncated: false } })
    expect(JSON.stringify(outcome)).toContain(session.id)
    expect(reads.at(-1)).toEqual({
      event: 'data.read',
      actor: 'token:abcdefghijkl',
      what: 'sessions',
      target: 'bob@corp.example',
      entries: 1,
    })
    expect(await ask('sessions.list', { subject: 'nobody@corp.example' }, tokenWith('sessions:read'))).toMatchObject({
      problem: 'subject_never_seen',
    })
    expect(await ask('sessions.list', { subjekt: 'bob' }, tokenWith('sessions:read'))).toMatchObject({ problem: 'malformed' })
  })

  it('hands nothing out that is not on record', async () => {
    isWritable = false
    for (const [id, input] of [
      ['people.list', {}],
      ['people.get', { ref: refOf({ issuer, sub: 'bob' }) }],
      ['sessions.list', {}],
      ['sessions.search', {}],
      ['devices.list', {}],
    ] as const) {
      await expect(ask(id, input, askerOf('admin'))).rejects.toMatchObject({ code: 'audit_unavailable' })
    }
    isWritable = true
  })

  it('gives a person whole, without a token of theirs', async () => {
    await begin('alice')
    const outcome = await ask('people.get', { ref: refOf({ issuer, sub: 'alice' }) }, askerOf('auditor'))
    expect(outcome).toMatchObject({
      outcome: 'done',
      value: { sub: 'alice', email: 'alice@corp.example', groups: ['staff'], is_admin: false, lock: null, sessions: [{ sub: 'alice' }] },
    })
    expect(JSON.stringify(outcome)).not.toMatch(/(id|access|refresh)-alice/)
  })

  it('ends all of a person, also where nobody can say how much is open', async () => {
    const sessions = [await begin('ben'), await begin('ben')]
    const outcome = await ask('people.revoke', { ref: refOf({ issuer, sub: 'ben' }) }, askerOf('helpdesk'))
    expect(outcome).toMatchObject({
      outcome: 'done',
      value: { revoked: expect.arrayContaining(sessions.map(({ id }) => id)), connections: null },
    })
    expect(await Promise.all(sessions.map(({ id }) => stateOf(id)))).toEqual(['ended', 'ended'])
  })

  it('lets the helpdesk end nothing of an admin, by address, by sub, or by an id among others', async () => {
    const [adas, bobs] = [await begin('ada'), await begin('bob')]
    for (const order of [{ subject: 'ada' }, { subject: 'Ada@corp.example' }, { sessions: [adas.id] }, { sessions: [bobs.id, adas.id] }]) {
      expect(await ask('sessions.revoke', order, askerOf('helpdesk'))).toMatchObject({ problem: 'target_protected' })
    }
    expect([await stateOf(adas.id), await stateOf(bobs.id)]).toEqual(['live', 'live'])
    expect(await ask('sessions.revoke', { sessions: [bobs.id] }, askerOf('helpdesk'))).toMatchObject({
      value: { revoked: [bobs.id], ended_before: [], unknown: [] },
    })
    expect(await ask('sessions.revoke', { sessions: [adas.id] }, tokenWith('sessions:revoke'))).toMatchObject({ outcome: 'done' })
    expect(await stateOf(adas.id)).toBe('ended')
  })

  it('lets the helpdesk lift what the helpdesk locked, and nothing that an admin, a program or a command did', async () => {
    await begin('lee')
    const ref = refOf({ issuer, sub: 'lee' })
    const order = { on: 'subject', name: 'lee', reason: 'r' }
    const mayLift = async (role: Role) => {
      const seen = await ask('people.get', { ref }, askerOf(role))
      return seen.outcome === 'done' && seen.value['may_lift']
    }
    for (const set of [
      () => ask('locks.set', order, askerOf('admin')),
      () => ask('people.lock', { ref, reason: 'r' }, askerOf('admin')),
      () => ask('locks.set', order, tokenWith('locks:write')),
      () => access.orders.lock({ ...order, until: undefined }, 'os:root@bastion'),
    ]) {
      expect(await set()).toMatchObject({ outcome: 'done' })
      for (const [id, input] of [
        ['locks.lift', order],
        ['people.unlock', { ref, reason: 'r' }],
        ['locks.set', { ...order, until: '1s' }],
        ['people.lock', { ref, reason: 'r', until: '1s' }],
      ] as const) {
        expect(await ask(id, input, askerOf('helpdesk')), id).toMatchObject({ outcome: 'refused', problem: 'target_protected' })
      }
      expect([await mayLift('helpdesk'), await mayLift('admin')]).toEqual([false, true])
      expect(await ask('locks.lift', order, askerOf('admin'))).toMatchObject({ outcome: 'done' })
    }
    for (const [lock, unlock] of [
      [() => ask('locks.set', order, askerOf('helpdesk')), () => ask('people.unlock', { ref, reason: 'r' }, askerOf('helpdesk'))],
      [() => ask('people.lock', { ref, reason: 'r' }, askerOf('helpdesk')), () => ask('locks.lift', order, askerOf('helpdesk'))],
    ] as const) {
      expect(await lock()).toMatchObject({ outcome: 'done' })
      expect(await mayLift('helpdesk')).toBe(true)
      expect(await unlock()).toMatchObject({ outcome: 'done' })
    }
  })

  it('leaves a session alone whose record says nothing, unless an admin asks', async () => {
    const session = await begin('bob')
    const name = recordNames.session(hashSessionId(session.id))
    const record = await place.store.loadRecord(name)
    if (record === undefined) throw new Error('there is no record')
    await place.store.replaceRecord(name, { ...record, value: Buffer.from('changed by somebody') })
    expect(await ask('sessions.revoke', { sessions: [session.id] }, askerOf('helpdesk'))).toMatchObject({ problem: 'target_protected' })
    expect(await ask('sessions.revoke', { sessions: [session.id] }, askerOf('admin'))).toMatchObject({ outcome: 'done' })
  })

  it('locks and lifts in the form that programs know', async () => {
    const program = tokenWith('locks:write', 'locks:read')
    const locked = await ask('locks.set', { on: 'app', name: 'not-there-yet', reason: 'r', until: null }, program)
    expect(locked).toMatchObject({ value: { on: 'app', target: 'not-there-yet', until: null, by: 'token:abcdefghijkl' } })
    if (locked.outcome === 'refused') throw new Error(locked.message)
    expect(await ask('locks.list', {}, program)).toEqual({ outcome: 'done', value: { locks: [locked.value], truncated: false } })
    expect(await ask('locks.lift', { on: 'app', name: 'not-there-yet', reason: 'r' }, program)).toEqual({
      outcome: 'done',
      value: { on: 'app', target: 'not-there-yet', label: 'not-there-yet' },
    })
    expect(await ask('locks.lift', { on: 'app', name: 'not-there-yet', reason: 'r' }, program)).toMatchObject({ problem: 'not_locked' })
    expect(await ask('locks.set', { on: 'app', name: 'not-there-yet', reason: 'r' }, askerOf('admin'))).toMatchObject({
      problem: 'invalid_order',
    })
    expect(await ask('locks.set', { on: 'app', name: 'wiki', reason: 'r' }, tokenWith('locks:read'))).toMatchObject({
      problem: 'not_permitted',
    })
  })

  it('locks a person by reference whose sub is somebody else’s address', async () => {
    await begin('carol')
    await one.sessions.begin(
      signedInAs('carol@corp.example', { claims: Object.assign(Object.create(null), { sub: 'carol@corp.example' }) }),
      browserOrigin,
    )
    const ref = refOf({ issuer, sub: 'carol@corp.example' })
    expect(await ask('people.lock', { ref, reason: 'r', until: '1h' }, askerOf('helpdesk'))).toMatchObject({
      value: { target: 'carol@corp.example' },
    })
    expect(await access.locks.find({ kind: 'subject', issuer, sub: 'carol' })).toBeUndefined()
    expect(await access.locks.find({ kind: 'subject', issuer, sub: 'carol@corp.example' })).toBeDefined()
    expect(await ask('people.unlock', { ref, reason: 'over' }, askerOf('helpdesk'))).toMatchObject({ outcome: 'done' })
  })

  it('gives a device with what it is recognised by, and what is hidden of its key', async () => {
    await access.devices.register(define({ id: 'laptop-7', tags: ['finance'], attributes: { managed: 'true' } }), 'os:test@test')
    expect(await ask('devices.get', { id: 'laptop-7' }, askerOf('auditor'))).toMatchObject({
      value: { id: 'laptop-7', tags: ['finance'], attributes: [{ name: 'managed', value: true, source: 'inventory', is_too_old: false }] },
    })
    expect(await ask('devices.tag', { id: 'laptop-7', tags: ['a b'] }, askerOf('admin'))).toMatchObject({ problem: 'invalid_order' })
    expect(await ask('devices.block', { id: 'laptop-7', reason: 'lost' }, tokenWith('devices:block'))).toMatchObject({
      value: { status: 'blocked', connections: null },
    })
    expect(await ask('devices.list', { status: 'blocked' }, askerOf('helpdesk'))).toMatchObject({
      value: { entries: [{ id: 'laptop-7' }] },
    })
  })

  it('lets the helpdesk unblock what the helpdesk blocked, and nothing else', async () => {
    await access.devices.register(define({ id: 'laptop-7' }), 'os:test@test')
    const helpdesk = askerOf('helpdesk')
    const block = { id: 'laptop-7', reason: 'lost' }
    const refusal = { problem: 'target_protected', message: expect.stringContaining('not blocked by the helpdesk') }
    for (const asker of [askerOf('admin'), tokenWith('devices:block')]) {
      await ask('devices.block', block, asker)
      expect(await ask('devices.get', { id: 'laptop-7' }, helpdesk)).toMatchObject({ value: { may_act: false } })
      expect(await ask('devices.unblock', { id: 'laptop-7' }, helpdesk)).toMatchObject(refusal)
      // Its own block on top changes nothing about whose it is.
      await ask('devices.block', block, helpdesk)
      expect(await ask('devices.unblock', { id: 'laptop-7' }, helpdesk)).toMatchObject(refusal)
      expect(await ask('devices.unblock', { id: 'laptop-7' }, asker)).toMatchObject({ outcome: 'done' })
      await ask('devices.block', block, helpdesk)
      expect(await ask('devices.get', { id: 'laptop-7' }, helpdesk)).toMatchObject({ value: { may_act: true } })
      expect(await ask('devices.unblock', { id: 'laptop-7' }, helpdesk)).toMatchObject({ outcome: 'done' })
      // Whoever else blocks a device that the helpdesk blocked already means it.
      await ask('devices.block', block, helpdesk)
      await ask('devices.block', { ...block, reason: 'stolen' }, asker)
      expect(await access.devices.find('laptop-7')).toMatchObject({ status: { reason: 'stolen', by: asker.actor } })
      expect(await ask('devices.unblock', { id: 'laptop-7' }, helpdesk)).toMatchObject(refusal)
      expect(await ask('devices.unblock', { id: 'laptop-7' }, asker)).toMatchObject({ outcome: 'done' })
    }
  })
})
