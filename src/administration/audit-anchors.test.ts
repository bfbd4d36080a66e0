/** Anchors of audit chains over both stores. */

import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Anchor, Anchors } from '../audit/chain.ts'
import { createTestRing, openEmbeddedPlace, openRedisPlace, type StorePlace, silentLog } from '../session/session.fixture.ts'
import type { DurableStore } from '../session/store.ts'
import { createAuditAnchors } from './audit-anchors.ts'
import { listDurable } from './durable-records.ts'

describe.each([
  ['the embedded store', openEmbeddedPlace],
  ['Redis', openRedisPlace],
])('anchors on %s', (_, openPlace) => {
  let place: StorePlace
  let store: DurableStore
  let anchors: Anchors
  const ring = createTestRing()
  const keys = () => ring
  const over = (durable: DurableStore) => createAuditAnchors({ store: durable, keys, log: silentLog })

  beforeAll(async () => {
    place = await openPlace()
    store = place.store
  })
  afterAll(() => place.close())
  beforeEach(async () => {
    for await (const { name } of listDurable(store, undefined)) await store.removeDurable(name)
    anchors = over(store)
  })

  const anchor = (seq: number, chain = 'proxy-1-0'): Anchor => ({
    chain,
    seq,
    hash: `hash-of-${seq}`,
    segment: 1,
    at: 1_800_000_000_000 + seq,
  })

  async function listed(): Promise<readonly Anchor[]> {
    const all: Anchor[] = []
    for await (const one of anchors.list()) all.push(one)
    return all.sort((a, b) => (a.chain < b.chain ? -1 : 1))
  }

  it('are what was saved last, a chain each', async () => {
    expect(await anchors.load('proxy-1-0')).toBeUndefined()
    await anchors.save(anchor(10))
    await anchors.save(anchor(25))
    await anchors.save(anchor(3, 'proxy-2-0'))
    expect(await anchors.load('proxy-1-0')).toEqual(anchor(25))
    expect(await anchors.load('proxy-2-0')).toEqual(anchor(3, 'proxy-2-0'))
    expect(await listed()).toEqual([anchor(25), anchor(3, 'proxy-2-0')])
  })

  it('never go backwards, nor to another line of the same number', async () => {
    await anchors.save(anchor(25))
    await anchors.save(anchor(24))
    await anchors.save({ ...anchor(25), hash: 'another' })
    expect(await anchors.load('proxy-1-0')).toEqual(anchor(25))
  })

  it('are the furthest of many that are saved at once', async () => {
    const seqs = [7, 3, 9, 1, 8, 2, 6, 5, 4]
    await Promise.all(seqs.map((seq) => over(store).save(anchor(seq))))
    expect((await anchors.load('proxy-1-0'))?.seq).toBe(9)
  })

  it('keep what came between reading and writing if that is further', async () => {
    await anchors.save(anchor(1))
    let isFirst = true
    const racing: DurableStore = {
      ...store,
      replaceDurable: async (name, record) => {
        if (isFirst) {
          isFirst = false
          await anchors.save(anchor(50))
        }
        return store.replaceDurable(name, record)
      },
    }
    await over(racing).save(anchor(40))
    expect((await anchors.load('proxy-1-0'))?.seq).toBe(50)
  })

  it('are forgotten with their chain', async () => {
    await anchors.save(anchor(10))
    await anchors.save(anchor(11, 'proxy-2-0'))
    await anchors.remove('proxy-1-0')
    await anchors.remove('never-there')
    expect(await listed()).toEqual([anchor(11, 'proxy-2-0')])
    await anchors.save(anchor(1))
    expect((await anchors.load('proxy-1-0'))?.seq).toBe(1)
  })

  it('reject when the store does not answer', async () => {
    const away = { ...store, loadDurable: () => Promise.reject(new Error('away')) }
    await expect(over(away).save(anchor(1))).rejects.toThrow('away')
    await expect(over(away).load('proxy-1-0')).rejects.toThrow('away')
  })

  it('show no chain to who reads the store', async () => {
    await anchors.save(anchor(10))
    for await (const { name, value } of listDurable(store, undefined)) {
      expect(name).toMatch(/^audit_anchor:[\w-]{43}$/)
      expect(value.toString('latin1')).not.toMatch(/proxy|hash-of/)
    }
  })
})
