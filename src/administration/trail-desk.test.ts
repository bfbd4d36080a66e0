/** Asking the trails of two instances at once: lines in one order, one decision from whoever has it, exports that are whole, verifying, reviewing. */

import { readFileSync, writeFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createTestLive, createTestRing, openEmbeddedPlace, type StorePlace } from '../session/session.fixture.ts'
import { explainRecorded } from './decision-explanation.ts'
import { treeOf } from './decision-tree.ts'
import { startTestTrails, type TestTrails } from './trail-instances.fixture.ts'
import { rowsOf } from './trail-review.ts'

const by = 'person:auditor'
const ring = createTestRing()
const startAt = Date.UTC(2026, 10, 22)
let place: StorePlace
let trails: TestTrails

async function start(): Promise<TestTrails> {
  place = await openEmbeddedPlace()
  const lives = [createTestLive(place), createTestLive(place)] as const
  return await startTestTrails({ store: place.store, keys: () => ring, now: place.clock.now, lives, startAt })
}

describe('the trails of two instances', () => {
  beforeAll(async () => {
    trails = await start()
    const [one, two] = trails.instances
    // In turn, a minute apart; over two segments of the first.
    for (let minute = 0; minute < 40; minute += 1) {
      const instance = minute % 2 === 0 ? one : two
      if (minute === 20) one.chain.endSegment()
      instance.chain.setClock(startAt + minute * 60_000)
      instance.decide(`r${minute}`)
    }
    one.add({
      event: 'access.ended',
      request: 'r6',
      app: 'wiki',
      status: 200,
      bytesIn: 0,
      bytesOut: 5,
      durationMs: 12,
      outcome: 'completed',
      reason: undefined,
    })
    await trails.settle()
  }, 30_000)
  afterAll(async () => {
    await trails.close()
    await place.close()
  })

  it('are searched together, newest first, page by page, each line once', async () => {
    const found: unknown[] = []
    let after: string | undefined
    do {
      const page = await trails.desk.search({ app: 'wiki', events: ['access.decided'] }, { limit: 7, after, by })
      expect(page.silent).toEqual([])
      expect(page.entries.length).toBeLessThanOrEqual(7)
      found.push(...page.entries.map(({ fields }) => fields['request']))
      after = page.next
    } while (after !== undefined)
    expect(found).toEqual(Array.from({ length: 40 }, (_, index) => `r${39 - index}`))
  })

  it('begin at the beginning for a place that is none', async () => {
    for (const after of ['', 'x', Buffer.from('{}').toString('base64url'), 'y'.repeat(3_000)]) {
      const { entries } = await trails.desk.search({ events: ['access.decided'] }, { limit: 1, after, by })
      expect(entries[0]?.fields['request']).toBe('r39')
    }
  })

  it('have a decision with its facts and its end, whether or not it is known when it was', async () => {
    for (const near of [undefined, startAt + 6 * 60_000]) {
      const { found } = await trails.desk.findDecision('r6', { near, by })
      expect(found).toMatchObject({ instance: 'one', decided: { request: 'r6' }, ended: { status: 200 } })
      const { explanation, gap } = explainRecorded(found ?? expect.fail(), trails.policy, 'https')
      expect(gap).toBeUndefined()
      expect(explanation?.decision).toMatchObject({ effect: 'allow', rule: 'staff' })
    }
    expect((await trails.desk.findDecision('r7', { by })).found?.instance).toBe('two')
    expect((await trails.desk.findDecision('none', { by })).found).toBeUndefined()
  })

  it('are exported as one, oldest first, in stretches that leave nothing out', async () => {
    const until = startAt + 30 * 60_000
    const requests: unknown[] = []
    for (let since = startAt; since < until; ) {
      const { lines, through } = await trails.desk.exportStretch({ events: ['access.decided'] }, { since, until, by })
      requests.push(...lines.map((line) => (JSON.parse(line.toString()) as { request: string }).request))
      expect(through).toBeGreaterThan(since)
      since = through
    }
    expect(requests).toEqual(Array.from({ length: 30 }, (_, index) => `r${index}`))
  })

  it('are reviewed together', async () => {
    const id = await trails.runs.beginReview({ app: undefined, subject: undefined, since: undefined }, by)
    await expect.poll(async () => (await trails.runs.lookReview(id))?.reviewed?.ends.length, { timeout: 15_000 }).toBe(1)
    const run = await trails.runs.lookReview(id)
    const { entries } = rowsOf(run?.reviewed ?? expect.fail(), { from: 0, limit: 10, mark: undefined })
    expect(entries).toMatchObject([
      { app: 'wiki', rule: 'staff', uses: 40, firstAt: expect.any(Number), today: 'conditional', subject: { sub: 'u1' } },
    ])
    expect(run?.silent).toEqual([])
    expect(await trails.runs.lookVerification(id)).toBeUndefined()
  }, 30_000)
})

