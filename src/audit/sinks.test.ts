/**
 * Sinks behind a trail that is being written: segments rotate, are compressed and removed, receivers fail at random, the sinks end and begin
 * again. Every line arrives, in order.
 */

import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { compressSegment } from './compress.ts'
import { until } from './follow.fixture.ts'
import { decided, useTrails } from './opened-trail.fixture.ts'
import { startHttpReceiver } from './sinks/receiver.fixture.ts'
import { createSinks, type Sinks, type SinksOptions } from './sinks.ts'
import { listSegments, readLines } from './trail-files.ts'

const rounds = (process.env['POSTERN_TEST_LONG'] ?? '') === '' ? 20 : 400

const trails = useTrails()
const closers: (() => Promise<void>)[] = []
const log = { info: () => undefined, warn: () => undefined, error: () => undefined }

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

function start(configurations: SinksOptions['configurations'], pace: SinksOptions['pace'] = {}): Sinks {
  const sinks = createSinks({
    configurations,
    folder: trails.folder,
    positionsFolder: `${trails.folder}-positions`,
    hostname: 'host.example',
    writeLines: async () => undefined,
    now: Date.now,
    monotonicNow: () => performance.now(),
    log,
    pace: { lookMs: 5, leastPauseMs: 1, mostPauseMs: 10, saveMs: 20, batchLines: 50, lookForChainsMs: 10, ...pace },
  })
  closers.push(async () => {
    await sinks.close(0)
    await rm(`${trails.folder}-positions`, { recursive: true, force: true })
  })
  return sinks
}

async function linesOfTrail(): Promise<readonly string[]> {
  const lines: string[] = []
  for (const segment of await listSegments(trails.folder, 'one-1'))
    for await (const { bytes } of readLines(segment)) lines.push(bytes.toString('utf8'))
  return lines
}

describe('sinks behind a trail that is written', () => {
  it('bring every line in order over rotation, compression, failures at random and restarts', { timeout: 120_000 }, async () => {
    const receiver = await startHttpReceiver()
    closers.push(() => receiver.close())
    const taken: string[] = []
    receiver.answer = ({ body }, response) => {
      const chance = Math.random()
      if (chance < 0.2) return void response.writeHead(500).end()
      taken.push(...body.slice(1, -1).split(',\n'))
      if (chance < 0.35) response.destroy()
      else response.end()
    }
    const copy = `${trails.folder}-copy.ndjson`
    closers.push(() => rm(copy, { force: true }))
    const configurations = [
      { name: 'web', type: 'http', url: receiver.url, format: 'json', token: undefined, index: undefined, caFile: undefined },
      { name: 'copy', type: 'file', path: copy },
    ] as const
    const trail = await trails.open({ segmentBytes: 24 * 1024, now: Date.now })
    let sinks = start(configurations)
    for (let round = 0; round < rounds; round += 1) {
      for (let index = 0; index < 60; index += 1) trail.record(decided({ request: `${round}-${index}`, path: `/${'x'.repeat(index * 5)}` }))
      await trail.settle()
      const closed = (await listSegments(trails.folder, 'one-1')).slice(0, -1).filter(({ isCompressed }) => !isCompressed)
      if (round % 4 === 3) for (const segment of closed) await compressSegment(segment)
      if (round % 5 === 4) {
        await sinks.close(0)
        sinks = start(configurations)
      }
    }
    await trail.close()
    const all = await linesOfTrail()
    expect(all.length).toBeGreaterThan(60 * rounds)
    await until(
      () => new Set(taken).size === all.length,
      () => `${new Set(taken).size} of ${all.length}`,
    )
    expect([...new Set(taken)]).toEqual(all)
    const copied = async () => (await readFile(copy, 'utf8')).split('\n').slice(0, -1)
    await until(
      async () => new Set(await copied()).size === all.length,
      () => 'the copy',
      60_000,
    )
    expect([...new Set(await copied())]).toEqual(all)
    expect(sinks.status().map(({ name, lost }) => ({ name, lost }))).toEqual([
      { name: 'web', lost: 0 },
      { name: 'copy', lost: 0 },
    ])
  })

  it('do not hold each other up: a dead one lags, the other does not', async () => {
    const trail = await trails.open({ now: Date.now })
    const copy = `${trails.folder}-copy.ndjson`
    closers.push(() => rm(copy, { force: true }))
    const sinks = start([
      { name: 'dead', type: 'syslog', host: '127.0.0.1', port: 1, tls: undefined, facility: 1 },
      { name: 'copy', type: 'file', path: copy },
    ])
    for (let index = 0; index < 500; index += 1) trail.record(decided())
    await trail.settle()
    // How far a dead one lags is measured now and then, for the first time perhaps before all was written.
    await until(() => {
      const [dead, other] = sinks.status()
      return (other?.sent ?? 0) > 500 && (dead?.failures ?? 0) > 2 && dead?.lagLines === other?.sent
    })
    const [dead, other] = sinks.status()
    expect(dead).toMatchObject({ name: 'dead', type: 'syslog', sent: 0, lagLines: other?.sent })
    expect(dead?.lastError).toMatch(/ECONNREFUSED/)
    expect(dead?.oldestUnsentAt).toBeGreaterThan(Date.now() - 60_000)
    expect(other).toMatchObject({ failures: 0, lagLines: 0, lagBytes: 0, oldestUnsentAt: undefined })
  })

  it('none of which is configured leave nothing on the disk', async () => {
    await trails.open()
    const sinks = start([])
    await sinks.close()
    expect(sinks.status()).toEqual([])
    await expect(readFile(join(`${trails.folder}-positions`, 'one-1'))).rejects.toThrow('ENOENT')
  })
})
