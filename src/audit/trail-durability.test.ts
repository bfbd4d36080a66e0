/** What `settle` promises: one fsync for all who wait, nothing lost by a power cut, and an answer also from a disk that gives none. */

import { cpSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { checkChain } from './chain-check.fixture.ts'
import { createTestAnchors, decided, ended, useTrails } from './opened-trail.fixture.ts'
import type { SegmentHandle } from './segments.ts'

const soon = { timeout: 10_000, interval: 10 }

const trails = useTrails()

/** Real files whose calls can be held up or made to fail, and of which it is known how much of them was put on the disk. */
function createWatchedDisk() {
  const disk = {
    synced: new Map<string, number>(),
    hold: undefined as Promise<void> | undefined,
    holdSync: undefined as Promise<void> | undefined,
    /** Times that a sync was held up. */
    held: 0,
    failSync: false,
    openFile: async (path: string): Promise<SegmentHandle> => {
      const file = await open(path, 'wx+')
      disk.synced.set(path, 0)
      const handle: SegmentHandle = Object.create(file)
      const stat = file.stat.bind(file) as SegmentHandle['stat']
      return Object.assign(handle, {
        stat,
        read: file.read.bind(file),
        truncate: file.truncate.bind(file),
        close: file.close.bind(file),
        write: async (...asked: [Buffer, number, number, number]) => {
          await disk.hold
          return await file.write(...asked)
        },
        datasync: async () => {
          if (disk.holdSync !== undefined) disk.held += 1
          await disk.hold
          await disk.holdSync
          if (disk.failSync) throw Object.assign(new Error('the disk is broken'), { code: 'EIO' })
          const { size } = await file.stat()
          await file.datasync()
          disk.synced.set(path, size)
        },
      })
    },
  }
  return disk
}

describe('group commit', () => {
  it('puts the lines of all who wait on the disk with one write and one fsync', async () => {
    const fsyncSeconds: number[] = []
    const trail = await trails.open({ gatherMs: 60_000, syncMs: 60_000, onFsync: (seconds) => void fsyncSeconds.push(seconds) })
    trail.record(decided())
    expect(await trail.settle()).toBe(true)
    const before = trail.status()
    const waiting = Array.from({ length: 500 }, () => {
      trail.record(decided())
      return trail.settle()
    })
    expect(new Set(await Promise.all(waiting))).toEqual(new Set([true]))
    const { syncs, writes } = trail.status()
    expect([syncs - before.syncs, writes - before.writes]).toEqual([1, 1])
    expect(fsyncSeconds.map((seconds) => seconds > 0 && seconds < 60)).toEqual([true, true])
    expect(trails.check().events).toHaveLength(501)
  })

  it('serves who came during a round with the next one', async () => {
    const disk = createWatchedDisk()
    const trail = await trails.open({ openFile: disk.openFile, gatherMs: 60_000, syncMs: 60_000 })
    let release = () => {}
    disk.hold = new Promise((resolve) => {
      release = resolve
    })
    trail.record(decided())
    const first = trail.settle()
    await new Promise((resolve) => setImmediate(() => setImmediate(resolve)))
    const later = Array.from({ length: 50 }, () => {
      trail.record(decided())
      return trail.settle()
    })
    release()
    expect(await first).toBe(true)
    expect(await Promise.all(later)).not.toContain(false)
    expect(trail.status().syncs).toBe(2)
  })

  it('waits for nothing where everything is on the disk already', async () => {
    const trail = await trails.open()
    expect(await trail.settle()).toBe(true)
    trail.record(decided())
    await trail.settle()
    const { syncs } = trail.status()
    expect(await trail.settle()).toBe(true)
    expect(trail.status().syncs).toBe(syncs)
  })

  it('holds under load: what was settled is there after a power cut at any moment', async () => {
    const disk = createWatchedDisk()
    const anchors = createTestAnchors()
    const trail = await trails.open({ openFile: disk.openFile, anchors, segmentBytes: 30_000, checkpointLines: 40, syncMs: 5 })
    const settled: string[] = []
    let isDone = false
    const clients = Array.from({ length: 10 }, async (_, client) => {
      for (let count = 0; !isDone; count += 1) {
        const request = `${client}-${count}`
        trail.record(decided({ request, path: `/${'x'.repeat(count % 300)}` }))
        if (client >= 3 && (await trail.settle())) settled.push(request)
        await new Promise((resolve) => setTimeout(resolve, 1))
      }
    })
    onTestFinished(async () => {
      isDone = true
      await Promise.all(clients)
    })
    for (let cut = 0; cut < 10; cut += 1) {
      const before = settled.length
      await vi.waitFor(() => expect(settled.length).toBeGreaterThan(before + 50), { timeout: 10_000, interval: 1 })
      // All at once: what is promised, what is remembered, and what would be left of the files.
      const promised = [...settled]
      const anchor = anchors.saved.at(-1)
      const copy = `${trails.folder}-cut-${cut}`
      onTestFinished(() => rmSync(copy, { recursive: true, force: true }))
      cpSync(trails.folder, copy, { recursive: true })
      for (const [path, size] of disk.synced) truncateSync(join(copy, 'one-1', path.slice(-15)), size)
      const restarted = await trails.open({ folder: copy, anchors: { load: async () => anchor, save: async () => undefined } })
      restarted.record(ended)
      await restarted.close()
      const { gaps, lines } = checkChain(copy, 'one-1', { [trails.key.kid]: trails.key.publicKey })
      expect(gaps).toEqual([])
      const there = new Set(lines.map(({ request }) => request))
      expect(promised.filter((request) => !there.has(request))).toEqual([])
    }
  }, 60_000)
})

describe('relaxed', () => {
  it('puts lines on the disk about as often as it says, and only when there are any', async () => {
    const disk = createWatchedDisk()
    const trail = await trails.open({ openFile: disk.openFile, gatherMs: 1, syncMs: 50 })
    const path = join(trail.folder, '00000001.ndjson')
    const startedAt = performance.now()
    while (performance.now() - startedAt < 500) {
      trail.record(decided())
      await new Promise((resolve) => setTimeout(resolve, 2))
    }
    await vi.waitFor(() => {
      expect(trail.status().queuedLines).toBe(0)
      expect(disk.synced.get(path)).toBe(readFileSync(path).length)
    }, soon)
    const { syncs, writes } = trail.status()
    expect(syncs).toBeGreaterThanOrEqual(2)
    expect(syncs).toBeLessThanOrEqual(Math.ceil((performance.now() - startedAt) / 50))
    expect(writes).toBeGreaterThan(syncs)
    // Long enough for three more.
    await new Promise((resolve) => setTimeout(resolve, 150))
    expect(trail.status().syncs).toBe(syncs)
  })

  it('goes on writing while the disk takes its time with what was written', async () => {
    const disk = createWatchedDisk()
    const trail = await trails.open({ openFile: disk.openFile, gatherMs: 1, syncMs: 10 })
    let release = () => {}
    disk.holdSync = new Promise((resolve) => {
      release = resolve
    })
    trail.record(decided())
    await vi.waitFor(() => expect(disk.held).toBe(1), soon)
    trail.record(decided())
    await vi.waitFor(() => expect(trails.check().events).toHaveLength(2), soon)
    expect(trail.status().syncs).toBe(0)
    release()
    expect(await trail.settle()).toBe(true)
    expect(disk.synced.get(join(trail.folder, '00000001.ndjson'))).toBe(readFileSync(join(trail.folder, '00000001.ndjson')).length)
  })

  it('remembers a head in the store only once it is on the disk', async () => {
    const disk = createWatchedDisk()
    const anchors = createTestAnchors()
    const trail = await trails.open({ openFile: disk.openFile, anchors, checkpointLines: 5, gatherMs: 1, syncMs: 20 })
    disk.failSync = true
    for (let count = 0; count < 10; count += 1) trail.record(decided())
    await vi.waitFor(() => expect(trail.status().isFailing).toBe(true), soon)
    expect(trail.status().queuedLines).toBe(0)
    expect(anchors.saved).toEqual([])
    disk.failSync = false
    await vi.waitFor(() => expect(anchors.saved).toHaveLength(1), { timeout: 5000 })
    expect(anchors.saved[0]?.seq).toBe(12)
  })
})

describe('a disk that breaks', () => {
  it('is not believed after a failed fsync: what was not on it is written once more', async () => {
    const disk = createWatchedDisk()
    const trail = await trails.open({ openFile: disk.openFile, retryMs: 5, gatherMs: 1, syncMs: 60_000 })
    trail.record(decided({ request: 'first' }))
    expect(await trail.settle()).toBe(true)
    disk.failSync = true
    trail.record(decided({ request: 'second' }))
    expect(await trail.settle()).toBe(false)
    expect(trail.isWritable()).toBe(false)
    // A system that marked as clean what it could not bring to the disk forgets it.
    const path = join(trail.folder, '00000001.ndjson')
    const text = readFileSync(path)
    disk.failSync = false
    await vi.waitFor(() => expect(trail.isWritable()).toBe(true), soon)
    expect(await trail.settle()).toBe(true)
    expect(disk.synced.get(path)).toBe(text.length)
    expect(trails.check().events).toHaveLength(2)
  })

  it('answers whoever waits after a time, and at once from then on, until it works again', async () => {
    const disk = createWatchedDisk()
    // More than a busy disk takes once it is released.
    const trail = await trails.open({ openFile: disk.openFile, settleTimeoutMs: 2_000 })
    let release = () => {}
    disk.hold = new Promise((resolve) => {
      release = resolve
    })
    trail.record(decided())
    const startedAt = performance.now()
    expect(await trail.settle()).toBe(false)
    expect(performance.now() - startedAt).toBeGreaterThanOrEqual(1_990)
    expect(trail.isWritable()).toBe(false)
    trail.record(decided())
    // Before anything else gets its turn.
    expect(await Promise.race([trail.settle(), nextTurn('it waited')])).toBe(false)
    release()
    await vi.waitFor(() => expect(trail.isWritable()).toBe(true), soon)
    expect(await trail.settle()).toBe(true)
    expect(trails.check().events).toHaveLength(2)
    expect(trails.errors).toEqual(['the disk of the audit trail does not answer'])
  })

  it('does not keep the trail from closing', async () => {
    const disk = createWatchedDisk()
    const trail = await trails.open({ openFile: disk.openFile, settleTimeoutMs: 100 })
    let release = () => {}
    disk.hold = new Promise((resolve) => {
      release = resolve
    })
    trail.record(decided())
    await trail.close()
    expect(trails.errors).toContain('audit lines were lost at shutdown')
    release()
  })

  it('never keeps a trail from being opened', async () => {
    writeFileSync(join(trails.folder, 'one-1'), '')
    const trail = await trails.open({ retryMs: 60_000 })
    expect([trail.isWritable(), await trail.settle()]).toEqual([false, false])
  })
})
