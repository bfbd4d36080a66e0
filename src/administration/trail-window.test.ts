/** Searching the recent window on both stores: by anything, page by page within a budget, for lists of other pages, and followed live. */

import { hash } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { linePrefix } from '../audit/chain.ts'
import type { AuditEvent } from '../audit/event.ts'
import { createLineBatch } from '../audit/follow-batch.ts'
import { formatAuditLine } from '../audit/line.ts'
import { type AuditWindow, createAuditWindow } from '../audit/window.ts'
import { decided } from '../audit/written-trail.fixture.ts'
import { open, seal } from '../session/seal.ts'
import { createTestRing, openEmbeddedPlace, openRedisPlace, type StorePlace } from '../session/session.fixture.ts'
import { createTrailWindow, type TrailPage, type TrailQuery, type TrailWindow } from './trail-window.ts'

const day = Date.UTC(2026, 10, 22)
const signal = new AbortController().signal
const people = 400
const apps = 40
const total = 100_000
const instances = 2

/** One event a 250 ms, by the instances in turn; people, apps and devices as a company has them. */
function eventAt(index: number): AuditEvent {
  const person = index % people
  return decided(`r${index}`, {
    subject: { kind: 'person', issuer: 'https://op.example', sub: `u${person}`, email: `person${person}@corp.example` },
    app: `app-${index % apps}`,
    host: `app-${index % apps}.corp.example`,
    path: `/projects/${index % 977}/pages/${index}`,
    effect: index % 50 === 0 ? 'deny' : 'allow',
    reason: index % 50 === 0 ? 'no_rule_matched' : 'rule_matched',
    facts: { subject: hash('md5', `s${person}`), signIn: hash('md5', `i${person}`), device: hash('md5', `d${person}`) },
    ...(person % 2 === 0 ? { device: `laptop-${person}` } : {}),
    userAgent: 'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Safari/605.1.15',
  })
}

const at = (index: number) => day + index * 250

async function fill(window: AuditWindow): Promise<void> {
  const sequence = Array.from({ length: instances }, () => 0)
  for (let from = 0; from < total; from += 1_000 * instances) {
    for (let instance = 0; instance < instances; instance += 1) {
      const lines: string[] = []
      for (let index = from + instance; index < Math.min(total, from + 1_000 * instances); index += instances) {
        sequence[instance] = (sequence[instance] ?? 0) + 1
        lines.push(formatAuditLine(eventAt(index), at(index), `host-${instance}`, linePrefix(sequence[instance] ?? 0, 'A'.repeat(43))))
      }
      await window.consumer.send(createLineBatch(`host-${instance}`, Buffer.from(lines.join(''))), signal)
    }
  }
}

function openWindow(place: StorePlace, keepEvents = total): AuditWindow {
  const ring = createTestRing()
  return createAuditWindow({
    store: place.store,
    seal: (name, plaintext) => seal(ring, { purpose: 'window', name }, plaintext),
    open: (name, sealed) => open(ring, { purpose: 'window', name }, sealed),
    keepEvents,
    log: { warn: () => undefined },
  })
}

const requests = ({ entries }: Pick<TrailPage, 'entries'>) => entries.map(({ fields }) => fields['request'])