describe('verifying the trails of two instances', () => {
  it('finds them verified and complete, then the byte that was changed on one, and names an instance that is gone', async () => {
    trails = await start()
    try {
      const [one, two] = trails.instances
      one.decide('a1', { path: '/secret' })
      for (let index = 0; index < 30; index += 1) two.decide(`b${index}`)
      await trails.settle()
      const verify = async () => {
        const id = await trails.runs.beginVerification(by)
        await expect.poll(async () => (await trails.runs.lookVerification(id))?.isOver, { timeout: 15_000 }).toBe(true)
        return (await trails.runs.lookVerification(id))?.result
      }
      expect(await verify()).toMatchObject({ isVerified: true, isComplete: true, elsewhere: [], silent: [], unread: undefined })
      const [file = ''] = one.files()
      const bytes = readFileSync(file)
      writeFileSync(file, Buffer.from(bytes.toString('latin1').replace('/secret', '/Secret'), 'latin1'))
      const changed = await verify()
      expect(changed).toMatchObject({ isVerified: false, isComplete: false })
      expect(changed?.chains.filter(({ findings }) => findings.length > 0)).toMatchObject([
        { instance: 'one', chain: 'one-1', findings: [{ kind: 'changed', file }] },
      ])
      writeFileSync(file, bytes)
      await trails.stopSecond()
      // Its chain is remembered and nobody has it: never called complete.
      expect(await verify()).toMatchObject({ isVerified: true, isComplete: false, elsewhere: ['two-1'] })
      const silent = [{ instance: 'two-1', why: 'no instance that answered has this chain' }]
      const period = { since: startAt, until: startAt + 60_000 }
      expect((await trails.desk.exportStretch({}, { ...period, by })).silent).toEqual(silent)
      expect((await trails.desk.search({ since: startAt }, { limit: 5, by })).silent).toEqual(silent)
      // It ended before that: nothing is missing.
      expect((await trails.desk.search({ since: startAt + 3_600_000 }, { limit: 5, by })).silent).toEqual([])
    } finally {
      await trails.close()
      await place.close()
    }
  }, 60_000)
})

describe('an explanation', () => {
  it('names rule, condition, input, source and age, the deciding rule first', async () => {
    trails = await start()
    try {
      trails.instances[0].decide('r1')
      await trails.settle()
      const { found } = await trails.desk.findDecision('r1', { by })
      const { explanation, recorded } = explainRecorded(found ?? expect.fail(), trails.policy, 'https')
      expect(treeOf(explanation ?? expect.fail(), recorded.at)).toMatchObject([
        {
          name: 'staff',
          isDeciding: true,
          parts: [
            { place: 'who', outcome: 'true', of: [{ kind: 'input', got: expect.stringContaining('staff') }] },
            { place: 'when', outcome: 'true', of: [{ fact: 'device.disk_encrypted', got: 'true', wanted: 'true', source: 'report' }] },
          ],
        },
      ])
    } finally {
      await trails.close()
      await place.close()
    }
  })
})
