/**
 * The contract of `SessionStore`: one suite that every adapter must pass, with movable time.
 *
 * Time moves by a hook of the store's own clock, so that no test waits for an expiry and none depends on the machine's clock.
 */

import { createHash, randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { SessionStore } from '../session/store.ts'
import { liveStoreContract } from './live-store.contract.ts'
import { windowStoreContract } from './window-store.contract.ts'

/** A fresh store and the hook of its clock. */
export interface StoreUnderTest {
  readonly store: SessionStore
  /** Where events are listened to, if not there: behind a control socket it is the instance that listens. */
  readonly listening?: SessionStore
  /** Moves the store's clock forward. */
  moveTime(milliseconds: number): void
  close(): Promise<void>
}

/** Runs the whole contract against what `makeStore` makes. */
export function storeContract(name: string, makeStore: () => Promise<StoreUnderTest>): void {
  liveStoreContract(name, makeStore)
  windowStoreContract(name, makeStore)
  describe(`${name} keeps the store contract`, () => {
    let under: StoreUnderTest
    let store: SessionStore
    beforeAll(async () => {
      under = await makeStore()
      store = under.store
    })
    afterAll(() => under.close())

    const fresh = (kind = 'session') => `${kind}:${randomBytes(32).toString('base64url')}`
    const hash = (text: string) => createHash('sha256').update(text).digest('base64url')
    const value = (text: string) => Buffer.from(text)
    const inSeconds = async (seconds: number) => (await store.loadNow()) + seconds * 1000

    describe('records', () => {
      it('returns what was created, with version 1 and its expiry', async () => {
        const record = fresh()
        const expiresAt = await inSeconds(60)
        const bytes = Buffer.concat([randomBytes(5000), Buffer.from([0, 10, 13, 32, 255])])
        expect(await store.createRecord(record, bytes, expiresAt)).toBe(true)
        expect(await store.loadRecord(record)).toEqual({ value: bytes, version: 1, expiresAt })
      })

      it('never creates over a living record', async () => {
        const record = fresh()
        await store.createRecord(record, value('first'), await inSeconds(60))
        expect(await store.createRecord(record, value('second'), await inSeconds(60))).toBe(false)
        expect((await store.loadRecord(record))?.value.toString()).toBe('first')
      })

      it('lets one of 50 parallel creators win', async () => {
        const record = fresh('once')
        const expiresAt = await inSeconds(60)
        const results = await Promise.all(Array.from({ length: 50 }, () => store.createRecord(record, value(''), expiresAt)))
        expect(results.filter(Boolean)).toHaveLength(1)
      })

      it('refuses to create what has already expired', async () => {
        const record = fresh()
        expect(await store.createRecord(record, value('x'), await inSeconds(-5))).toBe(false)
        expect(await store.loadRecord(record)).toBeUndefined()
      })

      it('forgets a record at its expiry, and lets the name be used again', async () => {
        const record = fresh()
        await store.createRecord(record, value('old'), await inSeconds(60))
        under.moveTime(59_000)
        expect((await store.loadRecord(record))?.value.toString()).toBe('old')
        under.moveTime(1_001)
        expect(await store.loadRecord(record)).toBeUndefined()
        expect(await store.takeRecord(record)).toBeUndefined()
        expect(await store.replaceRecord(record, { value: value('late'), version: 1, expiresAt: await inSeconds(60) })).toBe(false)
        expect(await store.createRecord(record, value('new'), await inSeconds(60))).toBe(true)
        expect((await store.loadRecord(record))?.value.toString()).toBe('new')
      })

      it('replaces only the version that was read', async () => {
        const record = fresh()
        const expiresAt = await inSeconds(60)
        await store.createRecord(record, value('1'), expiresAt)
        expect(await store.replaceRecord(record, { value: value('2'), version: 1, expiresAt: expiresAt + 5 })).toBe(true)
        expect(await store.replaceRecord(record, { value: value('3'), version: 1, expiresAt })).toBe(false)
        expect(await store.loadRecord(record)).toEqual({ value: value('2'), version: 2, expiresAt: expiresAt + 5 })
      })

      it('lets one of 50 parallel replacements of a version win', async () => {
        const record = fresh()
        const expiresAt = await inSeconds(60)
        await store.createRecord(record, value('0'), expiresAt)
        const results = await Promise.all(
          Array.from({ length: 50 }, (_, i) => store.replaceRecord(record, { value: value(String(i)), version: 1, expiresAt })),
        )
        expect(results.filter(Boolean)).toHaveLength(1)
        expect((await store.loadRecord(record))?.version).toBe(2)
      })

      it('never creates by replacing', async () => {
        const unknown = fresh()
        expect(await store.replaceRecord(unknown, { value: value('x'), version: 1, expiresAt: await inSeconds(60) })).toBe(false)
        expect(await store.replaceRecord(unknown, { value: value('x'), version: 0, expiresAt: await inSeconds(60) })).toBe(false)
        expect(await store.loadRecord(unknown)).toBeUndefined()
        const removed = fresh()
        await store.createRecord(removed, value('x'), await inSeconds(60))
        await store.removeRecord(removed)
        expect(await store.replaceRecord(removed, { value: value('y'), version: 1, expiresAt: await inSeconds(60) })).toBe(false)
        expect(await store.loadRecord(removed)).toBeUndefined()
      })

      it('gives a record to one of 50 parallel takers', async () => {
        const record = fresh('hand_off')
        await store.createRecord(record, value('ticket'), await inSeconds(30))
        const results = await Promise.all(Array.from({ length: 50 }, () => store.takeRecord(record)))
        const taken = results.filter((result) => result !== undefined)
        expect(taken).toHaveLength(1)
        expect(taken[0]?.value.toString()).toBe('ticket')
        expect(await store.loadRecord(record)).toBeUndefined()
      })

      it('removes, also what is not there', async () => {
        const record = fresh()
        await store.createRecord(record, value('x'), await inSeconds(60))
        await store.removeRecord(record)
        await store.removeRecord(record)
        expect(await store.loadRecord(record)).toBeUndefined()
      })

      it('keeps names with odd bytes apart (A282)', async () => {
        const odd = [
          'session:*',
          'session:?',
          'session:[a]',
          'session:\r\nDEL x',
          'session:{}',
          'session:{other}',
          'session:a:b',
          'session:a b',
          "session:'",
          'session:"',
          'session:\u0000',
          'session:\u0000x',
          'session:é',
          'session:',
          '../x',
        ]
        const tail = randomBytes(6).toString('hex')
        const expiresAt = await inSeconds(60)
        for (const name of odd) expect(await store.createRecord(name + tail, value(name), expiresAt)).toBe(true)
        for (const name of odd) expect((await store.loadRecord(name + tail))?.value.toString()).toBe(name)
        await store.removeRecord(`session:*${tail}`)
        for (const name of odd.slice(1)) expect(await store.loadRecord(name + tail)).toBeDefined()
      })

      it('keeps records, indexes and locks of one name apart', async () => {
        const name = fresh()
        await store.addToIndex(name, 'member', await inSeconds(60))
        expect(await store.acquireLock(name, 60)).toBeDefined()
        expect(await store.createRecord(name, value('x'), await inSeconds(60))).toBe(true)
        expect(await store.loadIndex(name)).toEqual(['member'])
      })
    })

    describe('indexes', () => {
      it('lists members until they are removed or expire', async () => {
        const index = fresh('subject')
        expect(await store.loadIndex(index)).toEqual([])
        await store.addToIndex(index, 'short', await inSeconds(10))
        await store.addToIndex(index, 'long', await inSeconds(100))
        await store.addToIndex(index, 'removed', await inSeconds(100))
        await store.removeFromIndex(index, 'removed')
        expect(new Set(await store.loadIndex(index))).toEqual(new Set(['long', 'short']))
        under.moveTime(10_001)
        expect(await store.loadIndex(index)).toEqual(['long'])
        under.moveTime(90_000)
        expect(await store.loadIndex(index)).toEqual([])
      })

      it('keeps the later expiry of a member that is added twice', async () => {
        const index = fresh('subject')
        await store.addToIndex(index, 'm', await inSeconds(100))
        await store.addToIndex(index, 'm', await inSeconds(10))
        under.moveTime(50_000)
        expect(await store.loadIndex(index)).toEqual(['m'])
      })

      it('adds nothing that has already expired', async () => {
        const index = fresh('subject')
        await store.addToIndex(index, 'm', await inSeconds(-1))
        expect(await store.loadIndex(index)).toEqual([])
      })

      it('loses no member to 50 parallel additions', async () => {
        const index = fresh('subject')
        const expiresAt = await inSeconds(60)
        await Promise.all(Array.from({ length: 50 }, (_, i) => store.addToIndex(index, `m${i}`, expiresAt)))
        expect(await store.loadIndex(index)).toHaveLength(50)
      })
    })

    describe('ends', () => {
      it('records all of them at one instant of the store’s clock and answers in the order asked', async () => {
        const [session, subject, other] = [hash(fresh()), hash(fresh()), hash(fresh())]
        const before = await store.loadNow()
        const at = await store.recordEnds(
          [
            { kind: 'session', idHash: session, cause: 'revoked' },
            { kind: 'subject', idHash: subject, cause: 'back_channel' },
          ],
          3600,
        )
        const after = await store.loadNow()
        expect(at).toBeGreaterThanOrEqual(before)
        expect(at).toBeLessThanOrEqual(after)
        expect(
          await store.loadEnds([
            { kind: 'subject', idHash: subject },
            { kind: 'subject', idHash: session },
            { kind: 'session', idHash: session },
            { kind: 'session', idHash: other },
          ]),
        ).toEqual([
          { kind: 'subject', idHash: subject, at, cause: 'back_channel' },
          undefined,
          { kind: 'session', idHash: session, at, cause: 'revoked' },
          undefined,
        ])
        expect(await store.loadEnds([])).toEqual([])
      })

      it('lets the later end of the same thing win', async () => {
        const idHash = hash(fresh())
        const first = await store.recordEnds([{ kind: 'subject', idHash, cause: 'revoked' }], 3600)
        under.moveTime(5_000)
        const second = await store.recordEnds([{ kind: 'subject', idHash, cause: 'signed_out' }], 3600)
        expect(second).toBeGreaterThanOrEqual(first + 5_000)
        expect(await store.loadEnds([{ kind: 'subject', idHash }])).toEqual([{ kind: 'subject', idHash, at: second, cause: 'signed_out' }])
      })

      it('never moves an end back when the clock does', async () => {
        const idHash = hash(fresh())
        const first = await store.recordEnds([{ kind: 'subject', idHash, cause: 'revoked' }], 3600)
        under.moveTime(-60_000)
        await store.recordEnds([{ kind: 'subject', idHash, cause: 'signed_out' }], 3600)
        under.moveTime(60_000)
        expect(await store.loadEnds([{ kind: 'subject', idHash }])).toEqual([{ kind: 'subject', idHash, at: first, cause: 'revoked' }])
      })

      it('keeps an end for as long as was asked, and clears it away after', async () => {
        const [long, short] = [hash(fresh()), hash(fresh())]
        await store.recordEnds([{ kind: 'session', idHash: long, cause: 'revoked' }], 100)
        await store.recordEnds([{ kind: 'session', idHash: short, cause: 'revoked' }], 10)
        under.moveTime(50_000)
        await store.recordEnds([{ kind: 'session', idHash: hash(fresh()), cause: 'revoked' }], 10)
        const [keptEnd, goneEnd] = await store.loadEnds([
          { kind: 'session', idHash: long },
          { kind: 'session', idHash: short },
        ])
        expect(keptEnd?.cause).toBe('revoked')
        expect(goneEnd).toBeUndefined()
      })
    })

    describe('locks', () => {
      it('holds for one of 50 parallel callers until its time is over', async () => {
        const lock = fresh('refresh')
        const tokens = await Promise.all(Array.from({ length: 50 }, () => store.acquireLock(lock, 10)))
        expect(tokens.filter((token) => token !== undefined)).toHaveLength(1)
        under.moveTime(10_001)
        expect(await store.acquireLock(lock, 10)).toBeDefined()
      })

      it('is renewed and released by its token alone', async () => {
        const lock = fresh('refresh')
        const token = (await store.acquireLock(lock, 10)) ?? ''
        expect(await store.renewLock(lock, 'another', 10)).toBe(false)
        under.moveTime(8_000)
        expect(await store.renewLock(lock, token, 10)).toBe(true)
        under.moveTime(8_000)
        await store.releaseLock(lock, 'another')
        expect(await store.acquireLock(lock, 10)).toBeUndefined()
        await store.releaseLock(lock, token)
        expect(await store.acquireLock(lock, 10)).toBeDefined()
      })

      it('tells a holder that came too late', async () => {
        const lock = fresh('refresh')
        const first = (await store.acquireLock(lock, 10)) ?? ''
        under.moveTime(10_001)
        expect(await store.renewLock(lock, first, 10)).toBe(false)
        const second = await store.acquireLock(lock, 10)
        expect(second).toBeDefined()
        await store.releaseLock(lock, first)
        expect(await store.acquireLock(lock, 10)).toBeUndefined()
      })
    })

    describe('durable records', () => {
      /** A kind of its own, so that a listing holds what this test wrote and nothing else. */
      const freshKind = () => `kind_${randomBytes(6).toString('hex')}`

      it('keeps what was created, byte for byte, however much time goes by', async () => {
        const name = fresh(freshKind())
        const bytes = Buffer.concat([randomBytes(5000), Buffer.from([0, 10, 13, 32, 255])])
        expect(await store.loadDurable(name)).toBeUndefined()
        expect(await store.createDurable(name, bytes)).toBe(true)
        under.moveTime(1_000 * 86_400_000)
        expect(await store.loadDurable(name)).toEqual({ value: bytes, version: 1 })
        expect(await store.createDurable(name, value('second'))).toBe(false)
        expect(await store.loadDurable(name)).toEqual({ value: bytes, version: 1 })
      })

      it('keeps an empty value', async () => {
        const name = fresh(freshKind())
        expect(await store.createDurable(name, Buffer.alloc(0))).toBe(true)
        expect(await store.loadDurable(name)).toEqual({ value: Buffer.alloc(0), version: 1 })
      })

      it('replaces only the version that was read, and never creates by replacing', async () => {
        const name = fresh(freshKind())
        expect(await store.replaceDurable(name, { value: value('x'), version: 1 })).toBe(false)
        expect(await store.replaceDurable(name, { value: value('x'), version: 0 })).toBe(false)
        await store.createDurable(name, value('1'))
        expect(await store.replaceDurable(name, { value: value('2'), version: 1 })).toBe(true)
        expect(await store.replaceDurable(name, { value: value('3'), version: 1 })).toBe(false)
        expect(await store.loadDurable(name)).toEqual({ value: value('2'), version: 2 })
      })

      it('lets one of 50 parallel creators and one of 50 parallel replacements win', async () => {
        const name = fresh(freshKind())
        const created = await Promise.all(Array.from({ length: 50 }, (_, i) => store.createDurable(name, value(String(i)))))
        expect(created.filter(Boolean)).toHaveLength(1)
        const replaced = await Promise.all(
          Array.from({ length: 50 }, (_, i) => store.replaceDurable(name, { value: value(`r${i}`), version: 1 })),
        )
        expect(replaced.filter(Boolean)).toHaveLength(1)
        expect((await store.loadDurable(name))?.version).toBe(2)
      })

      it('removes, says whether there was something, and where a version is named only that one', async () => {
        const name = fresh(freshKind())
        expect(await store.removeDurable(name)).toBe(false)
        await store.createDurable(name, value('1'))
        await store.replaceDurable(name, { value: value('2'), version: 1 })
        expect(await store.removeDurable(name, 1)).toBe(false)
        expect(await store.removeDurable(name, 2)).toBe(true)
        expect(await store.loadDurable(name)).toBeUndefined()
        await store.confirmDurable()
        await store.createDurable(name, value('again'))
        expect(await store.loadDurable(name)).toEqual({ value: value('again'), version: 1 })
        expect(await store.removeDurable(name)).toBe(true)
        expect(await store.loadDurable(name)).toBeUndefined()
      })

      it('stays apart from a record of the same name, which may expire', async () => {
        const name = fresh(freshKind())
        await store.createDurable(name, value('durable'))
        expect(await store.createRecord(name, value('volatile'), await inSeconds(60))).toBe(true)
        await store.removeRecord(name)
        expect((await store.loadDurable(name))?.value.toString()).toBe('durable')
      })

      it('lists each of a kind exactly once, in batches, and nothing of another', async () => {
        const kind = freshKind()
        const names = Array.from({ length: 25 }, () => fresh(kind))
        await Promise.all(names.map((name) => store.createDurable(name, value(name))))
        // Neighbours in the order of names: a kind that begins alike, and one that follows.
        for (const other of [`${kind}_alias`, `${kind}0`, kind.slice(0, -1)]) await store.createDurable(fresh(other), value('other'))
        const listed: string[] = []
        for (let after: string | undefined; ; after = listed.at(-1)) {
          const batch = await store.listDurable(kind, after, 10)
          expect(batch.length).toBeLessThanOrEqual(10)
          if (batch.length === 0) break
          for (const record of batch) expect([record.value.toString(), record.version]).toEqual([record.name, 1])
          listed.push(...batch.map((record) => record.name))
        }
        expect(listed).toEqual([...names].sort())
        await store.removeDurable(names[3] ?? '')
        expect((await store.listDurable(kind, undefined, 100)).map((record) => record.name)).toEqual(
          listed.filter((name) => name !== names[3]),
        )
      })

      it('lists every kind where none is named', async () => {
        const [one, other] = [fresh(freshKind()), fresh(freshKind())]
        await store.createDurable(one, value('1'))
        await store.createDurable(other, value('2'))
        const listed = (await store.listDurable(undefined, undefined, 1_000)).map((record) => record.name)
        expect(listed).toEqual(expect.arrayContaining([one, other]))
        expect(listed).toEqual([...listed].sort())
      })
    })

    it('has a clock that moves with the hook, and is ready', async () => {
      const before = await store.loadNow()
      under.moveTime(7_000)
      expect((await store.loadNow()) - before).toBeGreaterThanOrEqual(7_000)
      await store.checkReady()
    })
  })
}
