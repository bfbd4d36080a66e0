/** What somebody who can write the trail's folder, and has no key, tries beyond changing lines: nothing of it makes less be found, or hangs. */

import { execFileSync } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { linePrefix } from './chain.ts'
import { compressSegment } from './compress.ts'
import { repairChain } from './repair.ts'
import { createReserve } from './reserve.ts'
import { createRetention } from './retention.ts'
import type { SegmentHandle } from './segments.ts'
import { openAuditTrail, type WrittenTrail } from './trail.ts'
import { buildChain, type ChainBuilder, createMemoryAnchors, createTestAuditKey, decision } from './verify.fixture.ts'
import { verifyTrail } from './verify.ts'

const key = createTestAuditKey()
const keys = new Map([[key.kid, key.publicKey]])
const hour = 3_600_000
const day = 24 * hour
const start = Date.UTC(2026, 0, 1)
const quiet = { info: () => undefined, warn: () => undefined, error: () => undefined }

describe('whoever can write the folder of the trail', () => {
  let folder: string
  let anchors: ReturnType<typeof createMemoryAnchors>

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'postern-attacks-'))
    anchors = createMemoryAnchors()
  })
  afterEach(() => rmSync(folder, { recursive: true, force: true }))

  const path = (number: number, chain = 'host-0') => join(folder, chain, `${String(number).padStart(8, '0')}.ndjson`)
  const verify = (since?: number) => verifyTrail({ folders: [folder], keys, anchors: anchors.all, isExpected: () => true, since })
  const dateBack = (file: string) => writeFileSync(file, readFileSync(file, 'utf8').replaceAll(/"at":"2026/g, '"at":"2020'))
  const numbersOf = (chain = 'host-0') => readdirSync(join(folder, chain)).flatMap((name) => /^\d{8}/.exec(name)?.map(Number) ?? [])

  /** A chain with so many ended segments, an hour each, and one that goes on. */
  async function build(chain: string, segments: number): Promise<ChainBuilder> {
    const builder = buildChain(folder, chain, key, start)
    for (let one = 1; one <= segments; one++) {
      builder.decisions(20)
      builder.endSegment()
      builder.setClock(start + one * hour)
    }
    builder.decisions(5)
    builder.checkpoint()
    await anchors.save(builder.anchor())
    return builder
  }

  /** One look of the instance `keeper`, which keeps 400 days. */
  async function keepOnce(): Promise<void> {
    const trail: WrittenTrail = await openAuditTrail({
      ...{ folder, instance: 'keeper', process: '0', key: () => key, anchors, now: () => start + day, log: quiet, reserveBytes: 0 },
    })
    trail.record(decision(0))
    await trail.settle()
    const keep = { ageSeconds: 400 * 86_400, bytes: 1e12 }
    const retention = createRetention({ folder, keep, trail, keys: () => keys, anchors, now: () => start + day, log: quiet })
    await retention.look()
    await retention.close()
    await trail.close()
  }

  it('cannot have lines removed by age under a signed statement, by dating segments back and putting them in order again', async () => {
    await build('host-0', 3)
    const originals = new Map([1, 2, 3, 4].map((number) => [number, readFileSync(path(number))]))
    for (const number of originals.keys()) dateBack(path(number))
    await keepOnce()
    expect(new Set(numbersOf())).toEqual(new Set([1, 2, 3, 4]))
    for (const [number, bytes] of originals) {
      rmSync(`${path(number)}.zst`, { force: true })
      writeFileSync(path(number), bytes)
    }
    expect(await verify()).toMatchObject({ isVerified: true })
  })

  it('cannot have a chain that nobody writes removed as a whole by an old line behind its end', async () => {
    const { head } = await build('gone-0', 0)
    const line = (seq: number) =>
      `${linePrefix(seq, head().hash)}"at":"2020-01-01T00:00:00.000Z","event":"instance.stopped","instance":"host"}\n`
    writeFileSync(path(1, 'gone-0'), line(head().seq + 1), { flag: 'a' })
    await keepOnce()
    expect(existsSync(path(1, 'gone-0'))).toBe(true)
    // Nor when nothing signed is left of it: the store remembers that it lived longer.
    writeFileSync(path(1, 'gone-0'), line(head().seq + 1))
    await keepOnce()
    expect(existsSync(path(1, 'gone-0'))).toBe(true)
    expect(anchors.all.has('gone-0')).toBe(true)
    expect(await verify()).toMatchObject({ isVerified: false })
  })

  it('cannot take away a chain that began anew under the name of one that was pruned as a whole', async () => {
    const first = await build('host-0', 0)
    rmSync(join(folder, 'host-0'), { recursive: true })
    const keeper = buildChain(folder, 'keeper-0', key, start + hour)
    const { hash, seq } = first.head()
    keeper.add({ event: 'audit.pruned', actor: 'retention', chain: 'host-0', segments: 1, throughSeq: seq, head: hash, cause: 'age' })
    keeper.checkpoint()
    await anchors.save(keeper.anchor())
    expect(await verify()).toMatchObject({ isVerified: true })
    const second = buildChain(folder, 'host-0', key, start + 2 * hour)
    second.decisions(1)
    second.checkpoint()
    await anchors.save(second.anchor())
    rmSync(join(folder, 'host-0'), { recursive: true })
    const verdict = await verify()
    expect(verdict.chains.find(({ chain }) => chain === 'host-0')?.findings).toMatchObject([{ kind: 'chain_missing' }])
  })

  it('cannot hide segments from `since` behind a forged one of an early date', async () => {
    const builder = await build('host-0', 5)
    const since = start + 3.5 * hour
    expect(await verify(since)).toMatchObject({ isVerified: true, chains: [{ segments: 3 }] })
    const header = `"at":"2025-12-31T00:00:00.000Z","event":"audit.segment_started","instance":"host","chain":"host-0","segment":7,"form":1`
    const forge = (seq: number, prev: string) =>
      writeFileSync(path(7), `${linePrefix(seq, prev)}${header},"key":"${key.kid}","public_key":"${key.publicKey}"}\n`)
    unlinkSync(path(5))
    forge(builder.head().seq + 1, builder.head().hash)
    expect(await verify(since)).toMatchObject({ isVerified: false })
    forge(900_000_000, 'B'.repeat(43))
    expect(await verify(since)).toMatchObject({ isVerified: false })
    anchors.all.clear()
    expect(await verify(since)).toMatchObject({ isVerified: false })
  })

  it('cannot stop the keeping of all chains with one that cannot be read', async () => {
    const builder = await build('a-gone-0', 2)
    builder.endSegment()
    unlinkSync(path(1, 'a-gone-0'))
    symlinkSync('/dev/zero', path(1, 'a-gone-0'))
    await build('host-0', 2)
    const old = buildChain(folder, 'old-0', key, start - 500 * day)
    old.decisions(5)
    old.checkpoint()
    await keepOnce()
    expect(readdirSync(join(folder, 'a-gone-0'))).toContain('00000002.ndjson.zst')
    expect(existsSync(`${path(1)}.zst`)).toBe(true)
    expect(existsSync(join(folder, 'old-0'))).toBe(false)
  })

  it('cannot hide a cut end by a start at which the store does not answer', async () => {
    let isAway = false
    const store = {
      ...anchors,
      load: (chain: string) => (isAway ? Promise.reject(new Error('the store is away')) : anchors.load(chain)),
    }
    const live = async (lines: number) => {
      const trail = await openAuditTrail({
        ...{ folder, instance: 'host', process: '0', key: () => key, anchors: store, now: () => start, log: quiet, reserveBytes: 0 },
        checkpointLines: 5,
      })
      isAway = false
      for (let line = 0; line < lines; line++) {
        trail.record(decision(line))
        await trail.settle()
      }
      await trail.close()
    }
    await live(20)
    const [lines] = [readFileSync(path(1), 'utf8').split('\n')]
    writeFileSync(path(1), `${lines.slice(0, 8).join('\n')}\n`)
    isAway = true
    await live(40)
    expect(anchors.all.get('host-0')?.seq).toBeGreaterThan(40)
    const [verdict] = (await verify()).chains
    expect(verdict?.findings).toMatchObject([{ kind: 'lost_before_start', message: expect.stringContaining('lines 9 to') }])
  })

  it('cannot make a reader wait for a pipe, or read a device or a file of holes for ever', async () => {
    await build('host-0', 3)
    const [pipe, device, holes] = [path(2), path(3), path(4)] as const
    for (const file of [pipe, device, holes]) unlinkSync(file)
    execFileSync('mkfifo', [pipe])
    symlinkSync('/dev/zero', device)
    writeFileSync(holes, '')
    truncateSync(holes, 100 * 2 ** 30)
    const [verdict] = (await verify()).chains
    const unreadable = verdict?.findings.filter(({ kind }) => kind === 'unreadable').map(({ file }) => file)
    expect(unreadable).toEqual([pipe, device, holes])
    for (const file of [pipe, device]) {
      await expect(compressSegment({ chain: 'host-0', number: 2, path: file, isCompressed: false })).rejects.toThrow('not a file')
    }
  }, 30_000)

  it('cannot lead what is written beside the lines to another file by a link', async () => {
    const victim = join(folder, 'keys.json')
    writeFileSync(victim, '{"secret":1}')
    mkdirSync(join(folder, 'host-0'))
    symlinkSync(victim, join(folder, 'host-0', 'reserve'))
    expect(await createReserve(65_536).make(join(folder, 'host-0'))).toBe(true)
    symlinkSync(victim, path(1))
    await expect(repairChain(folder, 'host-0', quiet)).rejects.toThrow('ELOOP')
    expect(readFileSync(victim, 'utf8')).toBe('{"secret":1}')
  })
})

