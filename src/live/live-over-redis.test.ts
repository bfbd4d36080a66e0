/** Ends and news of an instance while its Redis falls silent, forgets, is trimmed, is demoted or hangs up. */

import { setTimeout as pause } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { openRedisPlace, type StorePlace } from '../session/session.fixture.ts'
import { away, closeLives, following, freshEnd, keepSeconds, listenTo } from './live-over-store.fixture.ts'

afterEach(closeLives)

describe('over a Redis that fails', () => {
  let place: StorePlace
  let client: Redis
  beforeAll(async () => {
    place = await openRedisPlace()
    client = new Redis(place.redis?.url ?? '')
    client.on('error', () => undefined)
  })
  afterAll(async () => {
    client.disconnect()
    await place.close()
  })

  it('is not current five seconds after the server fell silent, refuses, and regains everything after', async () => {
    const { live, events, kinds } = listenTo(place)
    await following(place, { live, events })
    const end = freshEnd()
    place.redis?.pause()
    const pausedAt = performance.now()
    // When it was last seen current, and not when this process came to see that it is no more.
    let currentAt = pausedAt
    const isCurrent = () => {
      const at = performance.now()
      const is = live.isCurrent()
      if (is) currentAt = at
      return is
    }
    try {
      await expect.poll(isCurrent, { timeout: 8_000, interval: 20 }).toBe(false)
      expect(currentAt - pausedAt).toBeLessThan(5_100)
      const tooLate = pause(2_500, 'it waited longer')
      await expect(Promise.race([live.confirm(), tooLate])).rejects.toMatchObject(away)
    } finally {
      place.redis?.resume()
    }
    const count = kinds().filter((kind) => kind === 'regained').length
    await expect.poll(() => place.store.recordEnds([end], keepSeconds).catch(() => undefined), { timeout: 5_000 }).toBeDefined()
    await expect.poll(() => live.isCurrent() && live.findEnd(end) !== undefined, { timeout: 5_000 }).toBe(true)
    await expect.poll(() => kinds().filter((kind) => kind === 'regained').length, { timeout: 5_000 }).toBeGreaterThan(count)
  }, 30_000)

  it('knows an end that the server forgot with everything else, and puts it back', async () => {
    const { live, events, kinds } = listenTo(place)
    await following(place, { live, events })
    const end = freshEnd()
    const at = await place.store.recordEnds([end], keepSeconds)
    await expect.poll(() => live.findEnd(end), { interval: 5 }).toBeDefined()
    const count = kinds().filter((kind) => kind === 'regained').length
    await client.flushall()
    await expect.poll(() => kinds().filter((kind) => kind === 'regained').length, { timeout: 5_000 }).toBeGreaterThan(count)
    expect(live.findEnd(end)).toEqual({ ...end, at })
    await expect.poll(async () => (await place.store.loadEnds([end]))[0], { timeout: 5_000 }).toEqual({ ...end, at })
  })

  it('notices events that were trimmed before it read them', async () => {
    const { live, events, kinds } = listenTo(place)
    await following(place, { live, events })
    const count = kinds().filter((kind) => kind === 'regained').length
    const end = freshEnd()
    const key = '{postern}:events'
    // In one step, so that no reader can come between: an end whose event is gone, and one more event.
    await client
      .multi()
      .hset('{postern}:ends', `session:${end.idHash}`, `${Date.now()} ${Date.now() + 60_000} revoked`)
      .xadd(key, '*', 'kind', 'ended', 'detail', `session:${end.idHash} 1 revoked`)
      .xtrim(key, 'MAXLEN', 0)
      .xadd(key, '*', 'kind', 'session', 'detail', 'after')
      .exec()
    await expect.poll(() => kinds().filter((kind) => kind === 'regained').length, { timeout: 5_000 }).toBeGreaterThan(count)
    expect(live.findEnd(end)).toBeDefined()
  })

  it('notices a stream that went back, and one that is gone', async () => {
    const { live, events, kinds } = listenTo(place)
    await following(place, { live, events })
    const regained = () => kinds().filter((kind) => kind === 'regained').length
    const count = regained()
    await client.multi().del('{postern}:events').xadd('{postern}:events', '5-1', 'kind', 'session', 'detail', 'old').exec()
    await expect.poll(regained, { timeout: 5_000 }).toBeGreaterThan(count)
    const later = regained()
    await client.del('{postern}:events')
    await expect.poll(regained, { timeout: 5_000 }).toBeGreaterThan(later)
  })

  it('reads everything again after its connection broke', async () => {
    const { live, events, kinds } = listenTo(place)
    await following(place, { live, events })
    const count = kinds().filter((kind) => kind === 'regained').length
    await client.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
    await expect.poll(() => kinds().filter((kind) => kind === 'regained').length, { timeout: 5_000 }).toBeGreaterThan(count)
  })

  it('does not believe a server that became a replica', async () => {
    const { live, events } = listenTo(place)
    await following(place, { live, events })
    await client.replicaof('127.0.0.1', 1)
    const reader = place.store.openEvents()
    try {
      await expect(reader.next(undefined)).rejects.toMatchObject({ ...away, message: expect.stringContaining('replica') })
      place.clock.move(5_100)
      expect(live.isCurrent()).toBe(false)
    } finally {
      await reader.close()
      await client.replicaof('NO', 'ONE')
    }
    await expect.poll(() => live.isCurrent(), { timeout: 5_000 }).toBe(true)
  })
})
