/** Durable records over both stores: what is kept, how it is sealed, and what happens to one that does not open. */

import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { KeyRing } from '../keys.ts'
import { createTestRing, openEmbeddedPlace, openRedisPlace, type StorePlace } from '../session/session.fixture.ts'
import type { DurableStore } from '../session/store.ts'
import { createDurableRecords, type DurableRecords, listDurable } from './durable-records.ts'
import { resealDurable, startResealing } from './resealing.ts'

interface Laptop {
  readonly owner: string
}

const errors: string[] = []
const keep = (facts: object, text?: string) => void errors.push(`${text} ${JSON.stringify(facts)}`)
const log = { error: keep, warn: keep, info: () => undefined }

describe.each([
  ['the embedded store', openEmbeddedPlace],
  ['Redis', openRedisPlace],
])('durable records on %s', (_, openPlace) => {
  let place: StorePlace
  let store: DurableStore
  let ring: KeyRing
  let records: DurableRecords<Laptop>
  const keys = () => ring
  beforeAll(async () => {
    place = await openPlace()
    store = place.store
  })
  afterAll(() => place.close())
  beforeEach(async () => {
    for await (const { name } of listDurable(store, undefined)) await store.removeDurable(name)
    errors.length = 0
    ring = createTestRing()
    records = createDurableRecords('device', { store, keys, log })
  })

  /** What `keys rotate` does: another key seals, the one before still opens; and what retiring does: it does no longer. */
  function rotate(): () => void {
    const [current] = createTestRing().sealing.all.values()
    if (current === undefined) throw new Error('no key')
    ring = { ...ring, sealing: { current, all: new Map([[current.id, current], ...ring.sealing.all]) } }
    return () => {
      ring = { ...ring, sealing: { current, all: new Map([[current.id, current]]) } }
    }
  }
  async function listed(): Promise<Record<string, string>> {
    const all: Record<string, string> = {}
    for await (const { id, value } of records.list()) all[id] = value.owner
    return all
  }

  it('keep a value under its id, whatever that is made of, until it is removed', async () => {
    const ids = ['laptop-7', 'ünï', '../x', 'a:b', '__proto__', '']
    for (const id of ids) expect(await records.create(id, { owner: `owner of ${id}` })).toBe(true)
    expect(await records.create('laptop-7', { owner: 'mallory' })).toBe(false)
    for (const id of ids) expect(await records.load(id)).toEqual({ value: { owner: `owner of ${id}` }, version: 1 })
    place.clock.move(1_000 * 86_400_000)
    expect(await records.load('laptop-7')).toBeDefined()
    expect(await records.remove('laptop-7')).toBe(true)
    expect(await records.remove('laptop-7')).toBe(false)
    expect(await records.load('laptop-7')).toBeUndefined()
  })

  it('are replaced by compare-and-set alone', async () => {
    await records.create('a', { owner: 'alice' })
    expect(await records.replace('a', { owner: 'bob' }, 1)).toBe(true)
    expect(await records.replace('a', { owner: 'carol' }, 1)).toBe(false)
    expect(await records.replace('none', { owner: 'carol' }, 1)).toBe(false)
    expect(await records.load('a')).toEqual({ value: { owner: 'bob' }, version: 2 })
  })

  it('are listed in batches, each once, and only those of their kind', async () => {
    const others = createDurableRecords<Laptop>('token', { store, keys, log })
    await others.create('t', { owner: 'nobody' })
    const ids = Array.from({ length: 250 }, (__, i) => `laptop-${i}`)
    await Promise.all(ids.map((id) => records.create(id, { owner: id })))
    await records.setAlias('serial', 'S1', 'laptop-1')
    expect(await listed()).toEqual(Object.fromEntries(ids.map((id) => [id, id])))
  })

  it('show neither id nor value to who reads the store', async () => {
    await records.create('laptop-of-alice', { owner: 'alice' })
    await records.setAlias('serial', 'C02XK1', 'laptop-of-alice')
    for await (const { name, value } of listDurable(store, undefined)) {
      expect(name).toMatch(/^(?:device|device_alias):[\w-]{43}$/)
      expect(`${name}${value.toString('latin1')}`).not.toMatch(/alice|C02XK1|serial/)
    }
  })

  it('are an error that is said loudly where they do not open, never an absence', async () => {
    await records.create('blocked', { owner: 'alice' })
    await records.create('other', { owner: 'bob' })
    const [first, second] = await store.listDurable('device', undefined, 10)
    if (first === undefined || second === undefined) throw new Error('two records were written')
    // What somebody with access to the store may try: one record in place of another.
    await store.replaceDurable(first.name, second)
    const results = await Promise.allSettled([records.load('blocked'), records.load('other')])
    expect(results.map(({ status }) => status).sort((a, b) => (a < b ? -1 : 1))).toEqual(['fulfilled', 'rejected'])
    expect(results.find(({ status }) => status === 'rejected')).toMatchObject({ reason: { code: 'record_unreadable' } })
    expect(errors.join()).toContain(first.name)
  })

  it('come all the same in a listing where one does not open, which then fails', async () => {
    await records.create('a', { owner: 'alice' })
    await records.create('b', { owner: 'bob' })
    const whole = ring
    ring = createTestRing()
    await records.create('c', { owner: 'carol' })
    const seen: string[] = []
    const list = async () => {
      for await (const { id } of records.list()) seen.push(id)
    }
    await expect(list()).rejects.toMatchObject({ code: 'record_unreadable' })
    expect(seen).toEqual(['c'])
    expect(errors).toHaveLength(2)
    ring = whole
    expect(await records.remove('c')).toBe(true)
    expect(await listed()).toEqual({ a: 'alice', b: 'bob' })
  })

  it('are found by an alias, which leads to one record and is taken over by nobody', async () => {
    expect(await records.findByAlias('serial', 'S1')).toBeUndefined()
    expect(await records.setAlias('serial', 'S1', 'a')).toBe(true)
    expect(await records.setAlias('serial', 'S1', 'a')).toBe(true)
    expect(await records.setAlias('serial', 'S1', 'b')).toBe(false)
    expect(await records.findByAlias('serial', 'S1')).toBe('a')
    expect(await records.findByAlias('seria', 'lS1')).toBeUndefined()
    expect(await records.findByAlias('fingerprint', 'S1')).toBeUndefined()
    expect(await records.removeAlias('serial', 'S1', 'b')).toBe(false)
    expect(await records.removeAlias('serial', 'S1', 'a')).toBe(true)
    expect(await records.findByAlias('serial', 'S1')).toBeUndefined()
  })

  it('give one alias to one of many who ask at once', async () => {
    const results = await Promise.all(Array.from({ length: 20 }, (__, i) => records.setAlias('serial', 'S2', `laptop-${i}`)))
    expect(results.filter(Boolean)).toHaveLength(1)
  })

  it('outlive the key they were sealed with once they were read', async () => {
    await records.create('a', { owner: 'alice' })
    await records.setAlias('serial', 'S1', 'a')
    const retire = rotate()
    const loaded = await records.load('a')
    expect(await records.findByAlias('serial', 'S1')).toBe('a')
    retire()
    expect(await records.load('a')).toEqual(loaded)
    expect(await records.findByAlias('serial', 'S1')).toBe('a')
    expect(await records.replace('a', { owner: 'bob' }, loaded?.version ?? 0)).toBe(true)
  })

  it('are read although they cannot be sealed again', async () => {
    await records.create('a', { owner: 'alice' })
    rotate()
    const readOnly = { ...store, replaceDurable: () => Promise.reject(new Error('read only')) }
    const loaded = await createDurableRecords<Laptop>('device', { store: readOnly, keys, log }).load('a')
    expect(loaded).toEqual({ value: { owner: 'alice' }, version: 1 })
  })

  it('outlive the key they were sealed with after a sweep, each kind of them', async () => {
    const tokens = createDurableRecords<Laptop>('token', { store, keys, log })
    for (let i = 0; i < 130; i++) await records.create(`laptop-${i}`, { owner: 'alice' })
    await tokens.create('t', { owner: 'bob' })
    await records.setAlias('serial', 'S1', 'laptop-1')
    const retire = rotate()
    let turns = 0
    const count = () => {
      turns += 1
      timer = setImmediate(count)
    }
    let timer = setImmediate(count)
    expect(await resealDurable({ store, keys, log })).toEqual({ resealed: 132, unreadable: 0 })
    clearImmediate(timer)
    // Requests had their turn between any two records.
    expect(turns).toBeGreaterThanOrEqual(132)
    expect(await resealDurable({ store, keys, log })).toEqual({ resealed: 0, unreadable: 0 })
    retire()
    expect(Object.keys(await listed())).toHaveLength(130)
    expect(await tokens.load('t')).toMatchObject({ value: { owner: 'bob' } })
    expect(await records.findByAlias('serial', 'S1')).toBe('laptop-1')
    expect(errors).toEqual([])
  })

  it('are lost to a key that was retired before a sweep, and the sweep says so', async () => {
    await records.create('a', { owner: 'alice' })
    rotate()()
    await records.create('b', { owner: 'bob' })
    expect(await resealDurable({ store, keys, log })).toEqual({ resealed: 0, unreadable: 1 })
    expect(errors).toHaveLength(1)
  })

  it('keep what somebody else wrote while a sweep was under way', async () => {
    await records.create('a', { owner: 'alice' })
    rotate()
    const racing: DurableStore = {
      ...store,
      replaceDurable: async (name, record) => {
        await records.replace('a', { owner: 'bob' }, 1)
        return store.replaceDurable(name, record)
      },
    }
    expect(await resealDurable({ store: racing, keys, log })).toEqual({ resealed: 0, unreadable: 0 })
    expect((await records.load('a'))?.value).toEqual({ owner: 'bob' })
  })

  it('are swept at the start, again on request, and again after the store was away', async () => {
    await records.create('a', { owner: 'alice' })
    const retire = rotate()
    let isAway = true
    const shaky: DurableStore = {
      ...store,
      listDurable: (...args) => (isAway ? Promise.reject(new Error('away')) : store.listDurable(...args)),
    }
    const resealing = startResealing({ store: shaky, keys, log, retryMs: 10 })
    await expect.poll(() => errors.join()).toContain('trying again')
    isAway = false
    await expect.poll(async () => (await store.listDurable('device', undefined, 1))[0]?.version).toBe(2)
    retire()
    const retireAgain = rotate()
    resealing.request()
    await expect.poll(async () => (await store.listDurable('device', undefined, 1))[0]?.version).toBe(3)
    await resealing.close()
    retireAgain()
    expect(await listed()).toEqual({ a: 'alice' })
    expect(errors).toHaveLength(1)
  })
})
