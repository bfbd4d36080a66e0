/** The disk is full: what traffic makes is refused and counted, everything else is still written, and it passes by itself. */

import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, describe, expect, it, vi } from 'vitest'
import { mountSmallDisk } from '../../e2e/support/small-disk.ts'
import { checkChain } from './chain-check.fixture.ts'
import type { AuditTrail } from './event.ts'
import { decided, ended, useTrails } from './opened-trail.fixture.ts'

const soon = { timeout: 10_000, interval: 10 }

const mounted = join(tmpdir(), `postern-full-disk-${process.pid}`)
const disk = await mountSmallDisk(mounted, 3)
const trails = useTrails()

afterAll(async () => {
  await disk?.unmount()
  await rm(mounted, { recursive: true, force: true })
})

describe.skipIf(disk === undefined)('a disk that is full', () => {
  afterEach(async () => {
    await disk?.free()
  })

  const settings = (name: string) => ({ folder: join(mounted, name), reserveBytes: 256 * 1024, gatherMs: 1 })
  const check = (name: string) => checkChain(join(mounted, name), 'one-1', { [trails.key.kid]: trails.key.publicKey })
  const fillUp = async (trail: AuditTrail) => {
    await disk?.fill()
    await vi.waitFor(() => {
      trail.record(decided({ request: 'filler', path: `/${'x'.repeat(2000)}` }))
      expect(trail.isWritable()).toBe(false)
    }, soon)
  }

  it('takes lines about requests no more, writes all others, recovers and states the gap', async () => {
    const trail = await trails.open(settings('a'))
    trail.record(decided({ request: 'before' }))
    expect(await trail.settle()).toBe(true)
    await fillUp(trail)
    await vi.waitFor(() => expect(trail.status()).toMatchObject({ isFull: true, isFailing: false }), soon)
    const { seq } = trail.status()
    const { lost } = trail.status()
    for (let count = 0; count < 10; count += 1) {
      trail.record(decided({ request: 'refused' }))
      trail.record({ event: 'facts.recorded', kind: 'device', hash: 'h', facts: '{}' })
      trail.record({ event: 'post.kept', request: 'refused', session: 's', app: 'wiki', bytes: 1 })
      expect(await trail.settle()).toBe(false)
    }
    expect(trail.status()).toMatchObject({ lost: lost + 30, seq })
    // What is kept free is for these.
    for (let count = 0; count < 100; count += 1) {
      trail.record({ ...ended, session: `s${count}` } as typeof ended)
      expect(await trail.settle()).toBe(true)
    }
    expect(trail.isWritable()).toBe(false)

    await disk?.free()
    const freedAt = performance.now()
    await vi.waitFor(() => expect(trail.isWritable()).toBe(true), soon)
    expect(performance.now() - freedAt).toBeLessThan(2500)
    trail.record(decided({ request: 'after' }))
    expect(await trail.settle()).toBe(true)
    const stated = trail.status().lost
    await trail.close()

    const { events, gaps, lines } = check('a')
    expect(gaps).toEqual([])
    expect(events.map(({ request }) => request)).not.toContain('refused')
    expect(events.filter(({ event }) => event === 'session.ended')).toHaveLength(100)
    expect(events.at(-1)).toMatchObject({ request: 'after' })
    expect(lines.filter(({ event }) => event === 'audit.resumed')).toMatchObject([{ lost: stated }])
    expect(stated).toBeGreaterThanOrEqual(30)
  })

  it('takes its reserve again before it takes lines about requests again', async () => {
    const trail = await trails.open(settings('b'))
    for (let round = 0; round < 2; round += 1) {
      await fillUp(trail)
      trail.record(ended)
      expect(await trail.settle()).toBe(true)
      await disk?.free()
      await vi.waitFor(() => expect(trail.isWritable()).toBe(true), { timeout: 10_000 })
    }
    await trail.close()
    expect(check('b').events.filter(({ event }) => event === 'session.ended')).toHaveLength(2)
  })

  it('is noticed at the start, where there is no room for the reserve', async () => {
    const first = await trails.open(settings('c'))
    first.record(decided())
    await first.close()
    await rm(join(mounted, 'c', 'one-1', 'reserve'))
    await disk?.fill()
    const trail = await trails.open(settings('c'))
    expect(trail.status().isFull).toBe(true)
    trail.record(decided({ request: 'refused' }))
    await disk?.free()
    await vi.waitFor(() => expect(trail.isWritable()).toBe(true), { timeout: 10_000 })
    await trail.close()
    expect(check('c').lines.find(({ event }) => event === 'audit.resumed')).toMatchObject({ lost: 1 })
  })

  it('keeps what finds no room at all in memory, and recovers from that as well', async () => {
    const trail = await trails.open({ ...settings('d'), reserveBytes: 0 })
    trail.record(ended)
    expect(await trail.settle()).toBe(true)
    await disk?.fill()
    await vi.waitFor(async () => {
      trail.record({ ...ended, cause: 'x'.repeat(200) } as typeof ended)
      expect(await trail.settle()).toBe(false)
    }, soon)
    expect(trail.status()).toMatchObject({ isFull: true, isFailing: true })
    const { seq } = trail.status()
    await disk?.free()
    await vi.waitFor(async () => expect([trail.isWritable(), await trail.settle()]).toEqual([true, true]), { timeout: 10_000 })
    await trail.close()
    expect(check('d').lines.map((line) => line.seq)).toContain(seq)
  })
})