describe('a trail that is verified while it is pruned', () => {
  it('is accepted where the statement stands behind what was read already', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'postern-pruned-'))
    const keeper = buildChain(folder, 'a-keeper-0', key, start)
    keeper.decisions(5)
    keeper.checkpoint()
    const half = buildChain(folder, 'half-0', key, start)
    half.decisions(5)
    half.endSegment()
    const { hash, seq } = half.head()
    half.decisions(5)
    half.checkpoint()
    const whole = buildChain(folder, 'whole-0', key, start)
    whole.decisions(5)
    whole.checkpoint()
    const anchors = new Map([keeper, half, whole].map((one) => [one.chain, one.anchor()]))
    let isPruned = false
    const prune = ({ chain }: { readonly chain: string }) => {
      if (isPruned || chain !== 'a-keeper-0') return
      isPruned = true
      const event = { event: 'audit.pruned', actor: 'retention', segments: 1, cause: 'age' } as const
      keeper.setClock(start + hour)
      keeper.add({ ...event, chain: 'half-0', throughSeq: seq, head: hash })
      keeper.add({ ...event, chain: 'whole-0', throughSeq: whole.head().seq, head: whole.head().hash })
      keeper.endSegment()
      unlinkSync(join(folder, 'half-0', '00000001.ndjson'))
      unlinkSync(join(folder, 'whole-0', '00000001.ndjson'))
    }
    try {
      const verdict = await verifyTrail({ folders: [folder], keys, anchors, isExpected: () => true }, prune)
      expect(isPruned).toBe(true)
      expect(verdict.chains.flatMap(({ findings }) => findings)).toEqual([])
      expect(verdict.chains.find(({ chain }) => chain === 'half-0')?.prunedThrough).toBe(seq)
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })
})

