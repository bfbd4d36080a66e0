/** Keeping the trail: compression at every crash point, pruning by age and size, and that what is left always verifies. */

import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { compressSegment, removeDrafts } from './compress.ts'
import { lockFolder } from './folder-lock.ts'
import { prune } from './pruning.ts'
import { createRetention, type Retention } from './retention.ts'
import { planPruning } from './retention-plan.ts'
import { openAuditTrail, type WrittenTrail } from './trail.ts'
import { listSegments } from './trail-files.ts'
import { buildChain, createMemoryAnchors, createTestAuditKey, decision } from './verify.fixture.ts'
import { verifyTrail } from './verify.ts'

const isLong = process.env['POSTERN_TEST_LONG'] === '1'
const key = createTestAuditKey()
const keys = new Map([[key.kid, key.publicKey]])
const hour = 3_600_000
const start = Date.UTC(2026, 0, 1)

describe('keeping the trail', () => {
  let folder: string
  let time: number
  let anchors: ReturnType<typeof createMemoryAnchors>
  let trail: WrittenTrail
  let retention: Retention | undefined
  const messages: string[] = []
  const keep = (_: unknown, text?: string) => void messages.push(String(text))
  const log = { info: keep, warn: keep, error: keep }

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'postern-retention-'))
    time = start
    anchors = createMemoryAnchors()
    messages.length = 0
    await openTrail()
  })
  afterEach(async () => {
    await retention?.close()
    retention = undefined
    await trail.close()
    rmSync(folder, { recursive: true, force: true })
  })

  async function openTrail(): Promise<void> {
    trail = await openAuditTrail({
      ...{ folder, instance: 'host', process: '0', key: () => key, anchors, now: () => time, log, gatherMs: 0, syncMs: 1 },
      ...{ segmentAgeMs: hour, reserveBytes: 0, checkpointLines: 20 },
    })
  }
  /** A segment for each hour. */
  async function write(hours: number): Promise<void> {
    for (let one = 0; one < hours; one++) {
      for (let line = 0; line < 30; line++) trail.record(decision(line))
      time += hour
      trail.record(decision(0))
      await trail.settle()
    }
    trail.record(decision(0))
    await trail.settle()
  }
  function keepTrail(ageSeconds: number, bytes: number, everyMs = 1_000_000): Retention {
    retention = createRetention({ folder, keep: { ageSeconds, bytes }, trail, keys: () => keys, anchors, now: () => time, log, everyMs })
    return retention
  }
  const filesOf = (chain = 'host-0') => readdirSync(join(folder, chain)).filter((name) => /\d{8}/.test(name))
  const verify = () => verifyTrail({ folders: [folder], keys, anchors: anchors.all, isExpected: () => true })
  const path = (number: number, chain = 'host-0') => join(folder, chain, `${String(number).padStart(8, '0')}.ndjson`)

  it('compresses closed segments, and never the one that is being written', async () => {
    await write(3)
    const before = readFileSync(path(2))
    await keepTrail(1e9, 1e12).look()
    expect(filesOf()).toEqual(['00000001.ndjson.zst', '00000002.ndjson.zst', '00000003.ndjson.zst', '00000004.ndjson'])
    expect(zstdDecompressSync(readFileSync(`${path(2)}.zst`))).toEqual(before)
    expect(statSync(`${path(2)}.zst`).mode & 0o777).toBe(0o600)
    expect(await verify()).toMatchObject({ isVerified: true, chains: [{ segments: 4 }] })
  })

  it('hears that a segment was closed', async () => {
    keepTrail(1e9, 1e12)
    await write(1)
    for (let round = 0; round < 3; round++) {
      trail.record(decision(0))
      await trail.settle()
    }
    await expect.poll(() => filesOf()).toEqual(['00000001.ndjson.zst', '00000002.ndjson'])
  })

  it('says how much of what it may the trail takes', async () => {
    await write(3)
    const kept = keepTrail(1e9, 100_000)
    await kept.look()
    const bytes = filesOf().reduce((sum, name) => sum + statSync(join(folder, 'host-0', name)).size, 0)
    expect(kept.usage()).toMatchObject({ bytes, limitBytes: 100_000, share: bytes / 100_000 })
    expect(kept.usage().diskFreeBytes).toBeGreaterThan(0)
  })

  it('prunes by age, states it first, and leaves a chain that verifies', async () => {
    await write(6)
    await keepTrail((2.5 * hour) / 1000, 1e12).look()
    const verdict = await verify()
    expect(verdict).toMatchObject({ isVerified: true })
    expect(verdict.chains[0]?.prunedThrough).toBeGreaterThan(90)
    expect((await listSegments(folder, 'host-0')).map(({ number }) => number)).toEqual([4, 5, 6, 7])
    expect(readFileSync(path(7), 'utf8')).toContain('"event":"audit.pruned"')
    expect(readFileSync(path(7), 'utf8')).toContain('"actor":"retention","chain":"host-0","segments":3')
  })

  it('prunes by size, the oldest of all chains first', async () => {
    const old = buildChain(folder, 'gone-0', key, start - 100 * hour)
    old.decisions(50)
    old.endSegment()
    old.setClock(start + 2 * hour)
    old.decisions(50)
    old.checkpoint()
    await anchors.save(old.anchor())
    await write(5)
    const sizes = (chain: string) => filesOf(chain).map((name) => statSync(join(folder, chain, name)).size)
    await keepTrail(1e9, 1e12).look()
    const all = [...sizes('gone-0'), ...sizes('host-0')].reduce((sum, size) => sum + size, 0)
    await retention?.close()
    const [first = 0] = sizes('host-0')
    // The first segments of both chains, and no more: `gone-0` ends later than `host-0` does its first hours.
    await keepTrail(1e9, all - first - 1).look()
    expect((await listSegments(folder, 'gone-0')).map(({ number }) => number)).toEqual([1, 2])
    expect((await listSegments(folder, 'host-0')).map(({ number }) => number)).toEqual([3, 4, 5, 6])
    expect(await verify()).toMatchObject({ isVerified: true })
  })

  it('removes a chain that nobody writes as a whole, with its anchor', async () => {
    const old = buildChain(folder, 'gone-0', key, start - 1000 * hour)
    old.decisions(50)
    old.endSegment()
    old.decisions(50)
    old.checkpoint()
    await anchors.save(old.anchor())
    await write(1)
    await keepTrail((100 * hour) / 1000, 1e12).look()
    expect(existsSync(join(folder, 'gone-0'))).toBe(false)
    expect([...anchors.all.keys()]).toEqual(['host-0'])
    expect(await verify()).toMatchObject({ isVerified: true, elsewhere: [] })
  })

  it('leaves the chain of another living process alone', async () => {
    const other = buildChain(folder, 'host-1', key, start - 1000 * hour)
    other.decisions(50)
    other.endSegment()
    other.decisions(5)
    other.checkpoint()
    const lock = await lockFolder(join(folder, 'host-1'))
    try {
      await write(1)
      await keepTrail(10, 1).look()
      expect(filesOf('host-1')).toEqual(['00000001.ndjson', '00000002.ndjson'])
    } finally {
      lock?.release()
    }
    await retention?.look()
    expect(existsSync(join(folder, 'host-1'))).toBe(false)
    expect(await verify()).toMatchObject({ isVerified: true })
  })

  it('removes nothing that could not be stated', async () => {
    await write(4)
    const silent = { ...trail, chain: trail.chain, settle: async () => false }
    retention = createRetention({
      folder,
      keep: { ageSeconds: 1, bytes: 1 },
      trail: silent,
      keys: () => keys,
      anchors,
      now: () => time,
      log,
    })
    await retention.look()
    expect(await listSegments(folder, 'host-0')).toHaveLength(5)
    expect(messages).toContain('the audit trail could not be pruned')
  })

  it('states again what another chain begins with when the statement itself goes', async () => {
    const command = buildChain(folder, 'host-command', key, start)
    await write(3)
    const plan = await planPruning(folder, { olderThan: time - 1.5 * hour }, (chain) => (chain === 'host-0' ? 'closed' : 'none'), keys)
    command.setClock(start + 1.7 * hour)
    const state = async (statements: readonly Parameters<typeof command.add>[0][]) => {
      for (const statement of statements) command.add(statement)
      command.endSegment()
    }
    await prune(plan, { folder, actor: 'os:root@host', cause: 'command', keys, anchors, state, ownChain: undefined })
    expect(await verify()).toMatchObject({ isVerified: true })
    expect((await listSegments(folder, 'host-0')).length).toBeLessThan(4)
    // The command's chain is older than what is left of the other.
    await keepTrail((1.2 * hour) / 1000, 1e12).look()
    expect(existsSync(join(folder, 'host-command'))).toBe(false)
    expect(await verify()).toMatchObject({ isVerified: true })
  })

  it('does not vouch for a beginning that somebody else removed', async () => {
    await write(4)
    await keepTrail(1e9, 1e12).look()
    rmSync(`${path(1)}.zst`)
    const forged = buildChain(folder, 'gone-0', createTestAuditKey(key.kid), start - 1000 * hour)
    const { prev, seq } = JSON.parse(
      zstdDecompressSync(readFileSync(`${path(2)}.zst`))
        .toString()
        .split('\n')[0] ?? '',
    )
    forged.add({ event: 'audit.pruned', actor: 'x', chain: 'host-0', segments: 1, throughSeq: seq - 1, head: prev, cause: 'age' })
    forged.checkpoint()
    await retention?.close()
    await keepTrail((100 * hour) / 1000, 1e12).look()
    expect(existsSync(join(folder, 'gone-0'))).toBe(false)
    expect((await verify()).chains[0]?.findings).toMatchObject([{ kind: 'beginning_missing' }])
  })

  it.each([
    [
      'a draft that was not finished',
      (plain: string) => writeFileSync(`${plain}.zst.new`, zstdCompressSync(readFileSync(plain)).subarray(0, 100)),
    ],
    ['a whole draft', (plain: string) => writeFileSync(`${plain}.zst.new`, zstdCompressSync(readFileSync(plain)))],
    ['both forms', (plain: string) => writeFileSync(`${plain}.zst`, zstdCompressSync(readFileSync(plain)))],
    ['both forms, the compressed one broken', (plain: string) => writeFileSync(`${plain}.zst`, 'x')],
  ])('goes on where a crash left %s', async (_, crash) => {
    await write(2)
    const content = readFileSync(path(1))
    crash(path(1))
    expect(await verify()).toMatchObject({ isVerified: true })
    await keepTrail(1e9, 1e12).look()
    expect(filesOf()).toEqual(['00000001.ndjson.zst', '00000002.ndjson.zst', '00000003.ndjson'])
    expect(zstdDecompressSync(readFileSync(`${path(1)}.zst`))).toEqual(content)
    expect(await verify()).toMatchObject({ isVerified: true })
  })

  it('leaves the plain file where a copy cannot be made, and says so once', async () => {
    await write(2)
    mkdirSync(`${path(1)}.zst.new`)
    const kept = keepTrail(1e9, 1e12)
    await kept.look()
    await kept.look()
    expect(filesOf()).toContain('00000001.ndjson')
    expect(messages.filter((text) => text.includes('compressed'))).toHaveLength(1)
    expect(await verify()).toMatchObject({ isVerified: true })
  })

  it('does not compress a segment that ends in half a line, nor bring one back that was pruned meanwhile', async () => {
    await write(2)
    writeFileSync(path(1), '{"seq":', { flag: 'a' })
    const [first, second] = await listSegments(folder, 'host-0')
    if (first === undefined || second === undefined) throw new Error('two segments were written')
    expect(await compressSegment(first)).toBe('torn')
    const compressing = compressSegment(second)
    rmSync(path(2))
    expect(await compressing).toBe('gone')
    await removeDrafts(join(folder, 'host-0'))
    expect(filesOf()).toEqual(['00000001.ndjson', '00000003.ndjson'])
  })

  it('compresses the last segment of a chain that nobody has gone on with for a day', async () => {
    const old = buildChain(folder, 'gone-0', key, start)
    old.decisions(50)
    old.checkpoint()
    await anchors.save(old.anchor())
    time = Date.now()
    const kept = keepTrail(1e9, 1e12)
    await kept.look()
    expect(filesOf('gone-0')).toEqual(['00000001.ndjson'])
    const yesterday = Date.now() / 1000 - 100_000
    utimesSync(path(1, 'gone-0'), yesterday, yesterday)
    await kept.look()
    expect(filesOf('gone-0')).toEqual(['00000001.ndjson.zst'])
    await write(1)
    expect(await verify()).toMatchObject({ isVerified: true })
  })

  it('leaves chains that verify after any sequence of writing, pruning, restarts and interruptions', async () => {
    const step = fc.oneof(
      fc.record({ what: fc.constant('write' as const), hours: fc.integer({ min: 1, max: 3 }) }),
      fc.record({ what: fc.constant('prune' as const), age: fc.integer({ min: 0, max: 6 }), kilobytes: fc.integer({ min: 1, max: 200 }) }),
      fc.record({ what: fc.constant('command' as const), age: fc.integer({ min: 0, max: 6 }), failsAfter: fc.integer({ min: 0, max: 4 }) }),
      fc.record({ what: fc.constant('restart' as const), process: fc.constantFrom('0', '1') }),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 12 }), async (steps) => {
        await trail.close()
        rmSync(folder, { recursive: true, force: true })
        anchors.all.clear()
        time = start
        await openTrail()
        for (const one of steps) {
          if (one.what === 'write') await write(one.hours)
          else if (one.what === 'restart') {
            await trail.close()
            trail = await openAuditTrail({
              ...{ folder, instance: 'host', process: one.process, key: () => key, anchors, now: () => time, log, gatherMs: 0, syncMs: 1 },
              ...{ segmentAgeMs: hour, reserveBytes: 0 },
            })
          } else if (one.what === 'prune') {
            await keepTrail((one.age * hour) / 1000, one.kilobytes * 1000).look()
            await retention?.close()
          } else await pruneByCommand(one.age, one.failsAfter)
          const { chains } = await verify()
          expect(chains.flatMap(({ findings }) => findings)).toEqual([])
        }
      }),
      { numRuns: isLong ? 200 : 12 },
    )
  }, 300_000)

  /** As the command does it beside a running instance, and killed after some files. */
  async function pruneByCommand(age: number, failsAfter: number): Promise<void> {
    const plan = await planPruning(folder, { olderThan: time - age * hour }, (chain) => (chain === trail.chain ? 'closed' : 'whole'), keys)
    const command = await openAuditTrail({
      ...{ folder, instance: 'host', process: 'command', key: () => key, anchors, now: () => time, log, gatherMs: 0, reserveBytes: 0 },
    })
    const state = async (statements: readonly Parameters<typeof command.record>[0][]) => {
      for (const statement of statements) command.record(statement)
      expect(await command.settle()).toBe(true)
    }
    let isKilled = false
    const cut = plan.chains.map((one) => ({ ...one, isWhole: one.isWhole && failsAfter > 3, segments: one.segments.slice(0, failsAfter) }))
    await prune(plan, {
      ...{ folder, actor: 'os:root@host', cause: 'command', keys, anchors, ownChain: undefined },
      state: async (statements) => {
        await state(statements)
        isKilled = failsAfter < 3
        if (isKilled) throw new Error('killed')
      },
    }).catch(() => undefined)
    // Stated and then killed: some of the files went.
    if (isKilled) for (const { segments } of cut) for (const segment of segments) rmSync(segment.path, { force: true })
    await command.close()
    await delay(0)
  }
})
