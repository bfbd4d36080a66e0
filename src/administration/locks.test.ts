/** Locks: what holds, for how long, who hears of it, and what a second one, a lift and a broken record do. */

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { PosternError } from '../errors.ts'
import type { LockTarget } from '../live/lock.ts'
import { createTestRing, openEmbeddedPlace, type StorePlace } from '../session/session.fixture.ts'
import type { SessionStore, StoreEvent } from '../session/store.ts'
import { createDurableRecords } from './durable-records.ts'
import { createLocks, type LockEvent, type LockRecord, type Locks, type LocksParts } from './locks.ts'

const admin = 'os:ada@bastion'
const bob: LockTarget = { kind: 'subject', issuer: 'https://op.corp.example', sub: 'bob' }

describe('locks', () => {
  let place: StorePlace
  let locks: Locks
  let heard: (LockEvent | StoreEvent | 'confirmed')[]
  const ring = createTestRing()

  function open(changes: Partial<LocksParts> = {}, keys = ring): Locks {
    const store: SessionStore = {
      ...place.store,
      publish: async (event) => {
        heard.push(event)
        await place.store.publish(event)
      },
      confirmDurable: async () => void heard.push('confirmed'),
    }
    const records = createDurableRecords<LockRecord>('lock', { store, keys: () => keys, log: { error: () => undefined } })
    return createLocks({ records, store, record: (event) => void heard.push(event), ...changes })
  }
  beforeEach(async () => {
    place = await openEmbeddedPlace()
    heard = []
    locks = open()
  })
  afterEach(() => place.close())

  const wish = { target: bob, label: 'bob@corp.example', until: undefined, reason: 'left the company' }

  it('hold from the store’s clock on, for every instance, and say who set them and why', async () => {
    const lock = await locks.set({ ...wish, until: { inSeconds: 3_600 } }, admin)
    const since = place.clock.now()
    expect(lock).toEqual({ ...wish, since, until: since + 3_600_000, by: admin })
    expect(await open().loadAll()).toEqual([lock])
    expect(await open().find(bob)).toEqual(lock)
  })

  it('of an admin are neither changed nor lifted by the helpdesk, and those of the helpdesk by all of it and by admins', async () => {
    const helpdesk = { isByHelpdesk: true }
    await locks.set(wish, admin)
    heard = []
    expect(await locks.set({ ...wish, until: { inSeconds: 1 }, ...helpdesk }, 'person:sam')).toBe('not_theirs')
    expect(await locks.lift(bob, 'please', 'person:sam', helpdesk)).toBe('not_theirs')
    expect(await locks.find(bob)).toMatchObject({ by: admin, until: undefined })
    expect(heard).toEqual([])
    await locks.lift(bob, undefined, admin)
    await locks.set({ ...wish, ...helpdesk }, 'person:sam')
    expect(await open().find(bob)).toMatchObject({ by: 'person:sam', isByHelpdesk: true })
    expect(await locks.set({ ...wish, reason: 'still', ...helpdesk }, 'person:sue')).toMatchObject({ by: 'person:sue' })
    expect(await locks.lift(bob, 'found', 'person:sam', helpdesk)).toMatchObject({ target: bob })
    // What an admin sets anew is the admin's.
    await locks.set({ ...wish, ...helpdesk }, 'person:sam')
    await locks.set(wish, admin)
    expect(await locks.lift(bob, 'please', 'person:sam', helpdesk)).toBe('not_theirs')
    // One that is over stands in nobody's way, and of one that does not open nobody can tell.
    await locks.set({ ...wish, until: { inSeconds: 60 } }, admin)
    place.clock.move(61_000)
    expect(await locks.set({ ...wish, ...helpdesk }, 'person:sam')).toMatchObject({ by: 'person:sam' })
    const elsewhere = open({}, createTestRing())
    expect(await elsewhere.set({ ...wish, ...helpdesk }, 'person:sam')).toBe('not_theirs')
    expect(await elsewhere.lift(bob, 'please', 'person:sam', helpdesk)).toBe('not_theirs')
  })

  it('are in the trail, then told to instances, then confirmed by replicas', async () => {
    await locks.set(wish, admin)
    await locks.lift(bob, 'a mistake', admin)
    const facts = { actor: admin, on: 'subject', target: 'bob', label: 'bob@corp.example', until: undefined }
    const told = [{ kind: 'locks', detail: '' }, 'confirmed']
    expect(heard).toEqual([
      { event: 'lock.set', ...facts, reason: 'left the company' },
      ...told,
      { event: 'lock.lifted', ...facts, reason: 'a mistake' },
      ...told,
    ])
  })

  it('of a blocked device hold beside one that an administrator set, and each ends by itself', async () => {
    const laptop: LockTarget = { kind: 'device', id: 'laptop-7' }
    await locks.holdDevice({ id: 'laptop-7', name: 'Ada’s laptop' }, 'stolen', admin)
    expect(heard).toEqual([{ kind: 'locks', detail: '' }, 'confirmed'])
    expect(await locks.loadAll()).toMatchObject([{ target: laptop, label: 'Ada’s laptop', reason: 'stolen', by: admin }])
    await locks.set({ ...wish, target: laptop }, admin)
    expect(await locks.loadAll()).toHaveLength(2)
    await locks.lift(laptop, undefined, admin)
    expect(await locks.lift(laptop, undefined, admin)).toBeUndefined()
    expect(await locks.loadAll()).toMatchObject([{ reason: 'stolen' }])
    heard = []
    await locks.releaseDevice('laptop-7')
    await locks.releaseDevice('laptop-7')
    expect(heard).toEqual([{ kind: 'locks', detail: '' }, 'confirmed'])
    expect(await locks.loadAll()).toEqual([])
  })

  it('hold and are told also where the trail does not take the event', async () => {
    const record = () => Promise.reject(new PosternError('audit_unavailable', 'no room'))
    await expect(open({ record }).set(wish, admin)).rejects.toThrow('no room')
    expect(heard).toEqual([{ kind: 'locks', detail: '' }, 'confirmed'])
    expect(await locks.find(bob)).toMatchObject({ reason: 'left the company' })
  })

  it('end by themselves at their time exactly', async () => {
    const until = place.clock.now() + 1_000
    await locks.set({ ...wish, until: { at: until } }, admin)
    place.clock.move(999)
    expect(await locks.loadAll()).toHaveLength(1)
    place.clock.move(1)
    expect(await locks.loadAll()).toEqual([])
    expect(await locks.find(bob)).toBeUndefined()
  })

  it('are not set for a time that is over', async () => {
    expect(await locks.set({ ...wish, until: { at: place.clock.now() } }, admin)).toBeUndefined()
    expect(heard).toEqual([])
    expect(await locks.loadAll()).toEqual([])
  })

  it('on the same thing change the one that there is', async () => {
    await locks.set(wish, admin)
    await locks.set({ ...wish, until: { inSeconds: 60 }, reason: 'for a minute' }, 'token:abc')
    expect(await locks.loadAll()).toMatchObject([{ reason: 'for a minute', by: 'token:abc', until: place.clock.now() + 60_000 }])
  })

  it('on things of one name stand beside each other', async () => {
    const targets: LockTarget[] = [
      { kind: 'app', id: 'bob' },
      { kind: 'service', name: 'bob' },
      { kind: 'device', id: 'bob' },
      bob,
      { ...bob, issuer: 'https://other.example' },
    ]
    for (const target of targets) await locks.set({ ...wish, target }, admin)
    expect((await locks.loadAll()).map(({ target }) => target)).toEqual(expect.arrayContaining(targets))
    await locks.lift({ kind: 'app', id: 'bob' }, undefined, admin)
    expect(await locks.find(bob)).toBeDefined()
    expect(await locks.loadAll()).toHaveLength(4)
  })

  it('are swept a day after their time, and never one that was set anew', async () => {
    await locks.set({ ...wish, until: { inSeconds: 1 } }, admin)
    await locks.set({ ...wish, target: { kind: 'app', id: 'wiki' }, until: { inSeconds: 1 } }, admin)
    place.clock.move(86_402_000)
    await locks.set(wish, admin)
    expect(await place.store.listDurable('lock', undefined, 10)).toHaveLength(1)
    expect(await locks.find(bob)).toMatchObject({ until: undefined })
  })

  it('that do not open are never taken for none, and can be lifted or set anew by who names what they are on', async () => {
    await locks.set(wish, admin)
    const other = open({}, createTestRing())
    await expect(other.loadAll()).rejects.toMatchObject({ code: 'record_unreadable' })
    await expect(other.find(bob)).rejects.toMatchObject({ code: 'record_unreadable' })
    expect(await other.lift(bob, undefined, admin)).toEqual({ target: bob, label: 'bob' })
    expect(await other.loadAll()).toEqual([])
    await locks.set(wish, admin)
    await other.set(wish, admin)
    expect(await other.find(bob)).toBeDefined()
  })

  it('that are not there cannot be lifted', async () => {
    expect(await locks.lift(bob, undefined, admin)).toBeUndefined()
    expect(heard).toEqual([])
  })

  it('by ten administrators at once leave one', async () => {
    await Promise.all(Array.from({ length: 10 }, (_, n) => open().set({ ...wish, reason: `order ${n}` }, admin)))
    expect(await locks.loadAll()).toHaveLength(1)
  })
})
