/** A follower over everything that happens to the files it reads, and to whom it hands them. */

import { appendFile, mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createTestChain, createTestConsumer, numbersOf, type TestChain, type TestConsumer, until } from './follow.fixture.ts'
import { createFollower, type Follower, type FollowerOptions } from './follow.ts'
import { DeliveryError } from './follow-batch.ts'

const count = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => from + index)

let folder: string
let chain: TestChain
let consumer: TestConsumer
const followers: Follower[] = []
const logged: { readonly level: string; readonly text: string; readonly facts: unknown }[] = []
const logTo = (level: string) => (facts: unknown, text?: string) => void logged.push({ level, facts, text: text ?? '' })
const log = { info: logTo('info'), warn: logTo('warn'), error: logTo('error') } as unknown as FollowerOptions['log']

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'postern-follow-'))
  chain = await createTestChain(join(folder, 'audit'), 'c')
  consumer = createTestConsumer()
  logged.length = 0
})
afterEach(async () => {
  await Promise.all(followers.splice(0).map((each) => each.close(0)))
  await rm(folder, { recursive: true, force: true })
})

function follow(extra: Partial<FollowerOptions> = {}): Follower {
  const follower = createFollower({
    folder: join(folder, 'audit'),
    chain: 'c',
    positionFile: join(folder, 'positions', 'c', 'position.json'),
    name: 'test',
    consumer,
    now: Date.now,
    log,
    lookMs: 5,
    leastPauseMs: 5,
    mostPauseMs: 20,
    ...extra,
  })
  followers.push(follower)
  return follower
}

const received = (amount: number) =>
  until(
    () => consumer.received.length >= amount,
    () => `${consumer.received.length} of ${amount}`,
  )

describe('a follower hands on', () => {
  it('every line of finished, compressed and growing segments in order, as its bytes', async () => {
    await chain.grow(1, 20)
    await chain.compress(1)
    await chain.grow(2, 30)
    await chain.grow(3, 5)
    follow({ batchLines: 7 })
    await received(55)
    await chain.grow(3, 3)
    await chain.grow(4, 4)
    await received(62)
    expect(consumer.received).toEqual(chain.lines)
    expect(consumer.batches.every(({ lines }) => lines.length <= 7)).toBe(true)
  })

  it('a line only once it is whole, and never what a crash tore off', async () => {
    await chain.grow(1, 2)
    await appendFile(chain.path(1), '{"seq":3,"prev":"half of')
    const follower = follow()
    await received(2)
    follower.nudge()
    await chain.grow(2, 1)
    await received(3)
    expect(numbersOf(consumer.received)).toEqual([1, 2, 3])
  })

  it('what another segment brought while it stood in the one before, before it closes', async () => {
    await chain.grow(1, 20)
    let hasGrown = false
    consumer.beforeSend = async () => {
      if (hasGrown) return
      hasGrown = true
      // It is closed in the middle of the first segment, which was the newest when it was opened.
      await chain.grow(2, 3)
      closing = follower.close()
    }
    let closing: Promise<void> | undefined
    const follower = follow({ batchLines: 10 })
    await until(() => closing !== undefined)
    await closing
    expect(consumer.received).toEqual(chain.lines)
  })

  it('what a receiver refused once at the very end, but asks one that is away no more than thrice', async () => {
    await chain.grow(1, 3)
    let tries = 0
    let closing: Promise<void> | undefined
    consumer.beforeSend = () => {
      tries += 1
      closing ??= follower.close()
      if (tries <= refusals) throw new DeliveryError('not now')
    }
    let refusals = 2
    let follower = follow()
    await until(() => closing !== undefined)
    await closing
    expect(consumer.received).toEqual(chain.lines)

    await chain.grow(1, 1)
    tries = 0
    refusals = 100
    closing = undefined
    follower = follow()
    await until(() => closing !== undefined)
    await closing
    expect(tries).toBe(3)
    expect(consumer.received).toHaveLength(3)
  })

  it('batches that are bounded in bytes, whatever the length of lines', async () => {
    await chain.grow(1, 40, 3000)
    follow({ batchBytes: 10_000 })
    await received(40)
    expect(consumer.received).toEqual(chain.lines)
    expect(Math.max(...consumer.batches.map(({ block }) => block.length))).toBeLessThan(10_000 + 4000)
  })

  it('the same batch again until it is taken, and nothing of the next before', async () => {
    await chain.grow(1, 30)
    const tries: (number | undefined)[] = []
    consumer.beforeSend = ({ lines }) => {
      tries.push(lines[0]?.seq)
      if (tries.length % 3 !== 0) throw new DeliveryError('not now')
    }
    const follower = follow({ batchLines: 10 })
    await received(30)
    expect(tries).toEqual([1, 1, 1, 11, 11, 11, 21, 21, 21])
    expect(consumer.received).toEqual(chain.lines)
    await until(() => follower.status().sent === 30)
    expect(follower.status()).toMatchObject({ failures: 6, lost: 0, lastError: undefined, lagBytes: 0, lagLines: 0 })
  })

  it('a segment that is compressed while it is read, without a gap or a repetition', async () => {
    await chain.grow(1, 400, 4000)
    await chain.grow(2, 10)
    let isCompressed = false
    consumer.beforeSend = async ({ lines }) => {
      if (isCompressed || (lines[0]?.seq ?? 0) < 100) return
      isCompressed = true
      await chain.compress(1)
    }
    follow({ batchLines: 20 })
    await received(410)
    expect(isCompressed).toBe(true)
    expect(consumer.received).toEqual(chain.lines)
  })

  it('what stands in compressed segments behind one that is not compressed', async () => {
    await chain.grow(1, 5)
    follow()
    await received(5)
    await chain.growCompressed(2, 5)
    await received(10)
    await chain.grow(3, 5)
    await received(15)
    expect(consumer.received).toEqual(chain.lines)
  })

  it('what came last when it is closed, within its time', async () => {
    await chain.grow(1, 3)
    const follower = follow({ lookMs: 60_000 })
    await received(3)
    await chain.grow(1, 2)
    await follower.close()
    expect(numbersOf(consumer.received)).toEqual(count(1, 5))
  })
})

