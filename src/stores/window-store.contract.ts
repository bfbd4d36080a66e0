/** The contract of `WindowStore`, part of that of every store. */

import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { SessionStore } from '../session/store.ts'
import type { StoreUnderTest } from './stores.contract.ts'

/** Runs it against what `makeStore` makes. */
export function windowStoreContract(name: string, makeStore: () => Promise<StoreUnderTest>): void {
  describe(`${name} keeps the contract of the recent window`, () => {
    let under: StoreUnderTest
    let store: SessionStore
    beforeAll(async () => {
      under = await makeStore()
      store = under.store
    })
    afterAll(() => under.close())

    const position = (number: number) => `${String(number).padStart(16, '0')}:x`
    const append = (number: number, entries: number, keep: number) =>
      store.appendWindow({ position: position(number), value: Buffer.from(`batch ${number}`), entries }, keep)
    const listed = async (before?: string, limit = 100) => (await store.listWindow(before, limit)).map((batch) => batch.position)

    it('is empty at first', async () => {
      expect(await store.listWindow(undefined, 10)).toEqual([])
    })

    it('lists batches highest first, whatever order they came in, page by page, with their bytes', async () => {
      for (const number of [3, 1, 5, 2, 4]) await append(number, 10, 1_000)
      expect(await listed()).toEqual([5, 4, 3, 2, 1].map(position))
      expect(await listed(undefined, 2)).toEqual([5, 4].map(position))
      expect(await listed(position(4), 2)).toEqual([3, 2].map(position))
      expect(await listed(`${position(4)}~`, 1)).toEqual([position(4)])
      expect(await listed(position(1))).toEqual([])
      const value = Buffer.concat([Buffer.from('12 '), randomBytes(70_000), Buffer.from([0, 10, 32])])
      await store.appendWindow({ position: position(6), value, entries: 1 }, 1_000)
      expect(await store.listWindow(undefined, 1)).toEqual([{ position: position(6), value }])
    })

    it('passes over a batch that it has, and counts it once', async () => {
      await store.appendWindow({ position: position(6), value: Buffer.from('again'), entries: 900 }, 1_000)
      expect((await store.listWindow(undefined, 1))[0]?.value.length).toBeGreaterThan(70_000)
      await append(7, 1, 52)
      expect(await listed()).toHaveLength(7)
    })

    it('lets the oldest leave as soon as enough remains without them', async () => {
      // 52 are there; without the oldest batch of ten, 47 would be.
      await append(8, 5, 48)
      expect(await listed()).toHaveLength(8)
      await append(9, 5, 48)
      expect(await listed()).toEqual([9, 8, 7, 6, 5, 4, 3, 2].map(position))
      await append(10, 30, 30)
      expect(await listed()).toEqual([position(10)])
    })

    it('keeps nothing that is older than all of a full window', async () => {
      await append(1, 5, 30)
      expect(await listed()).toEqual([position(10)])
    })

    it('loses no count to parallel appends', async () => {
      await Promise.all(Array.from({ length: 60 }, (_, index) => append(100 + index, 1, 50)))
      expect(await listed()).toHaveLength(50)
    })
  })
}
