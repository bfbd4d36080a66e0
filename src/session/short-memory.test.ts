/** The short memory: age, sharing, and reads that were overtaken. */

import { describe, expect, it } from 'vitest'
import { createShortMemory } from './short-memory.ts'

function setUp(maxEntries = 100) {
  let now = 0
  const memory = createShortMemory<number>({ monotonicNow: () => now, maxAgeMs: 5_000, maxEntries, isWorthKeeping: (value) => value !== 0 })
  let reads = 0
  const read = (value: number) => async () => {
    reads += 1
    return value
  }
  return {
    memory,
    read,
    reads: () => reads,
    move: (milliseconds: number) => {
      now += milliseconds
    },
  }
}

/** A read that ends when it is told to. */
function slowRead(): { readonly load: () => Promise<number>; readonly finish: (value: number) => void; readonly fail: () => void } {
  let [finish, fail]: [(value: number) => void, () => void] = [() => undefined, () => undefined]
  const promise = new Promise<number>((resolve, reject) => {
    finish = resolve
    fail = () => reject(new Error('away'))
  })
  return { load: () => promise, finish: (value) => finish(value), fail: () => fail() }
}

describe('the short memory', () => {
  it('counts age from the beginning of the read', async () => {
    const { memory, move, read, reads } = setUp()
    const slow = slowRead()
    const reading = memory.get('a', slow.load)
    move(3_000)
    slow.finish(1)
    await reading
    move(2_000)
    expect(await memory.get('a', read(2))).toBe(1)
    move(1)
    expect(await memory.get('a', read(2))).toBe(2)
    expect(reads()).toBe(1)
  })

  it('recalls what is older only where that is asked for, and only as long as it is kept', async () => {
    let now = 0
    const memory = createShortMemory<number>({
      monotonicNow: () => now,
      maxAgeMs: 5_000,
      keepMs: 60_000,
      maxEntries: 100,
      isWorthKeeping: () => true,
    })
    await memory.get('a', async () => 1)
    now = 30_000
    expect([memory.recall('a'), memory.recallWithin('a', 30_000), memory.recallWithin('a', 29_999)]).toEqual([undefined, 1, undefined])
    now = 60_001
    await memory.get('b', async () => 2)
    expect(memory.recallWithin('a', 1e9)).toBeUndefined()
  })

  it('forgets everything at once, what is being read included', async () => {
    const { memory, read } = setUp()
    const slow = slowRead()
    await memory.get('a', read(1))
    const overtaken = memory.get('b', slow.load)
    memory.clear()
    slow.finish(2)
    expect(await overtaken).toBe(2)
    expect([memory.recall('a'), memory.recall('b')]).toEqual([undefined, undefined])
  })

  it('shares one read among all who miss at once', async () => {
    const { memory, read, reads } = setUp()
    expect(await Promise.all(Array.from({ length: 50 }, () => memory.get('a', read(1))))).toEqual(Array.from({ length: 50 }, () => 1))
    expect(reads()).toBe(1)
  })

  it('keeps nothing of a read that was overtaken, and lets nobody join it', async () => {
    const { memory, read } = setUp()
    const slow = slowRead()
    const overtaken = memory.get('a', slow.load)
    memory.forget('a')
    const fresh = memory.get('a', read(2))
    slow.finish(1)
    expect(await overtaken).toBe(1)
    expect(await fresh).toBe(2)
    expect(await memory.get('a', read(3))).toBe(2)
  })

  it('does not let an older read replace a newer one', async () => {
    const { memory, read } = setUp()
    const slow = slowRead()
    const older = memory.get('a', slow.load)
    expect(await memory.reload('a', read(2))).toBe(2)
    slow.finish(1)
    await older
    expect(await memory.get('a', read(3))).toBe(2)
  })

  it('passes a failure on to all who waited, and remembers none', async () => {
    const { memory, read } = setUp()
    const slow = slowRead()
    const waiting = [memory.get('a', slow.load), memory.get('a', slow.load)]
    slow.fail()
    for (const result of await Promise.allSettled(waiting)) expect(result.status).toBe('rejected')
    expect(await memory.get('a', read(1))).toBe(1)
  })

  it('remembers nothing that is not worth it, and no more than it may', async () => {
    const { memory, read, reads } = setUp(10)
    await memory.get('none', read(0))
    await memory.get('none', read(0))
    expect(reads()).toBe(2)
    for (let i = 1; i <= 30; i++) await memory.get(`k${i}`, read(i))
    expect(await memory.get('k30', read(99))).toBe(30)
    expect(await memory.get('k1', read(99))).toBe(99)
  })
})
