/** Reading segments: every line once and whole, whatever its length and wherever a block ends; resuming at an offset; both forms alike. */

import { appendFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, unlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { zstdCompressSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { listChains, listSegments, parseTrailLine, readBlocks, readLines, type SegmentFile, unpack } from './trail-files.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'postern-files-'))
  mkdirSync(join(folder, 'a-0'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const write = (number: number, content: string | Buffer, isCompressed: boolean): SegmentFile => {
  const path = join(folder, 'a-0', `${String(number).padStart(8, '0')}.ndjson${isCompressed ? '.zst' : ''}`)
  writeFileSync(path, isCompressed ? zstdCompressSync(content) : content)
  return { chain: 'a-0', number, path, isCompressed }
}

async function linesOf(segment: SegmentFile, start = 0) {
  const lines: { readonly text: string; readonly offset: number; readonly isWhole: boolean }[] = []
  for await (const { bytes, isWhole, offset } of readLines(segment, start)) lines.push({ text: bytes.toString(), offset, isWhole })
  return lines
}

describe.each([false, true])('a segment (compressed: %s)', (isCompressed) => {
  it('is read line by line, across every end of a block, and on from each line', async () => {
    const texts = Array.from({ length: 3_000 }, (_, index) => `${index}:${'é'.repeat((index * 7919) % 900)}`)
    const content = `${texts.join('\n')}\nhalf`
    const segment = write(1, content, isCompressed)
    const lines = await linesOf(segment)
    expect(lines.map(({ text }) => text)).toEqual([...texts, 'half'])
    expect(lines.map(({ isWhole }) => isWhole)).toEqual([...texts.map(() => true), false])
    for (const place of [1, 1_499, 2_999, 3_000]) {
      const { offset = -1 } = lines[place] ?? {}
      expect(Buffer.from(content).subarray(offset).toString()).toBe([...texts, 'half'].slice(place).join('\n'))
      expect((await linesOf(segment, offset)).slice(0, 2)).toEqual(lines.slice(place, place + 2))
    }
  })

  it('gives the same bytes in blocks, each of whole lines', async () => {
    const content = Buffer.from(`${Array.from({ length: 20_000 }, (_, index) => `line ${index}`).join('\n')}\n`)
    const read: Buffer[] = []
    for await (const { bytes, isWhole } of readBlocks(write(1, content, isCompressed))) {
      expect([isWhole, bytes.at(-1)]).toEqual([true, 10])
      read.push(Buffer.from(bytes))
    }
    expect(Buffer.concat(read).equals(content)).toBe(true)
  })

  it('hands what is too long for a line out in pieces that are not whole', async () => {
    const lines = await linesOf(write(1, `first\n${'x'.repeat(3_000_000)}\nlast\n`, isCompressed))
    expect([lines.at(0), lines.at(-1)]).toMatchObject([
      { text: 'first', isWhole: true },
      { text: 'last', isWhole: true },
    ])
    expect(lines.slice(1, -2).every(({ isWhole, text }) => !isWhole && text.length <= 1024 * 1024)).toBe(true)
    expect(lines.slice(1, -1).reduce((sum, { text }) => sum + text.length, 0)).toBe(3_000_000)
  })
})

it('that was compressed after it was listed is read all the same; one that is gone is an error', async () => {
  const segment = write(1, 'one\ntwo\n', false)
  write(1, 'one\ntwo\n', true)
  unlinkSync(segment.path)
  expect((await linesOf(segment, 4)).map(({ text }) => text)).toEqual(['two'])
  unlinkSync(`${segment.path}.zst`)
  await expect(linesOf(segment)).rejects.toMatchObject({ code: 'ENOENT' })
})

describe('a compressed segment', () => {
  const content = 'one\ntwo\n'.repeat(100)

  it('is not unpacked for whoever has read all of it', async () => {
    const segment = write(1, content, true)
    const bytes = readFileSync(segment.path)
    writeFileSync(segment.path, Buffer.concat([bytes.subarray(0, 18), Buffer.alloc(bytes.length - 18)]))
    expect(await linesOf(segment, content.length)).toEqual([])
    for (const start of [0, content.length - 1, content.length + 1]) await expect(linesOf(segment, start)).rejects.toThrow()
  })

  it('that says that it holds less than was read of it is an error, and not read to its end', async () => {
    const segment = write(1, content, true)
    const bytes = readFileSync(segment.path)
    expect(bytes.readUInt16LE(5)).toBe(content.length - 256)
    bytes.writeUInt16LE(0, 5)
    writeFileSync(segment.path, bytes)
    for (const start of [0, 400]) await expect(linesOf(segment, start), String(start)).rejects.toThrow()
  })

  it('is an error where something stands behind its end, which other programs would show', async () => {
    const segment = write(1, content, true)
    appendFileSync(segment.path, zstdCompressSync('three\n'))
    await expect(linesOf(segment)).rejects.toThrow('stands behind the end')
  })

  it('is an error where another frame begins just where a piece of the file ends', async () => {
    const frames = [zstdCompressSync(content), zstdCompressSync('three\n')]
    const read = async (pieces: readonly Buffer[]) => {
      let text = ''
      for await (const piece of unpack(Readable.from(pieces), 4096)) text += piece.toString()
      return text
    }
    expect(await read(frames.slice(0, 1))).toBe(content)
    await expect(read(frames)).rejects.toThrow('stands behind the end')
  })

  it('is an error where it is cut off, also in the middle of what says how long it is', async () => {
    const segment = write(1, content, true)
    for (const length of [readFileSync(segment.path).length - 1, 18, 6, 0]) {
      truncateSync(segment.path, length)
      await expect(linesOf(segment), String(length)).rejects.toThrow()
      await expect(linesOf(segment, 4), String(length)).rejects.toThrow()
    }
  })
})

it('segments are listed once each, in order, the plain file first; what is no segment is passed over', async () => {
  write(2, '', true)
  write(2, '', false)
  write(1, '', true)
  for (const name of ['lock', '1.ndjson', '00000003.ndjson.tmp']) writeFileSync(join(folder, 'a-0', name), '')
  const listed = await listSegments(folder, 'a-0')
  expect(listed.map(({ isCompressed, number }) => [number, isCompressed])).toEqual([
    [1, true],
    [2, false],
  ])
  writeFileSync(join(folder, 'file'), '')
  expect(await listChains(folder)).toEqual(['a-0'])
  expect([await listChains(join(folder, 'no')), await listSegments(folder, 'no')]).toEqual([[], []])
})

it.each(['', '{', '[1]', 'null', '7', '{"a":1}x'])('takes %j for no line', (text) => {
  expect(parseTrailLine(text)).toBeUndefined()
})
