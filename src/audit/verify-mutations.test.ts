/**
 * A real trail, changed in one place at random, a hundred and fifty times (POSTERN_TEST_LONG=1: a thousand): each change is found, at its place.
 *
 * The seed is printed with a failure, and `POSTERN_TEST_SEED` runs one again. The long form also verifies a million untouched lines and says
 * how long that took.
 */

import { copyFileSync, cpSync, mkdtempSync, readdirSync, renameSync, rmSync, unlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { AuditKey } from '../keys.ts'
import { hashLine, linePrefix, signCheckpoint } from './chain.ts'
import { compressSegment } from './compress.ts'
import type { AuditEvent } from './event.ts'
import { openAuditTrail, type WrittenTrail } from './trail.ts'
import { listSegments } from './trail-files.ts'
import { buildChain, createMemoryAnchors, createTestAuditKey, decision, readSegment, writeSegment } from './verify.fixture.ts'
import { verifyChain, verifyTrail } from './verify.ts'
import type { Finding } from './verify-verdict.ts'

const isLong = process.env['POSTERN_TEST_LONG'] === '1'
const rounds = isLong ? 1000 : 100
const seedOfRun = Number(process.env['POSTERN_TEST_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
const chain = 'host-0'
const key = createTestAuditKey()
const keys = new Map([[key.kid, key.publicKey]])
const silent = { warn: () => undefined, error: () => undefined }

/** Small, fast and the same everywhere (mulberry32). */
function createRandom(seed: number): (below: number) => number {
  let state = seed >>> 0
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below)
  }
}

function openTrail(
  folder: string,
  anchors = createMemoryAnchors(),
  options: { readonly segmentBytes?: number } = {},
): Promise<WrittenTrail> {
  return openAuditTrail({
    ...{ folder, instance: 'host', process: '0', key: () => key, anchors, now: Date.now, log: silent, gatherMs: 0, syncMs: 1 },
    ...{ reserveBytes: 0, checkpointLines: 40, ...options },
  })
}

const otherEvents: readonly AuditEvent[] = [
  { event: 'facts.recorded', kind: 'subject', hash: 'h'.repeat(43), facts: '{"groups":["staff"]}' },
  { event: 'lock.set', actor: 'os:root@host', on: 'app', target: 'wiki', label: 'wiki', until: undefined, reason: 'ünï‮"\\' },
  {
    ...{ event: 'access.ended', request: 'r', app: 'wiki', status: 200, bytesIn: 1, bytesOut: 2, durationMs: 3, outcome: 'completed' },
    reason: undefined,
  },
]

describe('a trail that was written by the product', () => {
  let folder: string
  let whole: string
  let foreign: string
  const anchors = createMemoryAnchors()

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'postern-mutations-'))
    whole = join(folder, 'whole')
    foreign = join(folder, 'foreign')
    // Six segments or so over two lives of the process; the first two are compressed.
    for (let life = 0; life < 2; life++) {
      const trail = await openTrail(whole, anchors, { segmentBytes: 60_000 })
      for (let line = 0; line < 280; line++) {
        trail.record(decision(line))
        if (line % 9 === 0) trail.record(otherEvents[(line / 9) % otherEvents.length] ?? decision(line))
        if (line % 50 === 0) await trail.settle()
      }
      await trail.close()
    }
    for (const file of (await listSegments(whole, chain)).slice(0, 2)) expect(await compressSegment(file)).toBe('compressed')
    // What another instance wrote under the same keys.
    const other = buildChain(foreign, chain, key)
    for (let segment = 0; segment < 8; segment++) {
      other.decisions(60)
      other.endSegment()
    }
  })
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  const verify = (place: string) => verifyChain({ folder: place, chain, keys, anchor: anchors.all.get(chain) })

  it('verifies', async () => {
    const verdict = await verify(whole)
    expect(verdict).toMatchObject({ anchored: 'reached', findings: [], tornBytes: 0 })
    expect(verdict.segments).toBeGreaterThan(5)
    expect(verdict.signedThrough).toBe(verdict.lastSeq)
  })

  interface Mutation {
    readonly what: string
    /** Places that are right to name: file and lines from, through. */
    readonly expected: readonly { readonly file: string; readonly from: number; readonly through: number }[]
  }

  function mutate(place: string, random: (below: number) => number): Mutation {
    const names = readdirSync(join(place, chain))
      .filter((name) => /^\d{8}/.test(name))
      .sort()
    const pathOf = (index: number) => join(place, chain, names[index] ?? '')
    const fileIndex = random(names.length)
    const file = pathOf(fileIndex)
    const bytes = readSegment(file)
    const lines = bytes.toString('latin1').split('\n').slice(0, -1)
    const index = random(lines.length)
    const save = (edited: readonly string[]) => writeSegment(file, Buffer.from(edited.map((line) => `${line}\n`).join(''), 'latin1'))
    const isLastLine = index === lines.length - 1
    const after = { file: pathOf(fileIndex + 1), from: 1, through: 1 }
    const at = (from: number, through = from) => ({ file, from, through })
    /** The line itself, or the next one, which may be in the next file. */
    const atOrNext = [at(index + 1, index + 2), ...(isLastLine ? [after] : [])]
    switch (random(12)) {
      case 0: {
        const offset = random(bytes.length)
        const line = bytes.subarray(0, offset).filter((byte) => byte === 10).length + 1
        bytes[offset] = (bytes[offset] ?? 0) ^ (1 << random(8))
        writeSegment(file, bytes)
        return { what: `flip ${offset} in ${basename(file)}`, expected: [at(line, line + 1), ...(line === lines.length ? [after] : [])] }
      }
      case 1:
        save(lines.toSpliced(index, 1))
        return { what: `remove ${index + 1} of ${basename(file)}`, expected: [at(index + 1), ...(isLastLine ? [after] : [])] }
      case 2: {
        const inserted =
          [lines[random(lines.length)] ?? '', '', 'x'.repeat(random(300)), '{"at":"2026-01-01T00:00:00.000Z"}'][random(4)] ?? ''
        save(lines.toSpliced(index, 0, inserted))
        return { what: `insert before ${index + 1} of ${basename(file)}`, expected: [at(index + 1, index + 2)] }
      }
      case 3: {
        const other = (index + 1 + random(lines.length - 1)) % lines.length
        const swapped = lines.with(index, lines[other] ?? '').with(other, lines[index] ?? '')
        save(swapped)
        const first = Math.min(index, other) + 1
        return { what: `swap ${index + 1} and ${other + 1} of ${basename(file)}`, expected: [at(first, first + 1)] }
      }
      case 4: {
        const length = random(bytes.length)
        writeSegment(file, bytes.subarray(0, length))
        const line = bytes.subarray(0, length).filter((byte) => byte === 10).length + 1
        return { what: `truncate ${basename(file)} to ${length}`, expected: [at(line), after] }
      }
      case 5:
        save(lines.toSpliced(index, 0, lines[index] ?? ''))
        return { what: `duplicate ${index + 1} of ${basename(file)}`, expected: [at(index + 1, index + 2)] }
      case 6: {
        unlinkSync(file)
        const before = { file: pathOf(fileIndex - 1), from: 1, through: 10_000 }
        return { what: `remove ${basename(file)}`, expected: fileIndex === names.length - 1 ? [before] : [after] }
      }
      case 7: {
        const other = (fileIndex + 1 + random(names.length - 1)) % names.length
        writeSegment(file, readSegment(pathOf(other)))
        return { what: `${basename(file)} replaced by ${basename(pathOf(other))}`, expected: [at(1)] }
      }
      case 8: {
        const from = join(foreign, chain, `${names[fileIndex]?.slice(0, 8)}.ndjson`)
        writeSegment(file, readSegment(from))
        // A first segment that was signed under this name and these keys is right in itself; what follows is not its continuation.
        return { what: `${basename(file)} replaced by another chain's`, expected: fileIndex === 0 ? [after] : [at(1)] }
      }
      case 9: {
        const checkpoints = lines.flatMap((line, number) => (line.includes('"event":"audit.checkpoint"') ? [number] : []))
        const number = checkpoints[random(checkpoints.length)] ?? 0
        save(lines.with(number, forge(lines[number] ?? '', createTestAuditKey(key.kid))))
        return { what: `forge checkpoint ${number + 1} of ${basename(file)}`, expected: [at(number + 1)] }
      }
      case 10: {
        const edited = lines[index]?.replace('"instance":"host"', '"instance":"h0st"') ?? ''
        rechain(place, names, { file: fileIndex, line: index, edited })
        const limit = nextCheckpoint(place, names, { file: fileIndex, line: index })
        return { what: `change ${index + 1} of ${basename(file)} and hang all together again`, expected: limit }
      }
      default: {
        const edited = lines[index]?.replace(/"at":"..../, '"at":"1999') ?? ''
        save(lines.with(index, edited))
        return { what: `change ${index + 1} of ${basename(file)}`, expected: atOrNext }
      }
    }
  }

  function forge(line: string, signer: AuditKey): string {
    const { at, instance, prev, seq } = JSON.parse(line)
    return line.replace(/"signature":"[\w-]+"/, `"signature":"${signCheckpoint({ at, chain, instance, prev, seq }, signer.privateKey)}"`)
  }

  /** What somebody can do who has no key: everything after the edited line hangs together again. */
  function rechain(
    place: string,
    names: readonly string[],
    edit: { readonly file: number; readonly line: number; readonly edited: string },
  ) {
    let prev: string | undefined
    let seq = 0
    for (let file = edit.file; file < names.length; file++) {
      const path = join(place, chain, names[file] ?? '')
      const lines = readSegment(path).toString('latin1').split('\n').slice(0, -1)
      const made = lines.map((line, index) => {
        if (file === edit.file && index < edit.line) return line
        const text = file === edit.file && index === edit.line ? edit.edited : line
        const again = prev === undefined ? text : linePrefix(seq, prev) + text.slice(text.indexOf('"at":'))
        prev = hashLine(Buffer.from(again, 'latin1'))
        seq = Number(/"seq":(\d+)/.exec(again)?.[1]) + 1
        return again
      })
      writeSegment(path, Buffer.from(made.map((line) => `${line}\n`).join(''), 'latin1'))
    }
  }

  /** The edited line itself, or anything up to the first checkpoint after it. */
  function nextCheckpoint(place: string, names: readonly string[], { file, line }: { readonly file: number; readonly line: number }) {
    const places: Mutation['expected'][number][] = []
    for (let index = file; index < names.length; index++) {
      const path = join(place, chain, names[index] ?? '')
      const lines = readSegment(path).toString('latin1').split('\n').slice(0, -1)
      const from = index === file ? line : 0
      const found = lines.findIndex((text, number) => number >= from && text.includes('"event":"audit.checkpoint"'))
      places.push({ file: path, from: from + 1, through: found === -1 ? lines.length : found + 1 })
      if (found !== -1) break
    }
    return places
  }

  const isNamed = ({ file, line }: Finding, { expected }: Mutation) =>
    expected.some((one) => one.file === file && ((line >= one.from && line <= one.through) || line === 0))

  it(`shows each of ${rounds} changes, and where it is`, async () => {
    const place = join(folder, 'changed')
    const failures: string[] = []
    for (let round = 0; round < rounds; round++) {
      rmSync(place, { recursive: true, force: true })
      cpSync(whole, place, { recursive: true })
      const seed = seedOfRun + round
      const mutation = mutate(place, createRandom(seed))
      const { findings } = await verify(place)
      const [first] = findings
      if (first === undefined || !isNamed(first, mutation)) {
        failures.push(`seed ${seed}: ${mutation.what}: ${first === undefined ? 'not found' : JSON.stringify(first)}`)
      }
    }
    expect(failures).toEqual([])
  }, 600_000)

  it('verifies while it is being written, compressed and anchored, without a false alarm', async () => {
    const place = join(folder, 'live')
    const live = createMemoryAnchors()
    const trail = await openTrail(place, live, { segmentBytes: 40_000 })
    let isOver = false
    let written = 0
    const writing = (async () => {
      while (!isOver) {
        for (let line = 0; line < 20; line++) trail.record(decision(written++))
        await nextTurn()
      }
    })()
    const compressing = (async () => {
      while (!isOver) {
        for (const file of (await listSegments(place, chain)).slice(0, -1)) if (!file.isCompressed) await compressSegment(file)
        await nextTurn()
      }
    })()
    const until = performance.now() + (isLong ? 20_000 : 1_500)
    let verified = 0
    let reached = 0
    try {
      while (performance.now() < until) {
        const verdict = await verifyTrail({ folders: [place], keys, anchors: new Map(live.all), isExpected: () => true })
        expect(verdict.chains.flatMap(({ findings }) => findings)).toEqual([])
        verified += 1
        reached += verdict.chains.filter(({ anchored }) => anchored === 'reached').length
      }
    } finally {
      isOver = true
      await Promise.all([writing, compressing])
      await trail.close()
    }
    expect(verified).toBeGreaterThan(2)
    expect(reached).toBeGreaterThan(0)
    expect(await verifyTrail({ folders: [place], keys, anchors: live.all })).toMatchObject({ isVerified: true })
  }, 60_000)

  it('verifies although files go by another name in another place', async () => {
    const place = join(folder, 'copy')
    cpSync(whole, place, { recursive: true })
    renameSync(join(place, chain), join(place, 'renamed'))
    const renamed = await verifyTrail({ folders: [place], keys, anchors: undefined })
    expect(renamed.isVerified).toBe(false)
    renameSync(join(place, 'renamed'), join(place, chain))
    copyFileSync(join(place, chain, '00000003.ndjson'), join(place, chain, 'notes.txt'))
    expect(await verifyTrail({ folders: [place], keys, anchors: undefined })).toMatchObject({ isVerified: true })
  })

  it.runIf(isLong)(
    'verifies a million lines in a few seconds',
    async () => {
      const place = join(folder, 'million')
      const builder = buildChain(place, chain, key)
      for (let block = 0; block < 1000; block++) {
        builder.decisions(999)
        if (block % 100 === 99) builder.endSegment()
        else builder.checkpoint()
      }
      const before = process.cpuUsage()
      const startedAt = performance.now()
      const verdict = await verifyChain({ folder: place, chain, keys, anchor: builder.anchor() })
      const seconds = (performance.now() - startedAt) / 1000
      const { system, user } = process.cpuUsage(before)
      console.log(`${verdict.lines} lines verified in ${seconds.toFixed(1)} s, ${((system + user) / 1e6).toFixed(1)} s of CPU`)
      expect(verdict).toMatchObject({ lines: 1_000_010, findings: [], anchored: 'reached' })
    },
    120_000,
  )
})
