/** Ends, locks and news of an instance, over both stores, with a stream that can be made to fail. */

import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { PosternError } from '../errors.ts'
import { openEmbeddedPlace, openRedisPlace, type StorePlace, silentLog } from '../session/session.fixture.ts'
import type { End, SessionStore, StoreEvents, StoreNews } from '../session/store.ts'
import { away, closeLives, following, freshEnd, keepSeconds, listenTo, onWiki, wikiLock } from './live-over-store.fixture.ts'
import type { Lock } from './lock.ts'

afterEach(closeLives)

/** The same store, with what a test does to its stream or its answers. */
function altered(store: SessionStore, changes: Partial<SessionStore>): SessionStore {
  return new Proxy(store, {
    get: (target, name: keyof SessionStore) => changes[name] ?? target[name],
  })
}

/** A stream whose answers pass through `change`. */
function alteredEvents(store: SessionStore, change: (ask: () => Promise<StoreNews>) => Promise<StoreNews>): SessionStore {
  return altered(store, {
    openEvents: (): StoreEvents => {
      const events = store.openEvents()
      return { close: events.close, next: (position) => change(() => events.next(position)) }
    },
  })
}

describe.each([
  ['embedded', openEmbeddedPlace],
  ['redis', openRedisPlace],
] as const)('over the %s store', (_, openPlace) => {
  let place: StorePlace
  beforeAll(async () => {
    place = await openPlace()
  })
  afterAll(() => place.close())

  it('is current only once everything was read, and then holds what was on record before', async () => {
    const end = freshEnd()
    const at = await place.store.recordEnds([end], keepSeconds)
    const { live, kinds } = listenTo(place, { loadLocks: async () => [wikiLock] })
    expect(live.isCurrent()).toBe(false)
    expect(live.age()).toBe(Number.POSITIVE_INFINITY)
    await live.confirm()
    expect(live.isCurrent()).toBe(true)
    expect(live.findEnd(end)).toEqual({ ...end, at })
    expect(live.findLock(onWiki)).toEqual({ on: 'app', until: undefined })
    await expect.poll(kinds).toContain('regained')
    expect(Math.abs(live.now() - (await place.store.loadNow()))).toBeLessThan(1_000)
  })

  it('hears of an end that another recorded, in force before any listener is called', async () => {
    const { live, events } = listenTo(place)
    await live.confirm()
    const end = freshEnd()
    let wasInForce: boolean | undefined
    live.listen((event) => {
      if (event.kind === 'ended') wasInForce = live.findEnd(end) !== undefined
    })
    const begun = performance.now()
    const at = await place.store.recordEnds([end], keepSeconds)
    await expect.poll(() => live.findEnd(end), { interval: 5 }).toEqual({ ...end, at })
    expect(performance.now() - begun).toBeLessThan(800)
    expect(wasInForce).toBe(true)
    expect(events).toContainEqual({ kind: 'ended', ends: [{ ...end, at }] })
  })

  it('tells of an end that was recorded here at once, and not again when the stream brings it', async () => {
    const { live, events } = listenTo(place)
    await live.confirm()
    const [end, marker] = [freshEnd(), freshEnd()]
    const at = await place.store.recordEnds([end], keepSeconds)
    live.noteEnds([{ ...end, at }])
    expect(events.at(-1)).toEqual({ kind: 'ended', ends: [{ ...end, at }] })
    await place.store.recordEnds([marker], keepSeconds)
    await expect.poll(() => live.findEnd(marker), { interval: 5 }).toBeDefined()
    expect(events.filter((event) => event.kind === 'ended' && event.ends.some(({ idHash }) => idHash === end.idHash))).toHaveLength(1)
  })

  it('passes on what else is told, and what only this instance has to hear', async () => {
    const { live, events } = listenTo(place)
    await following(place, { live, events })
    const from = await place.store.loadNow()
    await place.store.publish({ kind: 'session', detail: 's1' })
    await place.store.publish({ kind: 'device', detail: 'd1' })
    const to = await place.store.loadNow()
    const writtenAt = expect.toSatisfy((at: unknown) => Number(at) >= from && Number(at) <= to)
    await expect.poll(() => events.at(-1), { interval: 5 }).toEqual({ kind: 'device_changed', deviceHash: 'd1', writtenAt })
    expect(events.at(-2)).toEqual({ kind: 'session_changed', sessionHash: 's1', writtenAt })
    await place.store.publish({ kind: 'errand', detail: 'e1' })
    await expect.poll(() => events.at(-1), { interval: 5 }).toMatchObject({ kind: 'errand_told', errandHash: 'e1' })
    expect(live.isCurrent()).toBe(true)
    live.announce({ kind: 'policy_changed' })
    expect(events.at(-1)).toEqual({ kind: 'policy_changed' })
  })

  it('has a change of locks in force before it tells of it, and is not current until then', async () => {
    let locks: readonly Lock[] = []
    let release: () => void = () => undefined
    let isHeld = false
    const { live, events, kinds } = listenTo(place, {
      loadLocks: async () => {
        if (isHeld) await new Promise<void>((resolve) => (release = resolve))
        return locks
      },
    })
    await following(place, { live, events })
    const inForce: unknown[] = []
    live.listen((event) => event.kind === 'locks_changed' && inForce.push(live.findLock(onWiki)))
    const writtenAt: unknown[] = []
    live.listen((event) => event.kind === 'locks_changed' && writtenAt.push(event.writtenAt))
    isHeld = true
    locks = [wikiLock]
    const from = await place.store.loadNow()
    await place.store.publish({ kind: 'locks', detail: '' })
    await expect.poll(() => live.isCurrent(), { interval: 2 }).toBe(false)
    isHeld = false
    release()
    await live.confirm()
    expect(live.findLock(onWiki)).toMatchObject({ on: 'app' })
    await expect.poll(kinds).toContain('locks_changed')
    expect(inForce).toEqual([{ on: 'app', until: undefined }])
    // When the change was written, not when it was read.
    expect(writtenAt).toHaveLength(1)
    expect(writtenAt[0]).toBeGreaterThanOrEqual(from)
  })

  it('refuses while changed locks cannot be read, and goes on when they can', async () => {
    let isBroken = false
    const { live } = listenTo(place, {
      loadLocks: async () => {
        if (isBroken) throw Object.assign(new Error('broken'), away)
        return [wikiLock]
      },
    })
    await live.confirm()
    isBroken = true
    await place.store.publish({ kind: 'locks', detail: '' })
    await expect.poll(() => live.isCurrent(), { interval: 2 }).toBe(false)
    await expect(live.confirm()).rejects.toMatchObject(away)
    expect(live.isCurrent()).toBe(false)
    isBroken = false
    await expect.poll(() => live.isCurrent()).toBe(true)
  })

  it('lets nobody wait for a row of orders to end, and has each in force, and told of, as it is read', async () => {
    let locks: readonly Lock[] = []
    let isStorming = true
    const { live, events, kinds } = listenTo(place, {
      // Each order comes while the one before is being read.
      loadLocks: async () => {
        const read = locks
        if (isStorming) await place.store.publish({ kind: 'locks', detail: '' })
        await new Promise((resolve) => setTimeout(resolve, 20))
        return read
      },
    })
    isStorming = false
    await following(place, { live, events })
    ;[isStorming, locks] = [true, [wikiLock]]
    await place.store.publish({ kind: 'locks', detail: '' })
    await expect.poll(() => live.isCurrent(), { interval: 2 }).toBe(false)
    for (let i = 0; i < 10; i++) {
      const begun = performance.now()
      await live.confirm()
      expect(performance.now() - begun).toBeLessThan(1_900)
      expect(live.findLock(onWiki)).toMatchObject({ on: 'app' })
    }
    expect(kinds()).toContain('locks_changed')
    isStorming = false
    await expect.poll(() => live.isCurrent()).toBe(true)
  })

  it('finds a lock of which nobody told', async () => {
    let locks: readonly Lock[] = []
    const { live, events, kinds } = listenTo(place, { loadLocks: async () => locks })
    await following(place, { live, events })
    locks = [wikiLock]
    place.clock.move(10_000)
    await expect.poll(() => live.findLock(onWiki)).toMatchObject({ on: 'app' })
    expect(kinds()).toContain('locks_changed')
  })

  it('says of locks that do not open what it says of a store that does not answer', async () => {
    const { live } = listenTo(place, {
      loadLocks: async () => {
        throw new PosternError('record_unreadable', 'sealed by somebody else')
      },
    })
    await expect(live.confirm()).rejects.toMatchObject({ ...away, cause: { code: 'record_unreadable' } })
  })

  it('asks the store itself, once for all who ask, where the stream is late', async () => {
    let [readings, isSilent] = [0, false]
    let fail: (error: Error) => void = () => undefined
    const store = altered(place.store, {
      openEvents: () => {
        const events = place.store.openEvents()
        const silence = new Promise<never>((_, reject) => (fail = reject))
        return {
          next: (position) => {
            isSilent = position !== undefined
            return isSilent ? silence : events.next(position)
          },
          close: () => events.close().then(() => fail(new Error('closed'))),
        }
      },
      loadAllEnds: () => {
        readings += 1
        return place.store.loadAllEnds()
      },
    })
    const { live } = listenTo(place, { store })
    // The stream's first answer has come, and was the last.
    await expect.poll(() => isSilent && live.isCurrent()).toBe(true)
    place.clock.move(5_100)
    expect(live.isCurrent()).toBe(false)
    const end = freshEnd()
    await place.store.recordEnds([end], keepSeconds)
    const before = readings
    await Promise.all(Array.from({ length: 50 }, () => live.confirm()))
    expect(readings - before).toBe(1)
    expect(live.isCurrent()).toBe(true)
    expect(live.findEnd(end)).toBeDefined()
    place.clock.move(5_001)
    expect(live.isCurrent()).toBe(false)
    expect(live.age()).toBeGreaterThan(5_000)
  })

  it('reads everything again after a gap before it is current, and tells that it regained its ground', async () => {
    let isGap = false
    let release: () => void = () => undefined
    let isHeld = false
    const gapped = alteredEvents(place.store, async (ask) => {
      const news = await ask()
      if (!isGap) return news
      isGap = false
      // What happened meanwhile is lost on the way.
      return { ...news, events: [], isGap: true }
    })
    const store = altered(gapped, {
      loadAllEnds: async () => {
        if (isHeld) await new Promise<void>((resolve) => (release = resolve))
        return place.store.loadAllEnds()
      },
    })
    const { live, kinds } = listenTo(place, { store })
    await live.confirm()
    await expect.poll(kinds).toContain('regained')
    const count = kinds().filter((kind) => kind === 'regained').length
    const end = freshEnd()
    ;[isHeld, isGap] = [true, true]
    await place.store.recordEnds([end], keepSeconds)
    await expect.poll(() => live.isCurrent(), { interval: 2 }).toBe(false)
    expect(kinds().filter((kind) => kind === 'regained')).toHaveLength(count)
    isHeld = false
    release()
    await live.confirm()
    expect(live.findEnd(end)).toBeDefined()
    await expect.poll(() => kinds().filter((kind) => kind === 'regained').length).toBe(count + 1)
  })

  it('reads everything again where the stream says what it does not understand', async () => {
    const { live, kinds } = listenTo(place)
    await live.confirm()
    await expect.poll(kinds).toContain('regained')
    const count = kinds().filter((kind) => kind === 'regained').length
    await place.store.publish({ kind: 'ended', detail: 'no line' })
    await place.store.publish({ kind: 'new_kind' as 'locks', detail: '' })
    await expect.poll(() => kinds().filter((kind) => kind === 'regained').length).toBeGreaterThan(count)
    await live.confirm()
  })

  it('gives a store back the ends that it lost, and others hear of them', async () => {
    const [one, other] = [listenTo(place), listenTo(place, { store: altered(place.store, { loadAllEnds: async () => [] }) })]
    await Promise.all([one.live.confirm(), other.live.confirm()])
    // Known to one instance alone: recorded on a server that is gone.
    const end: End = { ...freshEnd(), at: (await place.store.loadNow()) - 1_000 }
    one.live.noteEnds([end])
    expect((await place.store.loadEnds([end]))[0]).toBeUndefined()
    place.clock.move(5_100)
    await one.live.confirm()
    await expect.poll(async () => (await place.store.loadEnds([end]))[0], { interval: 10 }).toEqual(end)
    await expect.poll(() => other.live.findEnd(end), { interval: 5 }).toEqual(end)
  })

  it('forgets an end when no session that it could concern can live any more', async () => {
    const { live } = listenTo(place)
    await live.confirm()
    const end = freshEnd()
    await place.store.recordEnds([end], keepSeconds)
    await expect.poll(() => live.findEnd(end), { interval: 5 }).toBeDefined()
    place.clock.move(keepSeconds * 1000 + 1_000)
    await live.confirm()
    await expect.poll(() => live.findEnd(end)).toBeUndefined()
  })

  it('tells the others when one listener fails, and nobody after it stopped listening', async () => {
    const errors: unknown[] = []
    const { live } = listenTo(place, { log: { ...silentLog, error: (facts: unknown) => void errors.push(facts) } })
    await live.confirm()
    const heard: string[] = []
    live.listen(() => {
      throw new Error('broken')
    })
    const stop = live.listen(({ kind }) => heard.push(kind))
    live.announce({ kind: 'policy_changed' })
    stop()
    live.announce({ kind: 'policy_changed' })
    expect(heard.filter((kind) => kind === 'policy_changed')).toHaveLength(1)
    expect(errors.length).toBeGreaterThan(0)
  })
})
