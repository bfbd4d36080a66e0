/** A copy that is not what was compressed costs nobody the plain file; and what the system called a failure comes through the thread. */

import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Transform } from 'node:stream'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { compressSegment } from './compress.ts'
import { compressInThread } from './compress-thread.ts'
import { readBlocks, type SegmentFile } from './trail-files.ts'

/** What becomes of the bytes that are written, instead of the bytes as they should be. */
const zlib = vi.hoisted(() => ({ spoil: undefined as ((content: Buffer, pack: (content: Buffer) => Buffer) => Buffer) | undefined }))
vi.mock(import('node:zlib'), async (original) => {
  const real = await original()
  const createZstdCompress: typeof real.createZstdCompress = (options) => {
    const { spoil } = zlib
    if (spoil === undefined) return real.createZstdCompress(options)
    const pieces: Buffer[] = []
    const spoiling = new Transform({
      transform(piece: Buffer, _encoding, done) {
        pieces.push(piece)
        done()
      },
      flush(done) {
        done(
          null,
          spoil(Buffer.concat(pieces), (content) => real.zstdCompressSync(content)),
        )
      },
    })
    return spoiling as unknown as ReturnType<typeof real.createZstdCompress>
  }
  return { ...real, createZstdCompress }
})

const text = '{"seq":1}\n'.repeat(1000)
let folder: string
let file: SegmentFile
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'postern-compress-'))
  file = { chain: 'a-0', number: 1, path: join(folder, '00000001.ndjson'), isCompressed: false }
  writeFileSync(file.path, text)
})
afterEach(() => {
  zlib.spoil = undefined
  rmSync(folder, { recursive: true, force: true })
})

it.each<[string, NonNullable<typeof zlib.spoil>, RegExp]>([
  ['holds other bytes', (content, pack) => pack(Buffer.from(content).fill('x', 7, 8)), /is not what was compressed/],
  ['holds less', (content, pack) => pack(content.subarray(0, -10)), /is shorter than what was compressed/],
  ['holds more', (content, pack) => pack(Buffer.concat([content, content])), /is not what was compressed/],
  ['goes on behind its end', (content, pack) => Buffer.concat([pack(content), pack(content)]), /stands behind the end/],
  ['is cut off', (content, pack) => pack(content).subarray(0, -2), /unexpected end/],
  ['was changed after it was packed', (content, pack) => flipped(pack(content)), /(?:corrupt|checksum)/i],
  ['holds nothing', (_content, pack) => pack(Buffer.alloc(0)), /is shorter than what was compressed/],
  ['is nothing', () => Buffer.alloc(0), /unexpected end/],
])('keeps the plain file where the copy %s', async (_what, spoil, message) => {
  zlib.spoil = spoil
  await expect(compressSegment(file)).rejects.toThrow(message)
  expect(readdirSync(folder)).toEqual(['00000001.ndjson'])
  expect(readFileSync(file.path, 'utf8')).toBe(text)
})

it('compresses a segment without a line, and one of many pieces', async () => {
  for (const content of ['', '{"seq":1}\n'.repeat(400_000)]) {
    writeFileSync(file.path, content)
    expect(await compressSegment(file)).toBe('compressed')
    expect(readdirSync(folder)).toEqual(['00000001.ndjson.zst'])
    const blocks: Buffer[] = []
    for await (const { bytes } of readBlocks({ ...file, path: `${file.path}.zst`, isCompressed: true })) blocks.push(Buffer.from(bytes))
    expect(Buffer.concat(blocks).toString()).toBe(content)
    rmSync(`${file.path}.zst`)
  }
})

it('leaves one that ends in half a line as it is', async () => {
  writeFileSync(file.path, `${text}{"seq":`)
  expect(await compressSegment(file)).toBe('torn')
  expect(readdirSync(folder)).toEqual(['00000001.ndjson'])
})

it('tells what the system called a failure in the thread', async () => {
  // No draft can be made where a folder has its name.
  mkdirSync(`${file.path}.zst.new`)
  await expect(compressInThread(file, new AbortController().signal)).rejects.toMatchObject({ code: expect.stringMatching(/^E[A-Z]+$/) })
})

function flipped(bytes: Buffer): Buffer {
  bytes.writeUInt8(bytes.readUInt8(bytes.length - 3) ^ 1, bytes.length - 3)
  return bytes
}
