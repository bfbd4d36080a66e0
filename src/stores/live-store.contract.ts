/**
 * The contract of `LiveStore`: all ends, and the stream of events that is also the heartbeat. Part of the suite that every adapter must pass.
 */

import { createHash, randomBytes } from 'node:crypto'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { End, SessionStore, StoreEvent, StoreEvents } from '../session/store.ts'
import type { StoreUnderTest } from './stores.contract.ts'

/** Runs it against what `makeStore` makes. */
export function liveStoreContract(name: string, makeStore: () => Promise<StoreUnderTest>): void {
  describe(`${name} keeps the contract of events`, () => {
    let under: StoreUnderTest
    let store: SessionStore
    const readers: StoreEvents[] = []
    beforeAll(async () => {
      under = await makeStore()
      store = under.store
    })
    afterEach(async () => {
      await Promise.all(readers.splice(0).map((reader) => reader.close()))
    })
    afterAll(() => under.close())

    const hash = () => createHash('sha256').update(randomBytes(16)).digest('base64url')
    const open = () => {
      const reader = (under.listening ?? store).openEvents()
      readers.push(reader)
      return reader
    }
    const lineOf = (end: Omit<End, 'at'>, at: number) => `${end.kind}:${end.idHash} ${at} ${end.cause}`
    /** Reads on until as many events have come, and expects no gap. */
    const readOn = async (reader: StoreEvents, from: string, count: number) => {
      const events: StoreEvent[] = []
      let position = from
      for (let questions = 0; events.length < count && questions < 20; questions++) {
        const news = await reader.next(position)
        expect(news.isGap).toBe(false)
        events.push(...news.events.map(({ kind, detail }) => ({ kind, detail })))
        position = news.position
      }
      return { events, position }
    }

    it('answers the first question at once: a gap, no events, and where the stream stands', async () => {
      await store.publish({ kind: 'locks', detail: '' })
      const begun = performance.now()
      const news = await open().next(undefined)
      expect(performance.now() - begun).toBeLessThan(900)
      expect(news).toEqual({ events: [], position: expect.any(String), isGap: true, now: expect.any(Number) })
    })

    it('tells every reader what was published since its position, in order and once', async () => {
      const [one, other] = [open(), open()]
      const from = [(await one.next(undefined)).position, (await other.next(undefined)).position]
      const kinds = ['session', 'device', 'errand', 'policy', 'invitations'] as const
      const published = Array.from({ length: 21 }, (_, i): StoreEvent => ({ kind: kinds[i % 5] ?? 'session', detail: hash() }))
      for (const event of published) await store.publish(event)
      const first = await readOn(one, from[0] ?? '', published.length)
      expect(first.events).toEqual(published)
      expect((await readOn(other, from[1] ?? '', published.length)).events).toEqual(published)
      const more: StoreEvent = { kind: 'locks', detail: '' }
      await store.publish(more)
      expect((await readOn(one, first.position, 1)).events).toEqual([more])
    })

    it('says of each event when it was written, by the store’s clock', async () => {
      const reader = open()
      const { position } = await reader.next(undefined)
      under.moveTime(30_000)
      const from = await store.loadNow()
      await store.publish({ kind: 'locks', detail: '' })
      const to = await store.loadNow()
      const { events } = await reader.next(position)
      expect(events).toEqual([{ kind: 'locks', detail: '', at: expect.any(Number) }])
      expect(events[0]?.at).toBeGreaterThanOrEqual(from)
      expect(events[0]?.at).toBeLessThanOrEqual(to)
    })

    it('tells of ends with the instant that was recorded', async () => {
      const reader = open()
      const { position } = await reader.next(undefined)
      const ends = [
        { kind: 'session', idHash: hash(), cause: 'revoked' },
        { kind: 'subject', idHash: hash(), cause: 'back_channel' },
      ] as const
      const at = await store.recordEnds(ends, 60)
      const { events } = await readOn(reader, position, 1)
      expect(events).toEqual([{ kind: 'ended', detail: ends.map((end) => lineOf(end, at)).join('\n') }])
    })

    it('tells of every one of a thousand ends that were recorded together', async () => {
      const reader = open()
      const { position } = await reader.next(undefined)
      const ends = Array.from({ length: 1_000 }, () => ({ kind: 'session', idHash: hash(), cause: 'revoked' }) as const)
      const at = await store.recordEnds(ends, 60)
      const told: string[] = []
      for (let from = position; told.length < ends.length; ) {
        const news = await readOn(reader, from, 1)
        told.push(...news.events.flatMap((event) => event.detail.split('\n')))
        from = news.position
      }
      expect(told).toEqual(ends.map((end) => lineOf(end, at)))
    })

    it('answers without events within about a second, with the store’s clock', async () => {
      const reader = open()
      const { position, now } = await reader.next(undefined)
      under.moveTime(7_000)
      const begun = performance.now()
      const news = await reader.next(position)
      expect(performance.now() - begun).toBeLessThan(2_000)
      expect(news).toMatchObject({ events: [], isGap: false })
      expect(news.now - now).toBeGreaterThanOrEqual(7_000)
    })

    it('answers a question that waits as soon as something happens', async () => {
      const reader = open()
      const { position } = await reader.next(undefined)
      const asked = reader.next(position)
      const begun = performance.now()
      await store.publish({ kind: 'locks', detail: '' })
      expect((await asked).events).toHaveLength(1)
      expect(performance.now() - begun).toBeLessThan(500)
    })

    it('refuses a question that waits when its reader is closed, and every later one', async () => {
      const reader = open()
      const { position } = await reader.next(undefined)
      const refused = expect(reader.next(position)).rejects.toMatchObject({ code: 'session_store_unavailable' })
      await reader.close()
      await refused
      await expect(reader.next(position)).rejects.toMatchObject({ code: 'session_store_unavailable' })
    })

    it('lists every end whose time is not over, the later one of the same thing', async () => {
      const [long, short, twice] = [hash(), hash(), hash()]
      await store.recordEnds([{ kind: 'subject', idHash: twice, cause: 'revoked' }], 100)
      const at = await store.recordEnds([{ kind: 'session', idHash: long, cause: 'revoked' }], 100)
      await store.recordEnds([{ kind: 'session', idHash: short, cause: 'revoked' }], 10)
      under.moveTime(50_000)
      const later = await store.recordEnds([{ kind: 'subject', idHash: twice, cause: 'signed_out' }], 100)
      const all = await store.loadAllEnds()
      const found = (idHash: string) => all.filter((end) => end.idHash === idHash)
      expect(found(long)).toEqual([{ kind: 'session', idHash: long, at, cause: 'revoked' }])
      expect(found(short)).toEqual([])
      expect(found(twice)).toEqual([{ kind: 'subject', idHash: twice, at: later, cause: 'signed_out' }])
    })

    it('lists every one of many', async () => {
      const ends = Array.from({ length: 3_000 }, () => ({ kind: 'app_session', idHash: hash(), cause: 'replaced' }) as const)
      const at = await store.recordEnds(ends, 1_000)
      const all = new Map((await store.loadAllEnds()).map((end) => [end.idHash, end]))
      for (const end of ends) expect(all.get(end.idHash)).toEqual({ ...end, at })
    })

    it('takes back ends that it lost, at their own instants, and tells of these alone', async () => {
      const at = (await store.loadNow()) - 5_000
      const [lost, kept, later, over] = [hash(), hash(), hash(), hash()]
      const keptAt = await store.recordEnds([{ kind: 'session', idHash: kept, cause: 'revoked' }], 60)
      await store.recordEnds([{ kind: 'subject', idHash: later, cause: 'revoked' }], 60)
      const reader = open()
      const { position } = await reader.next(undefined)
      const moved = (await store.loadNow()) + 2_000
      await store.restoreEnds(
        [
          { kind: 'session', idHash: lost, at, cause: 'signed_out' },
          { kind: 'session', idHash: kept, at, cause: 'signed_out' },
          { kind: 'subject', idHash: later, at: moved, cause: 'signed_out' },
          { kind: 'session', idHash: over, at: at - 60_000, cause: 'revoked' },
        ],
        60,
      )
      const loaded = await store.loadEnds([
        { kind: 'session', idHash: lost },
        { kind: 'session', idHash: kept },
        { kind: 'subject', idHash: later },
        { kind: 'session', idHash: over },
      ])
      expect(loaded).toEqual([
        { kind: 'session', idHash: lost, at, cause: 'signed_out' },
        { kind: 'session', idHash: kept, at: keptAt, cause: 'revoked' },
        { kind: 'subject', idHash: later, at: moved, cause: 'signed_out' },
        undefined,
      ])
      const { events } = await readOn(reader, position, 1)
      expect(events).toEqual([{ kind: 'ended', detail: `session:${lost} ${at} signed_out\nsubject:${later} ${moved} signed_out` }])
      await store.restoreEnds([], 60)
      // An end that was restored goes when it would have gone.
      under.moveTime(56_000)
      expect((await store.loadAllEnds()).some(({ idHash }) => idHash === lost)).toBe(false)
    })
  })
}