describe('a file that could not be put in its folder', () => {
  it('is not in the way of the next attempt, whose lines would else stand under another number than they say', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'postern-made-'))
    let failures = 1
    const openFile = async (path: string): Promise<SegmentHandle> => {
      const file = await open(path, 'wx+', 0o600)
      if (failures === 0) return file
      failures -= 1
      const fail = () => Promise.reject(Object.assign(new Error('the disk failed'), { code: 'EIO' }))
      return { ...file, close: () => file.close(), stat: fail } as unknown as SegmentHandle
    }
    const trail = await openAuditTrail({
      ...{ folder, instance: 'host', process: '0', key: () => key, now: () => start, log: quiet, reserveBytes: 0, retryMs: 10, openFile },
    })
    try {
      trail.record(decision(0))
      await expect.poll(() => trail.settle()).toBe(true)
      await trail.close()
      expect(failures).toBe(0)
      expect(await verifyTrail({ folders: [folder], keys, anchors: undefined })).toMatchObject({
        isVerified: true,
        chains: [{ segments: 1 }],
      })
    } finally {
      await trail.close()
      rmSync(folder, { recursive: true, force: true })
    }
  })
})

describe('a failed fsync after which the system no longer holds what was written', () => {
  it('is never followed by the word that it is on the disk', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'postern-zeros-'))
    let isBroken = false
    let reads = 0
    const openFile = async (path: string): Promise<SegmentHandle> => {
      const file = await open(path, 'wx+', 0o600)
      const datasync = async () => {
        if (!isBroken) return await file.datasync()
        isBroken = false
        await file.truncate(0)
        await file.truncate(10_000)
        throw Object.assign(new Error('the disk failed'), { code: 'EIO' })
      }
      const read = (...asked: [Buffer, number, number, number]) => {
        reads += 1
        return file.read(...asked)
      }
      const bound = { write: file.write.bind(file), stat: file.stat.bind(file), close: file.close.bind(file) }
      return { ...bound, read, truncate: file.truncate.bind(file), datasync } as SegmentHandle
    }
    const trail = await openAuditTrail({
      ...{ folder, instance: 'host', process: '0', key: () => key, now: () => start, log: quiet, reserveBytes: 0, retryMs: 10, openFile },
    })
    try {
      isBroken = true
      trail.record(decision(0))
      expect(await trail.settle()).toBe(false)
      const { syncs } = trail.status()
      await expect.poll(() => reads).toBeGreaterThan(3)
      expect(await trail.settle()).toBe(false)
      expect(trail.isWritable()).toBe(false)
      expect(trail.status().syncs).toBe(syncs)
    } finally {
      await trail.close()
      rmSync(folder, { recursive: true, force: true })
    }
  })
})
