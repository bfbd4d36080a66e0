/** The digest over a real window: loading, following, late and repeated batches, what leaves, and reading nothing while nobody looks. */

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { linePrefix } from '../audit/chain.ts'
import type { AuditEvent } from '../audit/event.ts'
import { createLineBatch } from '../audit/follow-batch.ts'
import { formatAuditLine } from '../audit/line.ts'
import { createAuditWindow } from '../audit/window.ts'
import { createWindowBatches } from '../audit/window-batches.ts'
import { decided } from '../audit/written-trail.fixture.ts'
import { open, seal } from '../session/seal.ts'
import { createTestRing, silentLog } from '../session/session.fixture.ts'
import type { SessionStore } from '../session/store.ts'
import { createEmbeddedStore } from '../stores/embedded.ts'
import type { ActivityDigest } from './activity.ts'
import { createActivityDigest } from './activity-digest.ts'

const day = Date.UTC(2026, 10, 22)
const signal = new AbortController().signal

describe('the digest', () => {
  let folder: string
  let store: SessionStore
  let ring = createTestRing()
  const digests: ActivityDigest[] = []
  let lists = 0
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'postern-digest-'))
    store = createEmbeddedStore({ file: join(folder, 'store.sqlite'), now: Date.now })
    ring = createTestRing()
    lists = 0
  })
  afterEach(async () => {
    for (const digest of digests.splice(0)) digest.close()
    await store.close()
    rmSync(folder, { recursive: true, force: true })
  })

  const openSealed = (name: string, sealed: Buffer) => open(ring, { purpose: 'window', name }, sealed)
  async function send(
    chain: string,
    firstSeq: number,
    events: readonly (readonly [minute: number, event: AuditEvent])[],
    keepEvents = 1_000,
  ) {
    const window = createAuditWindow({
      store,
      seal: (name, plaintext) => seal(ring, { purpose: 'window', name }, plaintext),
      open: openSealed,
      keepEvents,
      log: silentLog,
    })
    const lines = events.map(([minute, event], index) =>
      formatAuditLine(event, day + minute * 60_000, chain, linePrefix(firstSeq + index, 'A'.repeat(43))),
    )
    await window.consumer.send(createLineBatch(chain, Buffer.from(lines.join(''))), signal)
  }
  function start(keepEvents = 1_000, monotonicNow = () => performance.now()): ActivityDigest {
    const batches = createWindowBatches({ store, open: openSealed, log: silentLog })
    const counted = {
      ...batches,
      async list(...asked: Parameters<typeof batches.list>) {
        lists += 1
        return await batches.list(...asked)
      },
    }
    const digest = createActivityDigest({ batches: counted, keepEvents, now: () => day + 3_600_000, monotonicNow, log: silentLog })
    digests.push(digest)
    return digest
  }
  const wiki = (minute: number) => [minute, decided(`r${minute}`, { app: 'wiki' })] as const
  const allowed = (digest: ActivityDigest) => digest.apps().get('wiki')?.allowed ?? 0

  it('reads nothing while nobody looks, and everything in the background once somebody does', async () => {
    await send('a', 1, [wiki(1), wiki(2)])
    await send('b', 1, [wiki(3)])
    const digest = start()
    expect(lists).toBe(0)
    expect(digest.state()).toEqual({ since: undefined, until: undefined, isLoading: true, events: 0 })
    await expect.poll(() => allowed(digest)).toBe(3)
    await expect.poll(() => digest.state()).toEqual({ since: day + 60_000, until: day + 3_600_000, isLoading: false, events: 3 })
  })

  it('keeps fresh by itself, with what is new alone, late batches among it', async () => {
    for (let i = 0; i < 15; i++) await send('a', i + 1, [wiki(10 + i)])
    const digest = start()
    await digest.refresh()
    expect(allowed(digest)).toBe(15)
    await send('a', 16, [wiki(40)])
    // Of an instance that is behind: it stands below what is known already.
    await send('b', 1, [wiki(38)])
    await expect.poll(() => allowed(digest), { timeout: 6_000 }).toBe(17)
  })

  it('finds after half a minute what was handed in far too late', async () => {
    let time = 0
    for (let i = 0; i < 15; i++) await send('a', i + 1, [wiki(10 + i)])
    const digest = start(1_000, () => time)
    await digest.refresh()
    await send('b', 1, [wiki(0)])
    await digest.refresh()
    expect(allowed(digest)).toBe(15)
    time += 31_000
    await digest.refresh()
    expect(allowed(digest)).toBe(16)
  })

  it('counts once what a follower sent twice, in other batches', async () => {
    await send('a', 1, [wiki(1), wiki(2), wiki(3)])
    await send('a', 2, [wiki(2), wiki(3), wiki(4), wiki(5)])
    await send('other', 2, [wiki(6)])
    const digest = start()
    await digest.refresh()
    expect(allowed(digest)).toBe(6)
    expect(digest.state().events).toBe(6)
  })

  it('drops what the window drops, and does not read it again', async () => {
    const digest = start(10)
    for (let i = 0; i < 10; i++) await send('a', i + 1, [wiki(i)], 10)
    await digest.refresh()
    expect(allowed(digest)).toBe(10)
    for (let i = 10; i < 16; i++) await send('a', i + 1, [wiki(i)], 100)
    await digest.refresh()
    await digest.refresh()
    expect(allowed(digest)).toBe(10)
    expect(digest.state().since).toBe(day + 6 * 60_000)
  })

  it('goes on without a batch that does not open, and keeps what it has while the store is away', async () => {
    await send('a', 1, [wiki(1)])
    const before = ring
    ring = createTestRing()
    await send('a', 2, [wiki(2)])
    ring = before
    const digest = start()
    await digest.refresh()
    expect(allowed(digest)).toBe(1)
    const { listWindow } = store
    store.listWindow = () => Promise.reject(new Error('away'))
    await expect(digest.refresh()).rejects.toThrow('away')
    expect(allowed(digest)).toBe(1)
    store.listWindow = listWindow
  })

  it('stops reading ten minutes after somebody looked last', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    try {
      let time = 0
      const digest = start(1_000, () => time)
      digest.state()
      await expect.poll(() => vi.getTimerCount()).toBe(1)
      vi.advanceTimersByTime(2_000)
      await expect.poll(() => vi.getTimerCount()).toBe(1)
      expect(lists).toBe(2)
      time += 600_001
      vi.advanceTimersByTime(2_000)
      expect(vi.getTimerCount()).toBe(0)
      expect(lists).toBe(2)
      await send('a', 1, [wiki(1)])
      digest.state()
      await expect.poll(() => lists).toBe(3)
    } finally {
      vi.useRealTimers()
    }
  })
})
