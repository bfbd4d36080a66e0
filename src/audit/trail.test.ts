/** The trail on a real disk: order, rotation, checkpoints, restarts, failure and recovery. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { zstdCompressSync } from 'node:zlib'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { facts, person } from '../policy/policy.fixture.ts'
import { checkChain } from './chain-check.fixture.ts'
import { createTestAnchors, decided, ended, useTrails } from './opened-trail.fixture.ts'
import { createFactsLedger } from './recorded-facts.ts'
import { createTestAuditKey } from './verify.fixture.ts'

const soon = { timeout: 10_000, interval: 10 }

const trails = useTrails()

describe('the trail', () => {
  it('writes one line an event, in order, with place, time, event and instance first', async () => {
    const trail = await trails.open()
    for (let index = 0; index < 5000; index += 1) trail.record(decided({ request: `r${index}` }))
    await trail.close()
    const { events } = trails.check()
    expect(events.map(({ request }) => request)).toEqual(Array.from({ length: 5000 }, (_, index) => `r${index}`))
    expect(events[0]).toMatchObject({ seq: 2, at: '2026-11-22T10:00:00.000Z', event: 'access.decided', instance: 'one', app: 'wiki' })
    expect(Object.keys(events[0] ?? {}).slice(0, 5)).toEqual(['seq', 'prev', 'at', 'event', 'instance'])
  })

  it('writes without being closed, and tells whoever reads on', async () => {
    const trail = await trails.open()
    let told = 0
    const stop = trail.onWritten(() => {
      told += 1
    })
    trail.record(decided())
    // The lines are in the file a moment before readers are told of them.
    await vi.waitFor(() => expect([trails.check().events.length, told]).toEqual([1, 1]), soon)
    stop()
    trail.record(decided())
    await vi.waitFor(() => expect(trails.check().events).toHaveLength(2), soon)
    expect(await trail.settle()).toBe(true)
    expect(told).toBe(1)
  })

  it('leaves nothing but a folder and its lock if nothing happens', async () => {
    const trail = await trails.open()
    await trail.close()
    expect(await readdir(join(trails.folder, 'one-1'))).toEqual(['writer.lock'])
  })

  it('goes on in another file when one is full, and after its time', async () => {
    let at = 0
    const trail = await trails.open({ segmentBytes: 1000, segmentAgeMs: 60_000, now: () => at })
    for (let index = 0; index < 10; index += 1) trail.record(decided())
    await trail.settle()
    const bySize = trails.check().segments.length
    expect(bySize).toBeGreaterThan(2)
    const before = trail.segment()
    trail.record(ended)
    expect(trail.segment()).toBe(before)
    at += 60_000
    trail.record(ended)
    expect(trail.segment()).toBe(before + 1)
    await trail.close()
    const { lines, segments } = trails.check()
    expect(segments).toEqual(Array.from({ length: before }, (_, index) => index + 1))
    // A segment ends in a checkpoint, so each can be kept and verified by itself.
    const lastOnes = lines.filter((_, index) => lines[index + 1]?.event === 'audit.segment_started' || index === lines.length - 1)
    expect(new Set(lastOnes.map(({ event }) => event))).toEqual(new Set(['audit.checkpoint']))
  })

  it('has the facts of every decision in its own segment, and each once there', async () => {
    const trail = await trails.open({ segmentBytes: 5000 })
    const ledger = createFactsLedger(trail.record, trail.isWritable, trail.segment)
    const known = [facts(person()), facts(person({ sub: 'u2' }))]
    for (let index = 0; index < 200; index += 1) {
      const { device, signIn, subject } = ledger.refer(known[index % 2] ?? facts(person()), [])
      trail.record(decided({ facts: { subject, signIn, device } }))
    }
    await trail.close()
    const { events, lines, segments } = trails.check()
    expect(segments.length).toBeGreaterThan(10)
    let seen = new Set<unknown>()
    for (const line of lines) {
      if (line.event === 'audit.segment_started') seen = new Set()
      if (line.event !== 'facts.recorded') continue
      expect(seen.has(line['hash'])).toBe(false)
      seen.add(line['hash'])
    }
    expect(events.filter(({ event }) => event === 'access.decided')).toHaveLength(200)
  })

  it('signs a checkpoint each so many lines, after a time, and at the end, if there is anything new', async () => {
    // A disk that takes longer than the time between two checkpoints must not bring one forward.
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
    onTestFinished(() => void vi.useRealTimers())
    const trail = await trails.open({ checkpointLines: 10, checkpointMs: 20 })
    for (let index = 0; index < 25; index += 1) trail.record(decided())
    await trail.settle()
    expect(trails.check().signedThrough).toBe(22)
    vi.advanceTimersByTime(20)
    await trail.settle()
    expect(trails.check().signedThrough).toBe(29)
    const { seq } = trail.status()
    vi.advanceTimersByTime(60)
    expect(trail.status().seq).toBe(seq)
    trail.record(decided())
    await trail.close()
    const { lines, signedThrough } = trails.check()
    expect(signedThrough).toBe(lines.length)
  })

  it('signs with another key from a new segment on', async () => {
    let key = trails.key
    const trail = await trails.open({ key: () => key })
    trail.record(decided())
    key = createTestAuditKey('key-2')
    trail.record(decided())
    trail.record(decided())
    await trail.close()
    const { lines } = checkChain(trails.folder, 'one-1', {
      'key-1': trails.key.publicKey,
      'key-2': key.publicKey,
    })
    const keys = lines.filter(({ event }) => event === 'audit.checkpoint' || event === 'audit.segment_started')
    expect(keys.map((line) => [line.event, line['key']])).toEqual([
      ['audit.segment_started', 'key-1'],
      ['audit.checkpoint', 'key-1'],
      ['audit.segment_started', 'key-2'],
      ['audit.checkpoint', 'key-2'],
    ])
  })

  it('takes another name where somebody writes the first, and the first again once it is free', async () => {
    const first = await trails.open()
    const second = await trails.open()
    const third = await trails.open()
    expect([first.chain, second.chain, third.chain]).toEqual(['one-1', 'one-1-2', 'one-1-3'])
    expect(second.folder).toBe(join(trails.folder, 'one-1-2'))
    for (const trail of [first, second, third]) trail.record(decided())
    await Promise.all([first.close(), second.close(), third.close()])
    for (const { chain } of [first, second, third]) expect(trails.check(chain).events).toHaveLength(1)
    expect((await trails.open()).chain).toBe('one-1')
  })

  it('keeps its folder in place whatever the instance is called', async () => {
    const trail = await trails.open({ instance: '../../etc', process: '..' })
    trail.record(decided())
    await trail.close()
    expect(await readdir(trails.folder)).toEqual(['__.._etc-_'])
  })

  it('signs for an instance whose name is longer than a line holds, or is not well-formed', async () => {
    for (const instance of ['x'.repeat(300), 'a\u202e\ud800"\n']) {
      const trail = await trails.open({ instance })
      trail.record(decided())
      await trail.close()
      expect(trails.check(trail.chain).signedThrough).toBe(3)
    }
  })

  it('can be read by its owner alone', async () => {
    const trail = await trails.open({ reserveBytes: 1000 })
    trail.record(decided())
    await trail.close()
    expect((await stat(join(trails.folder, 'one-1'))).mode & 0o777).toBe(0o700)
    for (const name of ['00000001.ndjson', 'reserve']) expect((await stat(join(trails.folder, 'one-1', name))).mode & 0o777).toBe(0o600)
  })
})

describe('a chain that goes on after a restart', () => {
  const path = (number: number) => join(trails.folder, 'one-1', `${String(number).padStart(8, '0')}.ndjson`)
  const live = async (changes: Parameters<typeof trails.open>[0] = {}) => {
    const trail = await trails.open(changes)
    trail.record(decided({ request: 'x' }))
    await trail.close()
  }

  it('begins a new segment behind the last line', async () => {
    await live()
    await live()
    const { events, lines, segments } = trails.check()
    expect(segments).toEqual([1, 2])
    expect(events.map(({ seq }) => seq)).toEqual([2, 6])
    expect(lines.map(({ event }) => event)).not.toContain('audit.repaired')
  })

  it('signs what an earlier life left unsigned with its first lines', async () => {
    await live()
    const kept = (await readFile(path(1), 'utf8')).split('\n').slice(0, 2)
    await writeFile(path(1), `${kept.join('\n')}\n`)
    const trail = await trails.open({ checkpointLines: 1_000_000, checkpointMs: 86_400_000 })
    trail.record(decided({ request: 'y' }))
    expect(await trail.settle()).toBe(true)
    expect(trails.check().lines.map(({ event }) => event)).toEqual([
      ...['audit.segment_started', 'access.decided', 'audit.segment_started', 'audit.checkpoint', 'access.decided'],
    ])
    await trail.close()
  })

  it.each([1, 20, 200])('cuts off %i bytes of half a line and says so', async (missing) => {
    await live()
    const whole = await readFile(path(1))
    await truncate(path(1), whole.length - missing)
    await live()
    const { lines } = trails.check()
    const [repaired] = lines.filter(({ event }) => event === 'audit.repaired')
    expect(Number(repaired?.['torn_bytes'])).toBeGreaterThan(0)
    expect(lines.filter(({ request }) => request === 'x')).toHaveLength(2)
    expect(repaired?.['anchored_seq']).toBeUndefined()
  })

  it('takes a file of which nothing is whole for none', async () => {
    await live()
    await writeFile(path(2), '')
    await live()
    expect(trails.check().segments).toEqual([1, 2])
    await writeFile(path(3), '{"seq":8,"prev')
    await live()
    const { lines, segments } = trails.check()
    expect(segments).toEqual([1, 2, 3])
    expect(lines.find(({ event }) => event === 'audit.repaired')).toMatchObject({ torn_bytes: 14, found_seq: 7 })
  })

  it('goes on behind a compressed segment, whatever a crash left of the compression', async () => {
    await live()
    await live()
    await writeFile(`${path(2)}.zst`, zstdCompressSync(await readFile(path(2))))
    await writeFile(`${path(2)}.zst.tmp`, 'half')
    await live()
    await rm(path(2))
    await writeFile(`${path(3)}.zst`, zstdCompressSync(await readFile(path(3))))
    await rm(path(3))
    await writeFile(`${path(4)}.zst.tmp`, zstdCompressSync('x').subarray(0, 10))
    await live()
    const { lines, segments } = trails.check()
    expect(segments).toEqual([1, 2, 3, 4])
    expect(lines.map(({ event }) => event)).not.toContain('audit.repaired')
    expect(trails.errors).toEqual([])
  })

  it('goes on behind what the store remembers where that is more, and the gap stays visible', async () => {
    const anchors = createTestAnchors()
    await live({ anchors })
    await live({ anchors })
    expect(anchors.saved.at(-1)).toMatchObject({ chain: 'one-1', seq: 7, segment: 2 })
    await rm(path(2))
    await live({ anchors })
    const { gaps, lines, segments } = trails.check()
    expect(gaps).toEqual([{ from: 4, through: 7 }])
    expect(segments).toEqual([1, 3])
    expect(lines.find(({ event }) => event === 'audit.repaired')).toMatchObject({ torn_bytes: 0, found_seq: 3, anchored_seq: 7 })
    expect(lines.find(({ seq }) => seq === 8)).toMatchObject({ prev: anchors.saved.find(({ seq }) => seq === 7)?.hash })
  })

  it('is not the same chain again where everything is gone but the memory of it', async () => {
    const anchors = createTestAnchors()
    await live({ anchors })
    await rm(join(trails.folder, 'one-1'), { recursive: true })
    await live({ anchors })
    expect(trails.check().gaps).toEqual([{ from: 1, through: 3 }])
  })

  it('goes on with what was found where the store is away, and remembers its head later', async () => {
    const anchors = createTestAnchors()
    await live({ anchors })
    anchors.fail = true
    const trail = await trails.open({ anchors, checkpointLines: 2 })
    trail.record(decided())
    trail.record(decided())
    expect(await trail.settle()).toBe(true)
    anchors.fail = false
    trail.record(decided())
    trail.record(decided())
    await trail.close()
    expect(anchors.saved.map(({ seq }) => seq)).toEqual([3, trail.status().seq])
    expect(trails.check().gaps).toEqual([])
  })

  it('waits for the store no longer than two seconds', async () => {
    const never = { load: () => new Promise<undefined>(() => undefined), save: async () => undefined }
    const startedAt = performance.now()
    const trail = await trails.open({ anchors: never })
    expect(performance.now() - startedAt).toBeLessThan(4000)
    trail.record(decided())
    expect(await trail.settle()).toBe(true)
  })

  it('leaves lines that do not hang together to whoever verifies', async () => {
    await live()
    const text = await readFile(path(1), 'utf8')
    const forged = text.replace('"request":"x"', '"request":"y"')
    await writeFile(path(1), forged)
    await live()
    expect(await readFile(path(1), 'utf8')).toBe(forged)
    expect(() => trails.check()).toThrow('does not follow 2')
    expect(trails.errors).toEqual(['lines at the end of the audit trail do not hang together'])
  })
})

describe('a trail that cannot be written', () => {
  it('says so, keeps what it can, recovers by itself and states the gap', async () => {
    // A file where the folder should be: the one obstacle that also stops root.
    await writeFile(join(trails.folder, 'one-1'), '')
    let told = 0
    const onLost = () => {
      told += 1
    }
    const trail = await trails.open({ queueBytes: 1000, retryMs: 5, onLost })
    expect(trails.errors).toEqual(['the audit trail cannot be written'])
    expect(trail.isWritable()).toBe(false)
    for (let index = 0; index < 20; index += 1) trail.record(decided({ request: `r${index}` }))
    expect(await trail.settle()).toBe(false)

    await rm(join(trails.folder, 'one-1'))
    await vi.waitFor(() => expect(trail.isWritable()).toBe(true), soon)
    trail.record(decided({ request: 'after' }))
    expect(await trail.settle()).toBe(true)
    await trail.close()
    const { events, lines } = trails.check()
    const kept = events.filter(({ request }) => String(request).startsWith('r')).length
    expect(kept).toBeGreaterThan(0)
    expect([told, trail.status().lost]).toEqual([20 - kept, 20 - kept])
    expect(lines.find(({ event }) => event === 'audit.resumed')).toMatchObject({ lost: 20 - kept, since: '2026-11-22T10:00:00.000Z' })
    expect(events.at(-1)).toMatchObject({ request: 'after' })
  })

  it('keeps room for ends when traffic has filled the queue', async () => {
    await writeFile(join(trails.folder, 'one-1'), '')
    const trail = await trails.open({ queueBytes: 1000, retryMs: 60_000 })
    for (let index = 0; index < 20; index += 1) trail.record(decided())
    trail.record(ended)
    await rm(join(trails.folder, 'one-1'))
    await trail.close()
    expect(trails.check().events.map(({ event }) => event)).toContain('session.ended')
  })

  it('loses facts and the decision that refers to them together', async () => {
    await writeFile(join(trails.folder, 'one-1'), '')
    const trail = await trails.open({ queueBytes: 3000, retryMs: 60_000 })
    const facts = { subject: 'h', signIn: 'h', device: 'h' }
    trail.record({ event: 'facts.recorded', kind: 'subject', hash: 'h', facts: 'x'.repeat(4000) })
    trail.record(decided({ facts }))
    await rm(join(trails.folder, 'one-1'))
    await trail.close()
    expect(trails.check().lines.map(({ event }) => event)).toEqual(['audit.segment_started', 'audit.resumed', 'audit.checkpoint'])
  })

  it('notices that its folder was deleted, and the chain goes on', async () => {
    const trail = await trails.open({ gatherMs: 0 })
    trail.record(decided({ request: 'before' }))
    await trail.settle()
    await rm(join(trails.folder, 'one-1'), { recursive: true })
    await vi.waitFor(
      async () => {
        trail.record(decided({ request: 'after' }))
        expect(await readdir(join(trails.folder, 'one-1'))).toContain('00000002.ndjson')
      },
      { timeout: 5000, interval: 50 },
    )
    expect((await trails.open()).chain).toBe('one-1-2')
    const { seq } = trail.status()
    await trail.close()
    const text = await readFile(join(trails.folder, 'one-1', '00000002.ndjson'), 'utf8')
    expect(Number(/^\{"seq":(\d+),/.exec(text)?.[1])).toBeLessThanOrEqual(seq)
    expect(trails.errors).toEqual(['a file of the audit trail has vanished'])
  })

  it('takes a batch back of which only a part fitted', async () => {
    // The shell's limit on file size cuts a write short, as a full disk does, and needs no rights.
    const program = `
      import { mkdirSync } from 'node:fs'
      import { createSegments } from ${JSON.stringify(new URL('./segments.ts', import.meta.url).href)}
      const folder = ${JSON.stringify(join(trails.folder, 'limited'))}
      mkdirSync(folder)
      const segments = createSegments({ folder: () => folder, prepareFolder: async () => undefined, monotonicNow: () => 0 })
      const bytes = Buffer.from(('{"filler":"' + 'x'.repeat(1000) + '"}\\n').repeat(90))
      let batches = 0
      try { for (;;) { await segments.append({ bytes, segment: 1 }); batches += 1 } } catch (error) { console.log(batches, error.code) }
      await segments.append({ bytes: Buffer.from('{"last":true}\\n'), segment: 1 })
    `
    const child = spawn('sh', ['-c', 'ulimit -f 512; exec "$0" --input-type=module -e "$1"', process.execPath, program], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let output = ''
    child.stdout.on('data', (chunk: Buffer) => {
      output += chunk.toString()
    })
    await once(child, 'exit')
    expect(output).toMatch(/^\d+ EFBIG$/m)
    const lines = (await readFile(join(trails.folder, 'limited', '00000001.ndjson'), 'utf8')).split('\n')
    expect(lines.slice(-2)).toEqual(['{"last":true}', ''])
    expect(lines).toHaveLength(Number(output.split(' ')[0]) * 90 + 2)
  })

  it('closes without an exception, and what comes later is not an error', async () => {
    await writeFile(join(trails.folder, 'one-1'), '')
    const trail = await trails.open()
    trail.record(decided())
    await trail.close()
    trail.record(decided())
    expect(trail.isWritable()).toBe(false)
    expect(await trail.settle()).toBe(false)
    await trail.close()
    expect(trails.errors).toContain('audit lines were lost at shutdown')
  })

  it('never throws into a request, whatever it is handed', async () => {
    const trail = await trails.open()
    const broken = {
      event: 'access.decided',
      get request(): string {
        throw new Error('broken')
      },
    }
    expect(() => trail.record(broken as unknown as ReturnType<typeof decided>)).not.toThrow()
    expect(await trail.settle()).toBe(false)
    await trail.close()
  })
})

describe('strangers', () => {
  const anonymous = { subject: { kind: 'nobody' }, session: undefined } as const

  it('are counted by address, app and reason; others are listed', async () => {
    const trail = await trails.open()
    for (let index = 0; index < 100; index += 1) {
      trail.record(decided({ ...anonymous, effect: 'challenge', reason: 'login_required', rule: undefined }))
      trail.record(decided({ ...anonymous, effect: 'deny', reason: 'app_not_found', app: undefined, address: '192.0.2.9' }))
    }
    trail.record(decided({ ...anonymous, effect: 'allow', reason: 'public' }))
    trail.record(decided({ effect: 'deny', reason: 'no_rule_matched' }))
    await trail.close()
    const { events } = trails.check()
    expect(events.filter(({ event }) => event === 'access.decided').map(({ reason }) => reason)).toEqual(['public', 'no_rule_matched'])
    expect(events.filter(({ event }) => event === 'access.counted')).toEqual([
      expect.objectContaining({ address: '192.0.2.1', app: 'wiki', reason: 'login_required', count: 100 }),
      expect.objectContaining({ address: '192.0.2.9', reason: 'app_not_found', count: 100, since: '2026-11-22T10:00:00.000Z' }),
    ])
  })

  it('cannot fill the disk with failed sign-ins', async () => {
    const trail = await trails.open()
    for (let index = 0; index < 1000; index += 1) {
      trail.record({ event: 'sign_in.failed', request: `r${index}`, reason: 'sign_in_invalid', error: undefined, address: '192.0.2.1' })
    }
    await trail.close()
    const { events } = trails.check()
    expect(events.filter(({ event }) => event === 'sign_in.failed')).toHaveLength(10)
    expect(events.at(-1)).toMatchObject({ event: 'access.counted', count: 990 })
  })
})