describe('a position', () => {
  it('lets a restart go on behind the last line that arrived', async () => {
    await chain.grow(1, 10)
    await follow().close()
    expect(consumer.received).toHaveLength(10)
    await chain.grow(1, 5)
    await chain.compress(1)
    await chain.grow(2, 5)
    follow()
    await received(20)
    expect(consumer.received).toEqual(chain.lines)
  })

  it('is saved after the consumer settled, so that a crash repeats lines and loses none', async () => {
    await chain.grow(1, 10)
    const order: string[] = []
    consumer.settle = async () => void order.push('settled')
    const first = follow({ saveMs: 60_000, batchLines: 5 })
    await received(10)
    await until(() => first.status().sent === 10)
    // As a kill would: the position of the first save alone is there.
    const kept = await readFile(join(folder, 'positions', 'c', 'position.json'), 'utf8')
    expect(JSON.parse(kept)).toMatchObject({ segment: 1, seq: 5 })
    expect(order).toEqual(['settled'])
    await first.close()
    await writeFile(join(folder, 'positions', 'c', 'position.json'), kept)
    consumer.received.length = 0
    follow()
    await received(5)
    expect(numbersOf(consumer.received)).toEqual(count(6, 10))
  })

  it('that cannot be read means from the oldest line, and is said', async () => {
    await chain.grow(1, 3)
    await follow().close()
    await writeFile(join(folder, 'positions', 'c', 'position.json'), '{"segm')
    await follow().close()
    expect(numbersOf(consumer.received)).toEqual([1, 2, 3, 1, 2, 3])
    expect(logged.map(({ text }) => text)).toContain('the position of an audit sink cannot be read: all lines are sent again')
  })

  it('beyond the end of a segment that a power cut shortened goes on with the next', async () => {
    await chain.grow(1, 10)
    await follow().close()
    await truncate(chain.path(1), 300)
    await chain.grow(2, 3)
    follow()
    await received(13)
    expect(numbersOf(consumer.received)).toEqual(count(1, 13))
  })

  it('in a chain that began anew starts at its oldest line, and is said', async () => {
    await chain.grow(1, 3)
    await chain.grow(2, 3)
    await follow().close()
    await chain.remove(1)
    await chain.remove(2)
    const another = await createTestChain(join(folder, 'audit'), 'c')
    await another.grow(1, 2)
    follow()
    await received(8)
    expect(consumer.received.slice(6)).toEqual(another.lines)
    expect(logged.some(({ text }) => text.includes('does not fit the trail'))).toBe(true)
  })
})

