/** Reading several chains as one: in order, whatever the files look like, and no more of them than is asked for. */

import { appendFileSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { zstdCompressSync } from 'node:zlib'
import { afterEach, describe, expect, it } from 'vitest'
import { mergeLines, type Period, type ReadPositions } from './merged-lines.ts'
import { type LinePlace, loadNewestLines } from './newest-lines.ts'
import { compileQuery } from './search.ts'
import { tailLines } from './tail-lines.ts'
import { parseTrailLine } from './trail-files.ts'
import { createWrittenTrail, decided, type WrittenTrail } from './written-trail.fixture.ts'

const trails: WrittenTrail[] = []
afterEach(() => {
  for (const trail of trails.splice(0)) trail.remove()
})

function freshTrail(): WrittenTrail {
  const trail = createWrittenTrail()
  trails.push(trail)
  return trail
}

const day = Date.UTC(2026, 10, 22)
const minute = 60_000
const requestOf = (bytes: Buffer) => parseTrailLine(bytes)?.['request']

async function requests(folders: readonly string[], period: Period & { readonly positions?: ReadPositions } = {}): Promise<unknown[]> {
  const found: unknown[] = []
  for await (const { bytes } of mergeLines(folders, { selection: compileQuery({}), ...period })) found.push(requestOf(bytes))
  return found
}

/** Three chains in two folders, with segments of both forms, whose lines interleave. */
function writeInterleaved() {
  const [one, other] = [freshTrail(), freshTrail()]
  const chains = [one.chain('a-0'), one.chain('b-0'), other.chain('a-0')]
  const expected: string[] = []
  for (let segment = 0; segment < 4; segment += 1) {
    for (const [index, chain] of chains.entries()) {
      chain.segment(
        Array.from(
          { length: 20 },
          (_, i) => [day + (segment * 20 + i) * minute + index * 1000, decided(`${segment}-${i}-${index}`)] as const,
        ),
        segment < 2,
      )
    }
    for (let i = 0; i < 20; i += 1) expected.push(...[0, 1, 2].map((index) => `${segment}-${i}-${index}`))
  }
  return { folders: [one.folder, other.folder], expected, trail: one }
}

describe('merged lines', () => {
  it('come in the order of time, over chains, folders, segments and compression', async () => {
    const { expected, folders } = writeInterleaved()
    expect(await requests(folders)).toEqual(expected)
  })

  it('of one instant come in the order of the chains', async () => {
    const trail = freshTrail()
    for (const name of ['c-0', 'a-0', 'b-0']) trail.chain(name).segment([[day, decided(name)]])
    expect(await requests([trail.folder])).toEqual(['a-0', 'b-0', 'c-0'])
  })

  it.each([
    ['from a line on', 25, undefined],
    ['up to a line', undefined, 31],
    ['between two', 19, 61],
    ['between two of one segment', 41, 43],
    ['before everything', undefined, -1],
    ['after everything', 999, undefined],
  ])('of a period: %s', async (_what, from, to) => {
    const { expected, folders } = writeInterleaved()
    const since = from === undefined ? undefined : day + from * minute
    const until = to === undefined ? undefined : day + to * minute
    const within = expected.filter((id) => {
      const [segment = 0, i = 0, index = 0] = id.split('-').map(Number)
      const at = day + (segment * 20 + i) * minute + index * 1000
      return at >= (since ?? 0) && at < (until ?? Number.POSITIVE_INFINITY)
    })
    expect(await requests(folders, { since, until })).toEqual(within)
  })

  it('skip segments outside of the period without reading them', async () => {
    const { folders, trail } = writeInterleaved()
    // Unreadable, so that reading it would fail.
    writeFileSync(join(trail.folder, 'a-0', '00000001.ndjson.zst'), 'no frame')
    await expect(requests(folders)).rejects.toThrow()
    expect((await requests(folders, { since: day + 62 * minute })).length).toBe(18 * 3)
  })

  it('leave out half a line at the end, and whatever is no line of a trail', async () => {
    const trail = freshTrail()
    trail.chain('a-0').segment([[day, decided('r1')]])
    const path = join(trail.folder, 'a-0', '00000001.ndjson')
    appendFileSync(path, `not json\n{"at":1}\n\n{"seq":9}\n${readFileSync(path, 'utf8').slice(0, 100)}`)
    expect(await requests([trail.folder])).toEqual(['r1'])
  })

  it('are none where there is no folder or no segment', async () => {
    const trail = freshTrail()
    expect(await requests([join(trail.folder, 'nowhere'), trail.folder])).toEqual([])
  })

  it('go on where they stopped, also where the segment was compressed and another one begun', async () => {
    const trail = freshTrail()
    const chain = trail.chain('a-0')
    chain.segment([[day, decided('r1')]])
    const positions: ReadPositions = new Map()
    expect(await requests([trail.folder], { positions })).toEqual(['r1'])
    expect(await requests([trail.folder], { positions })).toEqual([])
    const path = join(trail.folder, 'a-0', '00000001.ndjson')
    const [, line = ''] = readFileSync(path, 'utf8').split('\n')
    appendFileSync(path, `${line.replace('r1', 'r2')}\n`)
    writeFileSync(`${path}.zst`, zstdCompressSync(readFileSync(path)))
    renameSync(path, `${path}.old`)
    chain.segment([[day + 1, decided('r3')]])
    trail.chain('b-0').segment([[day + 2, decided('r4')]])
    expect(await requests([trail.folder], { positions })).toEqual(['r2', 'r3', 'r4'])
  })
})

describe('the newest lines', () => {
  it('are the merged ones from their end, page by page', async () => {
    const { expected, folders } = writeInterleaved()
    const found: unknown[] = []
    for (let before: LinePlace | undefined; ; ) {
      const page = await loadNewestLines(folders, { selection: compileQuery({}), limit: 7, before })
      expect(page.length).toBeLessThanOrEqual(7)
      found.push(...page.map(({ bytes }) => requestOf(bytes)))
      before = page.at(-1)
      if (before === undefined) break
    }
    expect(found).toEqual(expected.toReversed())
  })

  it('keep to a period and a selection', async () => {
    const { folders } = writeInterleaved()
    const page = await loadNewestLines(folders, {
      selection: compileQuery({ request: '1-3-2' }),
      limit: 5,
      since: day + 20 * minute,
      until: day + 24 * minute,
    })
    expect(page.map(({ bytes }) => requestOf(bytes))).toEqual(['1-3-2'])
  })
})

describe('a tail', () => {
  it('goes on with what is written, over rotation and new chains, until it is told to stop', async () => {
    const trail = freshTrail()
    const chain = trail.chain('a-0')
    chain.segment([[day, decided('r1')]])
    const stop = new AbortController()
    const tail = tailLines([trail.folder], { selection: compileQuery({}), signal: stop.signal, lookEveryMs: 50 })
    const next = async () => requestOf(Buffer.from(((await tail.next()).value as { bytes: Buffer } | undefined)?.bytes ?? ''))
    expect(await next()).toBe('r1')
    const second = next()
    chain.segment([[day + 1, decided('r2')]])
    expect(await second).toBe('r2')
    const third = next()
    trail.chain('b-0').segment([[day + 2, decided('r3')]])
    expect(await third).toBe('r3')
    const fourth = next()
    stop.abort()
    expect(await fourth).toBeUndefined()
  })
})
