/** A question from somebody who is no instance: who answers, who is named as missing, and that nothing of it stays. */

import { afterEach, beforeEach, expect, it } from 'vitest'
import { createLive } from '../live/create-live.ts'
import { createTestRing, openEmbeddedPlace, type StorePlace, silentLog } from '../session/session.fixture.ts'
import { createErrandQuestion } from './errand-question.ts'
import { createErrands, type RunningErrands } from './errands-over-store.ts'

const ring = createTestRing()
const monotonicNow = () => performance.now()
let place: StorePlace
const closers: (() => Promise<void> | void)[] = []
beforeEach(async () => {
  place = await openEmbeddedPlace()
})
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
  await place.close()
})

async function start(instance: string): Promise<RunningErrands> {
  const { store } = place
  const live = createLive({ store, loadLocks: async () => [], monotonicNow, keepSeconds: 60, log: silentLog })
  const errands = createErrands({
    ...{ store, keys: () => ring, log: silentLog, now: place.clock.now, monotonicNow, live, instance, version: '1' },
    policyVersion: () => 'p',
  })
  closers.push(() => live.close())
  closers.push(() => errands.close())
  await live.confirm()
  return errands
}

const question = () => createErrandQuestion({ store: place.store, keys: () => ring, log: silentLog, monotonicNow })

it('has no parts where no instance runs, and makes none of whoever asks', async () => {
  const state = await question().ask('test', {}, 'os:ada@bastion', 5_000)
  expect(state).toMatchObject({ parts: [], isOver: true })
  expect(await (await start('a')).instances()).toHaveLength(1)
})

it('gathers what every instance says, names who is late and who failed, and leaves nothing behind', async () => {
  const [a, b, c] = [await start('a'), await start('b'), await start('c')]
  const stopped = Promise.withResolvers<void>()
  a.serve<{ readonly n: number }, number>('test', async ({ n }) => n + 1)
  b.serve('test', async () => Promise.reject(new Error('of its own')))
  c.serve('test', async (_, { signal }) => {
    signal.addEventListener('abort', () => stopped.resolve())
    await stopped.promise
    return 'too late'
  })
  await expect.poll(() => a.instances()).toHaveLength(3)
  const state = await question().ask<number>('test', { n: 41 }, 'os:ada@bastion', 1_000)
  expect(state.parts).toEqual([
    { instance: 'a', state: 'done', part: 42 },
    { instance: 'b', state: 'failed', why: expect.any(String) },
    { instance: 'c', state: 'missing' },
  ])
  // Whoever was late is told to stop.
  await stopped.promise
  expect(await a.look(state.id)).toBeUndefined()
})