describe('what is gone', () => {
  it('before it was sent is counted and said, and the rest is sent', async () => {
    for (const segment of [1, 2, 3, 4]) await chain.grow(segment, 10)
    let isAway = true
    consumer.beforeSend = ({ lines }) => {
      if (isAway && (lines[0]?.seq ?? 0) > 10) throw new DeliveryError('away')
    }
    const follower = follow({ batchLines: 10 })
    await received(10)
    await until(() => follower.status().failures > 0)
    await follower.close(0)
    await chain.remove(1)
    await chain.remove(2)
    await chain.remove(3)
    isAway = false
    const second = follow()
    await received(20)
    expect(numbersOf(consumer.received)).toEqual([...count(1, 10), ...count(31, 40)])
    expect(second.status().lost).toBe(20)
    expect(logged.filter(({ text }) => text.includes('removed before they could be sent'))).toHaveLength(1)
  })

  it('after it was sent is no loss', async () => {
    await chain.grow(1, 5)
    await chain.grow(2, 5)
    await follow().close()
    await chain.remove(1)
    await chain.remove(2)
    await chain.grow(3, 5)
    const second = follow()
    await received(15)
    expect(second.status().lost).toBe(0)
  })

  it('for good, since its file cannot be unpacked, is given up after some tries and counted', async () => {
    await chain.grow(1, 5)
    await chain.grow(2, 5)
    await chain.grow(3, 5)
    await chain.compress(2)
    await writeFile(`${chain.path(2)}.zst`, 'no frame')
    const follower = follow()
    await received(10)
    expect(numbersOf(consumer.received)).toEqual([...count(1, 5), ...count(11, 15)])
    expect(follower.status().lost).toBe(5)
  })
})

describe('a consumer that is away', () => {
  it('is asked ever more rarely, as late as it asks for, and shows as lag', async () => {
    await chain.grow(1, 50)
    const tries: number[] = []
    let isAway = true
    consumer.beforeSend = () => {
      tries.push(performance.now())
      if (isAway) throw new DeliveryError('away', tries.length === 3 ? { retryAfterMs: 300 } : {})
    }
    const follower = follow({ batchLines: 10, leastPauseMs: 20, mostPauseMs: 80 })
    await until(() => tries.length >= 6)
    const gaps = tries.slice(1).map((at, index) => at - (tries[index] ?? 0))
    expect(gaps[0]).toBeGreaterThan(14)
    expect(gaps[2]).toBeGreaterThan(290)
    expect(gaps[4]).toBeGreaterThan(55)
    expect(follower.status()).toMatchObject({ lagLines: 50, lastError: 'away', oldestUnsentAt: 1_700_000_000_001 })
    expect(follower.status().lagBytes).toBeGreaterThan(5000)
    isAway = false
    await received(50)
    await until(() => follower.status().lagLines === 0)
    expect(logged.filter(({ level }) => level === 'error')).toHaveLength(1)
  })

  it.each([true, false])('does not hold up the end of the process, whether it listens to that or not: %s', async (isListening) => {
    await chain.grow(1, 5)
    let started = false
    consumer.send = (_batch, signal) =>
      new Promise((_, reject) => {
        started = true
        if (isListening) signal.addEventListener('abort', () => reject(new Error('closed')))
      })
    const follower = follow()
    await until(() => started)
    const from = performance.now()
    await follower.close(50)
    expect(performance.now() - from).toBeLessThan(1000)
  })
})
