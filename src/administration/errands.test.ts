/** Errands between instances over both stores: parts, progress, cancelling, instances that die, bounds. */

import { randomBytes } from 'node:crypto'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { Live } from '../live/live.ts'
import {
  createTestLive,
  createTestRing,
  openEmbeddedPlace,
  openRedisPlace,
  type StorePlace,
  silentLog,
} from '../session/session.fixture.ts'
import { type ErrandContext, mostErrandBytes, mostPartBytes } from './errands.ts'
import { createErrands, type RunningErrands } from './errands-over-store.ts'
import { mostInstances } from './instance-registry.ts'

const ring = createTestRing()
const index = 'errands:all'
const by = 'person:alice'

describe.each([
  ['the embedded store', openEmbeddedPlace],
  ['Redis', openRedisPlace],
] as const)('errands over %s', (_, open) => {
  let place: StorePlace
  const running: RunningErrands[] = []
  beforeAll(async () => {
    place = await open()
  })
  afterEach(async () => {
    await Promise.all(running.splice(0).map((errands) => errands.close()))
    for (const hash of await place.store.loadIndex(index)) {
      await place.store.removeFromIndex(index, hash)
      await place.store.removeRecord(`errand:${hash}`)
    }
  })
  afterAll(() => place.close())

  /** An instance of its own, that hears of everything already. */
  async function start(instance: string, live: Live = createTestLive(place)): Promise<RunningErrands> {
    const errands = createErrands({
      store: place.store,
      keys: () => ring,
      log: silentLog,
      now: place.clock.now,
      monotonicNow: () => performance.now(),
      instance,
      version: '1.2.3',
      policyVersion: () => `policy of ${instance}`,
      live,
    })
    running.push(errands)
    await live.confirm()
    await errands.instances()
    return errands
  }

  /** As if the process had been killed: it hears nothing and does not take itself out. */
  async function startDeaf(instance: string): Promise<RunningErrands> {
    const live = createTestLive(place)
    await live.confirm()
    return await start(instance, { ...live, listen: () => () => undefined })
  }

  it('asks every instance and puts their parts together, quickly', async () => {
    const [one, other] = [await start('one'), await start('other')]
    for (const [name, errands] of [
      ['one', one],
      ['other', other],
    ] as const)
      errands.serve('greet', async ({ whom }: { whom: string }) => ({ says: `${name} greets ${whom}` }))
    await one.ask('greet', { whom: 'warm' }, by, 2_000)
    const tookMs: number[] = []
    for (let i = 0; i < 9; i++) {
      const begun = performance.now()
      const state = await one.ask('greet', { whom: 'bob' }, by, 2_000)
      tookMs.push(performance.now() - begun)
      expect(state).toMatchObject({
        kind: 'greet',
        input: { whom: 'bob' },
        isOver: true,
        parts: [
          { instance: 'one', state: 'done', part: { says: 'one greets bob' } },
          { instance: 'other', state: 'done', part: { says: 'other greets bob' } },
        ],
      })
    }
    expect(tookMs.sort((a, b) => a - b)[4]).toBeLessThan(100)
  })

  it('lists the instances with name, start, version and policy, and takes out one that stopped', async () => {
    const one = await start('one')
    const other = await start('other')
    expect(await one.instances()).toEqual([
      { name: 'one', startedAt: expect.any(Number), version: '1.2.3', policyVersion: 'policy of one', isOwn: true },
      { name: 'other', startedAt: expect.any(Number), version: '1.2.3', policyVersion: 'policy of other', isOwn: false },
    ])
    await running.pop()?.close()
    expect(other).toBeDefined()
    expect((await one.instances()).map(({ name }) => name)).toEqual(['one'])
  })

  it('forgets an instance that was killed 15 seconds after it was last heard of, and is itself always there', async () => {
    const one = await start('one')
    await startDeaf('killed')
    expect((await one.instances()).map(({ name }) => name)).toEqual(['killed', 'one'])
    place.clock.move(15_001)
    expect((await one.instances()).map(({ name }) => name)).toEqual(['one'])
  })

  it('tells two instances of one name apart', async () => {
    const one = await start('same')
    await start('same')
    const names = (await one.instances()).map(({ name }) => name)
    expect(new Set(names).size).toBe(2)
    for (const name of names) expect(name).toMatch(/^same #.{4}$/)
  })

  it('names an instance that does not answer in time, and hands out what the others found', async () => {
    const one = await start('one')
    await startDeaf('killed')
    one.serve('greet', async () => 'hello')
    const state = await one.ask('greet', {}, by, 2_000)
    expect(state.parts).toEqual([
      { instance: 'killed', state: 'missing' },
      { instance: 'one', state: 'done', part: 'hello' },
    ])
    expect(state.isOver).toBe(true)
  })

  it('calls an instance missing that died while it was at work', async () => {
    const one = await start('one')
    const other = await start('other')
    const taken = Promise.withResolvers<void>()
    one.serve('dig', async () => 'found')
    other.serve('dig', async (_input, { progress, signal }: ErrandContext) => {
      progress({ fraction: 0.4, note: undefined })
      taken.resolve()
      await new Promise((resolve) => signal.addEventListener('abort', resolve))
    })
    const id = await one.begin('dig', {}, by)
    await taken.promise
    await expect.poll(async () => (await one.look(id))?.parts[1]?.state).toBe('running')
    await running.pop()?.close()
    await expect
      .poll(async () => await one.look(id))
      .toMatchObject({
        isOver: true,
        parts: [
          { instance: 'one', state: 'done', part: 'found' },
          { instance: 'other', state: 'missing' },
        ],
      })
  })

  it('shows on every instance how far each is, written at most once a second', async () => {
    const [one, other] = [await start('one'), await start('other')]
    one.serve('dig', async () => 'found')
    const told = Promise.withResolvers<ErrandContext['progress']>()
    const finish = Promise.withResolvers<string>()
    other.serve('dig', async (_input, { progress }: ErrandContext) => {
      told.resolve(progress)
      return await finish.promise
    })
    const id = await one.begin('dig', {}, by)
    const progress = await told.promise
    for (let i = 1; i <= 500; i++) progress({ fraction: i / 1_000, note: `${i} lines` })
    await expect.poll(async () => (await other.look(id))?.parts[1]).toMatchObject({ state: 'running', progress: { fraction: 0.001 } })
    await expect
      .poll(async () => (await one.look(id))?.parts[1], { timeout: 4_000 })
      .toMatchObject({ state: 'running', progress: { fraction: 0.5, note: '500 lines' } })
    expect((await one.look(id))?.isOver).toBe(false)
    finish.resolve('all')
    await expect.poll(async () => (await one.look(id))?.isOver).toBe(true)
    expect((await one.look(id))?.parts[1]).toEqual({ instance: 'other', state: 'done', part: 'all' })
  })

  it('stops the work of a cancelled errand everywhere, and throws away what still comes', async () => {
    const [one, other] = [await start('one'), await start('other')]
    one.serve('dig', async () => 'found')
    const late = Promise.withResolvers<string>()
    const begun = Promise.withResolvers<AbortSignal>()
    other.serve('dig', async (_input, { signal }: ErrandContext) => {
      begun.resolve(signal)
      return await late.promise
    })
    const id = await one.begin('dig', {}, by)
    const signal = await begun.promise
    await one.cancel(id)
    await expect.poll(() => signal.aborted).toBe(true)
    late.resolve('too late')
    expect(await one.look(id)).toBeUndefined()
    await other.close()
    expect(await one.look(id)).toBeUndefined()
    // The index forgets it as well: nobody takes it up again.
    expect(await place.store.loadIndex(index)).toEqual([])
  })

  it('stops what was asked for a moment when the moment is over', async () => {
    const one = await start('one')
    const begun = Promise.withResolvers<AbortSignal>()
    one.serve('dig', async (_input, { signal }: ErrandContext) => {
      begun.resolve(signal)
      await new Promise((resolve) => signal.addEventListener('abort', resolve))
    })
    expect((await one.ask('dig', {}, by, 100)).parts).toEqual([{ instance: 'one', state: 'missing' }])
    await expect.poll(async () => (await begun.promise).aborted).toBe(true)
  })

  it('says of a failure that it failed and not why, and of a part that is too large as much', async () => {
    const one = await start('one')
    one.serve('fail', async () => {
      throw new Error('/secret/path')
    })
    one.serve('flood', async () => 'x'.repeat(mostPartBytes))
    one.serve('fill', async () => randomBytes(mostPartBytes / 2 - 20).toString('hex'))
    expect((await one.ask('fail', {}, by, 1_000)).parts).toEqual([
      { instance: 'one', state: 'failed', why: 'it failed; the log of this instance says why' },
    ])
    expect((await one.ask('flood', {}, by, 2_000)).parts).toEqual([
      { instance: 'one', state: 'failed', why: 'what it found is too large to be handed over' },
    ])
    expect((await one.ask('fill', {}, by, 5_000)).parts[0]?.state).toBe('done')
    expect((await one.ask('unheard of', {}, by, 1_000)).parts[0]?.state).toBe('failed')
  })

  it('refuses an input that is too large', async () => {
    const one = await start('one')
    await expect(one.begin('dig', { text: 'x'.repeat(mostErrandBytes) }, by)).rejects.toThrow(RangeError)
  })

  it('keeps eight at a time: what is over gives way first, then the oldest', async () => {
    const one = await start('one')
    const signals: AbortSignal[] = []
    one.serve('quick', async () => 'done')
    one.serve('slow', async (_input, { signal }: ErrandContext) => {
      signals.push(signal)
      await new Promise((resolve) => signal.addEventListener('abort', resolve))
    })
    const oldest = await one.begin('slow', {}, by)
    place.clock.move(10)
    const quick = await one.begin('quick', {}, by)
    await expect.poll(async () => (await one.look(quick))?.isOver).toBe(true)
    for (let i = 0; i < 7; i++) await one.begin('slow', {}, by)
    expect(await one.look(quick)).toBeUndefined()
    expect(await one.look(oldest)).toBeDefined()
    await expect.poll(() => signals.length).toBe(8)
    await one.begin('slow', {}, by)
    expect(await one.look(oldest)).toBeUndefined()
    await expect.poll(() => signals.filter(({ aborted }) => aborted).length).toBe(1)
    // Short questions take nobody's place.
    await Promise.all(Array.from({ length: 40 }, () => one.ask('quick', {}, by, 5_000)))
    expect(signals.filter(({ aborted }) => aborted).length).toBe(1)
  })

  it('says that it is busy where too many ask at once, within the time that somebody waits', async () => {
    const one = await start('one')
    one.serve('slow', async (_input, { signal }: ErrandContext) => {
      await new Promise((resolve) => signal.addEventListener('abort', resolve))
    })
    one.serve('quick', async () => 'done')
    const slow = Array.from({ length: 16 }, () => one.ask('slow', {}, by, 3_000))
    const begun = performance.now()
    const answers = await Promise.all(Array.from({ length: 80 }, () => one.ask('quick', {}, by, 600)))
    expect(performance.now() - begun).toBeLessThan(2_500)
    const why = 'it was not asked: too many questions are under way here; ask again in a moment'
    for (const { isOver, parts } of answers) {
      expect(isOver).toBe(true)
      expect(parts).toEqual([{ instance: 'one', state: 'failed', why }])
    }
    await Promise.all(slow)
    // Everybody's turn comes back.
    const after = await Promise.all(Array.from({ length: 40 }, () => one.ask('quick', {}, by, 5_000)))
    for (const { parts } of after) expect(parts).toEqual([{ instance: 'one', state: 'done', part: 'done' }])
  })

  it('says how many were not asked where more run than one question asks, and asks itself', async () => {
    const others = Array.from({ length: mostInstances + 2 }, (_, i) => `!${i}`)
    const until = (await place.store.loadNow()) + 60_000
    for (const key of others) await place.store.addToIndex('instances:all', key, until)
    try {
      const one = await start('one')
      one.serve('greet', async () => 'hello')
      const expected = [
        { instance: 'one', state: 'done', part: 'hello' },
        { instance: '3 more instances', state: 'failed', why: 'so many run that not all are asked' },
      ]
      expect((await one.ask('greet', {}, by, 2_000)).parts).toEqual(expected)
      const id = await one.begin('greet', {}, by)
      await expect.poll(async () => (await one.look(id))?.parts).toEqual(expected)
    } finally {
      for (const key of others) await place.store.removeFromIndex('instances:all', key)
    }
  })

  it('takes up what it could not hear of once it hears again', async () => {
    const one = await start('one')
    const live = createTestLive(place)
    await live.confirm()
    let tell: Parameters<Live['listen']>[0] = () => undefined
    const deaf = await start('deaf', {
      ...live,
      listen: (listener) => {
        tell = listener
        return () => undefined
      },
    })
    one.serve('dig', async () => 1)
    deaf.serve('dig', async () => 2)
    const id = await one.begin('dig', {}, by)
    await expect.poll(async () => (await one.look(id))?.parts.map(({ state }) => state)).toEqual(['waiting', 'done'])
    tell({ kind: 'regained' })
    await expect.poll(async () => (await one.look(id))?.isOver).toBe(true)
    await one.cancel(id)
  })

  it('stands in the store sealed: neither input nor parts nor names can be read', async () => {
    const one = await start('readable-name')
    one.serve('dig', async () => 'readable-part')
    const values: Buffer[] = []
    const { createRecord } = place.store
    place.store.createRecord = (name, value, expiresAt) => {
      values.push(Buffer.from(name), value)
      return createRecord(name, value, expiresAt)
    }
    try {
      await one.ask('dig', { text: 'readable-input' }, by, 1_000)
    } finally {
      place.store.createRecord = createRecord
    }
    expect(values.length).toBeGreaterThan(2)
    expect(Buffer.concat(values).toString('latin1')).not.toMatch(/readable|alice/)
  })
})
