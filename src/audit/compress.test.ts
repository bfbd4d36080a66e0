/** A copy that is not what was compressed, in memory or on the disk, costs nobody the plain file; and what the system called a failure comes through the thread. */

import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { compressSegment } from './compress.ts'
import { compressInThread } from './compress-thread.ts'
import type { SegmentFile } from './trail-files.ts'

const zlib = vi.hoisted(() => ({ isBroken: false }))
vi.mock(import('node:zlib'), async (original) => {
  const real = await original()
  const gunzipSync: typeof real.gunzipSync = (...parameters) => {
    const unpacked = real.gunzipSync(...parameters)
    if (zlib.isBroken) unpacked[0] = 0
    return unpacked
  }
  return { ...real, gunzipSync }
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
  zlib.isBroken = false
  vi.restoreAllMocks()
  rmSync(folder, { recursive: true, force: true })
})
const expectOnlyPlain = () => {
  expect(readdirSync(folder)).toEqual(['00000001.ndjson'])
  expect(readFileSync(file.path, 'utf8')).toBe(text)
}

it('keeps the plain file where a piece unpacks to something else', async () => {
  zlib.isBroken = true
  await expect(compressSegment(file)).rejects.toThrow('is not what was compressed')
  expectOnlyPlain()
})

it('keeps the plain file where the disk holds something else than was written', async () => {
  const handle = await open(file.path)
  const prototype = Object.getPrototypeOf(handle) as FileHandle
  await handle.close()
  const real = prototype.writeFile
  vi.spyOn(prototype, 'writeFile').mockImplementation(async function (this: FileHandle, data) {
    const broken = Buffer.from(data as Buffer)
    broken.writeUInt8(broken.readUInt8(20) ^ 1, 20)
    await real.call(this, broken)
  })
  await expect(compressSegment(file)).rejects.toThrow('is not on the disk as it was written')
  expectOnlyPlain()
})

it('tells what the system called a failure in the thread', async () => {
  // No draft can be made where a folder has its name.
  mkdirSync(`${file.path}.gz.new`)
  await expect(compressInThread(file, new AbortController().signal)).rejects.toMatchObject({ code: expect.stringMatching(/^E[A-Z]+$/) })
})