for (const [name, openPlace] of [
  ['the embedded store', openEmbeddedPlace],
  ['Redis', openRedisPlace],
] as const) {
  describe(`the window of a hundred thousand events in ${name}`, () => {
    let place: StorePlace
    let window: AuditWindow
    let trail: TrailWindow
    beforeAll(async () => {
      place = await openPlace()
      window = openWindow(place)
      await fill(window)
      trail = createTrailWindow({ window, monotonicNow: () => performance.now() })
    }, 120_000)
    afterAll(() => place.close())

    async function searchAll(query: TrailQuery, limit = 200) {
      const found: unknown[] = []
      const tookMs: number[] = []
      let pages = 0
      let searchedTo = Number.POSITIVE_INFINITY
      for (let after: string | undefined; ; ) {
        const begun = performance.now()
        const page = await trail.search(query, { limit, after })
        tookMs.push(performance.now() - begun)
        pages += 1
        found.push(...requests(page))
        // Each page looks further back than the one before, so that going on comes to an end.
        if (page.searchedTo !== undefined) {
          expect(page.searchedTo).toBeLessThan(searchedTo)
          searchedTo = page.searchedTo
        }
        after = page.next
        if (after === undefined) return { found, pages, tookMs }
      }
    }

    it('finds by anything, newest first over both instances, however many pages it takes', async () => {
      expect(requests(await trail.search({}, { limit: 3 }))).toEqual(['r99999', 'r99998', 'r99997'])
      const expected = (isWanted: (index: number) => boolean) =>
        Array.from({ length: total }, (_, index) => total - 1 - index)
          .filter(isWanted)
          .map((index) => `r${index}`)
      const { found, pages, tookMs } = await searchAll({ subject: 'Person7@corp.example' })
      expect(found).toEqual(expected((index) => index % people === 7))
      expect(pages).toBeGreaterThan(1)
      expect((await searchAll({ device: 'laptop-8' })).found).toEqual(expected((index) => index % people === 8))
      expect((await searchAll({ app: 'app-0', effect: 'deny', reason: 'no_rule_matched' })).found).toEqual(
        expected((index) => index % 200 === 0),
      )
      const period = { since: at(50_000), until: at(50_010) }
      expect((await searchAll(period)).found).toEqual(expected((index) => index >= 50_000 && index < 50_010))
      expect((await searchAll({ request: 'nobody' })).found).toEqual([])
      const sorted = [...tookMs].sort((a, b) => a - b)
      process.stdout.write(`${name}: ${pages} pages, slowest ${sorted.at(-1)?.toFixed(0)} ms\n`)
    }, 60_000)

    it('ends a page that finds nothing within its budget, says how far it looked, and goes on from there', async () => {
      // A clock of its own, so that a busy machine does not decide how much is read.
      let now = 0
      const counted = createTrailWindow({ window, monotonicNow: () => (now += 20) })
      const first = await counted.search({ request: 'r3' }, { limit: 50 })
      expect(first.entries).toEqual([])
      expect(first.searchedTo).toBeGreaterThan(at(total - 10_000))
      const second = await counted.search({ request: 'r3' }, { limit: 50, after: first.next })
      expect(second.searchedTo).toBeLessThan(first.searchedTo ?? 0)
    })

    it('gives lists of other pages what they show, and says how far it looked for it', async () => {
      const about = { subject: { issuer: 'https://op.example', sub: 'u7' } }
      const { decisions } = await trail.recentDecisions(about, 3)
      expect(decisions).toMatchObject([
        { request: 'r99607', at: at(99_607), app: 'app-7', effect: 'allow', reason: 'rule_matched', method: 'GET' },
        { request: 'r99207' },
        { request: 'r98807' },
      ])
      expect((await trail.recentDecisions({ subject: { issuer: 'https://other.example', sub: 'u7' } }, 3)).decisions).toEqual([])
      expect((await trail.recentDecisions({ service: 'u7' }, 3)).decisions).toEqual([])
      expect((await trail.recentDecisions({ device: 'laptop-8' }, 1)).decisions).toMatchObject([{ request: 'r99608', device: 'laptop-8' }])
      expect((await trail.recentDecisions({ app: 'app-9' }, 1)).decisions).toMatchObject([{ request: 'r99969' }])
    })

    it('finds one decision wherever in the window it is', async () => {
      expect((await trail.findDecision('r99000'))?.at).toBe(at(99_000))
      expect(await trail.findDecision('r-none')).toBeUndefined()
    })

    it.skipIf((process.env['POSTERN_TEST_LONG'] ?? '') === '')(
      'measures each kind of search',
      async () => {
        const queries: TrailQuery[] = [
          {},
          { subject: 'person7@corp.example' },
          { app: 'app-3' },
          { device: 'laptop-8' },
          { effect: 'deny' },
          { request: 'r3' },
        ]
        for (const query of queries) {
          const took: number[] = []
          for (let round = 0; round < 60; round += 1) {
            const begun = performance.now()
            await trail.search(query, { limit: 50 })
            took.push(performance.now() - begun)
          }
          took.sort((a, b) => a - b)
          process.stdout.write(`${name} ${JSON.stringify(query)} p50 ${took[30]?.toFixed(1)} p99 ${took[59]?.toFixed(1)} ms\n`)
        }
      },
      120_000,
    )
  })
}

it('follows what is written from now on, once each, also what a slower instance hands in late', async () => {
  const place = await openEmbeddedPlace()
  try {
    const window = openWindow(place)
    let looks = 0
    const counted: typeof window.load = async (query) => {
      const page = await window.load(query)
      looks += 1
      return page
    }
    const trail = createTrailWindow({ window: { load: counted }, monotonicNow: () => performance.now() })
    const send = (chain: string, seq: number, request: string, minute: number) =>
      window.consumer.send(
        createLineBatch(
          chain,
          Buffer.from(formatAuditLine(decided(request), day + minute * 60_000, chain, linePrefix(seq, 'A'.repeat(43)))),
        ),
        signal,
      )
    await send('a', 1, 'before', 0)
    const stop = new AbortController()
    const told: unknown[] = []
    const following = (async () => {
      for await (const entry of trail.follow({ app: 'wiki' }, stop.signal)) {
        told.push(entry.fields['request'])
        if (told.length === 1) await send('b', 1, 'late', 3)
        if (told.length === 2) stop.abort()
      }
    })()
    await expect.poll(() => looks).toBe(1)
    await send('a', 2, 'new', 5)
    await following
    expect(told).toEqual(['new', 'late'])
  } finally {
    await place.close()
  }
})

it('finds nothing, and says so, where no window is kept', async () => {
  const trail = createTrailWindow({ window: undefined, monotonicNow: () => 0 })
  expect(trail.isKept).toBe(false)
  expect(await trail.search({}, { limit: 5 })).toEqual({ entries: [], next: undefined, searchedTo: undefined })
})
